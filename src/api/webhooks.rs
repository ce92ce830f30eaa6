//! The webhooks of an application.

use std::collections::BTreeSet;

use futures::future::try_join;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::http::body::Object;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::etag::{self, EntityTag};
use crate::http::idempotency::{self, IdempotencyKey, Lookup, StoredResponse};
use crate::http::page::PageQuery;
use crate::http::parameters::{
    ApplicationPath, IdempotencyKeyHeader, IfMatchHeader, IfNoneMatchHeader, WebhookPath,
};
use crate::http::request::{Path, Request};
use crate::log;
use crate::model::application::Application;
use crate::model::ids::ApplicationId;
use crate::model::ids::MerchantId;
use crate::model::time::Timestamp;
use crate::store::rate_limit::{counted, counted_unless};

use crate::http::response::{self, Response};
use crate::model::endpoint_url::EndpointUrl;
use crate::model::event::{SubscribedEvent, SubscribedEvents};
use crate::model::ids::WebhookId;
use crate::model::rotation::StoredSecret;
use crate::model::signing_secret::SigningSecret;
use crate::model::webhook::TestStatus;
use crate::model::webhook::Webhook;
use crate::model::webhook::WebhookRecord;
use crate::store::applications::owned_application_and;
use crate::store::compensation;
use crate::store::deadline::Deadline;
use crate::store::index::{self, Listed, listed};
use crate::store::key_value::Store;
use crate::store::keys;
use crate::store::webhooks;

/// A webhook as responses show it. `signingSecret` is there once: when it was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(
    as = Webhook, description = "A webhook of an application."
)]
pub struct WebhookResponse {
    /// ID of the webhook.
    #[schema(inline)]
    id: WebhookId,
    /// HTTPS endpoint on the merchant server that receives webhooks, as the merchant spelled it.
    #[schema(
        format = Uri, max_length = 2048, examples("https://merchant.example.com/webhooks/kadosei")
    )]
    url: String,
    /// Whether events are delivered.
    #[schema(examples(true))]
    is_active: bool,
    /// `whsec_****` and the last four characters of the newest signing secret.
    #[schema(pattern = r"^whsec_\*{4}[A-Za-z0-9+/]{4}$", examples("whsec_****a3f2"))]
    key_fingerprint: String,
    /// The secret that deliveries are signed with. It is told in this response and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        nullable = false,
        pattern = "^whsec_[A-Za-z0-9+/]{48}$",
        examples("whsec_bm90LWEtcmVhbC1zZWNyZXQtYnV0LWFuLWV4YW1wbGUta3f2")
    )]
    signing_secret: Option<String>,
    /// The events that it is subscribed to: `["*"]` is every event, also of types that are added
    /// later.
    #[schema(
        value_type = Vec<SubscribedEvent>, min_items = 1,
        examples(json!(["session.completed", "session.expired"]))
    )]
    subscribed_events: SubscribedEvents,
    /// When the last test delivery was sent; `null` before the first.
    #[schema(inline, required, examples("2026-04-20T12:34:56.000Z"))]
    last_test_at: Option<Timestamp>,
    /// How the last test delivery ended; `null` before the first.
    #[schema(inline, required, examples("SUCCEEDED"))]
    last_test_status: Option<TestStatus>,
    /// When it was created.
    #[schema(inline, examples("2026-01-15T08:00:00.000Z"))]
    created_at: Timestamp,
    /// When something of it was changed last. A test changes nothing.
    #[schema(inline, examples("2026-04-01T09:30:00.000Z"))]
    updated_at: Timestamp,
    /// The secrets before the newest that deliveries are still signed with, the newest first. A
    /// create does not show them: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline, nullable = false, max_items = 5)]
    previous_secrets: Option<Vec<PreviousSecret>>,
}

/// A secret that signs on after a rotation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousSecret {
    /// `whsec_****` and the last four characters of the secret.
    #[schema(pattern = r"^whsec_\*{4}[A-Za-z0-9+/]{4}$", examples("whsec_****a3f2"))]
    fingerprint: String,
    /// From when on it does not sign any more.
    #[schema(inline, examples("2026-04-02T09:30:00.000Z"))]
    expires_at: Timestamp,
}

/// What the `ETag` of a webhook covers: what its merchant can change, and nothing that changes by
/// itself or by a test.
#[derive(Serialize)]
struct Version<'a> {
    id: WebhookId,
    url: &'a str,
    is_active: bool,
    subscribed_events: &'a SubscribedEvents,
    key_fingerprint: &'a str,
    updated_at: Timestamp,
}

/// The body of [`create`], as the document describes it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "A new webhook.")]
pub struct NewWebhook {
    /// HTTPS endpoint on the merchant server that receives webhooks.
    #[schema(inline)]
    url: EndpointUrl,
    /// The events to subscribe to: `session.completed`, `session.expired`, or what else
    /// `GET /api/v1/event-types` lists. `["*"]` is every event, also of types that are added later;
    /// without this member, the types that there are today.
    #[schema(nullable = false, min_items = 1, examples(json!(["session.completed"])))]
    subscribed_events: Option<Vec<SubscribedEvent>>,
}

/// The body of [`change`], as the document describes it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(
    description = "What to change of a webhook; the rest stays.",
    min_properties = 1
)]
pub struct WebhookChange {
    /// HTTPS endpoint on the merchant server that receives webhooks.
    #[schema(inline, nullable = false)]
    url: Option<EndpointUrl>,
    /// Whether events are delivered.
    #[schema(nullable = false, examples(false))]
    is_active: Option<bool>,
    /// The events to subscribe to: `session.completed`, `session.expired`, or what else
    /// `GET /api/v1/event-types` lists. `["*"]` is every event, also of types that are added later.
    /// A type that the platform has withdrawn can stay.
    #[schema(nullable = false, min_items = 1, examples(json!(["session.completed"])))]
    subscribed_events: Option<Vec<SubscribedEvent>>,
}

impl From<&Webhook> for WebhookResponse {
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
            previous_secrets: None,
        }
    }
}

impl WebhookResponse {
    /// The webhook as all but its create show it.
    pub(super) fn at(webhook: &Webhook, now: Timestamp) -> Self {
        let previous = webhook.previous_secrets(now).into_iter();
        let previous = previous.map(|(secret, expires_at)| PreviousSecret {
            fingerprint: secret.fingerprint.clone(),
            expires_at,
        });
        Self {
            previous_secrets: Some(previous.collect()),
            ..Self::from(webhook)
        }
    }

    /// Its entity tag.
    ///
    /// # Errors
    ///
    /// As [`EntityTag::of`].
    pub(super) fn tag(&self) -> Result<EntityTag, Error> {
        EntityTag::of(&Version {
            id: self.id,
            url: &self.url,
            is_active: self.is_active,
            subscribed_events: &self.subscribed_events,
            key_fingerprint: &self.key_fingerprint,
            updated_at: self.updated_at,
        })
    }

    /// With the secret, for the one response that tells it.
    pub(super) fn with_secret(self, secret: &SigningSecret) -> Self {
        Self {
            signing_secret: Some(secret.reveal()),
            ..self
        }
    }
}

/// Create application webhook
///
/// Creates a webhook configuration for the application. The application must belong to the
/// authenticated merchant.
#[utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/webhooks", operation_id = "createWebhook",
    tag = "Webhooks",
    params(
        ("applicationId" = inline(ApplicationId), Path,
            description = "ID of the application that will own this webhook."),
        IdempotencyKeyHeader,
    ),
    request_body = NewWebhook,
    responses((status = 201, description = "The webhook, with its signing secret.",
        body = ref("#/components/schemas/WebhookWithSecret"),
        headers(("ETag"), ("Location"), ("Idempotency-Replayed")))),
)]
pub async fn create(request: Request) -> Result<Response, Error> {
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
    let application = path.application(&mut details);
    let key = IdempotencyKey::read(&headers, &mut details);
    let mut body = Object::read(&headers, body, &mut details).await?;
    let url = body.required("url", &mut details, |value| url(value, config));
    let events = body.optional("subscribedEvents", &mut details, |value| {
        subscribed_events(value, config, None)
    });
    let content = body.finish(&mut details);
    let (application, url) = details.all(application.zip(url))?;

    let now = Timestamp::now();
    let deadline = Deadline::with_timeout(config.store_timeout);
    let scope = format!("create-webhook\n{application}");
    let beside = try_join(
        index::webhooks_of(&store, &application),
        idempotency::look_up(&store, key.as_ref(), &scope, &content, config, now),
    );
    let (owned, (mut index, lookup)) = deadline
        .run(
            "reading webhooks",
            counted_unless(
                &store,
                &merchant,
                config,
                &request_id,
                owned_application_and(&store, &application, &merchant, beside),
                |(_, (_, lookup))| matches!(lookup, Lookup::Hit(_)),
            ),
        )
        .await?;
    let find = async |id| {
        let webhook = webhooks::webhook(&store, &application, id);
        deadline.run("reading a webhook", webhook).await
    };
    let used = match lookup {
        Lookup::Hit(replay) => {
            let webhook = find(replay.made).await?.ok_or(idempotency::DELETED)?;
            return replay.response(Some(&first_secret(&webhook, config, now)?));
        }
        Lookup::Miss(used) => used,
    };
    check_enabled(&owned)?;
    let (id, secret) = used.id_and_secret(config);
    if index.is_full(config.max_webhooks, &id) {
        deadline.run("counting webhooks", index.prune()).await?;
    }
    if index.is_full(config.max_webhooks, &id) {
        return Err(Error::invalid(
            "applicationId",
            format!(
                "The application already has the maximum of {} webhooks",
                config.max_webhooks
            ),
        ));
    }

    // The repeat of a create that was cut off goes on with what that wrote.
    let begun = match used.is_repeatable() {
        true => find(id).await?,
        false => None,
    };
    let created = match begun {
        Some(webhook) => {
            first_secret(&webhook, config, now)?;
            webhook.created
        }
        None => WebhookRecord {
            v: WebhookRecord::VERSION,
            id,
            application_id: Some(application.clone()),
            url: url.as_str().to_owned(),
            is_active: true,
            subscribed_events: events
                .unwrap_or_else(|| SubscribedEvents::Of(config.event_types.clone())),
            secret: StoredSecret::seal(&config.secrets_key, id, &secret),
            created_at: now,
        },
    };
    let webhook = Webhook::new(created);
    let body = WebhookResponse::from(&webhook);
    let location = format!("/api/v1/applications/{application}/webhooks/{id}");
    let tag = body.tag()?;
    let kept = StoredResponse::new(
        StatusCode::CREATED,
        Some(location),
        &tag,
        &body.with_secret(&secret),
        Some(&secret),
    )?;

    let document = keys::webhook(&application, id);
    let written = deadline
        .run("creating a webhook", async {
            // The webhook before the index: an id in the index always had a webhook.
            store.set_document(&document, &webhook.created).await?;
            index.add(&id, Some(now)).await?;
            // The record last: who is told the webhook by a repeat finds it in the list too.
            used.keep(&store, id, &kept, config, now).await
        })
        .await;
    if let Err(error) = written {
        // A create with a key can be repeated and then tells the secret. Taking its webhook back
        // could take it from under the repeat.
        let retract = !used.is_repeatable();
        compensation::compensate(&error, &deadline, &request_id, async move || {
            if retract {
                store.delete(&document).await?;
            }
            index.restore().await
        });
        return Err(error);
    }
    index.keep(id, Some(now), &deadline, &request_id);
    kept.response(Some(&secret))
}

/// List application webhooks
///
/// The application's webhooks, a page at a time, the newest first. The application must belong to
/// the authenticated merchant.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/webhooks", operation_id = "listWebhooks",
    tag = "Webhooks", params(ApplicationPath, PageQuery),
    responses((status = 200, description = "A page of webhooks.",
        body = crate::http::page::Page<WebhookResponse>)),
)]
pub async fn list(request: Request) -> Result<Response, Error> {
    let Request {
        merchant,
        config,
        store,
        request_id,
        path,
        query,
        mut details,
        ..
    } = request;
    let application = path.application(&mut details);
    let page = PageQuery::read(&query, &mut details);
    let (application, page) = details.all(application.zip(page))?;

    let deadline = Deadline::with_timeout(config.store_timeout);
    let (index, found) = deadline
        .run("reading webhooks", async {
            let index = index::webhooks_of(&store, &application);
            let (_, mut index) =
                owned_application_and(&store, &application, &merchant, index).await?;
            let range = |total| page.range(total);
            let found = webhooks::page(&store, &application, &mut index, range).await?;
            Ok((index, found))
        })
        .await?;
    index.tidy_later(&deadline);
    let now = Timestamp::now();
    let readable = log::readable(found.items, &request_id);
    let items = readable.map(|webhook| WebhookResponse::at(&webhook, now));
    response::json(
        StatusCode::OK,
        &page.of::<WebhookResponse>(items.collect(), found.total),
    )
}

/// Get application webhook
///
/// One webhook. The application must belong to the authenticated merchant.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}",
    operation_id = "getWebhook", tag = "Webhooks",
    params(ApplicationPath, WebhookPath, IfMatchHeader, IfNoneMatchHeader),
    responses(
        (status = 200, description = "The webhook.", body = WebhookResponse, headers(("ETag"))),
        (status = 304, description = "The webhook is as `If-None-Match` has it, but for its last \
            test.", headers(("ETag"))),
    ),
)]
pub async fn read(request: Request) -> Result<Response, Error> {
    let Request {
        merchant,
        config,
        store,
        path,
        headers,
        mut details,
        ..
    } = request;
    let ids = ids(&path, &mut details);
    let (application, id) = details.all(ids)?;
    let deadline = Deadline::with_timeout(config.store_timeout);
    let (_, webhook) = deadline
        .run(
            "reading a webhook",
            find(&store, &merchant, &application, id),
        )
        .await?;
    let body = WebhookResponse::at(&webhook, Timestamp::now());
    body.tag()?.respond(&headers, &body)
}

/// Update application webhook
///
/// Changes where the webhook's deliveries go, whether there are any, and of which events. A webhook
/// can be sent back as it was read: other members are accepted when they say what it says, and else
/// they are read-only fields. The application must belong to the authenticated merchant.
#[utoipa::path(
    patch, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}",
    operation_id = "updateWebhook", tag = "Webhooks",
    params(ApplicationPath, WebhookPath, IfMatchHeader, IfNoneMatchHeader),
    request_body(content(
        (WebhookChange = "application/json"), (WebhookChange = "application/merge-patch+json"),
    )),
    responses((status = 200, description = "The webhook as it is now.", body = WebhookResponse,
        headers(("ETag")))),
)]
pub async fn change(request: Request) -> Result<Response, Error> {
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
    let body = Object::read_change(&headers, body, &mut details).await?;
    if body.is_empty() {
        details.add(
            "body",
            "Must have at least one of url, isActive and subscribedEvents",
        );
    }
    // What the webhook says already can be sent back. If that is the question, it is answered once
    // the webhook is read.
    let can_wait = details.is_empty();
    let mut change = RequestedChange::read(body.clone(), None, config, &mut details)?;
    let must_wait = can_wait && (body.has(&READ_ONLY) || details.has(&CHANGEABLE));
    if must_wait {
        details = Details::default();
    }
    let (application, id) = details.all(ids)?;

    let deadline = Deadline::with_timeout(config.store_timeout);
    let found = find_for_change(&store, &merchant, &application, id, config, &request_id);
    let mut webhook = deadline.run("reading a webhook", found).await?;
    WebhookResponse::from(&webhook)
        .tag()?
        .check_change(&headers)?;
    if must_wait {
        let mut details = Details::default();
        change = RequestedChange::read(body, Some(&webhook), config, &mut details)?;
        details.finish()?;
    }
    let before = webhook.settings();
    let mut settings = before.clone();
    if let Some(url) = change.url {
        settings.url = url.as_str().to_owned();
    }
    if let Some(is_active) = change.is_active {
        settings.set_active(is_active);
    }
    if let Some(events) = change.subscribed_events {
        settings.subscribed_events = events;
    }
    if settings != before {
        settings.updated_at = Timestamp::now().max(webhook.updated_at());
        let key = keys::webhook_settings(&application, id);
        deadline
            .run("changing a webhook", store.set_document(&key, &settings))
            .await?;
        webhook.settings = Some(settings);
    }
    let body = WebhookResponse::at(&webhook, Timestamp::now());
    Ok(body.tag()?.on(response::json(StatusCode::OK, &body)?))
}

/// What a request changes.
struct RequestedChange {
    url: Option<EndpointUrl>,
    is_active: Option<bool>,
    subscribed_events: Option<SubscribedEvents>,
}

/// The members that a request can change.
const CHANGEABLE: [&str; 3] = ["url", "isActive", "subscribedEvents"];

/// The other members that responses show.
const READ_ONLY: [&str; 8] = [
    "id",
    "keyFingerprint",
    "signingSecret",
    "lastTestAt",
    "lastTestStatus",
    "createdAt",
    "updatedAt",
    "previousSecrets",
];

impl RequestedChange {
    /// Reads a body, noting what is wrong with it. Members that say what the `webhook` says are no
    /// change; without it, read-only members are not looked at.
    fn read(
        mut body: Object,
        webhook: Option<&Webhook>,
        config: &Config,
        details: &mut Details,
    ) -> Result<Self, Error> {
        match webhook {
            None => body.ignore(&READ_ONLY),
            Some(webhook) => {
                let shown = WebhookResponse::at(webhook, Timestamp::now());
                body.drop_unchanged(&shown, &READ_ONLY)?;
            }
        }
        let current = webhook.map(|webhook| webhook.settings().subscribed_events);
        let change = Self {
            url: body.optional("url", details, |value| url(value, config)),
            is_active: body.optional("isActive", details, |value| {
                value.as_bool().ok_or("Must be true or false")
            }),
            subscribed_events: body.optional("subscribedEvents", details, |value| {
                subscribed_events(value, config, current.as_ref())
            }),
        };
        body.finish_change(&READ_ONLY, details);
        Ok(change)
    }
}

/// Delete application webhook
///
/// Deletes the webhook and its secrets. The application must belong to the authenticated merchant.
#[utoipa::path(
    delete, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}",
    operation_id = "deleteWebhook", tag = "Webhooks",
    params(ApplicationPath, WebhookPath, IfMatchHeader, IfNoneMatchHeader),
    responses((status = 204, description = "The webhook is gone.")),
)]
pub async fn delete(request: Request) -> Result<Response, Error> {
    let Request {
        merchant,
        config,
        store,
        request_id,
        path,
        headers,
        mut details,
        ..
    } = request;
    let ids = ids(&path, &mut details);
    let (application, id) = details.all(ids)?;
    let deadline = Deadline::with_timeout(config.store_timeout);
    let found = find_to_delete(&store, &merchant, &application, id, config, &request_id);
    let webhook = deadline.run("reading a webhook", found).await?;
    if etag::is_conditional(&headers) {
        WebhookResponse::from(&webhook?)
            .tag()?
            .check_change(&headers)?;
    }
    deadline
        .run(
            "deleting a webhook",
            store.delete(&keys::webhook(&application, id)),
        )
        .await?;
    // It is gone: what is left of it is never read, and no failure of the client's request.
    let mut index = index::unloaded_webhooks(&store, &application);
    let gone = BTreeSet::from([id]);
    let cleared = deadline
        .run(
            "clearing up after a webhook",
            try_join(
                webhooks::clear_webhook(&store, &application, id),
                index.remove(&gone),
            ),
        )
        .await;
    if let Err(error) = cleared {
        compensation::compensate(&error, &deadline, &request_id, async move || {
            webhooks::clear_webhook(&store, &application, id).await?;
            index.restore().await
        });
    }
    Ok(response::empty(StatusCode::NO_CONTENT))
}

/// The secret that the response to a webhook's create showed, for a repeat of it.
///
/// # Errors
///
/// [`idempotency::OVERTAKEN`] when deliveries are not signed with it any more, and
/// [`Error::Dependency`] when it cannot be decrypted.
fn first_secret(
    webhook: &Webhook,
    config: &Config,
    now: Timestamp,
) -> Result<SigningSecret, Error> {
    let first = webhook.first_secret();
    if !webhook.live_secrets(now).contains(&first) {
        return Err(idempotency::OVERTAKEN);
    }
    webhooks::open_secret(webhook.created.id, first, &config.secrets_key)
}

/// The path's two ids.
pub(super) fn ids(path: &Path, details: &mut Details) -> Option<(ApplicationId, WebhookId)> {
    let application = path.application(details);
    let webhook = path.webhook(details);
    application.zip(webhook)
}

/// [`find`], where the merchant may change it now; counts the change.
///
/// # Errors
///
/// Those of [`counted`], [`find`] and [`check_enabled`].
pub(super) async fn find_for_change(
    store: &Store,
    merchant: &MerchantId,
    application: &ApplicationId,
    id: WebhookId,
    config: &Config,
    request_id: &str,
) -> Result<Webhook, Error> {
    find_to_delete(store, merchant, application, id, config, request_id).await?
}

/// As [`find_for_change`], but a webhook that cannot be read is found too, with the reason: who
/// deletes it need not read it.
async fn find_to_delete(
    store: &Store,
    merchant: &MerchantId,
    application: &ApplicationId,
    id: WebhookId,
    config: &Config,
    request_id: &str,
) -> Result<Listed<Webhook>, Error> {
    let found = find_listed(store, merchant, application, id);
    let (owned, webhook) = counted(store, merchant, config, request_id, found).await?;
    check_enabled(&owned)?;
    Ok(webhook)
}

/// The merchant's webhook, with its application.
///
/// # Errors
///
/// [`Error::NotFound`], [`Error::Forbidden`], or the store's failure.
async fn find(
    store: &Store,
    merchant: &MerchantId,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<(Application, Webhook), Error> {
    let (owned, webhook) = find_listed(store, merchant, application, id).await?;
    Ok((owned, webhook?))
}

async fn find_listed(
    store: &Store,
    merchant: &MerchantId,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<(Application, Listed<Webhook>), Error> {
    let webhook = async { listed(webhooks::webhook(store, application, id).await) };
    let (owned, webhook) = owned_application_and(store, application, merchant, webhook).await?;
    Ok((owned, webhook.ok_or(Error::NotFound)?))
}

/// # Errors
///
/// [`Error::Disabled`].
pub(super) fn check_enabled(application: &Application) -> Result<(), Error> {
    if application.is_enabled() {
        return Ok(());
    }
    Err(Error::Disabled)
}

fn url(value: Value, config: &Config) -> Result<EndpointUrl, String> {
    let Value::String(text) = value else {
        return Err("Must be a string".to_owned());
    };
    EndpointUrl::parse(&text, config.allow_insecure_urls).map_err(|error| error.to_string())
}

fn subscribed_events(
    value: Value,
    config: &Config,
    current: Option<&SubscribedEvents>,
) -> Result<SubscribedEvents, String> {
    let names = value.as_array().and_then(|names| {
        let names = names.iter().map(Value::as_str);
        names.collect::<Option<Vec<_>>>()
    });
    let names = names.ok_or("Must be an array of strings")?;
    SubscribedEvents::choose(&names, &config.event_types, current)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_that_is_shown_can_be_changed_or_is_read_only() {
        let webhook = Webhook::new(WebhookRecord {
            v: WebhookRecord::VERSION,
            id: WebhookId::generate(),
            application_id: None,
            url: "https://example.com/".to_owned(),
            is_active: true,
            subscribed_events: SubscribedEvents::Every,
            secret: serde_json::from_str(r#"{"fingerprint":"x","sealed":"x"}"#).unwrap(),
            created_at: Timestamp::from_millis(0),
        });
        let shown = WebhookResponse::at(&webhook, Timestamp::from_millis(0));
        let shown = shown.with_secret(&SigningSecret::generate());
        let shown = serde_json::to_value(shown).unwrap();
        let mut shown: Vec<&str> = shown
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut known = [&CHANGEABLE[..], &READ_ONLY].concat();
        shown.sort_unstable();
        known.sort_unstable();
        assert_eq!(shown, known);
    }
}
