//! Operational events: what the service lets its operator know of merchants' webhooks.

use super::event::EventType;

/// The types of operational events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationalType {
    /// Nothing has succeeded for a webhook for 24 hours.
    WebhookFailing,
    /// The service made a webhook inactive.
    WebhookDisabled,
    /// An attempt succeeded again, after [`Self::WebhookFailing`].
    WebhookRecovered,
    /// A delivery failed at the end of its schedule; at most one an hour for a webhook.
    DeliveryExhausted,
}

impl OperationalType {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::WebhookFailing,
        Self::WebhookDisabled,
        Self::WebhookRecovered,
        Self::DeliveryExhausted,
    ];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebhookFailing => "webhook.failing",
            Self::WebhookDisabled => "webhook.disabled",
            Self::WebhookRecovered => "webhook.recovered",
            Self::DeliveryExhausted => "delivery.exhausted",
        }
    }

    /// The name, as events have it.
    pub fn event_type(self) -> EventType {
        EventType::of_service(self.as_str())
    }
}
