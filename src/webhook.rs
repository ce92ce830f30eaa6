//! What a webhook is: its id, its URL, the events it is subscribed to.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
pub use crate::endpoint_url::{EndpointUrl, UrlError};
use crate::random;
use crate::secret::{Sealed, SecretsKey, SigningSecret};

/// A webhook's id: a UUID, version 4 for those with random ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
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

/// The name of an event: 1 to 128 letters, digits, `.`, `_` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventType(String);

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

/// The document under `webhook/{applicationId}/{webhookId}`.
///
/// Written once, by the request that creates the webhook; what changes later is kept under
/// other keys, so that nobody who changes a webhook can bring back one that was deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// The document's version: 1.
    pub v: u8,
    /// The webhook's id.
    pub id: WebhookId,
    /// Where its deliveries go, as the merchant spelled it.
    pub url: String,
    /// Whether events are delivered.
    pub is_active: bool,
    /// The events it is subscribed to, in the merchant's order.
    pub subscribed_events: Vec<EventType>,
    /// The signing secret it was created with.
    pub secret: StoredSecret,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A signing secret as documents keep it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredSecret {
    /// What may be shown of it.
    pub fingerprint: String,
    /// The secret, encrypted.
    pub sealed: Sealed,
}

impl StoredSecret {
    /// Encrypts `secret` for the webhook.
    pub fn seal(key: &SecretsKey, webhook: WebhookId, secret: &SigningSecret) -> Self {
        Self {
            fingerprint: secret.fingerprint(),
            sealed: key.seal_secret(&webhook.to_string(), secret),
        }
    }
}

impl Webhook {
    /// The current version of the document.
    pub const VERSION: u8 = 1;
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
    fn an_event_type_is_a_plain_name() {
        for good in ["session.completed", "a", "A_b-9"] {
            assert!(EventType::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a,b", "é", &"x".repeat(129)] {
            assert!(EventType::parse(bad).is_none(), "{bad}");
        }
    }
}
