//! Figures of all deliveries together, for the operator.

use std::time::Duration;

use crate::model::delivery::{AttemptError, Summary};
use crate::model::operational::OperationalType;

/// How far a count goes: one that is as large may be larger.
pub const MAX_COUNTED: u32 = 100_000;

/// How many recent rows are looked at: the newest ones.
pub const MAX_RECENT: u32 = 20_000;

/// What is recent: events that were published within that time.
pub const RECENT: Duration = Duration::from_secs(300);

/// How far back operational events are counted.
pub const OPERATIONAL: Duration = Duration::from_secs(86_400);

/// Figures of all deliveries together. None costs more as the log grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Pending deliveries that wait for their first attempt, up to [`MAX_COUNTED`].
    pub pending_first: u32,
    /// Pending deliveries that wait for another one, or whose attempt is under way, up to
    /// [`MAX_COUNTED`].
    pub pending_retries: u32,
    /// Those of the first whose time has come, and that nobody holds.
    pub due_first: u32,
    /// Those of the others.
    pub due_retries: u32,
    /// For how long the oldest of these has been due; zero: none is.
    pub oldest_due: Duration,
    /// What has become of the deliveries of [`RECENT`] events, [`MAX_RECENT`] at most.
    pub recent: Summary,
    /// How the attempts of [`RECENT`] events ended, [`MAX_RECENT`] at most: with which error, `None` for
    /// success, and how many did.
    pub recent_attempts: Vec<(Option<AttemptError>, u32)>,
    /// How long their first attempts came after the events; `None`: there were none.
    pub first_attempt_lag: Option<Lag>,
    /// Recoveries that look up what they take, up to [`MAX_COUNTED`].
    pub recoveries_matching: u32,
    /// Recoveries that queue deliveries, up to [`MAX_COUNTED`].
    pub recoveries_running: u32,
    /// Of each type of operational event how many the operator's application has of the last
    /// [`OPERATIONAL`], in the order of [`OperationalType::ALL`]; up to [`MAX_COUNTED`] in all, the newest
    /// ones. `None`: there is no such application.
    pub operational: Option<[u32; OperationalType::ALL.len()]>,
}

/// How long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// On average.
    pub mean: Duration,
    /// At most.
    pub max: Duration,
}
