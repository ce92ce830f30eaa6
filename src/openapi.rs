//! The OpenAPI document of the API: the handlers' annotations and the types of their bodies, and
//! what holds for all of them, said once.
//!
//! Compiled only with the feature `openapi`, for the build of `reference/`.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::api::{dispatcher_routes, routes};
use crate::dispatch::delivery::Payload;
use crate::fault::Fault;
use crate::http::body::MAX_BODY_BYTES;
use crate::http::error::{Detail, Error, ErrorBody};

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

/// The document, but for what [`document`] adds.
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
        (name = "Deliveries", description = "What the merchant's endpoint receives."),
        (name = "Probes", description = "Whether the service is up, for whoever runs it."),
    ),
    security(("bearerToken" = [])),
    components(schemas(ErrorBody)),
)]
struct Base;

/// A kind of error response: its name in the document, what it is about, and an error of that kind
/// for each thing it can say.
type ErrorKind = (&'static str, &'static str, Vec<(&'static str, Error)>);

/// Every kind of error response.
fn errors() -> Vec<ErrorKind> {
    let cause = String::new;
    vec![
        (
            "BadRequest",
            "The body or parameters are wrong. `details` names every wrong field at once, up to 32.",
            vec![(
                "wrongUrl",
                Error::Invalid(vec![Detail {
                    field: "url".to_owned(),
                    message: "Must be an absolute URL that starts with https://".to_owned(),
                }]),
            )],
        ),
        (
            "Unauthorized",
            "The bearer token is missing or refused.",
            vec![("unauthorized", Error::NoToken)],
        ),
        (
            "Forbidden",
            "The application belongs to another merchant, or is disabled; or the token is not one that may \
             do this.",
            vec![
                ("forbidden", Error::Forbidden),
                ("disabled", Error::Disabled),
            ],
        ),
        (
            "NotFound",
            "There is no such resource.",
            vec![("notFound", Error::NotFound)],
        ),
        (
            "RequestTimeout",
            "The body was not sent within 10 seconds.",
            vec![("late", Error::BodyTimeout)],
        ),
        (
            "Conflict",
            "The request cannot be joined with what is there.",
            vec![
                ("nameTaken", crate::api::applications::conflict::NAME_TAKEN),
                (
                    "namePending",
                    crate::api::applications::conflict::NAME_PENDING,
                ),
                (
                    "tooManyApplications",
                    crate::api::applications::conflict::TOO_MANY_APPLICATIONS,
                ),
                ("keyUsed", crate::http::idempotency::KEY_USED),
            ],
        ),
        (
            "PreconditionFailed",
            "The resource is not what `If-Match` or `If-None-Match` asks for.",
            vec![("changed", Error::PreconditionFailed)],
        ),
        (
            "ContentTooLarge",
            "The body is larger than 16 KiB; of an event, than the delivery policy's `maxEventBytes`.",
            vec![(
                "tooLarge",
                Error::BodyTooLarge {
                    limit: MAX_BODY_BYTES,
                },
            )],
        ),
        (
            "UnsupportedMediaType",
            "The body has a `Content-Encoding` other than `identity`.",
            vec![("encoded", Error::BodyEncoded)],
        ),
        (
            "TooManyRequests",
            "The merchant made too many changes within a minute.",
            vec![("tooMany", Error::TooManyChanges { retry_after: 30 })],
        ),
        (
            "InternalServerError",
            "A fault of the service.",
            vec![("fault", Error::Fault(Fault::Internal(cause())))],
        ),
        (
            "DependencyFailed",
            "A downstream dependency responded with an error or could not be reached.",
            vec![("failed", Error::Fault(Fault::Dependency(cause())))],
        ),
        (
            "ServiceUnavailable",
            "Requests cannot be served now.",
            vec![("notReady", Error::NotReady(cause()))],
        ),
        (
            "KeyNotKnownYet",
            "The token names a key that the identity provider may have published since it was last \
             asked. After `Retry-After` it is asked again.",
            vec![("keyNotKnownYet", Error::KeyNotKnownYet { retry_after: 7 })],
        ),
        (
            "DependencyTimeout",
            "A downstream dependency did not respond in time.",
            vec![("late", Error::Fault(Fault::Timeout(cause())))],
        ),
    ]
}

/// The headers that responses have, by name.
fn headers() -> Value {
    json!({
        "x-request-id": {
            "description": "ID of the request, by which the service's log names it.",
            "required": true,
            "schema": {"type": "string", "format": "uuid"},
            "example": "0f8b6a52-6f3e-4d0c-9b1d-3a5f7e2c4b68",
        },
        "Cache-Control": {
            "description": "Nothing here may be kept by a cache.",
            "required": true,
            "schema": {"type": "string", "const": "no-store"},
            "example": "no-store",
        },
        "ETag": {
            "description": "Changes whenever the resource is changed, and not with a test; for \
                `If-Match` and `If-None-Match`.",
            "required": true,
            "schema": {"type": "string", "pattern": "^\"[0-9a-f]{32}\"$"},
            "example": "\"9b1c0a7be4d24f0f8a6f0f5c2d3e4f50\"",
        },
        "Location": {
            "description": "The path of what was created.",
            "required": true,
            "schema": {"type": "string", "format": "uri-reference"},
            "example": "/api/v1/applications/c1f4a7de-52b0-4c39-8f6e-0d9b3a5e7f21/webhooks/\
                8a1c2f9e-3d4b-4f5a-9b6c-7d8e9f0a1b2c",
        },
        "Idempotency-Replayed": {
            "description": "There when this is the first response to the `Idempotency-Key`, again.",
            "schema": {"type": "string", "const": "true"},
            "example": "true",
        },
        "Accept-Encoding": {
            "description": "Which encodings of a request's body are accepted: none.",
            "required": true,
            "schema": {"type": "string", "const": "identity"},
            "example": "identity",
        },
        "Retry-After": {
            "description": "In how many seconds the request is worth repeating.",
            "required": true,
            "schema": {"type": "integer", "minimum": 1, "maximum": 120},
            "example": 30,
        },
        "WWW-Authenticate": {
            "description": "`Bearer`; with `error=\"invalid_token\"` when a token was sent \
                (RFC 6750), and with an `error_description` when it expired, is not valid yet, \
                names no key of the service, is malformed or longer than 16384 bytes.",
            "required": true,
            "schema": {
                "type": "string",
                "pattern": "^Bearer( error=\"invalid_token\"(, error_description=\"[ -~]+\")?)?$",
            },
            "example": "Bearer error=\"invalid_token\", error_description=\"The token expired\"",
        },
    })
}

/// The document: OpenAPI 3.1.
///
/// # Panics
///
/// When an annotation has not the form that is completed here.
pub fn document() -> Value {
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
    for item in ["Application", "Webhook"] {
        // utoipa inlines what a generic type is made of.
        document["components"]["schemas"][format!("Page_{item}")]["properties"]["items"]["items"] =
            json!({"$ref": format!("#/components/schemas/{item}")});
    }
    // It is inlined where it is used.
    object_mut(&mut document["components"]["schemas"]).shift_remove("TestData");
    split_secret(&mut document);
    split_error(&mut document);
    document["components"]["responses"] = error_responses();
    document["components"]["headers"] = headers();
    for (method, operation) in operations(&mut document) {
        complete(&method, operation);
    }
    document
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

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
            Some("previousSecrets"),
        ),
        (
            "RotatedWebhook",
            "A webhook of an application, with its new signing secret.",
            None,
        ),
        (
            "Webhook",
            "A webhook of an application.",
            Some("signingSecret"),
        ),
    ] {
        let mut schema = webhook.clone();
        if let Some(absent) = absent {
            remove_property(&mut schema, absent);
        }
        schema["description"] = json!(description);
        let names = object(&schema["properties"]).keys();
        schema["required"] = names.map(|name| json!(name)).collect();
        schemas[name] = schema;
    }
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

/// The reusable error responses. Their examples are the bodies that the errors really have.
fn error_responses() -> Value {
    let mut responses = Map::new();
    for (name, description, said) in errors() {
        let status = said[0].1.status().as_u16();
        let named = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        let reasons = said.iter().filter(|(_, error)| error.reason().is_some());
        let schema = match (status, reasons.count()) {
            (400, _) => named("ErrorWithDetails"),
            (_, 0) => named("Error"),
            (_, count) if count == said.len() => named("ErrorWithReason"),
            _ => json!({"anyOf": [named("Error"), named("ErrorWithReason")]}),
        };
        let examples: Map<String, Value> = said
            .into_iter()
            .map(|(name, error)| (name.to_owned(), json!({"value": error.body()})))
            .collect();
        let mut response = json!({
            "description": description,
            "headers": {},
            "content": {"application/json": {
                "schema": schema,
                "examples": examples,
            }},
        });
        match status {
            401 => response["headers"]["WWW-Authenticate"] = Value::Null,
            415 => response["headers"]["Accept-Encoding"] = Value::Null,
            429 => response["headers"]["Retry-After"] = Value::Null,
            503 if name != "ServiceUnavailable" => {
                response["headers"]["Retry-After"] = Value::Null;
            }
            _ => {}
        }
        link_headers(&mut response);
        responses.insert(name.to_owned(), response);
    }
    responses.into()
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
        // Only merchants are told to wait.
        (
            429,
            method != "get" && operation["tags"] != json!(["Events"]),
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

/// Makes a response's headers, and the two that all responses have, references to their
/// descriptions.
fn link_headers(response: &mut Value) {
    let headers = response["headers"].take();
    let own = headers.as_object().into_iter().flat_map(Map::keys);
    let all = own
        .map(String::as_str)
        .chain(["x-request-id", "Cache-Control"]);
    response["headers"] = all
        .map(|name| {
            let link = json!({"$ref": format!("#/components/headers/{name}")});
            (name.to_owned(), link)
        })
        .collect::<Map<_, _>>()
        .into();
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

fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("an object")
}
