//! What the clients and the faults of a soak share: where the processes are, which failures are
//! explained now, and the counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many unexplained failures and losses are described.
const DESCRIBED: u64 = 20;

/// How many applications have webhooks that clients change; events have others of their own.
pub const CHANGED_APPLICATIONS: usize = 4;

/// How many applications have events.
pub const EVENT_APPLICATIONS: usize = 4;

/// How a request ended: with a status, or without an answer.
pub type Outcome = Option<u16>;

/// Where a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whose it was, by number.
    pub application: usize,
    /// Which process was asked.
    pub process: usize,
}

impl Origin {
    /// The application's id.
    pub fn id(self) -> String {
        match self.application.checked_sub(CHANGED_APPLICATIONS) {
            None => format!("soak-{}", self.application),
            Some(number) => format!("events-{number}"),
        }
    }

    /// Who owns it.
    pub fn merchant(self) -> String {
        format!("merchant-{}", self.application)
    }

    /// Every application, as the first process is asked about it.
    pub fn all() -> impl Iterator<Item = Self> {
        let applications = 0..CHANGED_APPLICATIONS + EVENT_APPLICATIONS;
        applications.map(|application| Self {
            application,
            process: 0,
        })
    }
}

/// Whose requests a fault disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    Everyone,
    /// Those about one application.
    Application(usize),
    /// Those that need the events' database.
    Events,
    /// Those to one process.
    Process(usize),
}

impl Scope {
    fn covers(self, origin: Origin) -> bool {
        match self {
            Self::Everyone => true,
            Self::Application(only) => only == origin.application,
            Self::Events => origin.application >= CHANGED_APPLICATIONS,
            Self::Process(only) => only == origin.process,
        }
    }
}

/// A time in which requests may end so.
struct Explanation {
    scope: Scope,
    outcome: Outcome,
    until: Option<Instant>,
}

/// What the clients and the faults share.
pub struct Tally {
    addresses: Mutex<Vec<SocketAddr>>,
    explanations: Mutex<Vec<Explanation>>,
    stopped: AtomicBool,
    requests: AtomicU64,
    explained: AtomicU64,
    unexplained: AtomicU64,
    acknowledged: AtomicU64,
    lost: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Tally {
    /// One of processes that serve at these addresses.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses: Mutex::new(addresses),
            explanations: Mutex::default(),
            stopped: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            explained: AtomicU64::new(0),
            unexplained: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Where a process serves now.
    pub fn address(&self, process: usize) -> SocketAddr {
        locked(&self.addresses)[process]
    }

    /// A process serves somewhere else.
    pub fn moved(&self, process: usize, address: SocketAddr) {
        locked(&self.addresses)[process] = address;
    }

    /// No more load.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether there is no more load.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// From now on requests may end so, until [`Self::calm`].
    pub fn explain(&self, scope: Scope, outcome: Outcome) {
        locked(&self.explanations).push(Explanation {
            scope,
            outcome,
            until: None,
        });
    }

    /// From now on every request must succeed.
    pub fn calm(&self) {
        for explanation in locked(&self.explanations).iter_mut() {
            explanation.until.get_or_insert_with(Instant::now);
        }
    }

    /// Whether a fault that was on after `since` explains this outcome.
    pub fn explains(&self, origin: Origin, outcome: Outcome, since: Instant) -> bool {
        locked(&self.explanations).iter().any(|it| {
            it.outcome == outcome
                && it.scope.covers(origin)
                && it.until.is_none_or(|until| until >= since)
        })
    }

    /// A request was made.
    pub fn requested(&self) {
        count(&self.requests);
    }

    /// A request failed; `what` is described unless that is explained.
    pub fn failed(&self, explained: bool, what: impl FnOnce() -> String) {
        if explained {
            count(&self.explained);
        } else if count(&self.unexplained) < DESCRIBED {
            eprintln!("unexplained: {}", what());
        }
    }

    /// Something was acknowledged that must be there in the end.
    pub fn acknowledge(&self) {
        count(&self.acknowledged);
    }

    /// Something that was acknowledged is not as it was.
    pub fn lose(&self, what: &str) {
        if count(&self.lost) < DESCRIBED {
            eprintln!("lost: {what}");
        }
    }

    /// Whether nothing was lost and every failure is explained.
    pub fn is_clean(&self) -> bool {
        read(&self.lost) == 0 && read(&self.unexplained) == 0
    }

    /// The line on requests and webhooks.
    pub fn summary(&self) -> String {
        format!(
            "{} requests, {} failures explained, {} unexplained, {} acknowledged (webhooks and \
             secrets), {} lost",
            read(&self.requests),
            read(&self.explained),
            read(&self.unexplained),
            read(&self.acknowledged),
            read(&self.lost)
        )
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use super::*;

    /// Of processes that nobody asks.
    pub fn tally() -> Tally {
        Tally::new(vec![SocketAddr::from(([127, 0, 0, 1], 1)); 2])
    }

    fn origin(application: usize, process: usize) -> Origin {
        Origin {
            application,
            process,
        }
    }

    #[test]
    fn only_a_fault_that_was_on_explains_a_failure_and_only_its_own() {
        let tally = tally();
        let before = Instant::now();
        let explains =
            |application, outcome| tally.explains(origin(application, 0), outcome, before);
        assert!(!explains(0, Some(502)));
        tally.explain(Scope::Application(1), Some(502));
        tally.explain(Scope::Everyone, None);
        assert!(explains(1, Some(502)));
        assert!(!explains(0, Some(502)), "another application");
        assert!(!explains(1, Some(504)), "another status");
        assert!(explains(0, None));
        tally.calm();
        assert!(explains(1, Some(502)), "it ran meanwhile");
        std::thread::sleep(Duration::from_millis(2));
        let over = tally.explains(origin(1, 0), Some(502), Instant::now());
        assert!(!over, "it is over");
    }

    #[test]
    fn a_process_that_dies_explains_nothing_of_the_other_and_the_database_only_events() {
        let tally = tally();
        let before = Instant::now();
        tally.explain(Scope::Process(1), None);
        assert!(tally.explains(origin(0, 1), None, before));
        assert!(!tally.explains(origin(0, 0), None, before));
        tally.explain(Scope::Events, Some(502));
        assert!(tally.explains(origin(CHANGED_APPLICATIONS, 0), Some(502), before));
        assert!(!tally.explains(origin(0, 0), Some(502), before));
    }

    #[test]
    fn what_is_lost_or_unexplained_is_not_clean() {
        let lost = tally();
        assert!(lost.is_clean());
        lost.failed(true, String::new);
        assert!(lost.is_clean());
        lost.lose("a webhook of the test");
        assert!(!lost.is_clean());
        let unexplained = tally();
        unexplained.failed(false, || "a request of the test".to_owned());
        assert!(!unexplained.is_clean());
    }
}
