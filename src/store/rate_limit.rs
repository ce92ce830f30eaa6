//! How many changes a merchant may make in a minute: variable `max_changes_per_minute`.
//!
//! Refused changes do not count. The store has no increment, so the count is a set that merges
//! (`model/rate_window.rs`). A change waits for at most one read, side by side with its others.
//! What an instance admitted it writes after the response; it looks again, and writes the union
//! back where another instance overwrote it. All changes of a [`PAUSE`] share that.
//!
//! What this promises: the limit is exact for changes that follow each other in one instance.
//! Instances learn of each other's changes within about two pauses, and until then each can admit
//! as many as are left. In the end every change is counted, unless its instance dies before it is
//! written, or an operation of the store takes longer than 90 ms. Where regions have stores of their
//! own, each counts for itself.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use futures::future::join;

use super::deadline::Deadline;
use super::key_value::Store;
use super::keys;
use crate::config::Config;
use crate::fault::Fault;
use crate::log;
use crate::model::ids::MerchantId;
use crate::model::random;
use crate::model::rate_window::SlidingWindow;
use crate::model::time::Timestamp;
use crate::runtime::{Instant, sleep, spawn, with_jitter};

/// How long a count that was read is good enough, and how long one write waits for the next.
const PAUSE: Duration = Duration::from_millis(200);

/// What is as young as this is not read again before it is written.
const JUST_READ: Duration = Duration::from_millis(20);

/// How many merchants an instance remembers the counts of.
const REMEMBERED_MERCHANTS: usize = 1024;

/// How many writes in a row fail before the count is left as it is.
const MAX_FAILURES: u32 = 10;

/// What an instance knows of a merchant's changes.
#[derive(Default)]
struct Known {
    window: SlidingWindow,
    /// When the store was last asked.
    read_at: Option<Instant>,
    /// Whether a task is writing it.
    is_being_written: bool,
}

impl Known {
    fn is_younger_than(&self, age: Duration) -> bool {
        self.read_at.is_some_and(|read_at| read_at.elapsed() < age)
    }

    fn learn(&mut self, stored: &SlidingWindow) {
        self.window.merge(stored);
        self.window.prune(Timestamp::now());
        self.read_at = Some(Instant::now());
    }
}

/// What one instance knows of the changes that merchants make.
struct RateLimit {
    instance: u32,
    known: Mutex<HashMap<MerchantId, Known>>,
}

static THIS_INSTANCE: LazyLock<RateLimit> = LazyLock::new(RateLimit::new);

/// A merchant's change that is about to be made: its count is read beside the request's other reads, and
/// then it is admitted or not.
pub struct Gate<'a> {
    store: &'a Store,
    merchant: &'a MerchantId,
    config: &'a Config,
    request_id: &'a str,
}

/// The merchant made too many changes in the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many changes: retry after {retry_after} s")]
pub struct TooManyChanges {
    /// In how many seconds, 1 to 120, one more change is within the limit.
    pub retry_after: u32,
}

/// Begins one more change of the merchant.
pub fn begin<'a>(
    store: &'a Store,
    merchant: &'a MerchantId,
    config: &'a Config,
    request_id: &'a str,
) -> Gate<'a> {
    Gate {
        store,
        merchant,
        config,
        request_id,
    }
}

impl Gate<'_> {
    /// What `reads` finds. Beside it, how many changes the merchant made is read, unless this instance
    /// knows. A count that cannot be read refuses nobody.
    pub async fn beside<T>(&self, reads: impl Future<Output = T>) -> T {
        let refresh = async {
            if self.config.max_changes_per_minute.is_some() {
                let refresh = THIS_INSTANCE.refresh(self.store, self.merchant, self.request_id);
                refresh.await;
            }
        };
        join(refresh, reads).await.1
    }

    /// Counts the change, by what was read [beside](Self::beside) the reads. It is written to the store
    /// after the response.
    ///
    /// # Errors
    ///
    /// [`TooManyChanges`].
    pub fn admit(&self) -> Result<(), TooManyChanges> {
        match self.config.max_changes_per_minute {
            None => Ok(()),
            Some(limit) => THIS_INSTANCE.admit(
                self.store,
                self.merchant,
                limit.get(),
                self.config.store_timeout,
                self.request_id,
            ),
        }
    }
}

impl RateLimit {
    fn new() -> Self {
        Self {
            instance: u32::from_ne_bytes(random::bytes()),
            known: Mutex::default(),
        }
    }

    /// Runs `f` on what this instance knows of the merchant's changes.
    fn known<T>(&self, merchant: &MerchantId, f: impl FnOnce(&mut Known) -> T) -> T {
        let mut all = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if all.len() >= REMEMBERED_MERCHANTS && !all.contains_key(merchant) {
            all.retain(|_, known| known.is_being_written);
        }
        f(all.entry(merchant.clone()).or_default())
    }

    async fn refresh(&self, store: &Store, merchant: &MerchantId, request_id: &str) {
        if self.known(merchant, |known| known.is_younger_than(PAUSE)) {
            return;
        }
        match read(store, merchant).await {
            Ok(stored) => self.known(merchant, |known| known.learn(&stored)),
            Err(error) => log::background(request_id, "changes are not counted", &error),
        }
    }

    fn admit(
        &'static self,
        store: &Store,
        merchant: &MerchantId,
        limit: u32,
        timeout: Duration,
        request_id: &str,
    ) -> Result<(), TooManyChanges> {
        let now = Timestamp::now();
        let is_being_written = self.known(merchant, |known| {
            known.window.prune(now);
            if let Some(retry_after) = known.window.retry_after(limit, now) {
                return Err(TooManyChanges { retry_after });
            }
            known.window.add(self.instance, now);
            Ok(std::mem::replace(&mut known.is_being_written, true))
        })?;
        if !is_being_written {
            let deadline = Deadline::with_timeout(timeout);
            let (store, merchant) = (store.clone(), merchant.clone());
            spawn(self.write_until_kept(store, merchant, deadline, request_id.to_owned()));
        }
        Ok(())
    }

    /// Writes what the instance knows of the merchant's changes, until the store has it all.
    async fn write_until_kept(
        &self,
        store: Store,
        merchant: MerchantId,
        deadline: Deadline,
        request_id: String,
    ) {
        let mut failures = 0;
        loop {
            let write = self.write(&store, &merchant);
            let written = deadline.renew().run("counting changes", write).await;
            match written {
                Ok(true) => return,
                Ok(false) => failures = 0,
                Err(_) if failures < MAX_FAILURES => failures += 1,
                Err(error) => {
                    // The next change tries again.
                    self.known(&merchant, |known| known.is_being_written = false);
                    return log::background(&request_id, "changes are not counted", &error);
                }
            }
            sleep(with_jitter(PAUSE)).await;
        }
    }

    /// Returns whether the store had it all already.
    async fn write(&self, store: &Store, merchant: &MerchantId) -> Result<bool, Fault> {
        if !self.known(merchant, |known| known.is_younger_than(JUST_READ)) {
            let stored = read(store, merchant).await?;
            let is_kept = self.known(merchant, |known| {
                known.learn(&stored);
                let is_kept = known.window.is_within(&stored);
                // At the same moment, so that no change comes between.
                known.is_being_written = !is_kept;
                is_kept
            });
            if is_kept {
                return Ok(true);
            }
        }
        let window = self.known(merchant, |known| known.window.clone());
        let key = keys::changes(merchant);
        store.set_document(&key, &window).await?;
        Ok(false)
    }
}

async fn read(store: &Store, merchant: &MerchantId) -> Result<SlidingWindow, Fault> {
    match store.get_document(&keys::changes(merchant)).await {
        Ok(window) => Ok(window.unwrap_or_default()),
        // The next write replaces it.
        Err(Fault::Unreadable(_)) => Ok(SlidingWindow::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::simulation;
    use crate::store::memory::{Fate, Memory, schedules};

    fn merchant() -> MerchantId {
        MerchantId::parse("merchant").unwrap()
    }

    fn instance() -> &'static RateLimit {
        Box::leak(Box::new(RateLimit::new()))
    }

    /// One change in one instance: whether it was admitted.
    async fn change(instance: &'static RateLimit, store: &Store, limit: u32) -> bool {
        instance.refresh(store, &merchant(), "").await;
        let timeout = Duration::from_secs(2);
        let admitted = instance.admit(store, &merchant(), limit, timeout, "");
        admitted.is_ok()
    }

    fn stored(memory: &Memory) -> SlidingWindow {
        memory
            .document(&keys::changes(&merchant()))
            .unwrap_or_default()
    }

    fn now() -> Timestamp {
        simulation::run(async { Timestamp::now() })
    }

    #[test]
    fn a_clock_an_hour_ahead_locks_nobody_out() {
        let memory = Memory::default();
        let ahead = now().plus_secs(3600);
        let document = serde_json::to_string(&SlidingWindow::of(1000, ahead)).unwrap();
        memory.put(&keys::changes(&merchant()), &document);
        let store = memory.scheduled(vec![]);
        let admitted = simulation::run(async {
            let instance = instance();
            (
                change(instance, &store, 2).await,
                change(instance, &store, 2).await,
                change(instance, &store, 2).await,
            )
        });
        assert_eq!(admitted, (true, true, false));
        // What was written from the future is gone, so that it does not count in an hour either.
        assert_eq!(stored(&memory).in_last_minute(ahead), 0);
        assert_eq!(stored(&memory).in_last_minute(now()), 2);
    }

    #[test]
    fn a_change_that_comes_while_the_last_one_is_written_is_counted_too() {
        let memory = Memory::default();
        let store = memory.scheduled(vec![]);
        // Any moment of the first one's writing, its last check among them.
        for pause in (0..1500).step_by(7) {
            simulation::run(async {
                let instance = instance();
                assert!(change(instance, &store, 1_000_000).await);
                sleep(Duration::from_millis(pause)).await;
                let before = stored(&memory).in_last_minute(Timestamp::now());
                assert!(change(instance, &store, 1_000_000).await);
                sleep(Duration::from_secs(3)).await;
                let after = stored(&memory).in_last_minute(Timestamp::now());
                assert!(after > before, "{pause}: {before}, then {after}");
            });
        }
    }

    proptest! {
        #![proptest_config(schedules())]

        /// Whatever order the store brings the operations of several instances into: in the end
        /// every change is counted, as long as no operation takes longer than 90 ms.
        #[test]
        fn every_change_of_every_instance_is_counted(
            changes in prop::collection::vec((0..4_usize, 0..1000_u64), 1..24),
            delays in prop::collection::vec(prop::collection::vec(0..90_u64, 0..40), 4),
        ) {
            let memory = Memory::default();
            let stores: Vec<_> = delays.into_iter().map(|delays| {
                memory.scheduled(delays.into_iter().map(Fate::after).collect())
            }).collect();
            let count = changes.len() as u64;
            simulation::run(async {
                let instances: Vec<_> = stores.iter().map(|_| instance()).collect();
                for (number, at) in changes {
                    let (instance, store) = (instances[number], stores[number].clone());
                    spawn(async move {
                        sleep(Duration::from_millis(at)).await;
                        assert!(change(instance, &store, 1_000_000).await);
                    });
                }
                sleep(Duration::from_secs(5)).await;
                let counted = stored(&memory).in_last_minute(Timestamp::now());
                prop_assert_eq!(counted, count);
                Ok(())
            })?;
        }

        /// Changes that follow each other in one instance: the limit is exact, however late the
        /// store is and whether it fails.
        #[test]
        fn the_limit_is_exact_in_one_instance(
            limit in 1..10_u32,
            fates in prop::collection::vec(Fate::any(3000), 0..60),
        ) {
            let memory = Memory::default();
            let store = memory.scheduled(fates);
            let admitted = simulation::run(async {
                let instance = instance();
                let mut admitted = 0;
                for _ in 0..15 {
                    admitted += u32::from(change(instance, &store, limit).await);
                }
                admitted
            });
            prop_assert_eq!(admitted, limit);
        }
    }
}
