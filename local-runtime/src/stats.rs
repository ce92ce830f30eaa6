//! What the runtime counted since it started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::faults::Operation;

/// Counters, shared by all instances.
#[derive(Default)]
pub struct Stats {
    started: AtomicUsize,
    live: AtomicUsize,
    busy: AtomicUsize,
    trapped: AtomicUsize,
    operations: Mutex<BTreeMap<Operation, usize>>,
}

impl Stats {
    /// Notes one operation that a guest asked for.
    pub fn operation(&self, operation: Operation) {
        let mut operations = self.operations.lock().unwrap_or_else(|e| e.into_inner());
        *operations.entry(operation).or_default() += 1;
    }

    /// Notes that an instance ended with an error.
    pub fn trap(&self) {
        self.trapped.fetch_add(1, Ordering::SeqCst);
    }

    /// How many instances have a request or a task of their own to do.
    pub fn busy_instances(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// All counters as JSON.
    pub fn to_json(&self) -> Value {
        let operations = self.operations.lock().unwrap_or_else(|e| e.into_inner());
        json!({
            "instances": self.started.load(Ordering::SeqCst),
            "liveInstances": self.live.load(Ordering::SeqCst),
            "busyInstances": self.busy_instances(),
            "trappedInstances": self.trapped.load(Ordering::SeqCst),
            "operations": *operations,
        })
    }
}

/// Counts an instance as long as it lives, and as busy while it has something to do.
#[derive(Clone)]
pub struct Life(Arc<Counted>);

struct Counted {
    busy: AtomicBool,
    stats: Arc<Stats>,
}

impl Life {
    /// Of an instance that comes to be now.
    pub fn new(stats: Arc<Stats>) -> Self {
        stats.started.fetch_add(1, Ordering::SeqCst);
        stats.live.fetch_add(1, Ordering::SeqCst);
        Self(Arc::new(Counted {
            busy: AtomicBool::new(false),
            stats,
        }))
    }

    /// Notes whether the instance has something to do.
    pub fn set_busy(&self, busy: bool) {
        match (self.0.busy.swap(busy, Ordering::SeqCst), busy) {
            (false, true) => self.0.stats.busy.fetch_add(1, Ordering::SeqCst),
            (true, false) => self.0.stats.busy.fetch_sub(1, Ordering::SeqCst),
            _ => return,
        };
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if *self.busy.get_mut() {
            self.stats.busy.fetch_sub(1, Ordering::SeqCst);
        }
        self.stats.live.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_and_operations_are_counted() {
        let stats = Arc::new(Stats::default());
        stats.operation(Operation::Get);
        stats.operation(Operation::Get);
        stats.operation(Operation::GetKeys);
        let (one, other) = (Life::new(stats.clone()), Life::new(stats.clone()));
        one.set_busy(true);
        one.set_busy(true);
        other.set_busy(true);
        other.set_busy(false);
        drop(other);
        assert_eq!(
            stats.to_json(),
            json!({
                "instances": 2,
                "liveInstances": 1,
                "busyInstances": 1,
                "trappedInstances": 0,
                "operations": {"get": 2, "get-keys": 1},
            })
        );
        drop(one);
        assert_eq!(stats.busy_instances(), 0);
    }
}
