//! A JSON Web Key Set (RFC 7517) as keys that verify tokens.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Rsa};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmSignature};
use serde::Deserialize;
use serde_json::Value;

use super::jws::Jws;

type Es256Key = <Es256 as Algorithm>::VerifyingKey;
type Ed25519Key = <Ed25519 as Algorithm>::VerifyingKey;
type RsaKey = <Rsa as Algorithm>::VerifyingKey;

/// The most keys that one set may hold.
pub const MAX_KEYS: usize = 64;

/// RFC 7518 §3.3: "A key of size 2048 bits or larger MUST be used".
const MIN_RSA_BYTES: usize = 2048 / 8;

/// The longest RSA key that the `rsa` crate takes; a verification with it takes some milliseconds.
const MAX_RSA_BYTES: usize = 4096 / 8;

/// RFC 7518 §3.2: a key at least as long as the hash's output.
const MIN_HMAC_BYTES: usize = 32;

/// RFC 7518 §6.2.1.2: the length of a coordinate on P-256.
const COORDINATE_BYTES: usize = 32;

/// How much of a `kid` is logged, in characters.
const LOGGED_KID_CHARS: usize = 64;

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

/// Why one JWK of a set is not used, as words that follow "a key that".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsuitable {
    /// Not for verifying signatures here: another type, curve, algorithm or use.
    NotForUs(&'static str),
    /// For us, but broken or too weak to trust.
    Refused(&'static str),
}

/// What the keys of a set say about a token; of two sets, the greater counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verification {
    /// No key has the token's `kid` and `alg`.
    NoKey,
    /// There are such keys, and none of them made the signature.
    WrongSignature,
    /// One of them made the signature.
    Verified,
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
                Err(Unsuitable::NotForUs(_)) => {}
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
    /// Beside the set: the keys that were left out and why, as sentences for the log.
    ///
    /// # Errors
    ///
    /// What is wrong, when the set has no usable key or is none.
    pub fn published(json: &[u8]) -> Result<(Self, Vec<String>), String> {
        let members = members(json).ok_or(NO_SET)?;
        let mut keys = Vec::new();
        let mut skipped = Vec::new();
        for (position, jwk) in members.iter().take(MAX_KEYS).enumerate() {
            let key = match is_secret(jwk) {
                true => Err(Unsuitable::Refused("is a secret that is published")),
                false => Key::from_jwk(jwk),
            };
            match key {
                Ok(key) => keys.push(key),
                Err(Unsuitable::NotForUs(why) | Unsuitable::Refused(why)) => {
                    skipped.push(format!("{} {why}", name_of(jwk, position)));
                }
            }
        }
        if let Some(more) = members.len().checked_sub(MAX_KEYS).filter(|more| *more > 0) {
            skipped.push(format!("{more} more than the {MAX_KEYS} that are read"));
        }
        if keys.is_empty() {
            let why = "has no key for RS256, ES256 or EdDSA";
            return Err(match skipped.as_slice() {
                [] => why.to_owned(),
                skipped => format!("{why}: {}", skipped.join(", ")),
            });
        }
        Ok((Self { keys }, skipped))
    }

    /// Whether a key has this `kid`.
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Whether no key has a `kid`: then a token's `kid` says nothing about this set.
    pub fn has_no_ids(&self) -> bool {
        self.keys.iter().all(|key| key.id.is_none())
    }

    /// Verifies the token's signature with the keys that fit it.
    ///
    /// The token's `kid` is a hint (RFC 7515 §4.1.4): it selects among keys that have one. Without
    /// one, and where no key has one, all keys of the token's algorithm are tried.
    pub fn verify(&self, token: &Jws<'_>) -> Verification {
        let wanted = token.key_id.as_deref();
        let any = wanted.is_none() || self.has_no_ids();
        let fitting = self.keys.iter().filter(|key| {
            (any || key.id.as_deref() == wanted)
                && key.verifier.names().contains(&token.algorithm.as_str())
        });
        let verified = fitting.map(|key| match key.verifier.verify(token) {
            true => Verification::Verified,
            false => Verification::WrongSignature,
        });
        let mut best = Verification::NoKey;
        for verification in verified {
            best = best.max(verification);
            if best == Verification::Verified {
                break;
            }
        }
        best
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
    ["k", "d"].iter().any(|name| member(jwk, name).is_some())
}

/// A JWK's member. One that is `null` is not there: it can mean nothing else.
fn member<'a>(jwk: &'a Value, name: &str) -> Option<&'a Value> {
    jwk.get(name).filter(|value| !value.is_null())
}

/// A member that has to be a string where it is there.
fn text<'a>(jwk: &'a Value, name: &str) -> Result<Option<&'a str>, Unsuitable> {
    let text = |value: &'a Value| value.as_str().ok_or(NOT_TEXT);
    member(jwk, name).map(text).transpose()
}

/// What the log calls a key: its `kid` in quotation marks, else its place in the set.
fn name_of(jwk: &Value, position: usize) -> String {
    match jwk.get("kid").and_then(Value::as_str) {
        Some(id) => {
            let id: String = id.chars().take(LOGGED_KID_CHARS).collect();
            format!("{id:?}")
        }
        None => format!("number {}", position + 1),
    }
}

impl Key {
    fn from_jwk(jwk: &Value) -> Result<Self, Unsuitable> {
        use Unsuitable::NotForUs;

        type Read = fn(&Value) -> Result<Verifier, Unsuitable>;
        let (curve, names, read): (_, _, Read) = match member(jwk, "kty").and_then(Value::as_str) {
            Some("oct") => (None, HS256, Verifier::hs256),
            Some("RSA") => (None, RS256, Verifier::rs256),
            Some("EC") => (Some("P-256"), ES256, Verifier::es256),
            Some("OKP") => (Some("Ed25519"), EDDSA, Verifier::eddsa),
            Some(_) => return Err(NotForUs("has another kty")),
            None => return Err(NotForUs("has no kty")),
        };
        if text(jwk, "use")?.is_some_and(|intended| intended != "sig") {
            return Err(NotForUs("has another use than sig"));
        }
        if let Some(operations) = member(jwk, "key_ops") {
            let operations = operations.as_array().ok_or(NOT_TEXT)?;
            if !operations.iter().any(|operation| operation == "verify") {
                return Err(NotForUs("has key_ops without verify"));
            }
        }
        if text(jwk, "alg")?.is_some_and(|alg| !names.contains(&alg)) {
            return Err(NotForUs("has another alg"));
        }
        if curve.is_some() && text(jwk, "crv")? != curve {
            return Err(NotForUs("has another crv"));
        }
        Ok(Self {
            id: text(jwk, "kid")?.map(str::to_owned),
            verifier: read(jwk)?,
        })
    }
}

/// The values of `alg` that mean a key's algorithm.
type Names = &'static [&'static str];

const HS256: Names = &["HS256"];
const RS256: Names = &["RS256"];
const ES256: Names = &["ES256"];
/// RFC 9864 §2.2: with an Ed25519 key, the older `EdDSA` can mean nothing else than `Ed25519`.
const EDDSA: Names = &["EdDSA", "Ed25519"];

impl Verifier {
    fn hs256(jwk: &Value) -> Result<Self, Unsuitable> {
        let secret = bytes(jwk, "k")?;
        if secret.len() < MIN_HMAC_BYTES {
            return Err(Unsuitable::Refused("is an HMAC key of under 32 bytes"));
        }
        Ok(Self::Hs256(Hs256Key::new(secret)))
    }

    fn rs256(jwk: &Value) -> Result<Self, Unsuitable> {
        let modulus = integer(jwk, "n")?;
        let bits = modulus.first().map_or(0, |first| {
            modulus.len() * 8 - first.leading_zeros() as usize
        });
        if bits < MIN_RSA_BYTES * 8 {
            return Err(Unsuitable::Refused("is an RSA key of under 2,048 bits"));
        }
        if bits > MAX_RSA_BYTES * 8 {
            return Err(Unsuitable::Refused("is an RSA key of over 4,096 bits"));
        }
        let public = JsonWebKey::Rsa {
            modulus: Cow::Owned(modulus),
            public_exponent: Cow::Owned(integer(jwk, "e")?),
            private_parts: None,
        };
        RsaKey::try_from(&public)
            .map(Self::Rs256)
            .map_err(|_| BROKEN)
    }

    fn es256(jwk: &Value) -> Result<Self, Unsuitable> {
        let public = JsonWebKey::EllipticCurve {
            curve: "P-256".into(),
            x: Cow::Owned(coordinate(jwk, "x")?),
            y: Cow::Owned(coordinate(jwk, "y")?),
            secret: None,
        };
        Es256Key::try_from(&public)
            .map(Self::Es256)
            .map_err(|_| BROKEN)
    }

    fn eddsa(jwk: &Value) -> Result<Self, Unsuitable> {
        let public = JsonWebKey::KeyPair {
            curve: "Ed25519".into(),
            x: Cow::Owned(bytes(jwk, "x")?),
            secret: None,
        };
        Ed25519Key::try_from(&public)
            .map(Self::EdDsa)
            .map_err(|_| BROKEN)
    }

    fn names(&self) -> Names {
        match self {
            Self::Hs256(_) => HS256,
            Self::Rs256(_) => RS256,
            Self::Es256(_) => ES256,
            Self::EdDsa(_) => EDDSA,
        }
    }

    /// Whether this key made the token's signature.
    fn verify(&self, token: &Jws<'_>) -> bool {
        match self {
            Self::Hs256(key) => is_signed(&Hs256, key, token),
            Self::Rs256(key) => is_signed(&Rsa::rs256(), key, token),
            Self::Es256(key) => is_signed(&Es256, key, token),
            Self::EdDsa(key) => is_signed(&Ed25519, key, token),
        }
    }
}

fn is_signed<A: Algorithm>(algorithm: &A, key: &A::VerifyingKey, token: &Jws<'_>) -> bool {
    // jwt-compact's signatures rely on it that their length was checked.
    let length = token.signature.len();
    if A::Signature::LENGTH.is_some_and(|expected| expected.get() != length) {
        return false;
    }
    A::Signature::try_from_slice(&token.signature)
        .is_ok_and(|signature| algorithm.verify_signature(&signature, key, token.signed))
}

const BROKEN: Unsuitable = Unsuitable::Refused("cannot be read");
const NOT_TEXT: Unsuitable = Unsuitable::Refused("has a member of another type than RFC 7517's");

/// The bytes of a member that is written in base64url (RFC 7518 §6). Padding is not written there,
/// but its meaning is clear. Only public members are asked for, so a set that has private ones by
/// mistake does not fail over how they are written.
fn bytes(jwk: &Value, name: &str) -> Result<Vec<u8>, Unsuitable> {
    let text = text(jwk, name)?.ok_or(BROKEN)?;
    Base64UrlUnpadded::decode_vec(text.trim_end_matches('=')).map_err(|_| BROKEN)
}

/// The bytes of a number, the highest first, without the leading zeros that RFC 7518 §2 forbids and
/// libraries write that know signed numbers only.
fn integer(jwk: &Value, name: &str) -> Result<Vec<u8>, Unsuitable> {
    let mut bytes = bytes(jwk, name)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Ok(bytes)
}

/// A coordinate in its full length: some libraries leave zeros out, others write one more.
fn coordinate(jwk: &Value, name: &str) -> Result<Vec<u8>, Unsuitable> {
    let number = integer(jwk, name)?;
    let missing = COORDINATE_BYTES.checked_sub(number.len()).ok_or(BROKEN)?;
    Ok([vec![0; missing], number].concat())
}

#[cfg(test)]
mod tests;
