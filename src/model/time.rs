//! Time: the only spelling of it. What it is now, `runtime.rs` asks the host.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC, in whole milliseconds since the Unix epoch.
///
/// Its text, in bodies and in stored documents, is RFC 3339 with milliseconds
/// and `Z`: `2026-01-15T08:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, utoipa::ToSchema)]
#[schema(
    description = "A moment in UTC with milliseconds (RFC 3339).",
    value_type = String, format = DateTime, pattern = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    examples("2026-01-15T08:00:00.000Z"),
)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as JWT and Standard Webhooks count time.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time between two moments, whichever is the later one.
    pub const fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }

    /// How much later it is than `earlier`; nothing, when it is not.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        match self.0 > earlier.0 {
            true => self.distance(earlier),
            false => Duration::ZERO,
        }
    }

    /// The next moment, a millisecond later.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// This moment, `pause` later, in whole milliseconds.
    pub fn plus(self, pause: Duration) -> Self {
        let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// This moment, `seconds` later.
    pub const fn plus_secs(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds as i64 * 1000))
    }
}

/// A text that is as long as ours.
const PATTERN: [u8; 24] = *b"0000-00-00T00:00:00.000Z";

/// Where its numbers begin, and how many digits they have.
const NUMBERS: [(usize, usize); 7] = [(0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2), (20, 3)];

impl Timestamp {
    /// Calls `with` with its text. A list of 50 writes and reads two hundred: `chrono`, which knows every format,
    /// is asked for years of other than four digits only.
    fn spelled<T>(self, with: impl FnOnce(&str) -> T) -> T {
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        let Some(year) = u32::try_from(moment.year()).ok().filter(|it| *it < 10_000) else {
            return with(&moment.to_rfc3339_opts(SecondsFormat::Millis, true));
        };
        let numbers = [
            year,
            moment.month(),
            moment.day(),
            moment.hour(),
            moment.minute(),
            moment.second(),
            moment.timestamp_subsec_millis(),
        ];
        let mut text = PATTERN;
        for ((begin, digits), mut number) in NUMBERS.into_iter().zip(numbers) {
            for digit in text[begin..begin + digits].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        with(str::from_utf8(&text).unwrap_or_default())
    }

    /// The moment of a text as we write it.
    fn read_ours(text: &[u8]) -> Option<Self> {
        let mut rest = PATTERN;
        let mut numbers = [0; NUMBERS.len()];
        if text.len() != rest.len() {
            return None;
        }
        rest.copy_from_slice(text);
        for ((begin, digits), number) in NUMBERS.into_iter().zip(&mut numbers) {
            for digit in &mut rest[begin..begin + digits] {
                *number = *number * 10 + char::from(*digit).to_digit(10)?;
                *digit = b'0';
            }
        }
        let [year, month, day, hour, minute, second, millis] = numbers;
        let day = NaiveDate::from_ymd_opt(year.cast_signed(), month, day)?;
        let moment = day.and_hms_milli_opt(hour, minute, second, millis)?;
        (rest == PATTERN).then(|| Self(moment.and_utc().timestamp_millis()))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.spelled(|text| f.write_str(text))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.spelled(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time in RFC 3339")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                let moment = Timestamp::read_ours(text.as_bytes()).or_else(|| {
                    let moment = DateTime::parse_from_rfc3339(text).ok()?;
                    Some(Timestamp(moment.timestamp_millis()))
                });
                moment.ok_or_else(|| E::custom("a time must be in RFC 3339"))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utc_with_milliseconds_and_reads_back() {
        let moment = Timestamp::from_millis(1_768_464_000_000);
        assert_eq!(moment.to_string(), "2026-01-15T08:00:00.000Z");
        let json = serde_json::to_string(&moment).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
    }

    proptest::proptest! {
        /// Years of four digits, earlier ones and later ones.
        #[test]
        fn texts_are_as_chrono_spells_and_reads_them(millis in -100_000_000_000_000..300_000_000_000_000_i64) {
            let moment = DateTime::<Utc>::from_timestamp_millis(millis).unwrap();
            let text = moment.to_rfc3339_opts(SecondsFormat::Millis, true);
            assert_eq!(Timestamp(millis).to_string(), text);
            let read = serde_json::from_value::<Timestamp>(text.clone().into());
            let expected = DateTime::parse_from_rfc3339(&text);
            assert_eq!(read.ok().map(Timestamp::as_millis), expected.ok().map(|it| it.timestamp_millis()));
        }

        #[test]
        fn what_is_almost_ours_is_read_as_chrono_reads_it(at in 0..24_usize, byte in 0x20..0x7f_u8) {
            let mut text = *b"2024-02-29T23:59:59.999Z";
            text[at] = byte;
            let text = str::from_utf8(&text).unwrap();
            let read = serde_json::from_value::<Timestamp>(text.into());
            let expected = DateTime::parse_from_rfc3339(text);
            assert_eq!(read.ok().map(Timestamp::as_millis), expected.ok().map(|it| it.timestamp_millis()), "{text}");
        }
    }

    #[test]
    fn other_spellings_of_rfc_3339_are_read() {
        for (text, same) in [
            ("2026-01-15T09:00:00+01:00", "2026-01-15T08:00:00.000Z"),
            ("2026-01-15t08:00:00.1239z", "2026-01-15T08:00:00.123Z"),
            ("2016-12-31T23:59:60.000Z", "2017-01-01T00:00:00.000Z"),
        ] {
            let read: Timestamp = serde_json::from_value(text.into()).unwrap();
            assert_eq!(read.to_string(), same);
        }
        for text in [
            "",
            "2026-01-15",
            "2026-02-30T08:00:00.000Z",
            "2026-01-15T24:00:00.000Z",
        ] {
            assert!(
                serde_json::from_value::<Timestamp>(text.into()).is_err(),
                "{text}"
            );
        }
    }
}
