//! Rotations: a webhook gets a new signing secret, and the old one stays valid for a while.

use crate::store::compensation;
use crate::store::webhooks;

use futures::future::join;
use http::StatusCode;
use serde::Serialize;

use super::webhooks::{WebhookResponse, check_enabled, ids};
use crate::http::body::Object;
use crate::http::error::Error;
use crate::http::idempotency::{self, IdempotencyKey, Lookup, StoredResponse};
use crate::http::parameters::{
    ApplicationPath, IdempotencyKeyHeader, IfMatchHeader, IfNoneMatchHeader, WebhookPath,
};
use crate::http::request::Request;
use crate::model::time::Timestamp;
use crate::store::rate_limit::counted_unless;

use crate::http::response::Response;
use crate::model::ids::WebhookId;
use crate::model::rotation::Rotation;
use crate::model::rotation::StoredSecret;
use crate::model::webhook::Webhook;
use crate::store::applications::owned_application_and;
use crate::store::deadline::Deadline;
use crate::store::rotations::{RotationsDocument, confirm_later};

/// How long the old secret stays valid when the merchant does not say, in seconds: a day.
const DEFAULT_GRACE_SECS: u32 = 86_400;

/// How long it can stay valid, in seconds: a week.
const MAX_GRACE_SECS: u32 = 604_800;

/// The body of [`rotate`], as the document describes it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "How to rotate a secret.")]
pub struct Rotating {
    /// For how many seconds the old secret stays valid: until then, deliveries carry a signature
    /// of each. 0 ends it and all earlier ones at once.
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
/// signature of each; without one, no earlier secret signs any more. At most five old secrets live
/// at a time. The application must belong to the authenticated merchant.
#[utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/rotate",
    operation_id = "rotateWebhookSecret", tag = "Webhooks",
    params(ApplicationPath, WebhookPath, IdempotencyKeyHeader, IfMatchHeader, IfNoneMatchHeader),
    request_body(content = Option<Rotating>, content_type = "application/json"),
    responses((status = 200, description = "The webhook, with its new signing secret.",
        body = ref("#/components/schemas/RotatedWebhook"),
        headers(("ETag"), ("Idempotency-Replayed")))),
)]
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
    let content = body.finish(&mut details);
    let (application, id) = details.all(ids)?;

    let now = Timestamp::now();
    let deadline = Deadline::with_timeout(config.store_timeout);
    let scope = format!("rotate\n{application}\n{id}");
    let beside = join(
        webhooks::webhook(&store, &application, id),
        idempotency::look_up(&store, key.as_ref(), &scope, &content, config, now),
    );
    let (owned, (webhook, lookup)) = deadline
        .run(
            "reading a webhook",
            counted_unless(
                &store,
                &merchant,
                config,
                &request_id,
                owned_application_and(&store, &application, &merchant, async { Ok(beside.await) }),
                |(_, (_, lookup))| matches!(lookup, Ok(Lookup::Hit(_))),
            ),
        )
        .await?;
    let mut webhook = webhook?.ok_or(Error::NotFound)?;
    let used = match lookup? {
        Lookup::Hit(replay) => {
            let rotation = newest(&webhook, replay.made)?;
            let secret = webhooks::open_secret(id, &rotation.secret, &config.secrets_key)?;
            return replay.response(Some(&secret));
        }
        Lookup::Miss(used) => used,
    };
    check_enabled(&owned)?;
    let (rotation_id, secret) = used.id_and_secret(config);
    if webhook.rotations.contains(rotation_id) {
        // The repeat of a rotation that took effect and was not answered: it changed the tag itself.
        newest(&webhook, rotation_id)?;
    } else {
        let tag = WebhookResponse::from(&webhook).tag()?;
        tag.check_change(&headers)?;
    }
    let before = webhook.rotations.clone();
    let next_at = webhook.rotations.next_at(now);
    webhook.rotations.add(Rotation {
        id: rotation_id,
        secret: StoredSecret::seal(&config.secrets_key, id, &secret),
        rotated_at: next_at.max(webhook.updated_at()),
        grace_period_seconds: grace.unwrap_or(DEFAULT_GRACE_SECS),
    });
    webhook.rotations.prune(now);
    let body = WebhookResponse::at(&webhook, now);
    let tag = body.tag()?;
    let body = body.with_secret(&secret);
    let kept = StoredResponse::new(StatusCode::OK, None, &tag, &body, Some(&secret))?;
    let place = RotationsDocument::of(&store, &application, id);
    let rotated = deadline
        .run("rotating a secret", async {
            place.keep(&mut webhook.rotations, rotation_id).await?;
            used.keep(&store, rotation_id, &kept, config, now).await
        })
        .await;
    if let Err(error) = rotated {
        // Else the secret that the merchant has would end in favour of one that nobody was told.
        // A rotation with a key can be repeated and then tells it.
        let undo = !used.is_repeatable();
        compensation::compensate(&error, &deadline, &request_id, async move || {
            if undo {
                place.remove(rotation_id, &before).await?;
            }
            place.clear().await
        });
        return Err(error);
    }
    confirm_later(
        place,
        webhook.rotations,
        rotation_id,
        &deadline,
        &request_id,
    );
    kept.response(Some(&secret))
}

/// The rotation `id`, as long as it brought the newest secret. A repeat must not show another one's
/// fingerprint beside its secret, nor a secret that may be dead.
fn newest(webhook: &Webhook, id: WebhookId) -> Result<&Rotation, Error> {
    let newest = webhook.rotations.newest();
    newest
        .filter(|rotation| rotation.id == id)
        .ok_or(idempotency::OVERTAKEN)
}
