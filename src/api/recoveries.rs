//! Recoveries: a merchant has what failed, was suppressed or is missing of a window delivered anew.

mod request;

use http::StatusCode;
use http::header::LOCATION;
use serde::Serialize;

use self::request::RecoverRequest;
use super::deliveries::INACTIVE;
use super::events::digest;
use super::log::allowed_and;
use super::request::{CallerRequest, Request};
use super::webhooks::find::{find_for_change, find_to_stop};
use crate::dispatch::dispatcher::Dispatcher;
use crate::events::claim::ClaimToken;
use crate::events::database::{
    ClaimedRecovery, EarlierRecovery, NewRecovery, Position, PublishKey, RecoveryBegun, Selection,
};
use crate::fault::Fault;
use crate::http::error::Error;
use crate::http::idempotency::{self, IDEMPOTENCY_REPLAYED};
use crate::http::object::Object;
use crate::http::parameters::{
    ApplicationPath, RecoveryIdempotencyKeyHeader, RecoveryPath, WebhookPath,
};
use crate::http::response::{self, Response};
use crate::model::ids::{ApplicationId, RecoveryId};
use crate::model::recovery::{Pace, Recovery, RecoveryStatus, SkippedByReason, StopReason};
use crate::model::time::Timestamp;

/// What a dry run counts.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Matched {
    /// How many deliveries the recovery would take.
    #[schema(examples(1250))]
    matched: u32,
}

/// Recover deliveries
///
/// Gives deliveries of the webhook a new schedule that failed, were suppressed, or are missing, at a
/// pace. What it takes is fixed when it begins: later changes are skipped and counted, so when it has
/// ended `matched` is `queued` and `skipped` together. It goes on whatever happens to the processes that
/// serve it. A webhook has one recovery at a time. Not taken are deliveries whose data were erased or whose
/// `deliverBefore` has passed. The application must belong to the authenticated merchant, and the webhook
/// be active.
#[utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/recoveries",
    operation_id = "recoverDeliveries", tag = "Recoveries",
    params(ApplicationPath, WebhookPath, RecoveryIdempotencyKeyHeader),
    request_body = RecoverRequest,
    responses(
        (status = 200, description = "How many deliveries a recovery would take: a dry run.",
            body = Matched),
        (status = 202, description = "The recovery is begun.", body = Recovery,
            headers(("Location"), ("Idempotency-Replayed"))),
    ),
)]
pub async fn create(mut request: Request) -> Result<Response, Error> {
    let now = Timestamp::now();
    let ids = request.webhook();
    let key = request.idempotency_key();
    let mut body = request.body(Object::read).await?;
    let (config, details) = (request.config, &mut request.details);
    let asked = RecoverRequest::read(&mut body, config, now, details);
    let content = body.finish(details);
    let (context, ((application, id), asked)) = request.begin(ids.zip(asked))?;

    let webhook = find_for_change(&context, &application, id).await?;
    let dispatcher = Dispatcher::of_instance().await?;
    let is_dry_run = asked.dry_run == Some(true);
    let idempotency = key.filter(|_| !is_dry_run).map(|key| PublishKey {
        key: key.as_str().to_owned(),
        request_hash: digest(&content.canonical),
    });
    let database = dispatcher.database();
    if let Some(used) = &idempotency
        && let Some(earlier) = database.recovery_with_key(id, &used.key).await?
    {
        return replay(&application, earlier, used);
    }
    let settings = webhook.settings();
    if !webhook.is_active() {
        return Err(INACTIVE);
    }
    let subscribed = settings.subscribed_events;
    let selection = asked.selection(&dispatcher, application.clone(), id, subscribed, now);
    if is_dry_run {
        if let Some(active) = database.active_recovery(id).await? {
            return Err(Error::RecoveryActive(active));
        }
        let matched = dispatcher.count_recovery(&selection).await?;
        return Ok(response::json(StatusCode::OK, &Matched { matched })?);
    }
    let new = new_recovery(&asked, selection, idempotency, now)?;
    match dispatcher.begin_recovery(&new).await? {
        (RecoveryBegun::New, matched) => {
            accepted(&application, &begun(new.claimed.recovery, matched))
        }
        (RecoveryBegun::Earlier(earlier), _) => {
            let used = new.idempotency.as_ref();
            let used = used.ok_or_else(|| internal("a key was found that was not sent"))?;
            replay(&application, earlier, used)
        }
        (RecoveryBegun::Active(active), _) => Err(Error::RecoveryActive(active)),
    }
}

/// Get recovery
///
/// How far a recovery is. The application must belong to the authenticated merchant; tokens with the
/// platform's support scope read anyone's. It is kept as long as events are.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/recoveries/{recoveryId}",
    operation_id = "getRecovery", tag = "Recoveries",
    params(ApplicationPath, WebhookPath, RecoveryPath),
    responses((status = 200, description = "The recovery.", body = Recovery)),
)]
pub async fn read(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_reads_events()?;
    let ids = request.webhook();
    let id = request.path.recovery(&mut request.details);
    let (context, ((application, webhook), id)) = request.begin(ids.zip(id))?;
    let dispatcher = Dispatcher::of_instance().await?;
    let allowed = context.check_readable(&application);
    let read = dispatcher.database().recovery(&application, webhook, id);
    let recovery = allowed_and(allowed, read).await?.ok_or(Error::NotFound)?;
    Ok(response::json(StatusCode::OK, &recovery)?)
}

/// Stop recovery
///
/// Queues nothing more of it: when the response comes, that holds. Deliveries that it has queued are made.
/// One that has ended already stays as it is. The application must belong to the authenticated merchant.
#[utoipa::path(
    delete,
    path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/recoveries/{recoveryId}",
    operation_id = "stopRecovery", tag = "Recoveries",
    params(ApplicationPath, WebhookPath, RecoveryPath),
    responses((status = 200, description = "The recovery, which has ended.", body = Recovery)),
)]
pub async fn stop(mut request: Request) -> Result<Response, Error> {
    let ids = request.webhook();
    let id = request.path.recovery(&mut request.details);
    let (context, ((application, webhook), id)) = request.begin(ids.zip(id))?;
    find_to_stop(&context, &application).await?;
    let dispatcher = Dispatcher::of_instance().await?;
    let database = dispatcher.database();
    let found = database.recovery(&application, webhook, id).await?;
    let mut recovery = found.ok_or(Error::NotFound)?;
    if recovery.completed_at.is_none() {
        let now = Timestamp::now();
        if database
            .stop_recovery(id, StopReason::Requested, now)
            .await?
        {
            // What it has not queued is removed.
            dispatcher.wake(true);
        }
        let found = database.recovery(&application, webhook, id).await?;
        recovery = found.ok_or(Error::NotFound)?;
    }
    Ok(response::json(StatusCode::OK, &recovery)?)
}

/// The recovery that is asked for, not begun yet.
fn new_recovery(
    asked: &RecoverRequest,
    selection: Selection,
    idempotency: Option<PublishKey>,
    now: Timestamp,
) -> Result<NewRecovery, Fault> {
    let beginning = selection.beginning();
    let position: Position = beginning.ok_or_else(|| internal("a recovery takes nothing"))?;
    let recovery = Recovery {
        id: RecoveryId::generate(now),
        webhook_id: selection.webhook_id,
        status: RecoveryStatus::Matching,
        reason: None,
        after: asked.after,
        before: asked.before(now),
        include: selection.include.clone(),
        types: selection.types.clone(),
        per_minute: asked.per_minute.unwrap_or(Pace::DEFAULT_PER_MINUTE),
        matched: None,
        queued: 0,
        skipped: 0,
        skipped_by_reason: SkippedByReason::default(),
        created_at: now,
        completed_at: None,
    };
    Ok(NewRecovery {
        claimed: ClaimedRecovery {
            recovery,
            token: ClaimToken::generate(),
            selection,
            position,
        },
        // As of now: reading the webhook took its time.
        until: Dispatcher::recovery_lease(Timestamp::now()),
        idempotency,
    })
}

fn internal(what: &str) -> Fault {
    Fault::Internal(format!("recoveries: {what}"))
}

/// The recovery as it is when it is begun: nothing of it is queued.
fn begun(recovery: Recovery, matched: Option<u32>) -> Recovery {
    Recovery {
        status: match matched {
            Some(_) => RecoveryStatus::Running,
            None => RecoveryStatus::Matching,
        },
        reason: None,
        matched,
        queued: 0,
        skipped: 0,
        skipped_by_reason: SkippedByReason::default(),
        completed_at: None,
        ..recovery
    }
}

/// The response to the request that began the recovery, again.
fn replay(
    application: &ApplicationId,
    earlier: EarlierRecovery,
    used: &PublishKey,
) -> Result<Response, Error> {
    if earlier.request_hash != used.request_hash {
        return Err(idempotency::KEY_USED);
    }
    let matched = earlier.recovery.matched;
    let mut response = accepted(application, &begun(earlier.recovery, matched))?;
    let replayed = http::HeaderValue::from_static("true");
    response
        .headers_mut()
        .insert(IDEMPOTENCY_REPLAYED, replayed);
    Ok(response)
}

fn accepted(application: &ApplicationId, recovery: &Recovery) -> Result<Response, Error> {
    let mut response = response::json(StatusCode::ACCEPTED, recovery)?;
    let (webhook, id) = (recovery.webhook_id, recovery.id);
    let location = format!("/api/v1/applications/{application}/webhooks/{webhook}/recoveries/{id}");
    let location = http::HeaderValue::try_from(location);
    let location = location.map_err(|_| internal("a recovery's path is no header"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
