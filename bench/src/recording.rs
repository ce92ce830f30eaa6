//! A recording: what the service does for one kind of request, as the stand-in replays it.

use serde::{Deserialize, Serialize};

/// Stands in keys for the application that the request's path names.
pub const APPLICATION: &str = "{application}";

/// Stands in keys for an id that the request makes.
pub const NEW_ID: &str = "{new}";

/// One request: the store operations for it, and the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The response's status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
    /// The operations until the response, in the order in which they began.
    pub steps: Vec<Step>,
    /// The operations after it.
    pub afterwards: Vec<Step>,
}

/// One store operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does.
    pub operation: Operation,
    /// To which key, with [`APPLICATION`] and [`NEW_ID`] in it.
    pub key: String,
    /// How many operations of its list had ended when it began: it begins when as many have.
    pub after: usize,
    /// How long it was put off after that, in milliseconds; 0 before the response, where waiting
    /// is the service's own cost.
    pub pause_ms: u64,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Reads a value.
    Get,
    /// Writes so many bytes, or, where the request has read the key before, so many more or fewer
    /// than it read.
    Set {
        /// The size of the value.
        bytes: usize,
        /// By how much that is more than was read; `None` where nothing was read.
        growth: Option<i64>,
    },
    /// Removes a value.
    Delete,
    /// Asks for a value's being there.
    Exists,
}

impl Operation {
    /// The size of the value to write, when `read` bytes were read under its key in this request.
    pub fn size(bytes: usize, growth: Option<i64>, read: Option<usize>) -> usize {
        match (growth, read) {
            (Some(growth), Some(read)) => {
                let growth = isize::try_from(growth).unwrap_or_default();
                read.saturating_add_signed(growth)
            }
            _ => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_was_read_grows_by_as_much_as_in_the_recording() {
        assert_eq!(Operation::size(79, Some(39), Some(400)), 439);
        assert_eq!(Operation::size(2, Some(-37), Some(39)), 2);
        assert_eq!(Operation::size(2, Some(-37), Some(9)), 0);
        // What was there in the recording is not there now, or the other way round.
        assert_eq!(Operation::size(79, Some(39), None), 79);
        assert_eq!(Operation::size(79, None, Some(400)), 79);
    }
}
