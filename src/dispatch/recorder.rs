//! Records what came of attempts, in batches.
//!
//! Who ends an attempt records all that has ended, unless somebody is at it: what ends while a statement
//! is under way goes out with the next. So nobody waits for anybody, and under load a statement records
//! many.

use std::time::Duration;

use super::dispatcher::Dispatcher;
use super::state::Ended;
use crate::events::database::Record;
use crate::log;
use crate::model::time::Timestamp;
use crate::runtime::sleep;

/// How many records a statement has at most.
const BATCH: usize = 64;

/// How long the first pause is after a failure. Each one is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

impl Dispatcher {
    /// Records all attempts that have ended.
    pub(super) async fn record_ended(&self) {
        if self.is_recording.replace(true) {
            return;
        }
        let recording = Recording(self);
        loop {
            let batch: Vec<Ended> = {
                let mut ended = self.ended.borrow_mut();
                let count = ended.len().min(BATCH);
                ended.drain(..count).collect()
            };
            if batch.is_empty() {
                break;
            }
            self.record(batch).await;
        }
        drop(recording);
    }

    /// A record can be repeated: the database knows it by the attempt's number and its claim.
    async fn record(&self, mut batch: Vec<Ended>) {
        let mut pause = PAUSE;
        loop {
            let records: Vec<Record> = batch.iter().map(|ended| ended.record.clone()).collect();
            let error = match self.database.record(&records).await {
                Ok(_) => return,
                Err(error) => error,
            };
            log::task("attempts are not recorded yet", &error);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let now = Timestamp::now();
            batch.retain(|ended| ended.until > now);
            if batch.is_empty() {
                return;
            }
        }
    }
}

/// Somebody is recording; ends with whoever does, however that ends.
struct Recording<'a>(&'a Dispatcher);

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.0.is_recording.set(false);
    }
}
