//! The log: one JSON line on standard output per request, and per failure of work that goes on
//! after a response. Never a token, a secret, a body or a path.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::Serialize;

use crate::http::error::Error;
use crate::model::time::Timestamp;

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
    if let Ok(mut text) = serde_json::to_string(line) {
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
        // Nobody could be told that the log cannot be written.
        let _ = STDOUT.blocking_write_and_flush(part);
    }
}

#[cfg(not(target_family = "wasm"))]
fn write(text: &[u8]) {
    print!("{}", String::from_utf8_lossy(text));
}
