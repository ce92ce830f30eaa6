//! The development keys: one pair that signs tokens, one key for the secrets.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use application_webhooks::model::encryption::SecretsKey;
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use jwt_compact::Algorithm;
use jwt_compact::alg::{Ed25519, SigningKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

type PrivateKey = <Ed25519 as Algorithm>::SigningKey;

/// The file's name in the state directory.
pub const FILE: &str = "development-keys.json";

/// As they are in the file. Holds secrets, so it has no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// Read by people who find the file.
    note: String,
    /// The private key as a JWK (RFC 8037).
    signing_key: Jwk,
    /// 32 bytes in base64: variable `secrets_key`.
    pub secrets_key: String,
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    kid: String,
    alg: String,
    #[serde(rename = "use")]
    usage: String,
    x: String,
    d: String,
}

impl Keys {
    /// New keys from the system's randomness.
    fn generate() -> Result<Self> {
        let private = PrivateKey::from_slice(&random()?)?;
        let public = private.to_verifying_key();
        let x = Base64UrlUnpadded::encode_string(public.as_bytes());
        Ok(Self {
            note: "For local development only. Whoever has this file can sign tokens and read \
                   the signing secrets of this state directory."
                .to_owned(),
            signing_key: Jwk {
                kty: "OKP".to_owned(),
                crv: "Ed25519".to_owned(),
                kid: format!("development-{}", &x[..8]),
                alg: "EdDSA".to_owned(),
                usage: "sig".to_owned(),
                d: Base64UrlUnpadded::encode_string(&private.to_bytes()),
                x,
            },
            secrets_key: Base64::encode_string(&random()?),
        })
    }

    /// The keys of a state directory; new ones if it has none yet.
    pub fn ensure(state_dir: &Path) -> Result<Self> {
        if let Some(keys) = Self::load(state_dir)? {
            return Ok(keys);
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .and_then(|()| write_once(&state_dir.join(FILE), &Self::generate().map_err(io::Error::other)?))
            .with_context(|| {
                format!(
                    "{} cannot be written: make it writable, or choose another place with --state-dir",
                    state_dir.join(FILE).display()
                )
            })?;
        // Whoever wrote it: two first runs at a time end with the same keys.
        Self::load(state_dir)?.context("the development keys vanished while they were made")
    }

    /// The keys of a state directory that `up` has made.
    pub fn existing(state_dir: &Path) -> Result<Self> {
        Self::load(state_dir)?.with_context(|| {
            format!(
                "{} has no development keys yet: run `cargo xtask up` first, which makes them",
                state_dir.display()
            )
        })
    }

    /// The keys of a state directory, if it has any.
    pub fn load(state_dir: &Path) -> Result<Option<Self>> {
        let path = state_dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "{} cannot be read: make it readable, or choose another place with \
                         --state-dir",
                        path.display()
                    )
                });
            }
        };
        let keys = serde_json::from_str::<Self>(&text)
            .ok()
            .filter(|keys| keys.private_key().is_some())
            .with_context(|| {
                format!(
                    "{} holds no development keys: restore it, or delete the directory to begin \
                     anew (secrets that are in its store cannot be read without their key)",
                    path.display()
                )
            })?;
        Ok(Some(keys))
    }

    /// The key that signs tokens.
    pub fn private_key(&self) -> Option<PrivateKey> {
        let d = Base64UrlUnpadded::decode_vec(&self.signing_key.d).ok()?;
        PrivateKey::from_slice(&d).ok()
    }

    /// The operator's token: variable `operator_token`. It follows from the other keys, so that a
    /// file that was made before there was such a token has it too.
    ///
    /// # Errors
    ///
    /// When the file's `secrets_key` is none.
    pub fn operator_token(&self) -> Result<String> {
        let key = SecretsKey::parse(&self.secrets_key)
            .map_err(|problem| anyhow::anyhow!("secretsKey in {FILE} {problem}"))?;
        let token: [u8; 32] = key.derive(b"development operator token");
        Ok(Base64UrlUnpadded::encode_string(&token))
    }

    /// The id that tokens name their key by.
    pub fn id(&self) -> &str {
        &self.signing_key.kid
    }

    /// The public key as a JWK Set: variable `jwks`.
    pub fn jwks(&self) -> String {
        let Jwk {
            kty,
            crv,
            kid,
            alg,
            usage,
            x,
            d: _,
        } = &self.signing_key;
        json!({"keys": [{"kty": kty, "crv": crv, "kid": kid, "alg": alg, "use": usage, "x": x}]})
            .to_string()
    }

    /// Whether a JWK Set that somebody else configured has our key too.
    pub fn are_in(&self, jwks: &str) -> bool {
        serde_json::from_str::<Value>(jwks).is_ok_and(|jwks| {
            jwks["keys"]
                .as_array()
                .is_some_and(|keys| keys.iter().any(|key| key["x"] == self.signing_key.x))
        })
    }
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    Ok(bytes)
}

/// Writes the file whole or not at all, and never over another.
fn write_once(path: &Path, keys: &Keys) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = serde_json::to_vec_pretty(keys)
        .map_err(io::Error::from)
        .and_then(|json| file.write_all(&json))
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    fs::remove_file(&temporary)?;
    written
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// An empty directory for one test.
    pub fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("create");
        directory
    }

    #[test]
    fn keys_are_made_once_and_are_their_owners_only() {
        let state = scratch("keys").join("deep").join("state");
        assert!(Keys::load(&state).expect("load").is_none());
        let first = Keys::ensure(&state).expect("make");
        let second = Keys::ensure(&state).expect("load");
        assert_eq!(first.jwks(), second.jwks());
        assert_eq!(first.secrets_key, second.secrets_key);

        let mode = |path: &Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join(FILE)), 0o600);
        assert_eq!(fs::read_dir(&state).expect("list").count(), 1);
    }

    #[test]
    fn two_first_runs_end_with_the_same_keys() {
        let state = scratch("race");
        let path = state.join(FILE);
        let first = Keys::generate().expect("generate");
        write_once(&path, &first).expect("write");
        write_once(&path, &Keys::generate().expect("generate")).expect("write");
        let kept = Keys::ensure(&state).expect("load");
        assert_eq!(kept.jwks(), first.jwks());
    }

    #[test]
    fn the_public_part_has_no_private_one() {
        let keys = Keys::generate().expect("generate");
        let jwks: Value = serde_json::from_str(&keys.jwks()).expect("JSON");
        assert!(jwks["keys"][0].get("d").is_none());
        assert!(!keys.jwks().contains(&keys.signing_key.d));
        assert!(keys.are_in(&keys.jwks()));
        assert!(!keys.are_in(&Keys::generate().expect("generate").jwks()));
        assert!(!keys.are_in("not JSON"));
    }

    #[test]
    fn the_secrets_key_has_32_bytes() {
        let keys = Keys::generate().expect("generate");
        assert_eq!(
            Base64::decode_vec(&keys.secrets_key).expect("base64").len(),
            32
        );
    }

    #[test]
    fn the_operators_token_is_one_and_the_same_each_time() {
        use application_webhooks::model::operator_token::OperatorToken;

        let keys = Keys::generate().expect("generate");
        let token = keys.operator_token().expect("a token");
        assert!(OperatorToken::parse(&token).is_ok_and(|parsed| parsed.is(&token)));
        assert_eq!(keys.operator_token().expect("a token"), token);
        let others = Keys::generate().expect("generate").operator_token();
        assert_ne!(others.expect("a token"), token);
    }

    #[test]
    fn a_broken_file_is_named_and_kept() {
        let state = scratch("broken");
        fs::write(state.join(FILE), "{}").expect("write");
        let Err(error) = Keys::ensure(&state) else {
            panic!("was accepted");
        };
        assert!(error.to_string().contains(FILE), "{error}");
        assert_eq!(fs::read_to_string(state.join(FILE)).expect("read"), "{}");
    }
}
