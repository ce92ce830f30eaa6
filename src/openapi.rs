//! The OpenAPI document of the API: the handlers' annotations and the types of their bodies, and
//! what holds for all of them, said once.
//!
//! Compiled only with the feature `openapi`, for the build of `reference/`.

mod advice;
mod responses;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use self::responses::{error_responses, errors, headers, link_headers};
use crate::api::{dispatcher_routes, routes};
use crate::dispatch::delivery::Payload;
use crate::http::error::ErrorBody;
use crate::model::event_catalogue::EventCatalogue;
use crate::reference::{self, METHODS, object_mut};

/// A delivery, which is a request of ours and has no handler.
#[utoipa::path(
    post, path = "webhook.test", operation_id = "receiveTestDelivery", tag = "Deliveries",
    summary = "Test delivery",
    description = "Sent to the webhook's URL when a test is asked for, signed by [Standard Webhooks]\
        (https://www.standardwebhooks.com) 1.0.0: verify it with one of its libraries and the \
        webhook's signing secret before you believe it. A delivery follows no redirect, and is \
        over after 10 seconds.",
    security(()),
    params(
        ("webhook-id" = String, Header,
            description = "ID of the event, the same for every attempt to deliver it.",
            pattern = "^msg_[0-9a-f]{32}$", example = "msg_2b7f5d0c4e8a4f6f9d3e1a2b3c4d5e6f"),
        ("webhook-timestamp" = i64, Header,
            description = "When this attempt was made, in seconds since the Unix epoch.",
            minimum = 0, example = 1776688496),
        ("webhook-signature" = String, Header,
            description = "`v1,` and the base64 of the HMAC-SHA256 of \
                `webhook-id.webhook-timestamp.body`. During a rotation there is one for each live \
                secret, separated by spaces.",
            pattern = "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$",
            example = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
        ("user-agent" = String, Header, description = "Who sends it.",
            example = "application-webhooks/0.1.0"),
    ),
    request_body = Payload<'static, crate::api::test_delivery::TestData>,
    responses(
        (status = "2XX", description = "The endpoint took the delivery. Of the answer's body at \
            most 64 KiB are read."),
        (status = "default", description = "The endpoint did not take it."),
    ),
)]
#[expect(dead_code, reason = "carries the annotation")]
fn webhook_test() {}

/// As [`webhook_test`], for what the platform publishes.
#[utoipa::path(
    post, path = "event", operation_id = "receiveEvent", tag = "Deliveries",
    summary = "Event",
    description = "Sent to every webhook of the application that is subscribed to the event's type, \
        signed as a test delivery is. A status of 200 to 299 within 15 seconds takes it; else it is \
        repeated as `GET /api/v1/delivery-policy` says, with the same `webhook-id` and the same body. \
        It can come twice, and in any order: who has seen its `webhook-id` returns 200 and does nothing. \
        410, twice within a delivery and at least five minutes apart, makes the webhook inactive; on 429 \
        and 503 `Retry-After` is followed for up to a day.",
    security(()),
    params(
        ("webhook-id" = crate::model::ids::EventId, Header,
            description = "ID of the event, the same for every attempt and every webhook."),
        ("webhook-timestamp" = i64, Header,
            description = "When this attempt was made, in seconds since the Unix epoch.",
            minimum = 0, example = 1776688496),
        ("webhook-signature" = String, Header,
            description = "As a test delivery's.",
            pattern = "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$",
            example = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
        ("webhook-attempt" = u32, Header, description = "The number of the attempt, from 1.",
            minimum = 1, example = 1),
        ("webhook-attempts-left" = u32, Header,
            description = "How many attempts the schedule has after this one.",
            minimum = 0, example = 9),
        ("user-agent" = String, Header, description = "Who sends it.",
            example = "application-webhooks/0.1.0"),
    ),
    request_body = Payload<'static, crate::api::events::EventData>,
    responses(
        (status = "2XX", description = "The endpoint took the delivery. Of the answer's body at \
            most 64 KiB are read, and 4 KiB kept."),
        (status = "default", description = "The endpoint did not take it."),
    ),
)]
#[expect(dead_code, reason = "carries the annotation")]
fn event() {}

/// What the service sends.
#[derive(OpenApi)]
#[openapi(paths(webhook_test, event))]
struct Deliveries;

/// The document, but for what [`base`] adds.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Application webhooks",
        description = include_str!("openapi.md"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The service that serves this document.")),
    tags(
        (name = "Webhooks", description = "Where an application's events are delivered, and how \
            they are signed."),
        (name = "Applications", description = "What a merchant's webhooks belong to."),
        (name = "Events", description = "What happened: published by the platform, and seen by the \
            merchant whose application it is."),
        (name = "Deliveries", description = "What the merchant's endpoint receives, and what came of it."),
        (name = "Recoveries", description = "What failed or is missing, delivered anew."),
        (name = "Portal", description = "The page on which a merchant sees and steers its webhooks: who \
            opens it, and what it may do."),
        (name = "Probes", description = "Whether the service is up, for whoever runs it."),
    ),
    security(("bearerToken" = [])),
    components(schemas(ErrorBody, crate::api::proof::Statement)),
)]
struct Base;

/// The document: OpenAPI 3.1, with the default event types.
///
/// # Panics
///
/// As [`base`].
pub fn document() -> Value {
    let mut document = base();
    reference::complete(&mut document, &EventCatalogue::default());
    document
}

/// The document without what [`reference::complete`] adds: examples, event types, code.
///
/// # Panics
///
/// When an annotation has not the form that is completed here.
pub fn base() -> Value {
    let mut base = Base::openapi();
    base.merge(routes::Annotations::openapi());
    base.merge(dispatcher_routes::Annotations::openapi());
    let deliveries = Deliveries::openapi();
    let components = base.components.get_or_insert_default();
    components.add_security_scheme(
        "bearerToken",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .description(Some(
                    "Bearer token (JWT). Authentication token required. The token names the \
                     merchant; only the merchant's own applications can be reached with it. Tokens of \
                     the platform have a scope instead, to publish events or to read them.",
                ))
                .build(),
        ),
    );
    components
        .schemas
        .extend(deliveries.components.unwrap_or_default().schemas);
    base.webhooks = Some(deliveries.paths);

    let mut document = serde_json::to_value(base).expect("a document is JSON");
    describe(&mut document);
    for (page, item) in [
        ("Page", "Application"),
        ("Page", "Webhook"),
        ("LogPage", "Event"),
        ("LogPage", "Delivery"),
    ] {
        // utoipa inlines what a generic type is made of.
        let page = &mut document["components"]["schemas"][format!("{page}_{item}")];
        page["properties"]["items"]["items"] =
            json!({"$ref": format!("#/components/schemas/{item}")});
    }
    // They are inlined where they are used.
    for name in ["TestData", "EventData"] {
        object_mut(&mut document["components"]["schemas"]).shift_remove(name);
    }
    // What a compact JWS holds (JSON Schema 2020-12, "contentSchema").
    let proof = &mut document["components"]["schemas"]["DeliveryProof"]["properties"]["proof"];
    proof["contentMediaType"] = json!("application/jwt");
    proof["contentSchema"] = json!({"$ref": "#/components/schemas/DeliveryStatement"});
    split_secret(&mut document);
    split_attempts(&mut document);
    split_error(&mut document);
    document["components"]["responses"] = error_responses();
    document["components"]["headers"] = headers();
    for (method, operation) in operations(&mut document) {
        complete(&method, operation);
    }
    describe_capabilities(&mut document);
    let description = document["info"]["description"].as_str().unwrap_or_default();
    document["info"]["description"] = format!("{description}{}", advice::tables(&document)).into();
    document
}

/// utoipa writes a field's own description beside its type's schema as `allOf` with an empty
/// object: no string is an object. The field's description takes the place of the type's.
fn describe(value: &mut Value) {
    if let Some([schema, field]) = value
        .get("allOf")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        && object(field)
            .keys()
            .all(|key| ["type", "description"].contains(&key.as_str()))
    {
        let mut described = schema.clone();
        described["description"] = field["description"].clone();
        *value = described;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(describe),
        Value::Object(members) => members.values_mut().for_each(describe),
        _ => {}
    }
}

/// One type serves the responses that show the secret, those that show the ones before it, and those
/// that do both. The document has a schema for each, which requires all that it has.
fn split_secret(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    let webhook = schemas["Webhook"].clone();
    for (name, description, absent) in [
        (
            "WebhookWithSecret",
            "A new webhook of an application, with its signing secret.",
            &["previousSecrets", "disabledAt", "disabledReason"][..],
        ),
        (
            "RotatedWebhook",
            "A webhook of an application, with its new signing secret.",
            &[],
        ),
        (
            "Webhook",
            "A webhook of an application.",
            &["signingSecret"],
        ),
    ] {
        let mut schema = webhook.clone();
        for absent in absent {
            remove_property(&mut schema, absent);
        }
        schema["description"] = json!(description);
        let names = object(&schema["properties"]).keys();
        schema["required"] = names.map(|name| json!(name)).collect();
        schemas[name] = schema;
    }
}

/// As for the secret: a delivery has all its attempts only where it is asked for alone.
fn split_attempts(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    let mut schema = schemas["Delivery"].clone();
    schema["description"] = json!("A delivery with all its attempts: one event for one webhook.");
    let names = object(&schema["properties"]).keys();
    schema["required"] = names.map(|name| json!(name)).collect();
    schemas["DeliveryWithAttempts"] = schema;
    remove_property(&mut schemas["Delivery"], "attempts");
}

/// As for the secret: `details` are there with 400 only, and a `reason` with some other statuses.
fn split_error(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    for (name, description, without) in [
        ("ErrorWithDetails", "What a 400 says.", "reason"),
        (
            "ErrorWithReason",
            "What an error says that programs tell apart by its reason.",
            "details",
        ),
    ] {
        let mut schema = schemas["Error"].clone();
        remove_property(&mut schema, without);
        schema["description"] = json!(description);
        let names = object(&schema["properties"]).keys();
        schema["required"] = names.map(|name| json!(name)).collect();
        schemas[name] = schema;
    }
    for property in ["details", "reason"] {
        remove_property(&mut schemas["Error"], property);
    }
}

fn remove_property(schema: &mut Value, name: &str) {
    object_mut(&mut schema["properties"])
        .shift_remove(name)
        .unwrap_or_else(|| panic!("no property {name}"));
}

/// Adds to an operation what follows from its shape: the errors that it can end with, and the
/// headers that every response has.
fn complete(method: &str, operation: &mut Value) {
    let takes_body = operation.get("requestBody").is_some();
    // A body that may be left out is not a body that may be `null`.
    if let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema")
        && let Some([body, _null]) = schema
            .get("oneOf")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
    {
        *schema = body.clone();
    }
    let has_parameter = |name: &str| {
        let parameters = operation["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == name))
    };
    let is_open = operation.get("security").is_some();
    let possible = [
        // No operation takes query parameters that it does not have.
        (400, true),
        (401, !is_open),
        (403, has_parameter("applicationId")),
        (404, has_parameter("applicationId")),
        (408, takes_body),
        (409, has_parameter("Idempotency-Key")),
        (412, has_parameter("If-Match")),
        (413, takes_body),
        (415, takes_body),
        // Only merchants are asked to wait, and they publish nothing.
        (
            429,
            method != "get" && !is_open && operation["operationId"] != "publishEvent",
        ),
        (500, !is_open),
        (502, !is_open),
        (503, !is_open),
        (504, !is_open),
    ];
    let responses = object_mut(&mut operation["responses"]);
    for (status, _) in possible.iter().filter(|(_, possible)| *possible) {
        responses.entry(status.to_string()).or_insert(Value::Null);
    }
    // A probe's 503 is another than that of a token.
    let excluded = match is_open {
        true => "KeyNotKnownYet",
        false => "ServiceUnavailable",
    };
    let kinds = errors().into_iter().filter(|(name, ..)| *name != excluded);
    for (name, _, said) in kinds {
        if let Some(response) = responses.get_mut(said[0].1.status().as_str()) {
            *response = json!({"$ref": format!("#/components/responses/{name}")});
        }
    }
    responses.sort_keys();
    for (_, response) in responses.iter_mut() {
        if response.get("$ref").is_none() {
            link_headers(response);
        }
    }
}

/// Says of each operation what a session of the portal must be capable of, in words and for programs:
/// `x-portal-capability`.
fn describe_capabilities(document: &mut Value) {
    let tables = [&*routes::ROUTES, &*dispatcher_routes::ROUTES];
    for (path, method, capability) in tables.iter().flat_map(|table| table.capabilities()) {
        let operation = &mut document["paths"][path][method.to_lowercase()];
        let Some(capability) = capability.filter(|_| operation.is_object()) else {
            continue;
        };
        let name = capability.as_str();
        operation["x-portal-capability"] = json!(name);
        let said = operation["description"].as_str().unwrap_or_default();
        let said = format!("{said} A session of the portal needs `{name}`.");
        operation["description"] = json!(said);
    }
}

/// Every operation of the API.
fn operations(document: &mut Value) -> impl Iterator<Item = (String, &mut Value)> {
    object_mut(&mut document["paths"])
        .values_mut()
        .flat_map(|item| object_mut(item).iter_mut())
        .filter(|(key, _)| METHODS.contains(&key.as_str()))
        .map(|(method, operation)| (method.clone(), operation))
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}
