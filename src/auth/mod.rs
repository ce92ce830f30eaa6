//! A bearer token in, whom it names out.

mod claims;
mod freshness;
mod known_keys;
mod remote_jwks;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use crate::auth::claims::Claims;
use crate::auth::known_keys::Published;
use crate::auth::remote_jwks::RemoteJwks;
use crate::config::Config;
use crate::http::error::Error;
use crate::http::token_problem::TokenProblem;
use crate::model::caller::Caller;
use crate::model::jws::Jws;
use crate::model::key_set::Verification;
use crate::model::portal::{PortalSession, TOKEN_PREFIX};
use crate::model::time::Timestamp;

/// The longest token that is looked at, in bytes: users in hundreds of groups have long ones.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How many valid tokens an instance remembers, and how many refused ones. One entry takes some 100
/// bytes.
const REMEMBERED_TOKENS: usize = 1024;

/// Whom the token in the request's headers names at `now`.
///
/// # Errors
///
/// [`Error::NoToken`], [`Error::InvalidToken`], and where only the identity provider's keys could
/// tell, [`Error::KeyNotKnownYet`] and the provider's failure.
pub async fn authenticate(
    headers: &HeaderMap,
    config: &'static Config,
    request_id: &str,
    now: Timestamp,
) -> Result<Caller, Error> {
    let token = bearer_token(headers)?;
    if token.starts_with(TOKEN_PREFIX) {
        return portal_session(token, config, now);
    }
    let digest = Sha256::digest(token).into();
    if let Some(decision) = recall(&digest) {
        // What a key decided holds no longer than the key.
        let still = match (decision.published, RemoteJwks::of(config)) {
            (None, _) => true,
            (Some(id), Some(remote)) => remote.keys(request_id).await?.id == id,
            (Some(_), None) => false,
        };
        if still {
            return decision.caller(now);
        }
    }
    let decision = decide(token, now, config, request_id).await?;
    let caller = decision.caller(now);
    remember(digest, decision, caller.is_ok(), now);
    caller
}

/// The portal's session whose token it is. Whether it was ended is in the store, and found out where its
/// application is read.
///
/// # Errors
///
/// [`Error::InvalidToken`].
fn portal_session(token: &str, config: &Config, now: Timestamp) -> Result<Caller, Error> {
    let session = PortalSession::of_token(token, &config.secrets_key);
    let problem = match session {
        None => TokenProblem::Refused("is no portal's token of this service"),
        Some(session) if session.expires_at <= now => TokenProblem::Expired,
        Some(session) => return Ok(Caller::Portal(Box::new(session))),
    };
    Err(Error::InvalidToken(problem))
}

/// Lets the operator through, whose token is in the request's headers.
///
/// # Errors
///
/// [`Error::NoToken`] and [`Error::InvalidToken`]; [`Error::NotFound`] where `operator_token` is not
/// set.
pub fn authenticate_operator(headers: &HeaderMap, config: &Config) -> Result<(), Error> {
    let expected = config.operator_token.as_ref().ok_or(Error::NotFound)?;
    match expected.is(bearer_token(headers)?) {
        true => Ok(()),
        false => Err(Error::InvalidToken(TokenProblem::Refused(
            "not the operator's",
        ))),
    }
}

/// The token of the request's one `Authorization: Bearer` header (RFC 6750 §2.1).
fn bearer_token(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Error::NoToken)?;
    if values.next().is_some() {
        let why = TokenProblem::Refused("more than one authorization header");
        return Err(Error::InvalidToken(why));
    }
    let value = value
        .to_str()
        .map_err(|_| Error::InvalidToken(TokenProblem::Malformed("not visible ASCII")))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim();
    // RFC 9110 §11.1: the scheme's case does not matter.
    if !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() {
        return Err(Error::NoToken);
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::InvalidToken(TokenProblem::TooLong));
    }
    Ok(token)
}

/// What an instance found out about a token.
#[derive(Clone)]
struct Decision {
    /// What it says, or why it is refused whenever it is used.
    verdict: Result<Claims, TokenProblem>,
    /// The set of the provider's whose keys were asked; `None`: configured keys decided.
    published: Option<[u8; 32]>,
}

impl Decision {
    /// Whom the token names, if it is valid at `now`.
    fn caller(&self, now: Timestamp) -> Result<Caller, Error> {
        let claims = self.verdict.as_ref().map_err(|why| *why);
        let caller = claims.and_then(|claims| claims.caller(now));
        caller.cloned().map_err(Error::InvalidToken)
    }
}

/// Decides about a token.
///
/// # Errors
///
/// What is found out without a key, that its key is unknown, and the provider's failure.
async fn decide(
    token: &str,
    now: Timestamp,
    config: &'static Config,
    request_id: &str,
) -> Result<Decision, Error> {
    let token =
        Jws::parse(token).map_err(|why| Error::InvalidToken(TokenProblem::Malformed(why)))?;
    // RFC 7515 §4.1.11: who does not understand an extension must refuse it, and we know none.
    if token.is_critical {
        let why = TokenProblem::Refused("has critical extensions");
        return Err(Error::InvalidToken(why));
    }
    let claims = Claims::read(&token.claims, config).map_err(Error::InvalidToken)?;
    claims.caller(now).map_err(Error::InvalidToken)?;
    let configured = config.keys.verify(&token);
    let (verification, published) = match RemoteJwks::of(config) {
        Some(remote) if configured != Verification::Verified => {
            let published = published(remote, &token, &claims, config, request_id).await?;
            let verification = configured.max(published.keys.verify(&token));
            (verification, Some(published.id))
        }
        _ => (configured, None),
    };
    let verdict = match verification {
        Verification::Verified => Ok(claims),
        Verification::WrongSignature => Err(TokenProblem::Refused("has another's signature")),
        Verification::NoKey => Err(TokenProblem::NoSuchKey),
    };
    Ok(Decision { verdict, published })
}

/// The identity provider's keys; newer ones, when the token names one that nobody knows.
///
/// # Errors
///
/// The provider's failure, and that the token's key is still unknown.
async fn published(
    remote: RemoteJwks,
    token: &Jws<'_>,
    claims: &Claims,
    config: &'static Config,
    request_id: &str,
) -> Result<Arc<Published>, Error> {
    let published = remote.keys(request_id).await?;
    let Some(named) = token.key_id.as_deref() else {
        return Ok(published);
    };
    let has_key = |published: &Published| published.keys.has(named) || published.keys.has_no_ids();
    if config.keys.has(named) || has_key(&published) {
        return Ok(published);
    }
    let newer = remote.newer(&has_key, claims.issued_at, request_id).await?;
    match has_key(&newer) {
        true => Ok(newer),
        false => Err(Error::InvalidToken(TokenProblem::NoSuchKey)),
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
        tokens.retain(|_, decision| decision.caller(now).is_ok());
    }
    if tokens.len() >= REMEMBERED_TOKENS {
        tokens.clear();
    }
    tokens.insert(digest, decision);
}
