//! Deliveries that are due, held and recorded.

use super::super::claim::ClaimToken;
#[cfg(doc)]
use super::Database;
use crate::model::delivery::{AttemptError, AttemptTrigger};
use crate::model::delivery_state::{Progress, State};
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// What names a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The event.
    pub event_id: EventId,
    /// The webhook.
    pub webhook_id: WebhookId,
}

/// Which deliveries to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who will hold them: a new one for each call.
    pub token: ClaimToken,
    /// Those that are due by now.
    pub now: Timestamp,
    /// Until when they are held. Then they are due again.
    pub until: Timestamp,
    /// How many at most, 1 to 1,000.
    pub limit: u32,
    /// How many at most of one webhook, from 1.
    pub limit_per_webhook: u32,
    /// How many fewer of a webhook, because so many are under way.
    pub taken: Vec<(WebhookId, u32)>,
    /// Webhooks to leave out.
    pub except: Vec<WebhookId>,
    /// Which come first.
    pub order: ClaimOrder,
}

/// Which of the deliveries that are due come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOrder {
    /// First attempts, then retries; of each the one that is due longest.
    FirstAttempts,
    /// The one that is due longest. Retries starve if no claim is in this order.
    Due,
}

/// A delivery that was claimed, with all that its attempt needs. Holds the publisher's data, so it has
/// no `Debug`.
#[derive(Clone)]
pub struct ClaimedDelivery {
    /// Who holds which attempt of it.
    pub held: Held,
    /// The application that the event happened in.
    pub application_id: ApplicationId,
    /// What happened.
    pub event_type: EventType,
    /// The body, byte for byte as it is signed; `None`: it was erased.
    pub body: Option<String>,
    /// Why the attempt is made.
    pub trigger: AttemptTrigger,
    /// What its next state depends on. The attempt's step is counted already.
    pub progress: Progress,
}

/// A claim of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The delivery.
    pub key: DeliveryKey,
    /// Who holds it.
    pub token: ClaimToken,
    /// The number of its attempt, from 1.
    pub number: u32,
}

/// What came of a delivery that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The claim.
    pub held: Held,
    /// The attempt; `None`: no request was made, and the number is given back.
    pub attempt: Option<NewAttempt>,
    /// What becomes of the delivery.
    pub effect: Effect,
}

/// What an attempt does to its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was claimed by [`Database::claim`] or at publish: this is its state now.
    Scheduled(State),
    /// It was claimed by [`Database::begin_resend`]. A success completes the delivery at that moment; a
    /// failure leaves its schedule as it was.
    Resent {
        /// When it succeeded; `None`: it failed.
        succeeded_at: Option<Timestamp>,
    },
}

/// An attempt as it is recorded. Texts hold no U+0000: a database would refuse it, so it becomes
/// U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    /// Why it was made.
    pub trigger: AttemptTrigger,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took until the status or the failure, in milliseconds.
    pub duration_ms: u32,
    /// Where it went.
    pub url: String,
    /// The secrets that signed it, each as its last four characters.
    pub secret_fingerprints: Vec<String>,
    /// The status that the endpoint returned, if it returned one.
    pub http_status_code: Option<u16>,
    /// Why it failed; `None`: it succeeded.
    pub error: Option<AttemptError>,
    /// The beginning of the response's body.
    pub response_body: Option<String>,
    /// Whether the response's body was longer.
    pub response_body_truncated: bool,
    /// SHA-256 of what was read of the response's body, in hexadecimal digits.
    pub response_sha256: Option<String>,
    /// How many seconds the endpoint asked to wait.
    pub retry_after_seconds: Option<u32>,
}

/// Which deliveries to move back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postponement {
    /// Those of this webhook.
    pub webhook_id: WebhookId,
    /// Those that are due by now.
    pub now: Timestamp,
    /// When the oldest of them is due.
    pub probe_at: Timestamp,
    /// When the others are.
    pub until: Timestamp,
    /// How many at most. More stay due: ask again.
    pub limit: u32,
}

/// An attempt that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resend {
    /// The delivery.
    pub key: DeliveryKey,
    /// Who will hold it: a new one for each call.
    pub token: ClaimToken,
    /// What time it is.
    pub now: Timestamp,
    /// Until when no other attempt of it begins, unless this one is recorded before.
    pub until: Timestamp,
}

/// What came of asking for an attempt.
pub enum ResendBegun {
    /// Make it: then [`Database::record`] it as [`Effect::Resent`].
    Begun(Box<ClaimedDelivery>),
    /// Another attempt is under way.
    InFlight,
    /// The event's data were erased.
    Erased,
    /// There is no such delivery.
    Missing,
}

/// When there is something to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextDue {
    /// When the next delivery is due, or is held no longer.
    pub delivery: Option<Timestamp>,
    /// When the next event's fan-out is made a second time.
    pub fan_out: Option<Timestamp>,
    /// When the next recovery is carried on.
    pub recovery: Option<Timestamp>,
}
