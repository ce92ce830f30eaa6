//! A recording: what the service does for one kind of request, as the stand-in replays it.

use serde::{Deserialize, Serialize};

/// Stands in keys for the application that the request's path names.
pub const APPLICATION: &str = "{application}";

/// Stands in keys for an id that the request makes.
pub const NEW_ID: &str = "{new}";

/// Stands for the id of the event that the request publishes.
pub const EVENT: &str = "{event}";

/// What the body of a request has in it that the requests for it must have too: this, or the same with
/// other digits.
pub const MARKER: &str = "bench-000000000000";

/// The marker that a body has.
pub fn marker(body: &str) -> Option<&str> {
    let (prefix, _) = MARKER.split_once('-')?;
    let begin = body.find(prefix)?;
    let marker = body.get(begin..begin + MARKER.len())?;
    let digits = marker.get(prefix.len() + 1..)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(marker)
}

/// One request: what was done for it, and the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The response's status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
    /// What was done until the response, in the order in which they began.
    pub steps: Vec<Step>,
    /// What was done after it.
    pub afterwards: Vec<Step>,
    /// The fewest operations that any design could make for such a request; empty where nobody asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fewest: Vec<Step>,
}

/// What of a recording is replayed: the first segment of the request's path has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// All that the service does.
    Same,
    /// [`Recording::fewest`], and nothing after the response.
    Fewest,
    /// Nothing: the response only.
    AtOnce,
}

impl Mode {
    /// Each with its name.
    const NAMES: [(Self, &str); 3] = [
        (Self::Same, "replay"),
        (Self::Fewest, "fewest"),
        (Self::AtOnce, "at-once"),
    ];

    /// Its name in paths.
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.into_iter();
        names
            .find(|(mode, _)| *mode == self)
            .map_or("", |(_, name)| name)
    }

    /// The mode of that name.
    pub fn named(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.into_iter();
        names
            .find(|(_, known)| *known == name)
            .map(|(mode, _)| mode)
    }
}

impl Recording {
    /// What is replayed of it.
    #[must_use]
    pub fn replayed(mut self, mode: Mode) -> Self {
        let fewest = std::mem::take(&mut self.fewest);
        match mode {
            Mode::Same => {}
            Mode::Fewest => (self.steps, self.afterwards) = (fewest, Vec::new()),
            Mode::AtOnce => (self.steps, self.afterwards) = (Vec::new(), Vec::new()),
        }
        self
    }
}

/// One operation of the store, statement, or outbound request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does.
    pub operation: Operation,
    /// To which key, with [`APPLICATION`], [`NEW_ID`] and [`EVENT`] in it; the statement's name; the URL.
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
    /// Runs a statement on the events' database.
    Statement {
        /// Its text.
        sql: String,
        /// Its parameters, with [`EVENT`] in them.
        parameters: Vec<Parameter>,
    },
    /// Makes a request.
    Request {
        /// The method.
        method: String,
        /// The headers, with [`EVENT`] in them.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
}

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    /// NULL.
    Null,
    /// A number.
    Integer(i64),
    /// A text.
    Text(String),
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
    fn a_body_has_its_marker_or_none() {
        assert_eq!(
            marker(r#"{"data":{"marker":"bench-000000000000"}}"#),
            Some(MARKER)
        );
        assert_eq!(marker("x bench-000000000017 y"), Some("bench-000000000017"));
        for none in ["", "bench", "bench-00000000000", "bench-00000000000x"] {
            assert_eq!(marker(none), None, "{none}");
        }
    }

    #[test]
    fn a_mode_replays_its_own_steps() {
        let step = |key: &str| Step {
            operation: Operation::Get,
            key: key.to_owned(),
            after: 0,
            pause_ms: 0,
        };
        let recording = Recording {
            status: 200,
            headers: Vec::new(),
            body: String::new(),
            steps: vec![step("a"), step("b")],
            afterwards: vec![step("c")],
            fewest: vec![step("a")],
        };
        for (name, steps, afterwards) in [
            ("replay", vec![step("a"), step("b")], vec![step("c")]),
            ("fewest", vec![step("a")], Vec::new()),
            ("at-once", Vec::new(), Vec::new()),
        ] {
            let mode = Mode::named(name).expect(name);
            assert_eq!(mode.name(), name);
            let replayed = recording.clone().replayed(mode);
            assert_eq!((replayed.steps, replayed.afterwards), (steps, afterwards));
        }
        assert_eq!(Mode::named("api"), None);
    }

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
