//! Time that passes, and work that goes on after a response: the only place that asks the host for
//! either. In unit tests both are simulated ([`simulation`]), so a minute takes no time there, and
//! every run is the same.

use std::time::Duration;

use crate::model::time::Timestamp;

#[cfg(not(test))]
pub use self::host::{Instant, chance, sleep, spawn, unix_millis};
#[cfg(test)]
pub use self::simulation::{Instant, chance, sleep, spawn, unix_millis};

impl Timestamp {
    /// The current time.
    pub fn now() -> Self {
        Self::from_millis(unix_millis())
    }
}

/// `pause`, made up to four times as long at random, so that writers who met once do not meet again.
pub fn with_jitter(pause: Duration) -> Duration {
    pause + pause * 3 * u32::from(chance()) / 255
}

/// Runs `task` after the response of the request that asks for it, as far as 2 ms suffice for that.
///
/// What a task does at its start delays the body of the response, which then is a TCP segment of its
/// own (`early_body.rs`).
pub fn after_response(task: impl Future<Output = ()> + 'static) {
    spawn(async move {
        sleep(Duration::from_millis(2)).await;
        task.await;
    });
}

#[cfg(not(test))]
mod host {
    use std::time::{SystemTime, UNIX_EPOCH};

    pub use std::time::Instant;

    pub use spin_sdk::time::sleep;
    pub use spin_sdk::wit_bindgen::spawn;

    /// Milliseconds since the Unix epoch.
    pub fn unix_millis() -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        since_epoch.unwrap_or_default().as_millis() as i64
    }

    /// A number at random.
    pub fn chance() -> u8 {
        let [chance] = crate::model::random::unique();
        chance
    }
}

/// A clock that moves when nobody can go on without it, and the tasks that wait for it.
#[cfg(test)]
pub mod simulation {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::ops::Add;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Duration;

    use futures::future::LocalBoxFuture;
    use futures::stream::{FuturesUnordered, StreamExt};

    /// When every simulation begins: 2026-01-15T08:00:00Z.
    const BEGIN_MILLIS: i64 = 1_768_464_000_000;

    thread_local! {
        static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        static TIMERS: RefCell<BTreeMap<(Duration, u64), Waker>> = RefCell::default();
        static SPAWNED: RefCell<Vec<LocalBoxFuture<'static, ()>>> = RefCell::default();
        static NUMBER: Cell<u64> = const { Cell::new(0) };
        static IS_OVER: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs `scenario`, and what it spawns until nothing more can happen. What waits for ever, as a
    /// process that crashed does, is dropped then.
    ///
    /// # Panics
    ///
    /// When the scenario itself waits for ever, or its tasks go on for more than an hour.
    pub fn run<T>(scenario: impl Future<Output = T>) -> T {
        run_for(Duration::from_secs(3600), scenario)
    }

    /// [`run`], where the tasks may go on for so long.
    pub fn run_for<T>(most: Duration, scenario: impl Future<Output = T>) -> T {
        TIMERS.take();
        SPAWNED.take();
        NOW.set(Duration::ZERO);
        NUMBER.set(0);
        IS_OVER.set(false);
        let mut result = None;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        {
            let mut tasks: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
            tasks.push(Box::pin(async {
                result = Some(scenario.await);
                IS_OVER.set(true);
            }));
            loop {
                woken.0.store(false, Ordering::Relaxed);
                let polled = tasks.poll_next_unpin(&mut Context::from_waker(&waker));
                let spawned = SPAWNED.take();
                let goes_on = polled == Poll::Ready(Some(()))
                    || !spawned.is_empty()
                    || woken.0.load(Ordering::Relaxed);
                tasks.extend(
                    spawned
                        .into_iter()
                        .map(|task| task as LocalBoxFuture<'_, ()>),
                );
                if goes_on {
                    continue;
                }
                let Some(((time, _), timer)) = TIMERS.with_borrow_mut(BTreeMap::pop_first) else {
                    break;
                };
                NOW.set(time);
                assert!(time < most, "it never ends");
                timer.wake();
            }
        }
        result.expect("the scenario waits for what never happens")
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the scenario has ended, and only what it spawned goes on.
    pub fn is_over() -> bool {
        IS_OVER.get()
    }

    fn next_number() -> u64 {
        NUMBER.set(NUMBER.get() + 1);
        NUMBER.get()
    }

    /// Runs a task beside the scenario.
    pub fn spawn(task: impl Future<Output = ()> + 'static) {
        SPAWNED.with_borrow_mut(|spawned| spawned.push(Box::pin(task)));
    }

    /// Waits until the clock has moved by `pause`.
    pub fn sleep(pause: Duration) -> Sleep {
        Sleep(NOW.get() + pause, next_number())
    }

    /// What [`sleep`] returns.
    pub struct Sleep(Duration, u64);

    impl Future for Sleep {
        type Output = ();

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if NOW.get() >= self.0 {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            TIMERS.with_borrow_mut(|timers| timers.insert((self.0, self.1), waker));
            Poll::Pending
        }
    }

    impl Drop for Sleep {
        fn drop(&mut self) {
            TIMERS.with_borrow_mut(|timers| timers.remove(&(self.0, self.1)));
        }
    }

    /// A moment of the simulated clock.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Instant(Duration);

    impl Instant {
        /// What the clock says now.
        pub fn now() -> Self {
            Self(NOW.get())
        }

        /// How far the clock has moved since.
        pub fn elapsed(self) -> Duration {
            NOW.get() - self.0
        }

        /// The time between two moments; none when `earlier` is the later one.
        pub fn saturating_duration_since(self, earlier: Self) -> Duration {
            self.0.saturating_sub(earlier.0)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;

        fn add(self, later: Duration) -> Self {
            Self(self.0 + later)
        }
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_millis() -> i64 {
        BEGIN_MILLIS + NOW.get().as_millis() as i64
    }

    /// A number that looks random and is the same in every run.
    pub fn chance() -> u8 {
        (next_number().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }
}
