//! The store as the operator's work uses it: for an hour, so that a failure of a moment does not
//! end it.

use std::cell::Cell;
use std::pin::Pin;
use std::time::Duration;

use crate::fault::Fault;
use crate::runtime::{Instant, sleep};
use crate::store::deadline::Deadline;
use crate::store::key_value::Store;

/// How many documents are read between two words on how far the work is.
pub const CHUNK: usize = 256;

/// How long a store may take to list its keys. Redis hands them out ten at a time.
const LISTING_TIME: Duration = Duration::from_secs(600);

/// How long the store is left to others at most.
const LONGEST_BREAK: Duration = Duration::from_secs(1);

/// How often calls are made that fail.
const MAX_TRIES: u32 = 3;

/// Calls under way.
type Call<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + 'a>>;

/// The store, and how long it may take.
#[derive(Clone)]
pub struct Access {
    /// The store.
    pub store: Store,
    /// `store_timeout_ms` from now, wherever it is renewed.
    pub deadline: Deadline,
    /// The id of the request.
    pub request_id: String,
}

impl Access {
    /// Makes store calls that can be repeated, up to three times, each with a deadline of its own; then
    /// leaves the store to others for as long as they took.
    ///
    /// Spin's SQLite store is one connection behind a lock that is not fair: who comes back at once can
    /// keep the others waiting for as long as it likes.
    ///
    /// # Errors
    ///
    /// Those of the last time.
    pub async fn run<T>(
        &self,
        what: &str,
        calls: impl AsyncFn() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let made = Cell::new(None);
        let call = || -> Call<'_> {
            Box::pin(async {
                made.set(Some(calls().await?));
                Ok(())
            })
        };
        self.repeat(what, &call).await?;
        let made = made.take();
        made.ok_or_else(|| Fault::Internal(format!("{what} made nothing")))
    }

    /// Not generic: each use of its own would be a kilobyte of the component.
    async fn repeat<'a>(&self, what: &str, call: &dyn Fn() -> Call<'a>) -> Result<(), Fault> {
        let mut pause = Duration::from_millis(250);
        let mut tries = 1;
        loop {
            let began = Instant::now();
            match self.deadline.renew().run(what, call()).await {
                Err(Fault::Dependency(_) | Fault::Timeout(_)) if tries < MAX_TRIES => {
                    sleep(pause).await;
                }
                made => {
                    sleep(began.elapsed().min(LONGEST_BREAK)).await;
                    return made;
                }
            }
            tries += 1;
            pause *= 4;
        }
    }

    /// Every key of the store, sorted.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn keys(&self) -> Result<Vec<String>, Fault> {
        Deadline::with_timeout(LISTING_TIME)
            .run("listing keys", self.store.keys())
            .await
    }
}
