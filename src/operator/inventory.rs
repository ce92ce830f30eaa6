//! What the doctor sees on its way through a store.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::{DeserializeOwned, IgnoredAny};

use super::finding::Finding;
use crate::fault::Fault;
use crate::model::application::{ApplicationRecord, ApplicationSettings};
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::rotation::Rotations;
use crate::model::time::Timestamp;
use crate::model::webhook::{LastTest, WebhookRecord, WebhookSettings};
use crate::store::applications::Claim;
use crate::store::deletion::{Deletion, is_of};
use crate::store::idempotency;
use crate::store::key_value::Store;
use crate::store::keys::{self, Named};
use crate::store::portal::PortalDocument;

/// What a document turned out to be.
pub enum Seen {
    /// It is not there any more.
    Gone,
    /// It is not what its key says that it is.
    Unreadable,
    /// It is, and no more is to be known.
    Good,
    /// A record of an `Idempotency-Key` with a secret that no repeat gets any more.
    OldSecret,
    /// An application.
    Application(ApplicationRecord),
    /// A webhook, when it was created, and whether the list of those that were changed has it once it was.
    Webhook(Timestamp, bool),
    /// The mark that something was deleted.
    Deletion(Deletion),
}

/// Documents by their ids, with when they were created.
type Dated<Id> = BTreeMap<Id, Option<Timestamp>>;

/// What a pass has seen.
pub struct Inventory<'a> {
    /// All keys, sorted.
    pub keys: &'a [String],
    /// What belongs in each list of applications, by the list's key.
    pub applications: BTreeMap<String, Dated<ApplicationId>>,
    /// What belongs in each application's list.
    pub webhooks: BTreeMap<ApplicationId, Dated<WebhookId>>,
    /// What belongs in each application's list of webhooks that were changed.
    pub changed: BTreeMap<ApplicationId, Dated<WebhookId>>,
    /// What is marked as deleted, by the key of its document. Marks sort before all that they are about.
    deleted: BTreeMap<String, Deletion>,
    /// The keys of the applications that are there all the same.
    returned: BTreeSet<String>,
    /// What is wrong but for the lists.
    pub found: Vec<Finding>,
}

impl<'a> Inventory<'a> {
    /// Nothing yet, of a store with these keys.
    pub fn new(keys: &'a [String]) -> Self {
        Self {
            keys,
            applications: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            changed: BTreeMap::new(),
            deleted: BTreeMap::new(),
            returned: BTreeSet::new(),
            found: Vec::new(),
        }
    }

    fn has(&self, key: &String) -> bool {
        self.keys.binary_search(key).is_ok()
    }

    /// Whether a key begins so.
    fn has_any(&self, prefix: &str) -> bool {
        let place = self.keys.partition_point(|key| key.as_str() < prefix);
        self.keys
            .get(place)
            .is_some_and(|key| key.starts_with(prefix))
    }

    /// Whether a webhook's document is there again after its deletion, or its application's.
    fn is_deleted(&self, key: &str, application: &ApplicationId, seen: &Seen) -> bool {
        let Seen::Webhook(created_at, _) = seen else {
            return false;
        };
        let owner = keys::application(application);
        let mark = self.deleted.get(key);
        mark.is_some_and(|deletion| deletion.covers(*created_at))
            || self.deleted.contains_key(&owner)
                && (!self.has(&owner) || self.returned.contains(&owner))
    }

    /// Takes in what a document turned out to be.
    pub fn note(&mut self, key: &str, named: &Named, seen: Seen) {
        if let Seen::Unreadable = seen {
            self.found.push(Finding::Unreadable(key.to_owned()));
        }
        match (named, seen) {
            (_, Seen::Gone) => {}
            (_, Seen::OldSecret) => self.found.push(Finding::OldSecret(key.to_owned())),
            (Named::Misspelled, _) => self.found.push(Finding::Misspelled(key.to_owned())),
            (Named::Applications, _) => {
                self.applications.entry(key.to_owned()).or_default();
            }
            (Named::Webhooks(application), _) => {
                self.webhooks.entry(application.clone()).or_default();
            }
            (Named::WebhooksChanged(application), _) => {
                self.changed.entry(application.clone()).or_default();
            }
            (Named::ApplicationDeleted(id), Seen::Deletion(deletion)) => {
                let document = keys::application(id);
                if deletion.is_left(Timestamp::now())
                    && !self.has(&document)
                    && !self.has_any(&format!("webhook/{id}/"))
                {
                    self.found.push(Finding::OldMark(key.to_owned()));
                }
                self.deleted.insert(document, deletion);
            }
            (Named::WebhookDeleted(application, id), Seen::Deletion(deletion)) => {
                let document = keys::webhook(application, *id);
                if deletion.is_left(Timestamp::now()) && !self.has(&document) {
                    self.found.push(Finding::OldMark(key.to_owned()));
                }
                self.deleted.insert(document, deletion);
            }
            (Named::Application(id), Seen::Application(created)) => {
                let deletion = self.deleted.get(key);
                if deletion.is_some_and(|deletion| is_of(&created, deletion)) {
                    self.returned.insert(key.to_owned());
                    return self.found.push(Finding::ReturnedApplication(id.clone()));
                }
                let list = keys::applications(&created.merchant_id);
                let list = self.applications.entry(list).or_default();
                list.insert(id.clone(), created.created_at);
            }
            (Named::Webhook(application, id), seen) => {
                if self.is_deleted(key, application, &seen) {
                    let returned = Finding::Returned(application.clone(), *id);
                    return self.found.push(returned);
                }
                if let Seen::Webhook(created_at, is_tracked) = seen {
                    let list = self.webhooks.entry(application.clone()).or_default();
                    list.insert(*id, Some(created_at));
                    let documents = [
                        keys::webhook_settings(application, *id),
                        keys::webhook_secrets(application, *id),
                        keys::webhook_test(application, *id),
                    ];
                    if is_tracked && documents.iter().any(|key| self.has(key)) {
                        let list = self.changed.entry(application.clone()).or_default();
                        list.insert(*id, None);
                    }
                }
                if !self.has(&keys::application(application)) {
                    let orphan = Finding::WithoutApplication(application.clone(), *id);
                    self.found.push(orphan);
                }
            }
            (
                Named::WebhookSettings(application, id)
                | Named::WebhookSecrets(application, id)
                | Named::WebhookTest(application, id),
                _,
            ) if !self.has(&keys::webhook(application, *id)) => {
                let (key, application) = (key.to_owned(), application.clone());
                self.found.push(Finding::Remains(key, application, *id));
            }
            _ => {}
        }
    }
}

/// Reads one document as what its key says that it is.
pub async fn look(store: &Store, key: &str, named: &Named) -> Result<Seen, Fault> {
    match named {
        Named::Application(_) => {
            let read = read::<ApplicationRecord>(store, key).await?;
            Ok(read.map_or_else(Into::into, Seen::Application))
        }
        Named::Webhook(application, id) => {
            let read = read::<WebhookRecord>(store, key).await?;
            Ok(read.map_or_else(Into::into, |created| {
                match created.belongs_under(application, *id) {
                    true => Seen::Webhook(created.created_at, created.is_tracked),
                    false => Seen::Unreadable,
                }
            }))
        }
        Named::ApplicationDeleted(_) | Named::WebhookDeleted(..) => {
            let read = read::<Deletion>(store, key).await?;
            Ok(read.map_or_else(Into::into, Seen::Deletion))
        }
        Named::ApplicationSettings(_) => good::<ApplicationSettings>(store, key).await,
        Named::ApplicationName => good::<Claim>(store, key).await,
        Named::Portal(_) => good::<PortalDocument>(store, key).await,
        Named::WebhookSettings(..) => good::<WebhookSettings>(store, key).await,
        Named::WebhookSecrets(..) => good::<Rotations>(store, key).await,
        Named::WebhookTest(..) => good::<LastTest>(store, key).await,
        Named::Idempotency => match store.get(key).await? {
            None => Ok(Seen::Gone),
            Some(record) if serde_json::from_slice::<IgnoredAny>(&record).is_err() => {
                Ok(Seen::Unreadable)
            }
            Some(record) => match idempotency::without_old_secret(&record, Timestamp::now()) {
                Some(_) => Ok(Seen::OldSecret),
                None => Ok(Seen::Good),
            },
        },
        // Whether an index can be read is found out when it is compared.
        Named::Applications | Named::Webhooks(_) | Named::WebhooksChanged(_) => Ok(Seen::Good),
        Named::Misspelled => Ok(Seen::Good),
        Named::Changes | Named::Jwks | Named::JwksAttempt => Ok(Seen::Good),
    }
}

/// Why there is no document to look at.
enum Missing {
    Gone,
    Unreadable,
}

impl From<Missing> for Seen {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Gone => Self::Gone,
            Missing::Unreadable => Self::Unreadable,
        }
    }
}

async fn read<T: DeserializeOwned>(store: &Store, key: &str) -> Result<Result<T, Missing>, Fault> {
    match store.get_document(key).await {
        Ok(Some(document)) => Ok(Ok(document)),
        Ok(None) => Ok(Err(Missing::Gone)),
        Err(Fault::Unreadable(_)) => Ok(Err(Missing::Unreadable)),
        Err(error) => Err(error),
    }
}

async fn good<T: DeserializeOwned>(store: &Store, key: &str) -> Result<Seen, Fault> {
    let read = read::<T>(store, key).await?;
    Ok(read.map_or_else(Into::into, |_| Seen::Good))
}
