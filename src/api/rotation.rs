//! Rotations: a webhook gets a new signing secret, and the old one stays valid for a while.

use crate::store::compensation;
use crate::store::webhooks;
use std::time::Duration;

use futures::future::join;
use http::StatusCode;
#[cfg(feature = "openapi")]
use serde::Serialize;

use super::webhooks::{WebhookResponse, check_enabled, ids};
use crate::http::body::Object;
use crate::http::error::Error;
use crate::http::etag;
use crate::http::idempotency::{self, IdempotencyKey, Kept, Lookup};
use crate::http::request::Request;
use crate::log;
use crate::model::time::Timestamp;
#[cfg(feature = "openapi")]
use crate::openapi::{ApplicationPath, IdempotencyKeyHeader, IfMatchHeader, WebhookPath};
use crate::store::rate_limit::counted;

use crate::http::response::Response;
use crate::model::ids::WebhookId;
use crate::model::rotation::Rotation;
use crate::model::rotation::Rotations;
use crate::model::rotation::StoredSecret;
use crate::runtime::{sleep, spawn};
use crate::store::applications::owned_application_and;
use crate::store::deadline::Deadline;
use crate::store::key_value::Store;
use crate::store::keys;

/// How long the old secret stays valid when the merchant does not say, in seconds: a day.
const DEFAULT_GRACE_SECS: u32 = 86_400;

/// How long it can stay valid, in seconds: a week.
const MAX_GRACE_SECS: u32 = 604_800;

/// The body of [`rotate`], as the document describes it.
#[cfg(feature = "openapi")]
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "How to rotate a secret.")]
pub struct Rotating {
    /// For how many seconds the old secret stays valid: until then, deliveries carry a signature
    /// of each.
    #[schema(
        nullable = false,
        minimum = 0,
        maximum = 604_800,
        default = 86_400,
        examples(86_400)
    )]
    grace_period_seconds: Option<u32>,
}

/// Rotate signing secret
///
/// Makes a new signing secret. Until the grace period of the old one ends, deliveries carry a
/// signature of each. At most five old secrets live at a time. The application must belong to the
/// authenticated merchant.
#[cfg_attr(feature = "openapi", utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/rotate",
    operation_id = "rotateWebhookSecret", tag = "Webhooks",
    params(ApplicationPath, WebhookPath, IdempotencyKeyHeader, IfMatchHeader),
    request_body(content = Option<Rotating>, content_type = "application/json"),
    responses((status = 200, description = "The webhook, with its new signing secret.",
        body = ref("#/components/schemas/WebhookWithSecret"),
        headers(("ETag"), ("Idempotency-Replayed")))),
))]
pub async fn rotate(request: Request) -> Result<Response, Error> {
    let Request {
        merchant,
        config,
        store,
        request_id,
        path,
        headers,
        body,
        mut details,
        ..
    } = request;
    let ids = ids(&path, &mut details);
    let key = IdempotencyKey::read(&headers, &mut details);
    let mut body = Object::read_optional(&headers, body, &mut details).await?;
    let grace = body.optional("gracePeriodSeconds", &mut details, |value| {
        // To JSON Schema 600.0 is an integer too.
        let whole = value.as_f64().filter(|seconds| seconds.fract() == 0.0);
        value
            .as_u64()
            .or_else(|| {
                whole
                    .filter(|seconds| *seconds >= 0.0)
                    .map(|seconds| seconds as u64)
            })
            .and_then(|seconds| u32::try_from(seconds).ok())
            .filter(|seconds| *seconds <= MAX_GRACE_SECS)
            .ok_or("Must be a whole number from 0 to 604800")
    });
    let raw = body.finish(&mut details);
    let (application, id) = details.all(ids)?;

    let now = Timestamp::now();
    let deadline = Deadline::with_timeout(config.store_timeout);
    let scope = format!("rotate\n{application}\n{id}");
    let beside = join(
        webhooks::webhook(&store, &application, id),
        idempotency::look_up(&store, key.as_ref(), &scope, &raw, config, now),
    );
    let (owned, (webhook, looked)) = deadline
        .run(
            "reading a webhook",
            counted(
                &store,
                &merchant,
                config,
                &request_id,
                owned_application_and(&store, &application, &merchant, async { Ok(beside.await) }),
            ),
        )
        .await?;
    let mut webhook = webhook?.ok_or(Error::NotFound)?;
    let used = match looked? {
        Lookup::Replay(response) => return Ok(*response),
        Lookup::New(used) => used,
    };
    check_enabled(&owned)?;
    let (rotation_id, secret) = used.id_and_secret(config);
    // The repeat of a rotation that took effect and was not answered has changed the tag itself.
    if !webhook.rotations.contains(rotation_id) {
        etag::check(&headers, &etag::of(&WebhookResponse::from(&webhook)))?;
    }
    let before = webhook.rotations.clone();
    webhook.rotations.prune(now);
    webhook.rotations.add(Rotation {
        id: rotation_id,
        secret: StoredSecret::seal(&config.secrets_key, id, &secret),
        rotated_at: now.max(webhook.updated_at()),
        grace_period_seconds: grace.unwrap_or(DEFAULT_GRACE_SECS),
    });
    let shown = WebhookResponse::from(&webhook);
    let tag = etag::of(&shown);
    let kept = Kept::new(StatusCode::OK, None, tag, &shown.with_secret(&secret));
    let document = keys::webhook_secrets(&application, id);
    let rotated = deadline
        .run("rotating a secret", async {
            keep_rotation(&store, &document, &mut webhook.rotations, rotation_id).await?;
            used.keep(&store, &kept, config, now).await
        })
        .await;
    if let Err(error) = rotated {
        // Else the secret that the merchant has would end in favour of one that nobody was told.
        // A rotation with a key can be repeated and then tells it.
        if !used.is_repeatable() {
            compensation::compensate(&error, &deadline, &request_id, async move || {
                take_back_rotation(&store, &document, rotation_id, &before).await
            });
        }
        return Err(error);
    }
    confirm_rotation(
        store,
        document,
        webhook.rotations,
        rotation_id,
        &deadline,
        request_id,
    );
    Ok(kept.response())
}

/// Writes the rotations and reads back, until the new one is among them: a client that is told a
/// secret must be able to rely on it, also when another rotation is written at the same moment.
async fn keep_rotation(
    store: &Store,
    key: &str,
    rotations: &mut Rotations,
    id: WebhookId,
) -> Result<(), Error> {
    loop {
        store.set_document(key, rotations).await?;
        let stored: Rotations = store.get_document(key).await?.unwrap_or_default();
        let kept = stored.contains(id);
        rotations.merge(&stored);
        if kept {
            return Ok(());
        }
    }
}

/// Removes a rotation whose secret nobody was told, and writes back what it dropped of `before`.
async fn take_back_rotation(
    store: &Store,
    key: &str,
    id: WebhookId,
    before: &Rotations,
) -> Result<(), Error> {
    let stored: Option<Rotations> = store.get_document(key).await?;
    match stored {
        Some(mut rotations) if rotations.contains(id) => {
            rotations.remove_uncommitted(id, before);
            store.set_document(key, &rotations).await
        }
        _ => Ok(()),
    }
}

/// Goes on, after the response, to check that the rotation stays.
fn confirm_rotation(
    store: Store,
    key: String,
    mut rotations: Rotations,
    id: WebhookId,
    deadline: &Deadline,
    request_id: String,
) {
    let deadline = deadline.clone();
    spawn(async move {
        for pause in [40, 80, 160, 320, 640] {
            sleep(Duration::from_millis(pause)).await;
            let checked = deadline
                .renew()
                .run("confirming a rotation", async {
                    let stored: Option<Rotations> = store.get_document(&key).await?;
                    match stored {
                        // Deleted with its webhook, or still there.
                        None => Ok(()),
                        Some(stored) if stored.contains(id) => Ok(()),
                        Some(stored) => {
                            rotations.merge(&stored);
                            rotations.prune(Timestamp::now());
                            store.set_document(&key, &rotations).await
                        }
                    }
                })
                .await;
            if let Err(error) = checked {
                log::background(&request_id, "rotation not confirmed", &error);
            }
        }
    });
}
