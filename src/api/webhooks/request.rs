//! What requests say of a webhook.

use serde::Serialize;
use serde_json::Value;

use super::representation::WebhookResponse;
use crate::config::Config;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::object::Object;
use crate::model::endpoint_url::EndpointUrl;
use crate::model::event::{EventType, SubscribedEvent, SubscribedEvents};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;

/// The body of a create.
#[derive(Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "A new webhook.")]
pub struct NewWebhook {
    /// HTTPS endpoint on the merchant server that receives webhooks.
    #[schema(inline)]
    pub url: EndpointUrl,
    /// The events to subscribe to: `session.completed`, `session.expired`, or what else
    /// `GET /api/v1/event-types` lists. `["*"]` is every event, also of types that are added later;
    /// without this member, the types that there are today.
    #[schema(
        value_type = Option<Vec<SubscribedEvent>>, nullable = false, min_items = 1,
        examples(json!(["session.completed"]))
    )]
    pub subscribed_events: Option<SubscribedEvents>,
}

impl NewWebhook {
    /// Reads a body, noting what is wrong with it. `known` are the types that a webhook of the
    /// application can subscribe to.
    pub fn read(
        body: &mut Object,
        config: &Config,
        known: &[EventType],
        details: &mut Details,
    ) -> Option<Self> {
        let url = body.required("url", details, |value| url(value, config));
        let subscribed_events = body.optional("subscribedEvents", details, |value| {
            subscribed_events(value, known, None)
        });
        Some(Self {
            url: url?,
            subscribed_events,
        })
    }
}

/// The body of a change.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(
    description = "What to change of a webhook; the rest stays.",
    min_properties = 1
)]
pub struct WebhookChange {
    /// HTTPS endpoint on the merchant server that receives webhooks.
    #[schema(inline, nullable = false)]
    pub url: Option<EndpointUrl>,
    /// Whether events are delivered.
    #[schema(nullable = false, examples(false))]
    pub is_active: Option<bool>,
    /// The events to subscribe to: `session.completed`, `session.expired`, or what else
    /// `GET /api/v1/event-types` lists. `["*"]` is every event, also of types that are added later.
    /// A type that the platform has withdrawn can stay.
    #[schema(
        value_type = Option<Vec<SubscribedEvent>>, nullable = false, min_items = 1,
        examples(json!(["session.completed"]))
    )]
    pub subscribed_events: Option<SubscribedEvents>,
}

/// The members that a request can change.
pub const CHANGEABLE: [&str; 3] = ["url", "isActive", "subscribedEvents"];

/// The other members that responses show.
pub const READ_ONLY: [&str; 10] = [
    "id",
    "keyFingerprint",
    "signingSecret",
    "lastTestAt",
    "lastTestStatus",
    "createdAt",
    "updatedAt",
    "previousSecrets",
    "disabledAt",
    "disabledReason",
];

impl WebhookChange {
    /// Reads a body, noting what is wrong with it. Members that say what the `webhook` says are no
    /// change; without it, read-only members are not looked at. `known` as in [`NewWebhook::read`].
    ///
    /// # Errors
    ///
    /// Those of [`Object::drop_unchanged`].
    pub fn read(
        mut body: Object,
        webhook: Option<&Webhook>,
        config: &Config,
        known: &[EventType],
        details: &mut Details,
    ) -> Result<Self, Error> {
        match webhook {
            None => body.ignore(&READ_ONLY),
            Some(webhook) => {
                let shown = WebhookResponse::at(webhook, Timestamp::now());
                body.drop_unchanged(&shown, &READ_ONLY)?;
            }
        }
        let current = webhook.map(|webhook| webhook.settings().subscribed_events);
        let change = Self {
            url: body.optional("url", details, |value| url(value, config)),
            is_active: body.optional("isActive", details, |value| {
                value.as_bool().ok_or("Must be true or false")
            }),
            subscribed_events: body.optional("subscribedEvents", details, |value| {
                subscribed_events(value, known, current)
            }),
        };
        body.finish_change(&READ_ONLY, details);
        Ok(change)
    }
}

fn url(value: Value, config: &Config) -> Result<EndpointUrl, String> {
    let Value::String(text) = value else {
        return Err("Must be a string".to_owned());
    };
    EndpointUrl::parse(&text, config.allow_insecure_urls).map_err(|error| error.to_string())
}

fn subscribed_events(
    value: Value,
    known: &[EventType],
    current: Option<&SubscribedEvents>,
) -> Result<SubscribedEvents, String> {
    let names = value.as_array().and_then(|names| {
        let names = names.iter().map(Value::as_str);
        names.collect::<Option<Vec<_>>>()
    });
    let names = names.ok_or("Must be an array of strings")?;
    SubscribedEvents::choose(&names, known, current).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::WebhookId;
    use crate::model::signing_secret::SigningSecret;
    use crate::model::webhook::WebhookRecord;

    #[test]
    fn every_member_that_is_shown_can_be_changed_or_is_read_only() {
        let webhook = Webhook::new(WebhookRecord {
            is_tracked: true,
            v: WebhookRecord::VERSION,
            id: WebhookId::generate(),
            application_id: None,
            url: "https://example.com/".to_owned(),
            is_active: true,
            subscribed_events: SubscribedEvents::Every,
            secret: serde_json::from_str(r#"{"fingerprint":"x","sealed":"x"}"#).unwrap(),
            created_at: Timestamp::from_millis(0),
            is_repeatable: false,
        });
        let shown = WebhookResponse::at(&webhook, Timestamp::from_millis(0));
        let shown = shown.with_secret(&SigningSecret::generate());
        let shown = serde_json::to_value(shown).unwrap();
        let mut shown: Vec<&str> = shown
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut known = [&CHANGEABLE[..], &READ_ONLY].concat();
        shown.sort_unstable();
        known.sort_unstable();
        assert_eq!(shown, known);
    }
}
