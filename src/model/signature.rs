//! Signatures of deliveries (Standard Webhooks 1.0.0): HMAC-SHA256 of `id.timestamp.body`.

use base64ct::{Base64, Encoding};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::signing_secret::SigningSecret;

/// What an element of `webhook-signature` begins with.
const PREFIX: &str = "v1,";

/// The HMAC of an element.
pub type Signature = [u8; 32];

fn mac(id: &str, timestamp: i64, body: &[u8], key: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    mac
}

/// One element of `webhook-signature`: `v1,` and base64. `timestamp` is in seconds since the Unix epoch.
pub fn element(id: &str, timestamp: i64, body: &[u8], secret: &SigningSecret) -> String {
    let mac = mac(id, timestamp, body, secret.as_bytes());
    let bytes = mac.finalize().into_bytes();
    format!("{PREFIX}{}", Base64::encode_string(&bytes))
}

/// The signatures of a header `webhook-signature`. Elements of other versions, and what is no
/// signature, are left out.
pub fn elements(header: &str) -> Vec<Signature> {
    let elements = header.split_ascii_whitespace();
    let elements = elements.filter_map(|element| element.strip_prefix(PREFIX));
    elements.filter_map(signature).collect()
}

fn signature(base64: &str) -> Option<Signature> {
    let mut bytes = Signature::default();
    let decoded = Base64::decode(base64, &mut bytes).ok()?;
    (decoded.len() == bytes.len()).then_some(bytes)
}

/// Whether the secret made the signature, compared in constant time.
pub fn is_made_by(
    signature: &Signature,
    id: &str,
    timestamp: i64,
    body: &[u8],
    secret: &SigningSecret,
) -> bool {
    let mac = mac(id, timestamp, body, secret.as_bytes());
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that Standard Webhooks' own libraries are tested with.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        let key = Base64::decode_vec("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let made = mac(id, 1_614_265_330, body, &key).finalize().into_bytes();
        assert_eq!(
            Base64::encode_string(&made),
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_made_only_its_own_signature_of_these_bytes() {
        let (secret, other) = (SigningSecret::generate(), SigningSecret::generate());
        let header = element("evt_1", 7, b"{}", &secret);
        let signatures = elements(&format!("v1a,AAAA v1,AAAA {header} v2"));
        let [made] = &signatures[..] else {
            panic!("{signatures:?}");
        };
        assert!(is_made_by(made, "evt_1", 7, b"{}", &secret));
        assert!(!is_made_by(made, "evt_1", 7, b"{}", &other));
        assert!(!is_made_by(made, "evt_2", 7, b"{}", &secret));
        assert!(!is_made_by(made, "evt_1", 8, b"{}", &secret));
        assert!(!is_made_by(made, "evt_1", 7, b"{ }", &secret));
    }
}
