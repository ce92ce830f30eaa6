//! The ids that name things in paths, tokens and keys of the store.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::random;

/// A webhook's id: a UUID, version 4 for those with random ids.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(
    description = "A UUID in its usual form of 36 characters.",
    value_type = String, format = Uuid, examples("8a1c2f9e-3d4b-4f5a-9b6c-7d8e9f0a1b2c"),
)]
pub struct WebhookId(Uuid);

impl WebhookId {
    /// A new random id.
    pub fn generate() -> Self {
        Self::from_random_bytes(random::bytes())
    }

    /// The version 4 id of 16 random bytes (RFC 9562 §5.4).
    pub fn from_random_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The id, if `text` is a UUID in its usual form of 36 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        (text.len() == 36).then_some(Self(uuid))
    }
}

impl std::fmt::Display for WebhookId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An application's id: 1 to 128 characters of `A`–`Z`, `a`–`z`, `0`–`9`, `-`, `_`, `.` and
/// `~` (RFC 3986's unreserved characters), and not only dots.
///
/// Ours are UUIDs; whoever writes `application/{id}` into the store by hand may use others.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String")]
#[schema(
    description = "1 to 128 letters, digits, `-`, `_`, `.` or `~`, and not only dots.",
    min_length = 1,
    max_length = 128,
    pattern = "^[A-Za-z0-9._~-]*[A-Za-z0-9_~-][A-Za-z0-9._~-]*$",
    examples("c1f4a7de-52b0-4c39-8f6e-0d9b3a5e7f21")
)]
pub struct ApplicationId(String);

impl TryFrom<String> for ApplicationId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not an application's id")
    }
}

impl ApplicationId {
    /// Longest id, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// A new random id, a UUID.
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id, if `text` is one.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let valid = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(allowed)
            && text.bytes().any(|byte| byte != b'.');
        valid.then(|| Self(text.to_owned()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<WebhookId> for ApplicationId {
    /// The same UUID, as the id of an application.
    fn from(id: WebhookId) -> Self {
        Self(id.to_string())
    }
}

impl std::fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A merchant's id as tokens name it: a non-empty string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct MerchantId(String);

impl TryFrom<String> for MerchantId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a merchant's id must not be empty")
    }
}

impl MerchantId {
    /// The id, if `text` is one.
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_4() {
        let id = WebhookId::generate().to_string();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert_eq!(WebhookId::parse(&id).unwrap().to_string(), id);
        for bad in [
            "",
            "x",
            &id[1..],
            &format!("{{{id}}}"),
            &id.replace('-', ""),
        ] {
            assert!(WebhookId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_id_has_only_unreserved_characters() {
        for good in ["a", "example_string", "a.b~c-D_9", &"x".repeat(128)] {
            let id = ApplicationId::parse(good).expect(good);
            let document = serde_json::to_string(&id).unwrap();
            assert_eq!(document, format!("\"{good}\""));
            assert_eq!(
                serde_json::from_str::<ApplicationId>(&document).unwrap(),
                id
            );
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a%2Fb",
            "é",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(ApplicationId::parse(bad).is_none(), "{bad}");
            let document = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<ApplicationId>(&document).is_err());
        }
    }
}
