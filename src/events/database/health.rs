//! How a webhook has been doing.

use crate::model::condition::Failures;
use crate::model::delivery::{AttemptError, Summary};
use crate::model::time::Timestamp;

/// How many deliveries, attempts and pending deliveries are looked at: the newest ones, so that it costs
/// the same whatever the webhook gets.
pub const MAX_SAMPLED: u32 = 10_000;

/// How a webhook has been doing since some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookFigures {
    /// The deliveries of events that were published since then.
    pub deliveries: SampledDeliveries,
    /// The attempts that were begun since then.
    pub attempts: SampledAttempts,
    /// What is pending now, whenever it was published.
    pub pending: Pending,
    /// The attempts that failed since the last success.
    pub failures: Failures,
}

/// Deliveries by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampledDeliveries {
    /// How many have each status.
    pub by_status: Summary,
    /// When the event of the oldest one was published that was looked at; `None`: there is none.
    pub oldest: Option<Timestamp>,
}

/// Attempts by what came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampledAttempts {
    /// How many ended alike. A status and an error come once together.
    pub outcomes: Vec<Outcomes>,
    /// Half of them took no longer, in milliseconds; `None`: there are none.
    pub p50_ms: Option<u32>,
    /// 95 of 100 took no longer.
    pub p95_ms: Option<u32>,
    /// 99 of 100 took no longer.
    pub p99_ms: Option<u32>,
    /// When the oldest one began that was looked at; `None`: there is none.
    pub oldest: Option<Timestamp>,
}

/// How many attempts ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// The status that the endpoint returned, if it returned one.
    pub http_status_code: Option<u16>,
    /// Why they failed; `None`: they succeeded.
    pub error: Option<AttemptError>,
    /// How many.
    pub count: u32,
}

/// What is pending for a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// How many deliveries, [`MAX_SAMPLED`] at most.
    pub count: u32,
    /// When the first of them is due, or was: it may be under way.
    pub oldest_due_at: Option<Timestamp>,
}
