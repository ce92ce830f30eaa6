//! What an event is called.

use serde::{Deserialize, Serialize};

/// The name of an event: 1 to 128 letters, digits, `.`, `_` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(
        description = "The name of an event: 1 to 128 letters, digits, `.`, `_` or `-`. Which events there \
        are is the platform's decision; unless it says otherwise, they are `session.completed` and \
        `session.expired`.",
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9._-]+$",
        examples("session.completed", "session.expired"),
    )
)]
pub struct EventType(String);

impl TryFrom<String> for EventType {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the name of an event")
    }
}

impl EventType {
    /// The event type, if `text` can be the name of one.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_type_is_a_plain_name() {
        for good in ["session.completed", "a", "A_b-9"] {
            let event = EventType::parse(good).expect(good);
            let document = serde_json::to_string(&event).unwrap();
            assert_eq!(document, format!("\"{good}\""));
            assert_eq!(serde_json::from_str::<EventType>(&document).unwrap(), event);
        }
        for bad in ["", "a b", "a,b", "é", &"x".repeat(129)] {
            assert!(EventType::parse(bad).is_none(), "{bad}");
            let document = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<EventType>(&document).is_err());
        }
    }
}
