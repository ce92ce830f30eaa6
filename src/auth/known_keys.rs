//! What an instance knows of the provider's keys, and who may fetch newer ones.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::fault::Fault;
use crate::log;
use crate::model::key_set::KeySet;
use crate::model::time::Timestamp;
use crate::store::jwks_cache::{Attempt, Outcome};

/// What the log calls the provider: its URL is never shown.
pub const SOURCE: &str = "jwks_url";

/// The keys as they were published at some moment.
pub struct Published {
    /// The keys.
    pub keys: KeySet,
    /// The identity of this set: the SHA-256 of its text.
    pub id: [u8; 32],
    /// When they were fetched.
    pub fetched_at: Timestamp,
    /// The age at which they are refreshed: a half to three quarters of their lifetime, by chance,
    /// so that not all instances fetch at once.
    pub refresh_age: Duration,
    /// The keys of the set that are not used, and why: for the log.
    pub skipped: Vec<String>,
}

/// What an instance knows.
pub struct State {
    /// The newest keys.
    pub published: Option<Arc<Published>>,
    /// The last fetch that must not be repeated soon.
    pub attempt: Option<Attempt>,
    /// Whether one of the instance's requests or tasks is fetching.
    fetching: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    published: None,
    attempt: None,
    fetching: false,
});

/// What this instance knows. Not to be held while anything is waited for.
pub fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(|e| e.into_inner())
}

/// The right to fetch; one at a time in an instance.
pub struct FetchPermit;

impl FetchPermit {
    /// The right, unless somebody has it.
    pub fn begin() -> Option<Self> {
        let mut state = state();
        if state.fetching {
            return None;
        }
        state.fetching = true;
        Some(Self)
    }
}

impl Drop for FetchPermit {
    fn drop(&mut self) {
        state().fetching = false;
    }
}

/// The keys that are known not to be used, and why.
pub fn known_skipped() -> Vec<String> {
    let state = state();
    let published = state.published.as_ref();
    published.map_or_else(Vec::new, |published| published.skipped.clone())
}

/// Logs which keys of the set that was just fetched are not used: each once, and not with every
/// fetch and every instance.
pub fn log_skipped(before: &[String]) {
    let mut new = known_skipped();
    new.retain(|key| !before.contains(key));
    if !new.is_empty() {
        log::warning(&format!("keys of jwks_url not used: {}", new.join(", ")));
    }
}

/// What came of a fetch less than `pause` ago.
pub fn attempted_within(pause: Duration, now: Timestamp) -> Option<Outcome> {
    let attempt = state().attempt?;
    (attempt.at.distance(now) < pause).then_some(attempt.outcome)
}

/// Fails where a fetch less than `pause` ago did.
///
/// # Errors
///
/// That fetch's failure.
pub fn failed_within(pause: Duration, now: Timestamp) -> Result<(), Fault> {
    match attempted_within(pause, now) {
        None | Some(Outcome::Fetched) => Ok(()),
        Some(Outcome::Failed) => Err(Fault::Dependency(format!(
            "{SOURCE}: could not be read a moment ago"
        ))),
        Some(Outcome::Late) => Err(Fault::Timeout(format!(
            "{SOURCE}: did not answer a moment ago"
        ))),
    }
}
