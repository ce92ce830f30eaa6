//! What production adds to the rules for URLs, by the runtime config that we ship: a name whose
//! address is private is not connected to, no connection is kept, and who runs the service without
//! the config gets to know it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::operations::NOT_READY;
use crate::support::server::on_spin;
use crate::support::{
    Application, PATIENCE, Receiver, Server, Setup, delivering, local_runtime_only, poll,
};

/// Names, and what the local runtime resolves them to. The system knows `localhost`.
const RESOLVED: &[(&str, &str)] = &[
    ("loopback.example.com", "127.0.0.1"),
    ("mapped.example.com", "::ffff:127.0.0.1"),
    ("this-host.example.com", "0.0.0.0"),
    ("loopback6.example.com", "::1"),
    ("private.example.com", "10.0.0.1"),
    ("metadata.example.com", "169.254.169.254"),
    ("unique-local.example.com", "fd00::1"),
    // What Spin's `private` lets through.
    ("azure.example.com", "168.63.129.16"),
    ("anycast.example.com", "192.0.0.9"),
    ("relay.example.com", "192.88.99.1"),
    ("multicast.example.com", "224.0.0.1"),
    ("compatible.example.com", "::127.0.0.1"),
    ("nat64.example.com", "64:ff9b::127.0.0.1"),
    ("local-nat64.example.com", "64:ff9b:1::127.0.0.1"),
    ("teredo.example.com", "2001:0:7f00:1::"),
    ("six-to-four.example.com", "2002:7f00:1::"),
    ("multicast6.example.com", "ff0e::1"),
    ("unassigned.example.com", "4000::1"),
];

/// A server with the shipped runtime config, whose operator allows all that the URL rules forbid:
/// so nothing but the block is left to stop a delivery.
fn blocking() -> Server {
    let setup = Setup::new()
        .variable("allow_insecure_urls", "true")
        .variable("delivery_scheme", "*")
        .variable("store_timeout_ms", "20000");
    RESOLVED
        .iter()
        .fold(setup, |setup, (name, address)| setup.resolve(name, address))
        .start()
}

/// The answer to a test of a webhook with this URL, and the webhook after it.
async fn test(api: &Server, url: &str) -> (Value, Value) {
    let application = api.application();
    let created = api.create(&application).url(url).expect_created().await;
    let path = application.webhook_path(&created.webhook.id);
    let test = api.by(&application, "POST", &format!("{path}/test"));
    let result = test.expect(200).await.json();
    let read = api.by(&application, "GET", &path).expect(200).await.json();
    (result, read)
}

/// A listener on each loopback, at one port, that never waits.
fn loopbacks() -> (Vec<TcpListener>, u16) {
    let first = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = first.local_addr().expect("an address").port();
    // A machine may have no IPv6, or somebody else at that port.
    let second = TcpListener::bind(("::1", port)).ok();
    let listeners: Vec<_> = std::iter::once(first).chain(second).collect();
    for listener in &listeners {
        listener.set_nonblocking(true).expect("not wait");
    }
    (listeners, port)
}

fn nobody_came(listeners: &[TcpListener]) -> bool {
    listeners.iter().all(|listener| {
        let came = listener.accept();
        came.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    })
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_never_connected_to() {
    let api = blocking();
    let (listeners, port) = loopbacks();
    let mut hosts = vec!["localhost", "127.0.0.1"];
    if !on_spin() {
        hosts.extend(RESOLVED.iter().map(|(name, _)| name));
    }
    for scheme in ["http", "https"] {
        // Over https an IPv6 address is no URL of a webhook.
        let addresses: &[&str] = match scheme {
            "http" => &["[::1]", "[::ffff:127.0.0.1]"],
            _ => &[],
        };
        for host in hosts.iter().chain(addresses) {
            let url = format!("{scheme}://{host}:{port}/");
            let (result, webhook) = test(&api, &url).await;
            assert_eq!(result["success"], false, "{url}");
            assert_eq!(result["error"], "blockedAddress", "{url}");
            assert_eq!(result["httpStatusCode"], json!(null), "{url}");
            assert_eq!(result["responseBody"], json!(null), "{url}");
            assert_eq!(webhook["lastTestStatus"], "FAILED", "{url}");
            assert!(nobody_came(&listeners), "{url}");
        }
    }
}

/// Without the block the same name is reached: the test above sees the block, not a closed door.
#[tokio::test]
async fn without_the_runtime_config_such_a_name_is_reached() {
    let receiver = Receiver::answering("200 OK", b"");
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let (result, _) = test(delivering(), &url).await;
    assert_eq!(result["success"], true);
    assert_eq!(receiver.received().len(), 1);
}

/// To Spin, `self.alt` is the service: a webhook that an earlier release accepted, or one from local
/// development, is not a way into it.
#[tokio::test]
async fn a_webhook_of_the_service_itself_is_not_delivered_to() {
    local_runtime_only!();
    let api = Setup::new()
        .variable("allow_insecure_urls", "true")
        .variable("delivery_scheme", "*")
        .variable("store_timeout_ms", "20000")
        .into_private_networks()
        .start();
    let application = api.application();
    let create = api.create(&application).url("https://self.alt/healthz");
    let webhook = create.expect_created().await.webhook;
    let path = format!("{}/test", application.webhook_path(&webhook.id));
    let reached = api.by(&application, "POST", &path).expect(200).await.json();
    // The API's own answer to a POST.
    assert_eq!(reached["httpStatusCode"], 405, "{reached}");

    let api = api.kill().variable("allow_insecure_urls", "false").start();
    let refused = api.by(&application, "POST", &path).expect(200).await.json();
    assert_eq!(refused["success"], false, "{refused}");
    assert_eq!(refused["httpStatusCode"], json!(null), "{refused}");
}

/// An endpoint that takes one request of each connection, and closes it without a word when another
/// one comes.
struct OneRequestEach {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl OneRequestEach {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(|| answer_once(stream));
            }
        });
        Self {
            url: format!("http://{address}/hooks"),
            connections,
        }
    }
}

fn answer_once(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        let header = line.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length])?;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    reader.get_mut().write_all(answer)?;
    reader.read_exact(&mut [0])
}

/// A webhook of an endpoint, and what its tests answer one after the other.
async fn tests_of(api: &Server, url: &str, count: usize) -> Vec<Value> {
    let application: Application = api.application();
    let created = api.create(&application).url(url).expect_created().await;
    let path = format!("{}/test", application.webhook_path(&created.webhook.id));
    let mut results = Vec::new();
    for _ in 0..count {
        results.push(api.by(&application, "POST", &path).expect(200).await.json());
        // As long as it takes to keep a connection.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    results
}

#[tokio::test]
async fn each_delivery_has_a_connection_of_its_own_with_the_shipped_runtime_config() {
    let endpoint = OneRequestEach::start();
    for result in tests_of(delivering(), &endpoint.url, 5).await {
        assert_eq!(result["success"], true, "{result}");
    }
    assert_eq!(endpoint.connections.load(Ordering::SeqCst), 5);
}

/// The trap that the shipped runtime config avoids: what is on its way on a kept connection is lost
/// when the endpoint closes that.
#[tokio::test]
async fn without_a_runtime_config_a_kept_connection_that_is_closed_fails_a_delivery() {
    let endpoint = OneRequestEach::start();
    let api = Setup::new()
        .variable("allow_insecure_urls", "true")
        .variable("delivery_scheme", "*")
        .variable("store_timeout_ms", "20000")
        .without_runtime_config()
        .start();
    let results = tests_of(&api, &endpoint.url, 10).await;
    assert_eq!(results[0]["success"], true, "{results:?}");
    let failed = |result: &&Value| result["success"] == false;
    assert!(results.iter().any(|result| failed(&result)), "{results:?}");
    assert!(endpoint.connections.load(Ordering::SeqCst) < 10);
}

/// What the log has of level `warn` when one request was answered.
async fn warnings(api: &Server) -> Vec<String> {
    let id = api.request("GET", "/readyz").send().await;
    let id = id.header("x-request-id").expect("an id").to_owned();
    poll("a logged line", PATIENCE, || {
        let lines = api.stdout_lines();
        lines.iter().any(|line| line.contains(&id)).then(|| {
            let warnings = lines
                .iter()
                .filter(|line| line.contains(r#""level":"warn""#));
            warnings.cloned().collect()
        })
    })
    .await
}

#[tokio::test]
async fn without_the_runtime_config_readyz_is_503_and_the_log_says_why() {
    let api = Setup::new().without_runtime_config().start();
    api.request("GET", "/readyz").expect_error(NOT_READY).await;
    api.request("GET", "/healthz").expect(200).await;
    let warnings = warnings(&api).await;
    assert!(!warnings.is_empty());
    for warning in warnings {
        assert!(warning.contains("--runtime-config-file"), "{warning}");
    }
    let lines = api.stdout_lines();
    let refused = lines.iter().find(|line| line.contains(r#""status":503"#));
    let refused = refused.expect("a line of the probe");
    assert!(refused.contains("--runtime-config-file"), "{refused}");
}

#[tokio::test]
async fn with_the_runtime_config_nothing_is_warned_of() {
    let api = Setup::new().start();
    api.request("GET", "/readyz").expect(200).await;
    assert_eq!(warnings(&api).await, [""; 0]);
}

#[tokio::test]
async fn http_urls_that_can_never_be_reached_are_warned_of_in_the_log() {
    let insecure = Setup::new().variable("allow_insecure_urls", "true");
    let api = insecure.clone().start();
    api.request("GET", "/readyz").expect(200).await;
    let warnings_of_api = warnings(&api).await;
    assert!(!warnings_of_api.is_empty());
    for warning in warnings_of_api {
        assert!(warning.contains("delivery_scheme"), "{warning}");
    }
    let api = insecure.another().variable("delivery_scheme", "*").start();
    api.request("GET", "/readyz").expect(200).await;
    assert_eq!(warnings(&api).await, [""; 0]);
}

/// The local runtime finds it out before it serves.
#[tokio::test]
async fn the_local_runtime_warns_at_the_start() {
    local_runtime_only!();
    let api = Setup::new().without_runtime_config().start();
    assert!(
        api.output()
            .contains("warning: host names that resolve to private addresses")
    );
    let api = Setup::new().start();
    assert!(!api.output().contains("warning:"), "{}", api.output());
}
