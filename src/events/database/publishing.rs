//! What is published, and whom it goes to.

use super::super::claim::ClaimToken;
use crate::model::delivery::DeliveryReason;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// An event that is published. Holds the publisher's data, so it has no `Debug`.
#[derive(Clone)]
pub struct NewEvent {
    /// Its id, made by [`EventId::generate`] at `created_at`.
    pub id: EventId,
    /// The application that it happened in.
    pub application_id: ApplicationId,
    /// What happened.
    pub event_type: EventType,
    /// The body of its deliveries, byte for byte as they are signed: JSON.
    pub body: String,
    /// When it happened, as the publisher said.
    pub occurred_at: Timestamp,
    /// When it is published.
    pub created_at: Timestamp,
    /// When it stops being worth delivering.
    pub deliver_before: Option<Timestamp>,
    /// The publisher's `Idempotency-Key`.
    pub idempotency: Option<PublishKey>,
    /// When its fan-out is made a second time.
    pub settle_at: Timestamp,
    /// Whom it goes to, each webhook once.
    pub deliveries: Vec<NewDelivery>,
}

/// A publisher's `Idempotency-Key`, with what it was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishKey {
    /// The key: 1 to 255 printable ASCII characters.
    pub key: String,
    /// The digest of the request.
    pub request_hash: String,
}

/// A delivery that is made with its event, or added later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// When no more attempts are scheduled:
    /// [`RetrySchedule::give_up_at`](crate::model::retry_schedule::RetrySchedule::give_up_at).
    pub give_up_at: Timestamp,
    /// How it begins.
    pub beginning: Beginning,
}

/// How a delivery begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Pending: its first attempt is due then.
    Due(Timestamp),
    /// Pending, and claimed by whoever publishes: its first attempt is number 1, on step 1.
    Claimed {
        /// Who holds it.
        token: ClaimToken,
        /// When it was due, if nobody held it.
        due: Timestamp,
        /// Until when it is held.
        until: Timestamp,
    },
    /// Suppressed.
    Suppressed(DeliveryReason),
}

/// What came of publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The event is stored with its deliveries.
    New,
    /// Another event of the application has the key, and nothing was stored.
    Earlier {
        /// That event.
        id: EventId,
        /// The digest of the request that published it.
        request_hash: String,
    },
}

/// An event whose fan-out is to be made a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FanOut {
    /// The event.
    pub event_id: EventId,
    /// The application that it happened in.
    pub application_id: ApplicationId,
    /// What happened.
    pub event_type: EventType,
    /// When it was published.
    pub created_at: Timestamp,
    /// The webhooks that have a delivery of it: nothing more is decided about them.
    pub recipients: Vec<WebhookId>,
}

/// The end of an event's second fan-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The event.
    pub event_id: EventId,
    /// The webhooks that it goes to, too. Those that have a delivery keep it.
    pub deliveries: Vec<NewDelivery>,
    /// When the deliveries that are added are made.
    pub now: Timestamp,
}
