//! The log: one JSON line on standard output per request, per failure of work that goes on after a
//! response, and per instance for each setting that cannot be meant. Never a token, a secret, a body
//! or a path.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::Serialize;

use crate::fault::Fault;
use crate::json;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: Timestamp,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    portal_session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<WebhookId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// A request that was answered.
pub struct Answered<'a> {
    /// When it was answered.
    pub time: Timestamp,
    /// Its id.
    pub request_id: &'a str,
    /// Its valid `traceparent`.
    pub traceparent: Option<&'a str>,
    /// The hash of its merchant, as in the keys of the merchant's documents ([`crate::store::keys::merchant`]); `None`: no valid
    /// token.
    pub merchant: Option<&'a str>,
    /// The portal's session, where it is one that asks.
    pub portal_session: Option<&'a str>,
    /// The application that its path names.
    pub application: Option<&'a ApplicationId>,
    /// Its method.
    pub method: &'a Method,
    /// The template of its route; `None`: no route matched.
    pub route: Option<&'a str>,
    /// The response's status.
    pub status: StatusCode,
    /// How long it took.
    pub duration: Duration,
    /// What only the log says of it.
    pub detail: Option<&'a str>,
}

/// How much of a merchant's hash a line has, in hexadecimal digits: enough to tell merchants apart.
const MERCHANT_DIGITS: usize = 12;

/// Logs a request that was answered.
pub fn request(answered: &Answered<'_>) {
    // A method can be any text of the client's; ours are the only ones worth a name.
    let method = match *answered.method {
        Method::GET
        | Method::POST
        | Method::PATCH
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::PUT => answered.method.as_str(),
        _ => "OTHER",
    };
    let duration = answered.duration.as_micros() as f64;
    print(&Line {
        level: if answered.status.is_server_error() {
            "error"
        } else {
            "info"
        },
        request_id: Some(answered.request_id),
        traceparent: answered.traceparent,
        merchant: answered
            .merchant
            .and_then(|merchant| merchant.get(..MERCHANT_DIGITS)),
        portal_session: answered.portal_session,
        application: answered.application.map(ApplicationId::as_str),
        method: Some(method),
        route: answered.route,
        status: Some(answered.status.as_u16()),
        duration_ms: Some(duration / 1000.0),
        error: answered.detail,
        ..Line::at(answered.time)
    });
}

/// Logs a failure that the response does not tell: of work after it, or of a part that it leaves out.
pub fn background(request_id: &str, what: &str, error: &Fault) {
    print(&Line {
        request_id: Some(request_id),
        error: Some(&format!("{what}: {error}")),
        ..Line::now()
    });
}

/// Logs a failure of work that is no request's.
pub fn task(what: &str, error: &Fault) {
    print(&Line {
        error: Some(&format!("{what}: {error}")),
        ..Line::now()
    });
}

/// Logs a document that cannot be read, where that is no reason for the request to fail.
pub fn unreadable(error: &Fault) {
    print(&Line {
        error: Some(&error.to_string()),
        ..Line::now()
    });
}

/// Those of a list that can be read; logs why the others are left out.
pub fn readable<T>(listed: Vec<Result<T, Fault>>, request_id: &str) -> impl Iterator<Item = T> {
    listed.into_iter().filter_map(move |item| {
        item.map_err(|error| background(request_id, "left out of a list", &error))
            .ok()
    })
}

/// Logs what the operator should correct, though requests are served.
pub fn warning(text: &str) {
    print(&Line {
        level: "warn",
        error: Some(text),
        ..Line::now()
    });
}

/// Logs an operational event: what happened, by the name of its type, to which webhook.
pub fn operational(event: &str, application: &ApplicationId, webhook: WebhookId) {
    print(&Line {
        level: "warn",
        application: Some(application.as_str()),
        webhook: Some(webhook),
        event: Some(event),
        ..Line::now()
    });
}

impl Line<'_> {
    /// The line of an error that happened now.
    fn now() -> Self {
        Self::at(Timestamp::now())
    }

    fn at(time: Timestamp) -> Self {
        Self {
            time,
            level: "error",
            request_id: None,
            traceparent: None,
            merchant: None,
            portal_session: None,
            application: None,
            method: None,
            route: None,
            status: None,
            duration_ms: None,
            webhook: None,
            event: None,
            error: None,
        }
    }
}

fn print(line: &Line<'_>) {
    if let Ok(mut text) = json::write(line) {
        text.push('\n');
        write(text.as_bytes());
    }
}

/// Writes to standard output with one call of the host, where the standard library makes three.
#[cfg(target_family = "wasm")]
fn write(text: &[u8]) {
    use std::sync::LazyLock;

    use wasip2::cli::stdout::{OutputStream, get_stdout};

    static STDOUT: LazyLock<OutputStream> = LazyLock::new(get_stdout);

    // The most that one call takes.
    for part in text.chunks(4096) {
        // Nobody could learn that the log cannot be written.
        let _ = STDOUT.blocking_write_and_flush(part);
    }
}

#[cfg(not(target_family = "wasm"))]
fn write(text: &[u8]) {
    print!("{}", String::from_utf8_lossy(text));
}
