//! The event types there are.

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::request::{CallerRequest, check_owner, found};
use crate::http::error::Error;
use crate::http::response::{self, Response};
use crate::model::event::EventType;
use crate::store::applications;
use crate::store::deadline::Deadline;

/// The catalogue of event types.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EventTypes {
    /// The event types, in the platform's order.
    items: Vec<EventTypeEntry>,
}

/// An event type.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EventTypeEntry {
    /// Its name, for `subscribedEvents`.
    #[schema(inline)]
    name: EventType,
    /// What to call it in front of people; `null`: the platform says nothing.
    #[schema(
        required,
        min_length = 1,
        max_length = 100,
        examples("Session completed")
    )]
    title: Option<String>,
    /// When it happens; `null`: the platform says nothing.
    #[schema(
        required,
        min_length = 1,
        max_length = 1000,
        examples("The customer completed the session.")
    )]
    description: Option<String>,
    /// The body of a delivery, as an example: `type`, `timestamp` and `data`; `null`: the platform gives none.
    #[schema(
        required, value_type = Option<Object>,
        examples(json!({
            "type": "session.completed", "timestamp": "2026-04-20T12:34:56.000Z",
            "data": {"sessionId": "ses_8c1f"},
        }))
    )]
    example: Option<Value>,
}

/// List event types
///
/// The event types that a webhook can subscribe to now, for whoever has a valid token. They are
/// the platform's decision, and there can be more tomorrow.
#[utoipa::path(
    get, path = "/api/v1/event-types", operation_id = "listEventTypes", tag = "Webhooks",
    responses((status = 200, description = "The event types.", body = EventTypes)),
)]
pub async fn list(request: CallerRequest) -> Result<Response, Error> {
    request.details.finish()?;
    if let Some(session) = request.caller.session() {
        // No application is asked for: whether the session goes on is found out all the same.
        let deadline = Deadline::with_timeout(request.config.store_timeout);
        let id = &session.application_id;
        let read = applications::created(&request.store, id);
        let own = found(&request.store, id, Some(session), read);
        let own = deadline.run("reading an application", own).await?;
        check_owner(id, &own, &session.merchant_id, Some(session))?;
    }
    let types = request.config.event_catalogue.entries().iter();
    let items = types.map(|entry| EventTypeEntry {
        name: entry.name.clone(),
        title: entry.title.clone(),
        description: entry.description.clone(),
        example: entry.payload(),
    });
    let body = EventTypes {
        items: items.collect(),
    };
    Ok(response::json(StatusCode::OK, &body)?)
}
