//! What is read of the log.

use crate::model::delivery::{Attempt, Delivery, DeliveryStatus, Event};
use crate::model::event::EventType;
use crate::model::ids::EventId;
use crate::model::time::Timestamp;

/// An event as it is stored. Holds the publisher's data, so it has no `Debug`.
#[derive(Clone)]
pub struct StoredEvent {
    /// What the log shows of it.
    pub event: Event,
    /// The body of its deliveries; `None`: it was erased.
    pub body: Option<String>,
    /// Its deliveries, by the ids of their webhooks.
    pub deliveries: Vec<Delivery>,
}

/// What is kept of a delivery when its data are gone, and before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The event. Its deliveries are not counted.
    pub event: Event,
    /// When its data were erased.
    pub erased_at: Option<Timestamp>,
    /// The delivery, without its attempts.
    pub delivery: Delivery,
    /// Its attempts, the first one first.
    pub attempts: Vec<RecordedAttempt>,
}

/// An attempt, with what stays of the response when that is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// SHA-256 of what was read of the response's body, in hexadecimal digits.
    pub response_sha256: Option<String>,
}

/// Which part of a log, the newest events first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRange {
    /// Events that were published at that moment or later.
    pub after: Option<Timestamp>,
    /// Events that were published before that moment.
    pub before: Option<Timestamp>,
    /// Events whose ids sort before this one: where the page before ended.
    pub cursor: Option<EventId>,
    /// How many a page has at most, 1 to 100.
    pub limit: u32,
}

/// Which of an application's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsPage {
    /// Which part of the log.
    pub range: LogRange,
    /// Events of that type only.
    pub event_type: Option<EventType>,
    /// The event with that `Idempotency-Key` only.
    pub idempotency_key: Option<String>,
}

/// Which of a webhook's deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveriesPage {
    /// Which part of the log.
    pub range: LogRange,
    /// Deliveries of that status only.
    pub status: Option<DeliveryStatus>,
    /// Deliveries of events of that type only.
    pub event_type: Option<EventType>,
}

/// A page of a log.
///
/// It can be shorter than was asked for, or empty, and yet not be the last: a filter looks at no more
/// than [`MAX_SCANNED`] entries for a page, or [`MAX_READ`], so that no page costs more as the log grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The page's items.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<EventId>,
}

/// What a digest has of events of one type. It is one row of the database: a million rows, which Spin
/// hands over one by one, took more than half a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHashes {
    /// What happened.
    pub event_type: EventType,
    /// How many events there are.
    pub count: u32,
    /// The last of them.
    pub last: EventId,
    /// A line for each, by its id: the id, a space, SHA-256 of the body of its deliveries in 64
    /// hexadecimal digits, a line feed.
    pub lines: String,
}

/// How many entries of a log are looked at for one page, where an index has what it is filtered by.
pub const MAX_SCANNED: u32 = 10_000;

/// How many, where their rows have to be read: each can be on a page of its own.
pub const MAX_READ: u32 = 1_000;
