//! What is wrong in a store, and its repair.

use std::collections::BTreeSet;
use std::time::Duration;

use base64ct::{Base64, Encoding};

use super::access::{Access, CHUNK};
use super::finding::Finding;
use super::inventory::{Inventory, Seen, look};
use super::report::{Done, Report};
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;
use crate::runtime::sleep;
use crate::store::deletion;
use crate::store::idempotency;
use crate::store::index::{self, Damage};
use crate::store::keys::{self, Named};

/// How long requests that are under way get to finish what they do, before a finding counts.
const SETTLE: Duration = Duration::from_secs(2);

/// How many passes repair before what is still found is left.
const MAX_PASSES: u32 = 5;

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every document of ours.
    Everything,
    /// The indexes, and the documents that belong in them.
    Indexes,
}

/// The work of `POST /operator/v1/doctor` and `/operator/v1/reindex`.
pub struct Doctor {
    access: Access,
    report: Report,
    scope: Scope,
}

impl Doctor {
    /// Work on this store.
    pub fn new(access: Access, report: Report, scope: Scope) -> Self {
        Self {
            access,
            report,
            scope,
        }
    }

    /// Reports what is wrong, and with `fix` repairs it and looks again, until a pass finds nothing
    /// to repair: what a repair overwrote of a request that died in that moment is found then.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn examine(&self, fix: bool) -> Result<Done, Fault> {
        let mut known = BTreeSet::new();
        for pass in 1.. {
            let found = self.pass(pass).await?;
            for finding in &found {
                if known.insert((finding.key(), finding.problem())) {
                    let (key, problem) = (finding.key(), finding.problem());
                    self.report.finding(&key, problem, &finding.message());
                }
            }
            if !fix || pass == MAX_PASSES || found.iter().all(Finding::is_for_a_person) {
                return Ok(Done {
                    found: known.len(),
                    repaired: known.len() - found.len(),
                    left: found.len(),
                    ..Done::default()
                });
            }
            for finding in &found {
                if self.repair(finding).await? {
                    self.report.repaired(&finding.key(), finding.problem());
                }
            }
        }
        unreachable!("a pass is the last")
    }

    /// Reads the store and returns what is wrong in it, and still is after a while.
    async fn pass(&self, pass: u32) -> Result<Vec<Finding>, Fault> {
        let found = self.find(pass).await?;
        if found.is_empty() {
            return Ok(found);
        }
        self.report.progress("settling", 0, found.len());
        sleep(SETTLE).await;
        let mut confirmed = Vec::new();
        for (number, chunk) in found.chunks(CHUNK).enumerate() {
            self.report
                .progress("confirming", number * CHUNK, found.len());
            let confirm =
                async || try_join_bounded(chunk.iter().map(|finding| self.confirm(finding))).await;
            let chunk = self.access.run("confirming findings", confirm).await?;
            confirmed.extend(chunk.into_iter().flatten());
        }
        Ok(confirmed)
    }

    async fn find(&self, pass: u32) -> Result<Vec<Finding>, Fault> {
        let step = |what: &str| format!("pass {pass}: {what}");
        self.report.progress(&step("listing keys"), 0, 0);
        let keys = self.access.keys().await?;
        let named = keys
            .iter()
            .filter_map(|key| Some((key.as_str(), Named::parse(key)?)));
        let named: Vec<_> = named
            .filter(|(_, named)| self.is_of_interest(named))
            .collect();
        let mut inventory = Inventory::new(&keys);
        for (number, chunk) in named.chunks(CHUNK).enumerate() {
            let read = step("reading documents");
            self.report.progress(&read, number * CHUNK, named.len());
            let look = async || {
                let looks = chunk
                    .iter()
                    .map(|(key, named)| look(&self.access.store, key, named));
                try_join_bounded(looks).await
            };
            let seen = self.access.run("reading documents", look).await?;
            for ((key, named), seen) in chunk.iter().zip(seen) {
                inventory.note(key, named, seen);
            }
        }
        if self.scope == Scope::Indexes {
            inventory.found.clear();
        }
        self.compare(&step("comparing indexes"), &mut inventory)
            .await?;
        Ok(inventory.found)
    }

    fn is_of_interest(&self, named: &Named) -> bool {
        match named {
            Named::Application(_) | Named::Applications => true,
            Named::Webhook(..) | Named::Webhooks(_) | Named::WebhooksChanged(_) => true,
            // What came back belongs in no list.
            Named::ApplicationDeleted(_) | Named::WebhookDeleted(..) => true,
            // They replace themselves: what cannot be read there is fetched or counted anew.
            Named::Jwks | Named::JwksAttempt | Named::Changes => false,
            _ => self.scope == Scope::Everything,
        }
    }

    async fn compare(&self, step: &str, inventory: &mut Inventory<'_>) -> Result<(), Fault> {
        let Inventory {
            keys,
            applications,
            webhooks,
            changed,
            found,
            ..
        } = inventory;
        let (store, keys) = (&self.access.store, *keys);
        let all = applications.len() + webhooks.len() + changed.len();
        let lists: Vec<_> = applications.iter().collect();
        for (number, chunk) in lists.chunks(CHUNK).enumerate() {
            self.report.progress(step, number * CHUNK, all);
            let compare = async || {
                let damages = chunk.iter().map(|(key, documents)| {
                    let index = index::unloaded_applications_under(store, (*key).clone());
                    Damage::find(index, documents, keys)
                });
                try_join_bounded(damages).await
            };
            let damages = self.access.run("comparing indexes", compare).await?;
            found.extend(damages.into_iter().flatten().map(Finding::Applications));
        }
        let indexes = webhooks.iter().map(|(application, documents)| {
            (index::unloaded_webhooks(store, application), documents)
        });
        let changed = changed.iter().map(|(application, documents)| {
            (index::unloaded_changed(store, application), documents)
        });
        let lists: Vec<_> = indexes.chain(changed).collect();
        for (number, chunk) in lists.chunks(CHUNK).enumerate() {
            self.report
                .progress(step, applications.len() + number * CHUNK, all);
            let compare = async || {
                let damages = chunk
                    .iter()
                    .map(|(index, documents)| Damage::find(index.clone(), documents, keys));
                try_join_bounded(damages).await
            };
            let damages = self.access.run("comparing indexes", compare).await?;
            found.extend(damages.into_iter().flatten().map(Finding::Webhooks));
        }
        Ok(())
    }

    /// The finding, as far as it is still there: its own documents are read anew.
    async fn confirm(&self, finding: &Finding) -> Result<Option<Finding>, Fault> {
        let store = &self.access.store;
        let confirmed = match finding {
            Finding::Unreadable(key) => {
                let named = Named::parse(key).unwrap_or(Named::Misspelled);
                let seen = look(store, key, &named).await?;
                matches!(seen, Seen::Unreadable).then(|| Finding::Unreadable(key.clone()))
            }
            Finding::OldSecret(key) => {
                let seen = look(store, key, &Named::Idempotency).await?;
                matches!(seen, Seen::OldSecret).then(|| Finding::OldSecret(key.clone()))
            }
            Finding::Misspelled(key) => {
                let is_there = store.exists(key).await?;
                is_there.then(|| Finding::Misspelled(key.clone()))
            }
            Finding::WithoutApplication(application, id) => {
                let is_without = store.exists(&keys::webhook(application, *id)).await?
                    && !store.exists(&keys::application(application)).await?;
                is_without.then(|| Finding::WithoutApplication(application.clone(), *id))
            }
            Finding::Returned(application, id) => {
                let returned = deletion::is_back(store, application, *id).await?;
                returned.then(|| Finding::Returned(application.clone(), *id))
            }
            Finding::ReturnedApplication(id) => {
                let returned = deletion::is_application_back(store, id).await?;
                returned.then(|| Finding::ReturnedApplication(id.clone()))
            }
            Finding::OldMark(key) => {
                let is_there = store.exists(key).await?;
                is_there.then(|| Finding::OldMark(key.clone()))
            }
            Finding::Remains(key, application, id) => {
                let is_left = store.exists(key).await?
                    && !store.exists(&keys::webhook(application, *id)).await?;
                is_left.then(|| Finding::Remains(key.clone(), application.clone(), *id))
            }
            Finding::Webhooks(damage) => damage.confirm().await?.map(Finding::Webhooks),
            Finding::Applications(damage) => damage.confirm().await?.map(Finding::Applications),
        };
        Ok(confirmed)
    }

    /// Repairs it. Returns whether there was something to do.
    async fn repair(&self, finding: &Finding) -> Result<bool, Fault> {
        let Access {
            store,
            deadline,
            request_id,
        } = &self.access;
        match finding {
            Finding::Unreadable(_) | Finding::Misspelled(_) | Finding::WithoutApplication(..) => {
                Ok(false)
            }
            Finding::OldSecret(key) => self.remove_old_secret(key).await,
            Finding::Returned(application, id) => self.remove_returned(application, *id).await,
            Finding::ReturnedApplication(id) => {
                let remove = async || match deletion::is_application_back(store, id).await? {
                    true => store.delete(&keys::application(id)).await.map(|()| true),
                    false => Ok(false),
                };
                self.access.run("removing what came back", remove).await
            }
            Finding::OldMark(key) => {
                let remove = async || store.delete(key).await.map(|()| true);
                self.access.run("removing a mark", remove).await
            }
            Finding::Webhooks(damage) => damage.repair(deadline, request_id).await,
            Finding::Applications(damage) => damage.repair(deadline, request_id).await,
            Finding::Remains(key, application, id) => {
                self.remove_remains(key, application, *id).await
            }
        }
    }

    /// Takes the response, which has the secret in it, out of a record of version 1.
    ///
    /// Why this is safe beside requests, and can be cut off and repeated: the key of such a record is
    /// free again, so requests do not read its response. One that uses the key again between our
    /// read and our write writes a record that we overwrite; what is there then is the record from
    /// before, as if that request had been cut off before it wrote its own, which its repeats are
    /// made for: they make the same again.
    async fn remove_old_secret(&self, key: &str) -> Result<bool, Fault> {
        let store = &self.access.store;
        let remove = async || {
            let record = store.get(key).await?.unwrap_or_default();
            match idempotency::without_old_secret(&record, Timestamp::now()) {
                Some(without) => store.set_document(key, &without).await.map(|()| true),
                None => Ok(false),
            }
        };
        self.access.run("removing an old secret", remove).await
    }

    /// Removes a webhook that was deleted and is back, as the delete would that marked it.
    ///
    /// Why this is safe beside requests, and can be cut off and repeated: nobody was answered that this
    /// webhook is there since its deletion was, and its document says that it was created before. A delete
    /// that still looks does the same.
    async fn remove_returned(
        &self,
        application: &ApplicationId,
        id: WebhookId,
    ) -> Result<bool, Fault> {
        let store = &self.access.store;
        let remove = async || match deletion::is_back(store, application, id).await? {
            true => deletion::remove_returned(store, application, id, None).await,
            false => Ok(false),
        };
        self.access.run("removing what came back", remove).await
    }

    /// Removes a document of a webhook that is not there.
    ///
    /// Why this is safe beside requests, and can be cut off and repeated: such a document is written
    /// only by a request that has just read the webhook, and a webhook that is gone does not come
    /// back; so two seconds after it was seen to be gone, nobody writes here. The one that can come
    /// back is a create that was cut off, by its repeat with the same `Idempotency-Key`: it has the
    /// same id and nothing was changed of it yet, so what is under its other keys is old all the
    /// same. A delete that is repeated finds nothing.
    async fn remove_remains(
        &self,
        key: &str,
        application: &ApplicationId,
        id: WebhookId,
    ) -> Result<bool, Fault> {
        let store = &self.access.store;
        let webhook = keys::webhook(application, id);
        let read = async || match store.exists(&webhook).await? {
            true => Ok(None),
            false => store.get(key).await,
        };
        let Some(document) = self.access.run("reading remains", read).await? else {
            return Ok(false);
        };
        // What could open to a secret of a deleted webhook is not kept, anywhere.
        if !matches!(Named::parse(key), Some(Named::WebhookSecrets(..))) {
            self.report
                .copy(key, &Base64::encode_string(&document))
                .await;
        }
        let remove = async || match store.exists(&webhook).await? {
            true => Ok(false),
            false => store.delete(key).await.map(|()| true),
        };
        self.access.run("removing remains", remove).await
    }
}
