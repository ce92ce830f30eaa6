//! Faults of the store, through the local runtime's control interface.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::raw;
use super::{PATIENCE, Response, Server, poll};

/// A fault that is not injected yet: what is to happen, to which operations.
#[derive(Clone, Debug)]
pub struct Fault(Map<String, Value>);

impl Fault {
    fn new(action: &str, operation: &str) -> Self {
        Self(Map::from_iter([
            ("action".to_owned(), json!(action)),
            ("op".to_owned(), json!(operation)),
        ]))
    }

    /// The operation fails.
    pub fn error(operation: &str) -> Self {
        Self::new("error", operation)
    }

    /// The operation takes this much longer.
    pub fn delay(operation: &str, delay: Duration) -> Self {
        let mut fault = Self::new("delay", operation);
        let millis = u64::try_from(delay.as_millis()).expect("a short delay");
        fault.0.insert("delayMs".to_owned(), json!(millis));
        fault
    }

    /// The operation never answers.
    pub fn hang(operation: &str) -> Self {
        Self::new("hang", operation)
    }

    /// The whole server dies.
    pub fn crash(operation: &str) -> Self {
        Self::new("crash", operation)
    }

    /// The component traps.
    pub fn trap(operation: &str) -> Self {
        Self::new("trap", operation)
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Only on keys that contain this; for `open`, on the store of this label.
    pub fn on(self, key: impl Into<String>) -> Self {
        self.with("keyContains", key.into())
    }

    /// Only on this key; for `sql`, the statement of this name.
    pub fn exactly(self, key: &str) -> Self {
        self.with("key", key)
    }

    /// Only operations of the request that has this name in its `x-local-runtime-request`.
    pub fn of(self, request: &str) -> Self {
        self.with("request", request)
    }

    /// Only after the operation took effect.
    pub fn after(self) -> Self {
        self.with("when", "after")
    }

    /// Whoever stops waiting does not stop the operation.
    pub fn detached(self) -> Self {
        self.with("detach", true)
    }

    /// Only so many times.
    pub fn times(self, times: u64) -> Self {
        self.with("times", times)
    }

    /// The first so many operations pass.
    pub fn skip(self, operations: u64) -> Self {
        self.with("skip", operations)
    }

    /// Whether it can only concern the test that injects it. What runs a statement, the pump or whoever records
    /// attempts, may be at work for any test; a trap ends what shares the instance.
    fn spares_others(&self) -> bool {
        let names = |member| self.0.contains_key(member);
        let is_named = names("keyContains") || names("key");
        let ends_all = self.0["action"] == "trap" || self.0["action"] == "crash";
        !ends_all && (names("request") || self.0["op"] != "sql" && is_named)
    }

    /// From now on, until the result is dropped.
    pub fn inject(self, server: &Server) -> Injected {
        assert!(
            !server.is_shared() || self.spares_others(),
            "other tests use this server too, and this fault could be theirs: {self:?}"
        );
        let control = server.control();
        let response = call(
            control,
            "POST",
            "/faults",
            &Value::Object(self.0).to_string(),
        );
        assert_eq!(response.status, 201, "{}", response.text);
        Injected {
            control,
            id: response.json()["id"].clone(),
        }
    }
}

/// A fault that happens.
#[must_use = "the fault ends when this is dropped"]
pub struct Injected {
    control: SocketAddr,
    id: Value,
}

impl Injected {
    /// How many operations it has hit.
    pub fn hits(&self) -> u64 {
        let faults = call(self.control, "GET", "/faults", "").json();
        faults
            .as_array()
            .and_then(|faults| faults.iter().find(|fault| fault["id"] == self.id))
            .and_then(|fault| fault["hits"].as_u64())
            .unwrap_or_else(|| panic!("no fault {} in {faults}", self.id))
    }

    /// Ends it.
    pub fn end(self) {}
}

impl Drop for Injected {
    fn drop(&mut self) {
        // A test that fails may have lost its server.
        if !std::thread::panicking() {
            let response = call(self.control, "DELETE", &format!("/faults/{}", self.id), "");
            assert_eq!(response.status, 204, "{}", response.text);
        }
    }
}

/// One operation that a request did.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    pub op: String,
    pub key: String,
    pub after_response: bool,
}

/// The operations so far of the request of this name, in order.
pub fn trace(server: &Server, request: &str) -> Vec<Operation> {
    let trace = call(server.control(), "GET", &format!("/requests/{request}"), "");
    serde_json::from_str(&trace.text).unwrap_or_else(|e| panic!("{e}: {}", trace.text))
}

/// How often the request of this name has called the host so far, by the kinds of calls.
pub fn calls<T: serde::de::DeserializeOwned>(server: &Server, request: &str) -> T {
    let path = format!("/requests/{request}/calls");
    let calls = call(server.control(), "GET", &path, "");
    serde_json::from_str(&calls.text).unwrap_or_else(|e| panic!("{e}: {}", calls.text))
}

/// How many operations all faults together have hit.
pub fn hits(server: &Server) -> u64 {
    let faults = call(server.control(), "GET", "/faults", "").json();
    let faults = faults.as_array().expect("a list of faults");
    faults
        .iter()
        .filter_map(|fault| fault["hits"].as_u64())
        .sum()
}

/// Instances and operations of a server since it started.
pub fn stats(server: &Server) -> Value {
    call(server.control(), "GET", "/stats", "").json()
}

/// Until every instance has ended, as one does that has had no work for a second, behind responses
/// neither: the next request finds a new one.
pub async fn instances_end(server: &Server) {
    poll("the instances end", PATIENCE, || {
        (stats(server)["liveInstances"] == 0).then_some(())
    })
    .await;
}

impl Server {
    /// Waits until it has died of itself, and starts another process of it, at the same time of the day.
    pub fn restart(self) -> Self {
        let ahead = self.ahead();
        let server = self.wait().start();
        server.set_ahead(ahead);
        server
    }

    /// Moves its clocks forward, as if the machine had slept for so long.
    pub fn sleep(&self, pause: Duration) {
        self.set_ahead(self.ahead() + pause);
    }

    /// Moves its clocks forward to this moment, unless it is over.
    pub fn sleep_until(&self, moment: DateTime<Utc>) {
        let ahead = moment - Utc::now();
        self.set_ahead(ahead.to_std().unwrap_or_default());
    }

    /// Sets its clocks ahead of this machine's. They never go back. A server that is dying keeps in mind
    /// how far they were to be.
    pub fn set_ahead(&self, ahead: Duration) {
        assert!(!self.is_shared(), "it would be other tests' clock too");
        self.keep_ahead(ahead);
        let body = json!({ "aheadMs": ahead.as_millis() as u64 }).to_string();
        let request = request(self.control(), "POST", "/clock", &body);
        match raw::try_exchange(self.control(), request.as_bytes()) {
            Ok(answer) => {
                let response = raw::parse(&answer).expect("a response");
                assert_eq!(response.status, 204, "{}", response.text);
            }
            Err(error) => {
                std::thread::sleep(Duration::from_secs(1));
                assert!(self.has_ended(), "{error}");
            }
        }
    }
}

fn call(control: SocketAddr, method: &str, path: &str, body: &str) -> Response {
    let request = request(control, method, path, body);
    raw::exchange(control, request.as_bytes())
}

fn request(control: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {control}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
