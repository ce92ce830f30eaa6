//! Compensation: what a failed request left, or may still leave, is removed after the response.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::deadline::Deadline;
use super::key_value::Store;
use crate::fault::Fault;
use crate::log;
use crate::runtime::{Instant, after_response, sleep};

/// How long, at most, work after a response tries to put things right.
pub const COMPENSATION_TIME: Duration = Duration::from_secs(64);

/// How long it pauses at most while the store is away.
pub const LONGEST_PAUSE_WHILE_FAILING: Duration = Duration::from_secs(4);

/// Removes, after the response, what a request that failed has left or may still leave.
///
/// A write that was cut off can take effect after the first `compensate_once`, and nobody knows when. So
/// `compensate_once` is repeated for about a minute where one `was_cut_off`, and else for a second. What
/// the store refuses is tried again for a minute, at pauses of 0.25 s to 4 s. The doctor finds what a
/// longer fault leaves.
pub fn compensate(
    was_cut_off: bool,
    deadline: &Deadline,
    request_id: &str,
    compensate_once: impl AsyncFnMut() -> Result<(), Fault> + 'static,
) {
    let enough = match was_cut_off {
        true => COMPENSATION_TIME,
        false => Duration::from_secs(1),
    };
    let repeated = Repeated {
        enough,
        longest_pause: LONGEST_PAUSE_WHILE_FAILING,
        deadline: deadline.clone(),
        request_id: request_id.to_owned(),
        complaint: "a failed request left a trace",
    };
    after_response(repeated.run(Box::new(compensate_once)));
}

/// Looks again, after the response of a delete, whether what it removed has come back: at once, and at
/// distances that double, until [`COMPENSATION_TIME`] has passed. So what came back is removed before as
/// much time has passed again as had since the delete.
pub fn look_again(
    deadline: &Deadline,
    request_id: &str,
    look: impl AsyncFnMut() -> Result<(), Fault> + 'static,
) {
    let repeated = Repeated {
        enough: COMPENSATION_TIME,
        longest_pause: COMPENSATION_TIME,
        deadline: deadline.clone(),
        request_id: request_id.to_owned(),
        complaint: "what was deleted may be back",
    };
    after_response(repeated.run(Box::new(look)));
}

/// Removes the document under `key` where there is none under `owner`, which it belongs to. Returns
/// whether there is an owner.
///
/// A delete removes the owner first and its other documents afterwards. So what is written before this
/// looks is removed by the delete, or this finds no owner and removes it.
///
/// # Errors
///
/// The store's failure.
pub async fn remove_orphan(store: &Store, owner: &str, key: &str) -> Result<bool, Fault> {
    let has_owner = store.exists(owner).await?;
    if !has_owner {
        store.delete(key).await?;
    }
    Ok(has_owner)
}

/// How work is repeated after a response.
struct Repeated {
    /// For how long it is repeated where it succeeds.
    enough: Duration,
    /// Between two times that succeed.
    longest_pause: Duration,
    deadline: Deadline,
    request_id: String,
    /// What the log says if it fails in the end.
    complaint: &'static str,
}

impl Repeated {
    /// Not generic: each use of its own would be a kilobyte of the component.
    async fn run(self, mut work: Box<dyn Compensate>) {
        let started = Instant::now();
        let mut pause = Duration::from_millis(250);
        let mut failing_since = started;
        loop {
            let began = Instant::now();
            let last = started.elapsed();
            let longest = match self
                .deadline
                .renew()
                .run("compensating", work.compensate_once())
                .await
            {
                Ok(()) if last >= self.enough => return,
                Ok(()) => {
                    failing_since = Instant::now();
                    self.longest_pause
                }
                Err(error)
                    if began.saturating_duration_since(failing_since) >= COMPENSATION_TIME =>
                {
                    return log::background(&self.request_id, self.complaint, &error);
                }
                Err(_) => LONGEST_PAUSE_WHILE_FAILING,
            };
            pause = pause.min(longest);
            let rest = self.enough.saturating_sub(started.elapsed());
            sleep(if rest.is_zero() {
                pause
            } else {
                pause.min(rest)
            })
            .await;
            pause = (pause * 2).min(longest);
        }
    }
}

/// What is repeated. There is no `dyn AsyncFnMut`.
trait Compensate {
    fn compensate_once(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + '_>>;
}

impl<F: AsyncFnMut() -> Result<(), Fault>> Compensate for F {
    fn compensate_once(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + '_>> {
        Box::pin(self())
    }
}
