//! A bearer token in, the merchant out.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jwt_compact::UntrustedToken;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::application::MerchantId;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::Error;

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
        authenticate(&parts.headers, config, Timestamp::now()).map(Self)
    }
}

fn authenticate(headers: &HeaderMap, config: &Config, now: Timestamp) -> Result<MerchantId, Error> {
    static REMEMBERED: Mutex<Option<Remembered>> = Mutex::new(None);

    let token = bearer_token(headers)?;
    let digest = Sha256::digest(token).into();
    let mut remembered = REMEMBERED.lock().unwrap_or_else(|e| e.into_inner());
    let remembered = remembered.get_or_insert_default();
    if let Some(merchant) = remembered.get(&digest, now) {
        return Ok(merchant);
    }
    let verified = verify(token, config, now)?;
    let merchant = verified.merchant.clone();
    remembered.insert(digest, verified, now);
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
    crit: Option<Value>,
}

fn verify(token: &str, config: &Config, now: Timestamp) -> Result<Verified, Error> {
    let token: UntrustedToken<'_, HeaderFields> =
        UntrustedToken::try_from(token).map_err(|_| Error::InvalidToken("not a JWT"))?;
    // RFC 7515 §4.1.11: who does not understand an extension must refuse it, and we know none.
    if token.header().other_fields.crit.is_some() {
        return Err(Error::InvalidToken("has critical extensions"));
    }
    let claims = config
        .keys
        .verify::<Map<String, Value>, _>(&token)
        .ok_or(Error::InvalidToken("no key verifies it"))?;

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
    };
    verified.valid_at(now)?;
    Ok(verified)
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
#[derive(Default)]
struct Remembered(HashMap<[u8; 32], Verified>);

impl Remembered {
    fn get(&self, digest: &[u8; 32], now: Timestamp) -> Option<MerchantId> {
        let verified = self.0.get(digest)?;
        verified.valid_at(now).ok()?;
        Some(verified.merchant.clone())
    }

    fn insert(&mut self, digest: [u8; 32], verified: Verified, now: Timestamp) {
        if self.0.len() >= REMEMBERED_TOKENS {
            self.0.retain(|_, verified| verified.valid_at(now).is_ok());
        }
        if self.0.len() >= REMEMBERED_TOKENS {
            self.0.clear();
        }
        self.0.insert(digest, verified);
    }
}
