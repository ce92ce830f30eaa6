//! How a webhook is doing: what its merchant, and the platform's support, look at first.

use futures::future::join;
use http::StatusCode;
use serde::Serialize;

use super::request::{CallerRequest, Context};
use crate::config::events::EventsConfig;
use crate::dispatch::dispatcher::Dispatcher;
use crate::events::database::{MAX_SAMPLED, WebhookFigures};
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::parameters::{ApplicationPath, WebhookPath};
use crate::http::query::Query;
use crate::http::response::{self, Response};
use crate::model::caller::Caller;
use crate::model::condition::DisabledReason;
use crate::model::delivery::{AttemptError, Summary};
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::store::webhooks;

/// `?hours=24`: how far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HealthQuery {
    /// How many hours to look back at.
    #[param(
        required = false,
        minimum = 1,
        maximum = 720,
        default = 24,
        example = 24
    )]
    hours: u32,
}

impl HealthQuery {
    /// Reads `hours` from 1 to 720, noting what is wrong.
    fn read(query: &Query, details: &mut Details) -> Option<Self> {
        let Some(text) = query.get("hours") else {
            return Some(Self { hours: 24 });
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let hours = text.parse().ok();
        let hours = hours.filter(|hours| digits && (1..=720).contains(hours));
        let hours = hours.ok_or("Must be a whole number from 1 to 720");
        Some(Self {
            hours: details.check("hours", hours)?,
        })
    }
}

/// How a webhook is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum WebhookState {
    /// The service made it inactive: `disabledReason` says why.
    Disabled,
    /// Its merchant made it inactive, or its application is disabled.
    Inactive,
    /// Its last attempts failed: none has succeeded since `failingSince`.
    Failing,
    /// Its last attempts succeeded.
    Healthy,
    /// There was no attempt in these hours.
    Idle,
}

/// How a webhook is doing.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookHealth {
    /// ID of the webhook.
    #[schema(inline)]
    webhook_id: WebhookId,
    /// How it is, in one word.
    state: WebhookState,
    /// Whether events are delivered.
    #[schema(examples(true))]
    is_active: bool,
    /// When the service made it inactive; null if it did not.
    #[schema(inline, required)]
    disabled_at: Option<Timestamp>,
    /// Why the service made it inactive; null if it did not.
    #[schema(inline, required)]
    disabled_reason: Option<DisabledReason>,
    /// When the first attempt began that failed since the last success, or since the webhook was made
    /// active or got its URL; null if none has failed since.
    #[schema(inline, required)]
    failing_since: Option<Timestamp>,
    /// How many attempts have failed since then, 1,000 at most.
    #[schema(examples(0))]
    failed_attempts: u32,
    /// Of how many events.
    #[schema(examples(0))]
    failed_events: u32,
    /// The earliest moment at which a failed attempt makes it inactive, if none succeeds before: as many
    /// must have failed, of as many events, as `GET /api/v1/delivery-policy` says. Null if it does not
    /// fail, is not active, or the platform makes no webhook inactive.
    #[schema(inline, required)]
    will_be_disabled_at: Option<Timestamp>,
    /// When its last attempt began that succeeded, of those that are kept.
    #[schema(inline, required)]
    last_success_at: Option<Timestamp>,
    /// The deliveries that wait now, whenever they were made.
    #[schema(inline)]
    pending: PendingDeliveries,
    /// The deliveries of events that were published in these hours.
    #[schema(inline)]
    deliveries: DeliveryCounts,
    /// The attempts that began in these hours.
    #[schema(inline)]
    attempts: AttemptCounts,
}

/// The deliveries that wait.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingDeliveries {
    /// How many, 10,000 at most.
    #[schema(maximum = 10_000, examples(0))]
    count: u32,
    /// When the first of them is due, or was: it may be under way. Null if there is none.
    #[schema(inline, required)]
    oldest_due_at: Option<Timestamp>,
}

/// Deliveries by status.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryCounts {
    /// Since when they are counted: the beginning of the hours that were asked for, or later where more
    /// than 10,000 were made in them. Then these are the 10,000 newest.
    #[schema(inline)]
    since: Timestamp,
    /// How many have each status.
    by_status: Summary,
}

/// Attempts by what came of them.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptCounts {
    /// Since when they are counted, as of the deliveries: these are the 10,000 newest at most.
    #[schema(inline)]
    since: Timestamp,
    /// How many there were.
    #[schema(maximum = 10_000, examples(0))]
    total: u32,
    /// How many succeeded.
    #[schema(maximum = 10_000, examples(0))]
    succeeded: u32,
    /// How many failed.
    #[schema(maximum = 10_000, examples(0))]
    failed: u32,
    /// How many returned each status, by the status.
    #[schema(inline)]
    by_status_code: Vec<StatusCount>,
    /// How many failed for each reason, the most frequent first.
    #[schema(inline)]
    by_error: Vec<ErrorCount>,
    /// How long they took until the status or the failure, in milliseconds; null if there were none.
    #[schema(inline, required)]
    latency_ms: Option<Latency>,
}

/// How many attempts returned a status.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusCount {
    /// The status.
    #[schema(examples(200))]
    http_status_code: u16,
    /// How many.
    #[schema(examples(1))]
    count: u32,
}

/// How many attempts failed for a reason.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorCount {
    /// The reason.
    error: AttemptError,
    /// How many.
    #[schema(examples(1))]
    count: u32,
}

/// Percentiles of how long attempts took, in milliseconds.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Latency {
    /// Half of them took no longer.
    #[schema(examples(120))]
    p50: u32,
    /// 95 of 100 took no longer.
    #[schema(examples(340))]
    p95: u32,
    /// 99 of 100 took no longer.
    #[schema(examples(900))]
    p99: u32,
}

/// Get webhook health
///
/// How a webhook has been doing: its state, its deliveries and attempts of the last hours, how long these
/// took, since when none has succeeded, and when the service makes it inactive for that. Whatever the
/// webhook gets, at most the 10,000 newest of each are counted; `since` says from when on. The application
/// must belong to the authenticated merchant; tokens with the platform's support scope read anyone's.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/health",
    operation_id = "getWebhookHealth", tag = "Events",
    params(ApplicationPath, WebhookPath, HealthQuery),
    responses((status = 200, description = "How it is doing.", body = WebhookHealth)),
)]
pub async fn read(mut request: CallerRequest) -> Result<Response, Error> {
    let caller = &request.caller;
    if caller.merchant().is_none() && !caller.supports() {
        return Err(Error::Forbidden);
    }
    let ids = request.webhook();
    let query = HealthQuery::read(&request.query, &mut request.details);
    let (context, ((application, id), query)) = request.begin(ids.zip(query))?;
    let found = find(&context, &application, id);
    let (webhook, application_is_enabled) = context.run("reading a webhook", found).await?;
    let dispatcher = Dispatcher::of_instance().await?;
    let now = Timestamp::now();
    let from = Timestamp::from_millis(now.as_millis() - i64::from(query.hours) * 3_600_000);
    let database = dispatcher.database();
    let figures = database.figures(id, from, webhook.counts_since()).await?;
    let events = dispatcher.events_config();
    let health = WebhookHealth::of(&webhook, application_is_enabled, figures, from, events);
    Ok(response::json(StatusCode::OK, &health)?)
}

/// The webhook, if the caller may read it, and whether its application is enabled.
async fn find(
    context: &Context<Caller>,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<(Webhook, bool), Error> {
    let (owner, webhook) = join(
        context.application(application),
        webhooks::webhook(&context.store, application, id),
    )
    .await;
    // Whose application it is comes first: until then nothing of the webhook is said.
    let owner = owner?;
    Ok((webhook?.ok_or(Error::NotFound)?, owner.is_enabled()))
}

impl WebhookHealth {
    fn of(
        webhook: &Webhook,
        application_is_enabled: bool,
        figures: WebhookFigures,
        from: Timestamp,
        events: &EventsConfig,
    ) -> Self {
        let failures = webhook.failures(figures.failures);
        let disabled = webhook.disabled();
        let is_active = webhook.is_active() && application_is_enabled;
        let will_be_disabled_at = events.disable_rule.will_disable_at(&failures);
        let attempts = attempt_counts(&figures, from);
        Self {
            webhook_id: webhook.created.id,
            state: match () {
                () if disabled.is_some() => WebhookState::Disabled,
                () if !is_active => WebhookState::Inactive,
                () if failures.failing_since.is_some() => WebhookState::Failing,
                () if attempts.total == 0 => WebhookState::Idle,
                () => WebhookState::Healthy,
            },
            is_active: webhook.is_active(),
            disabled_at: disabled.map(|disabled| disabled.at),
            disabled_reason: disabled.map(|disabled| disabled.reason),
            failing_since: failures.failing_since,
            failed_attempts: failures.attempts,
            failed_events: failures.events,
            will_be_disabled_at: will_be_disabled_at.filter(|_| is_active),
            last_success_at: failures.last_success,
            pending: PendingDeliveries {
                count: figures.pending.count,
                oldest_due_at: figures.pending.oldest_due_at,
            },
            deliveries: delivery_counts(&figures, from),
            attempts,
        }
    }
}

/// Since when `count` are counted that begin with `oldest`: as many as are looked at may not be all.
fn since(count: u32, oldest: Option<Timestamp>, from: Timestamp) -> Timestamp {
    let oldest = oldest.filter(|_| count >= MAX_SAMPLED);
    oldest.map_or(from, |oldest| oldest.max(from))
}

fn delivery_counts(figures: &WebhookFigures, from: Timestamp) -> DeliveryCounts {
    let by_status = figures.deliveries.by_status;
    DeliveryCounts {
        since: since(by_status.total(), figures.deliveries.oldest, from),
        by_status,
    }
}

fn attempt_counts(figures: &WebhookFigures, from: Timestamp) -> AttemptCounts {
    let attempts = &figures.attempts;
    let (mut succeeded, mut failed) = (0, 0);
    let mut by_status_code: Vec<StatusCount> = Vec::new();
    let mut by_error: Vec<ErrorCount> = Vec::new();
    for outcomes in &attempts.outcomes {
        let count = outcomes.count;
        if let Some(error) = outcomes.error {
            failed += count;
            match by_error.iter_mut().find(|known| known.error == error) {
                Some(known) => known.count += count,
                None => by_error.push(ErrorCount { error, count }),
            }
        } else {
            succeeded += count;
        }
        let Some(status) = outcomes.http_status_code else {
            continue;
        };
        let mut known = by_status_code.iter_mut();
        match known.find(|known| known.http_status_code == status) {
            Some(known) => known.count += count,
            None => by_status_code.push(StatusCount {
                http_status_code: status,
                count,
            }),
        }
    }
    by_status_code.sort_unstable_by_key(|known| known.http_status_code);
    by_error.sort_unstable_by_key(|known| (std::cmp::Reverse(known.count), known.error));
    let total = succeeded + failed;
    let percentiles = attempts.p50_ms.zip(attempts.p95_ms).zip(attempts.p99_ms);
    AttemptCounts {
        since: since(total, attempts.oldest, from),
        total,
        succeeded,
        failed,
        by_status_code,
        by_error,
        latency_ms: percentiles.map(|((p50, p95), p99)| Latency { p50, p95, p99 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_have_a_range_and_a_default() {
        for (text, hours) in [
            ("", Some(24)),
            ("hours=1", Some(1)),
            ("hours=720", Some(720)),
            ("hours=0", None),
            ("hours=721", None),
            ("hours=+1", None),
            ("hours=", None),
            ("hours=1.5", None),
            ("hours=99999999999999999999", None),
        ] {
            let mut details = Details::default();
            let query = Query::parse(Some(text), &["hours"], &mut details);
            let read = HealthQuery::read(&query, &mut details);
            assert_eq!(read.map(|query| query.hours), hours, "{text}");
            assert_eq!(details.finish().is_ok(), hours.is_some(), "{text}");
        }
    }

    #[test]
    fn where_not_all_were_looked_at_they_count_since_the_oldest_that_was() {
        let (from, oldest) = (Timestamp::from_millis(1), Timestamp::from_millis(5));
        assert_eq!(since(MAX_SAMPLED - 1, Some(oldest), from), from);
        assert_eq!(since(MAX_SAMPLED, Some(oldest), from), oldest);
        assert_eq!(since(0, None, from), from);
    }
}
