//! The probe that has deliveries go on while `up` serves, as a load balancer's does elsewhere.

use std::time::Duration;

use hyper::{Method, Uri};
use serde_json::Value;
use tokio::time::{interval, timeout};

use crate::client;

/// What is asked.
const PATH: &str = "/dispatcher/readyz";

/// How often, and how long an answer is waited for.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks the service at `base` for ever. What it answers is no matter here: its log has it.
pub async fn run(base: String) {
    let Ok(uri) = format!("{base}{PATH}").parse::<Uri>() else {
        return;
    };
    let mut pauses = interval(PAUSE);
    loop {
        pauses.tick().await;
        let _ = timeout(PAUSE, client::send(Method::GET, &uri, None, None)).await;
    }
}

/// Whether a line of the log is about such a probe and says that all is well: one each second would
/// leave no room for what somebody wants to see.
pub fn is_uneventful(line: &[u8]) -> bool {
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    line["route"] == PATH && line["status"] == 200 && line["error"].is_null()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn it_asks_again_after_a_second_also_when_nobody_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let probe = tokio::spawn(run(base));
        let since = std::time::Instant::now();
        for _ in 0..2 {
            let (connection, _) = listener.accept().await.expect("a connection");
            let mut line = String::new();
            let mut reader = BufReader::new(connection);
            reader.read_line(&mut line).await.expect("a request");
            assert_eq!(line, "GET /dispatcher/readyz HTTP/1.1\r\n");
        }
        assert!(since.elapsed() >= Duration::from_millis(900), "{since:?}");
        probe.abort();
    }

    #[test]
    fn only_probes_that_succeed_are_left_out_of_the_log() {
        let line = |route: &str, status: u16| {
            format!(r#"{{"level":"info","route":"{route}","status":{status},"durationMs":0.4}}"#)
        };
        assert!(is_uneventful(line(PATH, 200).as_bytes()));
        for shown in [
            line(PATH, 503),
            line("/readyz", 200),
            line("/api/v1/applications/{applicationId}/events", 200),
            r#"{"route":"/dispatcher/readyz","status":200,"error":"x"}"#.to_owned(),
            "Serving http://127.0.0.1:3000".to_owned(),
        ] {
            assert!(!is_uneventful(shown.as_bytes()), "{shown}");
        }
    }
}
