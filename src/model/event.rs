//! What events are called, and which of them a webhook is subscribed to.

use serde::{Deserialize, Serialize, Serializer};

/// The name of an event: 1 to 128 letters, digits, `.`, `_` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(
    description = "The name of an event: 1 to 128 letters, digits, `.`, `_` or `-`. Which events there \
    are is the platform's decision; unless it says otherwise, they are `session.completed` and \
    `session.expired`.",
    min_length = 1,
    max_length = 128,
    pattern = "^[A-Za-z0-9._-]+$",
    examples("session.completed", "session.expired")
)]
pub struct EventType(String);

/// What `subscribedEvents` has.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(
    description = "The name of an event type, or `*`.",
    min_length = 1,
    max_length = 128,
    pattern = r"^(\*|[A-Za-z0-9._-]+)$",
    examples("session.completed", "session.expired")
)]
pub struct SubscribedEvent(String);

impl TryFrom<String> for EventType {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match Self::is_name(&text) {
            true => Ok(Self(text)),
            false => Err("not the name of an event"),
        }
    }
}

impl EventType {
    /// The event type, if `text` can be the name of one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_name(text).then(|| Self(text.to_owned()))
    }

    fn is_name(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=128).contains(&text.len()) && text.bytes().all(allowed)
    }

    /// A type of the service's own.
    pub(super) fn of_service(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The events that a webhook is subscribed to.
///
/// Responses and stored documents have it as an array: of names, or `["*"]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub enum SubscribedEvents {
    /// Every event, also of types that are added later: `["*"]`.
    Every,
    /// Events of these types, in the merchant's order.
    Of(Vec<EventType>),
}

/// Why names are no subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionError {
    /// There are none.
    Empty,
    /// One comes twice.
    Duplicate,
    /// `*` stands beside others.
    NotAlone,
    /// Some are no event types. At most [`MAX_UNKNOWN`] of them, and all that are known.
    Unknown(Vec<String>, Vec<EventType>),
}

/// How many unknown names an error repeats.
const MAX_UNKNOWN: usize = 8;

impl SubscribedEvents {
    /// What stands for every event.
    const WILDCARD: &str = "*";

    /// The subscription to events of these names. `known` are the types there are; types that are
    /// not among them any more can stay where `current` has them.
    ///
    /// # Errors
    ///
    /// The first kind of fault there is.
    pub fn choose(
        names: &[&str],
        known: &[EventType],
        current: Option<&Self>,
    ) -> Result<Self, SubscriptionError> {
        if names.is_empty() {
            return Err(SubscriptionError::Empty);
        }
        if names == [Self::WILDCARD] {
            return Ok(Self::Every);
        }
        if names.contains(&Self::WILDCARD) {
            return Err(SubscriptionError::NotAlone);
        }
        let withdrawn = match current {
            Some(Self::Of(types)) => types.as_slice(),
            Some(Self::Every) | None => &[],
        };
        let mut types: Vec<EventType> = Vec::new();
        let mut unknown = Vec::new();
        for name in names {
            let mut there_are = known.iter().chain(withdrawn);
            match there_are.find(|event| event.as_str() == *name) {
                Some(event) if types.contains(event) => return Err(SubscriptionError::Duplicate),
                Some(event) => types.push(event.clone()),
                None => unknown.push((*name).to_owned()),
            }
        }
        if !unknown.is_empty() {
            unknown.truncate(MAX_UNKNOWN);
            return Err(SubscriptionError::Unknown(unknown, known.to_owned()));
        }
        Ok(Self::Of(types))
    }
}

impl SubscribedEvents {
    /// Whether events of this type are among them.
    pub fn includes(&self, event: &EventType) -> bool {
        match self {
            Self::Every => true,
            Self::Of(types) => types.contains(event),
        }
    }
}

impl std::fmt::Display for SubscriptionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Must not be empty"),
            Self::Duplicate => f.write_str("Must not contain duplicates"),
            Self::NotAlone => f.write_str("`*` means every event: nothing can stand beside it"),
            Self::Unknown(names, known) => {
                // Quoted, so that a space at the end and an empty name can be seen.
                let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
                let known: Vec<&str> = known.iter().map(EventType::as_str).collect();
                write!(
                    f,
                    "Unknown event type: {}. Known: {}; or `*` for every event",
                    names.join(", "),
                    known.join(", ")
                )
            }
        }
    }
}

impl Serialize for SubscribedEvents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Every => serializer.collect_seq([Self::WILDCARD]),
            Self::Of(types) => serializer.collect_seq(types),
        }
    }
}

impl TryFrom<Vec<String>> for SubscribedEvents {
    type Error = &'static str;

    fn try_from(names: Vec<String>) -> Result<Self, Self::Error> {
        if names == [Self::WILDCARD] {
            return Ok(Self::Every);
        }
        let types = names.into_iter().map(EventType::try_from);
        types
            .collect::<Result<_, _>>()
            .map(Self::Of)
            .map_err(|_| "a subscription has the names of event types, or `*` alone")
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
        for bad in ["", "*", "a b", "a,b", "é", &"x".repeat(129)] {
            assert!(EventType::parse(bad).is_none(), "{bad}");
            let document = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<EventType>(&document).is_err());
        }
    }

    fn types(names: &[&str]) -> Vec<EventType> {
        let types = names.iter().map(|name| EventType::parse(name).unwrap());
        types.collect()
    }

    #[test]
    fn a_subscription_is_to_known_types_each_once_or_to_every_event() {
        let known = types(&["a", "b"]);
        let choose = |names: &[&str]| SubscribedEvents::choose(names, &known, None);
        let of = |names: &[&str]| Ok(SubscribedEvents::Of(types(names)));
        assert_eq!(choose(&["b", "a"]), of(&["b", "a"]));
        assert_eq!(choose(&["*"]), Ok(SubscribedEvents::Every));
        assert_eq!(choose(&[]), Err(SubscriptionError::Empty));
        assert_eq!(choose(&["a", "b", "a"]), Err(SubscriptionError::Duplicate));
        for beside in [&["*", "a"][..], &["a", "*"], &["*", "*"]] {
            assert_eq!(choose(beside), Err(SubscriptionError::NotAlone));
        }
    }

    #[test]
    fn an_unknown_type_is_named_with_those_that_are_known() {
        let known = types(&["a", "b"]);
        let error = |names: &[&str]| {
            let error = SubscribedEvents::choose(names, &known, None).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            error(&["a", "c ", ""]),
            r#"Unknown event type: "c ", "". Known: a, b; or `*` for every event"#
        );
        let many = ["x"; 1000];
        assert_eq!(error(&many).matches("\"x\"").count(), MAX_UNKNOWN);
    }

    #[test]
    fn a_withdrawn_type_can_stay_where_it_is() {
        let known = types(&["a"]);
        let current = SubscribedEvents::Of(types(&["old", "a"]));
        let choose = |names: &[&str], current| SubscribedEvents::choose(names, &known, current);
        assert!(choose(&["old"], Some(&current)).is_ok());
        assert!(choose(&["a", "old"], Some(&current)).is_ok());
        assert!(choose(&["old"], None).is_err());
        assert!(choose(&["old"], Some(&SubscribedEvents::Every)).is_err());
        assert!(choose(&["older"], Some(&current)).is_err());
    }

    #[test]
    fn a_star_includes_types_that_nobody_knows_yet() {
        let [a, b] = &types(&["a", "b"])[..] else {
            panic!("two types");
        };
        assert!(SubscribedEvents::Every.includes(a));
        let subscribed = SubscribedEvents::Of(vec![a.clone()]);
        assert!(subscribed.includes(a) && !subscribed.includes(b));
    }

    #[test]
    fn a_document_has_names_or_a_star() {
        for json in [r#"["a","b"]"#, r#"["*"]"#, "[]"] {
            let events: SubscribedEvents = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&events).unwrap(), json);
        }
        for json in [r#"["a b"]"#, r#"["*","a"]"#, r#""*""#] {
            assert!(
                serde_json::from_str::<SubscribedEvents>(json).is_err(),
                "{json}"
            );
        }
    }
}
