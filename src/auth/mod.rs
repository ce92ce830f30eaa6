//! A bearer token in, the merchant out.

pub mod remote_jwks;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jwt_compact::{Claims, UntrustedToken};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::auth::remote_jwks::{Published, RemoteJwks};
use crate::config::Config;
use crate::http::error::Error;
use crate::model::ids::MerchantId;
use crate::model::time::Timestamp;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the issuer's clock and ours may differ, in seconds.
const LEEWAY_SECS: i64 = 60;

/// How many valid tokens an instance remembers, and how many refused ones. One entry takes some 100
/// bytes.
const REMEMBERED_TOKENS: usize = 1024;

/// The merchant whose token is in the request's headers.
///
/// # Errors
///
/// [`Error::NoToken`], [`Error::InvalidToken`], and the identity provider's failure when only its
/// keys could tell.
pub async fn authenticate(
    headers: &HeaderMap,
    config: &'static Config,
    request_id: &str,
) -> Result<MerchantId, Error> {
    let token = bearer_token(headers)?;
    let digest = Sha256::digest(token).into();
    let now = Timestamp::now();
    if let Some(decision) = recall(&digest) {
        // What a key decided holds no longer than the key.
        let still = match (decision.published, &config.provider) {
            (None, _) => true,
            (Some(id), Some(provider)) => provider.keys(config, request_id).await?.id == id,
            (Some(_), None) => false,
        };
        if still {
            return decision.merchant(now);
        }
    }
    let decision = decide(token, config, request_id).await?;
    let merchant = decision.merchant(now);
    remember(digest, decision, merchant.is_ok(), now);
    merchant
}

/// The token of the request's one `Authorization: Bearer` header (RFC 6750 §2.1).
fn bearer_token(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Error::NoToken)?;
    if values.next().is_some() {
        return Err(Error::InvalidToken("more than one authorization header"));
    }
    let value = value
        .to_str()
        .map_err(|_| Error::InvalidToken("not visible ASCII"))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim();
    // RFC 9110 §11.1: the scheme's case does not matter.
    if !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() {
        return Err(Error::NoToken);
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::InvalidToken("longer than 8 KiB"));
    }
    Ok(token)
}

/// What an instance found out about a token.
#[derive(Clone)]
struct Decision {
    /// What it says, or why it is refused whenever it is used.
    verdict: Result<Verified, &'static str>,
    /// The set of the provider's whose keys were asked; `None`: configured keys decided.
    published: Option<[u8; 32]>,
}

#[derive(Clone)]
struct Verified {
    merchant: MerchantId,
    not_before: i64,
    expires: i64,
}

impl Decision {
    /// The merchant, if the token is valid at `now`.
    fn merchant(&self, now: Timestamp) -> Result<MerchantId, Error> {
        let verified = self
            .verdict
            .as_ref()
            .map_err(|why| Error::InvalidToken(why))?;
        if now.as_secs() >= verified.expires.saturating_add(LEEWAY_SECS) {
            return Err(Error::InvalidToken("expired"));
        }
        if now.as_secs() < verified.not_before.saturating_sub(LEEWAY_SECS) {
            return Err(Error::InvalidToken("not valid yet"));
        }
        Ok(verified.merchant.clone())
    }
}

/// What the header of a token may hold beside what jwt-compact reads.
#[derive(Clone, Deserialize)]
struct HeaderFields {
    /// Whether it is there, whatever it is.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Decides about a token.
///
/// # Errors
///
/// What is found out without a key, that its key is unknown as yet, and the provider's failure.
async fn decide(token: &str, config: &'static Config, request_id: &str) -> Result<Decision, Error> {
    let token: UntrustedToken<'_, HeaderFields> =
        UntrustedToken::try_from(token).map_err(|_| Error::InvalidToken("not a JWT"))?;
    // RFC 7515 §4.1.11: who does not understand an extension must refuse it, and we know none.
    if token.header().other_fields.crit {
        return Err(Error::InvalidToken("has critical extensions"));
    }
    let (claims, published) = match (config.keys.verify(&token), &config.provider) {
        (None, Some(provider)) => {
            let published = published(provider, &token, config, request_id).await?;
            (published.keys.verify(&token), Some(published.id))
        }
        (claims, _) => (claims, None),
    };
    let verdict = claims
        .ok_or("no key verifies it")
        .and_then(|claims| check(&claims, config));
    Ok(Decision { verdict, published })
}

type Payload = Claims<Map<String, Value>>;

/// What a token whose signature is good says, or why that will not do.
fn check(claims: &Payload, config: &Config) -> Result<Verified, &'static str> {
    // RFC 7519 §4.1.4 and §4.1.5.
    let expires = claims.expiration.ok_or("has no exp")?.timestamp();
    let not_before = claims.not_before.map_or(i64::MIN, |time| time.timestamp());
    let text = |name: &str| claims.custom.get(name).and_then(Value::as_str);
    if let Some(issuer) = &config.issuer
        && text("iss") != Some(issuer)
    {
        return Err("wrong iss");
    }
    if let Some(audience) = &config.audience
        && !is_for_audience(claims.custom.get("aud"), audience)
    {
        return Err("wrong aud");
    }
    let merchant = text(&config.merchant_claim)
        .and_then(MerchantId::parse)
        .ok_or("names no merchant")?;
    Ok(Verified {
        merchant,
        not_before,
        expires,
    })
}

/// The identity provider's keys; newer ones, when the token names one that nobody knows.
///
/// # Errors
///
/// The provider's failure, and that the token's key is still unknown.
async fn published(
    provider: &'static RemoteJwks,
    token: &UntrustedToken<'_, HeaderFields>,
    config: &'static Config,
    request_id: &str,
) -> Result<Arc<Published>, Error> {
    let published = provider.keys(config, request_id).await?;
    let named = token.header().key_id.as_deref();
    let unknown = |published: &Published| {
        named.is_some_and(|id| !config.keys.has(id) && !published.keys.has(id))
    };
    if !unknown(&published) {
        return Ok(published);
    }
    let newer = provider.newer(published, config, request_id).await?;
    if unknown(&newer) {
        return Err(Error::InvalidToken("its key is unknown"));
    }
    Ok(newer)
}

/// RFC 7519 §4.1.3: `aud` is one string or an array of them.
fn is_for_audience(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one == audience),
        _ => false,
    }
}

/// Tokens that were decided about already, by their SHA-256.
///
/// A merchant sends the same token many times, also one that has expired, and one ES256
/// verification in WebAssembly takes a millisecond. A valid token stays as long as it is valid at
/// most; no number of refused ones makes room among them.
#[derive(Default)]
struct Remembered {
    valid: HashMap<[u8; 32], Decision>,
    refused: HashMap<[u8; 32], Decision>,
}

static REMEMBERED: LazyLock<Mutex<Remembered>> = LazyLock::new(Mutex::default);

fn recall(digest: &[u8; 32]) -> Option<Decision> {
    let remembered = REMEMBERED.lock().unwrap_or_else(|e| e.into_inner());
    let refused = || remembered.refused.get(digest);
    remembered.valid.get(digest).or_else(refused).cloned()
}

fn remember(digest: [u8; 32], decision: Decision, valid: bool, now: Timestamp) {
    let mut remembered = REMEMBERED.lock().unwrap_or_else(|e| e.into_inner());
    let tokens = match valid {
        true => &mut remembered.valid,
        false => &mut remembered.refused,
    };
    if tokens.len() >= REMEMBERED_TOKENS {
        tokens.retain(|_, decision| decision.merchant(now).is_ok());
    }
    if tokens.len() >= REMEMBERED_TOKENS {
        tokens.clear();
    }
    tokens.insert(digest, decision);
}
