//! The error responses and the headers that the document describes once.

use serde_json::{Map, Value, json};

use crate::api::applications::conflict;
use crate::api::deliveries;
use crate::fault::Fault;
use crate::http::body::MAX_BODY_BYTES;
use crate::http::error::{Detail, Error};
use crate::model::ids::RecoveryId;
use crate::model::portal::Capability;
use crate::model::time::Timestamp;

/// A kind of error response: its name in the document, what it is about, and an error of that kind
/// for each thing it can say.
pub type ErrorKind = (&'static str, &'static str, Vec<(&'static str, Error)>);

/// Every kind of error response.
pub fn errors() -> Vec<ErrorKind> {
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
             do this; or the portal's session lacks a capability.",
            vec![
                ("forbidden", Error::Forbidden),
                ("disabled", Error::Disabled),
                (
                    "missingCapability",
                    Error::MissingCapability(Capability::Resend),
                ),
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
                ("nameTaken", conflict::NAME_TAKEN),
                ("namePending", conflict::NAME_PENDING),
                ("tooManyApplications", conflict::TOO_MANY_APPLICATIONS),
                ("keyUsed", crate::http::idempotency::KEY_USED),
                ("attemptInFlight", deliveries::IN_FLIGHT),
                ("webhookInactive", deliveries::INACTIVE),
                ("webhookDeleted", deliveries::DELETED),
                (
                    "recoveryActive",
                    Error::RecoveryActive(RecoveryId::first_at(Timestamp::from_millis(
                        1_768_464_000_000,
                    ))),
                ),
            ],
        ),
        (
            "Gone",
            "The event's data were erased; or the code of a portal's session is unknown, was exchanged, or \
             expired.",
            vec![("erased", Error::Erased), ("codeSpent", Error::CodeSpent)],
        ),
        (
            "PreconditionFailed",
            "The resource is not what `If-Match` or `If-None-Match` asks for.",
            vec![("changed", Error::PreconditionFailed)],
        ),
        (
            "ContentTooLarge",
            "The body is larger than 16 KiB; of an event, than the delivery policy's `maxEventBytes`; of a \
             delivery to verify, than twice that and 16 KiB.",
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
pub fn headers() -> Value {
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
        "PublicCacheControl": {
            "description": "For how many seconds caches may keep it.",
            "required": true,
            "schema": {"type": "string", "const": "public, max-age=300"},
            "example": "public, max-age=300",
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

/// The reusable error responses. Their examples are the bodies that the errors really have.
pub fn error_responses() -> Value {
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

/// Makes a response's headers, and the two that all responses have, references to their
/// descriptions.
pub fn link_headers(response: &mut Value) {
    let headers = response["headers"].take();
    // Only a response that says so itself may be kept.
    let is_cacheable = headers.get("Cache-Control").is_some();
    let own = headers.as_object().into_iter().flat_map(Map::keys);
    let all = own
        .map(String::as_str)
        .chain(["x-request-id", "Cache-Control"]);
    response["headers"] = all
        .map(|name| {
            let described = match name {
                "Cache-Control" if is_cacheable => "PublicCacheControl",
                other => other,
            };
            let link = json!({"$ref": format!("#/components/headers/{described}")});
            (name.to_owned(), link)
        })
        .collect::<Map<_, _>>()
        .into();
}
