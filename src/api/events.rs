//! Events: the platform publishes them, and merchants see what became of them.

use futures::future::join;
use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::log::allowed_and;
use super::request::CallerRequest;
use crate::config::Config;
use crate::dispatch::delivery;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::fan_out::{self, Plan};
use crate::events::database::{Beginning, NewEvent, PublishKey, Published, StoredEvent};
use crate::fault::Fault;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::idempotency::{self, IDEMPOTENCY_REPLAYED};
use crate::http::object::Object;
use crate::http::parameters::{ApplicationPath, EventPath};
use crate::http::response::{self, Response};
use crate::model::delivery::{Delivery, DeliveryStatus, Event, Summary};
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId};
use crate::model::time::Timestamp;
use crate::store::applications;
use crate::store::recipients;

/// A new event.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "What happened.")]
pub struct PublishRequest {
    /// One of the types that `GET /api/v1/event-types` lists.
    #[schema(inline)]
    r#type: EventType,
    /// What it happened to: any JSON object. Webhooks receive it as it is sent, to the byte.
    #[schema(value_type = BTreeMap<String, Value>)]
    data: Value,
    /// When it happened: the `timestamp` of deliveries. Without it, when it is published.
    #[schema(inline, nullable = false, examples("2026-04-20T12:34:55.000Z"))]
    occurred_at: Option<Timestamp>,
    /// When it stops being worth delivering. What is not delivered by then expires.
    #[schema(inline, nullable = false, examples("2026-04-20T18:00:00.000Z"))]
    deliver_before: Option<Timestamp>,
}

impl PublishRequest {
    /// Reads a body, noting what is wrong with it.
    fn read(body: &mut Object, config: &Config, details: &mut Details) -> Option<Self> {
        let r#type = body.required("type", details, |value| event_type(&value, config));
        let data = body.required("data", details, |value| match value {
            Value::Object(_) => Ok(value),
            _ => Err("Must be an object"),
        });
        let occurred_at = body.optional("occurredAt", details, moment);
        let deliver_before = body.optional("deliverBefore", details, moment);
        Some(Self {
            r#type: r#type?,
            data: data?,
            occurred_at,
            deliver_before,
        })
    }
}

/// What an event happened to.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(description = "What it happened to, as it was published.", value_type = BTreeMap<String, Value>)]
pub struct EventData(Value);

/// An event with all that became of it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventWithDeliveries<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// What it happened to; `null` once it was erased.
    #[schema(value_type = Option<BTreeMap<String, Value>>, required)]
    data: Option<&'a RawValue>,
    /// Whether `data` is left out, since the portal's session lacks `viewPayloads`: it is null then.
    #[schema(examples(false))]
    payload_omitted: bool,
    /// Its deliveries, each with its last attempt.
    deliveries: &'a [Delivery],
}

/// Publish event
///
/// Stores the event, and delivers it to every webhook of the application that is subscribed to its
/// type. For tokens with the platform's publisher scope; the application can be anyone's. The response
/// comes when event and deliveries are stored: from then on neither is lost. No subscriber is no error.
/// Inactive webhooks, and all those of a disabled application, get deliveries that are suppressed. With
/// an `Idempotency-Key`, a repeat gets the first response for as long as the event is kept.
#[utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/events", operation_id = "publishEvent",
    tag = "Events",
    params(ApplicationPath, crate::http::parameters::EventIdempotencyKeyHeader),
    request_body = PublishRequest,
    responses((status = 202, description = "The event is stored.", body = Event,
        headers(("Location"), ("Idempotency-Replayed")))),
)]
pub async fn publish(mut request: CallerRequest) -> Result<Response, Error> {
    if !request.caller.publishes() {
        return Err(Error::Forbidden);
    }
    let dispatcher = Dispatcher::of_instance().await?;
    let application = request.application();
    let key = request.idempotency_key();
    let limit = dispatcher.events_config().max_event_bytes;
    let mut body = request
        .body(async |headers, body, details| {
            Object::read_up_to(limit, headers, body, details).await
        })
        .await?;
    let (config, details) = (request.config, &mut request.details);
    let published = PublishRequest::read(&mut body, config, details);
    let content = body.finish(details);
    let (context, (application, published)) = request.begin(application.zip(published))?;

    let (store, event_type) = (&context.store, published.r#type);
    let reads = async {
        let (owner, subscribers) = join(
            applications::application(store, &application),
            recipients::subscribers(store, &application, &event_type),
        )
        .await;
        Ok::<_, Error>((owner?.ok_or(Error::NotFound)?, subscribers?))
    };
    let (owner, subscribers) = context.run("reading webhooks", reads).await?;

    let now = Timestamp::now();
    let plan = Plan::new(&dispatcher, subscribers, owner.is_enabled(), now);
    let occurred_at = published.occurred_at.unwrap_or(now);
    let event = NewEvent {
        id: EventId::generate(now),
        application_id: application,
        body: delivery::body(event_type.as_str(), occurred_at, &data_of(&content.sent)?)?,
        event_type,
        occurred_at,
        created_at: now,
        deliver_before: published.deliver_before,
        idempotency: key.map(|key| PublishKey {
            key: key.as_str().to_owned(),
            request_hash: digest(&content.canonical),
        }),
        settle_at: fan_out::settle_at(now),
        deliveries: plan.deliveries.clone(),
    };
    match dispatcher.database().publish(&event).await {
        Err(error) => {
            plan.give_back(&event);
            Err(error.into())
        }
        Ok(Published::New) => {
            let response = accepted(&new_event(&event))?;
            plan.deliver(&event);
            Ok(response)
        }
        Ok(Published::Earlier { id, request_hash }) => {
            let used = event.idempotency.as_ref().map(|key| &key.request_hash);
            if used != Some(&request_hash) {
                return Err(idempotency::KEY_USED);
            }
            replay(&dispatcher, &event.application_id, id).await
        }
    }
}

/// Get event
///
/// One event, with its data and its deliveries. The application must belong to the authenticated
/// merchant; tokens with the platform's support scope read anyone's.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/events/{eventId}", operation_id = "getEvent",
    tag = "Events", params(ApplicationPath, EventPath),
    responses((status = 200, description = "The event.", body = EventWithDeliveries<'static>)),
)]
pub async fn read(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_reads_events()?;
    let application = request.application();
    let id = request.path.event(&mut request.details);
    let (context, (application, id)) = request.begin(application.zip(id))?;
    let dispatcher = Dispatcher::of_instance().await?;
    let readable = context.check_readable(&application);
    let event = dispatcher.database().event(&application, id);
    let stored = allowed_and(readable, event).await?;
    let mut stored = stored.ok_or(Error::NotFound)?;
    let payload_omitted = !context.caller.sees_payloads();
    if payload_omitted {
        stored
            .deliveries
            .iter_mut()
            .for_each(Delivery::omit_payloads);
    }
    let data = stored.body.as_ref().filter(|_| !payload_omitted);
    let data = data.map(|body| data_of(body.as_bytes())).transpose()?;
    let body = EventWithDeliveries {
        event: &stored.event,
        data,
        payload_omitted,
        deliveries: &stored.deliveries,
    };
    Ok(response::json(StatusCode::OK, &body)?)
}

/// The response to the request that published the event first, again.
async fn replay(
    dispatcher: &Dispatcher,
    application: &ApplicationId,
    id: EventId,
) -> Result<Response, Error> {
    let stored = dispatcher.database().event(application, id).await?;
    // It was deleted just now: the client's next try publishes anew.
    let stored = stored.ok_or_else(|| {
        Fault::Dependency("events: the event of an Idempotency-Key is gone".to_owned())
    })?;
    let summary = first_summary(&stored);
    let mut response = accepted(&Event {
        summary,
        ..stored.event
    })?;
    let replayed = http::HeaderValue::from_static("true");
    response
        .headers_mut()
        .insert(IDEMPOTENCY_REPLAYED, replayed);
    Ok(response)
}

/// What the first response said of the deliveries. Those that were added later were not there.
fn first_summary(stored: &StoredEvent) -> Summary {
    let mut summary = Summary::default();
    let published = stored.event.created_at;
    let first = stored.deliveries.iter();
    for delivery in first.filter(|delivery| delivery.created_at == published) {
        let was_suppressed = delivery.status == DeliveryStatus::Suppressed
            && delivery.attempt_count == 0
            && delivery.completed_at == Some(published);
        summary.add(
            match was_suppressed {
                true => DeliveryStatus::Suppressed,
                false => DeliveryStatus::Pending,
            },
            1,
        );
    }
    summary
}

/// The event as it is shown when it was published just now.
fn new_event(event: &NewEvent) -> Event {
    let mut summary = Summary::default();
    for delivery in &event.deliveries {
        summary.add(
            match delivery.beginning {
                Beginning::Suppressed(_) => DeliveryStatus::Suppressed,
                Beginning::Due(_) | Beginning::Claimed { .. } => DeliveryStatus::Pending,
            },
            1,
        );
    }
    Event {
        id: event.id,
        application_id: event.application_id.clone(),
        r#type: event.event_type.clone(),
        occurred_at: event.occurred_at,
        created_at: event.created_at,
        deliver_before: event.deliver_before,
        size_bytes: event.body.len() as u32,
        sha256: digest(event.body.as_bytes()),
        summary,
    }
}

fn accepted(event: &Event) -> Result<Response, Error> {
    let mut response = response::json(StatusCode::ACCEPTED, event)?;
    let (application, id) = (&event.application_id, event.id);
    let location = format!("/api/v1/applications/{application}/events/{id}");
    let location = http::HeaderValue::try_from(location)
        .map_err(|_| Fault::Internal("an event's path is no header".to_owned()))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// The type of that name, if there is one.
///
/// # Errors
///
/// What is wrong with it.
pub fn event_type(value: &Value, config: &Config) -> Result<EventType, String> {
    let Value::String(name) = value else {
        return Err("Must be a string".to_owned());
    };
    let mut known = config.event_types.iter();
    match known.find(|known| known.as_str() == name) {
        Some(event_type) => Ok(event_type.clone()),
        None => {
            let known = config.event_types.iter().map(EventType::as_str);
            let known: Vec<&str> = known.collect();
            Err(format!(
                "Unknown event type: {name:?}. Known: {}",
                known.join(", ")
            ))
        }
    }
}

/// The moment that a member of a body says.
///
/// # Errors
///
/// What is wrong with it.
pub fn moment(value: Value) -> Result<Timestamp, &'static str> {
    serde_json::from_value(value)
        .map_err(|_| "Must be a time in RFC 3339, such as 2026-01-15T08:00:00.000Z")
}

/// The member `data`, as it is spelled: what a number is to us need not be what it is to others.
fn data_of(body: &[u8]) -> Result<&RawValue, Error> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }

    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|_| Fault::Internal("an event's body has no data".to_owned()))?;
    Ok(body.data)
}

/// SHA-256 in 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}
