//! A line of the service's log as a person reads it.

use std::collections::BTreeMap;

use serde_json::Value;

/// The log's line on one short line; `None`: it is something else, and stands as it is.
pub fn readable(line: &[u8]) -> Option<String> {
    let mut members: BTreeMap<String, Value> = serde_json::from_slice(line).ok()?;
    let mut take = |name: &str| members.remove(name).map(text);
    let (time, level) = (take("time")?, take("level")?);
    let mut parts = vec![clock(&time).to_owned()];
    if let (Some(method), route) = (take("method"), take("route")) {
        let route = route.unwrap_or_else(|| "(no such route)".to_owned());
        parts.push(format!("{method} {route}"));
    }
    parts.extend(take("status"));
    parts.extend(take("durationMs").map(|duration| format!("{duration} ms")));
    parts.extend(take("application"));
    let error = take("error");
    // Whoever looks for a request has its id from the response.
    parts.extend(take("requestId"));
    for dropped in ["merchant", "traceparent"] {
        take(dropped);
    }
    parts.extend(
        members
            .into_iter()
            .map(|(name, value)| format!("{name}={}", text(value))),
    );
    parts.extend(error.map(|error| format!("{level}: {error}")));
    let line: String = parts.join("  ").chars().flat_map(shown).collect();
    Some(line + "\n")
}

/// A string without its quotation marks, all else as JSON has it.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The time of the day of an RFC 3339 time.
fn clock(time: &str) -> &str {
    time.split_once('T').map_or(time, |(_, clock)| clock)
}

/// A character, as it cannot steer the terminal.
fn shown(c: char) -> Vec<char> {
    match c.is_control() {
        true => c.escape_default().collect(),
        false => vec![c],
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn a_request_is_one_short_line() {
        let line = br#"{"time":"2026-11-26T21:26:41.350Z","level":"info","requestId":"0f3a","merchant":"d2f1","application":"demo","method":"POST","route":"/api/v1/applications/{applicationId}/events","status":202,"durationMs":4.125}"#;
        assert_eq!(
            readable(line).as_deref(),
            Some(
                "21:26:41.350Z  POST /api/v1/applications/{applicationId}/events  202  4.125 ms  demo  0f3a\n"
            )
        );
    }

    #[test]
    fn what_went_wrong_comes_last_and_nothing_steers_the_terminal() {
        let line = br#"{"time":"2026-11-26T21:26:41.350Z","level":"error","requestId":"0f3a","method":"GET","status":404,"durationMs":0.5,"error":"a\u001b[2Jb\nc"}"#;
        assert_eq!(
            readable(line).as_deref(),
            Some(
                "21:26:41.350Z  GET (no such route)  404  0.5 ms  0f3a  error: a\\u{1b}[2Jb\\nc\n"
            )
        );
        let warning = br#"{"time":"2026-11-26T21:26:41.350Z","level":"warn","error":"open"}"#;
        assert_eq!(
            readable(warning).as_deref(),
            Some("21:26:41.350Z  warn: open\n")
        );
    }

    #[test]
    fn a_member_that_is_new_is_shown_and_what_is_no_line_of_the_log_stays_as_it_is() {
        let line = br#"{"time":"t","level":"info","queue":3,"state":"late"}"#;
        assert_eq!(readable(line).as_deref(), Some("t  queue=3  state=late\n"));
        for other in [
            "Serving http://127.0.0.1:3000",
            "{}",
            r#"{"level":"info"}"#,
            "[1]",
            "",
        ] {
            assert_eq!(readable(other.as_bytes()), None, "{other}");
        }
    }
}
