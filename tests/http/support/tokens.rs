//! Tokens, good and bad, from keys that are for these tests only.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::Algorithm;
use jwt_compact::AlgorithmSignature;
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Rsa};
use jwt_compact::jwk::JsonWebKey;
use serde_json::{Map, Value, json};

/// The keys, made once with Python's `cryptography` and kept, since RSA keys take long to make.
static FIXTURES: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("test-keys.json")).expect("test-keys.json is JSON")
});

/// Something that signs a token under the name of an algorithm.
pub struct Signer {
    alg: &'static str,
    kid: Option<String>,
    key: SigningKey,
}

enum SigningKey {
    Hs256(Hs256Key),
    Rs256(Box<<Rsa as Algorithm>::SigningKey>),
    Es256(<Es256 as Algorithm>::SigningKey),
    EdDsa(<Ed25519 as Algorithm>::SigningKey),
    /// A signature of no bytes.
    Nothing,
}

impl Signer {
    /// The test key of this name, under its own algorithm.
    pub fn of(name: &str) -> Self {
        let jwk = private_jwk(name);
        let parsed: JsonWebKey<'_> =
            serde_json::from_value(jwk.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (alg, key) = match &parsed {
            JsonWebKey::Symmetric { secret } => (
                "HS256",
                SigningKey::Hs256(Hs256Key::new(AsRef::<[u8]>::as_ref(secret))),
            ),
            JsonWebKey::Rsa { .. } => {
                let key = (&parsed)
                    .try_into()
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                ("RS256", SigningKey::Rs256(Box::new(key)))
            }
            JsonWebKey::EllipticCurve { .. } => {
                let key = (&parsed)
                    .try_into()
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                ("ES256", SigningKey::Es256(key))
            }
            JsonWebKey::KeyPair { .. } => {
                let key = (&parsed)
                    .try_into()
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                ("EdDSA", SigningKey::EdDsa(key))
            }
            _ => panic!("{name}: no key to sign with"),
        };
        Self {
            alg,
            kid: jwk["kid"].as_str().map(str::to_owned),
            key,
        }
    }

    /// An HMAC key of any bytes, for instance those of a public key.
    pub fn hmac(secret: &[u8]) -> Self {
        Self {
            alg: "HS256",
            kid: None,
            key: SigningKey::Hs256(Hs256Key::new(secret)),
        }
    }

    /// No signature at all: RFC 7518 §3.6.
    pub fn none() -> Self {
        Self {
            alg: "none",
            kid: None,
            key: SigningKey::Nothing,
        }
    }

    /// The same key under the name of another algorithm.
    pub fn calling_itself(mut self, alg: &'static str) -> Self {
        self.alg = alg;
        self
    }

    /// The same key with another `kid`, or with none.
    pub fn with_kid(mut self, kid: Option<&str>) -> Self {
        self.kid = kid.map(str::to_owned);
        self
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        fn bytes(signature: &impl AlgorithmSignature) -> Vec<u8> {
            signature.as_bytes().into_owned()
        }
        match &self.key {
            SigningKey::Hs256(key) => bytes(&Hs256.sign(key, message)),
            SigningKey::Rs256(key) => bytes(&Rsa::rs256().sign(key, message)),
            SigningKey::Es256(key) => bytes(&Es256.sign(key, message)),
            SigningKey::EdDsa(key) => bytes(&Ed25519.sign(key, message)),
            SigningKey::Nothing => Vec::new(),
        }
    }
}

/// The key that most tests sign with.
pub fn hs256() -> &'static Signer {
    static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::of("hs256"));
    &KEY
}

/// A valid token that may publish events.
pub fn publisher() -> String {
    Token::of_platform("events:publish").sign(hs256())
}

/// A valid token that may read any application's events.
pub fn support() -> String {
    Token::of_platform("events:read").sign(hs256())
}

/// The header and the claims of a token before it is signed.
#[derive(Clone)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token {
    /// A token that is valid for an hour.
    pub fn of_merchant(merchant: &str) -> Self {
        let token = Self {
            header: Map::new(),
            claims: Map::new(),
        };
        token
            .claim("sub", merchant)
            .claim("iat", now())
            .claim("exp", now() + 3600)
    }

    /// A token of the platform's with this scope, that is valid for an hour.
    pub fn of_platform(scope: impl Into<Value>) -> Self {
        Self::of_merchant("platform").claim("scope", scope)
    }

    /// The same token, issued so much later.
    pub fn later(self, pause: Duration) -> Self {
        let seconds = pause.as_secs() as i64;
        let (iat, exp) = (now() + seconds, now() + seconds + 3600);
        self.claim("iat", iat).claim("exp", exp)
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a claim away.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a field of the header, over the signer's own.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// The token in its compact form (RFC 7515 §7.1).
    pub fn sign(&self, signer: &Signer) -> String {
        let mut header = Map::new();
        header.insert("typ".to_owned(), json!("JWT"));
        header.insert("alg".to_owned(), json!(signer.alg));
        if let Some(kid) = &signer.kid {
            header.insert("kid".to_owned(), json!(kid));
        }
        header.extend(self.header.clone());
        sign_parts(
            &Value::Object(header).to_string(),
            &Value::Object(self.claims.clone()).to_string(),
            signer,
        )
    }

    /// A valid token of exactly this many bytes.
    pub fn sign_to_length(&self, signer: &Signer, length: usize) -> String {
        // Base64 without padding never has 4n + 1 characters, so both parts must give.
        for header_pad in 0..4 {
            let padded = self.clone().header("pad", "x".repeat(header_pad));
            let missing = length.saturating_sub(padded.sign(signer).len()) * 3 / 4;
            for claim_pad in missing.saturating_sub(24)..=missing {
                let token = padded
                    .clone()
                    .claim("pad", "x".repeat(claim_pad))
                    .sign(signer);
                if token.len() == length {
                    return token;
                }
            }
        }
        panic!("no token of {length} bytes");
    }
}

/// A token of any two texts.
pub fn sign_parts(header: &str, claims: &str, signer: &Signer) -> String {
    let message = format!(
        "{}.{}",
        Base64UrlUnpadded::encode_string(header.as_bytes()),
        Base64UrlUnpadded::encode_string(claims.as_bytes())
    );
    let signature = Base64UrlUnpadded::encode_string(&signer.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    since
        .as_secs()
        .try_into()
        .expect("a clock before the year 292 billion")
}

fn private_jwk(name: &str) -> &'static Value {
    let jwk = &FIXTURES["keys"][name];
    assert!(jwk.is_object(), "no test key {name}");
    jwk
}

/// The key as a service gets it: without private parts.
pub fn public_jwk(name: &str) -> Value {
    let mut jwk = private_jwk(name).clone();
    if let Some(members) = jwk.as_object_mut() {
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            members.remove(private);
        }
    }
    jwk
}

/// A JSON Web Key Set of these test keys.
pub fn key_set(names: &[&str]) -> String {
    let keys: Vec<Value> = names.iter().map(|name| public_jwk(name)).collect();
    json!({ "keys": keys }).to_string()
}

/// The key set that the servers of these tests are configured with.
///
/// As in a real one, some keys in it are for something else.
pub fn configured_key_set() -> String {
    key_set(&[
        "p384",
        "hs256_for_encryption",
        "hs512",
        "hs256",
        "hs256_second",
        "rs256",
        "es256",
        "eddsa",
    ])
}

/// What `cargo xtask up` keeps in a state directory, with the configured key of EdDSA.
pub fn development_keys() -> Value {
    let mut key = private_jwk("eddsa").clone();
    key["alg"] = json!("EdDSA");
    key["use"] = json!("sig");
    let secrets_key = base64ct::Base64::encode_string(&super::server::SECRETS_KEY);
    json!({"note": "for a test", "signingKey": key, "secretsKey": secrets_key})
}

/// The public key as it is published, in PEM.
pub fn public_pem(name: &str) -> &'static str {
    FIXTURES["publicKeyPem"][name]
        .as_str()
        .unwrap_or_else(|| panic!("no PEM of {name}"))
}

/// A token that Python's `cryptography` signed with the configured key of this algorithm, for
/// [`MERCHANT_OF_THE_FIXTURES`], valid until 2100: what verifies it agrees with others, not only
/// with the library that signs the other tokens here.
pub fn of_another_implementation(alg: &str) -> &'static str {
    FIXTURES["tokensOfAnotherImplementation"][alg]
        .as_str()
        .unwrap_or_else(|| panic!("no token of {alg}"))
}

pub const MERCHANT_OF_THE_FIXTURES: &str = "merchant-of-the-fixtures";
