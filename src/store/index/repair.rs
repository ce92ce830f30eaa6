//! What can be wrong with an index, and its repair.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::entry::{Entry, Member};
use super::set::Index;
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::collections::{map, set};
use crate::model::time::Timestamp;
use crate::runtime::{sleep, with_jitter};
use crate::store::compensation::compensate;
use crate::store::deadline::Deadline;

/// How often one repair writes an index that others change all the time.
const MAX_WRITES: u32 = 10;

/// Between a write and the look whether it stayed.
const PAUSE: Duration = Duration::from_millis(50);

/// What is wrong with an index.
#[derive(Clone)]
pub struct Damage<Id> {
    index: Index<Id>,
    is_readable: bool,
    /// The ids that belong there and are not, or not with when they were created.
    lacking: BTreeMap<Id, Option<Timestamp>>,
    /// The ids that are there and have no document.
    dangling: BTreeSet<Id>,
}

impl<Id: Member> Damage<Id> {
    /// Compares an index with the documents that belong in it, with when they were created, and
    /// with all `keys` of the store, sorted: a document that cannot be read is no reason to forget
    /// its id. `None`: nothing is wrong.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn find(
        index: Index<Id>,
        documents: &BTreeMap<Id, Option<Timestamp>>,
        keys: &[String],
    ) -> Result<Option<Self>, Fault> {
        let (index, is_readable) = index.read_anew().await?;
        let listed = index.dates();
        let lacking = documents.iter().filter(|(id, at)| lacks(&listed, id, at));
        let lacking = map(lacking.map(|(id, at)| (id.clone(), *at)));
        let has_document = |id: &Id| keys.binary_search(&index.member(id)).is_ok();
        let dangling = listed.keys().filter(|id| !has_document(id));
        let dangling = set(dangling.cloned());
        Ok(Self {
            index,
            is_readable,
            lacking,
            dangling,
        }
        .some())
    }

    fn some(self) -> Option<Self> {
        let is_sound = self.is_readable && self.lacking.is_empty() && self.dangling.is_empty();
        (!is_sound).then_some(self)
    }

    /// What of this is still wrong: the index and the documents of the ids that this names are read
    /// anew. The index last, so that little comes between this and a write.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn confirm(&self) -> Result<Option<Self>, Fault> {
        let ids = self.lacking.keys().chain(&self.dangling);
        let members: Vec<_> = ids.map(|id| self.index.member(id)).collect();
        let store = &self.index.store;
        let exist = try_join_bounded(members.iter().map(|key| store.exists(key))).await?;
        let (lacking_exist, dangling_exist) = exist.split_at(self.lacking.len());

        let (index, is_readable) = self.index.clone().read_anew().await?;
        let listed = index.dates();
        let lacking = self.lacking.iter().zip(lacking_exist);
        let lacking = lacking.filter(|((id, at), exists)| **exists && lacks(&listed, id, at));
        let lacking = map(lacking.map(|((id, at), _)| (id.clone(), *at)));
        let dangling = self.dangling.iter().zip(dangling_exist);
        let dangling = dangling.filter(|(id, exists)| !**exists && listed.contains_key(*id));
        let dangling = set(dangling.map(|(id, _)| id.clone()));
        Ok(Self {
            index,
            is_readable,
            lacking,
            dangling,
        }
        .some())
    }

    /// Puts into the index what lacks and takes out what dangles, until that stays. Returns whether
    /// anything was written.
    ///
    /// Why this is safe beside requests, and can be cut off and repeated: an index is only a hint.
    /// What is written is the union of what was read a moment ago and of ids whose documents were
    /// seen a moment ago; a webhook deleted in between leaves an id that is ignored, and the next
    /// list or repair removes it. An id that a request adds between our read and our write is
    /// overwritten, and that request looks again after its response and writes it back
    /// ([`Index::confirm_later`]); where it has died meanwhile, the doctor's next pass finds the id lacking.
    ///
    /// # Errors
    ///
    /// The store's failure. A write that was cut off may take effect late: what it undoes of the
    /// index as it is now is written back for a minute.
    pub async fn repair(&self, deadline: &Deadline, request_id: &str) -> Result<bool, Fault> {
        let mut is_written = false;
        for _ in 0..MAX_WRITES {
            let read = self.confirm();
            let read = deadline.renew().run("reading an index", read).await?;
            let Some(mut damage) = read else {
                break;
            };
            let write = damage.write();
            let written = deadline.renew().run("repairing an index", write).await;
            if let Err(error) = written {
                let mut index = damage.index;
                compensate(error.is_timeout(), deadline, request_id, async move || {
                    index.reconcile().await
                });
                return Err(error);
            }
            is_written = true;
            sleep(with_jitter(PAUSE)).await;
        }
        Ok(is_written)
    }

    async fn write(&mut self) -> Result<(), Fault> {
        let Self {
            index,
            lacking,
            dangling,
            ..
        } = self;
        index.entries.retain(|entry| {
            let id = entry.id();
            !dangling.contains(id) && !lacking.contains_key(id)
        });
        let lacking = lacking.iter().map(|(id, created_at)| Entry::Dated {
            id: id.clone(),
            created_at: *created_at,
        });
        index.entries.extend(lacking);
        if index.entries.is_empty() {
            return index.store.delete(&index.key).await;
        }
        index.write().await
    }

    /// The key of the index.
    pub fn key(&self) -> &str {
        &self.index.key
    }

    /// Whether the index can be read.
    pub fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// How many ids lack.
    pub fn lacking(&self) -> usize {
        self.lacking.len()
    }

    /// How many ids have no document.
    pub fn dangling(&self) -> usize {
        self.dangling.len()
    }
}

/// Whether an id is not in an index, or with another date than its document's. Where the index has
/// no date, as those of earlier releases, lists find it by themselves.
fn lacks<Id: Ord>(
    listed: &BTreeMap<Id, Option<Option<Timestamp>>>,
    id: &Id,
    created_at: &Option<Timestamp>,
) -> bool {
    match listed.get(id) {
        None => true,
        Some(date) => date.is_some_and(|date| date != *created_at),
    }
}

impl<Id: Member> Index<Id> {
    /// The index as it is stored, and whether that can be read. One that cannot has no ids.
    async fn read_anew(mut self) -> Result<(Self, bool), Fault> {
        let (entries, is_readable) = match self.stored().await {
            Err(Fault::Unreadable(_)) => (Vec::new(), false),
            stored => (stored?, true),
        };
        self.entries = entries;
        Ok((self, is_readable))
    }

    /// The ids, each with when it was created; without where the index does not say.
    fn dates(&self) -> BTreeMap<Id, Option<Option<Timestamp>>> {
        let dates = self.entries.iter().map(|entry| match entry {
            Entry::Dated { id, created_at } => (id.clone(), Some(*created_at)),
            Entry::Undated(id) => (id.clone(), None),
        });
        map(dates)
    }
}
