//! The index: a set of ids that helps to find documents, and that is reconciled after each write.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::compensation::{COMPENSATION_TIME, LONGEST_PAUSE_WHILE_FAILING};
use super::deadline::Deadline;
use super::key_value::Store;
use super::keys;
use crate::concurrency::try_join_bounded;
use crate::http::error::Error;
use crate::log;
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};
use crate::runtime::{Instant, sleep, spawn, with_jitter};

/// An index: the ids of an application's webhooks, or of a merchant's applications. A set that
/// only helps to find them.
///
/// The store has no transaction, so two writers may overwrite each other's entry. Whoever adds
/// an id therefore makes sure that it stays ([`Self::keep`]). An id without its document is
/// ignored.
#[derive(Clone)]
pub struct Index<Id> {
    store: Store,
    key: String,
    /// The key of an id's document.
    member: fn(&str, &Id) -> String,
    scope: String,
    ids: Vec<Id>,
}

/// What an index can hold.
pub trait Member: Clone + PartialEq + Serialize + DeserializeOwned + 'static {}

impl Member for WebhookId {}
impl Member for ApplicationId {}

/// Reads the index of an application's webhooks.
///
/// # Errors
///
/// The store's failure.
pub async fn webhooks_of(
    store: &Store,
    application: &ApplicationId,
) -> Result<Index<WebhookId>, Error> {
    unloaded_webhooks(store, application).read().await
}

/// The index of an application's webhooks before it is read: as if it were empty.
pub fn unloaded_webhooks(store: &Store, application: &ApplicationId) -> Index<WebhookId> {
    Index {
        store: store.clone(),
        key: keys::webhooks(application),
        member: |application, id| format!("webhook/{application}/{id}"),
        scope: application.to_string(),
        ids: Vec::new(),
    }
}

/// Reads the index of a merchant's applications.
///
/// # Errors
///
/// The store's failure.
pub async fn applications_of(
    store: &Store,
    merchant: &MerchantId,
) -> Result<Index<ApplicationId>, Error> {
    unloaded_applications(store, merchant).read().await
}

/// The index of a merchant's applications before it is read: as if it were empty.
pub fn unloaded_applications(store: &Store, merchant: &MerchantId) -> Index<ApplicationId> {
    Index {
        store: store.clone(),
        key: keys::applications(merchant),
        member: |_, id| keys::application(id),
        scope: String::new(),
        ids: Vec::new(),
    }
}

impl<Id: Member> Index<Id> {
    async fn read(mut self) -> Result<Self, Error> {
        self.ids = self
            .store
            .get_document(&self.key)
            .await?
            .unwrap_or_default();
        Ok(self)
    }

    /// The ids, oldest first as far as is known.
    pub fn ids(&self) -> &[Id] {
        &self.ids
    }

    fn member(&self, id: &Id) -> String {
        (self.member)(&self.scope, id)
    }

    /// The ids that have no document.
    async fn missing(&self) -> Result<Vec<Id>, Error> {
        let keys: Vec<_> = self.ids.iter().map(|id| self.member(id)).collect();
        let found = try_join_bounded(keys.iter().map(|key| self.store.exists(key))).await?;
        let missing = self.ids.iter().zip(found).filter(|(_, found)| !found);
        Ok(missing.map(|(id, _)| id.clone()).collect())
    }

    /// Leaves out the ids that have no document. Asked for when the index looks full.
    pub async fn prune(&mut self) -> Result<(), Error> {
        let missing = self.missing().await?;
        self.ids.retain(|id| !missing.contains(id));
        Ok(())
    }

    /// Adds an id and writes the index.
    pub async fn add(&mut self, id: &Id) -> Result<(), Error> {
        if !self.ids.contains(id) {
            self.ids.push(id.clone());
        }
        self.store.set_document(&self.key, &self.ids).await
    }

    /// Reads the index anew, and writes it without these ids if it has any.
    pub async fn remove(&mut self, gone: &[Id]) -> Result<(), Error> {
        self.ids = self
            .store
            .get_document(&self.key)
            .await?
            .unwrap_or_default();
        let before = self.ids.len();
        self.ids.retain(|id| !gone.contains(id));
        if self.ids.len() == before {
            return Ok(());
        }
        if self.ids.is_empty() {
            return self.store.delete(&self.key).await;
        }
        self.store.set_document(&self.key, &self.ids).await
    }

    /// Removes, after the response, the ids that are not `there` and are still without a document
    /// then. A failure only leaves ids that are ignored.
    pub fn prune_later(mut self, there: &[Id], deadline: &Deadline) {
        /// Where a store is replicated with delay, an index can arrive before what it names.
        const GRACE: Duration = Duration::from_secs(2);

        self.ids.retain(|id| !there.contains(id));
        if self.ids.is_empty() {
            return;
        }
        let deadline = deadline.clone();
        spawn(async move {
            sleep(GRACE).await;
            let _ = deadline
                .renew()
                .run("pruning an index", async {
                    let gone = self.missing().await?;
                    self.remove(&gone).await
                })
                .await;
        });
    }

    /// Goes on, after the response, to check that `id` stays in the index, and writes it back
    /// as the union of all that was seen, until it has stayed for a while.
    pub fn keep(mut self, id: Id, deadline: &Deadline, request_id: &str) {
        let (deadline, request_id) = (deadline.clone(), request_id.to_owned());
        spawn(async move {
            if let Err(error) = self.confirm_added(&id, &deadline).await {
                log::background(&request_id, "index not confirmed", &error);
            }
        });
    }

    async fn confirm_added(&mut self, id: &Id, deadline: &Deadline) -> Result<(), Error> {
        /// How many checks in a row must find the id.
        const GOOD_CHECKS: u32 = 3;
        /// The first pause; after each good check it doubles, up to the longest.
        const PAUSE: Duration = Duration::from_millis(30);
        const LONGEST_PAUSE: Duration = Duration::from_millis(200);

        let started = Instant::now();
        let mut good = 0;
        let mut pause = PAUSE;
        loop {
            sleep(with_jitter(pause)).await;
            let checked = deadline
                .renew()
                .run("checking an index", self.check(id))
                .await;
            match checked {
                Ok(Check::Kept) => good += 1,
                Ok(Check::MemberGone) => return Ok(()),
                // Lost for so long, something else is wrong: `cargo xtask doctor` mends it.
                Ok(Check::WrittenBack) if started.elapsed() > COMPENSATION_TIME => return Ok(()),
                Ok(Check::WrittenBack) => {
                    good = 0;
                    pause = PAUSE;
                    continue;
                }
                // Whoever wrote while the store was away may have overwritten this one.
                Err(error) if started.elapsed() > COMPENSATION_TIME => return Err(error),
                Err(_) => {
                    good = 0;
                    pause = (pause * 2).min(LONGEST_PAUSE_WHILE_FAILING);
                    continue;
                }
            }
            if good == GOOD_CHECKS {
                return Ok(());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn check(&mut self, id: &Id) -> Result<Check, Error> {
        let now: Vec<Id> = self
            .store
            .get_document(&self.key)
            .await?
            .unwrap_or_default();
        if now.contains(id) {
            return Ok(Check::Kept);
        }
        // Deleted meanwhile: not to be brought back.
        if !self.store.exists(&self.member(id)).await? {
            return Ok(Check::MemberGone);
        }
        let seen = std::mem::replace(&mut self.ids, now);
        for id in seen {
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
        self.add(id).await?;
        Ok(Check::WrittenBack)
    }

    /// Writes back the ids that were seen in the index and are not there any more, unless what
    /// they name is gone too.
    ///
    /// For [`compensate`]: a write of the index that was cut off may take effect late, and then undoes
    /// what others added meanwhile.
    pub async fn restore(&mut self) -> Result<(), Error> {
        let mut now: Vec<Id> = self
            .store
            .get_document(&self.key)
            .await?
            .unwrap_or_default();
        self.ids.retain(|id| !now.contains(id));
        self.prune().await?;
        let lost = !self.ids.is_empty();
        now.append(&mut self.ids);
        self.ids = now;
        if lost {
            self.store.set_document(&self.key, &self.ids).await?;
        }
        Ok(())
    }
}

enum Check {
    Kept,
    MemberGone,
    WrittenBack,
}
