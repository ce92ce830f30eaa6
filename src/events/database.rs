//! What the service needs of the database of events.
//!
//! One method is one step that takes effect whole or not at all, and each can be repeated after a
//! failure. Times are the caller's: the database has no clock.

use std::pin::Pin;

use super::claim::ClaimToken;
use crate::http::error::Error;
use crate::model::delivery::{
    AttemptError, AttemptTrigger, Delivery, DeliveryReason, DeliveryStatus, Event,
};
use crate::model::delivery_state::{Progress, State};
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// An operation under way. One that is dropped before it ends may still take effect.
pub type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

/// The database of events: Spin's SQLite or a PostgreSQL, and in tests SQLite in memory, whose
/// statements meet as the test decides (`memory`).
///
/// Every operation fails with [`Error::Dependency`] or [`Error::DependencyTimeout`]. One that failed
/// may have taken effect all the same.
pub trait Database {
    /// Makes the tables unless they are there. Every operation does so first, once per instance, so
    /// only a probe needs to ask for it.
    fn prepare(&self) -> Operation<'_, ()>;

    /// Stores an event with its deliveries, unless one of the application's has its
    /// `Idempotency-Key`. Repeated with the same id, it changes nothing and returns
    /// [`Published::New`].
    fn publish<'a>(&'a self, event: &'a NewEvent) -> Operation<'a, Published>;

    /// The event with its body and its deliveries, of which each has its last attempt.
    fn event<'a>(
        &'a self,
        application: &'a ApplicationId,
        event: EventId,
    ) -> Operation<'a, Option<StoredEvent>>;

    /// A page of the application's events, the newest first.
    fn events<'a>(
        &'a self,
        application: &'a ApplicationId,
        page: &'a EventsPage,
    ) -> Operation<'a, Listed<Event>>;

    /// A page of the webhook's deliveries, the newest event first, each with its last attempt.
    fn deliveries<'a>(
        &'a self,
        webhook: WebhookId,
        page: &'a DeliveriesPage,
    ) -> Operation<'a, Listed<Delivery>>;

    /// The delivery with all its attempts.
    fn delivery(&self, event: EventId, webhook: WebhookId) -> Operation<'_, Option<Delivery>>;

    /// Takes up to `limit` events whose fan-out is due to be made a second time, the oldest first.
    /// They come back at `until` unless [`settle`](Self::settle) is called before.
    fn claim_fan_outs(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Operation<'_, Vec<FanOut>>;

    /// Adds the deliveries that an event lacks, and ends its second fan-out. Deliveries that are there
    /// stay as they are.
    fn settle<'a>(&'a self, events: &'a [Settlement]) -> Operation<'a, ()>;

    /// Takes deliveries that are due, and counts an attempt for each.
    fn claim<'a>(&'a self, claim: &'a Claim) -> Operation<'a, Vec<ClaimedDelivery>>;

    /// Records what came of deliveries that were claimed, those of several claims together, and ends
    /// the claims. Returns those whose claim was lost meanwhile: an attempt of theirs is kept, and
    /// their state is not touched.
    fn record<'a>(&'a self, records: &'a [Record]) -> Operation<'a, Vec<DeliveryKey>>;

    /// Gives claimed deliveries back without an attempt: they are due at `due`. Those whose claim was
    /// lost stay as they are.
    fn release<'a>(&'a self, held: &'a [Held], due: Timestamp) -> Operation<'a, ()>;

    /// Holds claimed deliveries until `until`. Returns those that are still held.
    fn renew<'a>(&'a self, held: &'a [Held], until: Timestamp) -> Operation<'a, Vec<DeliveryKey>>;

    /// Moves the webhook's deliveries that are due and that nobody holds back together; the oldest of
    /// them is due before the others. Returns how many were moved.
    fn postpone(&self, postponement: Postponement) -> Operation<'_, u32>;

    /// Makes up to `limit` deliveries of the webhook due now that [`postpone`](Self::postpone) moved
    /// back. Returns how many.
    fn resume(&self, webhook: WebhookId, now: Timestamp, limit: u32) -> Operation<'_, u32>;

    /// Suppresses up to `limit` of the webhook's pending deliveries that nobody holds. Returns how
    /// many; fewer than `limit`: there are no more.
    fn suppress(
        &self,
        webhook: WebhookId,
        reason: DeliveryReason,
        now: Timestamp,
        limit: u32,
    ) -> Operation<'_, u32>;

    /// Begins an attempt that somebody asked for, beside the delivery's schedule.
    fn begin_resend<'a>(&'a self, resend: &'a Resend) -> Operation<'a, ResendBegun>;

    /// Erases the event's body and the responses to it, for ever. Its pending deliveries that nobody
    /// holds are suppressed; a claim finds no body in the others. `false`: there is no such event.
    fn erase<'a>(
        &'a self,
        application: &'a ApplicationId,
        event: EventId,
        now: Timestamp,
    ) -> Operation<'a, bool>;

    /// Deletes up to `limit` events older than `before` that have no pending delivery, with all that
    /// belongs to them. Returns how many; fewer than `limit`: there are no more.
    fn forget(&self, before: Timestamp, limit: u32) -> Operation<'_, u32>;

    /// Deletes up to `limit` events of an application that was deleted, whatever their state. Returns
    /// how many; fewer than `limit`: there are no more.
    fn forget_application<'a>(
        &'a self,
        application: &'a ApplicationId,
        limit: u32,
    ) -> Operation<'a, u32>;

    /// When there is something to do next.
    fn next_due(&self) -> Operation<'_, NextDue>;

    /// The webhook's failed attempts that began after `since` and after its last success.
    fn failures(&self, webhook: WebhookId, since: Timestamp) -> Operation<'_, Failures>;
}

/// What names a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The event.
    pub event_id: EventId,
    /// The webhook.
    pub webhook_id: WebhookId,
}

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
/// than [`MAX_SCANNED`] entries for a page, so that no page costs more as the log grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The page's items.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<EventId>,
}

/// How many entries of a log are looked at for one page.
pub const MAX_SCANNED: u32 = 10_000;

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
}

/// The end of an event's second fan-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The event.
    pub event_id: EventId,
    /// The webhooks that it goes to. Those that have a delivery keep it.
    pub deliveries: Vec<NewDelivery>,
    /// When the deliveries that are added are made.
    pub now: Timestamp,
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
    /// Webhooks to leave out, because enough of theirs is under way.
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
}

/// The failed attempts of a webhook since its last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// When its last attempt began that succeeded.
    pub last_success: Option<Timestamp>,
    /// When the first of them began; `None`: there are none.
    pub failing_since: Option<Timestamp>,
    /// How many there are, 1,000 at most.
    pub attempts: u32,
    /// Of how many events they are.
    pub events: u32,
}
