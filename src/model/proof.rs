//! Proofs: what the service states of a delivery, signed so that anybody can verify it offline, also when
//! the data are gone (RFC 7515, RFC 8037).

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use jwt_compact::alg::{Ed25519, SigningKey as _, VerifyingKey as _};
use jwt_compact::{Algorithm, AlgorithmSignature};
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::encryption::SecretsKey;

type PrivateKey = <Ed25519 as Algorithm>::SigningKey;
type PublicKey = <Ed25519 as Algorithm>::VerifyingKey;

/// `typ` of a proof's header: so that nobody takes it for another kind of token (RFC 8725 §3.11).
pub const TYPE: &str = "delivery-proof+jwt";

/// From what a signing key follows: variable `proof_key`. No `Debug`.
#[derive(Clone)]
pub struct ProofSeed(Zeroizing<[u8; 32]>);

impl ProofSeed {
    /// Reads the seed from base64 of 32 bytes.
    ///
    /// # Errors
    ///
    /// What the text must be; never the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut seed = Zeroizing::new([0; 32]);
        match Base64::decode(text, seed.as_mut_slice()) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(seed)),
            _ => Err("must be base64 of 32 bytes"),
        }
    }
}

/// A public key, as key sets have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(description = "A public key that verifies proofs (RFC 8037).")]
pub struct PublishedKey {
    /// Its type.
    #[schema(pattern = "^OKP$", examples("OKP"))]
    kty: &'static str,
    /// Its curve.
    #[schema(pattern = "^Ed25519$", examples("Ed25519"))]
    crv: &'static str,
    /// The key, in base64url.
    #[schema(examples("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))]
    x: String,
    /// Its id: its thumbprint (RFC 7638), which proofs have in their header.
    #[schema(examples("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"))]
    kid: String,
    /// Its algorithm.
    #[schema(pattern = "^EdDSA$", examples("EdDSA"))]
    alg: &'static str,
    /// What it is for.
    #[schema(pattern = "^sig$", examples("sig"))]
    r#use: &'static str,
}

impl PublishedKey {
    fn new(x: String) -> Self {
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self {
            kty: "OKP",
            crv: "Ed25519",
            kid: Base64UrlUnpadded::encode_string(&Sha256::digest(&thumbprint)),
            x,
            alg: "EdDSA",
            r#use: "sig",
        }
    }

    fn of(key: &PrivateKey) -> Self {
        let public = key.to_verifying_key();
        Self::new(Base64UrlUnpadded::encode_string(public.as_bytes()))
    }

    /// Reads a key from its member `x`.
    ///
    /// # Errors
    ///
    /// What the text must be.
    pub fn parse(x: &str) -> Result<Self, &'static str> {
        let bytes = Base64UrlUnpadded::decode_vec(x).unwrap_or_default();
        match PublicKey::from_slice(&bytes) {
            Ok(_) => Ok(Self::new(x.to_owned())),
            Err(_) => {
                Err("must be the member `x` of a key for Ed25519, or several separated by commas")
            }
        }
    }
}

/// The key that signs proofs, and those that verify earlier ones.
pub struct ProofKeys {
    private: PrivateKey,
    published: Vec<PublishedKey>,
}

impl ProofKeys {
    /// The keys that follow from `seed`, if there is one, and from the secrets keys, of which the first
    /// signs otherwise; with `earlier` ones, which only verify.
    pub fn new(seed: Option<&ProofSeed>, secrets: &SecretsKey, earlier: &[PublishedKey]) -> Self {
        let seeds = seed.map(|seed| &*seed.0).into_iter();
        let mut keys = seeds.chain(secrets.proof_seeds()).map(PrivateKey::from);
        let private = keys.next().expect("there is a secrets key");
        let mut published = vec![PublishedKey::of(&private)];
        let others = keys.map(|key| PublishedKey::of(&key));
        for key in others.chain(earlier.iter().cloned()) {
            if !published.contains(&key) {
                published.push(key);
            }
        }
        Self { private, published }
    }

    /// The public keys, that of new proofs first.
    pub fn published(&self) -> &[PublishedKey] {
        &self.published
    }

    /// Signs a statement, which is JSON: a JWS in its compact form.
    pub fn sign(&self, statement: &str) -> String {
        let kid = &self.published[0].kid;
        let header = format!(r#"{{"alg":"EdDSA","typ":"{TYPE}","kid":"{kid}"}}"#);
        let [header, payload] =
            [&header, statement].map(|json| Base64UrlUnpadded::encode_string(json.as_bytes()));
        let signed = format!("{header}.{payload}");
        let signature = Ed25519.sign(&self.private, signed.as_bytes());
        let signature = Base64UrlUnpadded::encode_string(&signature.as_bytes());
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::key_set::{KeySet, Verification};
    use super::*;
    use crate::model::jws::Jws;

    fn base64(byte: u8) -> String {
        Base64::encode_string(&[byte; 32])
    }

    fn secrets(bytes: &[u8]) -> SecretsKey {
        let parse = |byte: &u8| SecretsKey::parse(&base64(*byte)).expect("a key");
        let mut keys = bytes.iter().map(parse);
        let first = keys.next().expect("a key");
        first.with_previous(keys)
    }

    fn seed(byte: u8) -> ProofSeed {
        ProofSeed::parse(&base64(byte)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What a client with the published keys says of a proof.
    fn verified(proof: &str, keys: &ProofKeys) -> Verification {
        let set = serde_json::json!({"keys": keys.published()}).to_string();
        let (set, skipped) = KeySet::published(set.as_bytes()).unwrap();
        assert!(skipped.is_empty(), "{skipped:?}");
        set.verify(&Jws::parse(proof).unwrap())
    }

    /// RFC 8037, appendix A: the key, its thumbprint and the signature.
    #[test]
    fn keys_and_signatures_are_those_of_the_rfc() {
        let seed = Base64UrlUnpadded::decode_vec("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        let seed = ProofSeed::parse(&Base64::encode_string(&seed.unwrap()));
        let seed = seed.unwrap_or_else(|error| panic!("{error}"));
        let keys = ProofKeys::new(Some(&seed), &secrets(&[1]), &[]);
        let published = &keys.published()[0];
        assert_eq!(published.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(published.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = Ed25519.sign(&keys.private, signed.as_bytes());
        assert_eq!(
            Base64UrlUnpadded::encode_string(&signature.as_bytes()),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn earlier_proofs_verify_after_every_change_of_a_key() {
        let first = ProofKeys::new(None, &secrets(&[1]), &[]);
        let proof = first.sign(r#"{"iat":1}"#);
        let jws = Jws::parse(&proof).unwrap();
        assert_eq!(jws.claims["iat"], 1);
        assert_eq!(
            jws.key_id.as_deref(),
            Some(first.published()[0].kid.as_str())
        );
        let other_secrets = secrets(&[2, 1]);
        for keys in [
            ProofKeys::new(None, &secrets(&[1]), &[]),
            ProofKeys::new(None, &other_secrets, &[]),
            ProofKeys::new(Some(&seed(3)), &secrets(&[1]), &[]),
            ProofKeys::new(Some(&seed(3)), &other_secrets, &[]),
            ProofKeys::new(None, &secrets(&[2]), first.published()),
        ] {
            assert_eq!(verified(&proof, &keys), Verification::Verified);
            assert_eq!(verified(&keys.sign("{}"), &keys), Verification::Verified);
        }
        for keys in [
            ProofKeys::new(None, &secrets(&[2]), &[]),
            ProofKeys::new(Some(&seed(1)), &secrets(&[2]), &[]),
        ] {
            assert_eq!(verified(&proof, &keys), Verification::NoKey);
        }
        // The seed is none of the others' keys, not even where it has the same bytes.
        let same = ProofKeys::new(Some(&seed(1)), &secrets(&[1]), first.published());
        assert_eq!(same.published().len(), 2);
    }

    #[test]
    fn a_changed_proof_does_not_verify() {
        let keys = ProofKeys::new(None, &secrets(&[1]), &[]);
        let proof = keys.sign(r#"{"status":"failed"}"#);
        let (header, rest) = proof.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let payload = Base64UrlUnpadded::encode_string(br#"{"status":"succeeded"}"#);
        let changed = format!("{header}.{payload}.{signature}");
        assert_eq!(verified(&changed, &keys), Verification::WrongSignature);
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in ["", "AAAA", &base64(1)[1..], &format!("{}=", base64(1))] {
            assert!(ProofSeed::parse(text).is_err(), "{text}");
        }
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert!(PublishedKey::parse(x).is_ok());
        for text in ["", &x[1..], &format!("{x}="), &x.replace('_', "/")] {
            assert!(PublishedKey::parse(text).is_err(), "{text}");
        }
    }
}
