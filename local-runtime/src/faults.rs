//! Faults on demand: an error, a delay, a hang, a crash or a trap at a chosen host operation.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stats::Caller;

/// When a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Before the operation takes effect.
    #[default]
    Before,
    /// After it took effect, before the guest gets the result.
    After,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The operation answers with an error.
    Error,
    /// It takes `delayMs` longer.
    Delay,
    /// It never answers.
    Hang,
    /// The whole process dies at once.
    Crash,
    /// The guest traps.
    Trap,
}

/// One fault, as `POST /faults` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// `open`, `get`, `set`, `delete`, `exists`, `get-keys`, `http`, `sql-open`, `sql` or `*`.
    pub op: String,
    /// Strikes only where the key contains this. The key is the store's; for `open` the label, for
    /// `http` the URL, for `sql` the statement's name, for `sql-open` the label of the SQLite database
    /// or PostgreSQL's `host:port`.
    #[serde(default)]
    pub key_contains: String,
    /// Strikes only where the key is this.
    #[serde(default)]
    pub key: Option<String>,
    /// Strikes only operations of the request that names itself so ([`Caller`]).
    #[serde(default)]
    pub request: Option<String>,
    /// What happens.
    pub action: Action,
    /// When it happens.
    #[serde(default)]
    pub when: When,
    /// For `delay`, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// How often it strikes; not given: for ever.
    #[serde(default)]
    pub times: Option<u64>,
    /// How many matching operations pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// Whether the operation goes on, and takes effect, when the guest gave up waiting for it.
    #[serde(default)]
    pub detach: bool,
}

struct Armed {
    id: u64,
    fault: Fault,
    seen: u64,
    hits: u64,
}

/// The faults that are armed now.
#[derive(Default)]
pub struct Faults {
    armed: Mutex<(u64, Vec<Armed>)>,
}

/// What a fault did to an operation.
pub enum Struck {
    /// The operation goes on.
    GoOn,
    /// It answers with an error.
    Error,
    /// The guest traps.
    Trap,
}

impl Faults {
    /// Arms a fault and returns its number.
    pub fn arm(&self, fault: Fault) -> u64 {
        let (last, armed) = &mut *self.armed.lock().unwrap_or_else(|e| e.into_inner());
        *last += 1;
        armed.push(Armed {
            id: *last,
            fault,
            seen: 0,
            hits: 0,
        });
        *last
    }

    /// Disarms one fault, or all.
    pub fn disarm(&self, id: Option<u64>) {
        let (_, armed) = &mut *self.armed.lock().unwrap_or_else(|e| e.into_inner());
        armed.retain(|armed| id.is_some_and(|id| armed.id != id));
    }

    /// The armed faults with their hits.
    pub fn to_json(&self) -> serde_json::Value {
        let (_, armed) = &*self.armed.lock().unwrap_or_else(|e| e.into_inner());
        armed
            .iter()
            .map(|armed| serde_json::json!({"id": armed.id, "hits": armed.hits, "fault": armed.fault}))
            .collect()
    }

    /// The fault that strikes this operation, if one does.
    pub fn strike(&self, op: &str, key: &str, caller: Caller<'_>) -> Option<Fault> {
        let (_, armed) = &mut *self.armed.lock().unwrap_or_else(|e| e.into_inner());
        armed.iter_mut().find_map(|armed| {
            let fault = &armed.fault;
            let request = fault.request.as_deref();
            let matches = (fault.op == "*" || fault.op == op)
                && key.contains(&fault.key_contains)
                && fault.key.as_deref().is_none_or(|exact| exact == key)
                && request.is_none_or(|name| caller.is(name, key));
            if !matches {
                return None;
            }
            armed.seen += 1;
            let spent = fault.times.is_some_and(|times| armed.hits >= times);
            if armed.seen <= fault.skip || spent {
                return None;
            }
            armed.hits += 1;
            Some(armed.fault.clone())
        })
    }
}

impl Fault {
    /// Does what the fault does, if `now` is its time.
    pub async fn act(&self, now: When) -> Struck {
        if self.when != now {
            return Struck::GoOn;
        }
        match self.action {
            Action::Error => Struck::Error,
            Action::Trap => Struck::Trap,
            Action::Crash => std::process::abort(),
            Action::Hang => std::future::pending().await,
            Action::Delay => {
                tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
                Struck::GoOn
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Fault {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_fault_strikes_its_operation_and_key_only() {
        let faults = Faults::default();
        faults.arm(fault(
            r#"{"op":"set","keyContains":"webhook/a","action":"error"}"#,
        ));
        assert!(faults.strike("get", "webhook/a/1", Caller(None)).is_none());
        assert!(faults.strike("set", "webhook/b/1", Caller(None)).is_none());
        assert!(faults.strike("set", "webhook/a/1", Caller(None)).is_some());
    }

    #[test]
    fn a_fault_of_a_statement_spares_those_whose_names_contain_its_own() {
        let faults = Faults::default();
        faults.arm(fault(r#"{"op":"sql","key":"publish","action":"error"}"#));
        let strike = |key| faults.strike("sql", key, Caller(None)).is_some();
        assert!(!strike("published_before"));
        assert!(strike("publish"));
    }

    #[test]
    fn a_fault_of_one_request_spares_all_others() {
        let faults = Faults::default();
        faults.arm(fault(r#"{"op":"*","request":"mine","action":"error"}"#));
        for spared in [Caller(None), Caller(Some("yours"))] {
            assert!(faults.strike("get", "k", spared).is_none());
        }
        assert!(faults.strike("get", "k", Caller(Some("mine"))).is_some());
        assert!(
            faults
                .strike("http", "https://a/mine", Caller(None))
                .is_some()
        );
    }

    #[test]
    fn a_fault_strikes_as_often_as_told() {
        let faults = Faults::default();
        let id = faults.arm(fault(r#"{"op":"*","action":"hang","skip":1,"times":2}"#));
        let struck: Vec<_> = (0..5)
            .map(|_| faults.strike("get", "k", Caller(None)).is_some())
            .collect();
        assert_eq!(struck, [false, true, true, false, false]);
        faults.disarm(Some(id));
        assert_eq!(faults.to_json(), serde_json::json!([]));
    }
}
