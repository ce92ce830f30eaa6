//! A day of the calendar, in UTC.

use chrono::NaiveDate;
use serde::{Serialize, Serializer};

use super::time::Timestamp;

/// How many milliseconds a day has.
const MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A day from midnight to midnight in UTC: `2026-11-25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(NaiveDate);

impl Day {
    /// The day, if `text` is one as RFC 3339 writes it (`full-date`).
    pub fn parse(text: &str) -> Option<Self> {
        let day = Self(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?);
        // Chrono reads more than it writes.
        (text.len() == 10 && day.to_string() == text).then_some(day)
    }

    /// Its first moment.
    pub fn begin(self) -> Timestamp {
        let days = self
            .0
            .signed_duration_since(NaiveDate::default())
            .num_days();
        Timestamp::from_millis(days * MILLIS)
    }

    /// The first moment of the next day.
    pub fn end(self) -> Timestamp {
        Timestamp::from_millis(self.begin().as_millis() + MILLIS)
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d"))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_from_midnight_to_midnight_in_utc() {
        let day = Day::parse("2026-11-25").unwrap();
        assert_eq!(day.begin().to_string(), "2026-11-25T00:00:00.000Z");
        assert_eq!(day.end().to_string(), "2026-11-26T00:00:00.000Z");
        assert_eq!(Day::parse("1970-01-01").unwrap().begin().as_millis(), 0);
        let first = Day::parse("0000-01-01").unwrap().begin();
        assert!(first.as_millis() < 0);
        assert!(Day::parse("9999-12-31").is_some());
        for bad in [
            "",
            "2026-1-5",
            "2026-02-29",
            "2026-13-01",
            "+2026-11-25",
            "2026-11-25 ",
            "2026-11-25T00:00:00Z",
            "10000-01-01",
            "20261125",
        ] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }
}
