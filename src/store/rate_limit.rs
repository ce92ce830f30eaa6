//! How many changes a merchant may make in a minute: variable `max_changes_per_minute`.
//!
//! A sliding window: the changes of this minute, and those of the minute before as far as it
//! reaches into the last 60 seconds, taken as evenly spread. Refused changes do not count.
//!
//! The count is kept in the store, because instances come and go. A change waits for at most one
//! read more, side by side with its others; what it adds is written, and looked at once more, after
//! the response. In an instance that is busy with one merchant, all changes of a [`PAUSE`] share
//! that.
//!
//! The store has no increment, so the count is a set of counts, one per instance, that merges by
//! the greater ones: who finds its own overwritten writes the union back.
//!
//! It is exact for changes that follow each other in one instance. Instances learn of each other's
//! changes within about two pauses and the store's own delay, and for so long each can admit as
//! many as are left. Where regions have stores of their own, each counts for itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use futures::future::join;
use serde::{Deserialize, Serialize};
use spin_sdk::time::sleep;
use spin_sdk::wit_bindgen::spawn;

use crate::config::Config;
use crate::http::error::Error;
use crate::log;
use crate::model::ids::MerchantId;
use crate::model::random;
use crate::model::time::Timestamp;
use crate::store::deadline::Deadline;
use crate::store::{compensation, key_value, keys};

/// How long a count that was read is good enough, and how long one write waits for the next.
const PAUSE: Duration = Duration::from_millis(200);

/// How many merchants an instance remembers the counts of.
const REMEMBERED_MERCHANTS: usize = 1024;

/// How often a count that others overwrite is written back before it is left at that.
const MOST_WRITES: u32 = 10;

const MINUTE_MILLIS: i64 = 60_000;

/// The document under `changes/{merchant}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Changes {
    /// Minutes since the Unix epoch.
    minute: i64,
    /// How many changes were made in that minute, by slot. Each instance has a slot, by chance:
    /// two that share one count as the busier of them.
    made: BTreeMap<u8, u32>,
    /// How many changes were made in the minute before it.
    before: u32,
}

impl Changes {
    fn made(&self) -> u32 {
        self.made
            .values()
            .fold(0, |sum, made| sum.saturating_add(*made))
    }

    /// The same changes, as a later minute sees them.
    fn roll(&mut self, minute: i64) {
        // The clocks of two machines may differ: what is ahead of ours counts now.
        if minute <= self.minute {
            return;
        }
        self.before = if minute == self.minute + 1 {
            self.made()
        } else {
            0
        };
        self.made.clear();
        self.minute = minute;
    }

    /// Counts one more change at `now`.
    fn add(&mut self, slot: u8, now: Timestamp) {
        self.roll(minute_of(now));
        let made = self.made.entry(slot).or_default();
        *made = made.saturating_add(1);
    }

    /// Adds what `other` knows. Any number of merges in any order give the same.
    fn merge(&mut self, mut other: Self) {
        self.roll(other.minute);
        other.roll(self.minute);
        self.before = self.before.max(other.before);
        for (slot, made) in other.made {
            let known = self.made.entry(slot).or_default();
            *known = made.max(*known);
        }
    }

    /// How many were made in the 60 seconds up to `now`.
    fn in_last_minute(&self, now: Timestamp) -> u64 {
        let (made, before) = match minute_of(now) - self.minute {
            ..=0 => (self.made(), self.before),
            1 => (0, self.made()),
            _ => (0, 0),
        };
        let reach = MINUTE_MILLIS - now.as_millis().rem_euclid(MINUTE_MILLIS);
        let before = (u64::from(before) * reach as u64).div_ceil(MINUTE_MILLIS as u64);
        u64::from(made) + before
    }

    /// In how many whole seconds, 1 to 120, one more change is within `most`; `None`: now.
    fn wait(&self, most: u32, now: Timestamp) -> Option<u32> {
        let matches = |now| self.in_last_minute(now) < u64::from(most);
        if matches(now) {
            return None;
        }
        (1..120)
            .find(|seconds| matches(now.plus_secs(*seconds)))
            .or(Some(120))
    }
}

fn minute_of(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(MINUTE_MILLIS)
}

/// What an instance knows of a merchant's changes.
#[derive(Default)]
struct Known {
    changes: Changes,
    /// When the store was last asked.
    as_of: Option<Instant>,
    /// Whether a task is writing them.
    writing: bool,
}

impl Known {
    fn is_younger_than(&self, age: Duration) -> bool {
        self.as_of.is_some_and(|as_of| as_of.elapsed() < age)
    }

    fn learn(&mut self, stored: Changes) {
        self.changes.merge(stored);
        self.as_of = Some(Instant::now());
    }
}

/// Runs `f` on what this instance knows of the merchant's changes.
fn known<T>(merchant: &MerchantId, f: impl FnOnce(&mut Known) -> T) -> T {
    static KNOWN: LazyLock<Mutex<HashMap<MerchantId, Known>>> = LazyLock::new(Mutex::default);

    let mut all = KNOWN.lock().unwrap_or_else(|e| e.into_inner());
    if all.len() >= REMEMBERED_MERCHANTS && !all.contains_key(merchant) {
        all.retain(|_, known| known.writing);
    }
    f(all.entry(merchant.clone()).or_default())
}

/// What `reads` finds, if the merchant may make one more change; counts the change then.
/// Both happen side by side.
///
/// # Errors
///
/// [`Error::TooManyChanges`], then those of `reads`. A count that cannot be read refuses nobody.
pub async fn counted<T>(
    merchant: &MerchantId,
    config: &Config,
    request_id: &str,
    reads: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Some(most) = config.max_changes_per_minute else {
        return reads.await;
    };
    let (admitted, read) = join(admit(merchant, most.get(), config, request_id), reads).await;
    admitted?;
    read
}

async fn admit(
    merchant: &MerchantId,
    most: u32,
    config: &Config,
    request_id: &str,
) -> Result<(), Error> {
    static SLOT: LazyLock<u8> = LazyLock::new(|| random::bytes::<1>()[0]);

    if !known(merchant, |known| known.is_younger_than(PAUSE)) {
        match read(merchant).await {
            Ok(stored) => known(merchant, |known| known.learn(stored)),
            Err(error) => log::background(request_id, "changes are not counted", &error),
        }
    }
    let now = Timestamp::now();
    let is_being_written = known(merchant, |known| {
        if let Some(retry_after) = known.changes.wait(most, now) {
            return Err(Error::TooManyChanges { retry_after });
        }
        known.changes.add(*SLOT, now);
        Ok(std::mem::replace(&mut known.writing, true))
    })?;
    if !is_being_written {
        let deadline = Deadline::with_timeout(config.store_timeout);
        write_later(merchant.clone(), deadline, request_id.to_owned());
    }
    Ok(())
}

async fn read(merchant: &MerchantId) -> Result<Changes, Error> {
    match key_value::get_document(&keys::changes(merchant)).await {
        Ok(changes) => Ok(changes.unwrap_or_default()),
        // The next write mends it.
        Err(Error::Unreadable(_)) => Ok(Changes::default()),
        Err(error) => Err(error),
    }
}

/// Writes what the instance knows of the merchant's changes, until the store has it all.
fn write_later(merchant: MerchantId, deadline: Deadline, request_id: String) {
    spawn(async move {
        let mut failure = None;
        for _ in 0..MOST_WRITES {
            let written = deadline
                .renew()
                .run("counting changes", write(&merchant))
                .await;
            match written {
                Ok(Written::Nothing) => break,
                Ok(Written::Changes) => {}
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
            sleep(compensation::with_jitter(PAUSE)).await;
        }
        known(&merchant, |known| known.writing = false);
        if let Some(error) = failure {
            log::background(&request_id, "changes are not counted", &error);
        }
    });
}

enum Written {
    /// The store had it all.
    Nothing,
    Changes,
}

async fn write(merchant: &MerchantId) -> Result<Written, Error> {
    /// What is as young as this is not read again before it is written.
    const JUST_READ: Duration = Duration::from_millis(20);

    if !known(merchant, |known| known.is_younger_than(JUST_READ)) {
        let stored = read(merchant).await?;
        let has_all = known(merchant, |known| {
            known.learn(stored.clone());
            known.changes == stored
        });
        if has_all {
            return Ok(Written::Nothing);
        }
    }
    let changes = known(merchant, |known| known.changes.clone());
    key_value::set_document(&keys::changes(merchant), &changes).await?;
    Ok(Written::Changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 29_000_000;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(MINUTE * MINUTE_MILLIS + second * 1000)
    }

    fn made(count: u32, when: Timestamp) -> Changes {
        Changes {
            minute: minute_of(when),
            made: BTreeMap::from([(7, count)]),
            before: 0,
        }
    }

    #[test]
    fn changes_are_allowed_up_to_the_maximum() {
        let mut changes = Changes::default();
        for slot in 0..120 {
            assert_eq!(changes.wait(120, second(10)), None);
            changes.add(slot, second(10));
        }
        assert!(changes.wait(120, second(10)).is_some());
    }

    #[test]
    fn the_minute_before_counts_as_far_as_it_reaches_into_the_last_60_seconds() {
        let changes = made(120, second(59));
        assert_eq!(changes.in_last_minute(second(60)), 120);
        assert_eq!(changes.in_last_minute(second(90)), 60);
        assert_eq!(changes.in_last_minute(second(119)), 2);
        assert_eq!(changes.in_last_minute(second(120)), 0);
        assert_eq!(changes.in_last_minute(second(1000)), 0);
    }

    #[test]
    fn who_waits_as_told_may_make_a_change_and_a_second_earlier_may_not() {
        for most in [1, 2, 3, 7, 120, 1_000_000] {
            for at in [0, 1, 29, 59] {
                let changes = made(most, second(at));
                let wait = changes.wait(most, second(at)).unwrap();
                let then = |wait| changes.wait(most, second(at + i64::from(wait)));
                assert_eq!(then(wait), None, "{most} at {at}");
                assert!(then(wait - 1).is_some(), "{most} at {at}");
            }
        }
    }

    #[test]
    fn a_count_from_a_clock_ahead_of_ours_is_not_lost() {
        let mut changes = made(5, second(60));
        assert_eq!(changes.in_last_minute(second(59)), 5);
        changes.add(8, second(59));
        assert_eq!(changes.in_last_minute(second(60)), 6);
    }

    #[test]
    fn counts_merge_into_the_same_in_any_order() {
        let counts = [
            made(5, second(1)),
            made(3, second(2)),
            made(9, second(61)),
            Changes {
                made: BTreeMap::from([(1, 2), (7, 4)]),
                before: 6,
                ..made(0, second(62))
            },
        ];
        let merged = |order: [usize; 4]| {
            let mut all = Changes::default();
            for index in order {
                all.merge(counts[index].clone());
            }
            all
        };
        let expected = Changes {
            minute: MINUTE + 1,
            made: BTreeMap::from([(1, 2), (7, 9)]),
            before: 6,
        };
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            assert_eq!(merged(order), expected, "{order:?}");
        }
    }
}
