//! The lines of a response: progress, findings, repairs, and a last line with counts.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use crate::fault::Fault;
use crate::http::response::Writer;
use crate::model::time::Timestamp;
use crate::runtime::Instant;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(1);

#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum Line<'a> {
    Progress {
        step: &'a str,
        done: usize,
        of: usize,
    },
    Finding {
        key: &'a str,
        problem: &'a str,
        message: &'a str,
    },
    Copy {
        key: &'a str,
        base64: &'a str,
    },
    Repaired {
        key: &'a str,
        problem: &'a str,
    },
    Done(&'a Done),
    Stopped {
        message: &'a str,
    },
}

/// The last line's counts.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// How many different things were found wrong.
    pub found: usize,
    /// How many of them were repaired, or encrypted anew.
    pub repaired: usize,
    /// How many are left: for a person, or because requests went on to change them.
    pub left: usize,
    /// How many requests with an `Idempotency-Key` cannot be repeated without a previous key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<usize>,
    /// Until when they can be repeated, and the previous keys are needed for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_key_needed_until: Option<Timestamp>,
}

/// Where work reports what it comes to.
#[derive(Clone)]
pub struct Report {
    writer: Writer,
    last: Rc<Cell<Option<Instant>>>,
}

impl Report {
    /// A report that is written there.
    pub fn new(writer: Writer) -> Self {
        Self {
            writer,
            last: Rc::default(),
        }
    }

    /// How far a step is. Where the last word on that is less than a second ago, nothing is said.
    pub fn progress(&self, step: &str, done: usize, of: usize) {
        let is_due = self
            .last
            .get()
            .is_none_or(|last| last.elapsed() >= PROGRESS);
        if is_due || done == 0 {
            self.last.set(Some(Instant::now()));
            self.writer.line(&Line::Progress { step, done, of });
        }
    }

    /// Something is wrong.
    pub fn finding(&self, key: &str, problem: &str, message: &str) {
        self.writer.line(&Line::Finding {
            key,
            problem,
            message,
        });
    }

    /// A document as it is before it is removed. When this returns the line is on its way.
    pub async fn copy(&self, key: &str, base64: &str) {
        self.writer.line(&Line::Copy { key, base64 });
        self.writer.flush().await;
    }

    /// Something is not wrong any more.
    pub fn repaired(&self, key: &str, problem: &str) {
        self.writer.line(&Line::Repaired { key, problem });
    }

    /// The last line.
    pub fn done(&self, done: &Done) {
        self.writer.line(&Line::Done(done));
    }

    /// The last line of work that failed.
    pub fn stopped(&self, error: &Fault) {
        let message = format!("{error}; nothing is lost: call it again");
        self.writer.line(&Line::Stopped { message: &message });
    }
}
