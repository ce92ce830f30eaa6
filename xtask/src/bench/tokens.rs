//! The benchmark's tokens, by each algorithm.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Rsa};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmSignature};
use serde_json::{Value, json};

use crate::project;

/// Who owns all that is seeded.
pub const MERCHANT: &str = "merchant-of-the-benchmark";

/// The key set, and a token by each algorithm.
#[derive(Clone)]
pub struct Tokens {
    /// The key set.
    pub jwks: String,
    tokens: Vec<(&'static str, String)>,
    /// The token of who publishes events, by HS256.
    pub publisher: String,
}

impl Tokens {
    /// Signs with the keys that the tests use: RSA keys take long to make.
    pub fn sign() -> Result<Self> {
        let file = project::root().join("tests/http/support/test-keys.json");
        let keys: Value = serde_json::from_slice(&fs::read(file)?)?;
        let mut jwks = Vec::new();
        let mut tokens = Vec::new();
        for (algorithm, name) in [
            ("HS256", "hs256"),
            ("EdDSA", "eddsa"),
            ("ES256", "es256"),
            ("RS256", "rs256"),
        ] {
            let jwk = &keys["keys"][name];
            tokens.push((algorithm, token(algorithm, jwk, json!({"sub": MERCHANT}))?));
            let mut public = jwk.as_object().cloned().unwrap_or_default();
            for private in ["d", "p", "q", "dp", "dq", "qi"] {
                public.remove(private);
            }
            jwks.push(Value::Object(public));
        }
        let scope = json!({"scope": "events:publish"});
        Ok(Self {
            jwks: json!({ "keys": jwks }).to_string(),
            tokens,
            publisher: token("HS256", &keys["keys"]["hs256"], scope)?,
        })
    }

    /// The token by this algorithm.
    pub fn of(&self, algorithm: &str) -> &str {
        let mut tokens = self.tokens.iter();
        tokens
            .find(|(name, _)| *name == algorithm)
            .map_or("", |(_, token)| token)
    }
}

/// A token with these claims that is valid for a day.
fn token(algorithm: &str, jwk: &Value, mut claims: Value) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let header = json!({"typ": "JWT", "alg": algorithm, "kid": jwk["kid"]}).to_string();
    claims["iat"] = json!(now);
    claims["exp"] = json!(now + 24 * 60 * 60);
    let message = format!(
        "{}.{}",
        Base64UrlUnpadded::encode_string(header.as_bytes()),
        Base64UrlUnpadded::encode_string(claims.to_string().as_bytes())
    );
    let jwk: JsonWebKey<'_> = serde_json::from_value(jwk.clone())?;
    let signature = match &jwk {
        JsonWebKey::Symmetric { secret } => {
            let key = Hs256Key::new(AsRef::<[u8]>::as_ref(secret));
            Hs256.sign(&key, message.as_bytes()).as_bytes().into_owned()
        }
        JsonWebKey::Rsa { .. } => {
            let key = <Rsa as Algorithm>::SigningKey::try_from(&jwk)?;
            let signature = Rsa::rs256().sign(&key, message.as_bytes());
            signature.as_bytes().into_owned()
        }
        JsonWebKey::EllipticCurve { .. } => {
            let key = <Es256 as Algorithm>::SigningKey::try_from(&jwk)?;
            Es256.sign(&key, message.as_bytes()).as_bytes().into_owned()
        }
        _ => {
            let key = <Ed25519 as Algorithm>::SigningKey::try_from(&jwk)?;
            Ed25519
                .sign(&key, message.as_bytes())
                .as_bytes()
                .into_owned()
        }
    };
    Ok(format!(
        "{message}.{}",
        Base64UrlUnpadded::encode_string(&signature)
    ))
}

/// Makes the token's signature wrong in a bit, so that all of it must be computed to see it.
pub fn forge(token: &mut String) {
    let middle = middle_of_signature(token);
    let other = if token[middle..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    token.replace_range(middle..=middle, other);
}

/// The place of a character whose bits all count.
pub fn middle_of_signature(token: &str) -> usize {
    let dot = token.rfind('.').unwrap_or_default();
    dot + (token.len() - dot) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_token_differs_in_its_signature_only() {
        let mut token = "header.claims.signature".to_owned();
        forge(&mut token);
        assert_eq!(token.len(), "header.claims.signature".len());
        assert!(token.starts_with("header.claims.") && !token.ends_with("signature"));
    }
}
