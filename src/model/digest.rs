//! A day's events as one number for each type, which merchants compare with what they received.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::day::Day;
use super::event::EventType;
use super::time::Timestamp;

/// How long after its end a day can still get events: one is dated when its publish begins, and stored
/// when that ends, a minute later at most, on machines whose clocks differ.
const LATE: Duration = Duration::from_secs(5 * 60);

/// A day's events of each type.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(description = "A day's events, as their numbers and hashes.")]
pub struct EventsDigest {
    /// The day, from midnight to midnight in UTC. What counts is when an event was published.
    #[schema(value_type = String, format = Date, pattern = r"^\d{4}-\d\d-\d\d$", examples("2026-11-25"))]
    day: Day,
    /// Whether it is all of the day, and stays as it is: not before five minutes after the day's end,
    /// and not once the first of its events are old enough to be deleted.
    #[schema(examples(true))]
    is_complete: bool,
    /// The types that there are events of on that day, by their names.
    types: Vec<TypeDigest>,
}

/// A day's events of one type.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(description = "A day's events of one type, as their number and hash.")]
pub struct TypeDigest {
    /// The type.
    #[schema(inline)]
    r#type: EventType,
    /// How many events there are.
    #[schema(minimum = 1, examples(2))]
    count: u64,
    /// SHA-256 of a line for each event, in 64 hexadecimal digits. The lines are sorted; each is the
    /// event's id, a space, the event's `sha256` and a line feed.
    #[schema(
        pattern = "^[0-9a-f]{64}$",
        examples("ace22df9fdc5e20818054be12587825f9a044849450a510aab93f0657073278d")
    )]
    sha256: String,
}

/// Takes a day's events one after the other.
pub struct DayDigest {
    day: Day,
    types: BTreeMap<String, (EventType, u64, Sha256)>,
}

impl DayDigest {
    /// A day without events.
    pub fn new(day: Day) -> Self {
        Self {
            day,
            types: BTreeMap::new(),
        }
    }

    /// Takes the next events of a type, whose ids sort after those before them: a line for each.
    pub fn add(&mut self, event_type: &EventType, number: u32, lines: &str) {
        let name = event_type.as_str();
        if !self.types.contains_key(name) {
            let empty = (event_type.clone(), 0, Sha256::new());
            self.types.insert(name.to_owned(), empty);
        }
        if let Some((_, count, hash)) = self.types.get_mut(name) {
            *count += u64::from(number);
            hash.update(lines);
        }
    }

    /// The digest as of `now`, where events are deleted after so many days.
    pub fn finish(self, now: Timestamp, retention_days: u32) -> EventsDigest {
        let kept = Duration::from_secs(u64::from(retention_days) * 24 * 60 * 60);
        let is_over = self.day.end().plus(LATE) <= now;
        let is_kept = self.day.begin().plus(kept) > now;
        let types = self.types.into_values();
        let types = types.map(|(r#type, count, hash)| TypeDigest {
            r#type,
            count,
            sha256: base16ct::lower::encode_string(&hash.finalize()),
        });
        EventsDigest {
            day: self.day,
            is_complete: is_over && is_kept,
            types: types.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_type(name: &str) -> EventType {
        EventType::parse(name).expect("a type")
    }

    const VECTOR: [(&str, u64, &str); 2] = [
        (
            "expired",
            1,
            "07b0688a9ccba2bb6d3a999284ffbe7fd9a8d16bd1522bd65ab7dbc29db17ed8",
        ),
        (
            "paid",
            2,
            "ace22df9fdc5e20818054be12587825f9a044849450a510aab93f0657073278d",
        ),
    ];

    /// The hashes are those of
    ///
    /// ```python
    /// import hashlib
    /// def digest(events):  # of one type: (webhook-id, body) of each
    ///     lines = sorted(f"{id} {hashlib.sha256(body).hexdigest()}\n" for id, body in events)
    ///     return hashlib.sha256("".join(lines).encode()).hexdigest()
    /// ```
    ///
    /// for the bodies `{"n":1}` and so on.
    #[test]
    fn each_type_has_its_number_and_the_hash_of_its_sorted_lines() {
        let day = Day::parse("2026-11-25").unwrap();
        let mut digest = DayDigest::new(day);
        for (number, name) in [(1, "paid"), (2, "expired"), (3, "paid")] {
            let id = format!("evt_019ab8{number}d6a407c2e8d3b9f0a1b2c3d4e");
            let body = format!("{{\"n\":{number}}}");
            let sha256 = base16ct::lower::encode_string(&Sha256::digest(body));
            digest.add(&event_type(name), 1, &format!("{id} {sha256}\n"));
        }
        let digest = digest.finish(day.end(), 30);
        let types = digest.types.iter();
        let types: Vec<_> = types
            .map(|it| (it.r#type.as_str(), it.count, it.sha256.as_str()))
            .collect();
        assert_eq!(types, VECTOR);
    }

    #[test]
    fn a_day_is_complete_once_it_is_over_and_until_its_events_are_deleted() {
        let day = Day::parse("2026-11-25").unwrap();
        let at = |text: &str| serde_json::from_value(serde_json::json!(text)).unwrap();
        for (now, is_complete) in [
            ("2026-11-20T00:00:00Z", false),
            ("2026-11-25T12:00:00Z", false),
            ("2026-11-26T00:04:59.999Z", false),
            ("2026-11-26T00:05:00Z", true),
            ("2026-12-24T23:59:59.999Z", true),
            ("2026-12-25T00:00:00Z", false),
        ] {
            let digest = DayDigest::new(day).finish(at(now), 30);
            assert_eq!(digest.is_complete, is_complete, "{now}");
            assert!(digest.types.is_empty());
        }
    }
}
