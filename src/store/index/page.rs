//! A page of the documents that an index lists.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::entry::{Entry, Member};
use super::set::Index;
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::collections::set;
use crate::model::time::Timestamp;
use crate::runtime::{after_response, sleep};
use crate::store::deadline::Deadline;

/// One of a list, or why it cannot be read: one that cannot is no reason to keep the others from the
/// merchant.
pub type Listed<T> = Result<T, Fault>;

/// Tells a document that cannot be read from a store that fails.
///
/// # Errors
///
/// The store's failure.
pub fn listed<T>(read: Result<Option<T>, Fault>) -> Result<Option<Listed<T>>, Fault> {
    match read {
        Err(error @ Fault::Unreadable(_)) => Ok(Some(Err(error))),
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
        read: impl AsyncFn(&Id) -> Result<Option<Listed<T>>, Fault>,
        created_at: impl Fn(&T) -> Option<Timestamp>,
    ) -> Result<Page<T>, Fault> {
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
            Ok::<_, Fault>(gone)
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

    async fn tidy(&mut self) -> Result<(), Fault> {
        let suspects = std::mem::take(&mut self.suspects);
        let dated = std::mem::take(&mut self.entries);
        let keys: Vec<_> = suspects.iter().map(|id| self.member(id)).collect();
        let found = try_join_bounded(keys.iter().map(|key| self.store.exists(key))).await?;
        let gone = suspects.into_iter().zip(found);
        let gone = set(gone.filter(|(_, found)| !found).map(|(id, _)| id));

        let before = self.stored().await?;
        self.entries = before.clone();
        self.leave_out(&gone);
        let listed = set(self.ids().cloned());
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
}
