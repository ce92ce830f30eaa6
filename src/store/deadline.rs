//! The deadline of a request's store calls.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::future::{Either, select};

use crate::concurrency::{WhenWoken, when_woken};
use crate::fault::Fault;
use crate::runtime::{Instant, sleep};

/// The store as one request uses it: all its calls together have `store_timeout_ms`.
#[derive(Clone)]
pub struct Deadline {
    deadline: Instant,
    timeout: Duration,
    timer: KeptTimer,
}

type Timer = Pin<Box<dyn Future<Output = ()>>>;

/// The timer of a deadline while nobody waits for it: all steps of a request have one, since each timer is a
/// task of the host and two calls of it. A clone has one of its own.
#[derive(Default)]
struct KeptTimer(RefCell<Option<WhenWoken<Timer>>>);

impl Clone for KeptTimer {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Deadline {
    /// The store, with a deadline `timeout` from now.
    pub fn with_timeout(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout,
            timeout,
            timer: KeptTimer::default(),
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
        result.unwrap_or_else(|| Err(self.late(what).into()))
    }

    /// Not generic, as [`Self::wait`].
    #[inline(never)]
    fn late(&self, what: &str) -> Fault {
        self.is_over(&format!("store: {what}"))
    }

    /// Waits for the calls, at most until the deadline. Not generic: each use of its own would be a
    /// kilobyte of the component.
    async fn wait(&self, calls: Pin<&mut dyn Future<Output = ()>>) {
        let kept = self.timer.0.take();
        let timer = kept.unwrap_or_else(|| {
            let deadline = self.deadline;
            // It begins when it is asked first, which need not be now.
            let timer: Timer = Box::pin(async move {
                sleep(deadline.saturating_duration_since(Instant::now())).await;
            });
            when_woken(timer)
        });
        if let Either::Left(((), timer)) = select(calls, timer).await {
            self.timer.0.replace(Some(timer));
        }
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

#[cfg(test)]
mod tests {
    use futures::future::join;

    use super::*;
    use crate::runtime::simulation;

    async fn step(deadline: &Deadline, millis: u64) -> Result<(), Fault> {
        let step = async {
            sleep(Duration::from_millis(millis)).await;
            Ok(())
        };
        deadline.run("a step", step).await
    }

    #[test]
    fn all_steps_together_have_the_time_that_there_is() {
        simulation::run(async {
            let begun = Instant::now();
            let deadline = Deadline::with_timeout(Duration::from_millis(100));
            assert_eq!(step(&deadline, 0).await, Ok(()));
            assert_eq!(step(&deadline, 60).await, Ok(()));
            sleep(Duration::from_millis(10)).await;
            assert!(step(&deadline, 60).await.is_err_and(|it| it.is_timeout()));
            assert_eq!(begun.elapsed(), Duration::from_millis(100));
            // It stays over, and another one begins anew.
            assert!(step(&deadline, 1).await.is_err());
            assert_eq!(step(&deadline.renew(), 60).await, Ok(()));
            assert!(step(&deadline.clone(), 1).await.is_err());
        });
    }

    #[test]
    fn steps_side_by_side_each_end_in_time() {
        simulation::run(async {
            let begun = Instant::now();
            let deadline = Deadline::with_timeout(Duration::from_millis(100));
            let both = join(step(&deadline, 300), step(&deadline, 20));
            assert!(matches!(both.await, (Err(_), Ok(()))));
            assert_eq!(begun.elapsed(), Duration::from_millis(100));
        });
    }

    #[test]
    fn what_is_done_without_waiting_does_not_move_the_deadline() {
        simulation::run(async {
            let deadline = Deadline::with_timeout(Duration::from_millis(100));
            assert_eq!(
                deadline.run("at once", async { Ok::<_, Fault>(()) }).await,
                Ok(())
            );
            sleep(Duration::from_millis(80)).await;
            let begun = Instant::now();
            assert!(step(&deadline, 300).await.is_err());
            assert_eq!(begun.elapsed(), Duration::from_millis(20));
        });
    }
}
