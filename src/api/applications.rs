//! A merchant's applications.

use std::collections::BTreeSet;

use futures::future::try_join;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::http::body::Object;
use crate::http::details::Details;
use crate::http::error::{Error, Reason};
use crate::http::etag::{self, EntityTag};
use crate::http::idempotency::{self, IdempotencyKey, Lookup, StoredResponse};
use crate::http::page::PageQuery;
use crate::http::parameters::{
    ApplicationPath, IdempotencyKeyHeader, IfMatchHeader, IfNoneMatchHeader,
};
use crate::http::request::Request;
use crate::log;
use crate::model::application::Application;
use crate::model::application::ApplicationName;
use crate::model::application::ApplicationRecord;
use crate::model::application::ApplicationSettings;
use crate::model::ids::ApplicationId;
use crate::model::time::Timestamp;
use crate::store::rate_limit::{counted, counted_unless};

use crate::http::response::{self, Response};
use crate::store::applications::{self, Holder, Taking, owned_application};
use crate::store::compensation;
use crate::store::deadline::Deadline;
use crate::store::index;
use crate::store::keys;

/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 250;

pub(crate) const NAME_TAKEN: Error = Error::Conflict {
    reason: Reason::NameTaken,
    message: "Another application has this name",
};

pub(crate) const NAME_PENDING: Error = Error::Conflict {
    reason: Reason::NamePending,
    message: "Another application is being given this name. Retry in a few seconds",
};

pub(crate) const TOO_MANY_APPLICATIONS: Error = Error::Conflict {
    reason: Reason::TooManyApplications,
    message: "The merchant already has the maximum number of applications",
};

/// An application as responses show it. One that was written into the store by hand may lack a
/// name and the time of its creation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(
    as = Application, description = "An application of a merchant."
)]
pub struct ApplicationBody {
    /// ID of the application.
    #[schema(inline)]
    id: ApplicationId,
    /// Its name. No two applications of a merchant have the same. `null` only where the platform
    /// made the application without one.
    #[schema(inline, required)]
    name: Option<ApplicationName>,
    /// What the merchant says of it.
    #[schema(
        required,
        max_length = 250,
        examples("The shop at kadosei.example.com")
    )]
    description: Option<String>,
    /// Whether it accepts changes and tests. A disabled application keeps its webhooks and accepts
    /// reads.
    #[schema(examples(true))]
    is_enabled: bool,
    /// When it was created. `null` only where the platform made the application without it.
    #[schema(inline, required)]
    created_at: Option<Timestamp>,
}

/// The body of [`create`], as the document describes it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "A new application.")]
pub struct NewApplication {
    /// Its name. No two applications of a merchant have the same.
    #[schema(inline)]
    name: ApplicationName,
    /// What the merchant says of it.
    #[schema(max_length = 250, examples("The shop at kadosei.example.com"))]
    description: Option<String>,
}

/// The body of [`change`], as the document describes it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(
    description = "What to change of an application; the rest stays.",
    min_properties = 1
)]
pub struct ApplicationChange {
    /// Its name. No two applications of a merchant have the same.
    #[schema(inline, nullable = false)]
    name: Option<ApplicationName>,
    /// What the merchant says of it; `null` takes it away.
    #[schema(max_length = 250, examples("The shop at kadosei.example.com"))]
    description: Option<String>,
    /// Whether it accepts changes and tests.
    #[schema(nullable = false, examples(false))]
    is_enabled: Option<bool>,
}

impl From<&Application> for ApplicationBody {
    fn from(application: &Application) -> Self {
        let settings = application.settings();
        Self {
            id: application.id.clone(),
            name: settings.name,
            description: settings.description,
            is_enabled: settings.is_enabled,
            created_at: application.created.created_at,
        }
    }
}

fn respond(application: &Application) -> Result<Response, Error> {
    let body = ApplicationBody::from(application);
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
    responses((status = 201, description = "The application.", body = ApplicationBody,
        headers(("ETag"), ("Location"), ("Idempotency-Replayed")))),
)]
pub async fn create(request: Request) -> Result<Response, Error> {
    let Request {
        merchant,
        config,
        store,
        request_id,
        headers,
        body,
        mut details,
        ..
    } = request;
    let key = IdempotencyKey::read(&headers, &mut details);
    let mut body = Object::read(&headers, body, &mut details).await?;
    let name = body.required("name", &mut details, name);
    let description = body.optional("description", &mut details, description);
    let content = body.finish(&mut details);
    let name = details.all(name)?;

    let now = Timestamp::now();
    let deadline = Deadline::with_timeout(config.store_timeout);
    let scope = format!("create-application\n{}", merchant.as_str());
    let reads = try_join(
        index::applications_of(&store, &merchant),
        idempotency::look_up(&store, key.as_ref(), &scope, &content, config, now),
    );
    let (mut index, lookup) = deadline
        .run(
            "reading applications",
            counted_unless(
                &store,
                &merchant,
                config,
                &request_id,
                reads,
                |(_, lookup)| matches!(lookup, Lookup::Hit(_)),
            ),
        )
        .await?;
    let used = match lookup {
        Lookup::Hit(replay) => return replay.response(None),
        Lookup::Miss(used) => used,
    };
    let (made, _) = used.id_and_secret(config);
    let id = ApplicationId::from(made);
    if index.is_full(config.max_applications, &id) {
        deadline.run("counting applications", index.prune()).await?;
    }
    if index.is_full(config.max_applications, &id) {
        return Err(TOO_MANY_APPLICATIONS);
    }

    let application = Application {
        id: id.clone(),
        created: ApplicationRecord {
            merchant_id: merchant.clone(),
            name: Some(name.clone()),
            description: description.flatten(),
            created_at: Some(now),
        },
        settings: None,
    };
    let body = ApplicationBody::from(&application);
    let kept = StoredResponse::new(
        StatusCode::CREATED,
        Some(format!("/api/v1/applications/{id}")),
        &EntityTag::of(&body)?,
        &body,
        None,
    )?;
    let document = keys::application(&id);
    let written = deadline
        .run("creating an application", async {
            // The document last: an application that is there has its name and is in the list.
            let add = index.add(&id, Some(now));
            match applications::take_name(&store, &merchant, &name, &id, add).await? {
                Taking::Taken => {}
                Taking::Refused(Holder::Application(other)) => {
                    // The index may have lost it: the merchant must be able to find it.
                    if !index.contains(&other.id) {
                        index.add(&other.id, other.created.created_at).await?;
                    }
                    return Ok(Err(NAME_TAKEN));
                }
                Taking::Refused(_) => return Ok(Err(NAME_PENDING)),
                Taking::Lost => {
                    index.remove(&BTreeSet::from([id.clone()])).await?;
                    return Ok(Err(NAME_PENDING));
                }
            }
            store.set_document(&document, &application.created).await?;
            used.keep(&store, made, &kept, config, now).await?;
            Ok(Ok(()))
        })
        .await;
    match written {
        Ok(written) => written?,
        Err(error) => {
            // Else the name stays taken by an application that nobody was told of. One that was
            // created with a key is told by a repeat.
            let retract = !used.is_repeatable();
            compensation::compensate(&error, &deadline, &request_id, async move || {
                if retract {
                    store.delete(&document).await?;
                    applications::release_name(&store, &merchant, &name, &id).await?;
                }
                index.restore().await
            });
            return Err(error);
        }
    }
    index.keep(id, Some(now), &deadline, &request_id);
    kept.response(None)
}

/// List applications
///
/// The authenticated merchant's applications, a page at a time, the newest first.
#[utoipa::path(
    get, path = "/api/v1/applications", operation_id = "listApplications", tag = "Applications",
    params(PageQuery),
    responses((status = 200, description = "A page of applications.", body = crate::http::page::Page<ApplicationBody>)),
)]
pub async fn list(request: Request) -> Result<Response, Error> {
    let Request {
        merchant,
        config,
        store,
        request_id,
        query,
        mut details,
        ..
    } = request;
    let page = PageQuery::read(&query, &mut details);
    let page = details.all(page)?;
    let deadline = Deadline::with_timeout(config.store_timeout);
    let (index, found) = deadline
        .run("reading applications", async {
            let mut index = index::applications_of(&store, &merchant).await?;
            let range = |total| page.range(total);
            let found = applications::page(&store, &merchant, &mut index, range).await?;
            Ok((index, found))
        })
        .await?;
    index.tidy_later(&deadline);
    let readable = log::readable(found.items, &request_id);
    let items = readable.map(|application| ApplicationBody::from(&application));
    response::json(
        StatusCode::OK,
        &page.of::<ApplicationBody>(items.collect(), found.total),
    )
}

/// Get application
///
/// One application. It must belong to the authenticated merchant.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}", operation_id = "getApplication",
    tag = "Applications", params(ApplicationPath, IfMatchHeader, IfNoneMatchHeader),
    responses(
        (status = 200, description = "The application.", body = ApplicationBody,
            headers(("ETag"))),
        (status = 304, description = "The application is as `If-None-Match` has it.",
            headers(("ETag"))),
    ),
)]
pub async fn read(request: Request) -> Result<Response, Error> {
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
    let id = path.application(&mut details);
    let id = details.all(id)?;
    let deadline = Deadline::with_timeout(config.store_timeout);
    let application = deadline
        .run(
            "reading an application",
            owned_application(&store, &id, &merchant),
        )
        .await?;
    if application.created.created_at.is_none() {
        // Written into the store by hand, and so perhaps in no list yet.
        index::unloaded_applications(&store, &merchant).keep(
            application.id.clone(),
            None,
            &deadline,
            &request_id,
        );
    }
    let body = ApplicationBody::from(&application);
    EntityTag::of(&body)?.respond(&headers, &body)
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
        (status = 200, description = "The application as it is now.", body = ApplicationBody,
            headers(("ETag"))),
        (status = 409),
    ),
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
    let id = path.application(&mut details);
    let body = Object::read_change(&headers, body, &mut details).await?;
    if body.is_empty() {
        details.add(
            "body",
            "Must have at least one of name, description and isEnabled",
        );
    }
    // What the application says already can be sent back. If that is the question, it is answered
    // once the application is read.
    let can_wait = details.is_empty();
    let mut change = RequestedChange::read(body.clone(), None, &mut details)?;
    let must_wait = can_wait && (body.has(&READ_ONLY) || details.has(&CHANGEABLE));
    if must_wait {
        details = Details::default();
    }
    let id = details.all(id)?;

    let deadline = Deadline::with_timeout(config.store_timeout);
    let owned = owned_application(&store, &id, &merchant);
    let mut application = deadline
        .run(
            "reading an application",
            counted(&store, &merchant, config, &request_id, owned),
        )
        .await?;
    EntityTag::of(&ApplicationBody::from(&application))?.check_change(&headers)?;
    if must_wait {
        let mut details = Details::default();
        change = RequestedChange::read(body, Some(&application), &mut details)?;
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
        let renamed = settings
            .name
            .as_ref()
            .filter(|name| before.name.as_ref() != Some(name));
        let key = keys::application_settings(&id);
        let write = store.set_document(&key, &settings);
        let written = deadline
            .run("changing an application", async {
                let Some(name) = renamed else {
                    write.await?;
                    return Ok(Ok(()));
                };
                match applications::take_name(&store, &merchant, name, &id, write).await? {
                    Taking::Taken => Ok(Ok(())),
                    Taking::Refused(Holder::Application(_)) => Ok(Err(NAME_TAKEN)),
                    Taking::Refused(_) => Ok(Err(NAME_PENDING)),
                    Taking::Lost => {
                        store.set_document(&key, &before).await?;
                        Ok(Err(NAME_PENDING))
                    }
                }
            })
            .await?;
        written?;
        if let (Some(old), Some(_)) = (&before.name, renamed) {
            // It has the new name, so the claim to the old one counts for nothing if it stays.
            let release = applications::release_name(&store, &merchant, old, &id);
            let _ = deadline.run("releasing a name", release).await;
        }
        application.settings = Some(settings);
    }
    respond(&application)
}

/// What a request changes. `Some(None)` is a description that is taken away.
struct RequestedChange {
    name: Option<ApplicationName>,
    description: Option<Option<String>>,
    is_enabled: Option<bool>,
}

/// The members that a request can change.
const CHANGEABLE: [&str; 3] = ["name", "description", "isEnabled"];

/// The other members that responses show.
const READ_ONLY: [&str; 2] = ["id", "createdAt"];

impl RequestedChange {
    /// Reads a body, noting what is wrong with it. Members that say what the `application` says are
    /// no change; without it, read-only members are not looked at.
    fn read(
        mut body: Object,
        application: Option<&Application>,
        details: &mut Details,
    ) -> Result<Self, Error> {
        match application {
            None => body.ignore(&READ_ONLY),
            Some(application) => {
                body.drop_unchanged(&ApplicationBody::from(application), &READ_ONLY)?;
            }
        }
        let change = Self {
            name: body.optional("name", details, name),
            description: body.optional("description", details, description),
            is_enabled: body.optional("isEnabled", details, |value| {
                value.as_bool().ok_or("Must be true or false")
            }),
        };
        body.finish_change(&READ_ONLY, details);
        Ok(change)
    }
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
    let id = path.application(&mut details);
    let id = details.all(id)?;
    let deadline = Deadline::with_timeout(config.store_timeout);
    let owned = applications::owned_application_to_delete(&store, &id, &merchant);
    let (application, settings) = deadline
        .run(
            "reading an application",
            counted(&store, &merchant, config, &request_id, owned),
        )
        .await?;
    if etag::is_conditional(&headers) {
        settings?;
        EntityTag::of(&ApplicationBody::from(&application))?.check_change(&headers)?;
    }
    deadline
        .run(
            "deleting an application",
            applications::delete_application(&store, &application.id),
        )
        .await?;
    // It is gone: what is left of it is never read, and no failure of the client's request.
    let mut index = index::unloaded_applications(&store, &merchant);
    let gone = BTreeSet::from([application.id.clone()]);
    let cleared = deadline
        .run(
            "clearing up after an application",
            try_join(
                applications::clear_application(&store, &application),
                index.remove(&gone),
            ),
        )
        .await;
    if let Err(error) = cleared {
        compensation::compensate(&error, &deadline, &request_id, async move || {
            applications::clear_application(&store, &application).await?;
            index.restore().await
        });
    }
    Ok(response::empty(StatusCode::NO_CONTENT))
}

fn name(value: Value) -> Result<ApplicationName, String> {
    let text = value.as_str().ok_or("Must be a string")?;
    ApplicationName::parse(text).map_err(|error| error.to_string())
}

/// `null` is a description too: none.
fn description(value: Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.chars().count() <= MAX_DESCRIPTION => Ok(Some(text)),
        Value::String(_) => Err("Must have at most 250 characters"),
        _ => Err("Must be a string"),
    }
}
