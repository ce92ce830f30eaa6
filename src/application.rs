//! What an application is: its id, its name, and the merchant that owns it.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// An application's id: 1 to 128 characters of `A`–`Z`, `a`–`z`, `0`–`9`, `-`, `_`, `.` and
/// `~` (RFC 3986's unreserved characters), and not only dots.
///
/// Ours are UUIDs; whoever writes `application/{id}` into the store by hand may use others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(
        description = "1 to 128 letters, digits, `-`, `_`, `.` or `~`, and not only dots.",
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9._~-]*[A-Za-z0-9_~-][A-Za-z0-9._~-]*$",
        examples("c1f4a7de-52b0-4c39-8f6e-0d9b3a5e7f21"),
    )
)]
pub struct ApplicationId(String);

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

impl From<crate::webhook::WebhookId> for ApplicationId {
    /// The same UUID, as the id of an application.
    fn from(id: crate::webhook::WebhookId) -> Self {
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

/// An application's name: 1 to 100 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(
        description = "1 to 100 characters, none of them a control character, and not only white space.",
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
        examples("Kadosei Shop"),
    )
)]
pub struct ApplicationName(String);

impl ApplicationName {
    /// The name, if `text` can be one.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=100).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && !text.trim().is_empty();
        valid.then(|| Self(text.to_owned()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The document under `application/{applicationId}`: the application as it was created.
///
/// Only `merchantId` is required: whoever owns the applications may write just that.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// The merchant that owns the application.
    pub merchant_id: MerchantId,
    /// Its name; ours have one.
    #[serde(default)]
    pub name: Option<ApplicationName>,
    /// What the merchant says of it.
    #[serde(default)]
    pub description: Option<String>,
    /// When it was created; ours know.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
}

/// The document under `application-settings/{applicationId}`: what the merchant changed last.
/// Written by changes only, so that a change cannot bring back what was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Its name.
    pub name: Option<ApplicationName>,
    /// What the merchant says of it.
    pub description: Option<String>,
    /// Whether it takes changes.
    pub is_enabled: bool,
}

/// An application as it is now.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// As it was created.
    pub created: Created,
    /// What the merchant changed last.
    pub settings: Option<Settings>,
}

impl Application {
    /// Its settings as they are now.
    pub fn settings(&self) -> Settings {
        self.settings.clone().unwrap_or_else(|| Settings {
            name: self.created.name.clone(),
            description: self.created.description.clone(),
            is_enabled: true,
        })
    }

    /// Whether it takes changes and tests.
    pub fn is_enabled(&self) -> bool {
        self.settings
            .as_ref()
            .is_none_or(|settings| settings.is_enabled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_only_unreserved_characters() {
        for good in ["a", "example_string", "a.b~c-D_9", &"x".repeat(128)] {
            assert!(ApplicationId::parse(good).is_some(), "{good}");
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
        }
    }

    #[test]
    fn a_name_has_1_to_100_characters() {
        for good in ["a", "Kadosei Shop", &"é".repeat(100)] {
            assert!(ApplicationName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert!(ApplicationName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_document_written_by_hand_needs_only_its_merchant() {
        let created: Created = serde_json::from_str(r#"{"merchantId":"m","more":1}"#).unwrap();
        assert_eq!(created.merchant_id.as_str(), "m");
        assert_eq!(created.name, None);
    }
}
