//! How often each kind of request calls the host at most, so that nobody adds a call unseen: a call costs
//! Spin more than most of what the component does itself. ARCHITECTURE.md has what.
//!
//! Each budget is of a request that an instance serves which has served such a request before. It is what
//! the best of some tries needs: how often an index is looked at after a response depends on chance, and a
//! request that has to wait for a busy machine needs timers.
//!
//! Long because the table, what each kind of request finds, and how it is counted belong together.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::faults::{calls, instances_end, stats};
use crate::support::server::dispatching_setup;
use crate::support::{
    Application, PATIENCE, Receiver, Server, Setup, local_runtime_only, poll, unique,
};

/// Reads and writes of the store, statements, outbound requests, timers, reads of a clock, eight bytes of
/// randomness each, lines of log.
type Calls = [usize; 8];

const KINDS: [&[&str]; 8] = [
    &["get", "exists", "get-keys"],
    &["set", "delete"],
    &["sql"],
    &["http"],
    &["timer"],
    &["clock"],
    &["random"],
    &["log"],
];

/// As often as it likes.
const ANY: usize = usize::MAX;

struct Budget {
    endpoint: Endpoint,
    before_response: Calls,
    after_response: Calls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    CreateApplication,
    ReadApplication,
    ListApplications,
    ChangeApplication,
    /// A webhook that was not changed since its create.
    Read,
    /// One that was changed, rotated and tested.
    ReadChanged,
    /// A page of so many webhooks.
    List(usize),
    /// A page of ten, of which two were changed.
    ListChanged,
    Create,
    CreateWithKey,
    /// One of sixteen creates in one application at the same moment: the mean.
    CreateAmongOthers,
    Change,
    Rotate,
    Test,
    Delete,
    /// To two webhooks, with the first attempts.
    Publish,
    ReadEvent,
    /// The probe that has a delivery repeated, with all that the pump does.
    Attempt,
}

use Endpoint::*;

const fn budget(endpoint: Endpoint, before_response: Calls, after_response: Calls) -> Budget {
    Budget {
        endpoint,
        before_response,
        after_response,
    }
}

// Before the response, and after it:
// reads, writes, statements, outbound requests, timers, clocks, randomness, lines of log.
#[rustfmt::skip]
const BUDGETS: [Budget; 19] = [
    budget(CreateApplication,  [4, 4, 0, 0, 5, 16, 7, 1], [3, 1, 0, 0, 6, 18, 0, 0]),
    budget(ReadApplication,   [2, 0, 0, 0, 1, 6, 0, 1],    [0, 0, 0, 0, 0, 0, 0, 0]),
    budget(ListApplications,  [1, 0, 0, 0, 1, 5, 0, 1],    [0, 0, 0, 0, 0, 0, 0, 0]),
    budget(ChangeApplication, [4, 1, 0, 0, 4, 11, 0, 1],   [1, 1, 0, 0, 3, 8, 0, 0]),
    budget(Read,              [5, 0, 0, 0, 1, 5, 0, 1],    [0, 0, 0, 0, 0, 0, 0, 0]),
    budget(ReadChanged,       [5, 0, 0, 0, 1, 5, 0, 1],    [0, 0, 0, 0, 0, 0, 0, 0]),
    budget(List(10),          [13, 0, 0, 0, 1, 5, 0, 1],   [0, 0, 0, 0, 0, 0, 0, 0]),
    budget(List(50),          [53, 0, 0, 0, 1, 5, 0, 1],   [0, 0, 0, 0, 0, 0, 0, 0]),
    budget(ListChanged,       [19, 0, 0, 0, 1, 5, 0, 1],   [0, 0, 0, 0, 0, 0, 0, 0]),
    budget(Create,            [4, 2, 0, 0, 4, 11, 10, 1],  [3, 1, 0, 0, 6, 18, 0, 0]),
    budget(CreateWithKey,      [9, 3, 0, 0, 4, 12, 6, 1], [3, 1, 0, 0, 6, 18, 0, 0]),
    budget(CreateAmongOthers,  [5, 3, 0, 0, 5, 15, 12, 1], [5, 1, 0, 0, 8, 22, 0, 0]),
    budget(Change,            [10, 2, 0, 0, 5, 16, 0, 1],  [1, 1, 0, 0, 3, 8, 0, 0]),
    budget(Rotate,            [10, 2, 0, 0, 6, 14, 10, 1], [6, 1, 0, 0, 13, 18, 0, 0]),
    budget(Test,              [9, 2, 0, 1, 7, 17, 2, 1],   [1, 1, 0, 0, 3, 8, 0, 0]),
    budget(Delete,            [9, 6, 0, 0, 4, 14, 0, 1],   [1, 1, 0, 0, 3, 8, 0, 0]),
    budget(Publish,           [9, 0, 1, 0, 5, 11, 4, 1],   [0, 0, 4, 2, ANY, ANY, 4, 0]),
    budget(ReadEvent,         [1, 0, 2, 0, 3, 5, 0, 1],    [0, 0, 0, 0, 0, 0, 0, 0]),
    budget(Attempt,           [1, 0, 4, 0, ANY, ANY, 6, 1], [8, 0, 8, 1, ANY, ANY, ANY, 0]),
];

/// How many creates come at the same moment: as many as an instance serves.
const AT_ONCE: usize = 16;

/// How often a request may be tried until one is within its budget.
const TRIES: usize = 6;

/// An application of a merchant of its own, with webhooks whose URLs have the name of the request that is
/// counted: so do the outbound requests that are.
struct Fixture<'a> {
    api: &'a Server,
    name: String,
    application: Application,
    /// Another merchant's.
    other: Application,
    webhooks: Vec<String>,
    event: String,
}

impl<'a> Fixture<'a> {
    async fn new(api: &'a Server, receiver: &Receiver, endpoint: Endpoint) -> Self {
        let mut fixture = Self {
            api,
            name: unique("request"),
            application: api.application(),
            other: api.application(),
            webhooks: Vec::new(),
            event: String::new(),
        };
        let count = match endpoint {
            List(count) => count,
            ListChanged => 10,
            Delete | Publish | ReadEvent => 2,
            CreateApplication | ListApplications => 0,
            _ => 1,
        };
        for _ in 0..count {
            let url = format!("{}/{}", receiver.url(), fixture.name);
            let create = api.create(&fixture.application).url(&url);
            let created = answered(&create, 201).await;
            fixture.webhooks.push(text(&created["id"]));
        }
        let changed = match endpoint {
            ReadChanged => 1,
            ListChanged => 2,
            _ => 0,
        };
        for number in 0..changed {
            let path = fixture.webhook(number);
            let events = json!({"subscribedEvents": ["*"]});
            answered(&fixture.by("PATCH", &path).json(&events), 200).await;
            answered(&fixture.by("POST", &format!("{path}/rotate")), 200).await;
            answered(&fixture.by("POST", &format!("{path}/test")), 200).await;
        }
        if matches!(endpoint, Publish | ReadEvent | Attempt) {
            let published = answered(&api.publish(&fixture.application), 202).await;
            fixture.event = text(&published["id"]);
            fixture.attempted().await;
        }
        fixture
    }

    /// Waits until each delivery of the event was tried once.
    async fn attempted(&self) {
        loop {
            let event = answered(&self.request(ReadEvent), 200).await;
            let deliveries = event["deliveries"].as_array().expect("deliveries");
            let untried = |it: &Value| it["lastAttempt"].is_null();
            if !deliveries.is_empty() && !deliveries.iter().any(untried) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn by(&self, method: &str, path: &str) -> Request {
        self.api.by(&self.application, method, path)
    }

    fn webhook(&self, number: usize) -> String {
        self.application.webhook_path(&self.webhooks[number])
    }

    fn request(&self, endpoint: Endpoint) -> Request {
        let application = format!("/api/v1/applications/{}", self.application.id);
        match endpoint {
            CreateApplication => {
                let create = self.by("POST", "/api/v1/applications");
                create.json(&json!({"name": unique("name")}))
            }
            ReadApplication => self.by("GET", &application),
            ListApplications => self.by("GET", "/api/v1/applications"),
            ChangeApplication => {
                let change = self.by("PATCH", &application);
                change.json(&json!({"description": unique("description")}))
            }
            Read | ReadChanged => self.by("GET", &self.webhook(0)),
            List(_) | ListChanged => {
                self.by("GET", &format!("{}?limit=50", self.application.path()))
            }
            Create | CreateAmongOthers => self.api.create(&self.application),
            CreateWithKey => {
                let create = self.api.create(&self.application);
                create.header("idempotency-key", unique("key"))
            }
            Change => {
                let change = self.by("PATCH", &self.webhook(0));
                change.json(&json!({"url": format!("https://example.com/{}", unique("path"))}))
            }
            Rotate => self.by("POST", &format!("{}/rotate", self.webhook(0))),
            Test => self.by("POST", &format!("{}/test", self.webhook(0))),
            Delete => self.by("DELETE", &self.webhook(0)),
            Publish => self.api.publish(&self.application),
            ReadEvent => {
                let path = format!("{}/{}", self.application.events_path(), self.event);
                self.by("GET", &path)
            }
            Attempt => self.api.request("GET", "/dispatcher/readyz"),
        }
    }

    /// Sends such a request once, so that its instance is one that knows all it has to, and then so that it
    /// is counted. Returns the names under which the runtime counts.
    async fn send(&self, endpoint: Endpoint) -> Vec<String> {
        let names: Vec<String> = match endpoint {
            CreateAmongOthers => (0..AT_ONCE)
                .map(|number| format!("{}-{number}", self.name))
                .collect(),
            _ => vec![self.name.clone()],
        };
        let warm = match endpoint {
            Delete => self.by("DELETE", &self.webhook(1)),
            // What goes on after a create is shared by all that add to the same index.
            Create | CreateWithKey | CreateAmongOthers => self.api.create(&self.other),
            CreateApplication => {
                let create = self.api.by(&self.other, "POST", "/api/v1/applications");
                create.json(&json!({"name": "other"}))
            }
            _ => self.request(endpoint),
        };
        match endpoint {
            Attempt => {
                // The instance that published has made the attempts that were due soon.
                instances_end(self.api).await;
                self.api.sleep(Duration::from_secs(4));
            }
            _ => drop(warm.send_unchecked().await.expect("an answer")),
        }
        if endpoint == Publish {
            // What is sent for the first one is not to be counted.
            self.attempted().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let counted = names.iter().map(|name| {
            let request = self.request(endpoint);
            request
                .header("x-local-runtime-request", name)
                .send_unchecked()
        });
        for answer in join_all(counted).await {
            let answer = answer.expect("an answer");
            assert!(
                answer.status < 300 || answer.status == 504,
                "{endpoint:?}: {}",
                answer.text
            );
        }
        names
    }
}

/// Sends a request until it is answered in time: a machine may be busy.
async fn answered(request: &Request, status: u16) -> Value {
    for _ in 0..20 {
        let response = request.clone().send_unchecked().await.expect("an answer");
        if response.status == status {
            return response.json();
        }
        assert_eq!(response.status, 504, "{request:?}: {}", response.text);
    }
    panic!("never in time: {request:?}");
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    before_response: usize,
    after_response: usize,
}

/// What the requests of these names called, before their responses and after them, each on average. `None`:
/// one was the first of its instance, and may not be.
fn counted(api: &Server, names: &[String], may_be_first: bool) -> Option<[Calls; 2]> {
    let mut sums = [Calls::default(); 2];
    let mut is_first = false;
    for name in names {
        let calls: BTreeMap<String, Counted> = calls(api, name);
        is_first |= calls.contains_key("variable");
        for (place, kinds) in KINDS.iter().enumerate() {
            for kind in *kinds {
                let of_kind = calls.get(*kind).copied().unwrap_or_default();
                sums[0][place] += of_kind.before_response;
                sums[1][place] += of_kind.after_response;
            }
        }
        let known = |call: &String| KINDS.iter().any(|kinds| kinds.contains(&call.as_str()));
        let unknown = calls
            .keys()
            .find(|call| !known(call) && *call != "variable");
        assert_eq!(unknown, None, "a call that no budget has");
    }
    let mean = |sum: usize| sum.div_ceil(names.len());
    (may_be_first || !is_first).then(|| sums.map(|calls| calls.map(mean)))
}

impl Budget {
    fn allows(&self, [before, after]: &[Calls; 2]) -> bool {
        let within = |calls: &Calls, budget: &Calls| {
            calls.iter().zip(budget).all(|(count, most)| count <= most)
        };
        within(before, &self.before_response) && within(after, &self.after_response)
    }
}

/// Tries the requests, each time on a server of its own, until each was within its budget once. Returns the
/// sum of what they called then.
async fn check(setup: impl Fn() -> Setup, receiver: &Receiver, mut over: Vec<&Budget>) -> Calls {
    let mut sum = Calls::default();
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let api = setup().start();
        let mut sent = Vec::new();
        for budget in over {
            let fixture = Fixture::new(&api, receiver, budget.endpoint).await;
            sent.push((budget, fixture.send(budget.endpoint).await));
        }
        // Then all is done that goes on after the responses: after one that was not in time, for a minute.
        let end = || (stats(&api)["liveInstances"] == 0).then_some(());
        poll("the instances end", 3 * PATIENCE, end).await;
        seen.clear();
        over = Vec::new();
        for (budget, names) in sent {
            // A probe is one, and creates that come together find other instances.
            let may_be_first = matches!(budget.endpoint, Attempt | CreateAmongOthers);
            match counted(&api, &names, may_be_first) {
                Some(calls) if budget.allows(&calls) => {
                    let of_both = calls.iter().flatten().enumerate();
                    of_both.for_each(|(place, count)| sum[place % KINDS.len()] += count);
                }
                calls => {
                    over.push(budget);
                    seen.push((budget.endpoint, calls));
                }
            }
        }
        if over.is_empty() {
            return sum;
        }
    }
    let seen: Vec<String> = seen
        .iter()
        .map(|(endpoint, calls)| match calls {
            Some([before, after]) => format!("budget({endpoint:?}, {before:?}, {after:?}),"),
            None => format!("{endpoint:?}: the first of its instance each time"),
        })
        .collect();
    panic!("more calls than their budgets:\n{}", seen.join("\n"));
}

/// The budgets of these endpoints.
fn budgets(of: impl Fn(Endpoint) -> bool) -> Vec<&'static Budget> {
    let budgets = BUDGETS.iter().filter(|budget| of(budget.endpoint));
    budgets.collect()
}

#[tokio::test]
async fn no_request_about_webhooks_calls_the_host_more_often_than_its_budget() {
    local_runtime_only!();
    let setup = || {
        Setup::new()
            // Counting them is a part of each change.
            .variable("max_changes_per_minute", "1000000")
            .variable("allow_insecure_urls", "true")
            .variable("delivery_scheme", "*")
            .into_private_networks()
    };
    let receiver = Receiver::answering("200 OK", b"");
    let of_events = |endpoint| matches!(endpoint, Publish | ReadEvent | Attempt);
    let sum = check(setup, &receiver, budgets(|endpoint| !of_events(endpoint))).await;
    // A runtime that lost sight of a kind of call would find every budget kept.
    for (kind, count) in KINDS.iter().zip(sum) {
        assert!(
            count > 0 || kind.contains(&"sql"),
            "{kind:?} are not counted"
        );
    }
}

#[tokio::test]
async fn no_publish_and_no_read_of_an_event_calls_the_host_more_often_than_its_budget() {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let of = |endpoint| matches!(endpoint, Publish | ReadEvent);
    let sum = check(events, &receiver, budgets(of)).await;
    for (kind, count) in KINDS.iter().zip(sum) {
        assert!(
            count > 0 || kind.contains(&"set"),
            "{kind:?} are not counted"
        );
    }
}

#[tokio::test]
async fn no_repeated_attempt_calls_the_host_more_often_than_its_budget() {
    local_runtime_only!();
    let receiver = Receiver::answering("500 Internal Server Error", b"");
    check(events, &receiver, budgets(|endpoint| endpoint == Attempt)).await;
}

/// As [`dispatching_setup`], but nobody probes: the probe that is counted is the only one. Whether the instance
/// that published makes two attempts or three depends on chance, and the one that is counted is not the last.
fn events() -> Setup {
    let setup = dispatching_setup().unprobed();
    setup.variable("retry_schedule", "0,1,2,3,3,3")
}
