//! What makes an index eventually consistent: whoever wrote it looks again, and writes back what others
//! overwrote.
//!
//! A writer overwrites what came after its own read, and can take as long for that as its request's
//! deadline lets it. So the checks go on, at growing distances, until all writes are over that may have
//! begun before this one.

use std::time::Duration;

use super::entry::Member;
use super::set::Index;
use crate::fault::Fault;
use crate::log;
use crate::model::collections::set;
use crate::model::time::Timestamp;
use crate::runtime::{Instant, after_response, sleep, with_jitter};
use crate::store::compensation::{COMPENSATION_TIME, LONGEST_PAUSE_WHILE_FAILING};
use crate::store::deadline::Deadline;

impl<Id: Member> Index<Id> {
    /// Goes on, after the response, to check that `id` stays in the index, and writes it back
    /// as the union of all that was seen, until it has stayed for as long as a request may take.
    pub fn confirm_later(
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
    ) -> Result<(), Fault> {
        /// How many checks in a row must find the id.
        const GOOD_CHECKS: u32 = 3;
        /// The first pause; after each good check it doubles.
        const PAUSE: Duration = Duration::from_millis(30);

        let started = Instant::now();
        let mut written = started;
        let mut good = 0;
        let mut pause = PAUSE;
        loop {
            // How long others may still write what they read before this id was written.
            let others = deadline.timeout().saturating_sub(written.elapsed());
            let jittered = with_jitter(pause);
            let is_last = good >= GOOD_CHECKS && others <= jittered;
            sleep(if is_last { others } else { jittered }).await;
            let check = self.check(id, created_at);
            match deadline.renew().run("checking an index", check).await {
                Ok(Check::Kept) if is_last => return Ok(()),
                Ok(Check::Kept) => {
                    good += 1;
                    pause *= 2;
                }
                Ok(Check::MemberGone) => return Ok(()),
                // Lost for so long, something else is wrong: the doctor repairs it.
                Ok(Check::WrittenBack) if started.elapsed() > COMPENSATION_TIME => return Ok(()),
                Ok(Check::WrittenBack) => {
                    written = Instant::now();
                    good = 0;
                    pause = PAUSE;
                }
                // Whoever wrote while the store was away may have overwritten this one.
                Err(error) if started.elapsed() > COMPENSATION_TIME => return Err(error),
                Err(_) => {
                    written = Instant::now();
                    good = 0;
                    pause = (pause * 2).min(LONGEST_PAUSE_WHILE_FAILING);
                }
            }
        }
    }

    async fn check(&mut self, id: &Id, created_at: Option<Timestamp>) -> Result<Check, Fault> {
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

enum Check {
    Kept,
    MemberGone,
    WrittenBack,
}
