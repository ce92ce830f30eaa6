//! Deliveries: events as signed HTTP requests (Standard Webhooks 1.0.0), and what came of them.

use std::pin::pin;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use futures::future::{Either, select};
use hmac::{Hmac, Mac};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use sha2::Sha256;
use uuid::Uuid;

use crate::http::error::Error;
use crate::model::encryption::SecretsKey;
use crate::model::endpoint_url::EndpointUrl;
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::runtime::{Instant, sleep};

/// How long an attempt takes at most, from the connection to the answer's last byte.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How much of the answer is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How deliveries name their sender.
const SENDER: &str = concat!("application-webhooks/", env!("CARGO_PKG_VERSION"));

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
    /// The body, byte for byte as it was signed.
    pub body: Vec<u8>,
}

/// The body of a delivery.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct Payload<'a, T> {
    /// What happened.
    r#type: &'a str,
    /// When it happened.
    #[cfg_attr(
        feature = "openapi",
        schema(inline, examples("2026-04-20T12:34:56.000Z"))
    )]
    timestamp: Timestamp,
    /// What it happened to.
    data: &'a T,
}

impl Delivery {
    /// An event of type `event` for a webhook, signed with each of its secrets that are valid at
    /// `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Dependency`] when `key` does not open a secret.
    pub fn to(
        webhook: &Webhook,
        event: &str,
        data: &impl Serialize,
        key: &SecretsKey,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let webhook_id = webhook.created.id.to_string();
        let secrets: Vec<SigningSecret> = webhook
            .live_secrets(now)
            .into_iter()
            .map(|secret| key.open_secret(&webhook_id, &secret.sealed))
            .collect::<Result<_, _>>()
            .map_err(|_| {
                Error::Dependency(format!(
                    "store: a secret of webhook {webhook_id} cannot be decrypted"
                ))
            })?;
        let payload = Payload {
            r#type: event,
            timestamp: now,
            data,
        };
        let body = serde_json::to_vec(&payload).expect("our payloads have string keys");
        let id = format!("msg_{}", Uuid::new_v4().simple());
        let timestamp = now.as_secs();
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| signature(&id, timestamp, &body, secret.as_bytes()))
            .collect();
        Ok(Self {
            url: webhook.settings().url,
            signature: signatures.join(" "),
            id,
            timestamp,
            body,
        })
    }

    /// Sends the delivery once. Follows no redirect and sends no cookie: there is nobody here who
    /// would.
    ///
    /// The URL is judged again, since the rules may be stricter now than when it was accepted:
    /// one that breaks them is not connected to.
    pub async fn send(&self, allow_insecure: bool) -> Attempt {
        let Ok(url) = EndpointUrl::parse(&self.url, allow_insecure) else {
            return Attempt::refused();
        };
        let started = Instant::now();
        let mut status = None;
        let attempt = async {
            let request = http::Request::post(url.normalized())
                .header(CONTENT_TYPE, "application/json")
                .header(CONTENT_LENGTH, self.body.len())
                .header(USER_AGENT, SENDER)
                .header("webhook-id", &self.id)
                .header("webhook-timestamp", self.timestamp)
                .header("webhook-signature", &self.signature)
                .body(Full::new(Bytes::from(self.body.clone())))
                .ok()?;
            let response = spin_sdk::http::send(request).await.ok()?;
            status = Some(response.status().as_u16());
            let mut body = pin!(response.into_body());
            let mut answer = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.ok()?.into_data() else {
                    continue;
                };
                let room = MAX_ANSWER_BYTES - answer.len();
                answer.extend_from_slice(&data[..data.len().min(room)]);
                if answer.len() == MAX_ANSWER_BYTES {
                    break;
                }
            }
            Some(answer)
        };
        let answer = match select(pin!(attempt), pin!(sleep(DEADLINE))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => None,
        };
        Attempt {
            status,
            answer,
            latency: started.elapsed(),
        }
    }
}

/// One element of `webhook-signature`: base64 of HMAC-SHA256 over `id.timestamp.body`.
fn signature(id: &str, timestamp: i64, body: &[u8], key: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes()))
}

/// What came of sending a delivery once.
pub struct Attempt {
    /// The status that the endpoint answered with, if it answered.
    pub status: Option<u16>,
    /// The answer's body, if all of it (or as much as is read) came in time.
    pub answer: Option<Vec<u8>>,
    /// From the start to the answer's end, or to the failure.
    pub latency: Duration,
}

impl Attempt {
    /// An attempt that was not made, because the URL is not allowed any more.
    fn refused() -> Self {
        Self {
            status: None,
            answer: None,
            latency: Duration::ZERO,
        }
    }

    /// Whether the endpoint took the delivery: a whole answer with a status of 200 to 299.
    pub fn succeeded(&self) -> bool {
        self.answer.is_some()
            && self
                .status
                .is_some_and(|status| (200..300).contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that Standard Webhooks' own libraries are tested with.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        let key = Base64::decode_vec("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            signature(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#,
                &key
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
