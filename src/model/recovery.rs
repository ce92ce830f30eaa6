//! A recovery: what failed, was suppressed or is missing of a window is delivered anew, at a pace.

use std::time::Duration;

use serde::Serialize;

use super::delivery::named;
use super::event::EventType;
use super::ids::{RecoveryId, WebhookId};
use super::time::Timestamp;

named! {
    /// What a recovery takes.
    RecoveryKind {
        /// Deliveries that failed.
        Failed = "failed",
        /// Deliveries that were suppressed.
        Suppressed = "suppressed",
        /// Events that the webhook is subscribed to now, and has no delivery of.
        Missing = "missing",
    }
}

named! {
    /// How far a recovery is.
    RecoveryStatus {
        /// What it takes is being looked up.
        Matching = "matching",
        /// What it takes is certain, and gets new schedules at its pace.
        Running = "running",
        /// Everything was queued or skipped.
        Done = "done",
        /// It was stopped before: the reason says why.
        Stopped = "stopped",
    }
}

named! {
    /// Why a recovery was stopped.
    StopReason {
        /// Somebody asked for it.
        Requested = "requested",
        /// The webhook became inactive.
        WebhookInactive = "webhookInactive",
        /// The application was disabled.
        ApplicationDisabled = "applicationDisabled",
        /// The webhook was deleted.
        WebhookDeleted = "webhookDeleted",
    }
}

/// Why deliveries that a recovery matched got no new schedule: how many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkippedByReason {
    /// It succeeded meanwhile, by a resend.
    pub succeeded: u32,
    /// It is pending: an event that was missing got its delivery meanwhile.
    pub pending: u32,
    /// The event's `deliverBefore` passed meanwhile.
    pub expired: u32,
    /// The event's data were erased meanwhile.
    pub data_erased: u32,
    /// The event was deleted meanwhile, or is about to be: it is older than events are kept.
    pub event_deleted: u32,
    /// The recovery was stopped first.
    pub stopped: u32,
}

impl SkippedByReason {
    /// How many in all.
    pub fn total(&self) -> u32 {
        let Self {
            succeeded,
            pending,
            expired,
            data_erased,
            event_deleted,
            stopped,
        } = self;
        succeeded + pending + expired + data_erased + event_deleted + stopped
    }
}

/// A recovery as responses show it. When it has ended, `matched` is `queued` and `skipped` together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// Its id.
    pub id: RecoveryId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// How far it is.
    pub status: RecoveryStatus,
    /// Why it was stopped; null unless it was.
    #[schema(required)]
    pub reason: Option<StopReason>,
    /// It takes events that were published at that moment or later.
    pub after: Timestamp,
    /// It takes events that were published before that moment.
    pub before: Timestamp,
    /// What it takes.
    pub include: Vec<RecoveryKind>,
    /// It takes events of these types; null: of every type.
    #[schema(required)]
    pub types: Option<Vec<EventType>>,
    /// How many deliveries it queues in a minute.
    #[schema(minimum = 1, maximum = 60_000)]
    pub per_minute: u32,
    /// How many deliveries it takes; null while they are being looked up.
    #[schema(required)]
    pub matched: Option<u32>,
    /// How many of them have got a new schedule.
    pub queued: u32,
    /// How many of them got none, because they changed meanwhile or it was stopped.
    pub skipped: u32,
    /// Why those got none.
    pub skipped_by_reason: SkippedByReason,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was done or stopped; null before.
    #[schema(required)]
    pub completed_at: Option<Timestamp>,
}

/// How fast a recovery queues deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    per_minute: u32,
}

impl Pace {
    /// Ten a second.
    pub const DEFAULT_PER_MINUTE: u32 = 600;

    /// A thousand a second: more than the four attempts at a time that a webhook has in a process can
    /// make of it.
    pub const MAX_PER_MINUTE: u32 = 60_000;

    /// How many deliveries one statement queues at most, so that none holds the database for long.
    const MAX_BATCH: u32 = 200;

    /// The pace of so many in a minute, 1 to [`Self::MAX_PER_MINUTE`].
    pub fn per_minute(per_minute: u32) -> Self {
        let per_minute = per_minute.clamp(1, Self::MAX_PER_MINUTE);
        Self { per_minute }
    }

    /// How many are queued at a time: a second's, 1 to [`Self::MAX_BATCH`].
    pub fn batch(self) -> u32 {
        (self.per_minute / 60).clamp(1, Self::MAX_BATCH)
    }

    /// How long it is from one batch to the next.
    pub fn interval(self) -> Duration {
        let millis = u64::from(self.batch()) * 60_000 / u64::from(self.per_minute);
        Duration::from_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_a_seconds_and_small_and_never_faster_than_asked() {
        for (per_minute, batch, millis) in [
            (1, 1, 60_000),
            (7, 1, 8571),
            (60, 1, 1000),
            (119, 1, 504),
            (600, 10, 1000),
            (12_000, 200, 1000),
            (60_000, 200, 200),
        ] {
            let pace = Pace::per_minute(per_minute);
            let expected = (batch, Duration::from_millis(millis));
            assert_eq!((pace.batch(), pace.interval()), expected, "{per_minute}");
            // A minute has one more than it should at most: milliseconds are whole.
            let in_a_minute = 60_000 / millis * u64::from(batch);
            assert!(in_a_minute <= u64::from(per_minute) + u64::from(batch));
        }
    }

    #[test]
    fn every_reason_counts() {
        let skipped = SkippedByReason {
            succeeded: 1,
            pending: 2,
            expired: 4,
            data_erased: 8,
            event_deleted: 16,
            stopped: 32,
        };
        assert_eq!(skipped.total(), 63);
    }
}
