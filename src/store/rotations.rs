//! The document of a webhook's rotations. Rotations at the same moment, deletes, and what encrypts
//! secrets anew meet here.

use std::time::Duration;

use futures::future::try_join;

use super::deadline::Deadline;
use super::key_value::Store;
use super::keys;
use crate::fault::Fault;
use crate::log;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::rotation::Rotations;
use crate::model::time::Timestamp;
use crate::runtime::{after_response, sleep};

/// What became of rotations that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// They are kept.
    Kept,
    /// The webhook was deleted meanwhile, and its rotations are gone with it.
    WebhookGone,
}

/// Where a webhook's rotations are, and what says that there is the webhook.
pub struct RotationsDocument {
    store: Store,
    rotations: String,
    webhook: String,
}

impl RotationsDocument {
    /// Those of this webhook.
    pub fn of(store: &Store, application: &ApplicationId, id: WebhookId) -> Self {
        Self {
            store: store.clone(),
            rotations: keys::webhook_secrets(application, id),
            webhook: keys::webhook(application, id),
        }
    }

    /// The rotations; `None`: there was none yet.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn read(&self) -> Result<Option<Rotations>, Fault> {
        self.store.get_document(&self.rotations).await
    }

    /// The rotations; `None` where the webhook was deleted meanwhile, and then nothing is left that
    /// opens to a secret of it.
    async fn read_of_existing(&self) -> Result<Option<Rotations>, Fault> {
        let exists = self.store.exists(&self.webhook);
        let (stored, exists) = try_join(self.read(), exists).await?;
        if !exists {
            self.store.delete(&self.rotations).await?;
            return Ok(None);
        }
        Ok(Some(stored.unwrap_or_default()))
    }

    /// Writes the rotations and reads them back; `None` as in [`Self::read_of_existing`].
    async fn write(&self, rotations: &Rotations) -> Result<Option<Rotations>, Fault> {
        self.store.set_document(&self.rotations, rotations).await?;
        self.read_of_existing().await
    }

    /// Writes the rotations until the new one is among those that are read back: a client that gets
    /// a secret must be able to rely on it, also when another rotation is written at the same moment.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn keep(&self, rotations: &mut Rotations, id: WebhookId) -> Result<Written, Fault> {
        loop {
            let Some(stored) = self.write(rotations).await? else {
                return Ok(Written::WebhookGone);
            };
            let is_kept = stored.contains(id);
            rotations.merge(&stored);
            if is_kept {
                return Ok(Written::Kept);
            }
        }
    }

    /// Writes these rotations together with those that are there, until all of them are read back.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn keep_all(&self, rotations: &mut Rotations) -> Result<Written, Fault> {
        loop {
            let Some(stored) = self.read_of_existing().await? else {
                return Ok(Written::WebhookGone);
            };
            rotations.merge(&stored);
            rotations.prune(Timestamp::now());
            if stored.includes(rotations) {
                return Ok(Written::Kept);
            }
            self.store.set_document(&self.rotations, rotations).await?;
        }
    }

    /// Removes a rotation whose secret nobody got, and writes back what it dropped of `before`.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn remove(&self, id: WebhookId, before: &Rotations) -> Result<(), Fault> {
        match self.read().await? {
            Some(mut rotations) if rotations.contains(id) => {
                rotations.remove_uncommitted(id, before);
                self.write(&rotations).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Removes what is there of a webhook that is deleted.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn clear(&self) -> Result<(), Fault> {
        match self.store.exists(&self.webhook).await? {
            true => Ok(()),
            false => self.store.delete(&self.rotations).await,
        }
    }
}

/// Goes on, after the response, to check that the rotation stays.
pub fn confirm_later(
    document: RotationsDocument,
    mut rotations: Rotations,
    id: WebhookId,
    deadline: &Deadline,
    request_id: &str,
) {
    let (deadline, request_id) = (deadline.clone(), request_id.to_owned());
    after_response(async move {
        for pause in [40, 80, 160, 320, 640] {
            sleep(Duration::from_millis(pause)).await;
            let confirm = confirm(&document, &mut rotations, id);
            match deadline.renew().run("confirming a rotation", confirm).await {
                Ok(Written::Kept) => {}
                Ok(Written::WebhookGone) => return,
                Err(error) => log::background(&request_id, "rotation not confirmed", &error),
            }
        }
    });
}

async fn confirm(
    document: &RotationsDocument,
    rotations: &mut Rotations,
    id: WebhookId,
) -> Result<Written, Fault> {
    match document.read().await? {
        // Deleted with its webhook, or still there.
        None => Ok(Written::Kept),
        Some(stored) if stored.contains(id) => Ok(Written::Kept),
        Some(stored) => {
            rotations.merge(&stored);
            rotations.prune(Timestamp::now());
            match rotations.contains(id) {
                true => document.keep(rotations, id).await,
                // A later rotation without grace ended its secret.
                false => Ok(Written::Kept),
            }
        }
    }
}
