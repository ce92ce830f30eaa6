//! The samples of `/docs/receivers`, run as they are: each takes what the service sends it, and
//! nothing that was changed on the way; and the test vector.
//!
//! Long because each of seven languages is found, compiled and started in its own way.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use application_webhooks::model::signature;
use application_webhooks::model::signing_secret::SigningSecret;
use base64ct::{Base64, Encoding};
use serde_json::json;
use tokio::process::{Child, Command};

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

/// How a body is sent.
#[derive(Clone, Copy)]
enum Framing {
    /// With its length.
    Whole,
    /// In chunks of 7 bytes (RFC 9112 §7.1), the first one with an extension.
    Chunked,
}

const HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// The request of a delivery with the values of [`HEADERS`].
fn request(values: [&str; 3], body: &str, framing: Framing) -> Vec<u8> {
    let mut request = String::from("POST /hooks HTTP/1.1\r\nhost: receiver\r\n");
    for (name, value) in HEADERS.iter().zip(values) {
        request += &format!("{name}: {value}\r\n");
    }
    request += "content-type: application/json\r\nconnection: close\r\n";
    match framing {
        Framing::Whole => request += &format!("content-length: {}\r\n\r\n{body}", body.len()),
        Framing::Chunked => {
            request += "transfer-encoding: chunked\r\n\r\n";
            for (number, chunk) in body.as_bytes().chunks(7).enumerate() {
                let extension = if number == 0 { ";a=b" } else { "" };
                let chunk = std::str::from_utf8(chunk).expect("ASCII");
                request += &format!("{:x}{extension}\r\n{chunk}\r\n", chunk.len());
            }
            request += "0\r\n\r\n";
        }
    }
    request.into_bytes()
}

/// A port of the loopback that is free.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// Starts a sample, and waits until it listens.
async fn start(mut sample: Command, address: SocketAddr, secret: &str) -> Child {
    let mut sample = sample
        .env("WEBHOOK_SECRET", secret)
        .env("PORT", address.port().to_string())
        .spawn()
        .expect("the sample starts");
    poll("the sample listens", PATIENCE, || {
        let ended = sample.try_wait().expect("wait for the sample");
        assert!(ended.is_none(), "the sample ended: {ended:?}");
        TcpStream::connect(address).ok()
    })
    .await;
    sample
}

/// `sample` makes the command, for a port.
async fn takes_what_is_signed_and_refuses_the_rest(sample: impl Fn(u16) -> Command) {
    let vector = vector();
    agrees_with(&vector, &sample).await;
    let address = free();
    let sample = sample(address.port());

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

    let mut sample = start(sample, address, &created.webhook.signing_secret).await;
    let url = json!({ "url": format!("http://{address}/hooks") });
    let change = api.by(&application, "PATCH", &path).json(&url);
    change.expect(200).await;
    let result = api.by(&application, "POST", &test).expect(200).await.json();
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(result["httpStatusCode"], 204, "{result}");

    let body = String::from_utf8(delivery.body.clone()).expect("UTF-8");
    let answer = |change: &dyn Fn(&str, &str) -> String, framing| {
        let values = HEADERS.map(|name| change(name, delivery.header(name)));
        let values = values.each_ref().map(String::as_str);
        status(address, &request(values, &change("body", &body), framing))
    };
    let as_it_was = |_: &str, value: &str| value.to_owned();
    assert_eq!(answer(&as_it_was, Framing::Whole), 204);
    assert_eq!(answer(&as_it_was, Framing::Chunked), 204);
    for (changed, from, to) in [
        ("body", "webhook.test", "webhook.tesT"),
        ("body", "{", "{ "),
        ("webhook-id", "msg_", "msg_0"),
        ("webhook-timestamp", "1", "2"),
        ("webhook-signature", "v1,", "v2,"),
        ("webhook-signature", "v1,", "v1,AAAA"),
    ] {
        let tamper = |name: &str, value: &str| match name == changed {
            true => {
                assert!(value.contains(from), "{name}: {value}");
                value.replacen(from, to, 1)
            }
            false => value.to_owned(),
        };
        for framing in [Framing::Whole, Framing::Chunked] {
            assert_eq!(answer(&tamper, framing), 400, "{changed} with {to}");
        }
    }
    sample.kill().await.expect("end the sample");
}

fn status(address: SocketAddr, request: &[u8]) -> u16 {
    raw::exchange(address, request).status
}

/// The test vector of `/docs/receivers`.
struct Vector {
    secret: String,
    id: String,
    timestamp: i64,
    body: String,
    signature: String,
}

/// What the page's table has.
fn vector() -> Vector {
    let page = include_str!("../../reference/page/receivers.html");
    let (_, table) = page.split_once(r#"<h3 id="vector">"#).expect("a vector");
    let cell = |name: &str| {
        let row = format!(r#"<th scope="row">{name}</th>"#);
        let (_, row) = table.split_once(&row).unwrap_or_else(|| panic!("{name}"));
        let (_, row) = row.split_once("<td><code>").expect("a cell");
        row.split_once("</code></td>")
            .expect("its end")
            .0
            .to_owned()
    };
    Vector {
        secret: cell("secret"),
        id: cell("<code>webhook-id</code>"),
        timestamp: cell("<code>webhook-timestamp</code>")
            .parse()
            .expect("seconds"),
        body: cell("body, 99 bytes"),
        signature: cell("<code>webhook-signature</code>"),
    }
}

impl Vector {
    /// The signature that the service makes of it, at another time if need be.
    fn signed(&self, timestamp: i64) -> String {
        let base64 = self.secret.strip_prefix("whsec_").expect("a secret");
        let key = Base64::decode_vec(base64).expect("base64");
        let secret = SigningSecret::from_bytes(key.try_into().expect("36 bytes"));
        signature::element(&self.id, timestamp, self.body.as_bytes(), &secret)
    }

    fn request(&self, timestamp: i64, signature: &str) -> Vec<u8> {
        let values = [&self.id, &timestamp.to_string(), signature];
        request(values, &self.body, Framing::Whole)
    }
}

/// A sample takes the vector as it would be signed now, and refuses it as it is: it is too old.
async fn agrees_with(vector: &Vector, sample: &impl Fn(u16) -> Command) {
    let address = free();
    let mut sample = start(sample(address.port()), address, &vector.secret).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs() as i64;
    let old = vector.request(vector.timestamp, &vector.signature);
    assert_eq!(status(address, &old), 400, "as it is");
    let fresh = vector.signed(now);
    assert_eq!(status(address, &vector.request(now, &fresh)), 204, "now");
    // As during a rotation, beside one of another secret and one of a version to come.
    let other = format!("v1,{} v1a,AAAA {fresh}", "A".repeat(43) + "=");
    assert_eq!(
        status(address, &vector.request(now, &other)),
        204,
        "beside others"
    );
    for (off, expected) in [(-240, 204), (240, 204), (-400, 400), (400, 400)] {
        let signature = vector.signed(now + off);
        let request = vector.request(now + off, &signature);
        assert_eq!(status(address, &request), expected, "{off} seconds off");
    }
    sample.kill().await.expect("end the sample");
}

/// The page's vector is what this service signs, and what the official library does; the guide has the same.
#[test]
fn the_test_vector_is_what_the_service_and_the_official_library_sign() {
    let vector = vector();
    assert_eq!(vector.signed(vector.timestamp), vector.signature);
    let library = standardwebhooks::Webhook::new(&vector.secret).expect("a secret");
    let signature = library.sign(&vector.id, vector.timestamp, vector.body.as_bytes());
    assert_eq!(signature.expect("signed"), vector.signature);
    assert_eq!(vector.body.len(), 99);
    let guide = include_str!("../../docs/receiving.md");
    for part in [&vector.secret, &vector.id, &vector.body, &vector.signature] {
        assert!(guide.contains(part), "{part}");
    }
    // The key that the page shows.
    let page = include_str!("../../reference/page/receivers.html");
    let base64 = vector.secret.strip_prefix("whsec_").expect("a secret");
    let key = base16ct::lower::encode_string(&Base64::decode_vec(base64).expect("base64"));
    assert!(page.contains(&format!("<code>{key}</code>")), "{key}");
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
    let sample = |_| {
        let mut sample = command(python(), &directory);
        sample.arg("receiver.py");
        sample
    };
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
    let sample = |_| {
        let mut sample = command("node", &directory);
        sample.arg("receiver.mjs");
        sample
    };
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
    let sample = |_| command(directory.join("receiver"), &directory);
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
    let sample = |_| {
        let mut sample = command("ruby", &directory);
        sample.arg("receiver.rb");
        sample
    };
    takes_what_is_signed_and_refuses_the_rest(sample).await;
}

#[tokio::test]
async fn the_php_receiver_takes_what_is_signed_and_refuses_the_rest() {
    let _busy = crate::support::busy().await;
    let directory = scratch("receiver.php");
    if !succeeds(command("php", &directory).arg("--version")).await {
        report::not_run("the receiver in PHP", "PHP is not installed");
        return;
    }
    let sample = |port| {
        let mut sample = command("php", &directory);
        sample.args(["-S", &format!("0.0.0.0:{port}"), "receiver.php"]);
        sample.stderr(Stdio::null());
        sample
    };
    takes_what_is_signed_and_refuses_the_rest(sample).await;
}

#[tokio::test]
async fn the_java_receiver_takes_what_is_signed_and_refuses_the_rest() {
    let _busy = crate::support::busy().await;
    let directory = scratch("Receiver.java");
    // Without a compiler `java` runs no source.
    if !succeeds(command("javac", &directory).arg("--version")).await {
        report::not_run("the receiver in Java", "no JDK is installed");
        return;
    }
    let sample = |_| {
        let mut sample = command("java", &directory);
        sample.arg("Receiver.java");
        sample
    };
    takes_what_is_signed_and_refuses_the_rest(sample).await;
}

#[tokio::test]
async fn the_csharp_receiver_takes_what_is_signed_and_refuses_the_rest() {
    let _busy = crate::support::busy().await;
    let directory = scratch("Receiver.cs");
    if !(succeeds(command("mcs", &directory).arg("--version")).await
        && succeeds(command("mono", &directory).arg("--version")).await)
    {
        report::not_run("the receiver in C#", "Mono is not installed");
        return;
    }
    let compiled = command("mcs", &directory).arg("Receiver.cs").status().await;
    assert!(compiled.expect("mcs starts").success(), "mcs Receiver.cs");
    let sample = |_| {
        let mut sample = command("mono", &directory);
        sample.arg("Receiver.exe");
        sample
    };
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
