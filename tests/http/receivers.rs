//! The samples of `/docs/receivers`, run as they are: each takes what the service sends it, and
//! nothing that was changed on the way.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use crate::support::receiver::Received;
use crate::support::{Receiver, delivering, poll, python, raw, report, standard, unique};

/// A compiler or an interpreter may start cold.
const PATIENCE: Duration = Duration::from_secs(120);

/// The directory of the samples.
fn samples() -> PathBuf {
    project().join("reference/receivers")
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of one sample, inside of the target directory.
fn scratch(sample: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique(sample));
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = samples().join(sample);
    std::fs::copy(&file, directory.join(sample)).unwrap_or_else(|e| panic!("{sample}: {e}"));
    directory
}

fn command(program: impl AsRef<std::ffi::OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Whether it starts, and ends well.
async fn succeeds(command: &mut Command) -> bool {
    let status = tokio::time::timeout(PATIENCE, command.stderr(Stdio::null()).status()).await;
    matches!(status, Ok(Ok(status)) if status.success())
}

/// The request of a delivery, with another body and other headers if need be.
fn request(delivery: &Received, change: impl Fn(&str, &str) -> String) -> Vec<u8> {
    let body = String::from_utf8(delivery.body.clone()).expect("UTF-8");
    let body = change("body", &body);
    let mut request = String::from("POST /hooks HTTP/1.1\r\nhost: receiver\r\n");
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = change(name, delivery.header(name));
        request += &format!("{name}: {value}\r\n");
    }
    request += "content-type: application/json\r\nconnection: close\r\n";
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    request.into_bytes()
}

async fn takes_what_is_signed_and_refuses_the_rest(mut sample: Command) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);

    // The service sends to a receiver of the test's first, so that it can be looked at.
    let looked_at = Receiver::answering("200 OK", b"");
    let api = delivering();
    let application = api.application();
    let created = api.create(&application).url(&looked_at.url());
    let created = created.expect_created().await;
    let path = application.webhook_path(&created.webhook.id);
    let test = format!("{path}/test");
    api.by(&application, "POST", &test).expect(200).await;
    let delivery = looked_at.last();

    let mut sample = sample
        .env("WEBHOOK_SECRET", &created.webhook.signing_secret)
        .env("PORT", address.port().to_string())
        .spawn()
        .expect("the sample starts");
    poll("the sample listens", PATIENCE, || {
        let ended = sample.try_wait().expect("wait for the sample");
        assert!(ended.is_none(), "the sample ended: {ended:?}");
        TcpStream::connect(address).ok()
    })
    .await;

    let url = json!({ "url": format!("http://{address}/hooks") });
    let change = api.by(&application, "PATCH", &path).json(&url);
    change.expect(200).await;
    let result = api.by(&application, "POST", &test).expect(200).await.json();
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(result["httpStatusCode"], 204, "{result}");

    let answer = |change: &dyn Fn(&str, &str) -> String| status(address, &delivery, change);
    let as_it_was = |_: &str, value: &str| value.to_owned();
    assert_eq!(answer(&as_it_was), 204);
    for (changed, from, to) in [
        ("body", "webhook.test", "webhook.tesT"),
        ("body", "{", "{ "),
        ("webhook-id", "msg_", "msg_0"),
        ("webhook-timestamp", "1", "2"),
        ("webhook-signature", "v1,", "v2,"),
        ("webhook-signature", "v1,", "v1,AAAA"),
    ] {
        let tampered = answer(&|name, value| match name == changed {
            true => {
                assert!(value.contains(from), "{name}: {value}");
                value.replacen(from, to, 1)
            }
            false => value.to_owned(),
        });
        assert_eq!(tampered, 400, "{changed} with {to}");
    }
    sample.kill().await.expect("end the sample");
}

fn status(address: SocketAddr, delivery: &Received, change: &dyn Fn(&str, &str) -> String) -> u16 {
    raw::exchange(address, &request(delivery, change)).status
}

#[tokio::test]
async fn the_python_receiver_takes_what_is_signed_and_refuses_the_rest() {
    let _busy = crate::support::busy().await;
    let directory = scratch("receiver.py");
    let mut probe = command(python(), &directory);
    if !succeeds(probe.args(["-c", "import standardwebhooks"])).await {
        report::client_missing("the receiver in Python: PyPI's standardwebhooks");
        return;
    }
    let mut sample = command(python(), &directory);
    sample.arg("receiver.py");
    takes_what_is_signed_and_refuses_the_rest(sample).await;
}

#[tokio::test]
async fn the_javascript_receiver_takes_what_is_signed_and_refuses_the_rest() {
    let _busy = crate::support::busy().await;
    let modules = project().join("target/tools/standardwebhooks/node_modules");
    let directory = scratch("receiver.mjs");
    if !modules.join("standardwebhooks").exists() {
        report::client_missing("the receiver in JavaScript: npm's standardwebhooks");
        return;
    }
    std::os::unix::fs::symlink(modules, directory.join("node_modules")).expect("a link");
    let mut sample = command("node", &directory);
    sample.arg("receiver.mjs");
    takes_what_is_signed_and_refuses_the_rest(sample).await;
}

#[tokio::test]
async fn the_go_receiver_takes_what_is_signed_and_refuses_the_rest() {
    let _busy = crate::support::busy().await;
    const LIBRARY: &str = "github.com/standard-webhooks/standard-webhooks/libraries";
    let directory = scratch("receiver.go");
    if !(succeeds(command("go", &directory).args(["mod", "init", "receiver"])).await
        && succeeds(command("go", &directory).args(["get", LIBRARY])).await)
    {
        report::not_run("the receiver in Go", "its library cannot be installed");
        return;
    }
    let mut build = command("go", &directory);
    build.args(["build", "-o", "receiver", "receiver.go"]);
    let built = build.status().await.expect("go starts");
    assert!(built.success(), "go build: {built}");
    let sample = command(directory.join("receiver"), &directory);
    takes_what_is_signed_and_refuses_the_rest(sample).await;
}

#[tokio::test]
async fn the_ruby_receiver_takes_what_is_signed_and_refuses_the_rest() {
    let _busy = crate::support::busy().await;
    let directory = scratch("receiver.rb");
    let libraries = "require 'standardwebhooks'; require 'webrick'";
    if !succeeds(command("ruby", &directory).args(["-e", libraries])).await {
        report::not_run("the receiver in Ruby", "its gems are not installed");
        return;
    }
    let mut sample = command("ruby", &directory);
    sample.arg("receiver.rb");
    takes_what_is_signed_and_refuses_the_rest(sample).await;
}

/// docs/receiving.md is served as a page, and its test vector is what the official library signs.
#[tokio::test]
async fn the_guide_to_receiving_is_served_and_its_test_vector_is_right() {
    let guide = include_str!("../../docs/receiving.md");
    let page = crate::support::standard().request("GET", "/docs/receiving");
    let page = page.send_unchecked().await.expect("an answer");
    assert_eq!(page.status, 200);
    let media_type = page.header("content-type");
    assert_eq!(media_type, Some("text/html; charset=utf-8"));
    for heading in guide.lines().filter_map(|line| line.strip_prefix("## ")) {
        let heading = format!("<h2>{heading}</h2>");
        assert!(page.text.contains(&heading), "{heading}");
    }

    let cell = |name: &str| {
        let row = guide.lines().find_map(|line| {
            let row = line.strip_prefix(&format!("| {name} | `"))?;
            row.strip_suffix("` |")
        });
        row.unwrap_or_else(|| panic!("no row {name}"))
    };
    let library = standardwebhooks::Webhook::new(cell("secret")).expect("a secret");
    let timestamp = cell("`webhook-timestamp`").parse().expect("seconds");
    let signature = library.sign(cell("`webhook-id`"), timestamp, cell("body").as_bytes());
    assert_eq!(signature.expect("signed"), cell("`webhook-signature`"));
    // The request that is shown is the vector's.
    for shown in [cell("`webhook-signature`"), cell("body")] {
        assert_eq!(guide.matches(shown).count(), 2, "{shown}");
    }
}

/// What the page says in numbers are the service's defaults.
#[tokio::test]
async fn the_page_says_what_the_delivery_policy_says() {
    let api = standard();
    let page = api.request("GET", "/docs/receivers").send_unchecked().await;
    let page = page.expect("a page").text;
    let words: Vec<&str> = page.split_whitespace().collect();
    let page = words.join(" ");
    let policy = api.request("GET", "/api/v1/delivery-policy");
    let policy = policy.expect(200).await.json();
    let schedule = policy["retryScheduleSeconds"].as_array().expect("pauses");
    let hours: u64 = schedule
        .iter()
        .filter_map(|pause| pause.as_u64())
        .sum::<u64>()
        / 3600;
    for said in [
        format!("{hours} hours in all"),
        format!("{} days, with the body", policy["retentionDays"]),
        format!("longer than {} seconds", policy["attemptTimeoutSeconds"]),
        "Every repeat has the same <code>webhook-id</code>".to_owned(),
        "/webhooks/{webhookId}/verify</code>".to_owned(),
        "bodyReserialized".to_owned(),
    ] {
        assert!(page.contains(&said), "{said}");
    }
    let document = api.request("GET", "/openapi.json").send_unchecked().await;
    let document = document.expect("a document").json();
    let path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/verify";
    assert!(document["paths"][path]["post"].is_object());
}
