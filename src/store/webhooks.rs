//! Webhooks as the store holds them: each is several documents.

use std::ops::Range;

use futures::future::{join, join3, try_join3};

use super::compensation::remove_orphan;
use super::deadline::Deadline;
use super::index::{self, Index, Page, listed};
use super::key_value::Store;
use super::keys;
use crate::fault::Fault;
use crate::log;
use crate::model::encryption::SecretsKey;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::rotation::{Rotations, StoredSecret};
use crate::model::signing_secret::SigningSecret;
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
) -> Result<Option<Webhook>, Fault> {
    let (created, changes) = join(
        webhook_created(store, application, id),
        changes(store, application, id),
    )
    .await;
    let Some(created) = created? else {
        return Ok(None);
    };
    Ok(Some(changes?.of(created)))
}

/// One page of an application's webhooks, the newest first.
///
/// # Errors
///
/// The store's failure.
pub async fn page(
    store: &Store,
    application: &ApplicationId,
    index: &mut Index<WebhookId>,
    changed: &Changed,
    range: impl Fn(usize) -> Range<usize>,
) -> Result<Page<Webhook>, Fault> {
    let read =
        async |id: &WebhookId| listed(listed_webhook(store, application, *id, changed).await);
    let created_at = |webhook: &Webhook| Some(webhook.created.created_at);
    index.page(range, read, created_at).await
}

/// Which of an application's webhooks have documents beside their own. The others need no more than one read
/// each to be listed.
pub struct Changed(Option<Index<WebhookId>>);

impl Changed {
    /// Reads which. Where that cannot be read, all of them may.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn read(store: &Store, application: &ApplicationId) -> Result<Self, Fault> {
        match index::unloaded_changed(store, application).load().await {
            Err(error @ Fault::Unreadable(_)) => {
                log::unreadable(&error);
                Ok(Self(None))
            }
            read => Ok(Self(Some(read?))),
        }
    }

    fn may_have(&self, id: WebhookId) -> bool {
        self.0.as_ref().is_none_or(|changed| changed.contains(&id))
    }
}

/// As [`webhook`], for a list: of a webhook that is known to be as it was created, only that is read.
async fn listed_webhook(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
    changed: &Changed,
) -> Result<Option<Webhook>, Fault> {
    if changed.may_have(id) {
        return webhook(store, application, id).await;
    }
    match webhook_created(store, application, id).await? {
        Some(created) if !created.is_tracked => {
            let changes = changes(store, application, id).await?;
            Ok(Some(changes.of(created)))
        }
        created => Ok(created.map(Webhook::new)),
    }
}

/// Notes that a webhook has a document beside its own. Whoever is about to write one does so before, so that
/// no list shows the webhook as it was created when a client has read otherwise. It is confirmed afterwards,
/// as every addition to an index.
///
/// # Errors
///
/// The store's failure: then nothing may be written.
pub async fn note_change(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
    deadline: &Deadline,
    request_id: &str,
) -> Result<(), Fault> {
    let mut changed = index::unloaded_changed(store, application).load().await?;
    if changed.contains(&id) {
        return Ok(());
    }
    changed.add(&id, None).await?;
    // Of two first changes at the same moment the one may have overwritten the other.
    while !changed.is_stored(&id).await? {
        changed.add(&id, None).await?;
    }
    changed.confirm_later(id, None, deadline, request_id);
    Ok(())
}

async fn webhook_created(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Option<WebhookRecord>, Fault> {
    let key = keys::webhook(application, id);
    let created: Option<WebhookRecord> = store.get_document(&key).await?;
    match created {
        Some(created) if !created.belongs_under(application, id) => Err(Fault::Unreadable(
            format!("store: the document under `{key}` is another webhook's"),
        )),
        read => Ok(read),
    }
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
) -> Result<Changes, Fault> {
    let keys = (
        keys::webhook_settings(application, id),
        keys::webhook_secrets(application, id),
        keys::webhook_test(application, id),
    );
    let last_test = async {
        let last_test = listed(store.get_document(&keys.2).await)?;
        // Without it a webhook can still be shown, rotated and deleted; the next test replaces it.
        let last_test = last_test.transpose().unwrap_or_else(|error| {
            log::unreadable(&error);
            None
        });
        Ok(last_test)
    };
    let (settings, rotations, last_test) = try_join3(
        store.get_document(&keys.0),
        store.get_document(&keys.1),
        last_test,
    )
    .await?;
    Ok(Changes {
        settings,
        rotations,
        last_test,
    })
}

/// Decrypts a secret of a webhook.
///
/// # Errors
///
/// [`Fault::Dependency`] when `key` does not open it.
pub fn open_secret(
    webhook: WebhookId,
    secret: &StoredSecret,
    key: &SecretsKey,
) -> Result<SigningSecret, Fault> {
    key.open_secret(&webhook.to_string(), &secret.sealed)
        .map_err(|_| {
            Fault::Dependency(format!(
                "store: a secret of webhook {webhook} cannot be decrypted"
            ))
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
) -> Result<(), Fault> {
    let (settings, secrets, test) = join3(
        store.delete(&keys::webhook_settings(application, id)),
        store.delete(&keys::webhook_secrets(application, id)),
        store.delete(&keys::webhook_test(application, id)),
    )
    .await;
    settings.and(secrets).and(test)
}

/// Writes what the merchant changed of a webhook, unless the webhook is gone. Returns whether it is
/// there.
///
/// # Errors
///
/// The store's failure. Then [`remove_orphaned_settings`] is due.
pub async fn write_settings(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
    settings: &WebhookSettings,
) -> Result<bool, Fault> {
    let key = keys::webhook_settings(application, id);
    store.set_document(&key, settings).await?;
    remove_orphaned_settings(store, application, id).await
}

/// Removes the settings of a webhook that is gone. Returns whether it is there.
///
/// # Errors
///
/// The store's failure.
pub async fn remove_orphaned_settings(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<bool, Fault> {
    let key = keys::webhook_settings(application, id);
    remove_orphan(store, &keys::webhook(application, id), &key).await
}

/// Records the result of a webhook's test, unless the webhook is gone.
///
/// # Errors
///
/// The store's failure. Then [`remove_orphaned_test`] is due.
pub async fn record_test(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
    test: &LastTest,
) -> Result<(), Fault> {
    store
        .set_document(&keys::webhook_test(application, id), test)
        .await?;
    remove_orphaned_test(store, application, id).await
}

/// Removes the result of a test whose webhook is gone.
///
/// # Errors
///
/// The store's failure.
pub async fn remove_orphaned_test(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<(), Fault> {
    let (owner, key) = (
        keys::webhook(application, id),
        keys::webhook_test(application, id),
    );
    remove_orphan(store, &owner, &key).await.map(drop)
}
