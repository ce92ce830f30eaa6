//! A store in memory whose operations a test schedules: when each takes effect, and whether it
//! fails, is cut off, or is the last of its process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use proptest::prelude::*;

use super::key_value::{KeyValue, Operation, Store};
use crate::fault::Fault;
use crate::runtime::simulation::{sleep, spawn};

/// How many schedules a test tries: as many as take a moment, `WEBHOOKS_SCHEDULES` (`cargo xtask test` tries
/// more), or `PROPTEST_CASES`, which counts for every test of properties.
pub fn schedules() -> ProptestConfig {
    let given = |name| std::env::var(name).ok()?.parse().ok();
    let cases = given("PROPTEST_CASES").or_else(|| given("WEBHOOKS_SCHEDULES"));
    ProptestConfig {
        cases: cases.unwrap_or(16),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

type Documents = BTreeMap<String, Vec<u8>>;

/// The store that several processes share.
#[derive(Clone, Default)]
pub struct Memory(Rc<RefCell<Documents>>);

/// What a test decides of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// How many milliseconds later than a millisecond it takes effect. The caller may have given
    /// up by then: it takes effect all the same.
    pub delay: u64,
    /// What comes of it.
    pub outcome: Outcome,
}

/// What comes of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It takes effect.
    #[default]
    Done,
    /// It takes no effect, and fails.
    FailsBefore,
    /// It takes effect, and fails.
    FailsAfter,
    /// It takes no effect, and its process is no more.
    CrashBefore,
    /// It takes effect, and its process is no more.
    CrashAfter,
}

impl Fate {
    /// It takes `delay` milliseconds longer than others.
    pub fn after(delay: u64) -> Self {
        let outcome = Outcome::Done;
        Self { delay, outcome }
    }

    /// Anything but a crash, at most `delay` milliseconds late.
    pub fn any(delay: u64) -> impl Strategy<Value = Self> {
        let outcome = prop_oneof![
            6 => Just(Outcome::Done),
            1 => Just(Outcome::FailsBefore),
            1 => Just(Outcome::FailsAfter),
        ];
        (0..=delay, outcome).prop_map(|(delay, outcome)| Self { delay, outcome })
    }

    /// As [`Self::any`], or a crash.
    pub fn any_or_crash(delay: u64) -> impl Strategy<Value = Self> {
        let crash = prop_oneof![Just(Outcome::CrashBefore), Just(Outcome::CrashAfter)];
        prop_oneof![
            9 => Self::any(delay),
            1 => (0..=delay, crash).prop_map(|(delay, outcome)| Self { delay, outcome }),
        ]
    }
}

impl Memory {
    /// The store as one process sees it. `decide` is asked about each operation, by its name (`get`,
    /// `set`, `delete`, `exists`) and its key, when it begins.
    pub fn process(&self, decide: impl FnMut(&str, &str) -> Fate + 'static) -> Store {
        let process = Process {
            documents: self.0.clone(),
            decide: RefCell::new(Box::new(decide)),
            crashed: Rc::default(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        };
        Store::new(Rc::new(process))
    }

    /// The store as a process sees it whose operations go as `fates` says, one after the other; the
    /// rest are done at once.
    pub fn scheduled(&self, fates: Vec<Fate>) -> Store {
        let mut fates = fates.into_iter();
        self.process(move |_, _| fates.next().unwrap_or_default())
    }

    /// The document under `key`.
    pub fn document<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<T> {
        let bytes = self.0.borrow().get(key).cloned();
        bytes.map(|bytes| serde_json::from_slice(&bytes).expect("a document"))
    }

    /// Writes under `key`, as somebody else would.
    pub fn put(&self, key: &str, value: &str) {
        self.0.borrow_mut().insert(key.to_owned(), value.into());
    }

    /// Every key with what is under it.
    pub fn all(&self) -> Vec<(String, String)> {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let documents = self.0.borrow();
        let all = documents
            .iter()
            .map(|(key, value)| (key.clone(), text(value)));
        all.collect()
    }

    /// The keys that begin with `prefix`.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let documents = self.0.borrow();
        let keys = documents.keys().filter(|key| key.starts_with(prefix));
        keys.cloned().collect()
    }
}

/// What is asked about each operation: its name, its key.
type Decide = Box<dyn FnMut(&str, &str) -> Fate>;

struct Process {
    documents: Rc<RefCell<Documents>>,
    decide: RefCell<Decide>,
    crashed: Rc<Cell<bool>>,
    number: u64,
}

/// How many processes there were, in all tests.
static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Process {
    fn operate<'a, T: 'static>(
        &'a self,
        name: &'static str,
        key: &str,
        effect: impl FnOnce(&mut Documents, String) -> T + 'static,
    ) -> Operation<'a, T> {
        let key = key.to_owned();
        Box::pin(async move {
            if self.crashed.get() {
                return pending().await;
            }
            let Fate { delay, outcome } = (self.decide.borrow_mut())(name, &key);
            let (answer, answered) = oneshot::channel();
            let (documents, crashed) = (self.documents.clone(), self.crashed.clone());
            // A task of its own: a caller that gives up does not stop it.
            spawn(async move {
                sleep(Duration::from_millis(1 + delay)).await;
                if outcome == Outcome::FailsBefore {
                    let _ = answer.send(Err(failed(name)));
                    return;
                }
                if outcome == Outcome::CrashBefore {
                    crashed.set(true);
                    return;
                }
                let effect = effect(&mut documents.borrow_mut(), key);
                match outcome {
                    Outcome::CrashAfter => crashed.set(true),
                    Outcome::FailsAfter => drop(answer.send(Err(failed(name)))),
                    _ => drop(answer.send(Ok(effect))),
                }
            });
            match answered.await {
                Ok(answer) if !self.crashed.get() => answer,
                _ => pending().await,
            }
        })
    }
}

fn failed(name: &str) -> Fault {
    Fault::Dependency(format!("store: {name} failed: injected"))
}

impl KeyValue for Process {
    fn get<'a>(&'a self, key: &'a str) -> Operation<'a, Option<Vec<u8>>> {
        self.operate("get", key, |documents, key| documents.get(&key).cloned())
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a [u8]) -> Operation<'a, ()> {
        let value = value.to_vec();
        self.operate("set", key, |documents, key| {
            documents.insert(key, value);
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Operation<'a, ()> {
        self.operate("delete", key, |documents, key| {
            documents.remove(&key);
        })
    }

    fn exists<'a>(&'a self, key: &'a str) -> Operation<'a, bool> {
        self.operate("exists", key, |documents, key| documents.contains_key(&key))
    }

    fn process(&self) -> u64 {
        self.number
    }

    fn keys(&self) -> Operation<'_, Vec<String>> {
        self.operate("get-keys", "", |documents, _| {
            documents.keys().cloned().collect()
        })
    }
}
