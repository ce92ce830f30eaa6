//! What a client does about each status and reason: the table in the document's description. A reason
//! without a row is found when the document is made.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

/// A status, its reason (empty: none), what it means, and what to do.
type Row = (u16, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    (
        400,
        "",
        "Fields of the body or parameters are wrong: `details` names all.",
        "Correct them. The same request fails again.",
    ),
    (
        401,
        "",
        "No token, or one that is refused: `WWW-Authenticate` says why.",
        "Get a new token and repeat. If a new one is refused, its issuer, audience or key is not what the service expects.",
    ),
    (
        403,
        "",
        "The application is another merchant's, or the token's scope does not permit this.",
        "Use a token of the application's merchant, or of the platform with the scope.",
    ),
    (
        403,
        "applicationDisabled",
        "The application is disabled.",
        "Enable it (`isEnabled`), then repeat.",
    ),
    (
        403,
        "missingCapability",
        "The portal's session lacks a capability: the message names it.",
        "Open the portal with it: `capabilities` of `POST …/portal-sessions`.",
    ),
    (
        404,
        "",
        "There is no such resource, or no such path.",
        "Do not repeat. What was deleted does not come back.",
    ),
    (
        405,
        "",
        "The path has other methods: `Allow` lists them.",
        "Correct the method.",
    ),
    (
        408,
        "bodyTimeout",
        "The body was not sent within 10 seconds.",
        "Repeat, with the same `Idempotency-Key`.",
    ),
    (
        409,
        "nameTaken",
        "Another application of the merchant has the name.",
        "Choose another name.",
    ),
    (
        409,
        "namePending",
        "Another request is giving the name to an application just now.",
        "Repeat in a few seconds.",
    ),
    (
        409,
        "tooManyApplications",
        "The merchant has as many applications as it may have.",
        "Delete one, or ask the platform for more.",
    ),
    (
        409,
        "idempotencyKeyReused",
        "The `Idempotency-Key` came before, with another body.",
        "Use a new key for a new request, and the same body for a repeat.",
    ),
    (
        409,
        "webhookDeleted",
        "The webhook has been deleted that was created with the key, or that an event is to be sent to again.",
        "Create it with a new key if it is wanted. Nothing can be sent to it any more.",
    ),
    (
        409,
        "webhookInactive",
        "The webhook that events are to be sent to again is inactive.",
        "Make it active (`isActive`), then repeat.",
    ),
    (
        409,
        "attemptInFlight",
        "An attempt of the delivery is under way.",
        "Look at the delivery in some seconds: it may have succeeded. Else repeat, within a minute it can be sent.",
    ),
    (
        409,
        "secretReplaced",
        "The secret that was made with the key has been replaced since.",
        "Rotate with a new key if the newest secret is not known.",
    ),
    (
        409,
        "recoveryActive",
        "Another recovery of the webhook has not ended: the message has its id.",
        "Wait until it has, or stop it, then repeat.",
    ),
    (
        410,
        "dataErased",
        "The event's data were erased.",
        "Do not repeat. They do not come back.",
    ),
    (
        410,
        "codeSpent",
        "The code of a portal's session is unknown, was exchanged, or is older than a minute.",
        "Open the portal anew: each code is good for one exchange.",
    ),
    (
        412,
        "preconditionFailed",
        "The resource is not what `If-Match` or `If-None-Match` asks for.",
        "Read it again, decide anew, and send its new `ETag`.",
    ),
    (
        413,
        "bodyTooLarge",
        "The body is larger than allowed.",
        "Send less: `GET /api/v1/delivery-policy` has an event's limit.",
    ),
    (
        415,
        "contentEncodingUnsupported",
        "The body has a `Content-Encoding`.",
        "Send it as it is.",
    ),
    (
        429,
        "tooManyChanges",
        "The merchant made too many changes in a minute.",
        "Repeat after `Retry-After` seconds.",
    ),
    (
        500,
        "",
        "A fault of the service.",
        "Repeat later, with the same `Idempotency-Key`. Report the `x-request-id` if it stays.",
    ),
    (
        502,
        "",
        "The store, the database or the identity provider failed.",
        "Repeat with growing pauses and the same `Idempotency-Key`: the request may have taken effect.",
    ),
    (
        503,
        "keyNotKnownYet",
        "The token's key may have been published a moment ago.",
        "Repeat after `Retry-After` seconds, with the same token.",
    ),
    (
        503,
        "notReady",
        "The service cannot serve requests now (probes only).",
        "Send requests to another instance.",
    ),
    (
        504,
        "",
        "The store, the database or the identity provider did not answer in time.",
        "As for 502.",
    ),
];

/// The tables of statuses and of response headers, in Markdown.
///
/// # Panics
///
/// When a reason of the document has no row, or a row is about none; when a status has none.
pub fn tables(document: &Value) -> String {
    let reasons = &document["components"]["schemas"]["ErrorWithReason"]["properties"]["reason"];
    let reasons = reasons["enum"].as_array().expect("the reasons");
    let reasons: BTreeSet<&str> = reasons.iter().filter_map(Value::as_str).collect();
    let rows = ROWS.iter().map(|(_, reason, ..)| *reason);
    let advised: BTreeSet<&str> = rows.filter(|reason| !reason.is_empty()).collect();
    assert_eq!(reasons, advised, "the rows of src/openapi/advice.rs");
    for (name, _, said) in super::errors() {
        for (_, error) in said {
            let reason = serde_json::to_value(error.reason()).expect("JSON");
            let (status, reason) = (error.status().as_u16(), reason.as_str().unwrap_or_default());
            let found = ROWS.iter().any(|row| (row.0, row.1) == (status, reason));
            assert!(
                found,
                "src/openapi/advice.rs has no row {status} {reason:?} ({name})"
            );
        }
    }

    let mut text = String::from(
        "\n## Statuses and reasons\n\n| status | `reason` | what it means | what to do |\n|---|---|---|---|\n",
    );
    for (status, reason, meaning, advice) in ROWS {
        let reason = match *reason {
            "" => String::new(),
            reason => format!("`{reason}`"),
        };
        let _ = writeln!(text, "| {status} | {reason} | {meaning} | {advice} |");
    }
    text += "\n## Response headers\n\n| header | what it says |\n|---|---|\n";
    let headers = document["components"]["headers"]
        .as_object()
        .expect("headers");
    for (name, header) in headers {
        let description = header["description"].as_str().expect("a description");
        let _ = writeln!(text, "| `{name}` | {description} |");
    }
    text += "| `Allow` | On 405: the methods that the path has. |\n";
    text
}
