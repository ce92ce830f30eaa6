//! `cargo xtask token`: a token of a merchant, or of a system of the platform, signed with the
//! development key.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use application_webhooks::model::caller::is_scope;
use chrono::DateTime;
use jwt_compact::alg::Ed25519;
use jwt_compact::{AlgorithmExt, Claims, Header};
use serde_json::{Map, Value};

use crate::keys::Keys;
use crate::project;

#[derive(clap::Args)]
pub struct Args {
    /// The merchant's id
    #[arg(
        long, value_name = "ID", required_unless_present = "scope",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    merchant: Option<String>,
    /// What the platform's own systems may do: events:publish, events:read, portal:create, or several with
    /// spaces between them
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    scope: Option<String>,
    /// How long the token is valid: 30s, 15m, 1h, 7d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    expires_in: Duration,
    /// Where `up` keeps its data and the development keys [default: .spin]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let state_dir = project::state_dir(args.state_dir.as_deref())?;
    let keys = Keys::existing(&state_dir)?;
    let issuer = Issuer::from_environment();
    let merchant = args.merchant.as_deref();
    let token = issuer.with_claims(&keys, merchant, args.scope.as_deref(), args.expires_in)?;
    println!("{token}");
    Ok(())
}

/// The scope of who may publish, as the service that is started from the same environment has it.
pub fn publisher_scope() -> String {
    variable("PUBLISHER_SCOPE").unwrap_or_else(|| "events:publish".to_owned())
}

/// The scope of who may open portals, likewise.
pub fn portal_scope() -> String {
    variable("PORTAL_SCOPE").unwrap_or_else(|| "portal:create".to_owned())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("SPIN_VARIABLE_{name}"))
        .ok()
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

/// What the service expects of a token besides its signature.
pub struct Issuer {
    issuer: Option<String>,
    audience: Option<String>,
    merchant_claim: String,
}

impl Issuer {
    /// As the service that is started from the same environment is configured.
    pub fn from_environment() -> Self {
        Self {
            issuer: variable("JWT_ISSUER"),
            // `*`: any will do.
            audience: variable("JWT_AUDIENCE").filter(|audience| audience != "*"),
            merchant_claim: variable("JWT_MERCHANT_CLAIM").unwrap_or_else(|| "sub".to_owned()),
        }
    }

    /// A token of the merchant that is valid from now on.
    pub fn token(&self, keys: &Keys, merchant: &str, valid: Duration) -> Result<String> {
        self.with_claims(keys, Some(merchant), None, valid)
    }

    /// A token with these scopes that is valid from now on. It names no merchant.
    pub fn scoped_token(&self, keys: &Keys, scope: &str, valid: Duration) -> Result<String> {
        self.with_claims(keys, None, Some(scope), valid)
    }

    fn with_claims(
        &self,
        keys: &Keys,
        merchant: Option<&str>,
        scope: Option<&str>,
        valid: Duration,
    ) -> Result<String> {
        let time = |since_epoch: Duration| {
            i64::try_from(since_epoch.as_secs())
                .ok()
                .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let expiration = now
            .checked_add(valid)
            .and_then(time)
            .context("--expires-in is too long: nothing here outlives the calendar")?;

        let mut custom = Map::new();
        if let Some(merchant) = merchant {
            custom.insert("sub".to_owned(), merchant.into());
            custom.insert(self.merchant_claim.clone(), merchant.into());
        }
        if let Some(scope) = scope {
            custom.insert("scope".to_owned(), scope.into());
        }
        if let Some(issuer) = &self.issuer {
            custom.insert("iss".to_owned(), issuer.as_str().into());
        }
        if let Some(audience) = &self.audience {
            custom.insert("aud".to_owned(), audience.as_str().into());
        }
        let mut claims = Claims::<Map<String, Value>>::new(custom);
        claims.issued_at = time(now);
        claims.expiration = Some(expiration);

        let key = keys
            .private_key()
            .context("the development key is broken")?;
        let header = Header::empty()
            .with_key_id(keys.id())
            .with_token_type("JWT");
        Ed25519
            .token(&header, &claims, &key)
            .context("the token cannot be signed")
    }
}

/// Reads names of scopes with single spaces between them (RFC 8693 §4.2).
fn scope(text: &str) -> Result<String, &'static str> {
    match text.split(' ').all(is_scope) {
        true => Ok(text.to_owned()),
        false => Err("must be names with single spaces between them, such as events:publish"),
    }
}

/// Reads `30s`, `15m`, `1h` or `7d`.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    const PROBLEM: &str = "must be a number and a unit, such as 30s, 15m, 1h or 7d";

    let unit = text.chars().next_back().ok_or(PROBLEM)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(PROBLEM),
    };
    let number = &text[..text.len() - 1];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PROBLEM);
    }
    match number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(seconds))
    {
        Some(0) => Err("must be longer than nothing"),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("is too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64UrlUnpadded, Encoding};
    use jwt_compact::UntrustedToken;
    use jwt_compact::alg::SigningKey;
    use serde_json::json;

    #[test]
    fn durations() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "h",
            "1",
            "0s",
            "-1h",
            "+1h",
            "1.5h",
            "1 h",
            "1w",
            "1H",
            "1µ",
            "99999999999999999999d",
            "9999999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_has_what_the_service_expects() {
        let keys = Keys::ensure(&crate::keys::tests::scratch("token")).expect("keys");
        let issuer = Issuer {
            issuer: Some("https://id.test".to_owned()),
            audience: Some("webhooks".to_owned()),
            merchant_claim: "merchant".to_owned(),
        };
        let token = issuer
            .token(&keys, "m-1", Duration::from_secs(60))
            .expect("token");

        let header = token.split('.').next().expect("header");
        let header: Value =
            serde_json::from_slice(&Base64UrlUnpadded::decode_vec(header).expect("base64"))
                .expect("JSON");
        assert_eq!(
            header,
            json!({"alg": "EdDSA", "typ": "JWT", "kid": keys.id()})
        );

        let public = keys.private_key().expect("key").to_verifying_key();
        let token = UntrustedToken::new(&token).expect("token");
        let claims = Ed25519
            .validator::<Map<String, Value>>(&public)
            .validate(&token)
            .expect("valid")
            .into_parts()
            .1;
        let (Some(issued), Some(expires)) = (claims.issued_at, claims.expiration) else {
            panic!("times are missing");
        };
        assert_eq!((expires - issued).num_seconds(), 60);
        assert_eq!(
            Value::Object(claims.custom),
            json!({"sub": "m-1", "merchant": "m-1", "iss": "https://id.test", "aud": "webhooks"})
        );
    }

    #[test]
    fn a_publishers_token_has_a_scope_and_names_no_merchant() {
        let keys = Keys::ensure(&crate::keys::tests::scratch("scope")).expect("keys");
        let issuer = Issuer {
            issuer: None,
            audience: None,
            merchant_claim: "sub".to_owned(),
        };
        let claims = |token: String| {
            let claims = token.split('.').nth(1).expect("claims");
            let claims = Base64UrlUnpadded::decode_vec(claims).expect("base64");
            let mut claims: Map<String, Value> = serde_json::from_slice(&claims).expect("JSON");
            claims.remove("iat");
            claims.remove("exp");
            Value::Object(claims)
        };
        let minute = Duration::from_secs(60);
        let token = issuer.scoped_token(&keys, "events:publish", minute);
        assert_eq!(
            claims(token.expect("token")),
            json!({"scope": "events:publish"})
        );
        let token = issuer.with_claims(&keys, Some("m"), Some("a b"), minute);
        assert_eq!(
            claims(token.expect("token")),
            json!({"sub": "m", "scope": "a b"})
        );
    }

    #[test]
    fn scopes_are_names_with_single_spaces() {
        for good in ["events:publish", "events:publish events:read"] {
            assert_eq!(scope(good), Ok(good.to_owned()));
        }
        for bad in ["", " ", "a  b", "a ", "a\"b"] {
            assert!(scope(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_beyond_the_calendar_is_an_error() {
        let keys = Keys::ensure(&crate::keys::tests::scratch("calendar")).expect("keys");
        let issuer = Issuer {
            issuer: None,
            audience: None,
            merchant_claim: "sub".to_owned(),
        };
        assert!(
            issuer
                .token(&keys, "m", Duration::from_secs(u64::MAX))
                .is_err()
        );
        assert!(
            issuer
                .token(&keys, "m", Duration::from_secs(u64::MAX / 2))
                .is_err()
        );
    }
}
