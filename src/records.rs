//! Applications and webhooks as the store holds them: each is several documents, because what
//! different actors write about one thing lives under different keys.

use futures::future::{join_all, try_join, try_join_all};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::application::{self, Application, ApplicationId, MerchantId};
use crate::error::Error;
use crate::store::{self, keys};
use crate::webhook::{Webhook, WebhookId};

/// How many records are read side by side for a list.
const READ_AHEAD: usize = 32;

/// The application.
///
/// # Errors
///
/// The store's failure.
pub async fn application(id: &ApplicationId) -> Result<Option<Application>, Error> {
    let (created, settings) = try_join(
        store::get_document::<application::Created>(&keys::application(id)),
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

/// The applications of these ids that are there, in the order of the ids.
///
/// # Errors
///
/// The store's failure.
pub async fn applications(ids: &[ApplicationId]) -> Result<Vec<Application>, Error> {
    let reads: Vec<_> = ids.iter().map(application).collect();
    let read: Vec<Option<Application>> = stream::iter(reads)
        .buffered(READ_AHEAD)
        .try_collect()
        .await?;
    Ok(read.into_iter().flatten().collect())
}

/// The webhook.
///
/// # Errors
///
/// The store's failure.
pub async fn webhook(application: &ApplicationId, id: WebhookId) -> Result<Option<Webhook>, Error> {
    let (created_key, settings_key) = (
        keys::webhook(application, id),
        keys::webhook_settings(application, id),
    );
    let (secrets_key, test_key) = (
        keys::webhook_secrets(application, id),
        keys::webhook_test(application, id),
    );
    let ((created, settings), (rotations, last_test)) = try_join(
        try_join(
            store::get_document(&created_key),
            store::get_document(&settings_key),
        ),
        try_join(
            store::get_document::<crate::webhook::Rotations>(&secrets_key),
            store::get_document(&test_key),
        ),
    )
    .await?;
    Ok(created.map(|created| Webhook {
        created,
        settings,
        rotations: rotations.unwrap_or_default(),
        last_test,
    }))
}

/// The webhooks of these ids that are there, in the order of the ids.
///
/// # Errors
///
/// The store's failure.
pub async fn webhooks(
    application: &ApplicationId,
    ids: &[WebhookId],
) -> Result<Vec<Webhook>, Error> {
    let reads: Vec<_> = ids.iter().map(|id| webhook(application, *id)).collect();
    let read: Vec<Option<Webhook>> = stream::iter(reads)
        .buffered(READ_AHEAD)
        .try_collect()
        .await?;
    Ok(read.into_iter().flatten().collect())
}

/// Removes a webhook: first the document that makes it exist, then the rest.
///
/// # Errors
///
/// The store's failure. The webhook is gone if the first removal succeeded; what is left of it
/// then is never read again.
pub async fn delete_webhook(application: &ApplicationId, id: WebhookId) -> Result<(), Error> {
    store::delete(&keys::webhook(application, id)).await?;
    let rest = [
        keys::webhook_settings(application, id),
        keys::webhook_secrets(application, id),
        keys::webhook_test(application, id),
    ];
    let removed = join_all(rest.iter().map(|key| store::delete(key))).await;
    removed.into_iter().collect()
}

/// Removes an application with its webhooks. The application goes last, so that the merchant can
/// repeat what failed half-way.
///
/// # Errors
///
/// The store's failure.
pub async fn delete_application(application: &Application) -> Result<(), Error> {
    let id = &application.id;
    let webhooks = store::webhooks_of(id).await?;
    let removals: Vec<_> = webhooks
        .ids()
        .iter()
        .map(|webhook| delete_webhook(id, *webhook))
        .collect();
    try_join_all(removals).await?;
    let (index, settings) = (keys::webhooks(id), keys::application_settings(id));
    try_join(store::delete(&index), store::delete(&settings)).await?;
    if let Some(name) = &application.settings().name {
        release_name(&application.created.merchant_id, name, id).await?;
    }
    store::delete(&keys::application(id)).await
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

/// Notes that the application has this name.
///
/// # Errors
///
/// The store's failure.
pub async fn claim_name(
    merchant: &MerchantId,
    name: &application::ApplicationName,
    id: &ApplicationId,
) -> Result<(), Error> {
    store::set_document(&keys::application_name(merchant, name), id).await
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
