//! Applications as the store holds them, and their names.

use std::future::Future;

use futures::future::try_join;

use super::key_value::Store;
use super::webhooks::{clear_webhook, join_existing};
use super::{index, keys};
use crate::concurrency::try_join_bounded;
use crate::http::error::Error;
use crate::model::application::{self, Application, ApplicationRecord};
use crate::model::ids::{ApplicationId, MerchantId};

/// The application.
///
/// # Errors
///
/// The store's failure.
pub async fn application(store: &Store, id: &ApplicationId) -> Result<Option<Application>, Error> {
    let (created, settings) = try_join(
        store.get_document(&keys::application(id)),
        store.get_document(&keys::application_settings(id)),
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
    store: &Store,
    id: &ApplicationId,
    merchant: &MerchantId,
) -> Result<Application, Error> {
    let application = application(store, id).await?.ok_or(Error::NotFound)?;
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
    store: &Store,
    id: &ApplicationId,
    merchant: &MerchantId,
    beside: impl Future<Output = Result<T, Error>>,
) -> Result<(Application, T), Error> {
    let beside = async { Ok(beside.await) };
    let (application, beside) = try_join(owned_application(store, id, merchant), beside).await?;
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
pub async fn load_records(
    store: &Store,
    ids: &[ApplicationId],
) -> Result<Vec<(ApplicationId, Listed<ApplicationRecord>)>, Error> {
    let read = async |id: &ApplicationId| {
        let created = listed(store.get_document(&keys::application(id)).await)?;
        let created = created.map_or_else(|error| Some(Err(error)), |there| there.map(Ok));
        Ok(created.map(|created| (id.clone(), created)))
    };
    let reads: Vec<_> = ids.iter().map(read).collect();
    join_existing(reads).await
}

/// The applications that were created so, with what changed since.
///
/// # Errors
///
/// The store's failure.
pub async fn hydrate(
    store: &Store,
    created: impl Iterator<Item = (ApplicationId, ApplicationRecord)>,
) -> Result<Vec<Listed<Application>>, Error> {
    let reads = created.map(|(id, created)| async {
        let settings = store.get_document(&keys::application_settings(&id)).await;
        Ok(Some(listed(settings)?.map(|settings| Application {
            id,
            created,
            settings,
        })))
    });
    join_existing(reads).await
}

/// Tells a document that cannot be read from a store that fails.
fn listed<T>(read: Result<T, Error>) -> Result<Listed<T>, Error> {
    match read {
        Err(error @ Error::Unreadable(_)) => Ok(Err(error)),
        read => read.map(Ok),
    }
}

/// Removes an application with its webhooks. The document that makes the application exist goes
/// after them, so that the merchant can repeat what failed half-way, and before all else, so that
/// an application that is still there has its settings and its name.
///
/// # Errors
///
/// The store's failure. The application is still there then, unless its removal was cut off.
pub async fn delete_application(store: &Store, id: &ApplicationId) -> Result<(), Error> {
    let webhooks = index::webhooks_of(store, id).await?;
    let removals = webhooks.ids().iter().copied().map(|webhook| async move {
        store.delete(&keys::webhook(id, webhook)).await?;
        clear_webhook(store, id, webhook).await
    });
    try_join_bounded(removals).await?;
    store.delete(&keys::application(id)).await
}

/// Removes what belongs to an application that is gone: the index of its webhooks, its settings,
/// its claim to its name.
///
/// # Errors
///
/// The store's failure. What is left is never read.
pub async fn clear_application(store: &Store, application: &Application) -> Result<(), Error> {
    let id = &application.id;
    let (index, settings) = (keys::webhooks(id), keys::application_settings(id));
    try_join(store.delete(&index), store.delete(&settings)).await?;
    match &application.settings().name {
        Some(name) => release_name(store, &application.created.merchant_id, name, id).await,
        None => Ok(()),
    }
}

/// The id of the merchant's application that has this name.
///
/// # Errors
///
/// The store's failure.
pub async fn application_named(
    store: &Store,
    merchant: &MerchantId,
    name: &application::ApplicationName,
) -> Result<Option<ApplicationId>, Error> {
    let claim = store
        .get_document(&keys::application_name(merchant, name))
        .await?;
    let Some(id) = claim else {
        return Ok(None);
    };
    // The claim is a hint as the index is: what counts is the application's own name.
    let named = application(store, &id).await?.filter(|application| {
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
    store: &Store,
    merchant: &MerchantId,
    name: &application::ApplicationName,
    id: &ApplicationId,
    write: impl Future<Output = Result<(), Error>>,
) -> Result<bool, Error> {
    store
        .set_document(&keys::application_name(merchant, name), id)
        .await?;
    write.await?;
    let named = application_named(store, merchant, name).await?;
    Ok(named.as_ref() == Some(id))
}

/// Frees a name, if it is this application that has it.
///
/// # Errors
///
/// The store's failure.
pub async fn release_name(
    store: &Store,
    merchant: &MerchantId,
    name: &application::ApplicationName,
    id: &ApplicationId,
) -> Result<(), Error> {
    let key = keys::application_name(merchant, name);
    let claim: Option<ApplicationId> = store.get_document(&key).await?;
    if claim.as_ref() == Some(id) {
        store.delete(&key).await?;
    }
    Ok(())
}
