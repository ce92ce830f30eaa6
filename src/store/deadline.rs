//! The deadline of a request's store calls.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::future::select;

use crate::fault::Fault;
use crate::runtime::{Instant, sleep};

/// The store as one request uses it: all its calls together have `store_timeout_ms`.
#[derive(Clone)]
pub struct Deadline {
    deadline: Instant,
    timeout: Duration,
}

impl Deadline {
    /// The store, with a deadline `timeout` from now.
    pub fn with_timeout(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout,
            timeout,
        }
    }

    /// Runs store calls until the deadline.
    ///
    /// # Errors
    ///
    /// [`Fault::Timeout`] when it passes first. A write that was cut off may still
    /// take effect.
    pub async fn run<T, E: From<Fault>>(
        &self,
        what: &str,
        calls: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut result = None;
        let calls = async { result = Some(calls.await) };
        self.wait(pin!(calls)).await;
        result.unwrap_or_else(|| Err(self.is_over(&format!("store: {what}")).into()))
    }

    /// Waits for the calls, at most until the deadline. Not generic: each use of its own would be a
    /// kilobyte of the component.
    async fn wait(&self, calls: Pin<&mut dyn Future<Output = ()>>) {
        select(calls, pin!(sleep(self.remaining()))).await;
    }

    /// The same store with a fresh deadline, for work after the response.
    pub fn renew(&self) -> Self {
        Self::with_timeout(self.timeout)
    }

    /// How much time is remaining until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// How long it was in all when it began.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The fault of what took longer.
    pub fn is_over(&self, what: &str) -> Fault {
        let timeout = self.timeout.as_millis();
        Fault::Timeout(format!("{what} took longer than {timeout} ms"))
    }
}
