//! What a token says: whose it is, for whom, and from when until when.
//!
//! It is looked at before the signature. Whoever made that, it cannot make good a token that has
//! expired or is for somebody else, so no key is looked for then.

use serde_json::{Map, Value};

use crate::config::Config;
use crate::http::token_problem::TokenProblem;
use crate::model::caller::{Caller, Scopes};
use crate::model::ids::MerchantId;
use crate::model::time::Timestamp;

/// How far the issuer's clock and ours may differ, in seconds.
pub const LEEWAY_SECS: i64 = 60;

/// The claims of a token for this service; times are seconds since 1970. They can be believed once
/// its signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    caller: Caller,
    not_before: i64,
    expires: i64,
    /// `iat`, where it is one: nothing but a hint at how old the token's key is.
    pub issued_at: Option<i64>,
}

impl Claims {
    /// Reads the claims that the configuration asks for. Others are ignored, whatever is in them.
    ///
    /// # Errors
    ///
    /// Why the token will not do, whenever it is used.
    pub fn read(claims: &Map<String, Value>, config: &Config) -> Result<Self, TokenProblem> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let expires = numeric_date(claims, "exp")?.ok_or(TokenProblem::Refused("has no exp"))?;
        let not_before = numeric_date(claims, "nbf")?.unwrap_or(i64::MIN);
        if let Some(issuer) = &config.issuer
            && text("iss") != Some(issuer)
        {
            return Err(TokenProblem::Refused("wrong iss"));
        }
        if let Some(audience) = &config.audience
            && !is_for_audience(claims.get("aud"), audience)
        {
            return Err(TokenProblem::Refused("wrong aud"));
        }
        let scope = claims.get("scope");
        let scopes = Scopes::of(
            scope,
            &config.publisher_scope,
            &config.support_scope,
            &config.portal_scope,
        );
        let caller = match scopes.any() {
            true => Caller::Platform(scopes),
            false => text(&config.merchant_claim)
                .and_then(MerchantId::parse)
                .map(Caller::Merchant)
                .ok_or(TokenProblem::Refused("names no merchant"))?,
        };
        Ok(Self {
            caller,
            not_before,
            expires,
            issued_at: numeric_date(claims, "iat").ok().flatten(),
        })
    }

    /// Whom the token names, if it is valid at `now` (RFC 7519 §4.1.4 and §4.1.5).
    ///
    /// # Errors
    ///
    /// [`TokenProblem::Expired`] and [`TokenProblem::NotYetValid`].
    pub fn caller(&self, now: Timestamp) -> Result<&Caller, TokenProblem> {
        if now.as_secs() >= self.expires.saturating_add(LEEWAY_SECS) {
            return Err(TokenProblem::Expired);
        }
        if now.as_secs() < self.not_before.saturating_sub(LEEWAY_SECS) {
            return Err(TokenProblem::NotYetValid);
        }
        Ok(&self.caller)
    }
}

/// A NumericDate (RFC 7519 §2) in whole seconds: it may have a fraction, and any size.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, TokenProblem> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) => Ok(Some(seconds as i64)),
            None => Err(TokenProblem::Malformed("a time of it is no number")),
        },
    }
}

/// RFC 7519 §4.1.3: `aud` is one string or an array of them.
fn is_for_audience(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one == audience),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Config {
        let get = |name: &str| {
            let value = match name {
                "jwks" => {
                    r#"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"}]}"#
                }
                "jwt_audience" => "webhooks",
                "secrets_key" => "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
                _ => return None,
            };
            Some(value.to_owned())
        };
        Config::parse(&get).unwrap_or_else(|e| panic!("{e}"))
    }

    fn read(claim: &str, value: Value) -> Result<Claims, TokenProblem> {
        let mut claims = json!({"sub": "m", "aud": "webhooks", "exp": 1000.5, "nbf": 500});
        claims[claim] = value;
        Claims::read(claims.as_object().unwrap(), &config())
    }

    #[test]
    fn a_token_is_valid_from_nbf_to_exp_with_60_seconds_of_leeway() {
        let claims = read("iat", json!(null)).unwrap();
        let at = |secs: i64| {
            let caller = claims.caller(Timestamp::from_millis(secs * 1000));
            caller.map(|caller| caller.merchant().expect("a merchant"))
        };
        assert_eq!(at(439), Err(TokenProblem::NotYetValid));
        assert_eq!(at(440).unwrap().as_str(), "m");
        assert_eq!(at(1059).unwrap().as_str(), "m");
        assert_eq!(at(1060), Err(TokenProblem::Expired));
    }

    #[test]
    fn claims_that_are_not_asked_for_cannot_matter() {
        for (claim, value) in [
            ("iat", json!("yesterday")),
            ("iat", json!([])),
            ("jti", json!({})),
            ("iss", json!(1)),
            ("nbf", json!(null)),
            ("cnf", json!(null)),
        ] {
            assert!(read(claim, value.clone()).is_ok(), "{claim}: {value}");
        }
        assert_eq!(read("iat", json!("0")).unwrap().issued_at, None);
        assert_eq!(read("iat", json!(7.9)).unwrap().issued_at, Some(7));
    }

    #[test]
    fn a_time_is_a_number_of_any_size() {
        for (claim, value) in [("exp", json!("1")), ("exp", json!([1])), ("nbf", json!({}))] {
            let problem = read(claim, value).unwrap_err();
            assert!(matches!(problem, TokenProblem::Malformed(_)));
        }
        let far = |claim: &str, value: f64| read(claim, json!(value)).unwrap();
        let now = Timestamp::now();
        assert_eq!(far("exp", -1e300).caller(now), Err(TokenProblem::Expired));
        assert!(far("exp", 1e300).caller(now).is_ok());
        assert_eq!(
            read("nbf", json!(1e300))
                .unwrap()
                .caller(Timestamp::from_millis(0)),
            Err(TokenProblem::NotYetValid)
        );
    }

    #[test]
    fn what_is_for_somebody_else_or_of_nobody_is_refused() {
        for (claim, value) in [
            ("exp", json!(null)),
            ("aud", json!("other")),
            ("aud", json!(["other"])),
            ("aud", json!("*")),
            ("aud", json!(null)),
            ("sub", json!("")),
            ("sub", json!(1)),
            ("sub", json!(null)),
        ] {
            let problem = read(claim, value).unwrap_err();
            assert!(matches!(problem, TokenProblem::Refused(_)), "{claim}");
        }
        assert!(read("aud", json!(["other", "webhooks"])).is_ok());
    }

    #[test]
    fn who_has_a_scope_of_the_platform_is_no_merchant() {
        let caller = |claims: Result<Claims, TokenProblem>| {
            let claims = claims.unwrap();
            claims.caller(Timestamp::from_millis(600_000)).cloned()
        };
        let publisher = caller(read("scope", json!("events:publish"))).unwrap();
        assert!(publisher.publishes() && !publisher.supports());
        assert_eq!(publisher.merchant(), None);
        let merchant = caller(read("scope", json!("openid profile"))).unwrap();
        assert_eq!(merchant.merchant().map(MerchantId::as_str), Some("m"));
        assert!(!merchant.publishes() && !merchant.supports());
        // The identity provider's machine has an id in whatever claim it likes.
        let nameless = json!({"aud": "webhooks", "exp": 1000, "scope": ["events:read"]});
        let claims = Claims::read(nameless.as_object().unwrap(), &config());
        assert!(caller(claims).unwrap().supports());
    }
}
