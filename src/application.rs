//! What an application is: its id, and the merchant that owns it.

use serde::{Deserialize, Serialize};

/// An application's id: 1 to 128 characters of `A`–`Z`, `a`–`z`, `0`–`9`, `-`, `_`, `.` and
/// `~` (RFC 3986's unreserved characters), and not only dots.
///
/// Ours are UUIDs; whoever writes `application/{id}` into the store by hand may use others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ApplicationId(String);

impl ApplicationId {
    /// Longest id, in characters.
    pub const MAX_LENGTH: usize = 128;

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

impl std::fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A merchant's id as tokens name it: a non-empty string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MerchantId(String);

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

/// The document under `application/{applicationId}`.
///
/// Only `merchantId` is required: whoever owns the applications may write just that.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// The merchant that owns the application.
    pub merchant_id: MerchantId,
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
}
