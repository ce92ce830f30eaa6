//! Deliveries: events as signed HTTP requests (Standard Webhooks 1.0.0).

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http_body_util::Full;
use serde::Serialize;
use spin_sdk::http::Response;
use uuid::Uuid;

pub use super::outcome::{Attempt, Failure, MAX_BODY_BYTES};
use crate::config::SENDER;
use crate::early_body;
use crate::fault::Fault;
use crate::json;
use crate::model::encryption::SecretsKey;
use crate::model::endpoint_url::EndpointUrl;
use crate::model::signature;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::runtime::{Instant, sleep};
use crate::store::webhooks;

/// How long an endpoint has until it returns a status to a test, its connection included. People wait
/// for tests.
pub const TEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long it has for an event.
pub const ATTEMPT_DEADLINE: Duration = Duration::from_secs(15);

/// A signed event, ready to be sent.
pub struct Delivery {
    /// Where it goes, as the merchant spelled it.
    pub url: String,
    /// `webhook-id`: the same for every attempt of one event.
    pub id: String,
    /// `webhook-timestamp`, in seconds since the Unix epoch.
    pub timestamp: i64,
    /// `webhook-signature`: one signature per live secret, separated by spaces.
    pub signature: String,
    /// What may be shown of those secrets, in the same order.
    pub secret_fingerprints: Vec<String>,
    /// The body, byte for byte as it was signed.
    pub body: Bytes,
    /// Which attempt it is; `None`: a test has only one.
    pub attempt: Option<AttemptHeaders>,
    /// How long the endpoint has until it returns a status.
    pub deadline: Duration,
}

/// What an attempt says of itself beside the specification's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptHeaders {
    /// `webhook-attempt`: its number, from 1.
    pub number: u32,
    /// `webhook-attempts-left`: how many the schedule has after it.
    pub left: u32,
}

/// The body of a delivery.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Payload<'a, T> {
    /// What happened.
    r#type: &'a str,
    /// When it happened.
    #[schema(inline, examples("2026-04-20T12:34:56.000Z"))]
    timestamp: Timestamp,
    /// What it happened to.
    data: &'a T,
}

/// The body of an event's deliveries: made once, so that every attempt sends the same bytes.
///
/// # Errors
///
/// [`Fault::Internal`] when `data` cannot be written as JSON.
pub fn body(event: &str, timestamp: Timestamp, data: &impl Serialize) -> Result<String, Fault> {
    json::write(&Payload {
        r#type: event,
        timestamp,
        data,
    })
}

impl Delivery {
    /// A test of a webhook: an event of type `event` that is delivered once.
    ///
    /// # Errors
    ///
    /// Those of [`body`] and [`Self::sign`].
    pub fn test(
        webhook: &Webhook,
        event: &str,
        data: &impl Serialize,
        key: &SecretsKey,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let id = format!("msg_{}", Uuid::new_v4().simple());
        let body = body(event, now, data)?;
        Self::sign(webhook, id, body.into(), key, now)
    }

    /// A delivery of these bytes, signed with each of the webhook's secrets that are valid at `now`.
    ///
    /// # Errors
    ///
    /// [`Fault::Dependency`] when `key` does not open a secret.
    pub fn sign(
        webhook: &Webhook,
        id: String,
        body: Bytes,
        key: &SecretsKey,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let timestamp = now.as_secs();
        let mut signatures = Vec::new();
        let mut secret_fingerprints = Vec::new();
        for stored in webhook.live_secrets(now) {
            let secret = webhooks::open_secret(webhook.created.id, stored, key)?;
            signatures.push(signature::element(&id, timestamp, &body, &secret));
            secret_fingerprints.push(stored.fingerprint.clone());
        }
        Ok(Self {
            url: webhook.settings().url.to_owned(),
            id,
            timestamp,
            signature: signatures.join(" "),
            secret_fingerprints,
            body,
            attempt: None,
            deadline: TEST_DEADLINE,
        })
    }

    /// Sends the delivery once. Follows no redirect and sends no cookie: there is nobody here who
    /// would.
    ///
    /// The URL is checked again, since the rules may be stricter now than when it was accepted:
    /// one that breaks them is not connected to.
    pub async fn send(&self, allow_insecure: bool) -> Attempt {
        let started = Instant::now();
        let url = match EndpointUrl::parse(&self.url, allow_insecure) {
            Ok(url) => url,
            Err(rule) => return Attempt::refused(&rule),
        };
        let response = match select(pin!(self.request(&url)), pin!(sleep(self.deadline))).await {
            Either::Left((response, _)) => response,
            Either::Right(_) => Err(Failure::Timeout),
        };
        let latency = started.elapsed();
        match response {
            Ok(response) => Attempt::answered(&url, response, latency).await,
            Err(failure) => Attempt::unanswered(failure, latency),
        }
    }

    /// The response, as soon as its head is there.
    async fn request(&self, url: &EndpointUrl) -> Result<Response, Failure> {
        let mut request = http::Request::post(url.normalized())
            .header(ACCEPT_ENCODING, "identity")
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, self.body.len())
            .header(USER_AGENT, SENDER)
            .header("webhook-id", &self.id)
            .header("webhook-timestamp", self.timestamp)
            .header("webhook-signature", &self.signature);
        if let Some(attempt) = self.attempt {
            request = request
                .header("webhook-attempt", attempt.number)
                .header("webhook-attempts-left", attempt.left);
        }
        let request = request
            .body(Full::new(self.body.clone()))
            .map_err(|_| Failure::UrlRefused)?;
        Ok(spin_sdk::http::send(early_body::request(request).await?).await?)
    }
}
