//! Encryption at rest: the operator's key, and what it seals.

use base64ct::{Base64, Encoding};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::random;
use super::signing_secret::SigningSecret;

/// A secret as the store keeps it: base64 of a version byte (1), the first 4 bytes of the key's
/// SHA-256, a nonce of 24 bytes, and the XChaCha20-Poly1305 ciphertext with its tag.
///
/// The key's 4 bytes tell which key to decrypt with once there are several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

/// The operator's key that encrypts signing secrets: variable `secrets_key`. No `Debug`.
pub struct SecretsKey {
    secrets: Cipher,
    derivation: Hkdf<Sha256>,
    proof_seed: Zeroizing<[u8; 32]>,
    portal: Cipher,
    previous: Vec<SecretsKey>,
}

/// A key that encrypts, and what it is known by: the first 4 bytes of its SHA-256.
struct Cipher {
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl Cipher {
    fn new(key: &[u8; 32]) -> Self {
        let digest = Sha256::digest(key);
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&digest[..KEY_ID_BYTES]);
        Self {
            id,
            cipher: XChaCha20Poly1305::new(key.into()),
        }
    }

    /// Encrypts `plain` so that it opens only together with `context`.
    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = random::bytes();
        let payload = Payload {
            msg: plain,
            aad: context.as_bytes(),
        };
        let ciphertext = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a secret is far below the cipher's limit of 256 GiB");
        let mut sealed = Vec::with_capacity(HEADER_BYTES + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// Decrypts what [`Self::seal`] made with the same key and context.
    fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, CannotOpen> {
        let (header, ciphertext) = sealed.split_at_checked(HEADER_BYTES).ok_or(CannotOpen)?;
        let (version_and_key, nonce) = header.split_at(1 + KEY_ID_BYTES);
        if version_and_key[0] != VERSION {
            return Err(CannotOpen);
        }
        if version_and_key[1..] != self.id {
            return Err(CannotOpen);
        }
        let payload = Payload {
            msg: ciphertext,
            aad: context.as_bytes(),
        };
        self.cipher
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_| CannotOpen)
    }
}

/// A sealed secret could not be opened: it was made with another key or for another
/// webhook, or it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotOpen;

impl SecretsKey {
    /// Reads the key from base64 of 32 bytes.
    ///
    /// # Errors
    ///
    /// What the text must be; never the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut key = Zeroizing::new([0; 32]);
        match Base64::decode(text, key.as_mut_slice()) {
            Ok(decoded) if decoded.len() == 32 => {}
            _ => return Err("must be base64 of 32 bytes"),
        }
        let mut proof_seed = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"application-webhooks proofs v1"), &*key)
            .expand(b"Ed25519", proof_seed.as_mut_slice())
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        let mut portal = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"application-webhooks portal v1"), &*key)
            .expand(b"XChaCha20-Poly1305", portal.as_mut_slice())
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        Ok(Self {
            secrets: Cipher::new(&key),
            derivation: Hkdf::new(Some(b"application-webhooks idempotency v1"), &*key),
            proof_seed,
            portal: Cipher::new(&portal),
            previous: Vec::new(),
        })
    }

    /// This key, and those that decrypt what was encrypted before the key was changed: variable
    /// `secrets_key_previous`. Everything is encrypted with this one.
    pub fn with_previous(mut self, previous: impl IntoIterator<Item = Self>) -> Self {
        self.previous = previous.into_iter().collect();
        self
    }

    /// Bytes that only this key and `context` give (HKDF-SHA256, RFC 5869).
    pub fn derive<const N: usize>(&self, context: &[u8]) -> [u8; N] {
        let mut bytes = [0; N];
        self.derivation
            .expand(context, &mut bytes)
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        bytes
    }

    /// From what keys follow that sign proofs of deliveries: of this key first, then of the previous ones.
    pub fn proof_seeds(&self) -> impl Iterator<Item = &[u8; 32]> {
        let keys = std::iter::once(self).chain(&self.previous);
        keys.map(|key| &*key.proof_seed)
    }

    /// Encrypts `plain` so that it opens only together with `context`, the webhook's id.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Sealed {
        Sealed(Base64::encode_string(&self.secrets.seal(context, plain)))
    }

    /// Encrypts anew what was encrypted with a previous key; `None` for what is under this one.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn renew(&self, context: &str, sealed: &Sealed) -> Result<Option<Sealed>, CannotOpen> {
        let plain = self.open(context, sealed)?;
        Ok((!self.sealed(sealed)).then(|| self.seal(context, &plain)))
    }

    /// Whether it was this key that encrypted it, and not a previous one.
    pub fn sealed(&self, sealed: &Sealed) -> bool {
        Base64::decode_vec(&sealed.0)
            .is_ok_and(|bytes| bytes.get(1..=KEY_ID_BYTES) == Some(&self.secrets.id))
    }

    /// Encrypts a webhook's signing secret.
    pub fn seal_secret(&self, webhook: &str, secret: &SigningSecret) -> Sealed {
        self.seal(webhook, secret.as_bytes())
    }

    /// Decrypts what [`Self::seal`] made with the same key and context.
    ///
    /// # Errors
    ///
    /// [`CannotOpen`], which tells nothing more on purpose.
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Vec<u8>, CannotOpen> {
        let mut keys = std::iter::once(self).chain(&self.previous);
        let opened = keys.find_map(|key| key.open_current(context, sealed).ok());
        opened.ok_or(CannotOpen)
    }

    /// As [`Self::open`], but never with a previous key.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_current(&self, context: &str, sealed: &Sealed) -> Result<Vec<u8>, CannotOpen> {
        let bytes = Base64::decode_vec(&sealed.0).map_err(|_| CannotOpen)?;
        self.secrets.open(context, &bytes)
    }

    /// Encrypts with a key that follows from this one and is for nothing but the portal's tokens
    /// (HKDF-SHA256). The bytes are as in [`Sealed`], with that key's SHA-256.
    pub fn seal_for_portal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        self.portal.seal(context, plain)
    }

    /// Decrypts what [`Self::seal_for_portal`] made with the same context and this key, or one before it.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_for_portal(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, CannotOpen> {
        let mut keys = std::iter::once(self).chain(&self.previous);
        let opened = keys.find_map(|key| key.portal.open(context, sealed).ok());
        opened.ok_or(CannotOpen)
    }

    /// Decrypts a webhook's signing secret.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_secret(&self, webhook: &str, sealed: &Sealed) -> Result<SigningSecret, CannotOpen> {
        let bytes = Zeroizing::new(self.open(webhook, sealed)?);
        let bytes = bytes.as_slice().try_into().map_err(|_| CannotOpen)?;
        Ok(SigningSecret::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretsKey {
        SecretsKey::parse(&Base64::encode_string(&[byte; 32])).unwrap()
    }

    #[test]
    fn a_sealed_secret_opens_only_with_its_key_and_its_webhook() {
        let secret = SigningSecret::generate();
        let sealed = key(1).seal_secret("webhook-1", &secret);
        assert_eq!(key(1).open_secret("webhook-1", &sealed), Ok(secret));
        assert_eq!(key(1).open_secret("webhook-2", &sealed), Err(CannotOpen));
        assert_eq!(key(2).open_secret("webhook-1", &sealed), Err(CannotOpen));
    }

    #[test]
    fn a_changed_or_foreign_sealed_secret_does_not_open() {
        let sealed = key(1).seal_secret("webhook-1", &SigningSecret::generate());
        let bytes = Base64::decode_vec(&sealed.0).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            let changed = Sealed(Base64::encode_string(&changed));
            assert_eq!(key(1).open("webhook-1", &changed), Err(CannotOpen));
        }
        for text in ["", "!", "AQ=="] {
            assert_eq!(key(1).open("", &Sealed(text.to_owned())), Err(CannotOpen));
        }
    }

    #[test]
    fn the_previous_key_opens_and_never_seals() {
        let secret = SigningSecret::generate();
        let old = key(1).seal_secret("w", &secret);
        let rotated = key(2).with_previous(Some(key(1)));
        assert_eq!(rotated.open_secret("w", &old), Ok(secret.clone()));
        let new = rotated.seal_secret("w", &secret);
        assert_eq!(key(2).open_secret("w", &new), Ok(secret));
        assert_eq!(key(1).open_secret("w", &new), Err(CannotOpen));
        assert_eq!(
            key(3).with_previous(Some(key(2))).open("w", &old),
            Err(CannotOpen)
        );
    }

    #[test]
    fn the_key_can_be_changed_again_before_everything_is_under_the_new_one() {
        let secret = SigningSecret::generate();
        let changed_twice = key(3).with_previous([key(2), key(1)]);
        for byte in 1..=3 {
            let sealed = key(byte).seal_secret("w", &secret);
            assert_eq!(changed_twice.open_secret("w", &sealed), Ok(secret.clone()));
            let renewed = changed_twice.renew("w", &sealed).unwrap();
            assert_eq!(renewed.is_some(), byte != 3);
            let renewed = renewed.unwrap_or(sealed);
            assert_eq!(key(3).open_secret("w", &renewed), Ok(secret.clone()));
        }
    }

    #[test]
    fn what_is_under_a_previous_key_is_renewed_and_nothing_else() {
        let secret = SigningSecret::generate();
        let old = key(1).seal_secret("w", &secret);
        let rotated = key(2).with_previous(Some(key(1)));
        let new = rotated.renew("w", &old).unwrap().unwrap();
        assert_eq!(key(2).open_secret("w", &new), Ok(secret));
        assert_eq!(rotated.renew("w", &new), Ok(None));
        assert_eq!(rotated.renew("v", &old), Err(CannotOpen));
        assert_eq!(key(3).renew("w", &old), Err(CannotOpen));
    }

    #[test]
    fn sealing_twice_differs() {
        let secret = SigningSecret::generate();
        assert_ne!(
            key(1).seal_secret("w", &secret),
            key(1).seal_secret("w", &secret)
        );
    }
}
