//! The webhooks of an application.

use axum::extract::{RawQuery, Request};
use axum::response::Response;
use futures::future::{try_join, try_join3};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use spin_sdk::time::sleep;
use spin_sdk::wit_bindgen::spawn;

use super::body::Object;
use super::idempotency::{IdempotencyKey, Kept, Looked, Use};
use super::page::PageQuery;
use super::{Details, Path, RequestId, etag, no_content};
use crate::application::{Application, ApplicationId};
use crate::auth::Merchant;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::delivery::{Attempt, Delivery};
use crate::error::{self, Error};
use crate::log;
use crate::records::{self, owned_application};
use crate::secret::SigningSecret;
use crate::store::{self, Store, keys};
use crate::webhook::{
    Created, EndpointUrl, EventType, LastTest, Rotation, Rotations, StoredSecret, TestStatus,
    Webhook, WebhookId,
};

/// A webhook as responses show it. `signingSecret` is there once: when it was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookBody {
    id: WebhookId,
    url: String,
    is_active: bool,
    key_fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
    subscribed_events: Vec<EventType>,
    last_test_at: Option<Timestamp>,
    last_test_status: Option<TestStatus>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<&Webhook> for WebhookBody {
    fn from(webhook: &Webhook) -> Self {
        let settings = webhook.settings();
        Self {
            id: webhook.created.id,
            url: settings.url,
            is_active: settings.is_active,
            key_fingerprint: webhook.newest_secret().fingerprint.clone(),
            signing_secret: None,
            subscribed_events: settings.subscribed_events,
            last_test_at: webhook.last_test.map(|test| test.at),
            last_test_status: webhook.last_test.map(|test| test.status),
            created_at: webhook.created.created_at,
            updated_at: webhook.updated_at(),
        }
    }
}

impl WebhookBody {
    /// With the secret, for the one response that tells it.
    fn telling(self, secret: &SigningSecret) -> Self {
        Self {
            signing_secret: Some(secret.reveal()),
            ..self
        }
    }
}

fn respond(webhook: &Webhook) -> Response {
    let body = WebhookBody::from(webhook);
    etag::tagged(error::json(StatusCode::OK, &body), &etag::of(&body))
}

/// `POST /api/v1/applications/{applicationId}/webhooks`
pub async fn create(
    Merchant(merchant): Merchant,
    RequestId(request_id): RequestId,
    path: Path,
    request: Request,
) -> Result<Response, Error> {
    let config = Config::load().await?;
    let mut details = Details::default();
    let application = path.application(&mut details);
    let key = IdempotencyKey::read(request.headers(), &mut details);
    let mut body = Object::read(request, &mut details).await?;
    let url = body.required("url", &mut details, |value| url(value, config));
    let events = body.optional("subscribedEvents", &mut details, |value| {
        subscribed_events(value, config)
    });
    let raw = body.finish(&mut details);
    let (application, url) = details.all(application.zip(url))?;

    let now = Timestamp::now();
    let store = Store::with_timeout(config.store_timeout);
    let scope = format!("create-webhook\n{application}");
    let (owned, mut index, looked) = store
        .in_time(
            "reading",
            try_join3(
                owned_application(&application, &merchant),
                store::webhooks_of(&application),
                look_up(key.as_ref(), &scope, &raw, config, now),
            ),
        )
        .await?;
    let repeatable = match looked {
        Some(Looked::Replay(response)) => return Ok(*response),
        Some(Looked::New(used)) => Some(used),
        None => None,
    };
    check_enabled(&owned)?;
    let (id, secret) = match &repeatable {
        Some(used) => used.derive(config),
        None => (WebhookId::generate(), SigningSecret::generate()),
    };
    let full = |ids: &[WebhookId]| ids.len() >= config.max_webhooks && !ids.contains(&id);
    if full(index.ids()) {
        store.in_time("counting webhooks", index.prune()).await?;
    }
    if full(index.ids()) {
        return Err(Error::invalid(
            "applicationId",
            format!(
                "The application already has the maximum of {} webhooks",
                config.max_webhooks
            ),
        ));
    }

    let webhook = Webhook::new(Created {
        v: Created::VERSION,
        id,
        application_id: application.clone(),
        url: url.as_str().to_owned(),
        is_active: true,
        subscribed_events: events.unwrap_or_else(|| config.event_types.clone()),
        secret: StoredSecret::seal(&config.secrets_key, id, &secret),
        created_at: now,
    });
    let shown = WebhookBody::from(&webhook);
    let tag = etag::of(&shown);
    let location = format!("/api/v1/applications/{application}/webhooks/{id}");
    let kept = Kept::new(
        StatusCode::CREATED,
        Some(location),
        tag,
        &shown.telling(&secret),
    );

    let document = keys::webhook(&application, id);
    let written = store
        .in_time("creating a webhook", async {
            // The webhook before the index: an id in the index always had a webhook.
            store::set_document(&document, &webhook.created).await?;
            try_join(
                index.add(&id),
                keep(repeatable.as_ref(), &kept, config, now),
            )
            .await
        })
        .await;
    if let Err(error) = written {
        // A create with a key can be repeated and then tells the secret. Taking its webhook back
        // could take it from under the repeat.
        if repeatable.is_none() {
            store::retract(document, &store, &request_id);
        }
        return Err(error);
    }
    index.keep(id, &store, &request_id);
    Ok(kept.response())
}

/// `GET /api/v1/applications/{applicationId}/webhooks`
pub async fn list(
    Merchant(merchant): Merchant,
    path: Path,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let config = Config::load().await?;
    let mut details = Details::default();
    let application = path.application(&mut details);
    let page = PageQuery::parse(query.as_deref(), &mut details);
    let (application, page) = details.all(application.zip(page))?;

    let store = Store::with_timeout(config.store_timeout);
    let (index, mut webhooks) = store
        .in_time("reading webhooks", async {
            let (_, index) = try_join(
                owned_application(&application, &merchant),
                store::webhooks_of(&application),
            )
            .await?;
            let webhooks = records::webhooks(&application, index.ids()).await?;
            Ok((index, webhooks))
        })
        .await?;
    webhooks.sort_by(|a, b| {
        let order = |webhook: &Webhook| (webhook.created.created_at, webhook.created.id);
        order(b).cmp(&order(a))
    });
    let there: Vec<WebhookId> = webhooks.iter().map(|webhook| webhook.created.id).collect();
    let gone: Vec<WebhookId> = index
        .ids()
        .iter()
        .filter(|id| !there.contains(id))
        .copied()
        .collect();
    if !gone.is_empty() {
        index.remove_later(gone, &store);
    }
    let items: Vec<WebhookBody> = webhooks.iter().map(WebhookBody::from).collect();
    Ok(error::json(StatusCode::OK, &page.of(items)))
}

/// `GET /api/v1/applications/{applicationId}/webhooks/{webhookId}`
pub async fn read(Merchant(merchant): Merchant, path: Path) -> Result<Response, Error> {
    let config = Config::load().await?;
    let mut details = Details::default();
    let ids = ids(&path, &mut details);
    let (application, id) = details.all(ids)?;
    let store = Store::with_timeout(config.store_timeout);
    let (_, webhook) = store
        .in_time(
            "reading a webhook",
            try_join(
                owned_application(&application, &merchant),
                records::webhook(&application, id),
            ),
        )
        .await?;
    Ok(respond(&webhook.ok_or(Error::NotFound)?))
}

/// `PATCH /api/v1/applications/{applicationId}/webhooks/{webhookId}`
pub async fn change(
    Merchant(merchant): Merchant,
    path: Path,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Error> {
    let config = Config::load().await?;
    let mut details = Details::default();
    let ids = ids(&path, &mut details);
    let mut body = Object::read(request, &mut details).await?;
    if body.is_empty() {
        details.add(
            "body",
            "Must have at least one of url, isActive and subscribedEvents",
        );
    }
    let url = body.optional("url", &mut details, |value| url(value, config));
    let is_active = body.optional("isActive", &mut details, |value| {
        value.as_bool().ok_or("Must be true or false")
    });
    let events = body.optional("subscribedEvents", &mut details, |value| {
        subscribed_events(value, config)
    });
    body.finish(&mut details);
    let (application, id) = details.all(ids)?;

    let store = Store::with_timeout(config.store_timeout);
    let (owned, webhook) = store
        .in_time(
            "reading a webhook",
            try_join(
                owned_application(&application, &merchant),
                records::webhook(&application, id),
            ),
        )
        .await?;
    check_enabled(&owned)?;
    let mut webhook = webhook.ok_or(Error::NotFound)?;
    etag::check(&headers, &etag::of(&WebhookBody::from(&webhook)))?;
    let before = webhook.settings();
    let mut settings = before.clone();
    if let Some(url) = url {
        settings.url = url.as_str().to_owned();
    }
    if let Some(is_active) = is_active {
        settings.is_active = is_active;
    }
    if let Some(events) = events {
        settings.subscribed_events = events;
    }
    if settings != before {
        settings.updated_at = Timestamp::now().max(webhook.updated_at());
        let key = keys::webhook_settings(&application, id);
        store
            .in_time("changing a webhook", store::set_document(&key, &settings))
            .await?;
        webhook.settings = Some(settings);
    }
    Ok(respond(&webhook))
}

/// `DELETE /api/v1/applications/{applicationId}/webhooks/{webhookId}`
pub async fn delete(
    Merchant(merchant): Merchant,
    path: Path,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let config = Config::load().await?;
    let mut details = Details::default();
    let ids = ids(&path, &mut details);
    let (application, id) = details.all(ids)?;
    let store = Store::with_timeout(config.store_timeout);
    let (owned, webhook) = store
        .in_time(
            "reading a webhook",
            try_join(
                owned_application(&application, &merchant),
                records::webhook(&application, id),
            ),
        )
        .await?;
    check_enabled(&owned)?;
    let webhook = webhook.ok_or(Error::NotFound)?;
    etag::check(&headers, &etag::of(&WebhookBody::from(&webhook)))?;
    store
        .in_time("deleting a webhook", async {
            records::delete_webhook(&application, id).await?;
            store::webhooks_of(&application).await?.remove(&[id]).await
        })
        .await?;
    Ok(no_content())
}

/// `POST /api/v1/applications/{applicationId}/webhooks/{webhookId}/rotate`
pub async fn rotate(
    Merchant(merchant): Merchant,
    RequestId(request_id): RequestId,
    path: Path,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Error> {
    /// How long the old secret stays valid when the merchant does not say: a day.
    const DEFAULT_GRACE_SECS: u32 = 86_400;
    /// A week.
    const MAX_GRACE_SECS: u32 = 604_800;

    let config = Config::load().await?;
    let mut details = Details::default();
    let ids = ids(&path, &mut details);
    let key = IdempotencyKey::read(&headers, &mut details);
    let mut body = Object::read_optional(request, &mut details).await?;
    let grace = body.optional("gracePeriodSeconds", &mut details, |value| {
        value
            .as_u64()
            .and_then(|seconds| u32::try_from(seconds).ok())
            .filter(|seconds| *seconds <= MAX_GRACE_SECS)
            .ok_or("Must be a whole number from 0 to 604800")
    });
    let raw = body.finish(&mut details);
    let (application, id) = details.all(ids)?;

    let now = Timestamp::now();
    let store = Store::with_timeout(config.store_timeout);
    let scope = format!("rotate\n{application}\n{id}");
    let (owned, webhook, looked) = store
        .in_time(
            "reading a webhook",
            try_join3(
                owned_application(&application, &merchant),
                records::webhook(&application, id),
                look_up(key.as_ref(), &scope, &raw, config, now),
            ),
        )
        .await?;
    let mut webhook = webhook.ok_or(Error::NotFound)?;
    let repeatable = match looked {
        Some(Looked::Replay(response)) => return Ok(*response),
        Some(Looked::New(used)) => Some(used),
        None => None,
    };
    check_enabled(&owned)?;
    etag::check(&headers, &etag::of(&WebhookBody::from(&webhook)))?;
    let (rotation_id, secret) = match &repeatable {
        Some(used) => used.derive(config),
        None => (WebhookId::generate(), SigningSecret::generate()),
    };
    webhook.rotations.prune(now);
    webhook.rotations.add(Rotation {
        id: rotation_id,
        secret: StoredSecret::seal(&config.secrets_key, id, &secret),
        rotated_at: now.max(webhook.updated_at()),
        grace_period_seconds: grace.unwrap_or(DEFAULT_GRACE_SECS),
    });
    let shown = WebhookBody::from(&webhook);
    let tag = etag::of(&shown);
    let kept = Kept::new(StatusCode::OK, None, tag, &shown.telling(&secret));
    let document = keys::webhook_secrets(&application, id);
    store
        .in_time("rotating a secret", async {
            keep_rotation(&document, &mut webhook.rotations, rotation_id).await?;
            keep(repeatable.as_ref(), &kept, config, now).await
        })
        .await?;
    confirm_rotation(document, webhook.rotations, rotation_id, &store, request_id);
    Ok(kept.response())
}

/// Writes the rotations and reads back, until the new one is among them: a client that is told a
/// secret must be able to rely on it, also when another rotation is written at the same moment.
async fn keep_rotation(key: &str, rotations: &mut Rotations, id: WebhookId) -> Result<(), Error> {
    loop {
        store::set_document(key, rotations).await?;
        let stored: Rotations = store::get_document(key).await?.unwrap_or_default();
        let kept = stored.contains(id);
        rotations.merge(&stored);
        if kept {
            return Ok(());
        }
    }
}

/// Goes on, after the response, to check that the rotation stays.
fn confirm_rotation(
    key: String,
    mut rotations: Rotations,
    id: WebhookId,
    store: &Store,
    request_id: String,
) {
    let store = store.clone();
    spawn(async move {
        for pause in [40, 80, 160, 320, 640] {
            sleep(std::time::Duration::from_millis(pause)).await;
            let checked = store
                .renewed()
                .in_time("confirming a rotation", async {
                    let stored: Option<Rotations> = store::get_document(&key).await?;
                    match stored {
                        // Deleted with its webhook, or still there.
                        None => Ok(()),
                        Some(stored) if stored.contains(id) => Ok(()),
                        Some(stored) => {
                            rotations.merge(&stored);
                            rotations.prune(Timestamp::now());
                            store::set_document(&key, &rotations).await
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

/// The answer to a test.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestBody {
    success: bool,
    http_status_code: Option<u16>,
    response_body: Option<String>,
    latency_ms: u64,
    delivered_at: Timestamp,
}

/// `POST /api/v1/applications/{applicationId}/webhooks/{webhookId}/test`
pub async fn test(
    Merchant(merchant): Merchant,
    path: Path,
    request: Request,
) -> Result<Response, Error> {
    /// How much of the endpoint's answer the merchant is shown, in characters.
    const SHOWN_CHARACTERS: usize = 1024;

    let config = Config::load().await?;
    let mut details = Details::default();
    let ids = ids(&path, &mut details);
    let body = Object::read_optional(request, &mut details).await?;
    body.finish(&mut details);
    let (application, id) = details.all(ids)?;
    let store = Store::with_timeout(config.store_timeout);
    let (owned, webhook) = store
        .in_time(
            "reading a webhook",
            try_join(
                owned_application(&application, &merchant),
                records::webhook(&application, id),
            ),
        )
        .await?;
    check_enabled(&owned)?;
    let webhook = webhook.ok_or(Error::NotFound)?;

    let now = Timestamp::now();
    let secrets: Vec<SigningSecret> = webhook
        .live_secrets(now)
        .into_iter()
        .map(|secret| {
            config
                .secrets_key
                .open_secret(&id.to_string(), &secret.sealed)
        })
        .collect::<Result<_, _>>()
        .map_err(|_| {
            Error::Dependency(format!(
                "store: a secret of webhook {id} cannot be decrypted"
            ))
        })?;
    let data = json!({"applicationId": application, "webhookId": id});
    let delivery = Delivery::new("webhook.test", &data, &secrets, now);
    // The rules may be stricter now than when the URL was accepted.
    let attempt = match EndpointUrl::parse(&webhook.settings().url, config.allow_insecure_urls) {
        Ok(url) => delivery.send(&url).await,
        Err(_) => Attempt::refused(),
    };
    let success = attempt.succeeded();
    let last_test = LastTest {
        at: now,
        status: if success {
            TestStatus::Succeeded
        } else {
            TestStatus::Failed
        },
    };
    let key = keys::webhook_test(&application, id);
    store
        .renewed()
        .in_time("noting a test", store::set_document(&key, &last_test))
        .await?;
    Ok(error::json(
        StatusCode::OK,
        &TestBody {
            success,
            http_status_code: attempt.status,
            response_body: attempt.answer.map(|answer| {
                let text = String::from_utf8_lossy(&answer);
                text.chars().take(SHOWN_CHARACTERS).collect()
            }),
            latency_ms: attempt.latency.as_millis() as u64,
            delivered_at: now,
        },
    ))
}

fn ids(path: &Path, details: &mut Details) -> Option<(ApplicationId, WebhookId)> {
    let application = path.application(details);
    let webhook = path.webhook(details);
    application.zip(webhook)
}

fn check_enabled(application: &Application) -> Result<(), Error> {
    if application.is_enabled() {
        return Ok(());
    }
    Err(Error::Disabled)
}

async fn look_up(
    key: Option<&IdempotencyKey>,
    scope: &str,
    body: &[u8],
    config: &Config,
    now: Timestamp,
) -> Result<Option<Looked>, Error> {
    match key {
        Some(key) => Use::look_up(key, scope, body, config, now).await.map(Some),
        None => Ok(None),
    }
}

async fn keep(
    used: Option<&Use>,
    kept: &Kept,
    config: &Config,
    now: Timestamp,
) -> Result<(), Error> {
    match used {
        Some(used) => used.keep(kept, config, now).await,
        None => Ok(()),
    }
}

fn url(value: Value, config: &Config) -> Result<EndpointUrl, String> {
    let Value::String(text) = value else {
        return Err("Must be a string".to_owned());
    };
    EndpointUrl::parse(&text, config.allow_insecure_urls).map_err(|error| error.to_string())
}

fn subscribed_events(value: Value, config: &Config) -> Result<Vec<EventType>, &'static str> {
    const NOT_STRINGS: &str = "Must be an array of strings";

    let Value::Array(names) = value else {
        return Err(NOT_STRINGS);
    };
    if names.is_empty() {
        return Err("Must not be empty");
    }
    if !names.iter().all(Value::is_string) {
        return Err(NOT_STRINGS);
    }
    let mut events: Vec<EventType> = Vec::with_capacity(config.event_types.len());
    for name in names.iter().filter_map(Value::as_str) {
        let mut known = config.event_types.iter();
        let event = known
            .find(|event| event.as_str() == name)
            .ok_or("Unknown event type")?;
        if events.contains(event) {
            return Err("Must not contain duplicates");
        }
        events.push(event.clone());
    }
    Ok(events)
}
