//! What makes an index eventually consistent: whoever wrote it looks again, and writes back what others
//! overwrote.
//!
//! A writer overwrites what came after its own read, and can take as long for that as its request's
//! deadline lets it. So the last look is when all writes are over that may have begun before this one.
//! Where the first look finds the index as it was written, nobody else adds, and none is needed in between:
//! who reads the index from the write on has the id in it, and who read it before and has not written by then
//! is slower than [`PAUSE`], and over at the last look. So until that look, `store_timeout_ms` at most, such a
//! slow write can hide an id; where others write too, it is found sooner.
//! What an instance adds to one index it looks for together: a hundred creates of a second share their looks.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::entry::{Entry, Member};
use super::set::Index;
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::log;
use crate::model::collections::set;
use crate::model::time::Timestamp;
use crate::runtime::{Instant, sleep, spawn, with_jitter};
use crate::store::compensation::{COMPENSATION_TIME, LONGEST_PAUSE_WHILE_FAILING};
use crate::store::deadline::Deadline;

/// How long after its write an id is looked for first. A request that read the index before that write has
/// written its own by then, where an operation takes up to 40 ms.
const PAUSE: Duration = Duration::from_millis(130);

/// How long after it was written back: others write the index too, and the sooner it is known who lost, the
/// sooner all agree.
const PAUSE_AFTER_LOSS: Duration = Duration::from_millis(30);

/// How much later than it must a look is, so that one suffices for several ids; where one was lost, it is not.
const GATHERING: Duration = Duration::from_millis(150);

thread_local! {
    /// The groups of ids that wait, by the process, which is one but in tests, and the index's key.
    static GROUPS: RefCell<BTreeMap<Place, Box<dyn Any>>> = RefCell::default();
}

type Place = (u64, String);

/// What this instance added to one index and looks for.
struct Group<Id> {
    /// Its entries are what was seen since the last look that found all, for a write.
    index: Index<Id>,
    added: Vec<Added<Id>>,
    /// The number of the task that looks. One before it has nothing to do any more.
    owner: u32,
    /// When that looks next.
    looks_at: Instant,
    /// The pause after the store failed.
    pause_while_failing: Duration,
}

struct Added<Id> {
    id: Id,
    created_at: Option<Timestamp>,
    began: Instant,
    /// When it was last written.
    written: Instant,
    looks: Looks,
    /// When it is looked for next.
    due: Instant,
}

/// What was found of an id since it was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    /// Nobody has looked.
    New,
    /// It was lost, and is written back.
    Lost,
    /// It was found so often. The pauses between looks double: who looks too seldom does not see that its id
    /// was lost and written back by another one, and that a third has read the index in between.
    Found(u32),
}

impl<Id: Member> Index<Id> {
    /// Goes on, after the response, to check that `id` stays in the index, and writes it back
    /// as the union of all that was seen, until it has stayed for as long as a request may take.
    pub fn confirm_later(
        self,
        id: Id,
        created_at: Option<Timestamp>,
        deadline: &Deadline,
        request_id: &str,
    ) {
        let place = (self.store.process(), self.key.clone());
        let timeout = deadline.timeout();
        let Some(owner) = self.add_to_group(&place, id, created_at, timeout) else {
            return;
        };
        let request_id = request_id.to_owned();
        spawn(look_until_kept::<Id>(place, owner, timeout, request_id));
    }

    /// Returns the number of the task that is to look for the id, if none is that looks in time.
    fn add_to_group(
        self,
        place: &Place,
        id: Id,
        created_at: Option<Timestamp>,
        timeout: Duration,
    ) -> Option<u32> {
        let now = Instant::now();
        let due = now + with_jitter(PAUSE);
        let added = Added {
            id,
            created_at,
            began: now,
            written: now,
            looks: Looks::New,
            due,
        };
        GROUPS.with_borrow_mut(|groups| {
            let known = groups.get_mut(place);
            let Some(group) = known.and_then(|group| group.downcast_mut::<Group<Id>>()) else {
                let group = Group {
                    index: self,
                    added: vec![added],
                    owner: 0,
                    looks_at: due,
                    pause_while_failing: PAUSE,
                };
                groups.insert(place.clone(), Box::new(group));
                return Some(0);
            };
            group.index.merge(self.entries);
            group.added.push(added);
            // A task that looks much later leaves all of it to another one.
            let looks_in_time = group.looks_at.saturating_duration_since(due) <= PAUSE * 4;
            let is_gone = now.saturating_duration_since(group.looks_at) > timeout * 2;
            if looks_in_time && !is_gone {
                return None;
            }
            group.looks_at = due;
            group.owner = group.owner.wrapping_add(1);
            Some(group.owner)
        })
    }

    /// Looks for all that was added.
    async fn look(&mut self, added: &mut Vec<Added<Id>>) -> Result<Look<Id>, Fault> {
        let now = self.stored().await?;
        let listed = set(now.iter().map(|entry| entry.id().clone()));
        let is_as_written = listed == set(self.ids().cloned());
        let missing: Vec<_> = added.iter().filter(|it| !listed.contains(&it.id)).collect();
        let members: Vec<_> = missing.iter().map(|it| self.member(&it.id)).collect();
        let exist = try_join_bounded(members.iter().map(|key| self.store.exists(key))).await?;
        let mut lost = Vec::new();
        let mut gone = Vec::new();
        for (Added { id, created_at, .. }, exists) in missing.into_iter().zip(exist) {
            let (id, created_at) = (id.clone(), *created_at);
            match exists {
                true => lost.push(Entry::Dated { id, created_at }),
                // Deleted meanwhile: not to be brought back.
                false => gone.push(id),
            }
        }
        added.retain(|added| !gone.contains(&added.id));
        let ids = lost.iter().map(|entry| entry.id().clone()).collect();
        let mut seen = std::mem::replace(&mut self.entries, now);
        if !lost.is_empty() {
            seen.retain(|entry| !gone.contains(entry.id()));
            self.merge(seen);
            self.merge(lost);
            self.write().await?;
        }
        Ok(Look {
            lost: ids,
            is_as_written,
        })
    }

    /// Writes back the ids that were seen in the index and are not there any more, unless what
    /// they name is gone too.
    ///
    /// For [`compensate`](super::compensation::compensate): a write of the index that was cut off
    /// may take effect late, and then undoes what others added meanwhile.
    pub async fn reconcile(&mut self) -> Result<(), Fault> {
        let now = self.stored().await?;
        let listed = set(now.iter().map(|entry| entry.id().clone()));
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

/// What a look found.
struct Look<Id> {
    /// Those that were not there and have a document: they are written back.
    lost: Vec<Id>,
    /// Whether nobody else has added anything, or removed it, since the last look or what was added then.
    is_as_written: bool,
}

/// Looks for the ids of a group, until it has none left or another task looks for them.
async fn look_until_kept<Id: Member>(
    place: Place,
    owner: u32,
    timeout: Duration,
    request_id: String,
) {
    while let Some(pause) = in_group(&place, owner, Group::<Id>::pause) {
        sleep(pause).await;
        let taken = in_group(&place, owner, |group: &mut Group<Id>| {
            let empty = group.index.without_entries();
            let index = std::mem::replace(&mut group.index, empty);
            (index, std::mem::take(&mut group.added))
        });
        let Some((mut index, mut added)) = taken else {
            return;
        };
        let began = Instant::now();
        let deadline = Deadline::with_timeout(timeout);
        let look = index.look(&mut added);
        let looked = deadline.run("checking an index", look).await;
        let mut failure = None;
        let goes_on = in_group(&place, owner, |group: &mut Group<Id>| {
            failure = group.note(&mut added, looked, began, timeout);
            group.index.merge(index.entries);
            group.added.append(&mut added);
            !group.added.is_empty()
        });
        if goes_on == Some(false) {
            GROUPS.with_borrow_mut(|groups| groups.remove(&place));
        }
        if let Some(error) = failure {
            log::background(&request_id, "index not confirmed", &error);
        }
    }
}

/// `None`: the group is another task's, or has ended.
fn in_group<Id: Member, T>(
    place: &Place,
    owner: u32,
    f: impl FnOnce(&mut Group<Id>) -> T,
) -> Option<T> {
    GROUPS.with_borrow_mut(|groups| {
        let group = groups.get_mut(place)?.downcast_mut::<Group<Id>>()?;
        (group.owner == owner).then(|| f(group))
    })
}

impl<Id: Member> Group<Id> {
    /// How long its task pauses until it looks.
    fn pause(&mut self) -> Duration {
        let now = Instant::now();
        let due = self.added.iter().map(|added| added.due).min();
        let pause = due.map_or(PAUSE, |due| due.saturating_duration_since(now));
        let is_hurried = self.added.iter().any(|added| added.looks == Looks::Lost);
        let pause = if is_hurried { pause } else { pause + GATHERING };
        self.looks_at = now + pause;
        pause
    }

    /// Notes what a look that began then found. Returns a failure that goes on for too long.
    fn note(
        &mut self,
        added: &mut Vec<Added<Id>>,
        looked: Result<Look<Id>, Fault>,
        began: Instant,
        timeout: Duration,
    ) -> Option<Fault> {
        let now = Instant::now();
        // Lost for so long, something else is wrong: the doctor repairs it.
        let is_late = |added: &Added<Id>| added.began.elapsed() > COMPENSATION_TIME;
        let Look {
            lost,
            is_as_written,
        } = match looked {
            Ok(look) => look,
            // Whoever wrote while the store was away may have overwritten these.
            Err(error) => {
                let pause = with_jitter(self.pause_while_failing);
                self.pause_while_failing =
                    (self.pause_while_failing * 2).min(LONGEST_PAUSE_WHILE_FAILING);
                let before = added.len();
                added.retain(|added| !is_late(added));
                for added in added.iter_mut() {
                    (added.written, added.looks, added.due) = (now, Looks::Lost, now + pause);
                }
                return (added.len() < before).then_some(error);
            }
        };
        self.pause_while_failing = PAUSE;
        added.retain_mut(|added| {
            if lost.contains(&added.id) {
                added.written = now;
                added.looks = Looks::Lost;
                added.due = now + with_jitter(PAUSE_AFTER_LOSS);
                return !is_late(added);
            }
            if began < added.due {
                return true;
            }
            let last = added.written + timeout;
            (added.looks, added.due) = match added.looks {
                Looks::Lost => (Looks::Found(0), now + with_jitter(PAUSE)),
                Looks::New if is_as_written => (Looks::Found(1), last.max(now)),
                Looks::New => (
                    Looks::Found(1),
                    (now + with_jitter(PAUSE * 2)).min(last.max(now)),
                ),
                Looks::Found(times) if times > 0 && began >= last => return false,
                Looks::Found(times) => {
                    let pause = with_jitter(PAUSE * 2_u32.saturating_pow(times + 1));
                    (Looks::Found(times + 1), (now + pause).min(last.max(now)))
                }
            };
            true
        });
        None
    }
}
