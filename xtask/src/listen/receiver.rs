//! The receiver of `listen`: verifies each delivery, answers it, and describes it in a line.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use application_webhooks::model::time::Timestamp;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use standardwebhooks::{Webhook, WebhookError};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

/// The largest body that is read, in bytes: more than any event can have.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The longest part of a line that a delivery decides, in characters.
const MAX_SHOWN: usize = 80;

/// What deliveries that verify are answered.
#[derive(Clone, Copy)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// How long it takes until then.
    pub delay: Duration,
}

/// Receives deliveries, and sends a line on each.
#[derive(Clone)]
pub struct Receiver {
    /// The official library.
    webhook: Arc<Webhook>,
    answer: Answer,
    lines: UnboundedSender<String>,
}

impl Receiver {
    /// A receiver of deliveries that are signed with `secret`, as `whsec_…`.
    ///
    /// # Errors
    ///
    /// When it is no such secret.
    pub fn new(secret: &str, answer: Answer, lines: UnboundedSender<String>) -> Result<Self> {
        let webhook = Webhook::new(secret).ok().map(Arc::new);
        Ok(Self {
            webhook: webhook.context("the service returned a secret that is none")?,
            answer,
            lines,
        })
    }

    /// Serves each connection beside the others.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Too many files are open: that passes.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let receiver = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| receiver.answer(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // Who hangs up has had a line.
                let _ = connection.await;
            });
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Empty<Bytes>>, Infallible> {
        let at = Timestamp::now();
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let verdict = self.webhook.verify(&body, &head.headers);
        let answer = match verdict {
            Ok(()) => self.answer,
            Err(_) => Answer {
                status: StatusCode::UNAUTHORIZED,
                ..self.answer
            },
        };
        let line = line(at, &head.headers, &body, &verdict, answer);
        self.say(line);
        if !answer.delay.is_zero() {
            let mut waiting = Waiting {
                receiver: self,
                id: shown(header(&head.headers, "webhook-id")),
                since: Instant::now(),
                is_over: false,
            };
            sleep(answer.delay).await;
            waiting.is_over = true;
        }
        let mut response = Response::new(Empty::new());
        *response.status_mut() = answer.status;
        Ok(response)
    }

    fn say(&self, line: String) {
        // Nobody prints any more when the command ends.
        let _ = self.lines.send(line);
    }
}

/// An answer that is not given yet: dropped before, the sender has hung up.
struct Waiting<'a> {
    receiver: &'a Receiver,
    id: String,
    since: Instant,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let (at, id) = (time(Timestamp::now()), &self.id);
            let waited = self.since.elapsed().as_secs_f64();
            let line = format!("{at}  {id}  the service hung up after {waited:.1} s");
            self.receiver.say(line);
        }
    }
}

/// One delivery in one line: when, which event, which attempt, whether it verifies, the answer.
fn line(
    at: Timestamp,
    headers: &HeaderMap,
    body: &[u8],
    verdict: &Result<(), WebhookError>,
    answer: Answer,
) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut parts = vec![
        time(at),
        shown(header(headers, "webhook-id")),
        shown(body["type"].as_str().unwrap_or("?")),
    ];
    // Test deliveries have no attempts.
    if headers.contains_key("webhook-attempt") {
        parts.push(format!(
            "attempt {} ({} left)",
            shown(header(headers, "webhook-attempt")),
            shown(header(headers, "webhook-attempts-left"))
        ));
    }
    parts.push(match verdict {
        Ok(()) => "verified".to_owned(),
        Err(why) => format!("NOT VERIFIED: {why}"),
    });
    let status = answer.status.as_u16();
    parts.push(match answer.delay.is_zero() {
        true => format!("-> {status}"),
        false => format!("-> {status} in {} s", answer.delay.as_secs()),
    });
    parts.join("  ")
}

/// The time of day in UTC, as the service's log has it.
fn time(at: Timestamp) -> String {
    let moment = at.to_string();
    let (_, time) = moment.split_once('T').unwrap_or_default();
    time.to_owned()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or("?")
}

/// What a stranger sent, as a terminal can bear it.
fn shown(text: &str) -> String {
    let printable = |c: char| match c.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.chars().take(MAX_SHOWN).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http_body_util::Full;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZXNlIHRlc3RzIG9ubHk=";
    const BODY: &[u8] = br#"{"type":"session.completed","data":{}}"#;

    const AT_ONCE: Answer = Answer {
        status: StatusCode::OK,
        delay: Duration::ZERO,
    };

    async fn started(answer: Answer) -> (SocketAddr, UnboundedReceiver<String>) {
        let (lines, received) = unbounded_channel();
        let receiver = Receiver::new(SECRET, answer, lines).expect("a receiver");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(receiver.serve(listener));
        (address, received)
    }

    /// A delivery as the service makes it, signed by the official library.
    fn delivery(to: SocketAddr, body: &'static [u8], signed: &[u8]) -> Request<Full<Bytes>> {
        let (id, now) = ("evt_1", Timestamp::now().as_secs());
        let signature = Webhook::new(SECRET).expect("a secret");
        let signature = signature.sign(id, now, signed).expect("a signature");
        Request::post(format!("http://{to}/"))
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signature)
            .header("webhook-attempt", 2)
            .header("webhook-attempts-left", 8)
            .body(Full::new(Bytes::from_static(body)))
            .expect("a request")
    }

    async fn status(request: Request<Full<Bytes>>) -> StatusCode {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.expect("a response");
        response.status()
    }

    /// A line without its time.
    async fn next(lines: &mut UnboundedReceiver<String>) -> String {
        let line = lines.recv().await.expect("a line");
        let (time, rest) = line.split_once("  ").expect("a time");
        assert_eq!((time.len(), time.ends_with('Z')), (13, true), "{line}");
        rest.to_owned()
    }

    #[tokio::test]
    async fn a_delivery_is_verified_and_answered() {
        let answer = Answer {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..AT_ONCE
        };
        for (answer, code) in [(AT_ONCE, 200), (answer, 500)] {
            let (address, mut lines) = started(answer).await;
            assert_eq!(status(delivery(address, BODY, BODY)).await, code);
            assert_eq!(
                next(&mut lines).await,
                format!("evt_1  session.completed  attempt 2 (8 left)  verified  -> {code}")
            );
        }
    }

    #[tokio::test]
    async fn what_does_not_verify_is_refused_and_says_why() {
        let (address, mut lines) = started(AT_ONCE).await;
        let forged = delivery(address, b"{\"type\":\"a\\u001bb\"}", BODY);
        assert_eq!(status(forged).await, StatusCode::UNAUTHORIZED);
        assert_eq!(
            next(&mut lines).await,
            "evt_1  a\u{fffd}b  attempt 2 (8 left)  NOT VERIFIED: signature invalid  -> 401"
        );
        let bare = Request::post(format!("http://{address}/"));
        let bare = bare.body(Full::default()).expect("a request");
        assert_eq!(status(bare).await, StatusCode::UNAUTHORIZED);
        assert_eq!(
            next(&mut lines).await,
            "?  ?  NOT VERIFIED: missing header id  -> 401"
        );
    }

    #[tokio::test]
    async fn an_answer_is_delayed_and_who_does_not_wait_for_it_gets_a_line() {
        let answer = Answer {
            delay: Duration::from_secs(60),
            ..AT_ONCE
        };
        let (address, mut lines) = started(answer).await;
        let hasty = tokio::spawn(status(delivery(address, BODY, BODY)));
        let line = next(&mut lines).await;
        assert!(line.ends_with("verified  -> 200 in 60 s"), "{line}");
        hasty.abort();
        let line = next(&mut lines).await;
        assert!(
            line.starts_with("evt_1  the service hung up after 0."),
            "{line}"
        );
    }

    #[test]
    fn a_secret_that_is_none_is_refused_without_its_text() {
        let (lines, _) = unbounded_channel();
        let Err(error) = Receiver::new("whsec_%%%", AT_ONCE, lines) else {
            panic!("was accepted");
        };
        assert!(!format!("{error:#}").contains("%%%"), "{error:#}");
    }
}
