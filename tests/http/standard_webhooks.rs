//! Deliveries as merchants take them: over HTTPS, verified by the official libraries of Standard
//! Webhooks for Rust, Python and JavaScript.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::receiver::Received;
use crate::support::server::on_spin;
use crate::support::{Application, Authority, PATIENCE, Receiver, Server, Setup, poll, report};

/// The endpoint's name. Spin resolves names as the system does, which knows this one.
fn host() -> &'static str {
    if on_spin() {
        "localhost"
    } else {
        "hooks.merchant.example.com"
    }
}

/// A server as in production, but that the endpoint is on this machine, and that on Spin the URL
/// rules would refuse its name; and with a schedule of seconds.
fn trusting(authority: &Authority) -> Server {
    Setup::new()
        .trusting(authority, &[host()])
        .variable("allow_insecure_urls", &on_spin().to_string())
        .variable("store_timeout_ms", "20000")
        .variable(
            "retry_schedule",
            &SCHEDULE.map(|pause| pause.to_string()).join(","),
        )
        .probed()
        .start()
}

/// An event's first attempt and a retry are made before a rotation, a retry within [`GRACE`] after it, and
/// one when that is over.
const SCHEDULE: [u64; 4] = [0, 2, 4, 14];

/// How long the first secret stays valid after the rotation. Long enough for one delivery on a
/// busy machine.
const GRACE: Duration = Duration::from_secs(12);

/// A delivery, or what somebody made of it, and whether it must verify with a secret.
struct Case {
    what: &'static str,
    secret: String,
    delivery: Received,
    verifies: bool,
}

/// Delivers before, during and after a rotation, to a real HTTPS server.
async fn cases() -> Vec<Case> {
    let authority = Authority::new();
    let receiver = Receiver::https(&authority, host(), "200 OK", b"thanks");
    let api = trusting(&authority);
    let application = api.application();
    let create = api.create(&application).url(&receiver.url());
    let webhook = create.expect_created().await.webhook;
    let path = application.webhook_path(&webhook.id);
    let old = webhook.signing_secret;

    let before = deliver(&api, &application, &path, &receiver).await;
    let rotate = api.by(&application, "POST", &format!("{path}/rotate"));
    let grace = json!({ "gracePeriodSeconds": GRACE.as_secs() });
    let rotated = rotate.json(&grace).expect(200).await.json();
    let since = Instant::now();
    let new = rotated["signingSecret"]
        .as_str()
        .expect("a secret")
        .to_owned();
    let during = deliver(&api, &application, &path, &receiver).await;
    tokio::time::sleep(GRACE.saturating_sub(since.elapsed()) + Duration::from_millis(100)).await;
    let after = deliver(&api, &application, &path, &receiver).await;

    let mut cases = Vec::new();
    let mut case = |what, secret: &str, delivery: &Received, verifies| {
        let (secret, delivery) = (secret.to_owned(), delivery.clone());
        cases.push(Case {
            what,
            secret,
            delivery,
            verifies,
        });
    };
    case("before, the secret", &old, &before, true);
    case("before, the one that comes", &new, &before, false);
    case("during, the old secret", &old, &during, true);
    case("during, the new secret", &new, &during, true);
    case("after, the new secret", &new, &after, true);
    case("after, the one whose grace is over", &old, &after, false);
    for secret in [&old, &new] {
        for (what, changed) in changed(&during) {
            case(what, secret, &changed, false);
        }
    }
    cases
}

/// First attempts and retries of events before, during and after a rotation, to a real HTTPS server: a retry
/// is signed with the secrets of its own moment, not with those of the event's.
async fn cases_of_events() -> Vec<Case> {
    let authority = Authority::new();
    let receiver = Receiver::https(&authority, host(), "500 No", b"");
    let api = trusting(&authority);
    let application = api.application();
    let create = api.create(&application).url(&receiver.url());
    let webhook = create.expect_created().await.webhook;
    let path = application.webhook_path(&webhook.id);
    let old = webhook.signing_secret;
    let publish = async || {
        let published = api.publish(&application).expect(202).await.json();
        published["id"].as_str().expect("an id").to_owned()
    };

    let early = publish().await;
    let first_before = attempt(&receiver, &early, 1).await;
    let retry_before = attempt(&receiver, &early, 2).await;
    let rotate = api.by(&application, "POST", &format!("{path}/rotate"));
    let grace = json!({ "gracePeriodSeconds": GRACE.as_secs() });
    let rotated = rotate.json(&grace).expect(200).await.json();
    let new = rotated["signingSecret"].as_str().expect("a secret");
    let first_during = attempt(&receiver, &publish().await, 1).await;
    let retry_during = attempt(&receiver, &early, 3).await;
    let retry_after = attempt(&receiver, &early, 4).await;
    let first_after = attempt(&receiver, &publish().await, 1).await;
    assert_eq!(
        retry_after.body, first_before.body,
        "the bytes of the publish"
    );

    let mut cases = Vec::new();
    for (what, delivery, by_old, by_new) in [
        ("before, a first attempt", &first_before, true, false),
        ("before, a retry", &retry_before, true, false),
        ("during, a first attempt", &first_during, true, true),
        ("during, a retry", &retry_during, true, true),
        ("after, a retry", &retry_after, false, true),
        ("after, a first attempt", &first_after, false, true),
    ] {
        for (secret, verifies) in [(old.as_str(), by_old), (new, by_new)] {
            let (secret, delivery) = (secret.to_owned(), delivery.clone());
            cases.push(Case {
                what,
                secret,
                delivery,
                verifies,
            });
        }
    }
    cases
}

/// The attempt of this number of an event, as soon as it comes.
async fn attempt(receiver: &Receiver, event: &str, number: u32) -> Received {
    let number = number.to_string();
    let is_it = |sent: &Received| {
        sent.header("webhook-id") == event && sent.header("webhook-attempt") == number
    };
    poll("an attempt", PATIENCE, || {
        receiver.received().into_iter().find(is_it)
    })
    .await
}

async fn deliver(
    api: &Server,
    application: &Application,
    path: &str,
    receiver: &Receiver,
) -> Received {
    let test = api.by(application, "POST", &format!("{path}/test"));
    let result = test.expect(200).await;
    assert_eq!(result.json()["success"], true, "{}", result.text);
    assert_eq!(result.json()["responseBody"], "thanks");
    receiver.last()
}

/// What others could make of a delivery on its way.
fn changed(delivery: &Received) -> Vec<(&'static str, Received)> {
    let mut longer = delivery.clone();
    longer.body.push(b' ');
    let mut other = delivery.clone();
    let text = String::from_utf8(other.body).expect("UTF-8");
    other.body = text.replacen("webhook.test", "webhook.tess", 1).into();
    let with = |name: &'static str, value: String| {
        let mut changed = delivery.clone();
        let value = value.parse().expect("a value");
        changed.headers.insert(name, value);
        changed
    };
    let id = delivery.header("webhook-id");
    let seconds: i64 = delivery
        .header("webhook-timestamp")
        .parse()
        .expect("a time");
    vec![
        ("a longer body", longer),
        ("another body", other),
        ("another id", with("webhook-id", format!("{id}0"))),
        (
            "a later timestamp",
            with("webhook-timestamp", (seconds + 1).to_string()),
        ),
        (
            "an earlier timestamp",
            with("webhook-timestamp", (seconds - 1).to_string()),
        ),
    ]
}

/// The cases as the scripts read them.
fn as_json(cases: &[Case]) -> Value {
    let case = |case: &Case| {
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers = headers.map(|name| (name.to_owned(), json!(case.delivery.header(name))));
        let body = String::from_utf8(case.delivery.body.clone()).expect("UTF-8");
        json!({
            "secret": case.secret,
            "headers": headers.into_iter().collect::<serde_json::Map<_, _>>(),
            "body": body,
        })
    };
    cases.iter().map(case).collect()
}

fn check(library: &str, cases: &[Case], verified: &[bool]) {
    assert_eq!(verified.len(), cases.len(), "{library}");
    for (case, verified) in cases.iter().zip(verified) {
        assert_eq!(*verified, case.verifies, "{library}: {}", case.what);
    }
}

fn by_crate(case: &Case) -> bool {
    let verifier = standardwebhooks::Webhook::new(&case.secret).expect("a secret");
    let result = verifier.verify(&case.delivery.body, &case.delivery.headers);
    match result {
        Ok(()) => true,
        Err(standardwebhooks::WebhookError::InvalidSignature) => false,
        Err(error) => panic!("the crate, {}: {error}", case.what),
    }
}

/// A program in `tests/` that uses a library of others: JSON comes on its standard input and goes to its
/// standard output.
pub struct Script {
    pub library: String,
    program: PathBuf,
    file: &'static str,
    /// The directory that holds `node_modules`.
    argument: Option<PathBuf>,
    /// What must be there.
    pub installed: bool,
}

impl Script {
    /// One in Python, which imports this module.
    pub async fn python(file: &'static str, module: &str) -> Self {
        let program = crate::support::python();
        let probe = Command::new(&program)
            .args(["-c", &format!("import {module}")])
            .stderr(Stdio::null())
            .status();
        Self {
            library: format!("Python's {module}"),
            installed: probe.await.is_ok_and(|status| status.success()),
            program: program.into(),
            file,
            argument: None,
        }
    }

    /// One in JavaScript, which imports this package of npm's.
    pub fn node(file: &'static str, package: &str) -> Self {
        let modules = project().join("target/tools").join(package);
        Self {
            library: format!("npm's {package}"),
            installed: modules.join("node_modules").join(package).exists(),
            program: "node".into(),
            file,
            argument: Some(modules),
        }
    }

    /// What it makes of this.
    pub async fn run<T: serde::de::DeserializeOwned>(&self, input: &Value) -> T {
        let mut child = Command::new(&self.program)
            .arg(project().join("tests").join(self.file))
            .args(&self.argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.library));
        let mut stdin = child.stdin.take().expect("piped");
        stdin
            .write_all(input.to_string().as_bytes())
            .await
            .expect("write");
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("{}: not within {PATIENCE:?}", self.library))
            .expect("output");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", self.library);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{}: {e}: {errors}", self.library))
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn the_official_libraries_verify_deliveries_over_https_around_a_rotation() {
    verify(&cases().await).await;
}

#[tokio::test]
async fn the_official_libraries_verify_first_attempts_and_retries_of_events_around_a_rotation() {
    verify(&cases_of_events().await).await;
}

/// Has each library verify each case.
async fn verify(cases: &[Case]) {
    let by_crate: Vec<bool> = cases.iter().map(by_crate).collect();
    check("crate standardwebhooks", cases, &by_crate);
    let library = "standardwebhooks";
    for script in [
        Script::python("standard_webhooks/verify.py", library).await,
        Script::node("standard_webhooks/verify.mjs", library),
    ] {
        if !script.installed {
            report::client_missing(&script.library);
            continue;
        }
        let verified: Vec<bool> = script.run(&as_json(cases)).await;
        check(&script.library, cases, &verified);
    }
}

/// A receiver that anybody could pretend to be gets nothing.
#[tokio::test]
async fn a_certificate_that_is_unknown_expired_or_another_hosts_gets_no_delivery() {
    let authority = Authority::new();
    let api = trusting(&authority);
    let unknown = Receiver::https(&Authority::new(), host(), "200 OK", b"");
    let other = Receiver::https(&authority, "other.example.com", "200 OK", b"");
    let as_host = other.url().replace("other.example.com", host());
    let expired = Receiver::expired(&authority, host());
    for (receiver, url) in [
        (&unknown, unknown.url()),
        (&other, as_host),
        (&expired, expired.url()),
    ] {
        let application = api.application();
        let created = api.create(&application).url(&url).expect_created().await;
        let published = api.publish(&application).expect(202).await.json();
        let attempt = first_attempt(&api, &application, &published["id"]).await;
        assert_eq!(attempt["error"], "tls", "{url}: {attempt}");
        assert_eq!(attempt["httpStatusCode"], json!(null), "{url}: {attempt}");

        let path = application.webhook_path(&created.webhook.id);
        let test = api.by(&application, "POST", &format!("{path}/test"));
        let result = test.expect(200).await.json();
        assert_eq!(result["success"], false, "{url}");
        assert_eq!(result["error"], "tls", "{url}");
        let detail = result["errorDetail"].as_str().expect("a sentence");
        assert!(detail.contains("certificate"), "{url}: {detail}");
        assert_eq!(result["httpStatusCode"], json!(null), "{url}");
        assert!(receiver.received().is_empty(), "{url}");
    }
}

/// What is recorded of an event's first attempt.
async fn first_attempt(api: &Server, application: &Application, id: &Value) -> Value {
    let path = format!(
        "{}/{}",
        application.events_path(),
        id.as_str().expect("an id")
    );
    let since = Instant::now();
    loop {
        let read = api.by(application, "GET", &path).expect(200).await.json();
        let attempt = &read["deliveries"][0]["lastAttempt"];
        if !attempt.is_null() {
            return attempt.clone();
        }
        assert!(since.elapsed() < PATIENCE, "{read:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
