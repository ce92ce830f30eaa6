//! A client of one process: one connection, whose every failure is explained or counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::tally::{Origin, Tally};

/// Within this, every request is answered, and a service that starts serves.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long after a failure a request is repeated.
const PAUSE: Duration = Duration::from_millis(50);

/// A client with its token, so it has no `Debug`.
pub struct Client {
    /// What it counts in.
    pub tally: Arc<Tally>,
    /// What it asks about, and which process.
    pub origin: Origin,
    authorization: String,
    /// Kept from request to request, and not beyond the process that it leads to.
    connection: Option<(SocketAddr, SendRequest<Full<Bytes>>)>,
}

/// A request below the client's application.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, with a slash before it.
    pub path: &'a str,
    /// A JSON body.
    pub body: Option<&'a Value>,
    /// The `Idempotency-Key`.
    pub key: Option<&'a str>,
    /// The statuses that are no failure.
    pub wanted: &'a [u16],
}

/// A request that failed.
pub struct Failure {
    explained: bool,
}

impl Client {
    /// A client with this bearer token.
    pub fn new(tally: Arc<Tally>, origin: Origin, token: &str) -> Self {
        Self {
            tally,
            origin,
            authorization: format!("Bearer {token}"),
            connection: None,
        }
    }

    /// Asks until the answer is a wanted one; `None` when it is one that nothing explains.
    pub async fn retry_until_success(&mut self, request: Request<'_>) -> Option<(u16, Value)> {
        loop {
            match self.ask(request).await {
                Ok(answer) => return Some(answer),
                Err(Failure { explained: true }) => sleep(PAUSE).await,
                Err(Failure { explained: false }) => return None,
            }
        }
    }

    /// Asks once, and counts.
    pub async fn ask(&mut self, request: Request<'_>) -> Result<(u16, Value), Failure> {
        let since = Instant::now();
        self.tally.requested();
        let answer = timeout(PATIENCE, self.exchange(request)).await;
        let answer = answer.map_err(anyhow::Error::from).flatten();
        let outcome = answer.as_ref().ok().map(|(status, _)| *status);
        if let Ok((status, json)) = &answer
            && request.wanted.contains(status)
        {
            return Ok((*status, json.clone()));
        }
        let explained = self.tally.explains(self.origin, outcome, since);
        self.tally.failed(explained, || {
            let seen = match &answer {
                Ok((status, json)) => format!("{status} {json}"),
                Err(error) => format!("{error:#}"),
            };
            let Request { method, path, .. } = request;
            let (id, process) = (self.origin.id(), self.origin.process);
            format!(
                "{method} {path} of {id}, process {process}, {:?}: {seen}",
                since.elapsed()
            )
        });
        if outcome.is_none() {
            sleep(PAUSE).await;
        }
        Err(Failure { explained })
    }

    async fn exchange(&mut self, asked: Request<'_>) -> Result<(u16, Value)> {
        let address = self.tally.address(self.origin.process);
        let uri = format!("/api/v1/applications/{}{}", self.origin.id(), asked.path);
        let mut request = hyper::Request::builder()
            .method(asked.method)
            .uri(uri)
            .header("host", address.to_string())
            .header("authorization", &self.authorization);
        if asked.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = asked.key {
            request = request.header("idempotency-key", key);
        }
        let body = asked.body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)))?;
        let mut sender = match self.connection.take() {
            // One that was kept for long may have been closed.
            Some((there, sender)) if there == address && !sender.is_closed() => sender,
            _ => connect(address).await?,
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        self.connection = Some((address, sender));
        let json = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body)?,
        };
        Ok((status, json))
    }
}

/// Arms a fault at a process's control address, or disarms all.
pub async fn control(address: SocketAddr, method: &str, body: &Value) -> Result<()> {
    let request = hyper::Request::builder()
        .method(method)
        .uri("/faults")
        .header("host", address.to_string())
        .body(Full::new(Bytes::from(body.to_string())))?;
    let response = connect(address).await?.send_request(request).await?;
    if !response.status().is_success() {
        let text = response.into_body().collect().await?.to_bytes();
        bail!("the fault is refused: {}", String::from_utf8_lossy(&text));
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

pub fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
