//! A JSON Web Key Set (RFC 7517) as keys that verify tokens.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::Algorithm;
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Rsa};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

type Es256Key = <Es256 as Algorithm>::VerifyingKey;
type Ed25519Key = <Ed25519 as Algorithm>::VerifyingKey;
type RsaKey = <Rsa as Algorithm>::VerifyingKey;

/// The most keys that one set may hold.
pub const MAX_KEYS: usize = 64;

/// RFC 7518 §3.3: "A key of size 2048 bits or larger MUST be used".
const MIN_RSA_BYTES: usize = 2048 / 8;

/// RFC 7518 §3.2: a key at least as long as the hash's output.
const MIN_HMAC_BYTES: usize = 32;

/// Keys, each bound to the one algorithm that it verifies.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    verifier: Verifier,
}

/// A key together with its algorithm: the key decides how a token is verified,
/// never the token (RFC 8725 §3.1).
enum Verifier {
    Hs256(Hs256Key),
    Rs256(RsaKey),
    Es256(Es256Key),
    EdDsa(Ed25519Key),
}

/// Why one JWK of a set is not used.
#[derive(Debug, PartialEq, Eq)]
enum Unsuitable {
    /// Not for verifying signatures here: another type, curve, algorithm or use.
    NotForUs,
    /// For us, but broken or too weak to trust.
    Refused(&'static str),
}

impl KeySet {
    /// Reads a key set that the operator configured. Keys for another use are
    /// left out (RFC 7517 §5); a key that is broken or weak is the operator's
    /// mistake and refused.
    ///
    /// # Errors
    ///
    /// What is wrong, without the keys' content.
    pub fn parse(json: &str) -> Result<Self, String> {
        let members = members(json.as_bytes()).ok_or(NO_SET)?;
        if members.len() > MAX_KEYS {
            return Err(format!("must not have more than {MAX_KEYS} keys"));
        }
        let mut keys = Vec::new();
        for (position, jwk) in members.iter().enumerate() {
            match Key::from_jwk(jwk) {
                Ok(key) => keys.push(key),
                Err(Unsuitable::NotForUs) => {}
                Err(Unsuitable::Refused(why)) => {
                    return Err(format!("has a key that {why} (number {})", position + 1));
                }
            }
        }
        if keys.is_empty() {
            return Err("has no key for HS256, RS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self { keys })
    }

    /// Reads a key set that an identity provider published. What is unsuitable is left out, and so
    /// are secrets: what stands on a public page proves nothing. Of more than [`MAX_KEYS`] keys the
    /// first are read.
    ///
    /// # Errors
    ///
    /// What is wrong, when the set has no usable key or is none.
    pub fn published(json: &[u8]) -> Result<Self, &'static str> {
        let keys: Vec<Key> = members(json)
            .ok_or(NO_SET)?
            .iter()
            .take(MAX_KEYS)
            .filter(|jwk| !is_secret(jwk))
            .filter_map(|jwk| Key::from_jwk(jwk).ok())
            .collect();
        if keys.is_empty() {
            return Err("has no key for RS256, ES256 or EdDSA");
        }
        Ok(Self { keys })
    }

    /// Whether a key has this `kid`.
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Verifies the token's signature with the keys that fit it, and returns its claims.
    ///
    /// The token's `kid` selects among the keys (RFC 7515 §4.1.4); without one,
    /// all keys of the token's algorithm are tried.
    pub fn verify<T, H>(&self, token: &UntrustedToken<'_, H>) -> Option<Claims<T>>
    where
        T: DeserializeOwned,
        H: Clone,
    {
        let wanted = token.header().key_id.as_deref();
        self.keys
            .iter()
            .filter(|key| wanted.is_none() || key.id.as_deref() == wanted)
            .find_map(|key| key.verifier.verify(token))
    }
}

const NO_SET: &str = "must be a JSON Web Key Set: an object with `keys`";

/// The members of a JWK Set, each still unread.
fn members(json: &[u8]) -> Option<Vec<Value>> {
    #[derive(Deserialize)]
    struct Jwks {
        keys: Vec<Value>,
    }
    let set: Jwks = serde_json::from_slice(json).ok()?;
    Some(set.keys)
}

/// Whether a JWK holds what only a signer may know (RFC 7518 §6).
fn is_secret(jwk: &Value) -> bool {
    jwk.get("k").is_some() || jwk.get("d").is_some()
}

impl Key {
    fn from_jwk(jwk: &Value) -> Result<Self, Unsuitable> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        type Read = fn(&Value) -> Result<Verifier, Unsuitable>;
        let (algorithm, curve, read): (_, _, Read) = match text("kty") {
            Some("oct") => ("HS256", None, Verifier::hs256),
            Some("RSA") => ("RS256", None, Verifier::rs256),
            Some("EC") => ("ES256", Some("P-256"), Verifier::es256),
            Some("OKP") => ("EdDSA", Some("Ed25519"), Verifier::eddsa),
            _ => return Err(Unsuitable::NotForUs),
        };
        let for_signatures = matches!(text("use"), None | Some("sig"));
        let verifies = match jwk.get("key_ops") {
            None => true,
            Some(operations) => operations
                .as_array()
                .is_some_and(|list| list.iter().any(|operation| operation == "verify")),
        };
        let algorithm_fits = text("alg").is_none_or(|alg| alg == algorithm);
        let curve_fits = curve.is_none() || text("crv") == curve;
        if !(for_signatures && verifies && algorithm_fits && curve_fits) {
            return Err(Unsuitable::NotForUs);
        }
        Ok(Self {
            id: text("kid").map(str::to_owned),
            verifier: read(jwk)?,
        })
    }
}

impl Verifier {
    fn hs256(jwk: &Value) -> Result<Self, Unsuitable> {
        let secret = bytes(jwk, "k")?;
        if secret.len() < MIN_HMAC_BYTES {
            return Err(Unsuitable::Refused("is an HMAC key of under 32 bytes"));
        }
        Ok(Self::Hs256(Hs256Key::new(secret)))
    }

    fn rs256(jwk: &Value) -> Result<Self, Unsuitable> {
        let modulus = bytes(jwk, "n")?;
        let first = modulus.iter().position(|byte| *byte != 0);
        let bits = first.map_or(0, |first| {
            (modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize
        });
        if bits < MIN_RSA_BYTES * 8 {
            return Err(Unsuitable::Refused("is an RSA key of under 2,048 bits"));
        }
        let public = JsonWebKey::Rsa {
            modulus,
            public_exponent: bytes(jwk, "e")?,
            private_parts: None,
        };
        RsaKey::try_from(&public)
            .map(Self::Rs256)
            .map_err(|_| BROKEN)
    }

    fn es256(jwk: &Value) -> Result<Self, Unsuitable> {
        let public = JsonWebKey::EllipticCurve {
            curve: "P-256".into(),
            x: bytes(jwk, "x")?,
            y: bytes(jwk, "y")?,
            secret: None,
        };
        Es256Key::try_from(&public)
            .map(Self::Es256)
            .map_err(|_| BROKEN)
    }

    fn eddsa(jwk: &Value) -> Result<Self, Unsuitable> {
        let public = JsonWebKey::KeyPair {
            curve: "Ed25519".into(),
            x: bytes(jwk, "x")?,
            secret: None,
        };
        Ed25519Key::try_from(&public)
            .map(Self::EdDsa)
            .map_err(|_| BROKEN)
    }

    fn verify<T, H>(&self, token: &UntrustedToken<'_, H>) -> Option<Claims<T>>
    where
        T: DeserializeOwned,
        H: Clone,
    {
        // Each validator first compares the token's `alg` with its own name.
        let verified = match self {
            Self::Hs256(key) => Hs256.validator(key).validate(token),
            Self::Rs256(key) => Rsa::rs256().validator(key).validate(token),
            Self::Es256(key) => Es256.validator(key).validate(token),
            Self::EdDsa(key) => Ed25519.validator(key).validate(token),
        };
        verified.ok().map(|token| token.into_parts().1)
    }
}

const BROKEN: Unsuitable = Unsuitable::Refused("cannot be read");

/// The bytes of a member that is written in base64url (RFC 7518 §6). Only public members are asked
/// for, so a set that has private ones by mistake does not fail over how they are written.
fn bytes(jwk: &Value, member: &str) -> Result<Cow<'static, [u8]>, Unsuitable> {
    jwk.get(member)
        .and_then(Value::as_str)
        .and_then(|text| Base64UrlUnpadded::decode_vec(text).ok())
        .map(Cow::Owned)
        .ok_or(BROKEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn unsuitable(jwk: Value) -> Unsuitable {
        match Key::from_jwk(&jwk) {
            Ok(_) => panic!("{jwk} was accepted"),
            Err(why) => why,
        }
    }

    #[test]
    fn keys_for_another_use_are_left_out() {
        let k = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
        for jwk in [
            json!({"kty": "oct", "k": k, "use": "enc"}),
            json!({"kty": "oct", "k": k, "alg": "HS512"}),
            json!({"kty": "oct", "k": k, "key_ops": ["sign"]}),
            json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
            json!({"kty": "quantum"}),
            json!("not an object"),
        ] {
            assert_eq!(unsuitable(jwk), Unsuitable::NotForUs);
        }
    }

    #[test]
    fn weak_and_broken_keys_are_refused() {
        for jwk in [
            json!({"kty": "oct", "k": "c2hvcnQ"}),
            json!({"kty": "oct"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        ] {
            assert!(matches!(unsuitable(jwk), Unsuitable::Refused(_)));
        }
    }

    #[test]
    fn of_published_keys_the_suitable_ones_among_the_first_64_are_read() {
        let good = |kid: usize| {
            json!({
                "kty": "OKP", "crv": "Ed25519", "kid": kid.to_string(),
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            })
        };
        let set =
            |keys: Vec<Value>| KeySet::published(json!({"keys": keys}).to_string().as_bytes());
        let mut private = good(1);
        private["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        let k = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
        let unsuitable = vec![
            private,
            json!({"kty": "oct", "k": k, "kid": "2"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "3"}),
            json!(null),
        ];
        assert!(set(unsuitable.clone()).is_err());
        let mixed: Vec<Value> = unsuitable.into_iter().chain((4..=64).map(good)).collect();
        let keys = set(mixed).unwrap();
        assert!(!(0..4).any(|kid| keys.has(&kid.to_string())));
        assert!((4..64).all(|kid| keys.has(&kid.to_string())));
        assert!(!keys.has("64"), "the 65th");
    }

    #[test]
    fn a_set_without_a_usable_key_is_refused() {
        assert!(KeySet::parse(r#"{"keys":[{"kty":"quantum"}]}"#).is_err());
        assert!(KeySet::parse(r#"{"keys":{}}"#).is_err());
        assert!(KeySet::parse("[]").is_err());
    }
}
