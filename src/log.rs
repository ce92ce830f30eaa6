//! The log: one JSON line on standard output per request, and per failure of work that goes on
//! after a response. Never a token, a secret, a body or a path.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::Error;

/// The id of a request: in its log line, in `x-request-id`, and in the log lines of what it
/// leaves to be done after the response.
#[derive(Clone, Default)]
pub struct RequestId(pub String);

impl RequestId {
    /// The id of the request that these are the parts of.
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get().cloned().unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: Timestamp,
    level: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Logs a request that was answered. `route` is the route's template; `None`: no route matched.
pub fn request(
    request_id: &str,
    method: &Method,
    route: Option<&str>,
    status: StatusCode,
    duration: Duration,
    cause: Option<&str>,
) {
    // A method can be any text of the client's; ours are the only ones worth a name.
    let method = match *method {
        Method::GET
        | Method::POST
        | Method::PATCH
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::PUT => method.as_str(),
        _ => "OTHER",
    };
    print(&Line {
        time: Timestamp::now(),
        level: if status.is_server_error() {
            "error"
        } else {
            "info"
        },
        request_id,
        method: Some(method),
        route,
        status: Some(status.as_u16()),
        duration_ms: Some((duration.as_micros() as f64) / 1000.0),
        error: cause,
    });
}

/// Logs a failure that the response does not tell: of work after it, or of a part that it leaves out.
pub fn background(request_id: &str, what: &str, error: &Error) {
    let (Error::Dependency(cause)
    | Error::Unreadable(cause)
    | Error::DependencyTimeout(cause)
    | Error::Internal(cause)) = error
    else {
        return;
    };
    print(&Line {
        time: Timestamp::now(),
        level: "error",
        request_id,
        method: None,
        route: None,
        status: None,
        duration_ms: None,
        error: Some(&format!("{what}: {cause}")),
    });
}

fn print(line: &Line<'_>) {
    if let Ok(text) = serde_json::to_string(line) {
        println!("{text}");
    }
}
