//! What the runtime counted since it started, and what the requests did that tests follow.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::sql::STATEMENT;

/// Counters, shared by all instances.
#[derive(Default)]
pub struct Stats {
    started: AtomicUsize,
    live: AtomicUsize,
    operations: Mutex<BTreeMap<&'static str, usize>>,
    /// How often each statement ran, by name.
    statements: Mutex<BTreeMap<String, usize>>,
    traces: Mutex<BTreeMap<String, Trace>>,
}

/// What one request did.
struct Trace {
    since: Instant,
    operations: Vec<Operation>,
    calls: BTreeMap<&'static str, Calls>,
    responded: bool,
}

/// How often a request called the host.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    before_response: usize,
    after_response: usize,
}

/// A call of the host that is no [operation](Stats::operation): no test disturbs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A wait: one more task of the host, which most often is cancelled.
    Timer,
    /// A clock that is read.
    Clock,
    /// Randomness, some eight bytes of it.
    Random,
    /// A line of log.
    Log,
    /// A variable that is read.
    Variable,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Log => "log",
            Self::Variable => "variable",
        }
    }
}

impl Trace {
    fn count(&mut self, name: &'static str) {
        let calls = self.calls.entry(name).or_default();
        match self.responded {
            false => calls.before_response += 1,
            true => calls.after_response += 1,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    op: &'static str,
    key: String,
    after_response: bool,
    /// When it began and ended, in microseconds since the request came.
    began_us: u64,
    ended_us: Option<u64>,
    /// The size of the value that it read or wrote.
    bytes: Option<usize>,
    /// What exactly it was: a statement with its parameters, or a request as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

/// An operation of a request that is followed, while it runs.
pub struct Ongoing {
    name: String,
    number: usize,
}

/// A request whose operations are told apart from all others': its header [`Self::HEADER`] names it.
///
/// What goes on after its response belongs to it too. An outbound request, of which the host
/// cannot tell who sent it, belongs to the request whose name its URL contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller<'a>(pub Option<&'a str>);

impl Caller<'_> {
    /// The header, which the guest does not see.
    pub const HEADER: &'static str = "x-local-runtime-request";

    /// Whether the operation on `key` is one of the request of that name.
    pub fn is(self, name: &str, key: &str) -> bool {
        self.0.map_or_else(|| key.contains(name), |own| own == name)
    }
}

impl Stats {
    /// Notes that an instance came to be.
    pub fn instance_started(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.live.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that an instance ended.
    pub fn instance_ended(&self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many instances there are now.
    pub fn live_instances(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    /// Begins to follow a request.
    pub fn follow(&self, name: &str) {
        let mut traces = self.traces.lock().unwrap_or_else(|e| e.into_inner());
        let trace = Trace {
            since: Instant::now(),
            operations: Vec::new(),
            calls: BTreeMap::new(),
            responded: false,
        };
        traces.insert(name.to_owned(), trace);
    }

    /// Notes that a request that is followed was answered.
    pub fn responded(&self, name: &str) {
        let mut traces = self.traces.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(trace) = traces.get_mut(name) {
            trace.responded = true;
        }
    }

    /// Notes one call of a host operation. What a request that is followed did has an end too.
    pub fn operation(&self, op: &'static str, key: &str, caller: Caller<'_>) -> Option<Ongoing> {
        let mut operations = self.operations.lock().unwrap_or_else(|e| e.into_inner());
        *operations.entry(op).or_default() += 1;
        drop(operations);
        if op == STATEMENT {
            let mut statements = self.statements.lock().unwrap_or_else(|e| e.into_inner());
            *statements.entry(key.to_owned()).or_default() += 1;
        }
        let mut traces = self.traces.lock().unwrap_or_else(|e| e.into_inner());
        let name = match caller.0 {
            Some(name) => name.to_owned(),
            None if op == "http" => traces.keys().find(|name| caller.is(name, key))?.clone(),
            None => return None,
        };
        let trace = traces.get_mut(&name)?;
        trace.count(op);
        let number = trace.operations.len();
        trace.operations.push(Operation {
            op,
            key: key.to_owned(),
            after_response: trace.responded,
            began_us: trace.now(),
            ended_us: None,
            bytes: None,
            detail: None,
        });
        Some(Ongoing { name, number })
    }

    /// Notes a call of the request of this name.
    pub fn call(&self, call: Call, name: &str) {
        let mut traces = self.traces.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(trace) = traces.get_mut(name) {
            trace.count(call.name());
        }
    }

    /// How often a request that is followed has called the host so far, by the name of the operation or
    /// the [`Call`].
    pub fn calls(&self, name: &str) -> Option<Value> {
        let traces = self.traces.lock().unwrap_or_else(|e| e.into_inner());
        traces.get(name).map(|trace| json!(trace.calls))
    }

    /// Notes that an operation ended, and the size of the value that it read or wrote.
    pub fn ended(&self, ongoing: Option<Ongoing>, bytes: Option<usize>) {
        let Some(Ongoing { name, number }) = ongoing else {
            return;
        };
        let mut traces = self.traces.lock().unwrap_or_else(|e| e.into_inner());
        let Some(trace) = traces.get_mut(&name) else {
            return;
        };
        let now = trace.now();
        if let Some(operation) = trace.operations.get_mut(number) {
            (operation.ended_us, operation.bytes) = (Some(now), bytes);
        }
    }

    /// Whether this caller's operations are recorded, so that it is worth knowing them exactly.
    pub fn is_followed(&self, caller: Caller<'_>) -> bool {
        let traces = || self.traces.lock().unwrap_or_else(|e| e.into_inner());
        caller.0.is_some_and(|name| traces().contains_key(name))
    }

    /// Notes what exactly an operation is.
    pub fn detail(&self, ongoing: Option<&Ongoing>, detail: Value) {
        let Some(Ongoing { name, number }) = ongoing else {
            return;
        };
        let mut traces = self.traces.lock().unwrap_or_else(|e| e.into_inner());
        let operations = traces.get_mut(name).map(|trace| &mut trace.operations);
        if let Some(operation) = operations.and_then(|all| all.get_mut(*number)) {
            operation.detail = Some(detail);
        }
    }

    /// What a request that is followed has done so far, in order.
    pub fn trace(&self, name: &str) -> Option<Value> {
        let traces = self.traces.lock().unwrap_or_else(|e| e.into_inner());
        traces.get(name).map(|trace| json!(trace.operations))
    }

    /// All counters as JSON.
    pub fn to_json(&self) -> Value {
        let operations = self.operations.lock().unwrap_or_else(|e| e.into_inner());
        let statements = self.statements.lock().unwrap_or_else(|e| e.into_inner());
        json!({
            "instances": self.started.load(Ordering::SeqCst),
            "liveInstances": self.live_instances(),
            "operations": *operations,
            "statements": *statements,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_the_operations_of_its_request_and_no_others() {
        let stats = Stats::default();
        stats.operation("get", "early", Caller(Some("a")));
        stats.follow("a");
        stats.operation("get", "1", Caller(Some("a")));
        stats.operation("get", "2", Caller(Some("b")));
        stats.operation("get", "3", Caller(None));
        stats.operation("http", "https://example.com/a", Caller(None));
        stats.responded("a");
        assert!(stats.is_followed(Caller(Some("a"))));
        assert!(!stats.is_followed(Caller(Some("b"))) && !stats.is_followed(Caller(None)));
        let write = stats.operation("set", "4", Caller(Some("a")));
        stats.ended(write, Some(7));
        let trace = stats.trace("a").unwrap();
        let seen: Vec<_> = trace.as_array().unwrap().iter().collect();
        let operation = |number: usize| {
            let it = seen[number];
            json!([it["op"], it["key"], it["afterResponse"], it["bytes"]])
        };
        assert_eq!(seen.len(), 3);
        assert_eq!(operation(0), json!(["get", "1", false, null]));
        assert_eq!(
            operation(1),
            json!(["http", "https://example.com/a", false, null])
        );
        assert_eq!(operation(2), json!(["set", "4", true, 7]));
        assert!(seen[0]["endedUs"].is_null(), "it goes on: {}", seen[0]);
        assert!(seen[2]["endedUs"].as_u64() >= seen[2]["beganUs"].as_u64());
        assert_eq!(stats.trace("b"), None);
        assert_eq!(
            stats.to_json()["operations"],
            json!({"get": 4, "http": 1, "set": 1})
        );
        stats.operation("sql", "claim", Caller(Some("a")));
        stats.operation("sql", "claim", Caller(None));
        assert_eq!(stats.to_json()["statements"], json!({"claim": 2}));
        let trace = stats.trace("a").unwrap();
        assert_eq!([&trace[3]["op"], &trace[3]["key"]], ["sql", "claim"]);
        let exact = stats.operation("sql", "record", Caller(Some("a")));
        stats.detail(exact.as_ref(), json!({"sql": "/* record */"}));
        stats.detail(None, json!("of a request that nobody follows"));
        let calls = stats.calls("a").unwrap();
        let sql = json!({"beforeResponse": 0, "afterResponse": 2});
        assert_eq!(calls["sql"], sql);
        assert_eq!(calls["get"]["beforeResponse"], 1);
        let trace = stats.trace("a").unwrap();
        assert_eq!(trace[4]["detail"], json!({"sql": "/* record */"}));
        assert_eq!(trace[3].get("detail"), None);
    }

    #[test]
    fn calls_are_counted_before_and_after_the_response() {
        let stats = Stats::default();
        stats.call(Call::Clock, "a");
        stats.follow("a");
        for call in [Call::Timer, Call::Clock, Call::Clock, Call::Log] {
            stats.call(call, "a");
        }
        stats.call(Call::Random, "b");
        stats.responded("a");
        stats.call(Call::Timer, "a");
        stats.call(Call::Variable, "a");
        let expected = json!({
            "timer": {"beforeResponse": 1, "afterResponse": 1},
            "clock": {"beforeResponse": 2, "afterResponse": 0},
            "log": {"beforeResponse": 1, "afterResponse": 0},
            "variable": {"beforeResponse": 0, "afterResponse": 1},
        });
        assert_eq!(stats.calls("a"), Some(expected));
        assert_eq!(stats.calls("b"), None);
        // They are no operations: nobody disturbs them.
        assert_eq!(stats.trace("a"), Some(json!([])));
    }
}
