//! The webhooks of an application.

mod creation;
pub mod find;
mod representation;
mod request;

use futures::future::{try_join, try_join4};
use http::StatusCode;

use self::creation::WebhookCreation;
use self::find::{find, find_for_change, find_to_delete};
pub use self::representation::WebhookResponse;
use self::request::{CHANGEABLE, NewWebhook, READ_ONLY, WebhookChange};
use super::create::create as create_resource;
use super::request::{Context, Request};
use crate::fault::Fault;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::etag;
use crate::http::object::Object;
use crate::http::page::{Page, PageQuery};
use crate::http::parameters::{
    ApplicationPath, IdempotencyKeyHeader, IfMatchHeader, IfNoneMatchHeader, WebhookPath,
};
use crate::http::response::{self, Response};
use crate::log;
use crate::model::collections::set;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::WebhookSettings;
use crate::store::deletion::DeletedWebhook;
use crate::store::{index, keys, webhooks};

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
pub async fn create(mut request: Request) -> Result<Response, Error> {
    let application = request.application();
    let key = request.idempotency_key();
    let mut body = request.body(Object::read).await?;
    let known = request.config.event_types_of(application.as_ref());
    let new = NewWebhook::read(&mut body, request.config, &known, &mut request.details);
    let content = body.finish(&mut request.details);
    let (context, (application, new)) = request.begin(application.zip(new))?;
    let creation = WebhookCreation { application, new };
    create_resource(context, creation, key, content).await
}

/// List application webhooks
///
/// The application's webhooks, a page at a time, the newest first. The application must belong to
/// the authenticated merchant.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/webhooks", operation_id = "listWebhooks",
    tag = "Webhooks", params(ApplicationPath, PageQuery),
    responses((status = 200, description = "A page of webhooks.",
        body = Page<WebhookResponse>)),
)]
pub async fn list(mut request: Request) -> Result<Response, Error> {
    let application = request.application();
    let page = request.page();
    let (context, (application, page)) = request.begin(application.zip(page))?;
    let store = &context.store;
    let (index, found) = context
        .run("reading webhooks", async {
            let lists = try_join(
                index::webhooks_of(store, &application),
                webhooks::Changed::read(store, &application),
            );
            let lists = context.authorize(&application, lists).await?;
            let (mut index, changed) = lists?;
            let range = |total| page.range(total);
            let found = webhooks::page(store, &application, &mut index, &changed, range).await?;
            Ok::<_, Error>((index, found))
        })
        .await?;
    index.tidy_later(&context.deadline);
    let webhooks: Vec<_> = log::readable(found.items, &context.request_id).collect();
    let items = webhooks
        .iter()
        .map(|webhook| WebhookResponse::at(webhook, context.arrived));
    let body = page.of(items.collect::<Vec<_>>(), found.total);
    Ok(response::json(StatusCode::OK, &body)?)
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
pub async fn read(mut request: Request) -> Result<Response, Error> {
    let ids = request.webhook();
    let (context, (application, id)) = request.begin(ids)?;
    let webhook = find(&context, &application, id).await?;
    let body = WebhookResponse::at(&webhook, context.arrived);
    body.tag()?.respond(&context.headers, &body)
}

/// Update application webhook
///
/// Changes where the webhook's deliveries go, whether there are any, and of which events. One that the
/// service made inactive is active again with `isActive: true`, and nothing that failed before counts.
/// A webhook can be sent back as it was read: other members are accepted when they say what it says, and
/// else they are read-only fields. The application must belong to the authenticated merchant.
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
pub async fn change(mut request: Request) -> Result<Response, Error> {
    let ids = request.webhook();
    let body = request.body(Object::read_change).await?;
    let (config, details) = (request.config, &mut request.details);
    let known = config.event_types_of(ids.as_ref().map(|(application, _)| application));
    if body.is_empty() {
        details.add(
            "body",
            "Must have at least one of url, isActive and subscribedEvents",
        );
    }
    // What the webhook says already can be sent back. If that is the question, it is answered once
    // the webhook is read.
    let can_wait = details.is_empty();
    let mut change = WebhookChange::read(body.clone(), None, config, &known, details)?;
    let must_wait = can_wait && (body.has(&READ_ONLY) || details.has(&CHANGEABLE));
    if must_wait {
        *details = Details::default();
    }
    let (context, (application, id)) = request.begin(ids)?;

    let mut webhook = find_for_change(&context, &application, id).await?;
    WebhookResponse::from(&webhook)
        .tag()?
        .check_change(&context.headers)?;
    if must_wait {
        let mut details = Details::default();
        change = WebhookChange::read(body, Some(&webhook), config, &known, &mut details)?;
        details.finish()?;
    }
    let before = WebhookSettings::from(webhook.settings());
    let mut settings = before.clone();
    let now = Timestamp::now().max(webhook.updated_at());
    if let Some(url) = change.url {
        settings.set_url(url.as_str(), now);
    }
    // One that the service made inactive is so already.
    if let Some(is_active) = change.is_active.filter(|it| *it != webhook.is_active()) {
        settings.set_active(is_active, now);
    }
    if let Some(events) = change.subscribed_events {
        settings.subscribed_events = events;
    }
    if settings != before {
        settings.updated_at = now;
        write(&context, &application, id, &settings).await?;
        webhook.settings = Some(settings);
    }
    let body = WebhookResponse::at(&webhook, Timestamp::now());
    Ok(body.tag()?.on(response::json(StatusCode::OK, &body)?))
}

/// Writes a webhook's settings.
///
/// # Errors
///
/// [`Error::NotFound`] where the webhook was deleted meanwhile, and the store's failure. Either way
/// nothing is left of one that is gone.
async fn write(
    context: &Context,
    application: &ApplicationId,
    id: WebhookId,
    settings: &WebhookSettings,
) -> Result<(), Error> {
    let (store, deadline) = (&context.store, &context.deadline);
    let written = context.run("changing a webhook", async {
        webhooks::note_change(store, application, id, deadline, &context.request_id).await?;
        webhooks::write_settings(store, application, id, settings).await
    });
    let written = written.await;
    if let Err(fault) = &written {
        let (store, application) = (context.store.clone(), application.clone());
        context.compensate(fault.is_timeout(), async move || {
            let removed = webhooks::remove_orphaned_settings(&store, &application, id);
            removed.await.map(drop)
        });
    }
    match written? {
        true => Ok(()),
        false => Err(Error::NotFound),
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
pub async fn delete(mut request: Request) -> Result<Response, Error> {
    let ids = request.webhook();
    let (context, (application, id)) = request.begin(ids)?;
    let webhook = find_to_delete(&context, &application, id).await?;
    let store = context.store.clone();
    let deleted = webhook.as_ref().ok();
    let deleted = deleted.and_then(|webhook| DeletedWebhook::of(&store, &application, webhook));
    if etag::is_conditional(&context.headers) {
        WebhookResponse::from(&webhook?)
            .tag()?
            .check_change(&context.headers)?;
    }
    let key = keys::webhook(&application, id);
    let delete = store.delete(&key);
    context.run("deleting a webhook", delete).await?;
    // It is gone: what is left of it is never read, and no failure of the client's request.
    let mut index = index::unloaded_webhooks(&store, &application);
    let mut changed = index::unloaded_changed(&store, &application);
    let gone = set([id]);
    let mark = async {
        match &deleted {
            Some(deleted) => deleted.mark().await,
            None => Ok(()),
        }
    };
    let clear = try_join4(
        webhooks::clear_webhook(&store, &application, id),
        index.remove(&gone),
        changed.remove(&gone),
        mark,
    );
    let cleared: Result<_, Fault> = context.run("clearing up after a webhook", clear).await;
    let clears_itself = deleted.is_some();
    if let Some(deleted) = deleted {
        deleted.look_again(cleared.is_ok(), &context.deadline, &context.request_id);
    }
    if let Err(fault) = cleared {
        context.compensate(fault.is_timeout(), async move || {
            // Who looks again removes only what is of this webhook.
            if !clears_itself {
                webhooks::clear_webhook(&store, &application, id).await?;
            }
            index.reconcile().await?;
            changed.reconcile().await
        });
    }
    Ok(response::empty(StatusCode::NO_CONTENT))
}
