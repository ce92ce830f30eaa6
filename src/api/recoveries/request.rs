//! What a request says of a recovery.

use serde::Serialize;
use serde_json::Value;

use crate::api::events::{event_type, moment};
use crate::config::Config;
use crate::dispatch::dispatcher::Dispatcher;
use crate::events::database::Selection;
use crate::http::details::Details;
use crate::http::object::Object;
use crate::model::event::{EventType, SubscribedEvents};
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::recovery::{Pace, RecoveryKind};
use crate::model::time::Timestamp;

/// What a recovery takes.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "What to deliver anew.")]
pub struct RecoverRequest {
    /// Of events that were published at that moment or later.
    #[schema(value_type = String, format = DateTime, examples("2026-04-20T08:00:00.000Z"))]
    pub after: Timestamp,
    /// Of events that were published before that moment. Without it, and where it is later than that:
    /// until now.
    #[schema(value_type = Option<String>, format = DateTime, nullable = false,
        examples("2026-04-20T18:00:00.000Z"))]
    pub before: Option<Timestamp>,
    /// `failed` and `suppressed` deliveries, and those that are `missing`: of events that the webhook is
    /// subscribed to now, and has no delivery of. Without this member, all of them.
    #[schema(nullable = false, min_items = 1, examples(json!(["failed", "suppressed"])))]
    include: Option<Vec<RecoveryKind>>,
    /// Of events of these types only.
    #[schema(nullable = false, min_items = 1, examples(json!(["session.completed"])))]
    types: Option<Vec<EventType>>,
    /// Whether the deliveries are counted only.
    #[schema(nullable = false, examples(false))]
    pub dry_run: Option<bool>,
    /// How many deliveries are queued in a minute: 600, unless this says otherwise.
    #[schema(nullable = false, minimum = 1, maximum = 60_000, examples(600))]
    pub per_minute: Option<u32>,
}

impl RecoverRequest {
    /// Reads a body, noting what is wrong with it.
    pub fn read(
        body: &mut Object,
        config: &Config,
        now: Timestamp,
        details: &mut Details,
    ) -> Option<Self> {
        let after = body.required("after", details, moment);
        let before = body.optional("before", details, moment);
        match (after, before) {
            (Some(after), Some(before)) if before <= after => {
                details.add("before", "Must be later than `after`");
            }
            (Some(after), _) if after >= now => details.add("after", "Must be in the past"),
            _ => {}
        }
        let include = body.optional("include", details, kinds);
        let types = body.optional("types", details, |value| types(&value, config));
        let dry_run = body.optional("dryRun", details, |value| {
            value.as_bool().ok_or("Must be true or false")
        });
        let per_minute = body.optional("perMinute", details, per_minute);
        Some(Self {
            after: after?,
            before,
            include,
            types,
            dry_run,
            per_minute,
        })
    }

    /// What it takes of the webhook's events, at `now`.
    pub fn selection(
        &self,
        dispatcher: &Dispatcher,
        application: ApplicationId,
        webhook: WebhookId,
        subscribed: &SubscribedEvents,
        now: Timestamp,
    ) -> Selection {
        let include = self.include.clone();
        let missing_types = match subscribed {
            SubscribedEvents::Every => self.types.clone(),
            SubscribedEvents::Of(subscribed) => {
                let asked = |event: &&EventType| {
                    let types = self.types.as_ref();
                    types.is_none_or(|types| types.contains(event))
                };
                Some(subscribed.iter().filter(asked).cloned().collect())
            }
        };
        Selection {
            application_id: application,
            webhook_id: webhook,
            first: dispatcher.first_recoverable(self.after, now),
            end: EventId::first_at(self.before(now)),
            include: include.unwrap_or_else(|| RecoveryKind::ALL.to_vec()),
            types: self.types.clone(),
            missing_types,
        }
    }

    /// Until when it takes events, at `now`.
    pub fn before(&self, now: Timestamp) -> Timestamp {
        self.before.map_or(now, |before| before.min(now))
    }
}

fn kinds(value: Value) -> Result<Vec<RecoveryKind>, &'static str> {
    let wrong = "Must be an array with one or more of failed, suppressed and missing, each once";
    let names = value
        .as_array()
        .filter(|names| !names.is_empty())
        .ok_or(wrong)?;
    let mut kinds = Vec::new();
    for name in names {
        let kind = name.as_str().and_then(RecoveryKind::parse).ok_or(wrong)?;
        if kinds.contains(&kind) {
            return Err(wrong);
        }
        kinds.push(kind);
    }
    Ok(kinds)
}

fn types(value: &Value, config: &Config) -> Result<Vec<EventType>, String> {
    let wrong = "Must be an array with one or more event types, each once";
    let names = value
        .as_array()
        .filter(|names| !names.is_empty())
        .ok_or(wrong)?;
    let mut types = Vec::new();
    for name in names {
        let known = event_type(name, config)?;
        if types.contains(&known) {
            return Err(wrong.to_owned());
        }
        types.push(known);
    }
    Ok(types)
}

fn per_minute(value: Value) -> Result<u32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let most = Pace::MAX_PER_MINUTE;
    number
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| format!("Must be a whole number from 1 to {most}"))
}
