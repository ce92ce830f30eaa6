//! The doctor for signatures: why a receiver's library refuses a delivery.
//!
//! Only the merchant whose webhook it is may ask, and each time counts as a change: nobody else learns
//! what a secret signs.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::request::Request;
use crate::dispatch::dispatcher::Dispatcher;
use crate::fault::Fault;
use crate::http::body::MAX_BODY_BYTES;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::object::Object;
use crate::http::parameters::{ApplicationPath, WebhookPath};
use crate::http::response::{self, Response};
use crate::model::encryption::SecretsKey;
use crate::model::ids::EventId;
use crate::model::signature_check::{Checked, KnownSecret, Original, Reason, Received};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::store::webhooks;

/// A delivery to verify.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(
    description = "A delivery as the receiver got it, with its body as text or as base64.",
    examples(json!({
        "headers": {
            "webhook-id": "evt_019abd5a6f407c2e8d3b9f0a1b2c3d4e",
            "webhook-timestamp": "1776688496",
            "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        },
        "body": "{\"type\":\"session.completed\",\"timestamp\":\"2026-04-20T12:34:55.000Z\",\"data\":{}}",
        "receivedAt": "2026-04-20T12:34:57.000Z",
    }))
)]
pub struct VerifyRequest {
    /// Its headers: those that are looked at are `webhook-id`, `webhook-timestamp` and
    /// `webhook-signature`, in upper or lower case.
    headers: BTreeMap<String, HeaderText>,
    /// Its body, as text. Either this or `bodyBase64` is there.
    #[schema(nullable = false)]
    body: Option<String>,
    /// Its body, byte for byte, in base64.
    #[schema(nullable = false)]
    body_base64: Option<String>,
    /// When it was received: the clock that `webhook-timestamp` is compared with, and by which secrets
    /// are live. Without it, now.
    #[schema(inline, nullable = false, examples("2026-04-20T12:34:57.000Z"))]
    received_at: Option<Timestamp>,
}

/// What a header holds.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(description = "A header's value, or several values of one name.")]
pub enum HeaderText {
    /// Its value.
    One(String),
    /// The values of several headers of that name.
    Several(Vec<String>),
}

/// What came of verifying a delivery.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SignatureCheck, description = "Whether a delivery verifies, and if not, why.")]
pub struct VerifyResponse {
    /// Whether a library of Standard Webhooks accepts it with a secret that is live.
    valid: bool,
    /// The secret that made the signature, as its last four characters: the receiver's must be this
    /// one. `null`: none of the webhook's did.
    #[schema(required, examples("whsec_****pQ3v"))]
    secret_fingerprint: Option<String>,
    /// Why it does not verify; empty when it does.
    reasons: Vec<Reason>,
}

impl VerifyRequest {
    /// Reads a body, noting what is wrong with it: the delivery, and when it was received.
    fn read(body: &mut Object, details: &mut Details) -> Option<(Received, Option<Timestamp>)> {
        let is_both = body.has(&["body"]) && body.has(&["bodyBase64"]);
        let is_neither = !body.has(&["body"]) && !body.has(&["bodyBase64"]);
        let headers = body.required("headers", details, headers);
        let text = |value| match value {
            Value::String(text) => Ok(text.into_bytes()),
            _ => Err("Must be a string"),
        };
        let text = match is_neither {
            true => body.required("body", details, text),
            false => body.optional("body", details, text),
        };
        let base64 = body.optional("bodyBase64", details, |value| {
            let bytes = value.as_str().map(Base64::decode_vec);
            bytes.and_then(Result::ok).ok_or("Must be base64")
        });
        let received_at = body.optional("receivedAt", details, |value| {
            let moment = serde_json::from_value(value);
            moment.map_err(|_| "Must be a time in RFC 3339, such as 2026-01-15T08:00:00.000Z")
        });
        if is_both {
            details.add("bodyBase64", "Must not be there beside `body`");
        }
        let received = Received {
            body: text.or(base64)?,
            ..headers?
        };
        Some((received, received_at))
    }
}

/// The three headers.
fn headers(value: Value) -> Result<Received, String> {
    let Value::Object(headers) = value else {
        return Err("Must be an object".to_owned());
    };
    let mut received = Received::default();
    for (name, value) in headers {
        let values = match value {
            Value::String(value) => vec![value],
            Value::Array(values) => values
                .into_iter()
                .map(|value| match value {
                    Value::String(value) => Ok(value),
                    _ => Err(format!("Must have strings, or arrays of them: {name:?}")),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(format!("Must have strings, or arrays of them: {name:?}")),
        };
        let (place, is_list) = match name.to_ascii_lowercase().as_str() {
            "webhook-id" => (&mut received.id, false),
            "webhook-timestamp" => (&mut received.timestamp, false),
            "webhook-signature" => (&mut received.signature, true),
            _ => continue,
        };
        for value in values.iter().map(|value| value.trim()) {
            match place {
                None => *place = Some(value.to_owned()),
                Some(known) if known == value => {}
                // Signatures that stand in several headers are one list (RFC 9110 §5.3).
                Some(known) if is_list => {
                    known.push(' ');
                    known.push_str(value);
                }
                Some(_) => return Err(format!("Must have one value of {name:?}")),
            }
        }
    }
    Ok(received)
}

/// Verify delivery
///
/// Says whether a delivery, as the receiver got it, verifies with a secret of the webhook, and if not,
/// why: ask when a library refuses what came. The body is compared with the event's, as long as that is
/// kept, and is written anew without white space, in the order as received, to find out whether it was
/// parsed before it was verified. Counts as a change to the rate limit. The application must belong to
/// the authenticated merchant.
#[utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/verify",
    operation_id = "verifyDelivery", tag = "Webhooks", params(ApplicationPath, WebhookPath),
    request_body = VerifyRequest,
    responses((status = 200, description = "What was found.", body = VerifyResponse)),
)]
pub async fn verify(mut request: Request) -> Result<Response, Error> {
    let dispatcher = Dispatcher::of_instance().await?;
    let ids = request.webhook();
    // A body is text in JSON here, which can be twice as long.
    let limit = dispatcher.events_config().max_event_bytes * 2 + MAX_BODY_BYTES;
    let mut body = request
        .body(async |headers, body, details| {
            Object::read_up_to(limit, headers, body, details).await
        })
        .await?;
    let read = VerifyRequest::read(&mut body, &mut request.details);
    body.finish(&mut request.details);
    let (context, ((application, id), (received, received_at))) = request.begin(ids.zip(read))?;
    let at = received_at.unwrap_or_else(Timestamp::now);

    let webhook = webhooks::webhook(&context.store, &application, id);
    let reads = context.authorize(&application, webhook);
    let webhook = context.run_counted("reading a webhook", reads).await?;
    let webhook = webhook?.ok_or(Error::NotFound)?;
    let secrets = secrets(&webhook, &context.config.secrets_key, at)?;

    let event = received.id.as_deref().and_then(EventId::parse);
    let checked = match event.filter(|_| !received.is_signed(&secrets)) {
        None => received.check(&secrets, Original::NoEvent, at, sha256),
        Some(event) => {
            let stored = dispatcher.database().event(&application, event).await?;
            let original = match &stored {
                None => Original::Unknown,
                Some(stored) => Original::Known {
                    sha256: &stored.event.sha256,
                    body: stored.body.as_deref(),
                    is_sent: {
                        let mut deliveries = stored.deliveries.iter();
                        deliveries.any(|delivery| delivery.webhook_id == id)
                    },
                },
            };
            received.check(&secrets, original, at, sha256)
        }
    };
    let Checked {
        secret_fingerprint,
        reasons,
    } = checked;
    let body = VerifyResponse {
        valid: reasons.is_empty(),
        secret_fingerprint,
        reasons,
    };
    Ok(response::json(StatusCode::OK, &body)?)
}

/// The webhook's secrets, those that are live at that moment first. One that has ended and does not
/// open is left out.
fn secrets(webhook: &Webhook, key: &SecretsKey, at: Timestamp) -> Result<Vec<KnownSecret>, Fault> {
    let id = webhook.created.id;
    let mut secrets = Vec::new();
    for stored in webhook.live_secrets(at) {
        secrets.push(KnownSecret {
            fingerprint: stored.fingerprint.clone(),
            secret: webhooks::open_secret(id, stored, key)?,
            is_live: true,
        });
    }
    for stored in webhook.ended_secrets(at) {
        if let Ok(secret) = webhooks::open_secret(id, stored, key) {
            secrets.push(KnownSecret {
                fingerprint: stored.fingerprint.clone(),
                secret,
                is_live: false,
            });
        }
    }
    Ok(secrets)
}

fn sha256(body: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<[Option<String>; 3], String> {
        headers(value).map(|received| [received.id, received.timestamp, received.signature])
    }

    #[test]
    fn headers_are_read_as_servers_have_them() {
        let all = Ok(["a", "1", "v1,x v1,y"].map(|text| Some(text.to_owned())));
        for given in [
            json!({"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,x v1,y"}),
            json!({"Webhook-Id": ["a"], "WEBHOOK-TIMESTAMP": " 1 ", "Webhook-Signature": ["v1,x", "v1,y"]}),
            json!({"webhook-id": ["a", "a"], "webhook-timestamp": "1", "webhook-signature": "v1,x v1,y",
                "host": "h", "accept": ["a", "b"]}),
        ] {
            assert_eq!(read(given), all);
        }
        assert_eq!(read(json!({"webhook-id": []})), Ok([None, None, None]));
        for given in [
            json!([]),
            json!("webhook-id: a"),
            json!({"webhook-id": 1}),
            json!({"other": {}}),
            json!({"other": [1]}),
            json!({"webhook-id": ["a", "b"]}),
            json!({"webhook-timestamp": "1", "Webhook-Timestamp": "2"}),
        ] {
            assert!(read(given.clone()).is_err(), "{given}");
        }
    }
}
