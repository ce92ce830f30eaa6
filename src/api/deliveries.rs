//! A webhook's deliveries: what became of them, and one more attempt.

use http::StatusCode;
use serde::Serialize;

use super::log::{self, LogPage, LogQuery, allowed_and};
use super::request::{CallerRequest, Request, check_enabled};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::resend::Resent;
use crate::events::database::{DeliveriesPage, DeliveryKey};
use crate::http::details::Details;
use crate::http::error::{Error, Reason};
use crate::http::object::Object;
use crate::http::parameters::{ApplicationPath, EventPath, WebhookPath};
use crate::http::response::{self, Response};
use crate::model::delivery::{Attempt, Delivery, DeliveryStatus};
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::store::recipients::{self, Recipient};

/// Another attempt of the delivery is under way.
pub const IN_FLIGHT: Error = Error::Conflict {
    reason: Reason::AttemptInFlight,
    message: "An attempt of this delivery is under way. Retry within a minute",
};

/// The webhook gets no deliveries.
pub const INACTIVE: Error = Error::Conflict {
    reason: Reason::WebhookInactive,
    message: "The webhook is inactive. Make it active to send events to it",
};

/// Nobody is left to send to.
pub const DELETED: Error = Error::Conflict {
    reason: Reason::WebhookDeleted,
    message: "The webhook of this delivery has been deleted",
};

/// What only the log of deliveries is searched by.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `list` reads")]
pub struct DeliveriesQuery {
    /// Deliveries of this status only.
    #[param(inline, required = false, nullable = false)]
    status: Option<DeliveryStatus>,
}

/// The body of [`resend`].
#[derive(Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "Nothing is asked for.", examples(json!({})))]
pub struct ResendRequest {}

impl ResendRequest {
    /// Reads a body, noting what is wrong with it.
    fn read(body: Object, details: &mut Details) -> Self {
        body.finish(details);
        Self {}
    }
}

/// The application, the webhook and the event of the path.
fn path<Who>(request: &mut Request<Who>) -> Option<(ApplicationId, WebhookId, EventId)> {
    let ids = request.webhook();
    let event = request.path.event(&mut request.details);
    ids.zip(event)
        .map(|((application, webhook), event)| (application, webhook, event))
}

/// List deliveries
///
/// The webhook's deliveries, a page at a time, the newest event first, each with its last attempt. Those
/// of a webhook that was deleted stay readable for as long as their events are kept. A page with a `type`
/// looks at no more than 10,000 deliveries, one with a `status` beside it, and one of those that succeeded,
/// at 1,000: it can be short, or empty, and not the last, which has no `nextCursor`. The application must belong to the authenticated merchant;
/// tokens with the platform's support scope read anyone's.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries",
    operation_id = "listDeliveries", tag = "Deliveries",
    params(ApplicationPath, WebhookPath, DeliveriesQuery, LogQuery),
    responses((status = 200, description = "A page of deliveries.", body = LogPage<Delivery>)),
)]
pub async fn list(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_reads_events()?;
    let ids = request.webhook();
    let (query, details) = (&request.query, &mut request.details);
    let status = query.get("status").and_then(|name| {
        let status = DeliveryStatus::parse(name);
        let wrong = "Must be pending, succeeded, failed, suppressed or expired";
        details.check("status", status.ok_or(wrong))
    });
    let range = log::range(query, details);
    let event_type = log::event_type(query, details);
    let (context, ((application, webhook), range)) = request.begin(ids.zip(range))?;
    let page = DeliveriesPage {
        range,
        status,
        event_type,
    };
    let dispatcher = Dispatcher::of_instance().await?;
    let readable = context.check_log(&dispatcher, &application, webhook);
    let deliveries = dispatcher.database().deliveries(webhook, &page);
    let mut listed = allowed_and(readable, deliveries).await?;
    if !context.caller.sees_payloads() {
        listed.items.iter_mut().for_each(Delivery::omit_payloads);
    }
    Ok(response::json(StatusCode::OK, &LogPage::from(listed))?)
}

/// Get delivery
///
/// One delivery, with every attempt that was recorded, also where the webhook was deleted since. The
/// application must belong to the authenticated merchant; tokens with the platform's support scope read
/// anyone's.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries/{eventId}",
    operation_id = "getDelivery", tag = "Deliveries",
    params(ApplicationPath, WebhookPath, EventPath),
    responses((status = 200, description = "The delivery.",
        body = ref("#/components/schemas/DeliveryWithAttempts"))),
)]
pub async fn read(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_reads_events()?;
    let ids = path(&mut request);
    let (context, (application, webhook, event)) = request.begin(ids)?;
    let dispatcher = Dispatcher::of_instance().await?;
    let readable = context.check_log(&dispatcher, &application, webhook);
    let delivery = dispatcher.database().delivery(event, webhook);
    let delivery = allowed_and(readable, delivery).await?;
    let mut delivery = delivery.ok_or(Error::NotFound)?;
    if !context.caller.sees_payloads() {
        delivery.omit_payloads();
    }
    Ok(response::json(StatusCode::OK, &delivery)?)
}

/// Resend delivery
///
/// Makes one attempt now, and returns what came of it: `error` is `null` when the endpoint took the event.
/// It has the same `webhook-id` and the next number. Any delivery can be sent again, also one that
/// succeeded, unless an attempt of it is under way (409). A success completes the delivery; a failure
/// leaves it and its schedule as they were. There is no `Idempotency-Key`: each request is an attempt, and
/// receivers know repeats by their `webhook-id`. 409 when the webhook is inactive or was deleted, 410 when
/// the event's data were erased. The application must belong to the authenticated merchant.
#[utoipa::path(
    post,
    path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries/{eventId}/resend",
    operation_id = "resendDelivery", tag = "Deliveries",
    params(ApplicationPath, WebhookPath, EventPath),
    request_body(content = Option<ResendRequest>, content_type = "application/json"),
    responses(
        (status = 200, description = "What came of the attempt.", body = Attempt),
        (status = 409, description = "Now it cannot be sent."),
        (status = 410, description = "The data were erased."),
    ),
)]
pub async fn resend(mut request: Request) -> Result<Response, Error> {
    let ids = path(&mut request);
    let body = request.body(Object::read_optional).await?;
    ResendRequest::read(body, &mut request.details);
    let (context, (application, webhook_id, event_id)) = request.begin(ids)?;
    let dispatcher = Dispatcher::of_instance().await?;
    let recipient = recipients::recipient(&context.store, &application, webhook_id);
    let found = context.authorize_change(&application, recipient);
    let (owned, recipient) = context.run_counted("reading a webhook", found).await?;
    check_enabled(&owned)?;
    let conflict = match recipient? {
        Recipient::Webhook(webhook) if webhook.is_active() => {
            let key = DeliveryKey {
                event_id,
                webhook_id,
            };
            return match dispatcher.resend(key, &webhook).await? {
                Resent::Attempt(mut attempt) => {
                    if !context.caller.sees_payloads() {
                        attempt.omit_payload();
                    }
                    Ok(response::json(StatusCode::OK, &*attempt)?)
                }
                Resent::InFlight => Err(IN_FLIGHT),
                Resent::Erased => Err(Error::Erased),
                Resent::Missing => Err(Error::NotFound),
            };
        }
        Recipient::Webhook(_) => INACTIVE,
        Recipient::Deleted => {
            let of_deliveries = dispatcher.database().application_of(webhook_id).await?;
            match of_deliveries.as_ref() == Some(&application) {
                true => DELETED,
                false => return Err(Error::NotFound),
            }
        }
    };
    let delivery = dispatcher.database().delivery(event_id, webhook_id).await?;
    Err(delivery.map_or(Error::NotFound, |_| conflict))
}
