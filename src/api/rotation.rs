//! Rotations: a webhook gets a new signing secret, and the old one stays valid for a while.

use futures::future::join;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::replay;
use super::request::{Request, check_enabled};
use super::webhooks::WebhookResponse;
use crate::fault::Fault;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::idempotency;
use crate::http::object::Object;
use crate::http::parameters::{
    ApplicationPath, IdempotencyKeyHeader, IfMatchHeader, IfNoneMatchHeader, WebhookPath,
};
use crate::http::response::Response;
use crate::model::ids::WebhookId;
use crate::model::rotation::{Rotation, StoredSecret};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::store::idempotency::{Lookup, look_up};
use crate::store::rotations::{RotationsDocument, Written, confirm_later};
use crate::store::webhooks;

/// How long the old secret stays valid when the merchant does not say, in seconds: a day.
const DEFAULT_GRACE_SECS: u32 = 86_400;

/// How long it can stay valid, in seconds: a week.
const MAX_GRACE_SECS: u32 = 604_800;

/// The body of [`rotate`].
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "How to rotate a secret.")]
pub struct RotateRequest {
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

impl RotateRequest {
    /// Reads a body, noting what is wrong with it.
    fn read(body: &mut Object, details: &mut Details) -> Self {
        let grace_period_seconds = body.optional("gracePeriodSeconds", details, |value| {
            grace_period(&value).ok_or("Must be a whole number from 0 to 604800")
        });
        Self {
            grace_period_seconds,
        }
    }
}

fn grace_period(value: &Value) -> Option<u32> {
    // To JSON Schema 600.0 is an integer too.
    let whole = value.as_f64().filter(|seconds| seconds.fract() == 0.0);
    let whole = whole.filter(|seconds| *seconds >= 0.0);
    let seconds = value.as_u64().or(whole.map(|seconds| seconds as u64))?;
    let seconds = u32::try_from(seconds).ok()?;
    (seconds <= MAX_GRACE_SECS).then_some(seconds)
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
    request_body(content = Option<RotateRequest>, content_type = "application/json"),
    responses((status = 200, description = "The webhook, with its new signing secret.",
        body = ref("#/components/schemas/RotatedWebhook"),
        headers(("ETag"), ("Idempotency-Replayed")))),
)]
pub async fn rotate(mut request: Request) -> Result<Response, Error> {
    let ids = request.webhook();
    let key = request.idempotency_key();
    let mut body = request.body(Object::read_optional).await?;
    let asked = RotateRequest::read(&mut body, &mut request.details);
    let content = body.finish(&mut request.details);
    let (context, (application, id)) = request.begin(ids)?;
    let (config, store) = (context.config, &context.store);

    let now = Timestamp::now();
    let scope = format!("rotate\n{application}\n{id}");
    let reads = join(
        webhooks::webhook(store, &application, id),
        look_up(store, key.as_ref(), &scope, &content, config, now),
    );
    let gate = context.gate();
    let found = gate.beside(context.authorize_change(&application, reads));
    let found = context
        .run("reading a webhook", async { Ok::<_, Fault>(found.await) })
        .await?;
    // A repeat is no change: it gets the first response also when the merchant has none left.
    if !matches!(&found, Ok((_, (_, Ok(Lookup::Hit(_)))))) {
        gate.admit()?;
    }
    let (owned, (webhook, lookup)) = found?;
    let mut webhook = webhook?.ok_or(Error::NotFound)?;
    let idempotency = match lookup? {
        Lookup::Hit(first) => {
            let rotation = newest(&webhook, first.made)?;
            let secret = webhooks::open_secret(id, &rotation.secret, &config.secrets_key)?;
            return replay::replayed(&first, Some(&secret));
        }
        Lookup::Reused => return Err(idempotency::KEY_USED),
        Lookup::Miss(idempotency) => idempotency,
    };
    check_enabled(&owned)?;
    let (rotation_id, secret) = idempotency.id_and_secret(config);
    if webhook.rotations.contains(rotation_id) {
        // The repeat of a rotation that took effect and was not answered: it changed the tag itself.
        newest(&webhook, rotation_id)?;
    } else {
        let tag = WebhookResponse::from(&webhook).tag()?;
        tag.check_change(&context.headers)?;
    }
    let before = webhook.rotations.clone();
    let next_at = webhook.rotations.next_at(now);
    webhook.rotations.add(Rotation {
        id: rotation_id,
        secret: StoredSecret::seal(&config.secrets_key, id, &secret),
        rotated_at: next_at.max(webhook.updated_at()),
        grace_period_seconds: asked.grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECS),
    });
    webhook.rotations.prune(now);
    let body = WebhookResponse::at(&webhook, now);
    let tag = body.tag()?;
    let body = body.with_secret(&secret);
    let response = replay::stored(StatusCode::OK, None, &tag, &body, Some(&secret))?;
    let document = RotationsDocument::of(store, &application, id);
    let rotated = context.run("rotating a secret", async {
        let (deadline, request_id) = (&context.deadline, &context.request_id);
        webhooks::note_change(store, &application, id, deadline, request_id).await?;
        match document.keep(&mut webhook.rotations, rotation_id).await? {
            Written::Kept => {}
            Written::WebhookGone => return Ok(Written::WebhookGone),
        }
        let keep = idempotency.keep(store, rotation_id, &response, config, now);
        keep.await.map(|()| Written::Kept)
    });
    let failed: (Error, bool) = match rotated.await {
        Ok(Written::Kept) => {
            let rotations = webhook.rotations;
            let (deadline, request_id) = (&context.deadline, &context.request_id);
            confirm_later(document, rotations, rotation_id, deadline, request_id);
            return replay::response(&response, Some(&secret));
        }
        Ok(Written::WebhookGone) => (Error::NotFound, false),
        Err(fault) => {
            let was_cut_off = Fault::is_timeout(&fault);
            (fault.into(), was_cut_off)
        }
    };
    // Else the secret that the merchant has would end in favour of one that nobody received.
    // A rotation with a key can be repeated and then returns it.
    let undo = !idempotency.is_repeatable();
    let (error, was_cut_off) = failed;
    context.compensate(was_cut_off, async move || {
        if undo {
            document.remove(rotation_id, &before).await?;
        }
        document.clear().await
    });
    Err(error)
}

/// The rotation `id`, as long as it brought the newest secret. A repeat must not show another one's
/// fingerprint beside its secret, nor a secret that may be dead.
fn newest(webhook: &Webhook, id: WebhookId) -> Result<&Rotation, Error> {
    let newest = webhook.rotations.newest();
    newest
        .filter(|rotation| rotation.id == id)
        .ok_or(idempotency::OVERTAKEN)
}
