//! The platform's event types: their names, and what the operator says about each.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::event::EventType;

/// The names where variable `event_types` is not set.
const DEFAULT_NAMES: &str = "session.completed,session.expired";

/// What is said of [`DEFAULT_NAMES`], as far as they are offered, where variable `event_type_details` is
/// not set.
const DEFAULT_DETAILS: &str = r#"{
    "session.completed": {
        "title": "Session completed",
        "description": "The customer completed the session.",
        "data": {"sessionId": "ses_8c1f"}
    },
    "session.expired": {
        "title": "Session expired",
        "description": "The session ended before the customer completed it.",
        "data": {"sessionId": "ses_8c1f"}
    }
}"#;

/// The most characters of a title.
const MAX_TITLE: usize = 100;

/// The most characters of a description.
const MAX_DESCRIPTION: usize = 1000;

/// The most bytes that an example's `data` has as JSON.
const MAX_DATA: usize = 4096;

/// An event type, and what the operator says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogueEntry {
    /// Its name.
    pub name: EventType,
    /// What people call it: 1 to 100 characters.
    pub title: Option<String>,
    /// When it happens: 1 to 1,000 characters.
    pub description: Option<String>,
    /// What an event of it could have as `data`: at most 4,096 bytes as JSON.
    pub data: Option<Map<String, Value>>,
}

impl CatalogueEntry {
    /// What is delivered for an event of the type: `type`, `timestamp` and `data`.
    pub fn payload(&self) -> Option<Value> {
        let data = self.data.clone()?;
        let members = [
            ("type", self.name.as_str().into()),
            ("timestamp", "2026-04-20T12:34:56.000Z".into()),
            ("data", Value::Object(data)),
        ];
        let members = members.map(|(name, value)| (name.to_owned(), value));
        Some(Value::Object(members.into_iter().collect()))
    }
}

/// The event types that webhooks can subscribe to, in the operator's order: one at least, each once.
#[derive(Clone, Debug, PartialEq)]
pub struct EventCatalogue(Vec<CatalogueEntry>);

/// Why variables make no catalogue. Never holds their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// `event_types` has something else than names.
    #[error("must be names of 1 to 128 letters, digits, `.`, `_` or `-`, separated by commas")]
    Name,
    /// `event_types` has a name twice.
    #[error("must not name an event type twice")]
    Duplicate,
    /// `event_type_details` has another form. Where serde_json noticed.
    #[error(
        "must be a JSON object of event types, each once and with none or some of `title` and `description`, \
         texts, and `data`, an object: it is not in line {line}, column {column}"
    )]
    Form {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// `event_type_details` has a name that `event_types` has not. How many entries are before it.
    #[error("has an event type that `event_types` has not: entry {}", .0 + 1)]
    Unknown(usize),
    /// A part of `event_type_details` has not the size that it may have. How many entries are before it.
    #[error(
        "must have titles of 1 to 100 characters, descriptions of 1 to 1,000 and `data` of 4,096 bytes at \
         most: entry {} has not",
        .0 + 1
    )]
    Size(usize),
}

impl CatalogueError {
    /// The variable that is malformed.
    pub const fn variable(&self) -> &'static str {
        match self {
            Self::Name | Self::Duplicate => "event_types",
            Self::Form { .. } | Self::Unknown(_) | Self::Size(_) => "event_type_details",
        }
    }
}

/// The members of variable `event_type_details`, in their order, each once.
struct Members(Vec<(String, Details)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of event types")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Details)> = Vec::new();
                while let Some((name, details)) = map.next_entry::<String, Details>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("an event type twice"));
                    }
                    members.push((name, details));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The value of a member of variable `event_type_details`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Details {
    title: Option<String>,
    description: Option<String>,
    data: Option<Map<String, Value>>,
}

impl Details {
    fn has_right_sizes(&self) -> bool {
        let fits = |text: &Option<String>, most| match text {
            Some(text) => !text.trim().is_empty() && text.chars().count() <= most,
            None => true,
        };
        let data = self.data.as_ref();
        let data = data.and_then(|data| serde_json::to_string(data).ok());
        fits(&self.title, MAX_TITLE)
            && fits(&self.description, MAX_DESCRIPTION)
            && data.is_none_or(|data| data.len() <= MAX_DATA)
    }
}

impl EventCatalogue {
    /// The catalogue of variables `event_types` and `event_type_details`; `None`: not set.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with them.
    pub fn parse(names: Option<&str>, details: Option<&str>) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::of_names(names.unwrap_or(DEFAULT_NAMES))?;
        let said = serde_json::from_str(details.unwrap_or(DEFAULT_DETAILS));
        let Members(said) = said.map_err(form)?;
        for (at, (name, said)) in said.into_iter().enumerate() {
            if !said.has_right_sizes() {
                return Err(CatalogueError::Size(at));
            }
            let mut entries = catalogue.0.iter_mut();
            match entries.find(|entry| entry.name.as_str() == name) {
                Some(entry) => {
                    entry.title = said.title;
                    entry.description = said.description;
                    entry.data = said.data;
                }
                None if details.is_some() => return Err(CatalogueError::Unknown(at)),
                None => {}
            }
        }
        Ok(catalogue)
    }

    fn of_names(list: &str) -> Result<Self, CatalogueError> {
        let mut entries: Vec<CatalogueEntry> = Vec::new();
        for name in list.split(',') {
            let name = EventType::parse(name.trim()).ok_or(CatalogueError::Name)?;
            if entries.iter().any(|entry| entry.name == name) {
                return Err(CatalogueError::Duplicate);
            }
            entries.push(CatalogueEntry {
                name,
                title: None,
                description: None,
                data: None,
            });
        }
        Ok(Self(entries))
    }

    /// The event types.
    pub fn entries(&self) -> &[CatalogueEntry] {
        &self.0
    }

    /// Their names.
    pub fn names(&self) -> Vec<EventType> {
        self.0.iter().map(|entry| entry.name.clone()).collect()
    }
}

impl Default for EventCatalogue {
    /// That of variables that are not set.
    fn default() -> Self {
        Self::parse(None, None).expect("the defaults are right")
    }
}

fn form(error: serde_json::Error) -> CatalogueError {
    CatalogueError::Form {
        line: error.line(),
        column: error.column(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(names: &str, details: &str) -> Result<EventCatalogue, CatalogueError> {
        EventCatalogue::parse(Some(names), Some(details))
    }

    #[test]
    fn the_defaults_are_described_as_far_as_they_are_offered() {
        let catalogue = EventCatalogue::default();
        let [completed, expired] = catalogue.entries() else {
            panic!("{catalogue:?}");
        };
        assert_eq!(completed.title.as_deref(), Some("Session completed"));
        assert_eq!(
            expired.payload(),
            Some(json!({
                "type": "session.expired",
                "timestamp": "2026-04-20T12:34:56.000Z",
                "data": {"sessionId": "ses_8c1f"},
            }))
        );
        let other = EventCatalogue::parse(Some("a, session.expired"), None).unwrap();
        let [a, still] = other.entries() else {
            panic!("{other:?}");
        };
        assert_eq!((&a.title, a.payload()), (&None, None));
        assert_eq!(still, expired);
    }

    #[test]
    fn what_is_said_of_a_type_is_its_own() {
        let details = r#"{"b": {"title": "B", "data": {}}, "a": {"description": "d"}}"#;
        let catalogue = parse("a,b,c", details).unwrap();
        let shown: Vec<_> = catalogue
            .entries()
            .iter()
            .map(|entry| {
                (
                    entry.name.as_str(),
                    entry.title.as_deref(),
                    entry.description.as_deref(),
                    entry.payload().is_some(),
                )
            })
            .collect();
        let expected = [
            ("a", None, Some("d"), false),
            ("b", Some("B"), None, true),
            ("c", None, None, false),
        ];
        assert_eq!(shown, expected);
        // The operator's word takes the place of the defaults as a whole.
        let silent = parse("session.completed", "{}").unwrap();
        assert_eq!(silent.entries()[0].title, None);
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        let long = |name: &str, length: usize| {
            format!(r#"{{"a": {{"{name}": "{}"}}}}"#, "x".repeat(length))
        };
        // The column is serde_json's.
        let in_line = |line| CatalogueError::Form { line, column: 0 };
        let data =
            |length: usize| format!(r#"{{"a": {{"data": {{"x": "{}"}}}}}}"#, "x".repeat(length));
        for (details, expected) in [
            ("[]", in_line(1)),
            ("{\n\"a\": 7}", in_line(2)),
            (r#"{"a": {"sesame": 1}}"#, in_line(1)),
            (r#"{"a": {"data": []}}"#, in_line(1)),
            (r#"{"a": {}, "a": {}}"#, in_line(1)),
            (r#"{"sesame": {}, "a": {}}"#, CatalogueError::Unknown(0)),
            (r#"{"a": {}, "sesame": {}}"#, CatalogueError::Unknown(1)),
            (r#"{"a": {"title": " "}}"#, CatalogueError::Size(0)),
            (&long("title", 101), CatalogueError::Size(0)),
            (&long("description", 1001), CatalogueError::Size(0)),
            (&data(4096 - 7), CatalogueError::Size(0)),
        ] {
            let mut error = parse("a", details).unwrap_err();
            if let CatalogueError::Form { column, .. } = &mut error {
                *column = 0;
            }
            assert_eq!(error, expected, "{details}");
            assert_eq!(error.variable(), "event_type_details");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
        for good in [
            long("title", 100),
            long("description", 1000),
            data(4096 - 8),
        ] {
            assert!(parse("a", &good).is_ok(), "{good}");
        }
        assert_eq!(parse("a,,b", "{}"), Err(CatalogueError::Name));
        assert_eq!(parse("a,a", "{}"), Err(CatalogueError::Duplicate));
    }
}
