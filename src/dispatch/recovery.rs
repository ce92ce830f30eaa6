//! Recoveries: what one takes is looked up when it is begun, and queued in small steps by the pump of
//! whichever process claims it.
//!
//! Nothing is due before its step comes: so who stops a recovery stops it at once, and what a process
//! leaves when it dies is in the database, for the next one.

use std::rc::Rc;
use std::time::Duration;

use super::dispatcher::Dispatcher;
use crate::events::claim::ClaimToken;
use crate::events::database::{
    Added, ClaimedRecovery, NewRecovery, QueueStep, RecoveryBegun, Selection,
};
use crate::fault::Fault;
use crate::log;
use crate::model::delivery_state::Standing;
use crate::model::ids::EventId;
use crate::model::recovery::{Pace, RecoveryStatus, StopReason};
use crate::model::time::Timestamp;
use crate::runtime::Instant;
use crate::store::deadline::Deadline;
use crate::store::recipients;

/// How long somebody has to carry on a recovery before somebody else does.
const RECOVERY_LEASE: Duration = Duration::from_secs(30);

/// How many deliveries a statement looks at: as many as keep the database busy for some milliseconds.
const COUNTED_AT_ONCE: u32 = 5_000;

/// How many it writes down.
const ADDED_AT_ONCE: u32 = 1_000;

/// How many pages the pump looks at before deliveries get their turn.
const PAGES: usize = 4;

/// How long a request looks up what its recovery takes. The pump goes on with what is left.
const LOOKING: Duration = Duration::from_secs(5);

/// How long a pump waits until it asks again whether a recovery is due, unless it knows of one.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// After how long a recovery is due again that nobody could carry on, because the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// A recovery waits while so many of the webhook's deliveries are due: the endpoint takes what comes more
/// slowly, and each claim for others would pass over all that waits for it.
pub const BACKLOG: u32 = 500;

/// How many of its pending deliveries are looked at for that. Those that failed are due later.
const LOOKED_AT: u32 = 1_000;

/// How much younger than the oldest that is kept an event must be: what is deleted meanwhile is lost.
const MARGIN: Duration = Duration::from_secs(60);

impl Dispatcher {
    /// The first event that a recovery takes, at `now`, of a window that begins at `after`.
    pub fn first_recoverable(&self, after: Timestamp, now: Timestamp) -> EventId {
        EventId::first_at(after).max(self.oldest_recoverable(now))
    }

    fn oldest_recoverable(&self, now: Timestamp) -> EventId {
        EventId::first_at(self.kept_since(now).plus(MARGIN))
    }

    /// Counts what a recovery would take.
    ///
    /// # Errors
    ///
    /// The database's failure.
    pub async fn count_recovery(&self, selection: &Selection) -> Result<u32, Fault> {
        let now = Timestamp::now();
        let mut position = selection.beginning();
        let mut count = 0;
        while let Some(from) = position {
            let database = &self.database;
            let counted = database.count_matches(selection, from, COUNTED_AT_ONCE, now);
            let found = counted.await?;
            count += found.count;
            position = found.next;
        }
        Ok(count)
    }

    /// Begins a recovery, and looks up what it takes. Returns also how many that are, if that took no
    /// longer than five seconds; else the pump finds out.
    ///
    /// # Errors
    ///
    /// The database's failure: it may be begun all the same.
    pub async fn begin_recovery(
        self: &Rc<Self>,
        new: &NewRecovery,
    ) -> Result<(RecoveryBegun, Option<u32>), Fault> {
        let begun = self.database.begin_recovery(new).await?;
        if begun != RecoveryBegun::New {
            return Ok((begun, None));
        }
        // It is begun: what fails now is repeated by the pump when the lease has ended.
        let matched = match self.look_up(&new.claimed, usize::MAX, LOOKING).await {
            Ok(matched) => matched,
            Err(error) => {
                log::task("a recovery waits for its lease to end", &error);
                None
            }
        };
        self.wake(true);
        Ok((begun, matched))
    }

    /// How long until a recovery that was begun at `now` is somebody else's.
    pub fn recovery_lease(now: Timestamp) -> Timestamp {
        now.plus(RECOVERY_LEASE)
    }

    /// Looks up what a recovery takes, for so many pages and so long, and puts it off to now if that was
    /// not all. Returns how many it takes when all is known.
    async fn look_up(
        &self,
        claimed: &ClaimedRecovery,
        pages: usize,
        budget: Duration,
    ) -> Result<Option<u32>, Fault> {
        let began = Instant::now();
        let mut position = claimed.position;
        for _ in 0..pages {
            if began.elapsed() >= budget {
                break;
            }
            let now = Timestamp::now();
            let until = Self::recovery_lease(now);
            let database = &self.database;
            let added = database.add_matches(claimed, position, ADDED_AT_ONCE, now, until);
            match added.await? {
                Added::Next(next) => position = next,
                Added::All => return database.start_recovery(claimed, now).await,
                Added::Lost => return Ok(None),
            }
        }
        let due = Timestamp::now();
        self.database.put_off_recovery(claimed, due).await?;
        Ok(None)
    }

    /// Carries on a recovery that is due. Returns whether there was one.
    pub(super) async fn recover(&self) -> bool {
        let looked_at = self.pump.borrow().recovered_at;
        let known = self.pump.borrow_mut().recovery_due.take();
        let is_due = known.is_some_and(|due| due <= Timestamp::now());
        if !is_due && looked_at.is_some_and(|at| at.elapsed() < LOOK_PAUSE) {
            return false;
        }
        match self.carry_on().await {
            Ok(true) => return true,
            Ok(false) => {}
            // Deliveries do not wait for it.
            Err(error) => log::task("a recovery waits", &error),
        }
        self.pump.borrow_mut().recovered_at = Some(Instant::now());
        false
    }

    async fn carry_on(&self) -> Result<bool, Fault> {
        let now = Timestamp::now();
        let (token, until) = (ClaimToken::generate(), Self::recovery_lease(now));
        let claimed = self.database.claim_recovery(token, now, until).await?;
        let Some(claimed) = claimed else {
            return Ok(false);
        };
        match claimed.recovery.status {
            RecoveryStatus::Matching => {
                self.look_up(&claimed, PAGES, LOOKING).await?;
            }
            RecoveryStatus::Running => self.step(&claimed, now).await?,
            RecoveryStatus::Stopped | RecoveryStatus::Done => self.clear(&claimed, now).await?,
        }
        Ok(true)
    }

    /// Queues the next deliveries, unless the webhook gets none now.
    async fn step(&self, claimed: &ClaimedRecovery, now: Timestamp) -> Result<(), Fault> {
        let recovery = &claimed.recovery;
        let reason = match self.standing(&claimed.selection).await {
            Ok(Standing::Active) => None,
            Ok(Standing::Inactive | Standing::Disabled) => Some(StopReason::WebhookInactive),
            Ok(Standing::ApplicationDisabled) => Some(StopReason::ApplicationDisabled),
            Ok(Standing::Deleted) => Some(StopReason::WebhookDeleted),
            Err(error) => {
                log::task("a recovery is put off", &error);
                let due = now.plus(STORE_PAUSE);
                return self.database.put_off_recovery(claimed, due).await;
            }
        };
        if let Some(reason) = reason {
            let stopped = self.database.stop_recovery(recovery.id, reason, now);
            return stopped.await.map(drop);
        }
        let pace = Pace::per_minute(recovery.per_minute);
        let backlog = self.database.backlog(recovery.webhook_id, now, LOOKED_AT);
        if backlog.await? >= BACKLOG {
            let due = now.plus(pace.interval());
            return self.database.put_off_recovery(claimed, due).await;
        }
        let schedule = &self.events.retry_schedule;
        let step = QueueStep {
            id: recovery.id,
            token: claimed.token.clone(),
            now,
            due_at: schedule.next_at(0, now, 0).unwrap_or(now),
            give_up_at: schedule.give_up_at(now),
            oldest: self.oldest_recoverable(now),
            interval_ms: pace.interval().as_millis() as u32,
            limit: pace.batch(),
        };
        if self.database.queue_matches(&step).await? < step.limit {
            self.database.end_recovery(recovery.id, now).await?;
        }
        Ok(())
    }

    async fn standing(&self, selection: &Selection) -> Result<Standing, Fault> {
        let (store, application) = (&self.store, &selection.application_id);
        let reads = async {
            let recipient = recipients::recipient(store, application, selection.webhook_id);
            let enabled = recipients::is_enabled(store, application);
            let (recipient, enabled) = futures::future::join(recipient, enabled).await;
            Ok(recipient?.standing(enabled?))
        };
        let deadline = Deadline::with_timeout(self.config.store_timeout);
        deadline.run("reading a recipient", reads).await
    }

    /// Removes what a recovery that was stopped has not queued.
    async fn clear(&self, claimed: &ClaimedRecovery, now: Timestamp) -> Result<(), Fault> {
        let id = claimed.recovery.id;
        for _ in 0..PAGES {
            if self.database.clear_recovery(id, ADDED_AT_ONCE).await? < ADDED_AT_ONCE {
                self.database.end_recovery(id, now).await?;
                return Ok(());
            }
        }
        self.database.put_off_recovery(claimed, now).await
    }
}
