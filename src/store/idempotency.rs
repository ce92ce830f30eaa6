//! Records of `Idempotency-Key`: a repeat of a create or a rotation returns the first response.
//!
//! The store has no lock, so concurrent repeats are made harmless instead of prevented: the id
//! and the secret follow from `secrets_key`, the key's scope and the request, and so every repeat
//! writes the same.
//!
//! A record holds the response without its secret. A repeat gets that from the webhook's own
//! documents, so it is gone with them, and no record has to be cleared: which records are a
//! webhook's, the store could not tell (`docs/operations.md`, "What is left of a secret").

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key_value::Store;
use super::keys;
use super::stored_response::StoredResponse;
use crate::config::Config;
use crate::fault::Fault;
use crate::json;
use crate::model::content::Content;
use crate::model::encryption::{Sealed, SecretsKey};
use crate::model::idempotency_key::IdempotencyKey;
use crate::model::ids::WebhookId;
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;

/// How long a response is kept for repeats: 24 hours.
const KEPT_SECS: u32 = 24 * 60 * 60;

/// The document under `idempotency/…`.
///
/// Version 1 had no `made`, its digest was that of the body's bytes, and its response had the
/// secret in it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    v: u8,
    /// The digest of what was asked for.
    request: String,
    /// How often the key was free again.
    generation: u64,
    at: Timestamp,
    /// The id of what the request made.
    #[serde(default)]
    made: Option<WebhookId>,
    /// A [`StoredResponse`], encrypted: it shows the merchant's URL. `doctor` takes away those that
    /// hold a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<Sealed>,
}

const VERSION: u8 = 2;

/// The document without the response that holds a secret, where that is older than 24 hours;
/// `None` when it is not, or there is none. For the doctor.
pub fn without_old_secret(document: &[u8], now: Timestamp) -> Option<impl Serialize + use<>> {
    let mut record: Record = serde_json::from_slice(document).ok()?;
    let is_old = record.v < VERSION && record.at.plus_secs(KEPT_SECS) <= now;
    record.response.take().filter(|_| is_old)?;
    Some(record)
}

/// What a request's key turned out to be.
pub enum Lookup {
    /// Not used within 24 hours, or there is no key: go on.
    Miss(Idempotency),
    /// Used for the same request.
    Hit(Box<Replay>),
    /// Used for another request.
    Reused,
}

/// The response to the first of the requests with a key.
pub struct Replay {
    /// The id of what it made: an application, a webhook, or a rotation.
    pub made: WebhookId,
    /// The response.
    pub response: StoredResponse,
}

/// Looks up what `key` was used for in `scope`: the operation and the resource that it is about.
///
/// # Errors
///
/// The store's failure.
pub async fn look_up(
    store: &Store,
    key: Option<&IdempotencyKey>,
    scope: &str,
    content: &Content,
    config: &Config,
    now: Timestamp,
) -> Result<Lookup, Fault> {
    let Some(key) = key else {
        return Ok(Lookup::Miss(Idempotency::Once));
    };
    let scope = format!("{scope}\n{}", key.as_str());
    let store_key = keys::idempotency(&scope);
    let record: Option<Record> = store.get_document(&store_key).await?;
    decide(record, scope, content, &config.secrets_key, now)
}

/// What the record of a key means for a request.
fn decide(
    record: Option<Record>,
    scope: String,
    content: &Content,
    secrets_key: &SecretsKey,
    now: Timestamp,
) -> Result<Lookup, Fault> {
    let request = digest(&content.canonical);
    let generation = match record {
        None => 0,
        // The id and the secret of the first time must not come again.
        Some(old) if old.at.plus_secs(KEPT_SECS) <= now => old.generation + 1,
        Some(record) if ![&request, &digest(&content.sent)].contains(&&record.request) => {
            return Ok(Lookup::Reused);
        }
        Some(record) => {
            let store_key = keys::idempotency(&scope);
            let response = record
                .response
                .and_then(|sealed| secrets_key.open(&store_key, &sealed).ok())
                .and_then(|json| serde_json::from_slice(&json).ok())
                .ok_or_else(|| {
                    Fault::Dependency(format!(
                        "store: the response under `{store_key}` cannot be read"
                    ))
                })?;
            let first = Repeatable {
                scope,
                request: record.request,
                generation: record.generation,
            };
            let made = record.made.unwrap_or_else(|| first.id(secrets_key));
            return Ok(Lookup::Hit(Box::new(Replay { made, response })));
        }
    };
    Ok(Lookup::Miss(Idempotency::Repeatable(Repeatable {
        scope,
        request,
        generation,
    })))
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    base16ct::lower::encode_string(&digest)
}

/// Until when a previous key of `secrets_key` is needed to repeat the request whose record is under
/// this key; `None`: it is not. For `reencrypt`.
///
/// # Errors
///
/// The store's failure.
pub async fn previous_key_needed_until(
    store: &Store,
    key: &str,
    secrets_key: &SecretsKey,
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let record: Option<Record> = match store.get_document(key).await {
        Err(Fault::Unreadable(_)) => None,
        read => read?,
    };
    let needing = record.filter(|record| {
        let response = record.response.as_ref();
        response.is_some_and(|response| !secrets_key.sealed(response))
    });
    let until = needing.map(|record| record.at.plus_secs(KEPT_SECS));
    Ok(until.filter(|until| *until > now))
}

/// How a request that makes something may be sent again.
pub enum Idempotency {
    /// It has no key: every time makes another.
    Once,
    /// It has a key: every time makes the same.
    Repeatable(Repeatable),
}

/// One use of a key: a key in its scope, with a request.
pub struct Repeatable {
    scope: String,
    request: String,
    generation: u64,
}

impl Repeatable {
    fn id(&self, secrets_key: &SecretsKey) -> WebhookId {
        WebhookId::from_random_bytes(self.derive("id", secrets_key))
    }

    fn secret(&self, secrets_key: &SecretsKey) -> SigningSecret {
        SigningSecret::from_bytes(self.derive("secret", secrets_key))
    }

    fn derive<const N: usize>(&self, what: &str, secrets_key: &SecretsKey) -> [u8; N] {
        let Self {
            scope,
            request,
            generation,
        } = self;
        secrets_key.derive(format!("{what}\n{generation}\n{request}\n{scope}").as_bytes())
    }
}

impl Idempotency {
    /// The id and the secret of what the request makes: the same for every repeat, or random.
    pub fn id_and_secret(&self, config: &Config) -> (WebhookId, SigningSecret) {
        match self {
            Self::Once => (WebhookId::generate(), SigningSecret::generate()),
            Self::Repeatable(used) => (
                used.id(&config.secrets_key),
                used.secret(&config.secrets_key),
            ),
        }
    }

    /// Whether a client whose request failed can send it again and get what it made.
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
        made: WebhookId,
        response: &StoredResponse,
        config: &Config,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Self::Repeatable(used) = self else {
            return Ok(());
        };
        let store_key = keys::idempotency(&used.scope);
        let json = json::write(response)?;
        let record = Record {
            v: VERSION,
            request: used.request.clone(),
            generation: used.generation,
            at: now,
            made: Some(made),
            response: Some(config.secrets_key.seal(&store_key, json.as_bytes())),
        };
        store.set_document(&store_key, &record).await
    }
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};
    use serde_json::json;

    use super::*;

    fn key(byte: u8) -> SecretsKey {
        SecretsKey::parse(&Base64::encode_string(&[byte; 32])).unwrap()
    }

    fn content(text: &str) -> Content {
        Content {
            sent: text.as_bytes().to_owned(),
            canonical: text.as_bytes().to_owned(),
        }
    }

    fn stored() -> StoredResponse {
        let body = json!({"a": 1, "z": 2});
        StoredResponse::new(201, None, "\"x\"", &body, None).unwrap()
    }

    fn record(v: u8, request: &str, at: Timestamp, made: Option<WebhookId>) -> Record {
        let response = serde_json::to_vec(&stored()).unwrap();
        Record {
            v,
            request: digest(request.as_bytes()),
            generation: 3,
            at,
            made,
            response: Some(key(1).seal(&keys::idempotency("scope"), &response)),
        }
    }

    #[test]
    fn a_key_is_free_again_after_24_hours_and_makes_another_id_and_secret() {
        let at = Timestamp::from_millis(0);
        let made = WebhookId::generate();
        let decide = |now, content: &Content| {
            let record = record(VERSION, "a", at, Some(made));
            decide(Some(record), "scope".to_owned(), content, &key(1), now)
        };
        let last = Timestamp::from_millis(i64::from(KEPT_SECS) * 1000 - 1);
        match decide(last, &content("a")) {
            Ok(Lookup::Hit(replay)) => assert_eq!(replay.made, made),
            _ => panic!("not found"),
        }
        assert!(matches!(decide(last, &content("b")), Ok(Lookup::Reused)));
        for text in ["a", "b"] {
            match decide(at.plus_secs(KEPT_SECS), &content(text)) {
                Ok(Lookup::Miss(Idempotency::Repeatable(used))) => assert_eq!(used.generation, 4),
                _ => panic!("not free"),
            }
        }
        let used = |generation| Repeatable {
            scope: "scope".to_owned(),
            request: digest(b"a"),
            generation,
        };
        assert_ne!(used(3).id(&key(1)), used(4).id(&key(1)));
        assert!(used(3).secret(&key(1)) != used(4).secret(&key(1)));
    }

    /// Its digest was that of the bytes, and it did not say what it made: that follows.
    #[test]
    fn a_record_of_version_1_is_found_by_the_bytes_of_its_body() {
        let sent = Content {
            sent: b"{ }".to_vec(),
            canonical: b"{}".to_vec(),
        };
        let at = Timestamp::from_millis(0);
        let decide = |request: &str| {
            let record = record(1, request, at, None);
            decide(Some(record), "scope".to_owned(), &sent, &key(1), at)
        };
        let first = Repeatable {
            scope: "scope".to_owned(),
            request: digest(b"{ }"),
            generation: 3,
        };
        match decide("{ }") {
            Ok(Lookup::Hit(replay)) => assert_eq!(replay.made, first.id(&key(1))),
            _ => panic!("not found"),
        }
        assert!(matches!(decide("other"), Ok(Lookup::Reused)));
    }

    #[test]
    fn doctor_takes_the_secret_from_records_of_version_1_after_24_hours_only() {
        let at = Timestamp::from_millis(0);
        let later = at.plus_secs(KEPT_SECS);
        let written = |v| serde_json::to_vec(&record(v, "a", at, None)).unwrap();
        assert!(without_old_secret(&written(1), at).is_none());
        assert!(without_old_secret(&written(VERSION), later).is_none());
        let cleared = without_old_secret(&written(1), later).expect("a document");
        let cleared = serde_json::to_vec(&cleared).unwrap();
        let read: Record = serde_json::from_slice(&cleared).unwrap();
        assert!(read.response.is_none());
        assert_eq!((read.generation, read.at), (3, at));
        assert!(without_old_secret(&cleared, later).is_none());
        assert!(without_old_secret(b"not JSON", later).is_none());
    }
}
