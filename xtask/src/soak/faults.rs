//! What goes wrong while a soak runs: the store's operations, the statements of the events' database,
//! PostgreSQL itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::tally::Scope;

/// `store_timeout_ms`, which a busy machine must meet, and how long what is late takes.
pub const DEADLINE: Duration = Duration::from_secs(4);
/// See [`DEADLINE`].
pub const LATE: Duration = Duration::from_secs(6);

/// A fault, and the statuses that the documentation has for it.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What is shown.
    pub what: &'static str,
    target: Target,
    action: &'static str,
    after: bool,
    /// How requests may end meanwhile.
    pub statuses: &'static [u16],
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Operations of the store; `*` is all, and requests to endpoints too.
    Store(&'static str),
    /// The statement of the events' database that has this name.
    Statement(&'static str),
    /// PostgreSQL is stopped, as by a crash.
    Postgres,
}

/// One round.
pub const FAULTS: [Fault; 13] = [
    Fault::store("reads fail", "error", "get", &[502]),
    Fault::statement("records fail", "error", "record", &[]),
    Fault::store("writes are late", "delay", "set", &[504]),
    Fault::POSTGRES,
    Fault::store("writes fail", "error", "set", &[502]),
    Fault::statement("claims are late", "delay", "claim", &[]),
    Fault::store("reads are late", "delay", "get", &[504]),
    Fault {
        after: true,
        ..Fault::statement(
            "publishes fail when they took effect",
            "error",
            "publish",
            &[502],
        )
    },
    Fault::store("removals fail", "error", "delete", &[502]),
    Fault {
        after: true,
        ..Fault::store("writes fail when they took effect", "error", "set", &[502])
    },
    Fault {
        after: true,
        ..Fault::statement("records fail when they took effect", "error", "record", &[])
    },
    Fault::POSTGRES,
    Fault::store("nothing answers", "hang", "*", &[504]),
];

impl Fault {
    const POSTGRES: Self = Self {
        what: "PostgreSQL is stopped",
        target: Target::Postgres,
        action: "",
        after: false,
        // Nobody listens, or a statement was under way.
        statuses: &[502, 504],
    };

    const fn store(
        what: &'static str,
        action: &'static str,
        operation: &'static str,
        statuses: &'static [u16],
    ) -> Self {
        Self {
            what,
            target: Target::Store(operation),
            action,
            after: false,
            statuses,
        }
    }

    const fn statement(
        what: &'static str,
        action: &'static str,
        name: &'static str,
        statuses: &'static [u16],
    ) -> Self {
        Self {
            target: Target::Statement(name),
            ..Self::store(what, action, "", statuses)
        }
    }

    /// Whether PostgreSQL is stopped meanwhile.
    pub fn stops_postgres(&self) -> bool {
        self.target == Target::Postgres
    }

    /// Whether it can be for one application alone.
    pub fn can_be_for_one(&self) -> bool {
        matches!(self.target, Target::Store(_))
    }

    /// Whose requests it disturbs; `only` is an application.
    pub fn scope(&self, only: Option<usize>) -> Scope {
        match (self.target, only) {
            (Target::Store(_), Some(only)) => Scope::Application(only),
            (Target::Store(_), None) => Scope::Everyone,
            (Target::Statement(_) | Target::Postgres, _) => Scope::Events,
        }
    }

    /// As the local runtime's control interface takes it; `keys`: what the store's keys contain.
    pub fn body(&self, keys: &str) -> Option<Value> {
        let (operation, key) = match self.target {
            Target::Store(operation) => (operation, None),
            Target::Statement(name) => ("sql", Some(name)),
            Target::Postgres => return None,
        };
        Some(json!({
            "action": self.action,
            "op": operation,
            "when": if self.after { "after" } else { "before" },
            "keyContains": if key.is_some() { "" } else { keys },
            "key": key,
            "delayMs": LATE.as_millis() as u64,
            // As with a store across a network: who stops waiting does not stop the operation.
            "detach": self.action == "delay",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statements_fault_disturbs_events_and_no_other_statement() {
        for fault in FAULTS {
            let Some(body) = fault.body("/") else {
                assert!(fault.stops_postgres());
                continue;
            };
            let is_statement = body["op"] == "sql";
            assert_eq!(is_statement, body["key"].is_string(), "{body}");
            assert_eq!(is_statement, fault.scope(None) == Scope::Events);
            assert_eq!(body["keyContains"] == "/", !is_statement, "{body}");
        }
    }
}
