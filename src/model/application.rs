//! What an application is: its name, and the merchant that owns it.

use serde::{Deserialize, Serialize};

use super::ids::{ApplicationId, MerchantId};
use super::time::Timestamp;

/// An application's name: 1 to 100 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
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

impl ApplicationName {
    /// The name, if `text` can be one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::try_from(text.to_owned()).ok()
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
            assert!(ApplicationName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert!(ApplicationName::parse(bad).is_none(), "{bad}");
            let document = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<ApplicationName>(&document).is_err());
        }
    }

    #[test]
    fn a_document_written_by_hand_needs_only_its_merchant() {
        let created: ApplicationRecord =
            serde_json::from_str(r#"{"merchantId":"m","more":1}"#).unwrap();
        assert_eq!(created.merchant_id.as_str(), "m");
        assert_eq!(created.name, None);
    }
}
