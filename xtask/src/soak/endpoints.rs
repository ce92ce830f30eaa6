//! The endpoints of a soak's events: they verify each delivery with the official library, answer it, and
//! the judge learns of it. One of two fails a part of the attempts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::judge::{Arrival, Judge, Key};

/// The name by which processes reach the endpoints, each at another of their addresses.
pub const HOST: &str = "endpoints.soak.test";

/// How many endpoints an application has: a steady one, and one that fails a part of the attempts.
pub const PER_APPLICATION: usize = 2;

/// The address that endpoints have for the process that was started as number `started`, from 1: so
/// they know who sends.
pub fn address_of_process(started: u16) -> Ipv4Addr {
    let [high, low] = started.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

/// The endpoints.
pub struct Endpoints {
    port: u16,
    judge: Mutex<Judge>,
    /// What verifies the deliveries of each, by its number.
    verifiers: RwLock<Vec<Webhook>>,
}

/// How an endpoint ends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Status(u16),
    /// It closes the connection.
    None,
}

impl Endpoints {
    /// Listens on every address of this machine.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn start() -> Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let endpoints = Arc::new(Self {
            port: listener.local_addr()?.port(),
            judge: Mutex::default(),
            verifiers: RwLock::default(),
        });
        tokio::spawn(endpoints.clone().serve(listener));
        Ok(endpoints)
    }

    /// The URL of the endpoint that is the next to be [added](Self::add).
    pub fn url(&self) -> String {
        let number = self.verifiers.read().map_or(0, |all| all.len());
        format!("http://{HOST}:{}/{number}", self.port)
    }

    /// Adds an endpoint whose deliveries are signed with this secret.
    ///
    /// # Errors
    ///
    /// When it is no secret.
    pub fn add(&self, secret: &str) -> Result<()> {
        let verifier = Webhook::new(secret).ok().context("no signing secret")?;
        let mut verifiers = self
            .verifiers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        verifiers.push(verifier);
        Ok(())
    }

    /// What was seen so far.
    pub fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Too many files are open: that passes.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(IpAddr::V4(process)) = stream.local_addr().map(|address| address.ip()) else {
                continue;
            };
            let endpoints = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| endpoints.answer(request, process));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // Whoever hangs up, or is hung up on, tries again.
                let _ = connection.await;
            });
        }
    }

    /// # Errors
    ///
    /// Where the connection is to be closed.
    async fn answer(
        &self,
        request: Request<Incoming>,
        process: Ipv4Addr,
    ) -> Result<Response<Empty<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let at = Instant::now();
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let endpoint: usize = head.uri.path().trim_start_matches('/').parse()?;
        let event = header("webhook-id").unwrap_or_default().to_owned();
        let attempt = header("webhook-attempt").unwrap_or_default().parse()?;
        let verifies = self.verifiers.read().is_ok_and(|all| {
            let verifier = all.get(endpoint);
            verifier.is_some_and(|it| it.verify(&body, &head.headers).is_ok())
        });
        let answer = match verifies {
            true => answer(endpoint, &event, attempt),
            false => Answer::Status(401),
        };
        let arrival = Arrival {
            attempt,
            process,
            at,
            accepted: answer == Answer::Status(200),
        };
        self.judge().arrived(Key { event, endpoint }, arrival);
        let Answer::Status(status) = answer else {
            bail!("hung up");
        };
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::from_u16(status)?;
        Ok(response)
    }
}

/// What an endpoint answers to an attempt that verifies. Every third event that comes to the second
/// endpoint of an application fails once, and of these every other one twice.
fn answer(endpoint: usize, event: &str, attempt: u32) -> Answer {
    let is_steady = endpoint.is_multiple_of(PER_APPLICATION);
    let chance = event.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    match (chance % 6, attempt) {
        _ if is_steady => Answer::Status(200),
        (0 | 1, 1) => Answer::Status(503),
        (0, 2) => Answer::None,
        _ => Answer::Status(200),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_endpoints_fails_a_part_of_the_attempts_and_takes_each_event_in_the_end() {
        let answers = |endpoint, attempt| {
            let events = (0..600).map(|number| format!("evt_{number:032}"));
            let failed =
                events.filter(|event| answer(endpoint, event, attempt) != Answer::Status(200));
            failed.count()
        };
        assert_eq!([1, 2, 3].map(|attempt| answers(0, attempt)), [0, 0, 0]);
        let [first, second, third] = [1, 2, 3].map(|attempt| answers(1, attempt));
        assert!((100..300).contains(&first), "{first}");
        assert!((50..150).contains(&second), "{second}");
        assert_eq!(third, 0);
    }

    #[test]
    fn each_process_is_seen_as_another() {
        assert_eq!(address_of_process(1), Ipv4Addr::new(127, 1, 0, 1));
        assert_ne!(address_of_process(256), address_of_process(512));
    }
}
