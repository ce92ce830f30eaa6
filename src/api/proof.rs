//! Proofs of deliveries: what the service states of one, signed, and the keys that verify it.

use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::log::allowed_and;
use super::request::CallerRequest;
use crate::config::Config;
use crate::config::events::EventsConfig;
use crate::dispatch::dispatcher::Dispatcher;
use crate::events::database::{Evidence, RecordedAttempt};
use crate::http::error::Error;
use crate::http::parameters::{ApplicationPath, EventPath, WebhookPath};
use crate::http::response::{self, Response};
use crate::json;
use crate::model::delivery::{AttemptError, AttemptTrigger, DeliveryReason, DeliveryStatus};
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::proof::{ProofKeys, PublishedKey};
use crate::model::time::Timestamp;

/// How long caches may keep the keys.
const KEYS_ARE_KEPT: &str = "public, max-age=300";

/// A signed statement of a delivery.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DeliveryProof)]
pub struct ProofResponse {
    /// A JWS in its compact form (RFC 7515), signed by Ed25519 (`alg`: `EdDSA`), whose `typ` is
    /// `delivery-proof+jwt` and whose `kid` names a key of `/.well-known/jwks.json`. Its payload is a
    /// `DeliveryStatement`.
    #[schema(pattern = r"^[\w-]+\.[\w-]+\.[\w-]+$")]
    proof: String,
}

/// What a proof states: its payload.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeliveryStatement)]
pub struct Statement<'a> {
    /// Who states it: the service, where it is configured to name itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iss: Option<&'a str>,
    /// When it was signed, in seconds since the Unix epoch.
    #[schema(examples(1_776_688_496))]
    iat: i64,
    /// ID of the application.
    #[schema(inline)]
    application_id: &'a ApplicationId,
    /// ID of the webhook.
    #[schema(inline)]
    webhook_id: WebhookId,
    /// The event.
    event: StatedEvent<'a>,
    /// What had become of its delivery to the webhook.
    delivery: StatedDelivery,
    /// Every attempt that was recorded, the first one first.
    attempts: Vec<StatedAttempt<'a>>,
}

/// The event of a proof.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatedEvent<'a> {
    /// Its id, which is the `webhook-id` of its deliveries.
    id: EventId,
    /// What happened.
    #[schema(inline)]
    r#type: &'a EventType,
    /// When it happened, as the publisher said.
    occurred_at: Timestamp,
    /// When it was published.
    created_at: Timestamp,
    /// The length of the body of its deliveries, in bytes.
    size_bytes: u32,
    /// SHA-256 of that body, in 64 hexadecimal digits.
    sha256: &'a str,
    /// When its data were erased.
    #[schema(required)]
    erased_at: Option<Timestamp>,
}

/// The delivery of a proof.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatedDelivery {
    /// What had become of it.
    status: DeliveryStatus,
    /// Why it failed or was suppressed.
    #[schema(required)]
    reason: Option<DeliveryReason>,
    /// How many attempts were begun.
    attempt_count: u32,
    /// When it was made.
    created_at: Timestamp,
    /// When it got a status other than `pending`.
    #[schema(required)]
    completed_at: Option<Timestamp>,
}

/// An attempt of a proof.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatedAttempt<'a> {
    /// The number of the attempt, from 1.
    number: u32,
    /// Why it was made.
    trigger: AttemptTrigger,
    /// When it began.
    started_at: Timestamp,
    /// How long it took until the status or the failure, in milliseconds.
    duration_ms: u32,
    /// Where it went: all of the URL, a secret in its query included.
    url: &'a str,
    /// The secrets that signed it, each as its last four characters.
    secret_fingerprints: &'a [String],
    /// The status that the endpoint returned.
    #[schema(required)]
    http_status_code: Option<u16>,
    /// Why it failed; null when it succeeded.
    #[schema(required)]
    error: Option<AttemptError>,
    /// SHA-256 of what was read of the response's body, 64 KiB at most, in 64 hexadecimal digits.
    #[schema(required)]
    response_sha256: Option<&'a str>,
}

impl<'a> Statement<'a> {
    fn new(evidence: &'a Evidence, iss: Option<&'a str>, now: Timestamp) -> Self {
        let Evidence {
            event,
            erased_at,
            delivery,
            attempts,
        } = evidence;
        Self {
            iss,
            iat: now.as_secs(),
            application_id: &event.application_id,
            webhook_id: delivery.webhook_id,
            event: StatedEvent {
                id: event.id,
                r#type: &event.r#type,
                occurred_at: event.occurred_at,
                created_at: event.created_at,
                size_bytes: event.size_bytes,
                sha256: &event.sha256,
                erased_at: *erased_at,
            },
            delivery: StatedDelivery {
                status: delivery.status,
                reason: delivery.reason,
                attempt_count: delivery.attempt_count,
                created_at: delivery.created_at,
                completed_at: delivery.completed_at,
            },
            attempts: attempts.iter().map(StatedAttempt::new).collect(),
        }
    }
}

impl<'a> StatedAttempt<'a> {
    fn new(recorded: &'a RecordedAttempt) -> Self {
        let attempt = &recorded.attempt;
        Self {
            number: attempt.number,
            trigger: attempt.trigger,
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            url: &attempt.url,
            secret_fingerprints: &attempt.secret_fingerprints,
            http_status_code: attempt.http_status_code,
            error: attempt.error,
            response_sha256: recorded.response_sha256.as_deref(),
        }
    }
}

/// Get proof of delivery
///
/// A signed statement of what was sent to the webhook, when, and what came of it, for disputes and audits.
/// It has hashes in place of the data, so it can be had, and stays true, after those are erased, for as
/// long as the event is kept; a proof that was handed out verifies for ever, offline, by any library
/// for JWS, with the key of `/.well-known/jwks.json` that its `kid` names. Its URLs are whole: look at
/// them before you hand it on. The application must belong to the authenticated merchant; tokens with
/// the platform's support scope read anyone's.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries/{eventId}/proof",
    operation_id = "getDeliveryProof", tag = "Deliveries",
    params(ApplicationPath, WebhookPath, EventPath),
    responses((status = 200, description = "The proof.", body = ProofResponse)),
)]
pub async fn read(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_reads_events()?;
    let ids = request.webhook();
    let event = request.path.event(&mut request.details);
    let (context, ((application, webhook), event)) = request.begin(ids.zip(event))?;
    let dispatcher = Dispatcher::of_instance().await?;
    let readable = context.check_log(&dispatcher, &application, webhook);
    let evidence = dispatcher.database().evidence(&application, event, webhook);
    let evidence = allowed_and(readable, evidence).await?;
    let evidence = evidence.ok_or(Error::NotFound)?;
    let events = dispatcher.events_config();
    let statement = Statement::new(&evidence, events.proof_issuer.as_deref(), Timestamp::now());
    let statement = json::write(&statement)?;
    let proof = proof_keys(context.config, events).sign(&statement);
    Ok(response::json(StatusCode::OK, &ProofResponse { proof })?)
}

/// The keys that verify proofs.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(description = "A JSON Web Key Set (RFC 7517).")]
pub struct ProofKeySet<'a> {
    /// The keys: that of new proofs first.
    keys: &'a [PublishedKey],
}

/// Get proof keys
///
/// The public keys that verify proofs of deliveries, also of those that were signed before a key was
/// changed. For anyone; caches may keep it for five minutes.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", operation_id = "getProofKeys", tag = "Deliveries",
    security(()),
    responses((status = 200, description = "The keys.", body = ProofKeySet<'static>,
        headers(("Cache-Control")))),
)]
pub async fn keys() -> Result<Response, Error> {
    let keys = proof_keys(Config::load().await?, EventsConfig::load().await?);
    let set = ProofKeySet {
        keys: keys.published(),
    };
    let mut response = response::json(StatusCode::OK, &set)?;
    let kept = HeaderValue::from_static(KEYS_ARE_KEPT);
    response.headers_mut().insert(CACHE_CONTROL, kept);
    Ok(response)
}

fn proof_keys(config: &Config, events: &EventsConfig) -> ProofKeys {
    let (seed, earlier) = (events.proof_key.as_ref(), &events.earlier_proof_keys);
    ProofKeys::new(seed, &config.secrets_key, earlier)
}
