//! A webhook as responses show it.

use serde::Serialize;

use crate::fault::Fault;
use crate::http::etag::EntityTag;
use crate::model::condition::DisabledReason;
use crate::model::event::{SubscribedEvent, SubscribedEvents};
use crate::model::ids::WebhookId;
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;
use crate::model::webhook::{TestStatus, Webhook};

/// A webhook as responses show it. `signingSecret` is there once: when it was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(
    as = Webhook, description = "A webhook of an application."
)]
pub struct WebhookResponse<'a> {
    /// ID of the webhook.
    #[schema(inline)]
    id: WebhookId,
    /// HTTPS endpoint on the merchant server that receives webhooks, as the merchant spelled it.
    #[schema(
        format = Uri, max_length = 2048, examples("https://merchant.example.com/webhooks/kadosei")
    )]
    url: &'a str,
    /// Whether events are delivered.
    #[schema(examples(true))]
    is_active: bool,
    /// `whsec_****` and the last four characters of the newest signing secret.
    #[schema(pattern = r"^whsec_\*{4}[A-Za-z0-9+/]{4}$", examples("whsec_****a3f2"))]
    key_fingerprint: &'a str,
    /// The secret that deliveries are signed with. It is shown in this response and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        nullable = false,
        pattern = "^whsec_[A-Za-z0-9+/]{48}$",
        examples("whsec_bm90LWEtcmVhbC1zZWNyZXQtYnV0LWFuLWV4YW1wbGUta3f2")
    )]
    signing_secret: Option<String>,
    /// The events that it is subscribed to: `["*"]` is every event, also of types that are added
    /// later.
    #[schema(
        value_type = Vec<SubscribedEvent>, min_items = 1,
        examples(json!(["session.completed", "session.expired"]))
    )]
    subscribed_events: &'a SubscribedEvents,
    /// When the last test delivery was sent; `null` before the first.
    #[schema(inline, required, examples("2026-04-20T12:34:56.000Z"))]
    last_test_at: Option<Timestamp>,
    /// How the last test delivery ended; `null` before the first.
    #[schema(inline, required, examples("SUCCEEDED"))]
    last_test_status: Option<TestStatus>,
    /// When it was created.
    #[schema(inline, examples("2026-01-15T08:00:00.000Z"))]
    created_at: Timestamp,
    /// When something of it was changed last. A test changes nothing.
    #[schema(inline, examples("2026-04-01T09:30:00.000Z"))]
    updated_at: Timestamp,
    /// The secrets before the newest that deliveries are still signed with, the newest first. A
    /// create does not show them: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline, nullable = false, max_items = 5)]
    previous_secrets: Option<Vec<PreviousSecret<'a>>>,
    /// When the service made it inactive; `null` while it is active, and when its merchant made it
    /// inactive. A create does not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<Timestamp>, examples(json!(null)))]
    disabled_at: Option<Option<Timestamp>>,
    /// Why the service made it inactive: `failing`, since no attempt succeeded for as long as
    /// `GET /api/v1/delivery-policy` says, or `gone`, since its endpoint returned 410 twice to one
    /// event. `null` as `disabledAt` is. `PATCH` with `isActive: true` begins anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<DisabledReason>, examples(json!(null)))]
    disabled_reason: Option<Option<DisabledReason>>,
}

/// A secret that signs on after a rotation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousSecret<'a> {
    /// `whsec_****` and the last four characters of the secret.
    #[schema(pattern = r"^whsec_\*{4}[A-Za-z0-9+/]{4}$", examples("whsec_****a3f2"))]
    fingerprint: &'a str,
    /// From when on it does not sign any more.
    #[schema(inline, examples("2026-04-02T09:30:00.000Z"))]
    expires_at: Timestamp,
}

/// What the `ETag` of a webhook covers: what its merchant can change, whoever changed it, and nothing
/// that changes by itself or by a test.
#[derive(Serialize)]
struct Version<'a> {
    id: WebhookId,
    url: &'a str,
    is_active: bool,
    subscribed_events: &'a SubscribedEvents,
    key_fingerprint: &'a str,
    updated_at: Timestamp,
}

impl<'a> From<&'a Webhook> for WebhookResponse<'a> {
    fn from(webhook: &'a Webhook) -> Self {
        let settings = webhook.settings();
        Self {
            id: webhook.created.id,
            url: settings.url,
            is_active: webhook.is_active(),
            key_fingerprint: &webhook.newest_secret().fingerprint,
            signing_secret: None,
            subscribed_events: settings.subscribed_events,
            last_test_at: webhook.last_test.map(|test| test.at),
            last_test_status: webhook.last_test.map(|test| test.status),
            created_at: webhook.created.created_at,
            updated_at: webhook.updated_at(),
            previous_secrets: None,
            disabled_at: None,
            disabled_reason: None,
        }
    }
}

impl<'a> WebhookResponse<'a> {
    /// The webhook as all but its create show it.
    pub fn at(webhook: &'a Webhook, now: Timestamp) -> Self {
        let previous = webhook.previous_secrets(now).into_iter();
        let previous = previous.map(|(secret, expires_at)| PreviousSecret {
            fingerprint: &secret.fingerprint,
            expires_at,
        });
        let disabled = webhook.disabled();
        Self {
            previous_secrets: Some(previous.collect()),
            disabled_at: Some(disabled.map(|disabled| disabled.at)),
            disabled_reason: Some(disabled.map(|disabled| disabled.reason)),
            ..Self::from(webhook)
        }
    }

    /// Its entity tag.
    ///
    /// # Errors
    ///
    /// As [`EntityTag::of`].
    pub fn tag(&self) -> Result<EntityTag, Fault> {
        EntityTag::of(&Version {
            id: self.id,
            url: self.url,
            is_active: self.is_active,
            subscribed_events: self.subscribed_events,
            key_fingerprint: self.key_fingerprint,
            updated_at: self.updated_at,
        })
    }

    /// With the secret, for the one response that has it.
    pub fn with_secret(self, secret: &SigningSecret) -> Self {
        Self {
            signing_secret: Some(secret.reveal()),
            ..self
        }
    }
}
