//! Faults on demand: an error, a delay, a hang, a crash or a trap at a chosen host operation.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a guest asks of its host, as far as faults and counters know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Opening a store.
    Open,
    /// Reading a value.
    Get,
    /// Writing a value.
    Set,
    /// Deleting a value.
    Delete,
    /// Asking whether there is a value.
    Exists,
    /// Listing a store's keys.
    GetKeys,
    /// An outbound HTTP request.
    Http,
    /// All of these; only a fault can name it.
    #[serde(rename = "*")]
    Any,
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Before the operation takes effect.
    #[default]
    Before,
    /// After it took effect, before the guest hears of it.
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
    /// The whole process dies at once, as of `kill -9`.
    Crash,
    /// The guest traps.
    Trap,
}

/// One fault, as `POST /faults` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which operations it is for.
    pub op: Operation,
    /// Strikes only where the store's key (the label for `open`, the URL for `http`) contains this.
    #[serde(default)]
    pub key_contains: String,
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

impl Fault {
    /// Reads a fault from JSON.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let fault: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if (fault.action == Action::Delay) != (fault.delay_ms > 0) {
            return Err("`delayMs` goes with the action `delay`, and only with it".to_owned());
        }
        if fault.op == Operation::Http && fault.action == Action::Trap {
            // Wasmtime's hook for outbound requests can fail, and cannot trap.
            return Err("`http` cannot trap".to_owned());
        }
        Ok(fault)
    }

    fn matches(&self, operation: Operation, key: &str) -> bool {
        (self.op == Operation::Any || self.op == operation) && key.contains(&self.key_contains)
    }
}

/// What became of an operation.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// It is to answer with an error.
    Failed,
    /// The guest is to trap.
    Trapped,
}

/// The faults that are armed now.
#[derive(Default)]
pub struct Faults(Mutex<Armory>);

#[derive(Default)]
struct Armory {
    last_id: u64,
    armed: Vec<Armed>,
}

struct Armed {
    id: u64,
    fault: Fault,
    seen: u64,
    hits: u64,
}

impl Faults {
    fn lock(&self) -> std::sync::MutexGuard<'_, Armory> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Arms a fault and returns its number.
    pub fn arm(&self, fault: Fault) -> u64 {
        let mut armory = self.lock();
        armory.last_id += 1;
        let id = armory.last_id;
        armory.armed.push(Armed {
            id,
            fault,
            seen: 0,
            hits: 0,
        });
        id
    }

    /// Disarms one fault.
    pub fn disarm(&self, id: u64) {
        self.lock().armed.retain(|armed| armed.id != id);
    }

    /// Disarms all.
    pub fn disarm_all(&self) {
        self.lock().armed.clear();
    }

    /// The armed faults with their hits.
    pub fn to_json(&self) -> serde_json::Value {
        let json = |armed: &Armed| serde_json::json!({"id": armed.id, "hits": armed.hits, "fault": armed.fault});
        self.lock().armed.iter().map(json).collect()
    }

    /// The first fault that strikes this operation, if one does.
    fn strike(&self, operation: Operation, key: &str) -> Option<Fault> {
        self.lock().armed.iter_mut().find_map(|armed| {
            if !armed.fault.matches(operation, key) {
                return None;
            }
            armed.seen += 1;
            let spent = armed.fault.times.is_some_and(|times| armed.hits >= times);
            if armed.seen <= armed.fault.skip || spent {
                return None;
            }
            armed.hits += 1;
            Some(armed.fault.clone())
        })
    }

    /// Does the operation, or what a fault makes of it.
    pub async fn around<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &str,
        effect: impl Future<Output = T> + Send + 'static,
    ) -> Outcome<T> {
        let Some(fault) = self.strike(operation, key) else {
            return Outcome::Done(effect.await);
        };
        let detach = fault.detach;
        let faulty = async move {
            match fault.when {
                When::Before => match act(&fault).await {
                    Some(outcome) => outcome,
                    None => Outcome::Done(effect.await),
                },
                When::After => {
                    let done = effect.await;
                    act(&fault).await.unwrap_or(Outcome::Done(done))
                }
            }
        };
        if !detach {
            return faulty.await;
        }
        match tokio::spawn(faulty).await {
            Ok(outcome) => outcome,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

/// Does what the fault does; nothing comes back when the operation goes on afterwards.
async fn act<T>(fault: &Fault) -> Option<Outcome<T>> {
    match fault.action {
        Action::Error => Some(Outcome::Failed),
        Action::Trap => Some(Outcome::Trapped),
        Action::Crash => crash(),
        Action::Hang => std::future::pending().await,
        Action::Delay => {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
            None
        }
    }
}

/// Dies as of `kill -9`: nothing is flushed, closed or told.
fn crash() -> ! {
    // SAFETY: these calls touch no memory of this process.
    #[allow(unsafe_code)]
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn fault(json: &str) -> Fault {
        Fault::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_fault_strikes_its_operation_and_key_only() {
        let faults = Faults::default();
        faults.arm(fault(
            r#"{"op":"set","keyContains":"webhook/a","action":"error"}"#,
        ));
        assert_eq!(faults.strike(Operation::Get, "webhook/a/1"), None);
        assert_eq!(faults.strike(Operation::Set, "webhook/b/1"), None);
        assert!(faults.strike(Operation::Set, "webhook/a/1").is_some());
    }

    #[test]
    fn a_fault_strikes_as_often_as_told() {
        let faults = Faults::default();
        let id = faults.arm(fault(r#"{"op":"*","action":"hang","skip":1,"times":2}"#));
        let struck: Vec<_> = (0..5)
            .map(|_| faults.strike(Operation::Get, "k").is_some())
            .collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert_eq!(faults.to_json()[0]["hits"], 2);
        faults.disarm(id);
        assert_eq!(faults.to_json(), serde_json::json!([]));
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused_in_words() {
        for json in [
            r#"{"op":"gett","action":"error"}"#,
            r#"{"op":"get","action":"explode"}"#,
            r#"{"op":"get","action":"error","keycontains":"a"}"#,
            r#"{"op":"get","action":"delay"}"#,
            r#"{"op":"get","action":"error","delayMs":5}"#,
            r#"{"op":"http","action":"trap"}"#,
        ] {
            let refusal = Fault::from_json(json.as_bytes()).unwrap_err();
            assert!(!refusal.is_empty(), "{json}");
        }
    }

    /// The outcome of an operation, and whether it took effect.
    async fn outcome(json: &str) -> (Outcome<()>, bool) {
        let faults = Faults::default();
        faults.arm(fault(json));
        let effect = Arc::new(AtomicBool::new(false));
        let takes_effect = effect.clone();
        let outcome = faults
            .around(Operation::Set, "k", async move {
                takes_effect.store(true, Ordering::SeqCst);
            })
            .await;
        (outcome, effect.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_fault_strikes_before_or_after_the_effect() {
        for (json, expected) in [
            (
                r#"{"op":"set","action":"error"}"#,
                (Outcome::Failed, false),
            ),
            (
                r#"{"op":"set","action":"error","when":"after"}"#,
                (Outcome::Failed, true),
            ),
            (
                r#"{"op":"set","action":"trap"}"#,
                (Outcome::Trapped, false),
            ),
            (
                r#"{"op":"set","action":"delay","delayMs":1}"#,
                (Outcome::Done(()), true),
            ),
            (r#"{"op":"get","action":"error"}"#, (Outcome::Done(()), true)),
        ] {
            assert_eq!(outcome(json).await, expected, "{json}");
        }
    }

    /// Whether an operation that is given up during its delay takes effect nevertheless.
    async fn takes_effect_when_given_up(json: &str) -> bool {
        let faults = Faults::default();
        faults.arm(fault(json));
        let effect = Arc::new(AtomicBool::new(false));
        let takes_effect = effect.clone();
        let operation = faults.around(Operation::Set, "k", async move {
            takes_effect.store(true, Ordering::SeqCst);
        });
        let given_up = tokio::time::timeout(Duration::from_millis(5), operation).await;
        assert!(given_up.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
        effect.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn an_operation_that_is_given_up_happens_only_when_it_is_detached() {
        let delayed = r#"{"op":"set","action":"delay","delayMs":50}"#;
        let detached = r#"{"op":"set","action":"delay","delayMs":50,"detach":true}"#;
        assert!(!takes_effect_when_given_up(delayed).await);
        assert!(takes_effect_when_given_up(detached).await);
    }
}
