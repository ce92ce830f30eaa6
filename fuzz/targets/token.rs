//! Bearer tokens: none is accepted but one that serde_json alone would accept too.
//!
//! The input is a token's header and its claims, separated by a line break. It is signed with the
//! configured HMAC key, and with the public key's text as an HMAC key, which must never do. The
//! input as it is is tried as a token as well.
#![no_main]

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use application_webhooks::auth::authenticate;
use application_webhooks::config::Config;
use application_webhooks::model::time::Timestamp;
use base64ct::{Base64UrlUnpadded, Encoding};
use futures::FutureExt;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sha2::Sha256;

const HMAC_KEY: &[u8] = b"a key of at least 32 bytes for HS256";
const PUBLIC_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let jwks = json!({"keys": [
        {"kty": "oct", "kid": "h", "k": Base64UrlUnpadded::encode_string(HMAC_KEY)},
        {"kty": "OKP", "kid": "e", "crv": "Ed25519", "x": PUBLIC_KEY},
    ]});
    let get = |name: &str| match name {
        "jwks" => Some(jwks.to_string()),
        "jwt_issuer" => Some("issuer".to_owned()),
        "jwt_audience" => Some("audience".to_owned()),
        "secrets_key" => Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned()),
        _ => None,
    };
    Config::parse(&get).expect("a sound configuration")
});

fuzz_target!(|input: &[u8]| {
    assert!(merchant_of(input).is_none(), "nobody signed that");

    let (header, claims) = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => return,
    };
    for key in [PUBLIC_KEY.as_bytes(), b""] {
        let forged = merchant_of(signed(header, claims, key).as_bytes());
        assert!(forged.is_none(), "signed with what everybody knows");
    }
    let Some(merchant) = merchant_of(signed(header, claims, HMAC_KEY).as_bytes()) else {
        return;
    };
    let header: Value = serde_json::from_slice(header).expect("a header that is JSON");
    let claims: Value = serde_json::from_slice(claims).expect("claims that are JSON");
    assert_eq!(header["alg"], "HS256");
    assert!(["h"].map(Value::from).contains(&header["kid"]) || header["kid"].is_null());
    assert!(header.get("crit").is_none(), "RFC 7515 section 4.1.11");
    assert_eq!(claims["iss"], "issuer");
    let audience = Value::from("audience");
    let for_us = |all: &Vec<Value>| all.contains(&audience);
    assert!(claims["aud"] == audience || claims["aud"].as_array().is_some_and(for_us));
    assert_eq!(claims["sub"].as_str(), Some(merchant.as_str()));
    assert!(!merchant.is_empty());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let now = now.as_secs_f64();
    assert!(claims["exp"].as_f64().is_some_and(|time| time > now - 61.0));
    assert!(claims["nbf"].as_f64().is_none_or(|time| time < now + 61.0));
});

fn signed(header: &[u8], claims: &[u8], key: &[u8]) -> String {
    let [header, claims] = [header, claims].map(Base64UrlUnpadded::encode_string);
    let text = format!("{header}.{claims}");
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    let signature = Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes());
    format!("{text}.{signature}")
}

fn merchant_of(token: &[u8]) -> Option<String> {
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let answer = authenticate(&headers, &CONFIG, "", Timestamp::now()).now_or_never();
    let answer = answer.expect("nobody to wait for");
    // A system of the platform is no merchant.
    Some(answer.ok()?.merchant()?.as_str().to_owned())
}
