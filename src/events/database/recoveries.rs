//! Recoveries: what each takes is looked up once, and queued in steps by whoever holds it.

use super::super::claim::ClaimToken;
use super::operation::Operation;
use super::publishing::PublishKey;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, RecoveryId, WebhookId};
use crate::model::recovery::{Recovery, RecoveryKind, StopReason};
use crate::model::time::Timestamp;

/// What a recovery looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The application whose events they are.
    pub application_id: ApplicationId,
    /// The webhook that gets them.
    pub webhook_id: WebhookId,
    /// The first event of the window that is still kept.
    pub first: EventId,
    /// Events whose ids sort before this one.
    pub end: EventId,
    /// What it takes, each kind once, at least one.
    pub include: Vec<RecoveryKind>,
    /// Of which types; `None`: of every type.
    pub types: Option<Vec<EventType>>,
    /// Of which types where the webhook has no delivery: those of `types` that it is subscribed to.
    pub missing_types: Option<Vec<EventType>>,
}

impl Selection {
    /// Where looking begins.
    pub fn beginning(&self) -> Option<Position> {
        self.first_of(self.include.first().copied())
    }

    /// Where looking goes on after a page that ended before `end`; without an end, nothing of its kind is
    /// left.
    pub fn after(&self, kind: RecoveryKind, end: Option<EventId>) -> Option<Position> {
        if let Some(from) = end {
            return Some(Position { kind, from });
        }
        let mut kinds = self.include.iter().skip_while(|other| **other != kind);
        kinds.next();
        self.first_of(kinds.next().copied())
    }

    fn first_of(&self, kind: Option<RecoveryKind>) -> Option<Position> {
        let from = self.first;
        kind.map(|kind| Position { kind, from })
    }
}

/// How far looking has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// What is looked for.
    pub kind: RecoveryKind,
    /// From this event on.
    pub from: EventId,
}

/// A recovery that somebody holds, to carry it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedRecovery {
    /// What responses show of it.
    pub recovery: Recovery,
    /// Who holds it.
    pub token: ClaimToken,
    /// What it looks for.
    pub selection: Selection,
    /// Where looking goes on.
    pub position: Position,
}

/// A recovery that is begun, held by whoever begins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecovery {
    /// The recovery. It was created when its id was made.
    pub claimed: ClaimedRecovery,
    /// Until when it is held.
    pub until: Timestamp,
    /// The client's `Idempotency-Key`.
    pub idempotency: Option<PublishKey>,
}

/// What came of beginning a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryBegun {
    /// It is begun.
    New,
    /// Another one of the webhook has the key.
    Earlier(EarlierRecovery),
    /// Another one of the webhook has not ended.
    Active(RecoveryId),
}

/// A recovery that was begun with an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierRecovery {
    /// The recovery as it is now.
    pub recovery: Recovery,
    /// The digest of the request that began it.
    pub request_hash: String,
}

/// What a page of looking found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many that the recovery takes.
    pub count: u32,
    /// Where looking goes on; `None`: everything was looked at.
    pub next: Option<Position>,
}

/// What came of writing down a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Looking goes on there.
    Next(Position),
    /// Everything is written down.
    All,
    /// The claim was lost, or the recovery was stopped.
    Lost,
}

/// A step of a recovery that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStep {
    /// The recovery.
    pub id: RecoveryId,
    /// Who holds it. The step ends the claim.
    pub token: ClaimToken,
    /// What time it is.
    pub now: Timestamp,
    /// When the deliveries are due for the first time.
    pub due_at: Timestamp,
    /// When no more attempts of them are scheduled.
    pub give_up_at: Timestamp,
    /// Events that are older are skipped: they are about to be deleted.
    pub oldest: EventId,
    /// How long it is until the next step, in milliseconds.
    pub interval_ms: u32,
    /// How many deliveries at most.
    pub limit: u32,
}

/// Recoveries in the database. As for [`Database`](super::Database), each operation can be repeated after
/// a failure, and fails as those do.
pub trait Recoveries {
    /// Begins a recovery, unless one of the webhook has its `Idempotency-Key` or has not ended. Repeated
    /// with the same id, it changes nothing and returns [`RecoveryBegun::New`].
    fn begin_recovery<'a>(&'a self, new: &'a NewRecovery) -> Operation<'a, RecoveryBegun>;

    /// The recovery.
    fn recovery<'a>(
        &'a self,
        application: &'a ApplicationId,
        webhook: WebhookId,
        id: RecoveryId,
    ) -> Operation<'a, Option<Recovery>>;

    /// The webhook's recovery that was begun with this `Idempotency-Key`.
    fn recovery_with_key<'a>(
        &'a self,
        webhook: WebhookId,
        key: &'a str,
    ) -> Operation<'a, Option<EarlierRecovery>>;

    /// The webhook's recovery that has not ended.
    fn active_recovery(&self, webhook: WebhookId) -> Operation<'_, Option<RecoveryId>>;

    /// Takes a recovery that is due, the one that is due longest. It comes back at `until` unless it is
    /// carried on before.
    fn claim_recovery(
        &self,
        token: ClaimToken,
        now: Timestamp,
        until: Timestamp,
    ) -> Operation<'_, Option<ClaimedRecovery>>;

    /// Counts what a recovery would take of the next `limit` deliveries, or events, from `position` on.
    fn count_matches<'a>(
        &'a self,
        selection: &'a Selection,
        position: Position,
        limit: u32,
        now: Timestamp,
    ) -> Operation<'a, Found>;

    /// Writes down what the recovery takes of the next `limit` deliveries, or events, from `position` on,
    /// and holds it until `until`. What is written down already is not written twice.
    fn add_matches<'a>(
        &'a self,
        claimed: &'a ClaimedRecovery,
        position: Position,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Operation<'a, Added>;

    /// Ends looking: what is written down is what the recovery takes. Ends the claim: the first step is
    /// due. Returns how many it takes; `None`: the claim was lost, or the recovery was stopped.
    fn start_recovery<'a>(
        &'a self,
        claimed: &'a ClaimedRecovery,
        now: Timestamp,
    ) -> Operation<'a, Option<u32>>;

    /// Gives the next deliveries a new schedule, or skips them, and counts which. Returns how many they
    /// were; fewer than the limit: there are no more, or the claim was lost, or somebody holds some.
    fn queue_matches<'a>(&'a self, step: &'a QueueStep) -> Operation<'a, u32>;

    /// How many of the webhook's `limit` newest pending deliveries are due and not under way.
    fn backlog(&self, webhook: WebhookId, now: Timestamp, limit: u32) -> Operation<'_, u32>;

    /// Ends a recovery of which nothing is left to queue or to clear. `false`: something is.
    fn end_recovery(&self, id: RecoveryId, now: Timestamp) -> Operation<'_, bool>;

    /// Stops the recovery: when this returns, nothing more is queued by it. `false`: it has ended already,
    /// or there is none.
    fn stop_recovery(
        &self,
        id: RecoveryId,
        reason: StopReason,
        now: Timestamp,
    ) -> Operation<'_, bool>;

    /// Removes up to `limit` of what a recovery that was stopped has not queued. Returns how many; fewer
    /// than `limit`: there are no more.
    fn clear_recovery(&self, id: RecoveryId, limit: u32) -> Operation<'_, u32>;

    /// Ends the claim of a recovery: it is due at `due`.
    fn put_off_recovery<'a>(
        &'a self,
        claimed: &'a ClaimedRecovery,
        due: Timestamp,
    ) -> Operation<'a, ()>;

    /// Deletes up to `limit` recoveries that were begun before `before` and have ended. Returns how many;
    /// fewer than `limit`: there are no more.
    fn forget_recoveries(&self, before: Timestamp, limit: u32) -> Operation<'_, u32>;
}
