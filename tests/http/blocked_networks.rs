//! What production adds to the rules for URLs: a name whose address is private is not connected
//! to, by the runtime config that we ship.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::server::on_spin;
use crate::support::{Receiver, Server, Setup, delivering};

/// Names, and what the local runtime resolves them to. The system knows `localhost`.
const RESOLVED: &[(&str, &str)] = &[
    ("loopback.example.com", "127.0.0.1"),
    ("mapped.example.com", "::ffff:127.0.0.1"),
    ("this-host.example.com", "0.0.0.0"),
    ("loopback6.example.com", "::1"),
    ("private.example.com", "10.0.0.1"),
    ("metadata.example.com", "169.254.169.254"),
    ("unique-local.example.com", "fd00::1"),
];

/// A server with the shipped runtime config, whose operator allows all that the URL rules forbid:
/// so nothing but the block is left to stop a delivery.
fn blocking() -> Server {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/runtime-config.toml");
    let setup = Setup::new()
        .runtime_config(&shipped)
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
    let mut hosts = vec!["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"];
    if !on_spin() {
        hosts.extend(RESOLVED.iter().map(|(name, _)| name));
    }
    for scheme in ["http", "https"] {
        for host in &hosts {
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
