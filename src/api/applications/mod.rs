//! A merchant's applications.

pub mod conflict;
mod creation;
mod representation;
mod request;

use futures::future::try_join3;
use http::StatusCode;

use self::conflict::{NAME_PENDING, NAME_TAKEN};
use self::creation::ApplicationCreation;
use self::representation::ApplicationResponse;
use self::request::{ApplicationChange, CHANGEABLE, NewApplication, READ_ONLY};
use super::create::create as create_resource;
use super::request::{Context, Request};
use crate::fault::Fault;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::etag::{self, EntityTag};
use crate::http::object::Object;
use crate::http::page::{Page, PageQuery};
use crate::http::parameters::{
    ApplicationPath, IdempotencyKeyHeader, IfMatchHeader, IfNoneMatchHeader,
};

use crate::http::response::{self, Response};
use crate::log;
use crate::model::application::{Application, ApplicationSettings};
use crate::model::collections::set;
use crate::store::applications::{self, Holder, Taking};
use crate::store::deletion::{self, DeletedApplication};
use crate::store::{index, keys};

fn respond(application: &Application) -> Result<Response, Error> {
    let body = ApplicationResponse::from(application);
    let response = response::json(StatusCode::OK, &body)?;
    Ok(EntityTag::of(&body)?.on(response))
}

/// Create application
///
/// Creates an application of the authenticated merchant.
#[utoipa::path(
    post, path = "/api/v1/applications", operation_id = "createApplication", tag = "Applications",
    params(IdempotencyKeyHeader),
    request_body = NewApplication,
    responses((status = 201, description = "The application.", body = ApplicationResponse,
        headers(("ETag"), ("Location"), ("Idempotency-Replayed")))),
)]
pub async fn create(mut request: Request) -> Result<Response, Error> {
    let key = request.idempotency_key();
    let mut body = request.body(Object::read).await?;
    let new = NewApplication::read(&mut body, &mut request.details);
    let content = body.finish(&mut request.details);
    let (context, new) = request.begin(new)?;
    let merchant = context.merchant().clone();
    let creation = ApplicationCreation { merchant, new };
    create_resource(context, creation, key, content).await
}

/// List applications
///
/// The authenticated merchant's applications, a page at a time, the newest first.
#[utoipa::path(
    get, path = "/api/v1/applications", operation_id = "listApplications", tag = "Applications",
    params(PageQuery),
    responses((status = 200, description = "A page of applications.", body = Page<ApplicationResponse>)),
)]
pub async fn list(mut request: Request) -> Result<Response, Error> {
    let page = request.page();
    let (context, page) = request.begin(page)?;
    let (store, merchant) = (&context.store, context.merchant());
    let (index, found) = context
        .run("reading applications", async {
            let mut index = index::applications_of(store, merchant).await?;
            let range = |total| page.range(total);
            let found = applications::page(store, merchant, &mut index, range).await?;
            Ok::<_, Fault>((index, found))
        })
        .await?;
    index.tidy_later(&context.deadline);
    let readable = log::readable(found.items, &context.request_id);
    let items = readable.map(|application| ApplicationResponse::from(&application));
    let body = page.of(items.collect::<Vec<_>>(), found.total);
    Ok(response::json(StatusCode::OK, &body)?)
}

/// Get application
///
/// One application. It must belong to the authenticated merchant.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}", operation_id = "getApplication",
    tag = "Applications", params(ApplicationPath, IfMatchHeader, IfNoneMatchHeader),
    responses(
        (status = 200, description = "The application.", body = ApplicationResponse,
            headers(("ETag"))),
        (status = 304, description = "The application is as `If-None-Match` has it.",
            headers(("ETag"))),
    ),
)]
pub async fn read(mut request: Request) -> Result<Response, Error> {
    let id = request.application();
    let (context, id) = request.begin(id)?;
    let application = context.application(&id);
    let application = context.run("reading an application", application).await?;
    if application.created.created_at.is_none() {
        // Written into the store by hand, and so perhaps in no list yet.
        index::unloaded_applications(&context.store, context.merchant()).confirm_later(
            id,
            None,
            &context.deadline,
            &context.request_id,
        );
    }
    let body = ApplicationResponse::from(&application);
    EntityTag::of(&body)?.respond(&context.headers, &body)
}

/// Update application
///
/// Changes the application's name or description, or disables or enables it. An application can be
/// sent back as it was read: other members are accepted when they say what it says, and else they
/// are read-only fields. The application must belong to the authenticated merchant.
#[utoipa::path(
    patch, path = "/api/v1/applications/{applicationId}", operation_id = "updateApplication",
    tag = "Applications", params(ApplicationPath, IfMatchHeader, IfNoneMatchHeader),
    request_body(content(
        (ApplicationChange = "application/json"),
        (ApplicationChange = "application/merge-patch+json"),
    )),
    responses(
        (status = 200, description = "The application as it is now.", body = ApplicationResponse,
            headers(("ETag"))),
        (status = 409),
    ),
)]
pub async fn change(mut request: Request) -> Result<Response, Error> {
    let id = request.application();
    let body = request.body(Object::read_change).await?;
    let details = &mut request.details;
    if body.is_empty() {
        details.add(
            "body",
            "Must have at least one of name, description and isEnabled",
        );
    }
    // What the application says already can be sent back. If that is the question, it is answered
    // once the application is read.
    let can_wait = details.is_empty();
    let mut change = ApplicationChange::read(body.clone(), None, details)?;
    let must_wait = can_wait && (body.has(&READ_ONLY) || details.has(&CHANGEABLE));
    if must_wait {
        *details = Details::default();
    }
    let (context, id) = request.begin(id)?;

    let found = context.application(&id);
    let mut application = context.run_counted("reading an application", found).await?;
    EntityTag::of(&ApplicationResponse::from(&application))?.check_change(&context.headers)?;
    if must_wait {
        let mut details = Details::default();
        change = ApplicationChange::read(body, Some(&application), &mut details)?;
        details.finish()?;
    }
    let before = application.settings();
    let settings = ApplicationSettings {
        name: change.name.or_else(|| before.name.clone()),
        description: change
            .description
            .unwrap_or_else(|| before.description.clone()),
        is_enabled: change.is_enabled.unwrap_or(before.is_enabled),
    };
    if settings != before {
        write(&context, &application, &before, &settings).await?;
        application.settings = Some(settings);
    }
    respond(&application)
}

/// Writes an application's settings, and takes the name that is new in them.
///
/// # Errors
///
/// [`NAME_TAKEN`], [`NAME_PENDING`], [`Error::NotFound`] where the application was deleted meanwhile,
/// and the store's failure. Either way nothing is left of one that is gone.
async fn write(
    context: &Context,
    application: &Application,
    before: &ApplicationSettings,
    settings: &ApplicationSettings,
) -> Result<(), Error> {
    let (store, merchant, id) = (&context.store, context.merchant(), &application.id);
    let renamed = settings
        .name
        .as_ref()
        .filter(|name| before.name.as_ref() != Some(name));
    let key = keys::application_settings(id);
    let write = store.set_document(&key, settings);
    let written = context.run("changing an application", async {
        let refused = match renamed {
            None => {
                write.await?;
                None
            }
            Some(name) => match applications::take_name(store, merchant, name, id, write).await? {
                Taking::Taken => None,
                Taking::Refused(Holder::Application(_)) => return Ok(Err(NAME_TAKEN)),
                Taking::Refused(_) => return Ok(Err(NAME_PENDING)),
                Taking::Lost => {
                    store.set_document(&key, before).await?;
                    Some(NAME_PENDING)
                }
            },
        };
        let exists = applications::remove_orphaned_settings(store, id).await?;
        Ok::<_, Fault>(match (exists, refused) {
            (false, _) => Err(Error::NotFound),
            (true, Some(refused)) => Err(refused),
            (true, None) => Ok(()),
        })
    });
    let written = written.await;
    if let Err(fault) = &written {
        let (store, id) = (store.clone(), id.clone());
        context.compensate(fault.is_timeout(), async move || {
            let removed = applications::remove_orphaned_settings(&store, &id);
            removed.await.map(drop)
        });
    }
    written??;
    if let (Some(old), Some(_)) = (&before.name, renamed) {
        // It has the new name, so the claim to the old one counts for nothing if it stays.
        let release = applications::release_name(store, merchant, old, id);
        let _ = context.run("releasing a name", release).await;
    }
    Ok(())
}

/// Delete application
///
/// Deletes the application and all its webhooks. The application must belong to the authenticated
/// merchant.
#[utoipa::path(
    delete, path = "/api/v1/applications/{applicationId}", operation_id = "deleteApplication",
    tag = "Applications", params(ApplicationPath, IfMatchHeader, IfNoneMatchHeader),
    responses((status = 204, description = "The application is gone, with its webhooks.")),
)]
pub async fn delete(mut request: Request) -> Result<Response, Error> {
    let id = request.application();
    let (context, id) = request.begin(id)?;
    let store = context.store.clone();
    // Its settings do not matter to who deletes it: where they cannot be read it is found all the same.
    let found = async {
        let found = applications::application_and_settings(&store, &id).await?;
        let (application, settings) = found.ok_or(Error::NotFound)?;
        context.check_owner(&id, &application.created)?;
        Ok((application, settings))
    };
    let (application, settings) = context.run_counted("reading an application", found).await?;
    if etag::is_conditional(&context.headers) {
        settings?;
        EntityTag::of(&ApplicationResponse::from(&application))?.check_change(&context.headers)?;
    }
    let since = deletion::oldest_that_can_return();
    let delete = applications::delete_application(&store, &id, since);
    let webhooks = context.run("deleting an application", delete).await?;
    let deleted = DeletedApplication::of(&store, application.clone(), webhooks);
    // It is gone: what is left of it is never read, and no failure of the client's request.
    let mut index = index::unloaded_applications(&store, context.merchant());
    let gone = set([id]);
    let clear = try_join3(
        applications::clear_application(&store, &application),
        index.remove(&gone),
        deleted.mark(),
    );
    let cleared: Result<_, Fault> = context.run("clearing up after an application", clear).await;
    deleted.look_again(cleared.is_ok(), &context.deadline, &context.request_id);
    if let Err(fault) = cleared {
        context.compensate(fault.is_timeout(), async move || index.reconcile().await);
    }
    Ok(response::empty(StatusCode::NO_CONTENT))
}
