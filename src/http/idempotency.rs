//! `Idempotency-Key`: a repeat of a create or a rotation returns the first response.
//!
//! The store has no lock, so concurrent repeats are made harmless instead of prevented: the id
//! and the secret follow from `secrets_key`, the key's scope and the body, and so every repeat
//! writes the same.

use http::header::{ETAG, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::details::Details;
use crate::config::Config;
use crate::http::error::{Error, Reason};
use crate::http::response::{self, Response};
use crate::model::encryption::Sealed;
use crate::model::ids::WebhookId;
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;
use crate::store::key_value::Store;
use crate::store::keys;

/// The request's header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The response's header on a repeat.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(crate) const KEY_USED: Error = Error::Conflict {
    reason: Reason::IdempotencyKeyReused,
    message: "The Idempotency-Key was used with another body",
};

/// How long a response is kept for repeats: 24 hours.
const KEPT_SECS: u32 = 24 * 60 * 60;

/// The header's value: 1 to 255 printable ASCII characters.
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the header, noting what is wrong with it.
    pub fn read(headers: &HeaderMap, details: &mut Details) -> Option<Self> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let first = values.next()?;
        let text = first.to_str().ok().filter(|text| {
            let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            printable && (1..=255).contains(&text.len()) && values.next().is_none()
        });
        details
            .check(
                "Idempotency-Key",
                text.ok_or("Must be one value of 1 to 255 printable ASCII characters"),
            )
            .map(|text| Self(text.to_owned()))
    }
}

/// The document under `idempotency/…`. The response is encrypted: it holds a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    v: u8,
    request: String,
    generation: u64,
    at: Timestamp,
    response: Sealed,
}

/// What is kept of a response.
#[derive(Clone, Serialize, Deserialize)]
pub struct Kept {
    status: u16,
    location: Option<String>,
    etag: Option<String>,
    body: String,
}

/// What a request's key turned out to be.
pub enum Lookup {
    /// Not used within 24 hours, or there is no key: go on.
    New(Use),
    /// Used with the same body: this is the response.
    Replay(Box<Response>),
}

/// Looks up what `key` was used for in `scope`: the operation and the resource that it is about.
///
/// # Errors
///
/// [`Error::Conflict`] when it was used with another body, or the store's failure.
pub async fn look_up(
    store: &Store,
    key: Option<&IdempotencyKey>,
    scope: &str,
    body: &[u8],
    config: &Config,
    now: Timestamp,
) -> Result<Lookup, Error> {
    let Some(key) = key else {
        return Ok(Lookup::New(Use::Once));
    };
    let scope = format!("{scope}\n{}", key.0);
    let digest = Sha256::digest(body);
    let request: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let store_key = keys::idempotency(&scope);
    let record: Option<Record> = store.get_document(&store_key).await?;
    let generation = match record {
        None => 0,
        // The id and the secret of the first time must not come again.
        Some(old) if old.at.plus_secs(KEPT_SECS) <= now => old.generation + 1,
        Some(record) if record.request != request => {
            return Err(KEY_USED);
        }
        Some(record) => {
            let kept = config
                .secrets_key
                .open(&store_key, &record.response)
                .ok()
                .and_then(|json| serde_json::from_slice::<Kept>(&json).ok())
                .ok_or_else(|| {
                    Error::Dependency(format!(
                        "store: the response under `{store_key}` cannot be read"
                    ))
                })?;
            return Ok(Lookup::Replay(Box::new(kept.replay())));
        }
    };
    Ok(Lookup::New(Use::Repeatable(Repeatable {
        scope,
        request,
        generation,
    })))
}

/// How a request that makes something may be sent again.
pub enum Use {
    /// It has no key: every time makes another.
    Once,
    /// It has a key: every time makes the same.
    Repeatable(Repeatable),
}

/// One use of a key: a key in its scope, with a body.
pub struct Repeatable {
    scope: String,
    request: String,
    generation: u64,
}

impl Use {
    /// The id and the secret of what the request makes: the same for every repeat, or random.
    pub fn id_and_secret(&self, config: &Config) -> (WebhookId, SigningSecret) {
        let Self::Repeatable(used) = self else {
            return (WebhookId::generate(), SigningSecret::generate());
        };
        let context = |what: &str| {
            format!(
                "{what}\n{}\n{}\n{}",
                used.generation, used.request, used.scope
            )
        };
        let id = config.secrets_key.derive(context("id").as_bytes());
        let secret = config.secrets_key.derive(context("secret").as_bytes());
        (
            WebhookId::from_random_bytes(id),
            SigningSecret::from_bytes(secret),
        )
    }

    /// Whether a client whose request failed can send it again and be told what it made.
    pub fn is_repeatable(&self) -> bool {
        matches!(self, Self::Repeatable(_))
    }

    /// Keeps the response for repeats, if there can be any.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn keep(
        &self,
        store: &Store,
        kept: &Kept,
        config: &Config,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Self::Repeatable(used) = self else {
            return Ok(());
        };
        let store_key = keys::idempotency(&used.scope);
        let json = serde_json::to_vec(kept)
            .map_err(|error| Error::Internal(format!("a response cannot be written: {error}")))?;
        let record = Record {
            v: 1,
            request: used.request.clone(),
            generation: used.generation,
            at: now,
            response: config.secrets_key.seal(&store_key, &json),
        };
        store.set_document(&store_key, &record).await
    }
}

impl Kept {
    /// What is kept of this response.
    pub fn new(
        status: StatusCode,
        location: Option<String>,
        etag: String,
        body: &impl Serialize,
    ) -> Self {
        Self {
            status: status.as_u16(),
            location,
            etag: Some(etag),
            body: serde_json::to_string(body).unwrap_or_default(),
        }
    }

    /// The response as it was.
    pub fn response(&self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = response::json_text(status, self.body.clone());
        let headers = response.headers_mut();
        for (name, value) in [(LOCATION, &self.location), (ETAG, &self.etag)] {
            let value = value
                .as_ref()
                .and_then(|value| HeaderValue::from_str(value).ok());
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        response
    }

    fn replay(&self) -> Response {
        let mut response = self.response();
        let replayed = HeaderValue::from_static("true");
        response
            .headers_mut()
            .insert(IDEMPOTENCY_REPLAYED, replayed);
        response
    }
}
