//! Every store and network operation of every endpoint fails once, is late once, and is the last
//! before a crash once, each before and after it took effect.
//!
//! Which operations there are is not written down here: an undisturbed request tells. Whatever
//! happens to it, a request ends in a documented answer, what its client was told holds, and no
//! later request trips over what it left.
//!
//! Long because each endpoint says what its clients may rely on, and one test disturbs them all.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::support::application::Application;
use crate::support::client::Request;
use crate::support::contract::{DEPENDENCY_FAILED, DEPENDENCY_LATE};
use crate::support::faults::{Fault, Operation, hits, trace};
use crate::support::{Response, Server, Setup, local_runtime_only, unique};

/// Within this, what a request left half-way is put right: a late write is undone at growing
/// distances for about a minute, and the machine may be busy.
const PUT_RIGHT: Duration = Duration::from_secs(90);

/// How long after its answer a request may still be at work: checks of an index or a rotation.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// The deadline of the service that the store is late for, and how late it is.
const DEADLINE: Duration = Duration::from_millis(1500);
const LATE: Duration = Duration::from_millis(2500);

/// How many cases run side by side.
const MAX_CONCURRENCY: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    CreateApplication { with_key: bool },
    ListApplications,
    ReadApplication,
    ChangeApplication,
    DeleteApplication,
    Create { with_key: bool },
    List,
    Read,
    Change,
    Delete,
    Rotate { with_key: bool },
    Test,
}

use Endpoint::*;

const ENDPOINTS: [Endpoint; 15] = [
    CreateApplication { with_key: false },
    CreateApplication { with_key: true },
    ListApplications,
    ReadApplication,
    ChangeApplication,
    DeleteApplication,
    Create { with_key: false },
    Create { with_key: true },
    List,
    Read,
    Change,
    Delete,
    Rotate { with_key: false },
    Rotate { with_key: true },
    Test,
];

impl Endpoint {
    fn success(self) -> u16 {
        match self {
            CreateApplication { .. } | Create { .. } => 201,
            Delete | DeleteApplication => 204,
            _ => 200,
        }
    }

    /// Whether the request cannot succeed without the operation. The rest is clearing up, the
    /// count of changes, the delivery, whose failure is what a test reports, and the record of it.
    fn needs(self, operation: &Operation) -> bool {
        let kind = operation.key.split('/').next().unwrap_or_default();
        let lists = ["webhooks", "webhooks-changed"].contains(&kind);
        let clears_up = match self {
            // The mark that it was deleted is made afterwards too, where it could not be made at once.
            Delete => {
                operation.op == "delete" && kind != "webhook" || lists || kind == "webhook-deleted"
            }
            DeleteApplication => {
                operation.op == "delete"
                    && (lists || ["application-settings", "portal"].contains(&kind))
                    || ["applications", "application-name", "application-deleted"].contains(&kind)
            }
            ChangeApplication => operation.op == "delete" || kind == "application-name",
            // There is no webhook yet that could have changed.
            Create { with_key: true } => {
                ["webhook-settings", "webhook-secrets", "webhook-test"].contains(&kind)
            }
            Test => lists || ["set", "exists"].contains(&operation.op.as_str()),
            _ => false,
        };
        !operation.after_response && kind != "changes" && operation.op != "http" && !clears_up
    }
}

/// A merchant with one application and one webhook, and the request that is disturbed.
struct Fixture<'a> {
    api: &'a Server,
    application: Application,
    webhook: Value,
    /// The name of the disturbed request, and its `Idempotency-Key`.
    name: String,
}

impl<'a> Fixture<'a> {
    async fn new(api: &'a Server) -> Self {
        let merchant = unique("merchant");
        let name = unique("request");
        let mut application = Application {
            id: String::new(),
            merchant,
        };
        let create = |body| {
            let request = api.request("POST", "/api/v1/applications");
            request
                .token(&application.token())
                .json(body)
                .header("idempotency-key", "fixture")
        };
        let made = answered(&create(&json!({ "name": "Shop" })), &[201]).await;
        application.id = text(&made.json()["id"]);
        let url = format!("https://merchant.example.com/{name}");
        let create = api.create(&application).url(&url);
        let webhook = answered(&create.header("idempotency-key", "fixture"), &[201]).await;
        Self {
            api,
            application,
            webhook: webhook.json(),
            name,
        }
    }

    fn webhook_path(&self) -> String {
        format!("{}/{}", self.application.path(), text(&self.webhook["id"]))
    }

    fn application_path(&self) -> String {
        format!("/api/v1/applications/{}", self.application.id)
    }

    fn ask(&self, method: &str, path: &str) -> Request {
        self.api
            .request(method, path)
            .token(&self.application.token())
    }

    fn request(&self, endpoint: Endpoint) -> Request {
        let (application, webhook) = (&self.application_path(), &self.webhook_path());
        let keyed = |request: Request, with_key: bool| match with_key {
            true => request.header("idempotency-key", &self.name),
            false => request,
        };
        match endpoint {
            CreateApplication { with_key } => {
                let request = self.ask("POST", "/api/v1/applications");
                keyed(request.json(&json!({ "name": "Second" })), with_key)
            }
            ListApplications => self.ask("GET", "/api/v1/applications"),
            ReadApplication => self.ask("GET", application),
            ChangeApplication => {
                let request = self.ask("PATCH", application);
                request.json(&json!({ "name": "Renamed" }))
            }
            DeleteApplication => self.ask("DELETE", application),
            Create { with_key } => keyed(self.api.create(&self.application), with_key),
            List => self.ask("GET", &self.application.path()),
            Read => self.ask("GET", webhook),
            Change => {
                let request = self.ask("PATCH", webhook);
                request.json(&json!({ "isActive": false }))
            }
            Delete => self.ask("DELETE", webhook),
            Rotate { with_key } => keyed(self.ask("POST", &format!("{webhook}/rotate")), with_key),
            Test => self.ask("POST", &format!("{webhook}/test")),
        }
    }

    /// The request that is disturbed: the runtime knows it by its name.
    fn disturbed(&self, endpoint: Endpoint) -> Request {
        let request = self.request(endpoint);
        request.header("x-local-runtime-request", &self.name)
    }

    async fn read(&self, path: &str) -> Value {
        answered(&self.ask("GET", path), &[200]).await.json()
    }

    /// The ids in a list.
    async fn listed(&self, path: &str) -> BTreeSet<String> {
        let page = self.read(&format!("{path}?limit=100")).await;
        let items = page["items"].as_array().expect("a page");
        items.iter().map(|item| text(&item["id"])).collect()
    }

    async fn comes_to_list(&self, path: &str, ids: &[&str], what: &str) {
        let wanted: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        eventually(what, async || {
            let listed = self.listed(path).await;
            if listed == wanted {
                Ok(())
            } else {
                Err(format!("{listed:?}, not {wanted:?}"))
            }
        })
        .await;
    }

    /// What the client was told holds; what it was not told is gone, or a repeat tells it; and
    /// every later request finds everything in order.
    async fn is_in_order(
        &self,
        endpoint: Endpoint,
        told: Option<Value>,
        crashed: bool,
        what: &str,
    ) {
        let repeat = self.request(endpoint);
        let first = text(&self.webhook["id"]);
        let webhooks = self.application.path();
        match endpoint {
            CreateApplication { with_key } => {
                let id = match told {
                    Some(application) => text(&application["id"]),
                    None if with_key => text(&answered(&repeat, &[201]).await.json()["id"]),
                    None => self.second_application(&repeat, crashed, what).await,
                };
                let read = self.read(&format!("/api/v1/applications/{id}")).await;
                assert_eq!(read["name"], "Second", "{what}");
                let ids = [self.application.id.as_str(), id.as_str()];
                self.comes_to_list("/api/v1/applications", &ids, what).await;
            }
            ChangeApplication => {
                if told.is_none() {
                    answered(&repeat, &[200]).await;
                }
                let read = self.read(&self.application_path()).await;
                assert_eq!(read["name"], "Renamed", "{what}");
            }
            DeleteApplication => {
                let again: &[u16] = if told.is_some() { &[404] } else { &[204, 404] };
                answered(&repeat, again).await;
                answered(&self.ask("GET", &self.application_path()), &[404]).await;
                self.comes_to_list("/api/v1/applications", &[], what).await;
                let left = self.api.store().webhooks(&self.application);
                assert!(left.is_empty(), "{what}: {left:?}");
                // Its claim to the name may hold for a moment, where it could not be removed.
                let create = self.ask("POST", "/api/v1/applications");
                let create = create.json(&json!({ "name": "Shop" }));
                eventually(what, async || {
                    let response = answered(&create, &[201, 409]).await;
                    match response.status {
                        201 => Ok(()),
                        _ => Err(response.text),
                    }
                })
                .await;
                return;
            }
            Create { with_key } => {
                let told = match told {
                    None if with_key => Some(answered(&repeat, &[201]).await.json()),
                    told => told,
                };
                let Some(told) = told else {
                    if !crashed {
                        self.stays_alone(what).await;
                    }
                    return self.goes_on(what).await;
                };
                let id = text(&told["id"]);
                let read = self.read(&format!("{webhooks}/{id}")).await;
                assert_eq!(read["keyFingerprint"], fingerprint(&told), "{what}");
                self.comes_to_list(&webhooks, &[&first, &id], what).await;
            }
            Change => {
                if told.is_none() {
                    answered(&repeat, &[200]).await;
                }
                let read = self.read(&self.webhook_path()).await;
                assert_eq!(read["isActive"], false, "{what}");
            }
            Delete => {
                let again: &[u16] = if told.is_some() { &[404] } else { &[204, 404] };
                answered(&repeat, again).await;
                answered(&self.ask("GET", &self.webhook_path()), &[404]).await;
                self.comes_to_list(&webhooks, &[], what).await;
            }
            Rotate { with_key } => {
                let told = match told {
                    None if with_key => Some(answered(&repeat, &[200]).await.json()),
                    told => told,
                };
                // Who was told no new secret signs on with the one that it has.
                let newest = told.as_ref().unwrap_or(&self.webhook);
                if !(told.is_none() && crashed) {
                    eventually(what, async || {
                        let read = self.read(&self.webhook_path()).await;
                        let same = read["keyFingerprint"] == fingerprint(newest);
                        if same { Ok(()) } else { Err(read.to_string()) }
                    })
                    .await;
                }
            }
            Test => {
                answered(&repeat, &[200]).await;
                let read = self.read(&self.webhook_path()).await;
                assert!(read["lastTestAt"].is_string(), "{what}: {read}");
            }
            ListApplications | ReadApplication | List | Read => {
                answered(&repeat, &[200]).await;
            }
        }
        self.goes_on(what).await;
    }

    /// A create whose answer failed is taken back, and the name is free again. After a crash the
    /// name may stay taken: then the application is there for the merchant to find.
    async fn second_application(&self, repeat: &Request, crashed: bool, what: &str) -> String {
        eventually(what, async || {
            let response = answered(repeat, &[201, 409]).await;
            if response.status == 201 {
                return Ok(text(&response.json()["id"]));
            }
            let mut listed = self.listed("/api/v1/applications").await;
            listed.remove(&self.application.id);
            let found = listed.pop_first().filter(|_| crashed);
            found.ok_or(response.text)
        })
        .await
    }

    /// Beside the fixture's own webhook there is soon none, and none comes back.
    async fn stays_alone(&self, what: &str) {
        let own = [text(&self.webhook["id"])];
        let since = Instant::now();
        let mut alone_since = since;
        while alone_since.elapsed() < Duration::from_secs(1) {
            let there = self.api.store().webhooks(&self.application);
            if there != own {
                assert!(since.elapsed() < PUT_RIGHT, "{what}: {there:?}");
                alone_since = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whatever happened before, everything works.
    async fn goes_on(&self, what: &str) {
        let created = answered(&self.api.create(&self.application), &[201])
            .await
            .json();
        let path = format!("{}/{}", self.application.path(), text(&created["id"]));
        let rotated = answered(&self.ask("POST", &format!("{path}/rotate")), &[200]).await;
        let rotated = rotated.json();
        assert_eq!(
            self.read(&path).await["keyFingerprint"],
            fingerprint(&rotated),
            "{what}"
        );
        self.listed(&self.application.path()).await;
        self.listed("/api/v1/applications").await;
        answered(&self.ask("DELETE", &self.application_path()), &[204]).await;
        answered(&self.ask("GET", &path), &[404]).await;
    }
}

/// What the secret of a response must be shown as.
fn fingerprint(told: &Value) -> String {
    let secret = text(&told["signingSecret"]);
    assert!(secret.starts_with("whsec_"), "no secret: {told}");
    format!("whsec_****{}", &secret[secret.len() - 4..])
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a string: {value}"))
        .to_owned()
}

/// Sends an undisturbed request until it is answered in time: a busy machine may miss the short
/// deadline of the service whose store is late.
async fn answered(request: &Request, statuses: &[u16]) -> Response {
    let since = Instant::now();
    loop {
        let response = request.clone().send_unchecked().await.expect("an answer");
        if statuses.contains(&response.status) {
            return response;
        }
        assert!(
            response.status == 504 && since.elapsed() < PUT_RIGHT,
            "{request:?}: {} {}, not one of {statuses:?}",
            response.status,
            response.text
        );
    }
}

async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(seen) => assert!(since.elapsed() < PUT_RIGHT, "{what}: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The operations of each endpoint, as undisturbed requests do them.
async fn operations(api: &Server) -> Vec<(Endpoint, Vec<Operation>)> {
    let ask = |endpoint: Endpoint| async move {
        let since = Instant::now();
        let fixture = loop {
            let fixture = Fixture::new(api).await;
            let response = fixture.disturbed(endpoint).send_unchecked().await;
            let response = response.expect("an answer");
            if response.status == endpoint.success() {
                break fixture;
            }
            // As in `answered`; the operations of a request that was cut off are not all.
            assert!(
                response.status == 504 && since.elapsed() < PUT_RIGHT,
                "{endpoint:?}: {}",
                response.text
            );
        };
        tokio::time::sleep(AFTERWARDS).await;
        let operations = trace(api, &fixture.name);
        assert!(operations.len() >= 2, "{endpoint:?}: {operations:?}");
        (endpoint, operations)
    };
    stream::iter(ENDPOINTS)
        .map(ask)
        .buffer_unordered(ENDPOINTS.len())
        .collect()
        .await
}

/// One operation of one endpoint, before or after its effect. Operations that run side by side
/// may change places: one is known by what it does to which kind of key, and how many such came
/// before it.
#[derive(Clone, Debug)]
struct Case {
    endpoint: Endpoint,
    operation: Operation,
    kind: String,
    earlier: usize,
    after: bool,
}

impl Case {
    fn of(operations: &[(Endpoint, Vec<Operation>)]) -> Vec<Self> {
        let mut cases = Vec::new();
        for (endpoint, operations) in operations {
            let mut seen: Vec<(&str, String)> = Vec::new();
            // Whether an instance opens the store is not the request's doing.
            for operation in operations.iter().filter(|it| it.op != "open") {
                let kind = match operation.op.as_str() {
                    "http" => String::new(),
                    _ => format!("{}/", operation.key.split('/').next().unwrap_or_default()),
                };
                let this = (operation.op.as_str(), kind.clone());
                let earlier = seen.iter().filter(|other| **other == this).count();
                seen.push(this);
                for after in [false, true] {
                    cases.push(Self {
                        endpoint: *endpoint,
                        operation: operation.clone(),
                        kind: kind.clone(),
                        earlier,
                        after,
                    });
                }
            }
        }
        cases
    }

    /// The fault that `action` makes of this operation.
    fn fault(&self, action: impl Fn(&str) -> Fault, fixture: &Fixture<'_>) -> Fault {
        let fault = action(&self.operation.op).on(self.kind.as_str());
        let fault = fault.of(&fixture.name).skip(self.earlier as u64).times(1);
        if self.after { fault.after() } else { fault }
    }

    /// Whether the operation is always there: how often an index or a count is looked at after the
    /// response depends on what others do.
    fn is_certain(&self) -> bool {
        !self.operation.after_response
    }
}

/// Strikes each operation and expects this error from requests that need it.
async fn each_operation(api: &Server, action: impl Fn(&str) -> Fault, error: (u16, &str)) {
    let cases = Case::of(&operations(api).await);
    let action = &action;
    let strike = |case: Case| async move {
        let what = format!("{case:?}");
        let begun = Instant::now();
        let (fixture, response, struck) = loop {
            let fixture = Fixture::new(api).await;
            let fault = case.fault(action, &fixture).inject(api);
            let request = fixture.disturbed(case.endpoint);
            let response = request.send_unchecked().await.expect("an answer");
            // A busy machine may be late for the service's deadline before the fault's turn comes.
            let is_late = response.status == 504;
            let since = Instant::now();
            while fault.hits() == 0 && !is_late && since.elapsed() < AFTERWARDS {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let struck = fault.hits() == 1;
            fault.end();
            if struck || !(is_late && begun.elapsed() < PUT_RIGHT) {
                break (fixture, response, struck);
            }
        };
        assert!(struck || !case.is_certain(), "{what}: never happened");
        let succeeded = response.status == case.endpoint.success();
        if struck && case.endpoint.needs(&case.operation) {
            assert!(!succeeded, "{what}: {} without it", response.status);
        }
        if !succeeded {
            let answer = (response.status, response.text.as_str());
            assert_eq!(answer, error, "{what}");
        }
        let told = succeeded.then(|| told(&response));
        fixture.is_in_order(case.endpoint, told, false, &what).await;
        usize::from(struck)
    };
    let count = cases.len();
    let struck = stream::iter(cases)
        .map(strike)
        .buffer_unordered(MAX_CONCURRENCY);
    let struck: usize = struck.fold(0, |sum, one| async move { sum + one }).await;
    assert!(
        struck * 10 >= count * 8,
        "{struck} of {count} operations were struck"
    );
}

/// What a successful response told; nothing is something too.
fn told(response: &Response) -> Value {
    if response.text.is_empty() {
        Value::Null
    } else {
        response.json()
    }
}

fn service(deadline: Duration) -> Setup {
    Setup::new().variable("store_timeout_ms", &deadline.as_millis().to_string())
}

#[tokio::test]
async fn whichever_operation_of_an_endpoint_fails_all_stays_in_order() {
    local_runtime_only!();
    let _busy = crate::support::busy().await;
    let api = service(Duration::from_secs(20)).start();
    each_operation(&api, Fault::error, (502, DEPENDENCY_FAILED)).await;
}

#[tokio::test]
async fn whichever_operation_of_an_endpoint_is_late_all_stays_in_order() {
    local_runtime_only!();
    let _busy = crate::support::busy().await;
    let api = service(DEADLINE).start();
    let late = |operation: &str| Fault::delay(operation, LATE).detached();
    each_operation(&api, late, (504, DEPENDENCY_LATE)).await;
}

/// All requests are stopped, each at its own operation; then one `kill -9` is the crash of all.
#[tokio::test]
async fn whichever_operation_of_an_endpoint_is_the_last_before_a_crash_all_stays_in_order() {
    local_runtime_only!();
    let _busy = crate::support::busy().await;
    let api = service(Duration::from_secs(60)).start();
    let operations = operations(&api).await;
    let cases = Case::of(&operations);
    let stop = |case: Case| {
        let api = &api;
        async move {
            let fixture = Fixture::new(api).await;
            let fault = case.fault(Fault::hang, &fixture).inject(api);
            let request = fixture.disturbed(case.endpoint);
            let request = tokio::spawn(async move { request.send_unchecked().await.ok() });
            // The server that it was injected into will be no more.
            std::mem::forget(fault);
            let Fixture {
                application,
                webhook,
                name,
                ..
            } = fixture;
            (case, application, webhook, name, request)
        }
    };
    let stopped = stream::iter(cases)
        .map(stop)
        .buffer_unordered(MAX_CONCURRENCY);
    let stopped: Vec<_> = stopped.collect().await;
    let certain = stopped.iter().filter(|it| it.0.is_certain()).count();
    let since = Instant::now();
    let mut struck = 0;
    // Those after a response may never come; for the others the machine gets its time.
    while struck < stopped.len()
        && (since.elapsed() < AFTERWARDS * 2 || struck < certain && since.elapsed() < PUT_RIGHT)
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
        struck = hits(&api) as usize;
    }
    assert!(
        struck >= certain,
        "{struck} of {} were stopped",
        stopped.len()
    );
    let api = api.kill().start();

    let check = |(case, application, webhook, name, request)| {
        let api = &api;
        let (case, request): (Case, tokio::task::JoinHandle<Option<Response>>) = (case, request);
        async move {
            let response = request.await.expect("a request");
            let what = format!("{case:?}");
            if let Some(response) = &response {
                assert_eq!(response.status, case.endpoint.success(), "{what}");
            }
            let fixture = Fixture {
                api,
                application,
                webhook,
                name,
            };
            let told = response.as_ref().map(told);
            fixture.is_in_order(case.endpoint, told, true, &what).await;
        }
    };
    let checks = stream::iter(stopped)
        .map(check)
        .buffer_unordered(MAX_CONCURRENCY);
    checks.collect::<()>().await;
}
