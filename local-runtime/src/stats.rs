//! What the runtime counted since it started.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

/// Counters, shared by all instances.
#[derive(Default)]
pub struct Stats {
    started: AtomicUsize,
    live: AtomicUsize,
    operations: Mutex<BTreeMap<&'static str, usize>>,
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

    /// Notes one call of a host operation.
    pub fn operation(&self, name: &'static str) {
        let mut operations = self.operations.lock().unwrap_or_else(|e| e.into_inner());
        *operations.entry(name).or_default() += 1;
    }

    /// All counters as JSON.
    pub fn to_json(&self) -> Value {
        let operations = self.operations.lock().unwrap_or_else(|e| e.into_inner());
        json!({
            "instances": self.started.load(Ordering::SeqCst),
            "liveInstances": self.live_instances(),
            "operations": *operations,
        })
    }
}
