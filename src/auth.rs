//! A bearer token in, the merchant out.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jwt_compact::{Claims, UntrustedToken};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::application::MerchantId;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::Error;
use crate::log::RequestId;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the issuer's clock and ours may differ, in seconds.
const LEEWAY_SECS: i64 = 60;

/// How many verified tokens an instance remembers. One entry takes some 100 bytes.
const REMEMBERED_TOKENS: usize = 1024;

/// The merchant whose valid token came with the request.
pub struct Merchant(pub MerchantId);

impl<S: Sync> FromRequestParts<S> for Merchant {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let config = Config::load().await?;
        let RequestId(id) = RequestId::of(parts);
        authenticate(&parts.headers, config, &id).await.map(Self)
    }
}

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
    if let Some(verified) = recall(&digest, now) {
        // A token is believed no longer than the key that verified it.
        let still = match (verified.published, &config.provider) {
            (None, _) => true,
            (Some(id), Some(provider)) => provider.keys(config, request_id).await?.id == id,
            (Some(_), None) => false,
        };
        if still {
            return Ok(verified.merchant);
        }
    }
    let verified = verify(token, config, request_id, now).await?;
    let merchant = verified.merchant.clone();
    remember(digest, verified, now);
    Ok(merchant)
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

#[derive(Clone)]
struct Verified {
    merchant: MerchantId,
    not_before: i64,
    expires: i64,
    /// The set of the provider's that had the key; `None`: a configured key.
    published: Option<[u8; 32]>,
}

impl Verified {
    fn valid_at(&self, now: Timestamp) -> Result<(), Error> {
        if now.as_secs() >= self.expires.saturating_add(LEEWAY_SECS) {
            return Err(Error::InvalidToken("expired"));
        }
        if now.as_secs() < self.not_before.saturating_sub(LEEWAY_SECS) {
            return Err(Error::InvalidToken("not valid yet"));
        }
        Ok(())
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

async fn verify(
    token: &str,
    config: &'static Config,
    request_id: &str,
    now: Timestamp,
) -> Result<Verified, Error> {
    let token: UntrustedToken<'_, HeaderFields> =
        UntrustedToken::try_from(token).map_err(|_| Error::InvalidToken("not a JWT"))?;
    // RFC 7515 §4.1.11: who does not understand an extension must refuse it, and we know none.
    if token.header().other_fields.crit {
        return Err(Error::InvalidToken("has critical extensions"));
    }
    let (claims, published) = match config.keys.verify(&token) {
        Some(claims) => (claims, None),
        None => verify_published(&token, config, request_id).await?,
    };

    // RFC 7519 §4.1.4 and §4.1.5.
    let expires = claims
        .expiration
        .ok_or(Error::InvalidToken("has no exp"))?
        .timestamp();
    let not_before = claims.not_before.map_or(i64::MIN, |time| time.timestamp());
    let text = |name: &str| claims.custom.get(name).and_then(Value::as_str);
    if let Some(issuer) = &config.issuer
        && text("iss") != Some(issuer)
    {
        return Err(Error::InvalidToken("wrong iss"));
    }
    if let Some(audience) = &config.audience
        && !is_for_audience(claims.custom.get("aud"), audience)
    {
        return Err(Error::InvalidToken("wrong aud"));
    }
    let verified = Verified {
        merchant: text(&config.merchant_claim)
            .and_then(MerchantId::parse)
            .ok_or(Error::InvalidToken("names no merchant"))?,
        not_before,
        expires,
        published,
    };
    verified.valid_at(now)?;
    Ok(verified)
}

type Payload = Claims<Map<String, Value>>;

/// Verifies the token with the identity provider's keys, and returns which set of them did.
async fn verify_published(
    token: &UntrustedToken<'_, HeaderFields>,
    config: &'static Config,
    request_id: &str,
) -> Result<(Payload, Option<[u8; 32]>), Error> {
    const NO_KEY: Error = Error::InvalidToken("no key verifies it");

    let provider = config.provider.as_ref().ok_or(NO_KEY)?;
    let mut published = provider.keys(config, request_id).await?;
    let unknown = |id: &str| !config.keys.has(id) && !published.keys.has(id);
    if token.header().key_id.as_deref().is_some_and(unknown) {
        published = provider.newer(published, config, request_id).await?;
    }
    let claims = published.keys.verify(token).ok_or(NO_KEY)?;
    Ok((claims, Some(published.id)))
}

/// RFC 7519 §4.1.3: `aud` is one string or an array of them.
fn is_for_audience(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one == audience),
        _ => false,
    }
}

/// Tokens that were verified already, by their SHA-256.
///
/// A merchant sends the same token many times, and one ES256 verification in
/// WebAssembly takes a millisecond. A token stays as long as it is valid at most.
static REMEMBERED: LazyLock<Mutex<HashMap<[u8; 32], Verified>>> = LazyLock::new(Mutex::default);

fn recall(digest: &[u8; 32], now: Timestamp) -> Option<Verified> {
    let remembered = REMEMBERED.lock().unwrap_or_else(|e| e.into_inner());
    let verified = remembered.get(digest)?;
    verified.valid_at(now).ok()?;
    Some(verified.clone())
}

fn remember(digest: [u8; 32], verified: Verified, now: Timestamp) {
    let mut remembered = REMEMBERED.lock().unwrap_or_else(|e| e.into_inner());
    if remembered.len() >= REMEMBERED_TOKENS {
        remembered.retain(|_, verified| verified.valid_at(now).is_ok());
    }
    if remembered.len() >= REMEMBERED_TOKENS {
        remembered.clear();
    }
    remembered.insert(digest, verified);
}
