//! The identity provider's keys as the store caches them, so that a new instance starts with them, and
//! when the provider was last asked, so that instances do not ask it again too soon.

use futures::future::join;
use serde::{Deserialize, Serialize};

use super::key_value::Store;
use super::keys;
use crate::fault::Fault;
use crate::model::encryption::{Sealed, SecretsKey};
use crate::model::time::Timestamp;

/// The keys as they were fetched. In the store they are sealed: who can write to it must not be able to
/// sign tokens.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedSet {
    /// When they were fetched.
    pub fetched_at: Timestamp,
    /// The text of the set.
    pub set: String,
}

impl CachedSet {
    /// Opens what stands under `key`; `None`: it is not ours. Not with `secrets_key_previous`: a key
    /// that was changed because it leaked could make any set ours, and keys can be fetched anew.
    fn open(sealed: &Sealed, key: &str, secrets_key: &SecretsKey) -> Option<Self> {
        let json = secrets_key.open_current(key, sealed).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// The last fetch that failed, or that was made for an unknown key: what must not be repeated soon.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Attempt {
    /// When it was made.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There are keys.
    Fetched,
    /// The provider failed.
    Failed,
    /// The provider did not answer in time.
    Late,
}

/// The cache of the keys that one URL publishes.
pub struct JwksCache {
    store: Store,
    key: String,
    attempt_key: String,
}

impl JwksCache {
    /// The cache of this URL's keys.
    pub fn of(store: Store, url: &str) -> Self {
        Self {
            store,
            key: keys::jwks(url),
            attempt_key: keys::jwks_attempt(url),
        }
    }

    /// The cached keys; `None`: there are none, or they are not ours.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn set(&self, secrets_key: &SecretsKey) -> Result<Option<CachedSet>, Fault> {
        let sealed: Option<Sealed> = self.store.get_document(&self.key).await?;
        Ok(sealed.and_then(|sealed| CachedSet::open(&sealed, &self.key, secrets_key)))
    }

    /// The cached keys and the last attempt.
    pub async fn read(
        &self,
        secrets_key: &SecretsKey,
    ) -> (
        Result<Option<CachedSet>, Fault>,
        Result<Option<Attempt>, Fault>,
    ) {
        join(
            self.set(secrets_key),
            self.store.get_document(&self.attempt_key),
        )
        .await
    }

    /// Writes what is given.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn write(
        &self,
        set: Option<&CachedSet>,
        attempt: Option<Attempt>,
        secrets_key: &SecretsKey,
    ) -> Result<(), Fault> {
        if let Some(json) = set.and_then(|set| serde_json::to_vec(set).ok()) {
            let sealed = secrets_key.seal(&self.key, &json);
            self.store.set_document(&self.key, &sealed).await?;
        }
        match attempt {
            Some(attempt) => self.store.set_document(&self.attempt_key, &attempt).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};

    use super::*;

    #[test]
    fn cached_keys_open_with_the_current_secrets_key_only() {
        let secrets_key = |byte| SecretsKey::parse(&Base64::encode_string(&[byte; 32])).unwrap();
        let document = CachedSet {
            fetched_at: Timestamp::now(),
            set: r#"{"keys":[]}"#.to_owned(),
        };
        let json = serde_json::to_vec(&document).unwrap();
        let old = secrets_key(1).seal("jwks/x", &json);
        let rotated = secrets_key(2).with_previous(Some(secrets_key(1)));
        assert!(rotated.open("jwks/x", &old).is_ok(), "secrets still open");
        assert!(CachedSet::open(&old, "jwks/x", &rotated).is_none());
        let new = rotated.seal("jwks/x", &json);
        let opened = CachedSet::open(&new, "jwks/x", &rotated).unwrap();
        assert_eq!(opened.set, document.set);
        assert!(CachedSet::open(&new, "jwks/y", &rotated).is_none());
    }
}
