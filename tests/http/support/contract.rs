//! The documented error bodies, to the character, and what every response has in common.

use serde_json::{Value, json};

use super::Response;

pub const UNAUTHORIZED: &str = r#"{"error":"Unauthorized","message":"Authentication required. Please provide a valid API token","code":401}"#;
pub const FORBIDDEN: &str = r#"{"error":"Forbidden","message":"You don't have permission to access this resource","code":403}"#;
pub const NOT_FOUND: &str =
    r#"{"error":"Not Found","message":"The requested resource was not found","code":404}"#;
pub const DISABLED: &str = r#"{"error":"Forbidden","message":"The application is disabled. Enable it to make changes or send tests","code":403,"reason":"applicationDisabled"}"#;
pub const NAME_TAKEN: &str = r#"{"error":"Conflict","message":"Another application has this name","code":409,"reason":"nameTaken"}"#;
pub const KEY_REUSED: &str = r#"{"error":"Conflict","message":"The Idempotency-Key was used with another body","code":409,"reason":"idempotencyKeyReused"}"#;
pub const MADE_IS_DELETED: &str = r#"{"error":"Conflict","message":"The webhook that was created with this Idempotency-Key has been deleted","code":409,"reason":"webhookDeleted"}"#;
pub const MADE_IS_OVERTAKEN: &str = r#"{"error":"Conflict","message":"The signing secret that was made with this Idempotency-Key has been replaced by a rotation","code":409,"reason":"secretReplaced"}"#;
pub const ATTEMPT_IN_FLIGHT: &str = r#"{"error":"Conflict","message":"An attempt of this delivery is under way. Retry within a minute","code":409,"reason":"attemptInFlight"}"#;
pub const WEBHOOK_INACTIVE: &str = r#"{"error":"Conflict","message":"The webhook is inactive. Make it active to send events to it","code":409,"reason":"webhookInactive"}"#;
pub const WEBHOOK_DELETED: &str = r#"{"error":"Conflict","message":"The webhook of this delivery has been deleted","code":409,"reason":"webhookDeleted"}"#;
pub const DATA_ERASED: &str =
    r#"{"error":"Gone","message":"The event's data were erased","code":410,"reason":"dataErased"}"#;
pub const PRECONDITION_FAILED: &str = r#"{"error":"Precondition Failed","message":"The resource has changed since it was read","code":412,"reason":"preconditionFailed"}"#;
pub const METHOD_NOT_ALLOWED: &str = r#"{"error":"Method Not Allowed","message":"The requested resource does not support this method","code":405}"#;
pub const CONTENT_TOO_LARGE: &str = r#"{"error":"Content Too Large","message":"The request body is larger than 16384 bytes","code":413,"reason":"bodyTooLarge"}"#;
pub const BODY_LATE: &str = r#"{"error":"Request Timeout","message":"The request body was not sent within 10 seconds","code":408,"reason":"bodyTimeout"}"#;
pub const CONTENT_ENCODED: &str = r#"{"error":"Unsupported Media Type","message":"The request body must be sent without a Content-Encoding","code":415,"reason":"contentEncodingUnsupported"}"#;
pub const INTERNAL_SERVER_ERROR: &str =
    r#"{"error":"Internal Server Error","message":"An unexpected error occurred","code":500}"#;
pub const DEPENDENCY_FAILED: &str = r#"{"error":"Error","message":"A downstream dependency responded with an error or could not be reached.","code":502}"#;
pub const DEPENDENCY_LATE: &str =
    r#"{"error":"Error","message":"A downstream dependency did not respond in time.","code":504}"#;

/// `WWW-Authenticate` when no bearer token came.
pub const NO_TOKEN: &str = "Bearer";
/// `WWW-Authenticate` when one came and was refused, and the client is not told more.
pub const INVALID_TOKEN: &str = r#"Bearer error="invalid_token""#;
pub const EXPIRED: &str = r#"Bearer error="invalid_token", error_description="The token expired""#;
pub const NOT_YET_VALID: &str =
    r#"Bearer error="invalid_token", error_description="The token is not valid yet""#;
pub const NO_SUCH_KEY: &str = r#"Bearer error="invalid_token", error_description="No such key: none has the token's kid and alg""#;
pub const MALFORMED: &str =
    r#"Bearer error="invalid_token", error_description="The token is malformed""#;
pub const TOO_LONG: &str =
    r#"Bearer error="invalid_token", error_description="The token is longer than 16384 bytes""#;

/// All that a 401 may say of a token (RFC 6750 §3).
const CHALLENGES: [&str; 7] = [
    NO_TOKEN,
    INVALID_TOKEN,
    EXPIRED,
    NOT_YET_VALID,
    NO_SUCH_KEY,
    MALFORMED,
    TOO_LONG,
];

pub const KEY_NOT_KNOWN_YET: &str = r#"{"error":"Service Unavailable","message":"The token's key is not known yet. Retry later","code":503,"reason":"keyNotKnownYet"}"#;

/// The body of a 400 with these details.
pub fn bad_request(details: &[(&str, &str)]) -> String {
    let details: Vec<String> = details
        .iter()
        .map(|(field, message)| {
            format!(
                r#"{{"field":{},"message":{}}}"#,
                json!(field),
                json!(message)
            )
        })
        .collect();
    format!(
        r#"{{"error":"Bad Request","message":"The request contains invalid parameters or malformed data","code":400,"details":[{}]}}"#,
        details.join(",")
    )
}

/// Holds for every answer of the API, so every request of every test checks it.
pub fn check(response: &Response) {
    let shown = || {
        format!(
            "{} {:?} {}",
            response.status, response.headers, response.text
        )
    };
    assert_eq!(
        response.header("cache-control"),
        Some("no-store"),
        "{}",
        shown()
    );
    let request_id = response.request_id();
    assert!(uuid::Uuid::parse_str(request_id).is_ok(), "{}", shown());
    if [204, 304].contains(&response.status) {
        // RFC 9110 §8.6: no content, and no length of it.
        assert_eq!(response.header("content-type"), None, "{}", shown());
        assert_eq!(response.header("content-length"), None, "{}", shown());
        assert_eq!(response.text, "");
        return;
    }
    let redirects = [307, 308].contains(&response.status);
    assert_eq!(
        response.header("content-type"),
        (!redirects).then_some("application/json"),
        "{}",
        shown()
    );
    let length: usize = response
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or_else(|| panic!("no content-length: {}", shown()));
    assert_eq!(response.header("transfer-encoding"), None, "{}", shown());
    if !response.is_to_head {
        assert_eq!(length, response.text.len(), "{}", shown());
    }
    if response.status >= 400 && !response.is_to_head {
        check_error(response);
    }
    let challenge = response.header("www-authenticate");
    assert_eq!(challenge.is_some(), response.status == 401, "{}", shown());
    assert!(
        challenge.is_none_or(|said| CHALLENGES.contains(&said)),
        "{}",
        shown()
    );
    assert_eq!(
        response.header("allow").is_some(),
        response.status == 405,
        "{}",
        shown()
    );
    assert_eq!(
        response.header("location").is_some(),
        [201, 202].contains(&response.status) || redirects,
        "{}",
        shown()
    );
}

/// `{"error","message","code"[,"reason"][,"details"]}`, and nothing that is not the client's business.
fn check_error(response: &Response) {
    let body = response.json();
    let text = &response.text;
    let mut members: Vec<&str> = body
        .as_object()
        .unwrap_or_else(|| panic!("not an object: {text}"))
        .keys()
        .map(String::as_str)
        .collect();
    // In the order that is written below, whichever features serde_json is built with.
    members.sort_unstable();
    match response.status {
        400 => assert_eq!(members, ["code", "details", "error", "message"], "{text}"),
        408 | 409 | 410 | 412 | 413 | 415 | 429 | 503 => {
            assert_eq!(members, ["code", "error", "message", "reason"], "{text}");
        }
        // A disabled application's, another merchant's, or a portal's.
        403 if body["reason"] == "missingCapability" => {
            assert_eq!(members, ["code", "error", "message", "reason"], "{text}");
        }
        403 if body.get("reason").is_some() => {
            assert_eq!(text, DISABLED);
        }
        _ => assert_eq!(members, ["code", "error", "message"], "{text}"),
    }
    assert_eq!(body["code"], response.status, "{text}");
    assert!(
        body["error"].is_string() && body["message"].is_string(),
        "{text}"
    );
    if response.status == 400 {
        let details = body["details"]
            .as_array()
            .unwrap_or_else(|| panic!("{text}"));
        assert!(!details.is_empty(), "{text}");
        for detail in details {
            assert!(
                detail.as_object().is_some_and(|detail| detail.len() == 2)
                    && detail["field"].is_string()
                    && detail["message"]
                        .as_str()
                        .is_some_and(|message| !message.is_empty()),
                "{text}"
            );
        }
    }
}

/// The fields that a 400 names, in its order.
pub fn fields(response: &Response) -> Vec<String> {
    details(response)
        .into_iter()
        .map(|(field, _)| field)
        .collect()
}

/// The details of a 400: field and message.
pub fn details(response: &Response) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    response.json()["details"]
        .as_array()
        .unwrap_or_else(|| panic!("no details: {}", response.text))
        .iter()
        .map(|detail| (text(&detail["field"]), text(&detail["message"])))
        .collect()
}
