//! What was deleted stays deleted, also where a write of its create takes effect afterwards.
//!
//! A create with an `Idempotency-Key` is not compensated. So a write of its document that was cut off can
//! take effect when a repeat is answered already, and the resource deleted. A delete therefore looks again
//! at growing distances for about a minute after its answer ([`look_again`]), and removes what came back.
//! Meanwhile a mark says that it was deleted, and when. A process that dies leaves the mark, by which the
//! doctor knows what came back from what its list has lost.
//!
//! # Why nobody else's document is removed
//!
//! Ids are random, or follow from `secrets_key`, the key, and what was asked for: another webhook has another
//! id. A create can make the same id again only where its record was never kept, because the first
//! request failed at that, and only after the delete's answer, since before it is one of those that the
//! delete is about. Such a document says that it was created after the deletion, and stays
//! ([`Deletion::covers`]). That one deceives who repeats a create with the clock of another process which is
//! slower than the time between the two requests.
//!
//! A webhook that is older than any write of it can be late needs nothing of this: so most deletes cost
//! nothing more, and hold no instance. Neither does one whose create had no key: a client that knows it got
//! the answer to its only write, or the create removes it.

use std::time::Duration;

use futures::future::{try_join, try_join3};
use serde::{Deserialize, Serialize};

use super::applications::clear_application;
use super::compensation::{self, COMPENSATION_TIME};
use super::deadline::Deadline;
use super::index;
use super::key_value::Store;
use super::keys;
use super::webhooks::clear_webhook;
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::application::{Application, ApplicationRecord};
use crate::model::collections::set;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::{Webhook, WebhookRecord};
use crate::runtime::Instant;

/// How long after its creation, at most, a document is believed to be written once more: twice as long as
/// what is late is looked for, because clocks differ.
const CAN_RETURN_FOR: Duration = COMPENSATION_TIME.saturating_mul(2);

/// After so long the process that deleted does not look any more.
const LOOKS_FOR: Duration = Duration::from_secs(600);

/// The document under `webhook-deleted/…` and `application-deleted/…`: a mark that this was deleted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Deletion {
    at: Timestamp,
}

impl Deletion {
    /// The deletion, now, of what says that it was created then.
    fn of(created_at: Timestamp) -> Self {
        Self {
            at: Timestamp::now().max(created_at),
        }
    }

    /// Whether a document that says that it was created then is of what was deleted.
    pub fn covers(&self, created_at: Timestamp) -> bool {
        created_at <= self.at
    }

    /// Whether the process that made it does not look any more.
    pub fn is_left(&self, now: Timestamp) -> bool {
        self.at.plus(LOOKS_FOR) <= now
    }
}

/// Where a deletion is marked.
struct Mark {
    store: Store,
    key: String,
    deletion: Deletion,
}

impl Mark {
    async fn write(&self) -> Result<(), Fault> {
        self.store.set_document(&self.key, &self.deletion).await
    }

    /// Removes it, when what was deleted `begun` cannot come back any more.
    async fn end(&self, begun: Instant) -> Result<(), Fault> {
        match begun.elapsed() >= COMPENSATION_TIME {
            true => self.store.delete(&self.key).await,
            false => Ok(()),
        }
    }
}

/// What was created before needs no second look at its deletion.
pub fn oldest_that_can_return() -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() - CAN_RETURN_FOR.as_millis() as i64)
}

/// A webhook that is being deleted and whose document can come back.
pub struct DeletedWebhook {
    application: ApplicationId,
    id: WebhookId,
    mark: Mark,
}

impl DeletedWebhook {
    /// This webhook; `None`: its document cannot come back.
    pub fn of(store: &Store, application: &ApplicationId, webhook: &Webhook) -> Option<Self> {
        let created = &webhook.created;
        let can_return = created.is_repeatable && created.created_at > oldest_that_can_return();
        can_return.then(|| Self {
            application: application.clone(),
            id: created.id,
            mark: Mark {
                store: store.clone(),
                key: keys::webhook_deleted(application, created.id),
                deletion: Deletion::of(created.created_at),
            },
        })
    }

    /// Marks it as deleted.
    ///
    /// # Errors
    ///
    /// The store's failure. [`Self::look_again`] makes up for it.
    pub async fn mark(&self) -> Result<(), Fault> {
        self.mark.write().await
    }

    /// Removes for about a minute what comes back, then the mark.
    pub fn look_again(self, mut is_marked: bool, deadline: &Deadline, request_id: &str) {
        let begun = Instant::now();
        compensation::look_again(deadline, request_id, async move || {
            if !is_marked {
                self.mark().await?;
                is_marked = true;
            }
            let Mark {
                store, deletion, ..
            } = &self.mark;
            remove_returned(store, &self.application, self.id, Some(deletion)).await?;
            self.mark.end(begun).await
        });
    }
}

/// Removes what is there of a webhook that was deleted; without a `deletion`, because its application is
/// gone. Returns whether there was anything.
///
/// The remains are looked for first: who writes them has read the webhook before, so where it is not there
/// afterwards, they are of the one that was deleted.
///
/// # Errors
///
/// The store's failure.
pub async fn remove_returned(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
    deletion: Option<&Deletion>,
) -> Result<bool, Fault> {
    let remains = (
        keys::webhook_settings(application, id),
        keys::webhook_secrets(application, id),
        keys::webhook_test(application, id),
    );
    let (settings, secrets, test) = try_join3(
        store.exists(&remains.0),
        store.exists(&remains.1),
        store.exists(&remains.2),
    )
    .await?;
    let key = keys::webhook(application, id);
    let is_back = match deletion {
        None => store.exists(&key).await?,
        Some(deletion) => match store.get_document::<WebhookRecord>(&key).await? {
            Some(record) if !deletion.covers(record.created_at) => return Ok(false),
            record => record.is_some(),
        },
    };
    if is_back {
        store.delete(&key).await?;
    }
    let is_any = is_back || settings || secrets || test;
    if is_any {
        clear_webhook(store, application, id).await?;
    }
    Ok(is_any)
}

/// An application that is being deleted.
pub struct DeletedApplication {
    application: Application,
    /// Those of its webhooks whose documents can come back.
    webhooks: Vec<WebhookId>,
    mark: Mark,
}

impl DeletedApplication {
    /// This application, with the webhooks that can come back.
    pub fn of(store: &Store, application: Application, webhooks: Vec<WebhookId>) -> Self {
        let created_at = application.created.created_at;
        let mark = Mark {
            store: store.clone(),
            key: keys::application_deleted(&application.id),
            deletion: Deletion::of(created_at.unwrap_or_else(Timestamp::now)),
        };
        Self {
            application,
            webhooks,
            mark,
        }
    }

    /// Marks it as deleted.
    ///
    /// # Errors
    ///
    /// The store's failure. [`Self::look_again`] makes up for it.
    pub async fn mark(&self) -> Result<(), Fault> {
        self.mark.write().await
    }

    /// Removes for about a minute what comes back, then the mark: the application, its webhooks, and those
    /// whose creates met its deletion. `is_marked`: the mark and all that the delete clears are known to be
    /// done; what is not is done by the first look.
    pub fn look_again(self, mut is_marked: bool, deadline: &Deadline, request_id: &str) {
        let begun = Instant::now();
        compensation::look_again(deadline, request_id, async move || {
            let clears = !is_marked;
            if clears {
                self.mark().await?;
            }
            self.remove_returned(clears).await?;
            is_marked = true;
            self.mark.end(begun).await
        });
    }

    /// Removes what is back; `clears`: also what the delete may have left.
    async fn remove_returned(&self, clears: bool) -> Result<(), Fault> {
        let (store, id) = (&self.mark.store, &self.application.id);
        let left = (
            keys::application_settings(id),
            keys::portal(id),
            keys::webhooks_changed(id),
        );
        let (settings, portal, changed) = try_join3(
            store.exists(&left.0),
            store.exists(&left.1),
            store.exists(&left.2),
        )
        .await?;
        let key = keys::application(id);
        let back: Option<ApplicationRecord> = store.get_document(&key).await?;
        if let Some(record) = &back {
            if !is_of(record, &self.mark.deletion) {
                // Whoever owns the applications has written it anew.
                return Ok(());
            }
            store.delete(&key).await?;
        }
        let index = index::webhooks_of(store, id).await?;
        let listed: Vec<_> = index.ids().copied().collect();
        let webhooks = set(listed.iter().chain(&self.webhooks).copied());
        let removals = webhooks
            .into_iter()
            .map(|webhook| remove_returned(store, id, webhook, None));
        try_join_bounded(removals).await?;
        let is_any = settings || portal || changed || !listed.is_empty();
        // The list goes last: it says which webhooks were created while the application was deleted.
        match back.is_some() || is_any || clears {
            true => clear_application(store, &self.application).await,
            false => Ok(()),
        }
    }
}

/// Whether an application's document is of the application that was deleted. One without these members
/// was written by whoever owns the applications.
pub fn is_of(record: &ApplicationRecord, deletion: &Deletion) -> bool {
    let created_at = record.created_at;
    record.is_repeatable && created_at.is_some_and(|at| deletion.covers(at))
}

/// Whether a webhook is there that is marked as deleted, or whose application is and is gone. For the
/// doctor.
///
/// # Errors
///
/// The store's failure.
pub async fn is_back(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<bool, Fault> {
    let (key, mark) = (
        keys::webhook(application, id),
        keys::webhook_deleted(application, id),
    );
    let (record, deletion): (Option<WebhookRecord>, Option<Deletion>) =
        try_join(store.get_document(&key), store.get_document(&mark)).await?;
    let Some(record) = record else {
        return Ok(false);
    };
    if deletion.is_some_and(|deletion| deletion.covers(record.created_at)) {
        return Ok(true);
    }
    let (owner, mark) = (
        keys::application(application),
        keys::application_deleted(application),
    );
    let (has_owner, is_marked) = try_join(store.exists(&owner), store.exists(&mark)).await?;
    Ok(is_marked && !has_owner)
}

/// Whether an application is there that is marked as deleted. For the doctor.
///
/// # Errors
///
/// The store's failure.
pub async fn is_application_back(store: &Store, id: &ApplicationId) -> Result<bool, Fault> {
    let (key, mark) = (keys::application(id), keys::application_deleted(id));
    let (record, deletion): (Option<ApplicationRecord>, Option<Deletion>) =
        try_join(store.get_document(&key), store.get_document(&mark)).await?;
    let both = record.zip(deletion);
    Ok(both.is_some_and(|(record, deletion)| is_of(&record, &deletion)))
}
