//! The clocks of guests: the machine's, ahead by as much as a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// How far the clocks of all instances are ahead of the machine's.
///
/// A guest sees a move as if the machine had been asleep: both clocks are later, and timers that run go
/// on as before.
#[derive(Debug)]
pub struct Clock {
    ahead_millis: AtomicU64,
    began: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            ahead_millis: AtomicU64::new(0),
            began: Instant::now(),
        }
    }
}

impl Clock {
    /// How far they are ahead.
    pub fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_millis.load(Ordering::SeqCst))
    }

    /// Sets them this far ahead. A monotonic clock does not go back: what is less than before changes
    /// nothing.
    pub fn set_ahead(&self, ahead: Duration) {
        let millis = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        self.ahead_millis.fetch_max(millis, Ordering::SeqCst);
    }
}

/// The clocks as an instance has them.
#[derive(Clone, Debug)]
pub struct GuestClock(pub Arc<Clock>);

impl HostWallClock for GuestClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        since_epoch.unwrap_or_default() + self.0.ahead()
    }
}

impl HostMonotonicClock for GuestClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        let elapsed = self.0.began.elapsed() + self.0.ahead();
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_move_forward_only() {
        let clock = Arc::new(Clock::default());
        let guest = GuestClock(clock.clone());
        let (wall, monotonic) = (HostWallClock::now(&guest), HostMonotonicClock::now(&guest));
        clock.set_ahead(Duration::from_secs(60));
        clock.set_ahead(Duration::from_secs(30));
        assert_eq!(clock.ahead(), Duration::from_secs(60));
        let moved = HostWallClock::now(&guest) - wall;
        assert!((60..70).contains(&moved.as_secs()), "{moved:?}");
        let moved = Duration::from_nanos(HostMonotonicClock::now(&guest) - monotonic);
        assert!((60..70).contains(&moved.as_secs()), "{moved:?}");
    }
}
