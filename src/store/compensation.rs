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
    let (deadline, request_id) = (deadline.clone(), request_id.to_owned());
    after_response(compensate_until(
        enough,
        Box::new(compensate_once),
        deadline,
        request_id,
    ));
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

/// Not generic: each use of its own would be a kilobyte of the component.
async fn compensate_until(
    enough: Duration,
    mut compensate_once: Box<dyn Compensate>,
    deadline: Deadline,
    request_id: String,
) {
    let started = Instant::now();
    let mut pause = Duration::from_millis(250);
    loop {
        let last = started.elapsed();
        match deadline
            .renew()
            .run("compensating", compensate_once.compensate_once())
            .await
        {
            Ok(()) if last >= enough => return,
            Err(error) if last >= COMPENSATION_TIME => {
                return log::background(&request_id, "a failed request left a trace", &error);
            }
            _ => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE_WHILE_FAILING);
    }
}

/// What [`compensate`] repeats. There is no `dyn AsyncFnMut`.
trait Compensate {
    fn compensate_once(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + '_>>;
}

impl<F: AsyncFnMut() -> Result<(), Fault>> Compensate for F {
    fn compensate_once(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + '_>> {
        Box::pin(self())
    }
}
