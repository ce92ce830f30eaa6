//! What an application is: its name, and the merchant that owns it.

use serde::{Deserialize, Serialize};

use super::ids::{ApplicationId, MerchantId};
use super::time::Timestamp;
use super::visible_text::{self, HiddenText};

/// An application's name: 1 to 100 characters, of which [nothing is hidden](visible_text).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(
    description = "1 to 100 characters, without white space at the ends, and without control, \
    bidirectional and invisible characters. Joiners and selectors are accepted where emoji and \
    scripts need them.",
    min_length = 1,
    max_length = 100,
    pattern = "^[^\\s\\u2800\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\
    \\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0d\\ufeff\\uffa0\\ufff0-\\ufffb\
    \u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}](?:\
    [^\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\
    \\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0d\\ufeff\\uffa0\\ufff0-\\ufffb\
    \u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]*\
    [^\\s\\u2800\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\
    \\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0d\\ufeff\\uffa0\\ufff0-\\ufffb\
    \u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}])?$",
    examples("Kadosei Shop")
)]
pub struct ApplicationName(String);

impl TryFrom<String> for ApplicationName {
    type Error = &'static str;

    /// The name in a document: what any release accepted is read for ever.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid = (1..=100).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && !text.trim().is_empty();
        valid
            .then_some(Self(text))
            .ok_or("not an application's name")
    }
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It is empty, or longer than 100 characters.
    Length,
    /// Something of it is hidden.
    Hidden(HiddenText),
}

impl std::fmt::Display for NameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length => f.write_str("Must have 1 to 100 characters"),
            Self::Hidden(hidden) => hidden.fmt(f),
        }
    }
}

impl ApplicationName {
    /// The name, if `text` can be one.
    ///
    /// # Errors
    ///
    /// The first reason why it cannot.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if !(1..=100).contains(&text.chars().count()) {
            return Err(NameError::Length);
        }
        visible_text::check(text).map_err(NameError::Hidden)?;
        Ok(Self(text.to_owned()))
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
pub struct ApplicationRecord {
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
    /// Whether its create had an `Idempotency-Key`, as in
    /// [`WebhookRecord`](super::webhook::WebhookRecord).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_repeatable: bool,
}

/// The document under `application-settings/{applicationId}`: what the merchant changed last.
/// Written by changes only, so that a change cannot bring back what was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSettings {
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
    pub created: ApplicationRecord,
    /// What the merchant changed last.
    pub settings: Option<ApplicationSettings>,
}

impl Application {
    /// Its settings as they are now.
    pub fn settings(&self) -> ApplicationSettings {
        self.settings
            .clone()
            .unwrap_or_else(|| ApplicationSettings {
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
    fn a_name_has_1_to_100_characters() {
        for good in ["a", "Kadosei Shop", &"é".repeat(100)] {
            assert!(ApplicationName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert!(ApplicationName::parse(bad).is_err(), "{bad}");
            let document = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<ApplicationName>(&document).is_err());
        }
    }

    #[test]
    fn a_name_of_an_earlier_release_is_read_and_cannot_be_given_again() {
        for earlier in [" Shop ", "Sh\u{200B}op", "\u{202E}pohS", "\u{3164}"] {
            let json = serde_json::to_string(earlier).unwrap();
            let name: ApplicationName = serde_json::from_str(&json).unwrap();
            assert_eq!(name.as_str(), earlier);
            assert!(ApplicationName::parse(earlier).is_err(), "{earlier:?}");
        }
        assert!(serde_json::from_str::<ApplicationName>(r#""  ""#).is_err());
    }

    #[test]
    fn a_document_written_by_hand_needs_only_its_merchant() {
        let created: ApplicationRecord =
            serde_json::from_str(r#"{"merchantId":"m","more":1}"#).unwrap();
        assert_eq!(created.merchant_id.as_str(), "m");
        assert_eq!(created.name, None);
    }
}
