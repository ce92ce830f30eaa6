//! Retention: events are deleted once they are older than variable `event_retention_days` says, and when
//! their application is gone; in small batches, so that nothing waits for long.

use std::rc::Rc;
use std::time::Duration;

use super::dispatcher::Dispatcher;
use crate::fault::Fault;
use crate::log;
use crate::model::ids::{ApplicationId, EventId};
use crate::model::time::Timestamp;
use crate::runtime::{Instant, chance, sleep, spawn};
use crate::store::deadline::Deadline;
use crate::store::keys;

/// How long an instance waits until it looks again.
const PAUSE: Duration = Duration::from_secs(60);

/// How many events one statement deletes.
const BATCH: u32 = 100;

/// How many statements follow each other before deliveries get their turn.
const BATCHES: usize = 10;

/// How often the second look's task sees whether its minute is over.
const STEP: Duration = Duration::from_secs(1);

/// Between two statements that delete events of an application that is gone.
const BATCH_PAUSE: Duration = Duration::from_millis(50);

/// How many applications are looked at each time.
const APPLICATIONS: usize = 32;

/// How long codes of the portal are kept: longer than they are valid, by all clocks.
const CODES_KEPT: Duration = Duration::from_secs(3600);

const DAY: Duration = Duration::from_secs(86_400);

impl Dispatcher {
    /// Deletes some of what is too old or nobody's, once a minute. Under load instances live for less
    /// than a second: so one in eight looks at once, and the others at a random moment of their first
    /// minute.
    ///
    /// # Errors
    ///
    /// The failure of the database, or of the store.
    pub(super) async fn retain(self: &Rc<Self>) -> Result<(), Fault> {
        let now = Instant::now();
        let look_at = {
            let mut retention = self.retention.borrow_mut();
            let first = || match chance() {
                0..32 => now,
                chance => now + PAUSE * u32::from(chance) / 256,
            };
            *retention.look_at.get_or_insert_with(first)
        };
        if now < look_at {
            return Ok(());
        }
        self.retention.borrow_mut().look_at = Some(now + PAUSE);
        let more = self.forget_old().await?
            | self.forget_old_recoveries().await?
            | self.forget_old_codes().await?;
        self.look_for_orphans().await?;
        if more {
            self.retention.borrow_mut().look_at = Some(now);
        }
        Ok(())
    }

    /// Since when events are kept, at `now`.
    pub(super) fn kept_since(&self, now: Timestamp) -> Timestamp {
        let kept = DAY * self.events.retention_days;
        Timestamp::from_millis(now.as_millis() - kept.as_millis() as i64)
    }

    /// Deletes events that are too old. Returns whether there may be more.
    async fn forget_old(&self) -> Result<bool, Fault> {
        let before = self.kept_since(Timestamp::now());
        for _ in 0..BATCHES {
            if self.database.forget(before, BATCH).await? < BATCH {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes recoveries that are too old and have ended. Returns whether there may be more.
    async fn forget_old_recoveries(&self) -> Result<bool, Fault> {
        let before = self.kept_since(Timestamp::now());
        Ok(self.database.forget_recoveries(before, BATCH).await? == BATCH)
    }

    /// Deletes codes of the portal that nobody can exchange any more. Returns whether there may be more.
    async fn forget_old_codes(&self) -> Result<bool, Fault> {
        let kept = CODES_KEPT.as_millis() as i64;
        let before = Timestamp::from_millis(Timestamp::now().as_millis() - kept);
        Ok(self.database.forget_codes(before, BATCH).await? == BATCH)
    }

    /// Looks at some applications, and deletes the events of those that are gone now and in a minute:
    /// the API's component, which deletes applications, has no database; and where the store is
    /// replicated, one that was created a moment ago can seem gone.
    async fn look_for_orphans(self: &Rc<Self>) -> Result<(), Fault> {
        // At random, because nobody remembers where the last one stopped.
        let kept = self.events.retention_days * DAY.as_secs() as u32;
        let ago = Duration::from_secs(u64::from(kept) * u64::from(chance()) / 256);
        let moment = Timestamp::now().as_millis() - ago.as_millis() as i64;
        let first = EventId::first_at(Timestamp::from_millis(moment));
        let mut next = match self.database.application_since(first).await? {
            None => self.database.next_application(None).await?,
            application => application,
        };
        for _ in 0..APPLICATIONS {
            let Some(application) = next else {
                return Ok(());
            };
            next = self.database.next_application(Some(&application)).await?;
            let is_known = self.retention.borrow().gone.contains(&application);
            if is_known || self.exists(&application).await? {
                continue;
            }
            self.retention.borrow_mut().gone.insert(application.clone());
            // A task of its own, which outlives the requests that an instance takes.
            let dispatcher = self.clone();
            spawn(async move {
                if let Err(error) = dispatcher.forget_orphans(&application).await {
                    log::task("events of a deleted application stay", &error);
                }
                dispatcher.retention.borrow_mut().gone.remove(&application);
            });
        }
        Ok(())
    }

    /// Deletes the events of an application, if it is still gone in a minute.
    async fn forget_orphans(&self, application: &ApplicationId) -> Result<(), Fault> {
        // In steps: a timer does not know of a clock that was moved meanwhile.
        let since = Instant::now();
        while since.elapsed() < PAUSE {
            sleep(STEP).await;
        }
        if self.exists(application).await? {
            return Ok(());
        }
        while self.database.forget_application(application, BATCH).await? == BATCH {
            sleep(BATCH_PAUSE).await;
        }
        Ok(())
    }

    async fn exists(&self, application: &ApplicationId) -> Result<bool, Fault> {
        let key = keys::application(application);
        let exists = self.store.exists(&key);
        let deadline = Deadline::with_timeout(self.config.store_timeout);
        deadline.run("looking for an application", exists).await
    }
}
