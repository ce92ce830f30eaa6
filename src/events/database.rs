//! What the service needs of the database of events.
//!
//! One method is one step that takes effect whole or not at all, and each can be repeated after a
//! failure. Times are the caller's: the database has no clock.

mod gauges;
mod health;
mod log;
mod operation;
mod portal;
mod publishing;
mod queue;
mod recoveries;

pub use self::gauges::*;
pub use self::health::*;
pub use self::log::*;
pub use self::operation::Operation;
pub use self::portal::*;
pub use self::publishing::*;
pub use self::queue::*;
pub use self::recoveries::*;
#[cfg(doc)]
use crate::fault::Fault;
pub use crate::model::condition::Failures;
use crate::model::delivery::{Delivery, DeliveryReason, Event};
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// The database of events: Spin's SQLite or a PostgreSQL, and in tests SQLite in memory, whose
/// statements meet as the test decides (`memory`).
///
/// Every operation fails with [`Fault::Dependency`] or [`Fault::Timeout`]. One that failed
/// may have taken effect all the same.
pub trait Database: Recoveries + PortalCodes {
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

    /// The application whose events the webhook has deliveries of; `None`: it has none. The log of a
    /// webhook outlives it, and says so whose it is.
    fn application_of(&self, webhook: WebhookId) -> Operation<'_, Option<ApplicationId>>;

    /// What a digest has of the application's events, for each type: up to `limit` of those whose ids
    /// sort after `after` and before `end`, the first ones.
    fn hashes<'a>(
        &'a self,
        application: &'a ApplicationId,
        after: EventId,
        end: EventId,
        limit: u32,
    ) -> Operation<'a, Vec<EventHashes>>;

    /// What is kept of the delivery, all its attempts included, as of one moment; `None`: the application
    /// has no such delivery.
    fn evidence<'a>(
        &'a self,
        application: &'a ApplicationId,
        event: EventId,
        webhook: WebhookId,
    ) -> Operation<'a, Option<Evidence>>;

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

    /// Suppresses up to `limit` of the webhook's pending deliveries that nobody holds, of events that
    /// were published at `until` or before. Returns how many; fewer than `limit`: there are no more.
    fn suppress(
        &self,
        webhook: WebhookId,
        reason: DeliveryReason,
        until: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Operation<'_, u32>;

    /// Begins an attempt that somebody asked for, beside the delivery's schedule. Repeated with the same
    /// token, it begins no other.
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

    /// The first application that has events among those whose ids sort after `after`.
    fn next_application<'a>(
        &'a self,
        after: Option<&'a ApplicationId>,
    ) -> Operation<'a, Option<ApplicationId>>;

    /// Figures of all deliveries together, at a cost that does not grow with the log. `operator` is the
    /// application that gets operational events.
    fn gauges<'a>(
        &'a self,
        now: Timestamp,
        operator: Option<&'a ApplicationId>,
    ) -> Operation<'a, Gauges>;

    /// The application of the first event whose id does not sort before `event`.
    fn application_since(&self, event: EventId) -> Operation<'_, Option<ApplicationId>>;

    /// When there is something to do next.
    fn next_due(&self) -> Operation<'_, NextDue>;

    /// The webhook's failed attempts that began after `since` and after its last success, but for those
    /// that failed by our own fault.
    fn failures(&self, webhook: WebhookId, since: Timestamp) -> Operation<'_, Failures>;

    /// How the webhook has been doing since `from`; its failures count since `counts_since`. Looks at
    /// [`MAX_SAMPLED`] rows of each kind at most.
    fn figures(
        &self,
        webhook: WebhookId,
        from: Timestamp,
        counts_since: Timestamp,
    ) -> Operation<'_, WebhookFigures>;
}
