//! The secret that a webhook's deliveries are signed with: made, shown once, never printed.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::random;

/// What the secret's text starts with (Standard Webhooks 1.0.0, "Signature scheme").
const PREFIX: &str = "whsec_";

/// The HMAC key that a webhook's deliveries are signed with.
///
/// 36 bytes: Standard Webhooks asks for 24 to 64, RFC 2104 §3 for at least the hash's 32, and a
/// multiple of three is base64 without padding. Its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Zeroizing<[u8; Self::BYTES]>);

impl SigningSecret {
    /// The secret's length in bytes.
    pub const BYTES: usize = 36;

    /// A new secret from the platform's randomness.
    pub fn generate() -> Self {
        Self(random::bytes().into())
    }

    /// The secret made of these bytes.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes.into())
    }

    /// The HMAC key's bytes, for signing.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The text that the merchant receives once: `whsec_` and 48 characters of base64.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", Base64::encode_string(self.as_bytes()))
    }

    /// What can be shown of the secret at any time: `whsec_****` and its last four characters.
    pub fn fingerprint(&self) -> String {
        let text = Base64::encode_string(self.as_bytes());
        format!("{PREFIX}****{}", &text[text.len() - 4..])
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_as_standard_webhooks_writes_it() {
        let secret = SigningSecret::generate();
        let text = secret.reveal();
        let bytes = Base64::decode_vec(text.strip_prefix("whsec_").unwrap()).unwrap();
        assert_eq!(bytes.len(), 36);
        assert!(!text.contains('='));
        assert_eq!(
            secret.fingerprint(),
            format!("whsec_****{}", &text[text.len() - 4..])
        );
    }

    #[test]
    fn debug_hides_the_secret() {
        let secret = SigningSecret::generate();
        assert_eq!(format!("{secret:?}"), "SigningSecret(****)");
    }
}
