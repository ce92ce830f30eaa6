//! Applications and webhooks as the store holds them: each is several documents, because what
//! different actors write about one thing lives under different keys.

use std::future::Future;

use futures::future::{join3, try_join, try_join3};

use crate::application::{self, Application, ApplicationId, MerchantId};
use crate::error::Error;
use crate::many;
use crate::store::{self, keys};
use crate::webhook::{self, LastTest, Rotations, Webhook, WebhookId};

/// The application.
///
/// # Errors
///
/// The store's failure.
pub async fn application(id: &ApplicationId) -> Result<Option<Application>, Error> {
    let (created, settings) = try_join(
        store::get_document(&keys::application(id)),
        store::get_document(&keys::application_settings(id)),
    )
    .await?;
    Ok(created.map(|created| Application {
        id: id.clone(),
        created,
        settings,
    }))
}

/// The application, if it is the merchant's.
///
/// # Errors
///
/// [`Error::NotFound`], [`Error::Forbidden`], or the store's failure.
pub async fn owned_application(
    id: &ApplicationId,
    merchant: &MerchantId,
) -> Result<Application, Error> {
    let application = application(id).await?.ok_or(Error::NotFound)?;
    if application.created.merchant_id != *merchant {
        return Err(Error::Forbidden);
    }
    Ok(application)
}

/// The application, if it is the merchant's, and what `beside` reads meanwhile. Whose application
/// it is comes first: until that is known, nothing that `beside` finds is told.
///
/// # Errors
///
/// As [`owned_application`], then those of `beside`.
pub async fn owned_application_and<T>(
    id: &ApplicationId,
    merchant: &MerchantId,
    beside: impl Future<Output = Result<T, Error>>,
) -> Result<(Application, T), Error> {
    let beside = async { Ok(beside.await) };
    let (application, beside) = try_join(owned_application(id, merchant), beside).await?;
    Ok((application, beside?))
}

/// One of the applications of a list, or why it cannot be read: one that cannot is no reason to
/// keep the others from the merchant.
pub type Listed<T> = Result<T, Error>;

/// Those of these applications that are there, as they were created, in the order of the ids.
///
/// # Errors
///
/// The store's failure.
pub async fn applications_created(
    ids: &[ApplicationId],
) -> Result<Vec<(ApplicationId, Listed<application::Created>)>, Error> {
    let read = async |id: &ApplicationId| {
        let created = listed(store::get_document(&keys::application(id)).await)?;
        let created = created.map_or_else(|error| Some(Err(error)), |there| there.map(Ok));
        Ok(created.map(|created| (id.clone(), created)))
    };
    let reads: Vec<_> = ids.iter().map(read).collect();
    all_that_are_there(reads).await
}

/// The applications that were created so, with what changed since.
///
/// # Errors
///
/// The store's failure.
pub async fn applications_since(
    created: impl Iterator<Item = (ApplicationId, application::Created)>,
) -> Result<Vec<Listed<Application>>, Error> {
    let reads = created.map(|(id, created)| async {
        let settings = store::get_document(&keys::application_settings(&id)).await;
        Ok(Some(listed(settings)?.map(|settings| Application {
            id,
            created,
            settings,
        })))
    });
    all_that_are_there(reads).await
}

/// Tells a document that cannot be read from a store that fails.
fn listed<T>(read: Result<T, Error>) -> Result<Listed<T>, Error> {
    match read {
        Err(error @ Error::Unreadable(_)) => Ok(Err(error)),
        read => read.map(Ok),
    }
}

/// The webhook.
///
/// # Errors
///
/// The store's failure.
pub async fn webhook(application: &ApplicationId, id: WebhookId) -> Result<Option<Webhook>, Error> {
    let (created, changes) =
        try_join(webhook_created(application, id), changes(application, id)).await?;
    Ok(created.map(|created| changes.of(created)))
}

/// Those of these webhooks that are there, as they were created, in the order of the ids.
///
/// # Errors
///
/// The store's failure.
pub async fn webhooks_created(
    application: &ApplicationId,
    ids: &[WebhookId],
) -> Result<Vec<webhook::Created>, Error> {
    let reads = ids
        .iter()
        .copied()
        .map(|id| webhook_created(application, id));
    all_that_are_there(reads).await
}

async fn webhook_created(
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Option<webhook::Created>, Error> {
    let key = keys::webhook(application, id);
    let created: Option<webhook::Created> = store::get_document(&key).await?;
    match created {
        Some(created) if !created.belongs_under(application, id) => Err(Error::Unreadable(
            format!("store: the document under `{key}` is another webhook's"),
        )),
        read => Ok(read),
    }
}

/// The webhooks that were created so, with what changed since.
///
/// # Errors
///
/// The store's failure.
pub async fn webhooks_since(
    application: &ApplicationId,
    created: impl Iterator<Item = webhook::Created>,
) -> Result<Vec<Webhook>, Error> {
    let reads = created.map(|created| async {
        let changes = changes(application, created.id).await?;
        Ok(Some(changes.of(created)))
    });
    all_that_are_there(reads).await
}

async fn all_that_are_there<T: Send>(
    reads: impl IntoIterator<Item = impl Future<Output = Result<Option<T>, Error>> + Send>,
) -> Result<Vec<T>, Error> {
    Ok(many::all(reads).await?.into_iter().flatten().collect())
}

/// What changed of a webhook since it was created.
struct Changes {
    settings: Option<webhook::Settings>,
    rotations: Option<Rotations>,
    last_test: Option<LastTest>,
}

impl Changes {
    fn of(self, created: webhook::Created) -> Webhook {
        Webhook {
            created,
            settings: self.settings,
            rotations: self.rotations.unwrap_or_default(),
            last_test: self.last_test,
        }
    }
}

async fn changes(application: &ApplicationId, id: WebhookId) -> Result<Changes, Error> {
    let keys = (
        keys::webhook_settings(application, id),
        keys::webhook_secrets(application, id),
        keys::webhook_test(application, id),
    );
    let (settings, rotations, last_test) = try_join3(
        store::get_document(&keys.0),
        store::get_document(&keys.1),
        store::get_document(&keys.2),
    )
    .await?;
    Ok(Changes {
        settings,
        rotations,
        last_test,
    })
}

/// Removes what belongs to a webhook that is gone: its settings, its rotations, its last test.
///
/// # Errors
///
/// The store's failure. What is left is never read.
pub async fn clear_webhook(application: &ApplicationId, id: WebhookId) -> Result<(), Error> {
    let (settings, secrets, test) = join3(
        store::delete(&keys::webhook_settings(application, id)),
        store::delete(&keys::webhook_secrets(application, id)),
        store::delete(&keys::webhook_test(application, id)),
    )
    .await;
    settings.and(secrets).and(test)
}

/// Removes an application with its webhooks. The document that makes the application exist goes
/// after them, so that the merchant can repeat what failed half-way, and before all else, so that
/// an application that is still there has its settings and its name.
///
/// # Errors
///
/// The store's failure. The application is still there then, unless its removal was cut off.
pub async fn delete_application(id: &ApplicationId) -> Result<(), Error> {
    let webhooks = store::webhooks_of(id).await?;
    let removals = webhooks.ids().iter().copied().map(|webhook| async move {
        store::delete(&keys::webhook(id, webhook)).await?;
        clear_webhook(id, webhook).await
    });
    many::all(removals).await?;
    store::delete(&keys::application(id)).await
}

/// Removes what belongs to an application that is gone: the index of its webhooks, its settings,
/// its claim to its name.
///
/// # Errors
///
/// The store's failure. What is left is never read.
pub async fn clear_application(application: &Application) -> Result<(), Error> {
    let id = &application.id;
    let (index, settings) = (keys::webhooks(id), keys::application_settings(id));
    try_join(store::delete(&index), store::delete(&settings)).await?;
    match &application.settings().name {
        Some(name) => release_name(&application.created.merchant_id, name, id).await,
        None => Ok(()),
    }
}

/// The id of the merchant's application that has this name.
///
/// # Errors
///
/// The store's failure.
pub async fn application_named(
    merchant: &MerchantId,
    name: &application::ApplicationName,
) -> Result<Option<ApplicationId>, Error> {
    let claim = store::get_document(&keys::application_name(merchant, name)).await?;
    let Some(id) = claim else {
        return Ok(None);
    };
    // The claim is a hint as the index is: what counts is the application's own name.
    let named = application(&id).await?.filter(|application| {
        application.created.merchant_id == *merchant
            && application.settings().name.as_ref() == Some(name)
    });
    Ok(named.map(|_| id))
}

/// Gives the application a name: claims it, runs `write`, and tells whether the application has the
/// name then. Of two that take one name at the same moment, that is who claimed it last.
///
/// # Errors
///
/// The store's failure.
pub async fn take_name(
    merchant: &MerchantId,
    name: &application::ApplicationName,
    id: &ApplicationId,
    write: impl Future<Output = Result<(), Error>>,
) -> Result<bool, Error> {
    store::set_document(&keys::application_name(merchant, name), id).await?;
    write.await?;
    let named = application_named(merchant, name).await?;
    Ok(named.as_ref() == Some(id))
}

/// Frees a name, if it is this application that has it.
///
/// # Errors
///
/// The store's failure.
pub async fn release_name(
    merchant: &MerchantId,
    name: &application::ApplicationName,
    id: &ApplicationId,
) -> Result<(), Error> {
    let key = keys::application_name(merchant, name);
    let claim: Option<ApplicationId> = store::get_document(&key).await?;
    if claim.as_ref() == Some(id) {
        store::delete(&key).await?;
    }
    Ok(())
}
