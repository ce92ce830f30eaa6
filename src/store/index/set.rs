//! The set itself, as it is read, changed and written.

use std::collections::BTreeSet;

use super::entry::{Entries, Entry, Member};
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::collections::{map, set};
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};
use crate::model::time::Timestamp;
use crate::store::key_value::Store;
use crate::store::keys;

/// An index: the ids of an application's webhooks, or of a merchant's applications.
///
/// The store has no transaction, so two writers may overwrite each other's entry. Whoever adds
/// an id therefore makes sure that it stays ([`Self::confirm_later`]). An id without its document is
/// ignored.
#[derive(Clone)]
pub struct Index<Id> {
    pub(super) store: Store,
    pub(super) key: String,
    /// The key of an id's document.
    member: fn(&str, &Id) -> String,
    scope: String,
    pub(super) entries: Vec<Entry<Id>>,
    /// Ids that had no document when a page was read.
    pub(super) suspects: BTreeSet<Id>,
    /// Whether documents said when they were created, and the stored index does not.
    pub(super) is_dated_anew: bool,
}

/// Reads the index of an application's webhooks.
///
/// # Errors
///
/// The store's failure.
pub async fn webhooks_of(
    store: &Store,
    application: &ApplicationId,
) -> Result<Index<WebhookId>, Fault> {
    unloaded_webhooks(store, application).load().await
}

/// The index of an application's webhooks before it is read: as if it were empty.
pub fn unloaded_webhooks(store: &Store, application: &ApplicationId) -> Index<WebhookId> {
    Index {
        store: store.clone(),
        key: keys::webhooks(application),
        member: |application, id| format!("webhook/{application}/{id}"),
        scope: application.to_string(),
        entries: Vec::new(),
        suspects: BTreeSet::new(),
        is_dated_anew: false,
    }
}

/// The index of the application's webhooks that have documents beside their own, before it is read.
pub fn unloaded_changed(store: &Store, application: &ApplicationId) -> Index<WebhookId> {
    Index {
        key: keys::webhooks_changed(application),
        ..unloaded_webhooks(store, application)
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
) -> Result<Index<ApplicationId>, Fault> {
    unloaded_applications(store, merchant).load().await
}

/// The index of a merchant's applications before it is read: as if it were empty.
pub fn unloaded_applications(store: &Store, merchant: &MerchantId) -> Index<ApplicationId> {
    unloaded_applications_under(store, keys::applications(merchant))
}

/// As [`unloaded_applications`], where only the index's key is known.
pub fn unloaded_applications_under(store: &Store, key: String) -> Index<ApplicationId> {
    Index {
        store: store.clone(),
        key,
        member: |_, id| keys::application(id),
        scope: String::new(),
        entries: Vec::new(),
        suspects: BTreeSet::new(),
        is_dated_anew: false,
    }
}

impl<Id: Member> Index<Id> {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn load(mut self) -> Result<Self, Fault> {
        self.entries = self.stored().await?;
        Ok(self)
    }

    pub(super) async fn stored(&self) -> Result<Vec<Entry<Id>>, Fault> {
        let stored = self.store.read(&self.key, Entries::read).await?;
        Ok(stored.map_or_else(Vec::new, |entries| entries.0))
    }

    /// Whether the index has the id as it is stored now; takes in what else it has.
    pub async fn is_stored(&mut self, id: &Id) -> Result<bool, Fault> {
        let stored = self.stored().await?;
        let is_stored = stored.iter().any(|entry| entry.id() == id);
        self.merge(stored);
        Ok(is_stored)
    }

    pub(super) async fn write(&self) -> Result<(), Fault> {
        self.store.set_document(&self.key, &self.entries).await
    }

    /// The same index as if it were empty.
    pub(super) fn without_entries(&self) -> Self {
        Self {
            store: self.store.clone(),
            key: self.key.clone(),
            member: self.member,
            scope: self.scope.clone(),
            entries: Vec::new(),
            suspects: BTreeSet::new(),
            is_dated_anew: false,
        }
    }

    /// The ids.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.entries.iter().map(Entry::id)
    }

    /// The ids of what was created after that moment.
    pub fn created_after(&self, moment: Timestamp) -> impl Iterator<Item = &Id> {
        let created_after =
            move |entry: &&Entry<Id>| entry.created_at().is_some_and(|at| at > moment);
        self.entries.iter().filter(created_after).map(Entry::id)
    }

    /// Whether `limit` ids are here, and this is none of them.
    pub fn is_full(&self, limit: usize, id: &Id) -> bool {
        self.entries.len() >= limit && !self.contains(id)
    }

    /// Whether the id is here.
    pub fn contains(&self, id: &Id) -> bool {
        self.ids().any(|known| known == id)
    }

    pub(super) fn member(&self, id: &Id) -> String {
        (self.member)(&self.scope, id)
    }

    /// The ids that have no document.
    async fn missing(&self) -> Result<BTreeSet<Id>, Fault> {
        let keys: Vec<_> = self.ids().map(|id| self.member(id)).collect();
        let found = try_join_bounded(keys.iter().map(|key| self.store.exists(key))).await?;
        let missing = self.ids().zip(found).filter(|(_, found)| !found);
        Ok(set(missing.map(|(id, _)| id.clone())))
    }

    pub(super) fn leave_out(&mut self, gone: &BTreeSet<Id>) {
        self.entries.retain(|entry| !gone.contains(entry.id()));
    }

    /// Adds what is not here yet, and when it was created where that is not known here.
    pub(super) fn merge(&mut self, entries: impl IntoIterator<Item = Entry<Id>>) {
        let known = self.ids().cloned().enumerate();
        let known = map(known.map(|(place, id)| (id, place)));
        for entry in entries {
            match known.get(entry.id()) {
                None => self.entries.push(entry),
                Some(place) => {
                    if self.entries[*place].is_undated() {
                        self.entries[*place] = entry;
                    }
                }
            }
        }
    }

    /// Leaves out the ids that have no document. Asked for when the index looks full.
    pub async fn prune(&mut self) -> Result<(), Fault> {
        let missing = self.missing().await?;
        self.leave_out(&missing);
        Ok(())
    }

    /// Adds an id and writes the index. `created_at` is what its document says.
    pub async fn add(&mut self, id: &Id, created_at: Option<Timestamp>) -> Result<(), Fault> {
        let id = id.clone();
        self.merge([Entry::Dated { id, created_at }]);
        self.write().await
    }

    /// Reads the index anew, and writes it without these ids if it has any.
    pub async fn remove(&mut self, gone: &BTreeSet<Id>) -> Result<(), Fault> {
        self.entries = self.stored().await?;
        let before = self.entries.len();
        self.leave_out(gone);
        if self.entries.len() == before {
            return Ok(());
        }
        if self.entries.is_empty() {
            return self.store.delete(&self.key).await;
        }
        self.write().await
    }
}
