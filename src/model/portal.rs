//! The portal: what its sessions may do, the codes that begin them, and their tokens.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::delivery::named;
use super::encryption::SecretsKey;
use super::ids::{ApplicationId, MerchantId};
use super::random;
use super::time::Timestamp;

named! {
    /// What a portal's session may do.
    Capability {
        /// Read the application's webhooks, their health, deliveries and recoveries, and its events, without
        /// what is in them; verify deliveries.
        View = "view",
        /// See what events happened to and what endpoints answered, and get proofs of deliveries.
        ViewPayloads = "viewPayloads",
        /// Send deliveries again, and recover them.
        Resend = "resend",
        /// Create, change, test and delete webhooks.
        ManageWebhooks = "manageWebhooks",
        /// Rotate signing secrets.
        RotateSecrets = "rotateSecrets",
    }
}

/// Some of the [`Capability`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// What a session may do that nobody said more of: nothing that changes a webhook or shows what an
    /// event happened to.
    pub const DEFAULT: Self = Self::NONE.with(Capability::View).with(Capability::Resend);

    const NONE: Self = Self(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// Whether this is one of them.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Them, in the order of the API's documentation.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        let all = Capability::ALL.iter().copied();
        all.filter(move |capability| self.has(*capability))
    }

    /// Reads what [`Display`](std::fmt::Display) writes. A name that a later release has is left out.
    pub fn parse(names: &str) -> Self {
        let known = names.split(' ').filter_map(Capability::parse);
        known.fold(Self::NONE, Self::with)
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Their names with spaces between them.
impl std::fmt::Display for Capabilities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, capability) in self.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(f, "{space}{}", capability.as_str())?;
        }
        Ok(())
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// 16 random bytes, in 32 hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A new one.
            pub fn generate() -> Self {
                Self(base16ct::lower::encode_string(&random::bytes::<16>()))
            }

            /// What was read of one that was written.
            pub fn from_text(text: String) -> Self {
                Self(text)
            }

            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

random_id! {
    /// What the log names a portal's session by. It is no secret.
    SessionId
}

random_id! {
    /// Which sessions of an application's portal are good: those that were made in the same generation. To
    /// end all of them is to begin another one, so no clock decides.
    Generation
}

/// A session of the portal of one application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalSession {
    /// What the log names it by.
    pub id: SessionId,
    /// The one application that it is good for.
    pub application_id: ApplicationId,
    /// The merchant whose application it was when the session began.
    pub merchant_id: MerchantId,
    /// What it may do.
    pub capabilities: Capabilities,
    /// The generation that it was made in; `None`: nobody has ended the application's sessions before.
    pub generation: Option<Generation>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// What a token holds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    session: SessionId,
    application: ApplicationId,
    merchant: MerchantId,
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    capabilities: Capabilities,
    generation: Option<Generation>,
    expires_at: i64,
}

fn as_text<S: Serializer>(it: &Capabilities, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(it)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Capabilities, D::Error> {
    String::deserialize(deserializer).map(|names| Capabilities::parse(&names))
}

/// What every portal's token begins with, and no JWT: the header of one is a JSON object in base64url.
/// What begins so is verified as a portal's token, and as nothing else.
pub const TOKEN_PREFIX: &str = "portal_";

/// What the ciphertext of a token is bound to, beside its key.
const TOKEN_CONTEXT: &str = "application-webhooks portal token v1";

impl PortalSession {
    /// Its token: [`TOKEN_PREFIX`] and base64url of what [`SecretsKey::seal_for_portal`] makes. It is
    /// encrypted and authenticated by XChaCha20-Poly1305, with a key of its own: so it says nothing of how
    /// it is verified, and nothing of the merchant to whom it is shown.
    pub fn token(&self, key: &SecretsKey) -> Zeroizing<String> {
        let content = Content {
            session: self.id.clone(),
            application: self.application_id.clone(),
            merchant: self.merchant_id.clone(),
            capabilities: self.capabilities,
            generation: self.generation.clone(),
            expires_at: self.expires_at.as_millis(),
        };
        let content = serde_json::to_vec(&content).expect("texts and numbers are JSON");
        let sealed = key.seal_for_portal(TOKEN_CONTEXT, &content);
        let sealed = Base64UrlUnpadded::encode_string(&sealed);
        Zeroizing::new(format!("{TOKEN_PREFIX}{sealed}"))
    }

    /// The session of a token that this key sealed, or one before it; it may have expired. `None`: it was
    /// made by nobody who has the key.
    pub fn of_token(token: &str, key: &SecretsKey) -> Option<Self> {
        let sealed = Base64UrlUnpadded::decode_vec(token.strip_prefix(TOKEN_PREFIX)?).ok()?;
        let content = key.open_for_portal(TOKEN_CONTEXT, &sealed).ok()?;
        let content: Content = serde_json::from_slice(&content).ok()?;
        Some(Self {
            id: content.session,
            application_id: content.application,
            merchant_id: content.merchant,
            capabilities: content.capabilities,
            generation: content.generation,
            expires_at: Timestamp::from_millis(content.expires_at),
        })
    }
}

/// A code that is exchanged once for a session's token: 32 random bytes in base64url, 43 characters. No
/// `Debug`.
#[derive(Clone)]
pub struct PortalCode(Zeroizing<String>);

impl PortalCode {
    /// A new one.
    pub fn generate() -> Self {
        let bytes = Zeroizing::new(random::bytes::<32>());
        Self(Zeroizing::new(Base64UrlUnpadded::encode_string(&*bytes)))
    }

    /// The code, if `text` has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(Base64UrlUnpadded::decode_vec(text).ok()?);
        (bytes.len() == 32).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// What is kept of it: SHA-256, in 64 hexadecimal digits. It needs no salt, since there are 2^256 of
    /// them.
    pub fn hash(&self) -> String {
        base16ct::lower::encode_string(&Sha256::digest(self.0.as_bytes()))
    }

    /// Its text, for the one who asked for it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use base64ct::Base64;

    use super::*;

    fn key(byte: u8) -> SecretsKey {
        SecretsKey::parse(&Base64::encode_string(&[byte; 32])).unwrap()
    }

    fn session() -> PortalSession {
        PortalSession {
            id: SessionId::generate(),
            application_id: ApplicationId::parse("shop").unwrap(),
            merchant_id: MerchantId::parse("merchant").unwrap(),
            capabilities: Capabilities::DEFAULT,
            generation: Some(Generation::generate()),
            expires_at: Timestamp::from_millis(1_768_464_000_000),
        }
    }

    #[test]
    fn capabilities_are_a_set_in_one_order() {
        let all: Capabilities = Capability::ALL.iter().copied().collect();
        assert_eq!(
            all.to_string(),
            "view viewPayloads resend manageWebhooks rotateSecrets"
        );
        assert_eq!(Capabilities::DEFAULT.to_string(), "view resend");
        assert_eq!(
            Capabilities::parse("resend view resend later"),
            Capabilities::DEFAULT
        );
        assert!(Capabilities::parse("").is_empty());
        let json = serde_json::to_string(&Capabilities::DEFAULT).unwrap();
        assert_eq!(json, r#"["view","resend"]"#);
        for capability in Capability::ALL {
            let one: Capabilities = [*capability].into_iter().collect();
            assert_eq!(one.iter().collect::<Vec<_>>(), [*capability]);
            assert!(one.has(*capability) && !Capabilities::NONE.has(*capability));
        }
    }

    #[test]
    fn a_token_is_its_session_to_whoever_has_the_key_or_had_it_before() {
        let session = session();
        let token = session.token(&key(1));
        assert!(token.starts_with("portal_"));
        let opened = |key: &SecretsKey| PortalSession::of_token(&token, key);
        assert_eq!(opened(&key(1)), Some(session.clone()));
        assert_eq!(
            opened(&key(2).with_previous([key(1)])),
            Some(session.clone())
        );
        assert_eq!(opened(&key(2)), None);
        // It says nothing of whom it names.
        let bytes = Base64UrlUnpadded::decode_vec(&token[7..]).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("merchant"));
        assert_ne!(*token, *session.token(&key(1)));
    }

    #[test]
    fn a_token_that_was_changed_is_nobodys() {
        let token = session().token(&key(1));
        let bytes = Base64UrlUnpadded::decode_vec(&token[7..]).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            let changed = format!("portal_{}", Base64UrlUnpadded::encode_string(&changed));
            assert_eq!(
                PortalSession::of_token(&changed, &key(1)),
                None,
                "{position}"
            );
        }
        for text in [
            "",
            "portal_",
            "portal_!",
            "portal_AAAA",
            &token[7..],
            &token[..60],
        ] {
            assert_eq!(PortalSession::of_token(text, &key(1)), None, "{text}");
        }
    }

    /// A secret that the store has, sealed with the key itself, is no token, and a token opens as no secret.
    #[test]
    fn the_portals_key_is_no_other_one() {
        let key = key(1);
        let content = br#"{"session":"s","application":"shop","merchant":"m","capabilities":"view",
            "generation":null,"expiresAt":1}"#;
        let sealed = serde_json::to_string(&key.seal(TOKEN_CONTEXT, content)).unwrap();
        let sealed = Base64::decode_vec(sealed.trim_matches('"')).unwrap();
        let forged = format!("portal_{}", Base64UrlUnpadded::encode_string(&sealed));
        assert_eq!(PortalSession::of_token(&forged, &key), None);
        let sealed = key.seal_for_portal(TOKEN_CONTEXT, content);
        let forged = format!("portal_{}", Base64UrlUnpadded::encode_string(&sealed));
        assert!(PortalSession::of_token(&forged, &key).is_some());
    }

    #[test]
    fn a_code_has_256_bits_and_is_known_by_its_hash() {
        let code = PortalCode::generate();
        assert_eq!(code.as_str().len(), 43);
        assert_ne!(code.as_str(), PortalCode::generate().as_str());
        let sent = PortalCode::parse(code.as_str()).unwrap();
        assert_eq!(sent.hash(), code.hash());
        assert_eq!(code.hash().len(), 64);
        for bad in [
            "",
            "AAAA",
            &code.as_str()[1..],
            &format!("{}=", code.as_str()),
        ] {
            assert!(PortalCode::parse(bad).is_none(), "{bad}");
        }
    }
}
