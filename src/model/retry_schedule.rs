//! When a delivery is attempted again: variable `retry_schedule`.

use std::time::Duration;

use super::time::Timestamp;

/// The pauses before each attempt of a delivery, the first one included.
///
/// An attempt is never earlier than its pause says, and at most a tenth of the pause later, 15
/// minutes at most: what fails together is not repeated together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    pauses: Vec<Duration>,
}

impl RetrySchedule {
    /// The schedule of the Standard Webhooks specification: ten attempts within 75 h 35 min.
    pub const DEFAULT: &str = "0,5,300,1800,7200,18000,36000,50400,72000,86400";

    /// How many attempts a schedule can have.
    pub const MAX_ATTEMPTS: usize = 30;

    /// The longest pause, a week, in seconds.
    const MAX_PAUSE_SECS: u64 = 7 * 86_400;

    /// The longest schedule, in seconds: four weeks, within the time that events are kept.
    const MAX_TOTAL_SECS: u64 = 28 * 86_400;

    /// How much is added to a pause at random at most, in percent of it.
    pub const JITTER_PERCENT: u32 = 10;

    /// The longest time that is added to a pause at random.
    pub const MAX_JITTER: Duration = Duration::from_secs(15 * 60);

    /// How much an attempt can take, and begin late, without the last one of the schedule being cut.
    const ALLOWANCE: Duration = Duration::from_secs(60);

    /// The longest time that an endpoint's `Retry-After` is followed.
    pub const MAX_RETRY_AFTER_SECS: u32 = 86_400;

    /// The schedule that `text` has, as whole seconds separated by commas.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pauses = Vec::new();
        let mut total = 0;
        for part in text.split(',') {
            let digits = part.trim();
            let seconds = Some(digits)
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .filter(|seconds| *seconds <= Self::MAX_PAUSE_SECS);
            let Some(seconds) = seconds else {
                let most = Self::MAX_PAUSE_SECS;
                return Err(format!(
                    "must be whole numbers of seconds from 0 to {most}, separated by commas"
                ));
            };
            total += seconds;
            pauses.push(Duration::from_secs(seconds));
        }
        if pauses.len() > Self::MAX_ATTEMPTS {
            let most = Self::MAX_ATTEMPTS;
            return Err(format!("must have at most {most} attempts"));
        }
        if total > Self::MAX_TOTAL_SECS {
            let most = Self::MAX_TOTAL_SECS;
            return Err(format!("must not be longer than {most} seconds in all"));
        }
        Ok(Self { pauses })
    }

    /// How many attempts there are.
    pub fn attempts(&self) -> u32 {
        self.pauses.len() as u32
    }

    /// The pauses, in whole seconds.
    pub fn pauses_seconds(&self) -> impl Iterator<Item = u64> {
        self.pauses.iter().map(Duration::as_secs)
    }

    /// When the attempt after step `taken` of the schedule is made, if there is one. `from` is when
    /// that step ended; for step 0, when the delivery was made. `chance`, 0 to 65,535, is random.
    pub fn next_at(&self, taken: u32, from: Timestamp, chance: u16) -> Option<Timestamp> {
        let pause = *self.pauses.get(taken as usize)?;
        let jitter = jitter(pause) * u32::from(chance) / u32::from(u16::MAX);
        Some(from.plus(pause + jitter))
    }

    /// When no more attempts are made of a delivery that is made at `created`: after the last one of
    /// the schedule, even when each is as late as it can be.
    pub fn give_up_at(&self, created: Timestamp) -> Timestamp {
        let latest = |pause: &Duration| *pause + jitter(*pause) + Self::ALLOWANCE;
        created.plus(self.pauses.iter().map(latest).sum())
    }

    /// When an endpoint that answered at `from` wants the next attempt to be made, at most 24 hours
    /// later.
    pub fn retry_after(from: Timestamp, seconds: u32) -> Timestamp {
        from.plus_secs(seconds.min(Self::MAX_RETRY_AFTER_SECS))
    }
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("the default is a schedule")
    }
}

/// How much is added to a pause at most.
fn jitter(pause: Duration) -> Duration {
    (pause * RetrySchedule::JITTER_PERCENT / 100).min(RetrySchedule::MAX_JITTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_schedule_is_seconds_separated_by_commas() {
        for good in ["0", "0,5", " 1 , 2 ", "604800", RetrySchedule::DEFAULT] {
            let schedule = RetrySchedule::parse(good).expect(good);
            let pauses: Vec<String> = schedule.pauses_seconds().map(|p| p.to_string()).collect();
            assert_eq!(pauses.join(","), good.replace(' ', ""));
        }
        let long = ["604800"; 5].join(",");
        let many = ["0"; 31].join(",");
        for bad in [
            "",
            ",",
            "5,",
            "-1",
            "+5",
            "1.5",
            "5s",
            "604801",
            &long,
            &many,
            "99999999999999999999",
        ] {
            assert!(RetrySchedule::parse(bad).is_err(), "{bad}");
        }
        assert!(RetrySchedule::parse(&["604800"; 4].join(",")).is_ok());
        assert!(RetrySchedule::parse(&["0"; 30].join(",")).is_ok());
    }

    #[test]
    fn the_default_is_the_specifications() {
        let schedule = RetrySchedule::default();
        assert_eq!(schedule.attempts(), 10);
        let total: u64 = schedule.pauses_seconds().sum();
        assert_eq!(total, (75 * 60 + 35) * 60 + 5);
    }

    #[test]
    fn jitter_is_a_tenth_of_the_pause_and_at_most_a_quarter_of_an_hour() {
        let schedule = RetrySchedule::parse("0,300,86400").unwrap();
        for (taken, earliest, latest) in [(0, 0, 0), (1, 300, 330), (2, 86_400, 87_300)] {
            let next = |chance| schedule.next_at(taken, at(1000), chance);
            assert_eq!(next(0), Some(at(1000 + earliest)));
            assert_eq!(next(u16::MAX), Some(at(1000 + latest)));
        }
        assert_eq!(schedule.next_at(3, at(0), 0), None);
    }

    #[test]
    fn retry_after_is_followed_for_a_day() {
        for (asked, followed) in [(0, 0), (120, 120), (86_400, 86_400), (u32::MAX, 86_400)] {
            assert_eq!(RetrySchedule::retry_after(at(5), asked), at(5 + followed));
        }
    }

    proptest! {
        /// However late each attempt is within what is allowed, the last one is made.
        #[test]
        fn no_attempt_of_the_schedule_is_cut(
            pauses in prop::collection::vec(0..100_000_u64, 1..20),
            chances in prop::collection::vec(any::<u16>(), 20),
        ) {
            let text: Vec<String> = pauses.iter().map(u64::to_string).collect();
            let schedule = RetrySchedule::parse(&text.join(",")).unwrap();
            let give_up_at = schedule.give_up_at(at(0));
            let mut now = at(0);
            for (taken, pause) in (0..).zip(&pauses) {
                let next = schedule.next_at(taken, now, chances[taken as usize]).unwrap();
                prop_assert!(next >= now.plus(Duration::from_secs(*pause)));
                prop_assert!(next <= give_up_at);
                now = next.plus(RetrySchedule::ALLOWANCE);
            }
        }
    }
}
