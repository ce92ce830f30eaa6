//! Retention: events are deleted once they are older than variable `event_retention_days` says, in
//! small batches, so that nothing waits for long.

use std::time::Duration;

use super::dispatcher::Dispatcher;
use crate::http::error::Error;
use crate::model::time::Timestamp;

/// How long an instance waits until it looks again.
pub(super) const PAUSE: Duration = Duration::from_secs(60);

/// How many events one statement deletes.
const BATCH: u32 = 100;

/// How many statements follow each other before deliveries get their turn.
const BATCHES: usize = 10;

const DAY: Duration = Duration::from_secs(86_400);

impl Dispatcher {
    /// Deletes some of what is too old. Returns whether there may be more.
    ///
    /// # Errors
    ///
    /// The database's failure.
    pub(super) async fn forget_old(&self) -> Result<bool, Error> {
        let kept = DAY * self.events.retention_days;
        let before = Timestamp::now().as_millis() - kept.as_millis() as i64;
        for _ in 0..BATCHES {
            let before = Timestamp::from_millis(before);
            if self.database.forget(before, BATCH).await? < BATCH {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
