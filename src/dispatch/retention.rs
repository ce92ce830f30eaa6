//! Retention: events are deleted once they are older than variable `event_retention_days` says, and when
//! their application is gone; in small batches, so that nothing waits for long.

use std::time::Duration;

use super::dispatcher::Dispatcher;
use crate::fault::Fault;
use crate::model::ids::ApplicationId;
use crate::model::time::Timestamp;
use crate::runtime::Instant;
use crate::store::deadline::Deadline;
use crate::store::keys;

/// How long an instance waits until it looks again.
const PAUSE: Duration = Duration::from_secs(60);

/// How many events one statement deletes.
const BATCH: u32 = 100;

/// How many statements follow each other before deliveries get their turn.
const BATCHES: usize = 10;

/// How many applications are looked at each time.
const APPLICATIONS: usize = 32;

/// How many of those that are gone are remembered.
const MAX_REMEMBERED: usize = 1024;

const DAY: Duration = Duration::from_secs(86_400);

impl Dispatcher {
    /// Deletes some of what is too old or nobody's, once a minute.
    ///
    /// # Errors
    ///
    /// The failure of the database, or of the store.
    pub(super) async fn retain(&self) -> Result<(), Fault> {
        let looked_at = self.retention.borrow().looked_at;
        if looked_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return Ok(());
        }
        self.retention.borrow_mut().looked_at = Some(Instant::now());
        let more = self.forget_old().await?
            | self.forget_old_recoveries().await?
            | self.forget_orphans().await?;
        if more {
            self.retention.borrow_mut().looked_at = None;
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

    /// Looks at the next applications, and deletes the events of those that were gone a minute ago too:
    /// the API's component, which deletes applications, has no database. Returns whether there may be
    /// more of those.
    async fn forget_orphans(&self) -> Result<bool, Fault> {
        for _ in 0..APPLICATIONS {
            let last = self.retention.borrow().last.clone();
            let next = self.database.next_application(last.as_ref()).await?;
            self.retention.borrow_mut().last = next.clone();
            let Some(application) = next else {
                return Ok(false);
            };
            let key = keys::application(&application);
            let exists = self.store.exists(&key);
            let deadline = Deadline::with_timeout(self.config.store_timeout);
            if deadline.run("looking for an application", exists).await? {
                self.retention.borrow_mut().gone.remove(&application);
                continue;
            }
            let was_gone = {
                let gone = &mut self.retention.borrow_mut().gone;
                if gone.len() >= MAX_REMEMBERED {
                    gone.clear();
                }
                !gone.insert(application.clone())
            };
            if was_gone && self.forget_all_of(&application).await? {
                // It has more, and is the next one again.
                self.retention.borrow_mut().last = last;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes events of an application. Returns whether there may be more.
    async fn forget_all_of(&self, application: &ApplicationId) -> Result<bool, Fault> {
        for _ in 0..BATCHES {
            let forgotten = self.database.forget_application(application, BATCH).await?;
            if forgotten < BATCH {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
