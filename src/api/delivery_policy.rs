//! How events are delivered, in numbers, for whoever wants to know.

use http::StatusCode;
use serde::Serialize;

use crate::config::events::EventsConfig;
use crate::dispatch::attempt::KEPT_BYTES;
use crate::dispatch::delivery::{ATTEMPT_DEADLINE, MAX_BODY_BYTES};
use crate::dispatch::endpoints::MAX_PER_WEBHOOK;
use crate::http::error::Error;
use crate::http::response::{self, Response};
use crate::model::condition::{MIN_FAILED_ATTEMPTS, MIN_FAILED_EVENTS};
use crate::model::retry_schedule::RetrySchedule;

/// How events are delivered.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryPolicy {
    /// The pauses before each attempt, the first one included, in seconds. Only the last attempt's
    /// failure fails the delivery.
    #[schema(examples(300))]
    retry_schedule_seconds: Vec<u64>,
    /// How much later than that an attempt can be, in percent of the pause. It is never earlier.
    #[schema(examples(10))]
    jitter_percent: u32,
    /// How much later at most, in seconds.
    #[schema(examples(900))]
    max_jitter_seconds: u64,
    /// How long an endpoint has until it returns a status, in seconds.
    #[schema(examples(15))]
    attempt_timeout_seconds: u64,
    /// How long a `Retry-After` on 429 and 503 is followed at most, in seconds.
    #[schema(examples(86400))]
    max_retry_after_seconds: u32,
    /// How many attempts of one webhook are in flight at a time.
    #[schema(examples(4))]
    max_concurrent_attempts: usize,
    /// The largest request that publishes an event, in bytes.
    #[schema(examples(262_144))]
    max_event_bytes: usize,
    /// How much of an endpoint's answer is read at most, in bytes.
    #[schema(examples(65536))]
    max_response_bytes: usize,
    /// How much of it is kept, in bytes.
    #[schema(examples(4096))]
    kept_response_bytes: usize,
    /// How long events are kept, in days.
    #[schema(examples(30))]
    retention_days: u32,
    /// How long no attempt of a webhook must have succeeded until it is made inactive, in hours; 0: none
    /// ever is.
    #[schema(examples(120))]
    disable_after_hours: u64,
    /// How many attempts must have failed meanwhile.
    #[schema(examples(20))]
    disable_after_attempts: u32,
    /// Of how many events.
    #[schema(examples(3))]
    disable_after_events: u32,
}

/// Get delivery policy
///
/// When deliveries are attempted, and within which limits. No token is asked for: who runs an endpoint
/// may not be who has the token.
#[utoipa::path(
    get, path = "/api/v1/delivery-policy", operation_id = "getDeliveryPolicy", tag = "Events",
    security(()),
    responses((status = 200, description = "The policy.", body = DeliveryPolicy)),
)]
pub async fn read() -> Result<Response, Error> {
    let events = EventsConfig::load().await?;
    let policy = DeliveryPolicy {
        retry_schedule_seconds: events.retry_schedule.pauses_seconds().collect(),
        jitter_percent: RetrySchedule::JITTER_PERCENT,
        max_jitter_seconds: RetrySchedule::MAX_JITTER.as_secs(),
        attempt_timeout_seconds: ATTEMPT_DEADLINE.as_secs(),
        max_retry_after_seconds: RetrySchedule::MAX_RETRY_AFTER_SECS,
        max_concurrent_attempts: MAX_PER_WEBHOOK,
        max_event_bytes: events.max_event_bytes,
        max_response_bytes: MAX_BODY_BYTES,
        kept_response_bytes: KEPT_BYTES,
        retention_days: events.retention_days,
        disable_after_hours: events
            .disable_rule
            .0
            .map_or(0, |after| after.as_secs() / 3600),
        disable_after_attempts: MIN_FAILED_ATTEMPTS,
        disable_after_events: MIN_FAILED_EVENTS,
    };
    Ok(response::json(StatusCode::OK, &policy)?)
}
