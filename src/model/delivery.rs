//! Events, their deliveries and the attempts of these: what the log shows of each, and the names that
//! the API and the database have for their states.

use serde::Serialize;

use super::event::EventType;
use super::ids::{ApplicationId, EventId, WebhookId};
use super::time::Timestamp;

/// An enum whose variants have one name each, in responses and in the database.
macro_rules! named {
    ($(#[$of_type:meta])* $name:ident { $($(#[$of_variant:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$of_type])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[derive(utoipa::ToSchema)]
        // As the texts are; utoipa does not see those.
        #[schema(rename_all = "camelCase")]
        pub enum $name {
            $($(#[$of_variant])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every variant, in the order of the API's documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name, in responses and in the database.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The variant that has this name.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use named;

named! {
    /// What has become of a delivery.
    DeliveryStatus {
        /// An attempt will be made, or is under way.
        Pending = "pending",
        /// The endpoint returned a status of 200 to 299.
        Succeeded = "succeeded",
        /// All attempts failed, or the endpoint is gone.
        Failed = "failed",
        /// No more attempts are made, because somebody decided so: the reason says who.
        Suppressed = "suppressed",
        /// The event's `deliverBefore` passed first.
        Expired = "expired",
    }
}

named! {
    /// Why a delivery failed or was suppressed.
    DeliveryReason {
        /// Failed: every attempt of the schedule was made.
        Exhausted = "exhausted",
        /// Failed: the endpoint returned 410 twice, at least five minutes apart.
        Gone = "gone",
        /// Suppressed: the webhook is inactive.
        WebhookInactive = "webhookInactive",
        /// Suppressed: the application is disabled.
        ApplicationDisabled = "applicationDisabled",
        /// Suppressed: the webhook was deleted.
        WebhookDeleted = "webhookDeleted",
        /// Suppressed: the event's data were erased.
        DataErased = "dataErased",
    }
}

named! {
    /// Why an attempt was made.
    AttemptTrigger {
        /// The schedule said so.
        Schedule = "schedule",
        /// Somebody asked for it.
        Resend = "resend",
        /// A recovery began the schedule again.
        Recovery = "recovery",
        /// The attempt before it has no record, so the event may have arrived already.
        Uncertain = "uncertain",
    }
}

named! {
    /// Why an attempt failed.
    AttemptError {
        /// The host leads to a private or reserved address.
        BlockedAddress = "blockedAddress",
        /// The host's name was not found.
        Dns = "dns",
        /// There was no connection.
        Connect = "connect",
        /// There was no TLS.
        Tls = "tls",
        /// No status came in time.
        Timeout = "timeout",
        /// The connection ended, or went on in something that is not HTTP.
        Protocol = "protocol",
        /// The status was not one of 200 to 299.
        HttpStatus = "httpStatus",
        /// The rules for URLs became stricter, and this one breaks them.
        UrlRefused = "urlRefused",
        /// The fault is this service's.
        Internal = "internal",
    }
}

/// How many of an event's deliveries have each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Summary {
    /// How many are pending.
    pub pending: u32,
    /// How many succeeded.
    pub succeeded: u32,
    /// How many failed.
    pub failed: u32,
    /// How many are suppressed.
    pub suppressed: u32,
    /// How many expired.
    pub expired: u32,
}

impl Summary {
    /// Counts `number` more deliveries of that status.
    pub fn add(&mut self, status: DeliveryStatus, number: u32) {
        let count = match status {
            DeliveryStatus::Pending => &mut self.pending,
            DeliveryStatus::Succeeded => &mut self.succeeded,
            DeliveryStatus::Failed => &mut self.failed,
            DeliveryStatus::Suppressed => &mut self.suppressed,
            DeliveryStatus::Expired => &mut self.expired,
        };
        *count += number;
    }

    /// How many there are in all.
    pub fn total(&self) -> u32 {
        self.pending + self.succeeded + self.failed + self.suppressed + self.expired
    }
}

/// An event as the log shows it. Its data are shown by whoever has the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[derive(utoipa::ToSchema)]
pub struct Event {
    /// Its id, which is the `webhook-id` of its deliveries.
    pub id: EventId,
    /// The application that it happened in.
    pub application_id: ApplicationId,
    /// What happened.
    pub r#type: EventType,
    /// When it happened, as the publisher said.
    pub occurred_at: Timestamp,
    /// When it was published.
    pub created_at: Timestamp,
    /// When it stops being worth delivering.
    #[schema(required)]
    pub deliver_before: Option<Timestamp>,
    /// The length of the body of its deliveries, in bytes.
    pub size_bytes: u32,
    /// SHA-256 of that body, in 64 hexadecimal digits.
    pub sha256: String,
    /// What has become of its deliveries.
    pub summary: Summary,
}

/// A delivery as the log shows it: one event for one webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[derive(utoipa::ToSchema)]
pub struct Delivery {
    /// The event.
    pub event_id: EventId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// What happened.
    pub r#type: EventType,
    /// What has become of it.
    pub status: DeliveryStatus,
    /// Why it failed or was suppressed; null otherwise.
    #[schema(required)]
    pub reason: Option<DeliveryReason>,
    /// How many attempts were begun, whoever asked for them.
    pub attempt_count: u32,
    /// When the next attempt is made; null when none is, and while one is under way.
    #[schema(required)]
    pub next_attempt_at: Option<Timestamp>,
    /// When no more attempts are scheduled.
    pub give_up_at: Timestamp,
    /// When it was made: with its event, or later by a recovery.
    pub created_at: Timestamp,
    /// When it got a status other than `pending`.
    #[schema(required)]
    pub completed_at: Option<Timestamp>,
    /// The last attempt that was recorded.
    #[schema(required)]
    pub last_attempt: Option<Attempt>,
    /// Every attempt that was recorded, the first one first. Lists do not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<Attempt>>,
}

/// One HTTP request of a delivery, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[derive(utoipa::ToSchema)]
pub struct Attempt {
    /// The number of the attempt, from 1. A number that is missing has no record.
    pub number: u32,
    /// Why it was made.
    pub trigger: AttemptTrigger,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took until the status or the failure, in milliseconds.
    pub duration_ms: u32,
    /// Where it went.
    pub url: String,
    /// The secrets that signed it, each as its last four characters.
    pub secret_fingerprints: Vec<String>,
    /// The status that the endpoint returned, if it returned one.
    #[schema(required)]
    pub http_status_code: Option<u16>,
    /// Why it failed; null when it succeeded.
    #[schema(required)]
    pub error: Option<AttemptError>,
    /// The beginning of the response's body, as text; null without one, and once it was erased.
    #[schema(required)]
    pub response_body: Option<String>,
    /// Whether the response's body was longer.
    pub response_body_truncated: bool,
    /// Whether `responseBody` is left out, since the portal's session lacks `viewPayloads`: it is null then.
    #[schema(examples(false))]
    pub payload_omitted: bool,
    /// How many seconds the endpoint asked to wait (`Retry-After`), on 429 and 503.
    #[schema(required)]
    pub retry_after_seconds: Option<u32>,
    /// When the attempt after it was to be made; null when none was.
    #[schema(required)]
    pub next_attempt_at: Option<Timestamp>,
}

impl Attempt {
    /// Leaves out what the endpoint answered.
    pub fn omit_payload(&mut self) {
        self.response_body = None;
        self.payload_omitted = true;
    }
}

impl Delivery {
    /// Leaves out what the endpoint answered.
    pub fn omit_payloads(&mut self) {
        let attempts = self.attempts.iter_mut().flatten();
        for attempt in self.last_attempt.iter_mut().chain(attempts) {
            attempt.omit_payload();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_is_the_one_in_documents() {
        for status in DeliveryStatus::ALL {
            let name = status.as_str();
            assert_eq!(DeliveryStatus::parse(name), Some(*status));
            let document = serde_json::to_string(status).unwrap();
            assert_eq!(document, format!("\"{name}\""));
        }
        assert_eq!(DeliveryStatus::parse("Pending"), None);
    }

    #[test]
    fn a_summary_counts_each_status() {
        let mut summary = Summary::default();
        for (number, status) in (1..).zip(DeliveryStatus::ALL) {
            summary.add(*status, number);
        }
        assert_eq!(summary.total(), 15);
        let document = serde_json::to_value(summary).unwrap();
        let expected = serde_json::json!({
            "pending": 1, "succeeded": 2, "failed": 3, "suppressed": 4, "expired": 5,
        });
        assert_eq!(document, expected);
    }
}
