//! Requests that state the status they expect and hand back the parsed body.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::tokens::{self, Token};
use super::{Application, PATIENCE, Server, contract};

/// The URL of the reference page.
pub const URL: &str = "https://merchant.example.com/hooks/kadosei";

/// A request that is not sent yet. Each has its own connection, so that tests share nothing.
#[derive(Clone, Debug)]
pub struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Server {
    /// A bare request: no token, no content type, no body.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request {
            address: self.address(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// "Create application webhook" as the reference page has it, by the application's merchant.
    pub fn create(&self, application: &Application) -> Request {
        self.create_at(&application.path())
            .token(&self.token_of(application.claims()))
    }

    /// A request by the application's merchant.
    pub fn by(&self, application: &Application, method: &str, path: &str) -> Request {
        self.request(method, path)
            .token(&self.token_of(application.claims()))
    }

    /// A token that is valid by this server's clock.
    fn token_of(&self, claims: Token) -> String {
        claims.later(self.ahead()).sign(tokens::hs256())
    }

    /// "Publish event" of type `session.completed`, by the platform.
    pub fn publish(&self, application: &Application) -> Request {
        self.request("POST", &application.events_path())
            .token(&self.token_of(Token::of_platform("events:publish")))
            .json(&json!({"type": "session.completed", "data": {"sessionId": "ses_1"}}))
    }

    /// "Create application webhook" at another path, without a token.
    pub fn create_at(&self, path: &str) -> Request {
        self.request("POST", path).json(&json!({ "url": URL }))
    }
}

impl Request {
    /// Sets a header, in place of what it was.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self = self.without_header(name);
        self.headers
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn without_token(self) -> Self {
        self.without_header("authorization")
    }

    /// A JSON body, with its content type.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// A body of any bytes; leaves the content type as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body with only `url` changed.
    pub fn url(self, url: &str) -> Self {
        self.json(&json!({ "url": url }))
    }

    /// Sends it, checks what holds for every answer, and that it has this status.
    pub async fn expect(self, status: u16) -> Response {
        let asked = format!("{} {}", self.method, self.path);
        let response = self.send().await;
        assert_eq!(
            response.status, status,
            "{asked}: {} {:?}",
            response.text, response.headers
        );
        response
    }

    /// Sends it and expects an error with exactly this body.
    pub async fn expect_error(self, body: &str) -> Response {
        let code = serde_json::from_str::<Value>(body).expect("a documented body")["code"].clone();
        let status = code.as_u64().expect("a code") as u16;
        let response = self.expect(status).await;
        assert_eq!(response.text, body);
        response
    }

    /// Sends it and expects a 400 with exactly these details.
    pub async fn expect_bad_request(self, details: &[(&str, &str)]) -> Response {
        self.expect_error(&contract::bad_request(details)).await
    }

    /// Sends it and expects a 400 that names exactly these fields.
    pub async fn expect_bad_fields(self, fields: &[&str]) -> Response {
        let response = self.expect(400).await;
        assert_eq!(contract::fields(&response), fields, "{}", response.text);
        response
    }

    /// Sends it and expects a webhook.
    pub async fn expect_created(self) -> Created {
        Created::from(self.expect(201).await)
    }

    /// Sends it and checks what holds for every answer.
    pub async fn send(self) -> Response {
        let response = self
            .send_unchecked()
            .await
            .unwrap_or_else(|e| panic!("no answer: {e}"));
        contract::check(&response);
        response
    }

    /// Sends it. The answer may not even be ours, or there may be none.
    pub async fn send_unchecked(self) -> Result<Response, String> {
        self.send_within(PATIENCE).await
    }

    /// As [`Self::send_unchecked`], for an answer that takes its time.
    pub async fn send_within(self, limit: Duration) -> Result<Response, String> {
        tokio::time::timeout(limit, self.exchange())
            .await
            .map_err(|_| format!("nothing within {limit:?}"))?
            .map_err(|error| format!("{error:?}"))
    }

    async fn exchange(self) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(self.method.as_str())
            .uri(self.path.as_str())
            .header("host", self.address.to_string());
        for (name, value) in &self.headers {
            request = request.header(name, value.as_slice());
        }
        let request = request.body(Full::new(Bytes::from(self.body)))?;
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        drop(sender);
        connection.abort();
        Ok(Response {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(body.into())?,
            is_to_head: self.method == "HEAD",
        })
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub is_to_head: bool,
}

impl Response {
    /// A header that must not be there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} twice: {:?}", self.headers);
        Some(value.to_str().unwrap_or_else(|e| panic!("{name}: {e}")))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The id of the request, by which the log names it.
    pub fn request_id(&self) -> &str {
        self.header("x-request-id")
            .unwrap_or_else(|| panic!("no x-request-id: {:?}", self.headers))
    }
}

/// A webhook as its creator sees it: these ten fields and no other.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    pub id: String,
    pub url: String,
    pub is_active: bool,
    pub key_fingerprint: String,
    pub signing_secret: String,
    pub subscribed_events: Vec<String>,
    pub last_test_at: Value,
    pub last_test_status: Value,
    pub created_at: String,
    pub updated_at: String,
}

/// A 201 and the webhook in it.
#[derive(Debug)]
pub struct Created {
    pub webhook: Webhook,
    pub response: Response,
}

impl From<Response> for Created {
    fn from(response: Response) -> Self {
        let webhook = serde_json::from_str(&response.text)
            .unwrap_or_else(|e| panic!("{e}: {}", response.text));
        Self { webhook, response }
    }
}
