//! How many changes were made in the last 60 seconds, by counts that merge.
//!
//! A sliding window: the changes of this minute, and those of the minute before as far as it
//! reaches into the last 60 seconds, taken as evenly spread. A count stands for one minute and one
//! instance, and of two such counts the greater one counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::collections::map;
use super::time::Timestamp;

/// How many instances a minute's count tells apart. Those that come later share a count.
const MAX_INSTANCES: usize = 256;

const MINUTE_MILLIS: i64 = 60_000;

/// The document under `changes/{merchant}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Document")]
pub struct SlidingWindow {
    /// How many changes each instance admitted, by minutes since the Unix epoch. Instances have
    /// random numbers.
    minutes: BTreeMap<i64, BTreeMap<u32, u32>>,
}

/// What is under `changes/{merchant}`, also what earlier releases wrote: one minute by instance, and
/// the sum of the minute before.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    minutes: BTreeMap<i64, BTreeMap<u32, u32>>,
    minute: Option<i64>,
    #[serde(default)]
    made: BTreeMap<u32, u32>,
    #[serde(default)]
    before: u32,
}

impl From<Document> for SlidingWindow {
    fn from(document: Document) -> Self {
        let mut minutes = document.minutes;
        if let Some(minute) = document.minute {
            minutes.insert(minute, document.made);
            minutes.insert(minute.saturating_sub(1), map([(0, document.before)]));
        }
        Self { minutes }
    }
}

impl SlidingWindow {
    /// So many changes that one instance admitted at `when`.
    #[cfg(test)]
    pub fn of(made: u32, when: Timestamp) -> Self {
        let counts = BTreeMap::from([(7, made)]);
        Self {
            minutes: BTreeMap::from([(minute_of(when), counts)]),
        }
    }

    /// How many changes were made in a minute.
    fn made_in(&self, minute: i64) -> u64 {
        let counts = self.minutes.get(&minute).into_iter().flatten();
        counts.map(|(_, made)| u64::from(*made)).sum()
    }

    /// Counts one more change at `now`.
    pub fn add(&mut self, instance: u32, now: Timestamp) {
        let counts = self.minutes.entry(minute_of(now)).or_default();
        let mut number = instance;
        if counts.len() >= MAX_INSTANCES && !counts.contains_key(&instance) {
            let others = counts.keys().nth(instance as usize % counts.len());
            number = others.copied().unwrap_or(instance);
        }
        let made = counts.entry(number).or_default();
        *made = made.saturating_add(1);
    }

    /// Adds what `other` knows. Any number of merges in any order give the same.
    pub fn merge(&mut self, other: &Self) {
        for (minute, counts) in &other.minutes {
            let known = self.minutes.entry(*minute).or_default();
            for (instance, made) in counts {
                let known = known.entry(*instance).or_default();
                *known = (*known).max(*made);
            }
        }
    }

    /// Drops what is over at `now`, and what lies beyond the next minute: a clock that is wrong
    /// wrote that, and it would count until time catches up.
    pub fn prune(&mut self, now: Timestamp) {
        let minute = minute_of(now);
        self.minutes
            .retain(|other, _| (minute - 1..=minute + 1).contains(other));
    }

    /// Whether `other` knows all this.
    pub fn is_within(&self, other: &Self) -> bool {
        let mut merged = other.clone();
        merged.merge(self);
        merged == *other
    }

    /// How many were made in the 60 seconds up to `now`.
    pub fn in_last_minute(&self, now: Timestamp) -> u64 {
        let minute = minute_of(now);
        let reach = MINUTE_MILLIS - now.as_millis().rem_euclid(MINUTE_MILLIS);
        let before = self.made_in(minute - 1) * reach as u64;
        // The clocks of two machines may differ: what is a little ahead of ours counts now.
        let made = self.made_in(minute) + self.made_in(minute + 1);
        made + before.div_ceil(MINUTE_MILLIS as u64)
    }

    /// In how many whole seconds, 1 to 120, one more change is within `limit`; `None`: now.
    pub fn retry_after(&self, limit: u32, now: Timestamp) -> Option<u32> {
        let fits = |now| self.in_last_minute(now) < u64::from(limit);
        if fits(now) {
            return None;
        }
        (1..120)
            .find(|seconds| fits(now.plus_secs(*seconds)))
            .or(Some(120))
    }
}

fn minute_of(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(MINUTE_MILLIS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MINUTE: i64 = 29_000_000;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(MINUTE * MINUTE_MILLIS + second * 1000)
    }

    fn made(count: u32, when: Timestamp) -> SlidingWindow {
        SlidingWindow::of(count, when)
    }

    fn window(counts: &[(i64, u32, u32)]) -> SlidingWindow {
        let mut window = SlidingWindow::default();
        for (minute, instance, made) in counts {
            let minute = window.minutes.entry(*minute).or_default();
            minute.insert(*instance, *made);
        }
        window
    }

    #[test]
    fn changes_are_allowed_up_to_the_maximum() {
        let mut window = SlidingWindow::default();
        for instance in 0..120 {
            assert_eq!(window.retry_after(120, second(10)), None);
            window.add(instance, second(10));
        }
        assert!(window.retry_after(120, second(10)).is_some());
    }

    #[test]
    fn the_minute_before_counts_as_far_as_it_reaches_into_the_last_60_seconds() {
        let window = made(120, second(59));
        assert_eq!(window.in_last_minute(second(60)), 120);
        assert_eq!(window.in_last_minute(second(90)), 60);
        assert_eq!(window.in_last_minute(second(119)), 2);
        assert_eq!(window.in_last_minute(second(120)), 0);
        assert_eq!(window.in_last_minute(second(1000)), 0);
    }

    #[test]
    fn who_waits_as_told_may_make_a_change_and_a_second_earlier_may_not() {
        for limit in [1, 2, 3, 7, 120, 1_000_000] {
            for at in [0, 1, 29, 59] {
                let window = made(limit, second(at));
                let wait = window.retry_after(limit, second(at)).unwrap();
                let then = |wait| window.retry_after(limit, second(at + i64::from(wait)));
                assert_eq!(then(wait), None, "{limit} at {at}");
                assert!(then(wait - 1).is_some(), "{limit} at {at}");
            }
        }
    }

    #[test]
    fn a_count_from_a_clock_ahead_of_ours_is_not_lost() {
        let mut window = made(5, second(60));
        assert_eq!(window.in_last_minute(second(59)), 5);
        window.add(8, second(59));
        window.prune(second(59));
        assert_eq!(window.in_last_minute(second(60)), 6);
    }

    #[test]
    fn counts_merge_into_the_same_in_any_order() {
        let counts = [
            window(&[(0, 7, 5)]),
            window(&[(0, 7, 3), (1, 8, 1)]),
            window(&[(1, 7, 9)]),
            window(&[(0, 1, 2), (1, 7, 4)]),
        ];
        let merged = |order: [usize; 4]| {
            let mut all = SlidingWindow::default();
            for index in order {
                all.merge(&counts[index]);
            }
            all
        };
        let expected = window(&[(0, 1, 2), (0, 7, 5), (1, 7, 9), (1, 8, 1)]);
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            assert_eq!(merged(order), expected, "{order:?}");
        }
    }

    #[test]
    fn a_count_of_any_number_of_instances_is_a_small_document() {
        let mut window = SlidingWindow::default();
        for instance in 0..10_000 {
            window.add(u32::MAX - instance, second(0));
        }
        assert_eq!(window.in_last_minute(second(0)), 10_000);
        let document = serde_json::to_vec(&window).unwrap();
        assert!(document.len() < 8192, "{} bytes", document.len());
    }

    #[test]
    fn a_count_of_the_first_release_is_read() {
        let earlier = json!({"minute": 5, "made": {"3": 2, "200": 1}, "before": 4});
        let read: SlidingWindow = serde_json::from_value(earlier).unwrap();
        assert_eq!(read, window(&[(4, 0, 4), (5, 3, 2), (5, 200, 1)]));
        let now = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<SlidingWindow>(&now).unwrap(), read);
    }
}
