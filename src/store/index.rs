//! The index: which webhooks an application has, which applications a merchant. A set that is
//! eventually consistent and only helps to find documents; it is reconciled after each write.

mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

use super::compensation::{COMPENSATION_TIME, LONGEST_PAUSE_WHILE_FAILING};
use super::deadline::Deadline;
use super::key_value::Store;
use super::keys;
use crate::concurrency::try_join_bounded;
use crate::http::error::Error;
use crate::log;
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};
use crate::model::time::Timestamp;
use crate::runtime::{Instant, after_response, sleep, with_jitter};

pub use self::repair::Damage;

/// What an index has of one document: its id, and when it was created, by which lists are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Entry<Id> {
    /// Both are known.
    #[serde(rename_all = "camelCase")]
    Dated {
        /// The document's id.
        id: Id,
        /// When it was created; `None` where the document does not say.
        created_at: Option<Timestamp>,
    },
    /// As earlier releases wrote it: only the document says when it was created.
    Undated(Id),
}

impl<Id> Entry<Id> {
    /// The document's id.
    pub fn id(&self) -> &Id {
        let (Self::Dated { id, .. } | Self::Undated(id)) = self;
        id
    }

    fn created_at(&self) -> Option<Timestamp> {
        match self {
            Self::Dated { created_at, .. } => *created_at,
            Self::Undated(_) => None,
        }
    }

    fn is_undated(&self) -> bool {
        matches!(self, Self::Undated(_))
    }
}

/// The document of an index. What is no entry in it is ignored: no id of ours looks so.
struct Entries<Id>(Vec<Entry<Id>>);

impl<'de, Id: Deserialize<'de>> Deserialize<'de> for Entries<Id> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<Id> {
            #[serde(rename_all = "camelCase")]
            Dated {
                id: Id,
                created_at: Option<Timestamp>,
            },
            Undated(Id),
            Other(IgnoredAny),
        }

        let written = Vec::<Written<Id>>::deserialize(deserializer)?;
        let entries = written.into_iter().filter_map(|entry| match entry {
            Written::Dated { id, created_at } => Some(Entry::Dated { id, created_at }),
            Written::Undated(id) => Some(Entry::Undated(id)),
            Written::Other(_) => None,
        });
        Ok(Self(entries.collect()))
    }
}

/// What an index can hold.
pub trait Member: Clone + Ord + Serialize + DeserializeOwned + 'static {}

impl Member for WebhookId {}
impl Member for ApplicationId {}

/// An index: the ids of an application's webhooks, or of a merchant's applications.
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
    entries: Vec<Entry<Id>>,
    /// Ids that had no document when a page was read.
    suspects: BTreeSet<Id>,
    /// Whether documents said when they were created, and the stored index does not.
    is_dated_anew: bool,
}

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
        entries: Vec::new(),
        suspects: BTreeSet::new(),
        is_dated_anew: false,
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

/// One of a list, or why it cannot be read: one that cannot is no reason to keep the others from the
/// merchant.
pub type Listed<T> = Result<T, Error>;

/// Tells a document that cannot be read from a store that fails.
///
/// # Errors
///
/// The store's failure.
pub fn listed<T>(read: Result<Option<T>, Error>) -> Result<Option<Listed<T>>, Error> {
    match read {
        Err(error @ Error::Unreadable(_)) => Ok(Some(Err(error))),
        read => Ok(read?.map(Ok)),
    }
}

/// One page of what an index lists.
pub struct Page<T> {
    /// The documents of the page that are there.
    pub items: Vec<Listed<T>>,
    /// How many there are on all pages, as far as the index knows.
    pub total: usize,
}

impl<Id: Member> Index<Id> {
    async fn read(mut self) -> Result<Self, Error> {
        self.entries = self.stored().await?;
        Ok(self)
    }

    async fn stored(&self) -> Result<Vec<Entry<Id>>, Error> {
        let stored: Option<Entries<Id>> = self.store.get_document(&self.key).await?;
        Ok(stored.map_or_else(Vec::new, |entries| entries.0))
    }

    async fn write(&self) -> Result<(), Error> {
        self.store.set_document(&self.key, &self.entries).await
    }

    /// The ids.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.entries.iter().map(Entry::id)
    }

    /// Whether `limit` ids are here, and this is none of them.
    pub fn is_full(&self, limit: usize, id: &Id) -> bool {
        self.entries.len() >= limit && !self.contains(id)
    }

    /// Whether the id is here.
    pub fn contains(&self, id: &Id) -> bool {
        self.ids().any(|known| known == id)
    }

    fn member(&self, id: &Id) -> String {
        (self.member)(&self.scope, id)
    }

    /// The ids that have no document.
    async fn missing(&self) -> Result<BTreeSet<Id>, Error> {
        let keys: Vec<_> = self.ids().map(|id| self.member(id)).collect();
        let found = try_join_bounded(keys.iter().map(|key| self.store.exists(key))).await?;
        let missing = self.ids().zip(found).filter(|(_, found)| !found);
        Ok(missing.map(|(id, _)| id.clone()).collect())
    }

    fn leave_out(&mut self, gone: &BTreeSet<Id>) {
        self.entries.retain(|entry| !gone.contains(entry.id()));
    }

    /// Adds what is not here yet, and when it was created where that is not known here.
    fn merge(&mut self, entries: impl IntoIterator<Item = Entry<Id>>) {
        let known = self.ids().cloned().enumerate();
        let known: BTreeMap<Id, usize> = known.map(|(place, id)| (id, place)).collect();
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
    pub async fn prune(&mut self) -> Result<(), Error> {
        let missing = self.missing().await?;
        self.leave_out(&missing);
        Ok(())
    }

    /// Adds an id and writes the index. `created_at` is what its document says.
    pub async fn add(&mut self, id: &Id, created_at: Option<Timestamp>) -> Result<(), Error> {
        let id = id.clone();
        self.merge([Entry::Dated { id, created_at }]);
        self.write().await
    }

    /// Reads the index anew, and writes it without these ids if it has any.
    pub async fn remove(&mut self, gone: &BTreeSet<Id>) -> Result<(), Error> {
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

    /// Reads the documents of one page, the newest first: `range` says which of how many. Where one
    /// is not there, the next takes its place, and [`Self::tidy_later`] removes its id.
    ///
    /// All documents are read only of an index that an earlier release wrote; `created_at` is what
    /// they say then.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn page<T>(
        &mut self,
        range: impl Fn(usize) -> Range<usize>,
        read: impl AsyncFn(&Id) -> Result<Option<Listed<T>>, Error>,
        created_at: impl Fn(&T) -> Option<Timestamp>,
    ) -> Result<Page<T>, Error> {
        let mut found: BTreeMap<Id, Listed<T>> = BTreeMap::new();
        let read_all = async |ids: Vec<Id>, found: &mut BTreeMap<Id, Listed<T>>| {
            let documents = try_join_bounded(ids.iter().map(|id| read(id))).await?;
            let mut gone = BTreeSet::new();
            for (id, document) in ids.into_iter().zip(documents) {
                match document {
                    Some(document) => drop(found.insert(id, document)),
                    None => drop(gone.insert(id)),
                }
            }
            Ok::<_, Error>(gone)
        };

        let undated = self.entries.iter().filter(|entry| entry.is_undated());
        let undated = undated.map(|entry| entry.id().clone()).collect();
        self.suspects = read_all(undated, &mut found).await?;
        for entry in &mut self.entries {
            if let Some(Ok(document)) = found.get(entry.id()) {
                self.is_dated_anew = true;
                *entry = Entry::Dated {
                    id: entry.id().clone(),
                    created_at: created_at(document),
                };
            }
        }

        let listed = self.entries.iter();
        let listed = listed.filter(|entry| !self.suspects.contains(entry.id()));
        let mut newest_first: Vec<_> = listed
            .map(|entry| (entry.created_at(), entry.id().clone()))
            .collect();
        newest_first.sort_unstable_by(|one, other| other.cmp(one));
        loop {
            let page = newest_first[range(newest_first.len())].iter();
            let unread = page.filter(|(_, id)| !found.contains_key(id));
            let unread = unread.map(|(_, id)| id.clone()).collect();
            let mut gone = read_all(unread, &mut found).await?;
            if gone.is_empty() {
                break;
            }
            newest_first.retain(|(_, id)| !gone.contains(id));
            self.suspects.append(&mut gone);
        }
        let total = newest_first.len();
        let page = newest_first.drain(range(total));
        let items = page.filter_map(|(_, id)| found.remove(&id)).collect();
        Ok(Page { items, total })
    }

    /// Goes on, after the response, with what [`Self::page`] found: removes the ids that are still
    /// without a document, and adds when documents were created. A failure leaves the index as it
    /// was, and the next list finds the same.
    pub fn tidy_later(mut self, deadline: &Deadline) {
        /// Where a store is replicated with delay, an index can arrive before what it names.
        const GRACE: Duration = Duration::from_secs(2);

        if self.suspects.is_empty() && !self.is_dated_anew {
            return;
        }
        let deadline = deadline.clone();
        after_response(async move {
            sleep(GRACE).await;
            let _ = deadline.renew().run("tidying an index", self.tidy()).await;
        });
    }

    async fn tidy(&mut self) -> Result<(), Error> {
        let suspects = std::mem::take(&mut self.suspects);
        let dated = std::mem::take(&mut self.entries);
        let keys: Vec<_> = suspects.iter().map(|id| self.member(id)).collect();
        let found = try_join_bounded(keys.iter().map(|key| self.store.exists(key))).await?;
        let gone = suspects.into_iter().zip(found);
        let gone = gone.filter(|(_, found)| !found).map(|(id, _)| id).collect();

        let before = self.stored().await?;
        self.entries = before.clone();
        self.leave_out(&gone);
        let listed: BTreeSet<Id> = self.ids().cloned().collect();
        self.merge(
            dated
                .into_iter()
                .filter(|entry| listed.contains(entry.id())),
        );
        if self.entries == before {
            return Ok(());
        }
        if self.entries.is_empty() {
            return self.store.delete(&self.key).await;
        }
        self.write().await
    }

    /// Goes on, after the response, to check that `id` stays in the index, and writes it back
    /// as the union of all that was seen, until it has stayed for a while.
    pub fn keep(
        mut self,
        id: Id,
        created_at: Option<Timestamp>,
        deadline: &Deadline,
        request_id: &str,
    ) {
        let (deadline, request_id) = (deadline.clone(), request_id.to_owned());
        after_response(async move {
            let confirmed = self.confirm_added(&id, created_at, &deadline).await;
            if let Err(error) = confirmed {
                log::background(&request_id, "index not confirmed", &error);
            }
        });
    }

    async fn confirm_added(
        &mut self,
        id: &Id,
        created_at: Option<Timestamp>,
        deadline: &Deadline,
    ) -> Result<(), Error> {
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
            let check = self.check(id, created_at);
            match deadline.renew().run("checking an index", check).await {
                Ok(Check::Kept) => good += 1,
                Ok(Check::MemberGone) => return Ok(()),
                // Lost for so long, something else is wrong: the doctor repairs it.
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

    async fn check(&mut self, id: &Id, created_at: Option<Timestamp>) -> Result<Check, Error> {
        let now = self.stored().await?;
        if now.iter().any(|entry| entry.id() == id) {
            return Ok(Check::Kept);
        }
        // Deleted meanwhile: not to be brought back.
        if !self.store.exists(&self.member(id)).await? {
            return Ok(Check::MemberGone);
        }
        let seen = std::mem::replace(&mut self.entries, now);
        self.merge(seen);
        self.add(id, created_at).await?;
        Ok(Check::WrittenBack)
    }

    /// Writes back the ids that were seen in the index and are not there any more, unless what
    /// they name is gone too.
    ///
    /// For [`compensate`](super::compensation::compensate): a write of the index that was cut off
    /// may take effect late, and then undoes what others added meanwhile.
    pub async fn restore(&mut self) -> Result<(), Error> {
        let now = self.stored().await?;
        let listed: BTreeSet<Id> = now.iter().map(|entry| entry.id().clone()).collect();
        self.leave_out(&listed);
        self.prune().await?;
        let lost = std::mem::replace(&mut self.entries, now);
        if lost.is_empty() {
            return Ok(());
        }
        self.merge(lost);
        self.write().await
    }
}

enum Check {
    Kept,
    MemberGone,
    WrittenBack,
}
