//! Webhooks as the store holds them: each is several documents.

use std::future::Future;

use futures::future::{join3, try_join, try_join3};

use super::key_value::Store;
use super::keys;
use crate::concurrency::try_join_bounded;
use crate::http::error::Error;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::rotation::Rotations;
use crate::model::webhook::{LastTest, Webhook, WebhookRecord, WebhookSettings};

/// The webhook.
///
/// # Errors
///
/// The store's failure.
pub async fn webhook(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Option<Webhook>, Error> {
    let (created, changes) = try_join(
        webhook_created(store, application, id),
        changes(store, application, id),
    )
    .await?;
    Ok(created.map(|created| changes.of(created)))
}

/// Those of these webhooks that are there, as they were created, in the order of the ids.
///
/// # Errors
///
/// The store's failure.
pub async fn load_records(
    store: &Store,
    application: &ApplicationId,
    ids: &[WebhookId],
) -> Result<Vec<WebhookRecord>, Error> {
    let reads = ids
        .iter()
        .copied()
        .map(|id| webhook_created(store, application, id));
    join_existing(reads).await
}

async fn webhook_created(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Option<WebhookRecord>, Error> {
    let key = keys::webhook(application, id);
    let created: Option<WebhookRecord> = store.get_document(&key).await?;
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
pub async fn hydrate(
    store: &Store,
    application: &ApplicationId,
    created: impl Iterator<Item = WebhookRecord>,
) -> Result<Vec<Webhook>, Error> {
    let reads = created.map(|created| async {
        let changes = changes(store, application, created.id).await?;
        Ok(Some(changes.of(created)))
    });
    join_existing(reads).await
}

pub(super) async fn join_existing<T>(
    reads: impl IntoIterator<Item = impl Future<Output = Result<Option<T>, Error>>>,
) -> Result<Vec<T>, Error> {
    Ok(try_join_bounded(reads)
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// What changed of a webhook since it was created.
struct Changes {
    settings: Option<WebhookSettings>,
    rotations: Option<Rotations>,
    last_test: Option<LastTest>,
}

impl Changes {
    fn of(self, created: WebhookRecord) -> Webhook {
        Webhook {
            created,
            settings: self.settings,
            rotations: self.rotations.unwrap_or_default(),
            last_test: self.last_test,
        }
    }
}

async fn changes(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Changes, Error> {
    let keys = (
        keys::webhook_settings(application, id),
        keys::webhook_secrets(application, id),
        keys::webhook_test(application, id),
    );
    let (settings, rotations, last_test) = try_join3(
        store.get_document(&keys.0),
        store.get_document(&keys.1),
        store.get_document(&keys.2),
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
pub async fn clear_webhook(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<(), Error> {
    let (settings, secrets, test) = join3(
        store.delete(&keys::webhook_settings(application, id)),
        store.delete(&keys::webhook_secrets(application, id)),
        store.delete(&keys::webhook_test(application, id)),
    )
    .await;
    settings.and(secrets).and(test)
}
