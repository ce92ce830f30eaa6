//! What the operator gets to know of merchants' webhooks: operational events, and what they say.

use serde::Serialize;

use crate::events::database::{Effect, Record};
use crate::model::condition::DisabledReason;
use crate::model::delivery::DeliveryReason;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::operational::OperationalType;
use crate::model::time::Timestamp;

/// Which webhook something is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// Its application.
    pub application: ApplicationId,
    /// The webhook.
    pub webhook: WebhookId,
}

/// What happened, as the `data` of its event beside `applicationId` and `webhookId`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum Operational {
    /// Nothing has succeeded for a day.
    Failing {
        url: String,
        failing_since: Timestamp,
        failed_attempts: u32,
        failed_events: u32,
        will_be_disabled_at: Option<Timestamp>,
    },
    /// The service made the webhook inactive.
    Disabled {
        url: String,
        disabled_at: Timestamp,
        disabled_reason: DisabledReason,
        failing_since: Option<Timestamp>,
    },
    /// An attempt succeeded after a [`Self::Failing`].
    Recovered {
        url: String,
        failing_since: Timestamp,
        recovered_at: Timestamp,
    },
    /// A delivery failed at the end of its schedule: the first one of its hour.
    Exhausted {
        url: Option<String>,
        event_id: EventId,
        event_type: EventType,
        attempt_count: u32,
    },
}

impl Operational {
    /// That a delivery failed at the end of its schedule, if that is what is recorded.
    pub fn exhausted(record: &Record, event_type: EventType) -> Option<Self> {
        let Effect::Scheduled(state) = record.effect else {
            return None;
        };
        let made = u32::from(record.attempt.is_some());
        let exhausted = Self::Exhausted {
            url: record.attempt.as_ref().map(|attempt| attempt.url.clone()),
            event_id: record.held.key.event_id,
            event_type,
            // The number of an attempt that was not made is given back.
            attempt_count: record.held.number - 1 + made,
        };
        (state.reason == Some(DeliveryReason::Exhausted)).then_some(exhausted)
    }

    /// The type of its event.
    pub const fn kind(&self) -> OperationalType {
        match self {
            Self::Failing { .. } => OperationalType::WebhookFailing,
            Self::Disabled { .. } => OperationalType::WebhookDisabled,
            Self::Recovered { .. } => OperationalType::WebhookRecovered,
            Self::Exhausted { .. } => OperationalType::DeliveryExhausted,
        }
    }
}
