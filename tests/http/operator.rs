//! The operator's routes: who may use them, and what they do to a store that is served meanwhile.
//!
//! What they find and repair is put into the store before the start and looked at over HTTP, so that
//! it is tested on every store that Spin has. Where a store is shared with other tests, theirs is
//! found too: so each line is looked for by its key.
//!
//! Long because each damage is put into a store, found and repaired.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::contract::{METHOD_NOT_ALLOWED, NO_TOKEN, NOT_FOUND, UNAUTHORIZED};
use crate::support::faults::{Fault, instances_end};
use crate::support::server::OPERATOR_TOKEN;
use crate::support::{
    Application, PATIENCE, Response, Server, Setup, local_runtime_only, poll, standard,
};

/// The operator's routes, each with its method and another one.
const ROUTES: [(&str, &str, &str); 4] = [
    ("POST", "/operator/v1/doctor", "GET"),
    ("POST", "/operator/v1/reindex", "DELETE"),
    ("POST", "/operator/v1/reencrypt", "PUT"),
    ("GET", "/metrics", "POST"),
];

fn roomy() -> Setup {
    Setup::new()
        .variable("operator_token", OPERATOR_TOKEN)
        .variable("store_timeout_ms", "20000")
        .variable("max_webhooks_per_application", "10000")
}

async fn ask(api: &Server, method: &str, path: &str) -> Response {
    let request = api.request(method, path).token(OPERATOR_TOKEN);
    // It reads the whole store, up to five times, while the machine is busy with the changes.
    request.send_within(5 * PATIENCE).await.expect("an answer")
}

/// The lines of a response, read to its end.
async fn lines(api: &Server, path: &str) -> Vec<Value> {
    let response = ask(api, "POST", path).await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert_eq!(
        response.header("content-type"),
        Some("application/x-ndjson")
    );
    assert_eq!(response.header("content-length"), None);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert!(!response.request_id().is_empty());
    let lines = response.text.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert_eq!(
        lines.last().expect("a last line")["type"],
        "done",
        "{lines:?}"
    );
    lines
}

/// The lines of a type about a key: their problem, and what they say of it.
fn about(lines: &[Value], kind: &str, key: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = lines.iter();
    let lines = lines.filter(|line| line["type"] == kind && line["key"] == key);
    lines
        .map(|line| (text(&line["problem"]), text(&line["message"])))
        .collect()
}

/// One line of that type, with this problem and message.
fn finding(problem: &str, message: &str) -> Vec<(String, String)> {
    vec![(problem.to_owned(), message.to_owned())]
}

#[tokio::test]
async fn without_an_operator_token_the_operators_routes_are_not_there() {
    let api = standard();
    let application = api.application();
    for (method, path, other) in ROUTES {
        for method in [method, other, "HEAD", "OPTIONS"] {
            for token in [OPERATOR_TOKEN.to_owned(), application.token()] {
                let request = api.request(method, path).token(&token);
                let refused = request.send().await;
                let body = if method == "HEAD" { "" } else { NOT_FOUND };
                assert_eq!(
                    (refused.status, refused.text.as_str()),
                    (404, body),
                    "{path}"
                );
            }
            let refused = api.request(method, path).send().await;
            assert_eq!(refused.status, 404, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn only_the_operators_token_opens_the_operators_routes_and_it_opens_nothing_else() {
    let api = roomy().start();
    let application = api.application();
    for (method, path, other) in ROUTES {
        for token in [
            &OPERATOR_TOKEN[1..],
            &format!("{OPERATOR_TOKEN}x"),
            &OPERATOR_TOKEN.to_uppercase(),
            &application.token(),
            "x",
        ] {
            let refused = api.request(method, path).token(token).expect(401).await;
            assert_eq!(refused.text, UNAUTHORIZED, "{path}");
            // Nothing about the token that was sent, or the one that was expected.
            let challenge = refused.header("www-authenticate").expect("a challenge");
            assert_eq!(challenge, r#"Bearer error="invalid_token""#, "{path}");
        }
        let refused = api.request(method, path).expect(401).await;
        assert_eq!(refused.text, UNAUTHORIZED, "{path}");
        assert_eq!(refused.header("www-authenticate"), Some(NO_TOKEN));
        let refused = api.request(other, path).expect(405).await;
        assert_eq!(refused.text, METHOD_NOT_ALLOWED, "{path}");
    }
    let merchants = api
        .request("GET", "/api/v1/applications")
        .token(OPERATOR_TOKEN);
    merchants.expect(401).await;
    assert!(!api.output().contains(OPERATOR_TOKEN));
}

#[tokio::test]
async fn a_parameter_that_is_neither_true_nor_false_is_refused() {
    let api = roomy().start();
    for path in ["/operator/v1/doctor?fix=yes", "/operator/v1/doctor?fix="] {
        let request = api.request("POST", path).token(OPERATOR_TOKEN);
        request.expect_bad_fields(&["fix"]).await;
    }
    let request = api
        .request("GET", "/metrics?documents=1")
        .token(OPERATOR_TOKEN);
    request.expect_bad_fields(&["documents"]).await;
}

/// 64 changes at once, again and again, on an application of its own.
struct Load<'a> {
    api: &'a Server,
    application: Application,
    /// The webhooks that were acknowledged, and not deleted.
    told: RefCell<BTreeSet<String>>,
    rounds: Cell<u32>,
    is_over: Cell<bool>,
}

/// The kind of change that removes a webhook, of three.
const DELETE: usize = 2;

impl<'a> Load<'a> {
    fn new(api: &'a Server, application: Application) -> Self {
        Self {
            api,
            application,
            told: RefCell::default(),
            rounds: Cell::default(),
            is_over: Cell::default(),
        }
    }

    fn path(&self, id: &str) -> String {
        self.application.webhook_path(id)
    }

    async fn create(&self) {
        let created = self.api.create(&self.application).expect_created().await;
        self.told.borrow_mut().insert(created.webhook.id);
    }

    async fn change(&self, id: String, kind: usize) {
        let by = |method, path: String| self.api.by(&self.application, method, &path);
        let changed = match kind {
            0 => by("PATCH", self.path(&id)).json(&json!({"isActive": false})),
            1 => by("POST", format!("{}/rotate", self.path(&id))),
            _ => by("DELETE", self.path(&id)),
        };
        let changed = changed.send().await;
        if kind == DELETE {
            assert_eq!(changed.status, 204, "{}", changed.text);
            self.told.borrow_mut().remove(&id);
        } else {
            assert_eq!(changed.status, 200, "{}", changed.text);
        }
    }

    async fn round(&self) {
        // A store that grew with every round would take the doctor longer each time.
        let is_full = self.told.borrow().len() > 96;
        let there: Vec<String> = self.told.borrow().iter().take(32).cloned().collect();
        let changes = there.into_iter().enumerate();
        let changes = changes.map(|(number, id)| {
            let kind = if is_full { DELETE } else { number % 3 };
            self.change(id, kind)
        });
        let creates = (0..32).map(|_| self.create());
        futures::join!(join_all(changes), join_all(creates));
        self.rounds.set(self.rounds.get() + 1);
    }

    /// Runs `work` while the changes go on.
    async fn during(&self, work: impl Future<Output = ()>) {
        let rounds = async {
            while !self.is_over.get() {
                let begun = Instant::now();
                self.round().await;
                // As long a pause as the round took: on a slow machine the work needs time too.
                tokio::time::sleep(Duration::from_secs(1) + begun.elapsed()).await;
            }
        };
        let work = async {
            poll("load", PATIENCE, || (self.rounds.get() > 0).then_some(())).await;
            work.await;
            self.is_over.set(true);
        };
        futures::join!(rounds, work);
    }

    /// All that was acknowledged is there, and in the list soon.
    async fn check(&self) {
        let begun = Instant::now();
        loop {
            let listed = self.listed().await;
            let told = self.told.borrow();
            let lost: Vec<_> = told.difference(&listed).collect();
            if lost.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{lost:?}");
        }
    }

    async fn listed(&self) -> BTreeSet<String> {
        let mut listed = BTreeSet::new();
        for page in 1.. {
            let path = format!("{}?limit=100&page={page}", self.application.path());
            let page = self.api.by(&self.application, "GET", &path);
            let page = page.expect(200).await.json();
            let items = page["items"].as_array().expect("items");
            let ids = items.iter().map(|item| item["id"].as_str().expect("an id"));
            listed.extend(ids.map(str::to_owned));
            if page["hasNextPage"] == false {
                return listed;
            }
        }
        unreachable!("a page is the last")
    }
}

const KEPT: &str = "11111111-1111-4111-8111-111111111111";
const LOST: &str = "22222222-2222-4222-8222-222222222222";
/// A webhook that there is not.
const NONE: &str = "33333333-3333-4333-8333-333333333333";
const TORN: &str = "44444444-4444-4444-8444-444444444444";

fn webhook(application: &Application, id: &str) -> String {
    json!({
        "v": 1, "id": id, "applicationId": application.id, "url": "https://example.com/",
        "isActive": true, "subscribedEvents": ["session.completed"],
        "secret": {"fingerprint": "whsec_****abcd", "sealed": "x"},
        "createdAt": "2026-01-15T08:00:00.000Z",
    })
    .to_string()
}

fn settings() -> String {
    json!({
        "url": "https://example.com/", "isActive": true,
        "subscribedEvents": ["session.completed"], "updatedAt": "2026-01-15T08:00:00.000Z",
    })
    .to_string()
}

#[tokio::test]
async fn doctor_and_reindex_repair_a_damaged_store_while_64_changes_at_once_go_on() {
    let damaged = Application::new();
    let torn = Application::new();
    let ghost = Application::new();
    let webhook_key =
        |application: &Application, id: &str| format!("{}{id}", application.webhook_prefix());
    let remains = ["webhook-settings", "webhook-secrets", "webhook-test"]
        .map(|kind| format!("{kind}/{}/{NONE}", damaged.id));
    let test = json!({"at": "2026-01-15T08:00:00.000Z", "status": "FAILED"}).to_string();
    let torn_webhook = webhook_key(&torn, TORN);
    let orphan = webhook_key(&ghost, LOST);
    let api = roomy()
        .document(&damaged.key(), &damaged.document())
        .document(&webhook_key(&damaged, KEPT), &webhook(&damaged, KEPT))
        .document(&webhook_key(&damaged, LOST), &webhook(&damaged, LOST))
        .document(&damaged.index_key(), &json!([KEPT, NONE]).to_string())
        .document(&remains[0], &settings())
        .document(&remains[1], r#"{"rotations":[]}"#)
        .document(&remains[2], &test)
        .document(&torn.key(), &torn.document())
        .document(&webhook_key(&torn, LOST), &webhook(&torn, LOST))
        .document(&torn_webhook, r#"{"v":1,"#)
        .document(&torn.index_key(), r#"["1"#)
        .document(&orphan, &webhook(&ghost, LOST))
        .document(&ghost.index_key(), &json!([LOST]).to_string())
        .document("others/x", "not ours")
        .start();
    let load = Load::new(&api, api.application());
    let left = finding("remains", "is left of a webhook that is not there");
    let for_people = |seen: &[Value]| {
        let unreadable = finding("unreadable", "cannot be read; requests for it get 502");
        assert_eq!(about(seen, "finding", &torn_webhook), unreadable);
        let without = finding("withoutApplication", "its application is not there");
        assert_eq!(about(seen, "finding", &orphan), without);
    };
    load.during(async {
        let seen = lines(&api, "/operator/v1/doctor").await;
        let index = finding("index", "1 ids lack, 1 are without a document");
        assert_eq!(about(&seen, "finding", &damaged.index_key()), index);
        let index = finding("index", "cannot be read; 1 ids belong there");
        assert_eq!(about(&seen, "finding", &torn.index_key()), index);
        for key in &remains {
            assert_eq!(about(&seen, "finding", key), left, "{key}");
        }
        for_people(&seen);
        assert!(about(&seen, "finding", "others/x").is_empty());
        assert!(seen.last().expect("a last line")["left"].as_u64() >= Some(6));

        let seen = lines(&api, "/operator/v1/reindex").await;
        for index in [damaged.index_key(), torn.index_key()] {
            assert_eq!(about(&seen, "repaired", &index).len(), 1, "{index}");
        }
        assert!(
            about(&seen, "finding", &remains[0]).is_empty(),
            "it is not an index"
        );

        let seen = lines(&api, "/operator/v1/doctor?fix=true").await;
        for index in [damaged.index_key(), torn.index_key()] {
            assert!(about(&seen, "finding", &index).is_empty(), "{index}");
        }
        for key in &remains {
            assert_eq!(about(&seen, "repaired", key).len(), 1, "{key}");
        }
        // What could open to a secret is not copied.
        assert_eq!(about(&seen, "copy", &remains[0]).len(), 1);
        assert!(about(&seen, "copy", &remains[1]).is_empty());
        for_people(&seen);
    })
    .await;
    load.check().await;

    let seen = lines(&api, "/operator/v1/doctor").await;
    let mut sound = remains.to_vec();
    sound.extend([
        damaged.index_key(),
        torn.index_key(),
        load.application.index_key(),
    ]);
    for key in sound {
        assert!(about(&seen, "finding", &key).is_empty(), "{key}");
    }
    for_people(&seen);
    let page = api.by(&damaged, "GET", &damaged.path()).expect(200).await;
    let items = page.json()["items"].as_array().cloned().expect("items");
    let listed: BTreeSet<_> = items.iter().map(|item| item["id"].as_str()).collect();
    assert_eq!(listed, BTreeSet::from([Some(KEPT), Some(LOST)]));
}

#[tokio::test]
async fn after_reencrypt_the_previous_secrets_keys_are_needed_no_more() {
    let keys = [1, 2, 3].map(|byte| Base64::encode_string(&[byte; 32]));
    let api = roomy().variable("secrets_key", &keys[0]).start();
    let (application, busy) = (api.application(), api.application());
    let create = |api: &Server| api.create(&application);
    let by = |api: &Server, method: &str, path: &str| api.by(&application, method, path);
    let first = create(&api).header("idempotency-key", "first");
    let first = first.expect_created().await.webhook;
    let deleted = create(&api).expect_created().await.webhook;
    let path = application.webhook_path(&first.id);
    let rotated = by(&api, "POST", &format!("{path}/rotate"))
        .expect(200)
        .await;

    // Changed once, and again before everything is under the second key.
    let api = api.stop().variable("secrets_key", &keys[1]);
    let api = api.variable("secrets_key_previous", &keys[0]).start();
    let second = create(&api).expect_created().await.webhook;
    let previous = format!("{},{}", keys[1], keys[0]);
    let api = api.stop().variable("secrets_key", &keys[2]);
    let api = api.variable("secrets_key_previous", &previous).start();

    let load = Load::new(&api, busy);
    load.during(async {
        let path = application.webhook_path(&deleted.id);
        let (seen, gone) = futures::join!(
            lines(&api, "/operator/v1/reencrypt"),
            by(&api, "DELETE", &path).expect(204),
        );
        assert_eq!(gone.text, "");
        for id in [&first.id, &second.id, &deleted.id] {
            let key = format!("{}{id}", application.webhook_prefix());
            assert!(about(&seen, "finding", &key).is_empty(), "{seen:?}");
        }
        let done = seen.last().expect("a last line");
        assert!(done["repaired"].as_u64() >= Some(2), "{done}");
        // The create's repeat, for a day.
        assert!(done["repeats"].as_u64() >= Some(1), "{done}");
        assert!(done["previousKeyNeededUntil"].is_string(), "{done}");
    })
    .await;
    load.check().await;

    let api = api.stop().without("secrets_key_previous").start();
    for (id, fingerprint) in [
        (&first.id, &rotated.json()["keyFingerprint"]),
        (&second.id, &json!(second.key_fingerprint)),
    ] {
        let path = application.webhook_path(id);
        let read = by(&api, "GET", &path).expect(200).await.json();
        assert_eq!(read["keyFingerprint"], *fingerprint);
        // Nobody listens there; what counts is that all secrets could be decrypted to sign with.
        let test = by(&api, "POST", &format!("{path}/test")).expect(200).await;
        assert_eq!(test.json()["success"], false);
    }
    let path = application.webhook_path(&deleted.id);
    by(&api, "GET", &path).expect(404).await;
    let seen = lines(&api, "/operator/v1/doctor").await;
    for kind in ["webhook", "webhook-secrets"] {
        let key = format!("{kind}/{}/{}", application.id, deleted.id);
        assert!(about(&seen, "finding", &key).is_empty(), "{key}");
    }
}

/// Begins a request of the operator's, and returns its connection.
async fn begin(api: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(api.address()).await.expect("connect");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {OPERATOR_TOKEN}\r\n\
         content-length: 0\r\n\r\n",
        api.address()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn lines_come_while_the_work_goes_on_and_work_that_is_cut_off_is_called_again() {
    local_runtime_only!();
    let api = roomy().variable("store_timeout_ms", "5000").start();
    let application = api.application();
    api.create(&application).expect_created().await;
    // Until then, the create looks after its id in the index, and would write it back.
    instances_end(&api).await;
    api.store().set(&application.index_key(), b"[]");

    let hang = Fault::hang("set").on(application.index_key()).inject(&api);
    let mut stream = begin(&api, "/operator/v1/doctor?fix=true").await;
    let mut text = String::new();
    let read = async {
        // The work cannot end, and its lines come all the same.
        while !text.contains(r#""type":"finding""#) {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.expect("bytes");
            assert!(count > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("lines");
    assert!(text.contains(r#""type":"progress""#), "{text}");
    assert!(!text.contains(r#""type":"done""#), "{text}");
    // Others are served meanwhile, by the same instance too.
    api.by(&application, "GET", &application.path())
        .expect(200)
        .await;
    poll("the repair", PATIENCE, || (hang.hits() > 0).then_some(())).await;
    drop(stream);
    hang.end();

    let seen = lines(&api, "/operator/v1/doctor?fix=true").await;
    assert_eq!(about(&seen, "repaired", &application.index_key()).len(), 1);
    let seen = lines(&api, "/operator/v1/doctor?fix=true").await;
    assert!(about(&seen, "finding", &application.index_key()).is_empty());
}

#[tokio::test]
async fn work_on_a_store_that_fails_says_so_in_its_last_line_and_in_the_log() {
    local_runtime_only!();
    let api = roomy().start();
    for path in ["doctor", "reindex", "reencrypt"] {
        let fault = Fault::error("get-keys").inject(&api);
        let response = ask(&api, "POST", &format!("/operator/v1/{path}")).await;
        assert_eq!(response.status, 200);
        let last = response.text.lines().last().expect("a line");
        let last: Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(last["type"], "stopped", "{last}");
        let message = last["message"].as_str().expect("a message");
        assert!(message.starts_with("store: get-keys failed"), "{message}");
        assert!(
            message.ends_with("nothing is lost: call it again"),
            "{message}"
        );
        let logged = format!("{path} stopped: store: get-keys failed");
        poll("a line in the log", PATIENCE, || {
            let logged =
                |line: &String| line.contains(&logged) && line.contains(response.request_id());
            api.stdout_lines().iter().any(logged).then_some(())
        })
        .await;
        fault.end();
    }
}

#[tokio::test]
async fn the_commands_are_clients_of_the_routes() {
    local_runtime_only!();
    let api = roomy().variable("store_timeout_ms", "5000").start();
    let application = api.application();
    api.create(&application).expect_created().await;
    // Until then, the create looks after its id in the index, and would write it back.
    instances_end(&api).await;
    api.store().set(&application.index_key(), b"[]");

    let seen = api.xtask(&["doctor"]).await;
    assert!(!seen.ok, "{seen:?}");
    let index = format!(
        r#"{{"type":"finding","key":"{}","problem":"index","message":"1 ids lack, 0 are without a document"}}"#,
        application.index_key()
    );
    assert!(seen.stdout.contains(&index), "{seen:?}");
    for command in [&["reindex"][..], &["doctor", "--fix"], &["reencrypt"]] {
        let done = api.xtask(command).await;
        assert!(done.ok, "{done:?}");
    }
    let sound = api.xtask(&["doctor"]).await;
    let done = r#"{"type":"done","found":0,"repaired":0,"left":0}"#;
    assert_eq!(sound.stdout.lines().last(), Some(done), "{sound:?}");
    assert!(sound.ok);

    let closed = api.stop().without("operator_token").start();
    let refused = closed.xtask(&["doctor"]).await;
    assert!(!refused.ok && refused.stdout.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn metrics_are_what_the_store_can_tell() {
    let api = roomy().start();
    let application = api.application();
    api.create(&application).expect_created().await;
    let plain = ask(&api, "GET", "/metrics").await;
    assert_eq!(plain.status, 200);
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(plain.header("content-type"), Some(media_type));
    assert_eq!(
        plain.header("content-length"),
        Some(plain.text.len().to_string().as_str())
    );
    let value = |text: &str, name: &str| {
        let mut lines = text.lines();
        let line =
            lines.find_map(|line| line.strip_prefix(&format!("application_webhooks_{name} ")));
        line.map(|value| value.parse::<f64>().expect("a number"))
    };
    assert_eq!(value(&plain.text, "store_up"), Some(1.0));
    let took = value(&plain.text, "store_answer_seconds");
    assert!(
        took.is_some_and(|took| (0.0..20.0).contains(&took)),
        "{took:?}"
    );
    assert_eq!(
        value(&plain.text, "jwks_age_seconds"),
        None,
        "there is no provider"
    );
    assert!(
        !plain.text.contains("documents"),
        "every key would have to be listed"
    );

    let counted = ask(&api, "GET", "/metrics?documents=true").await.text;
    assert!(
        value(&counted, r#"documents{kind="webhook"}"#) >= Some(1.0),
        "{counted}"
    );
    assert!(
        value(&counted, r#"documents{kind="application"}"#) >= Some(256.0),
        "{counted}"
    );
    let head = ask(&api, "HEAD", "/metrics").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_store_that_is_away_is_a_figure_and_no_error() {
    local_runtime_only!();
    let api = roomy().start();
    let fault = Fault::error("exists").inject(&api);
    let away = ask(&api, "GET", "/metrics").await;
    assert_eq!(away.status, 200, "{}", away.text);
    assert!(
        away.text.contains("\napplication_webhooks_store_up 0\n"),
        "{}",
        away.text
    );
    fault.end();
}
