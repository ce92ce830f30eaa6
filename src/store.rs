//! The key-value store: its keys, the deadline of every call, and the index that heals.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::{Either, select, try_join_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use spin_sdk::key_value;
use spin_sdk::time::sleep;
use spin_sdk::wit_bindgen::spawn;

use crate::application::ApplicationId;
use crate::error::Error;
use crate::log;
use crate::random;
use crate::webhook::WebhookId;

/// The spelling of every key.
pub mod keys {
    use super::{ApplicationId, WebhookId};

    /// JSON with at least `merchantId`: an application.
    pub fn application(application: &ApplicationId) -> String {
        format!("application/{application}")
    }

    /// JSON: a webhook. It exists if and only if this key does.
    pub fn webhook(application: &ApplicationId, webhook: WebhookId) -> String {
        format!("webhook/{application}/{webhook}")
    }

    /// JSON: the ids of an application's webhooks, a hint that heals.
    pub fn index(application: &ApplicationId) -> String {
        format!("webhooks/{application}")
    }
}

/// The store `default`, opened once per instance: opening it costs Redis a ping.
static OPENED: Mutex<Option<Arc<key_value::Store>>> = Mutex::new(None);

/// The store as one request uses it: all its calls together have `store_timeout_ms`.
#[derive(Clone)]
pub struct Store {
    deadline: Instant,
    timeout: Duration,
}

impl Store {
    /// The store, with a deadline `timeout` from now.
    pub fn with_timeout(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout,
            timeout,
        }
    }

    /// Runs store calls until the deadline.
    ///
    /// # Errors
    ///
    /// [`Error::DependencyTimeout`] when it passes first. A write that was cut off may still
    /// take effect.
    pub async fn in_time<T>(
        &self,
        what: &str,
        calls: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match select(pin!(calls), pin!(sleep(left))).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Error::DependencyTimeout(format!(
                "store: {what} took longer than {} ms",
                self.timeout.as_millis()
            ))),
        }
    }

    /// The same store with a fresh deadline, for work after the response.
    pub fn renewed(&self) -> Self {
        Self::with_timeout(self.timeout)
    }

    /// How long one deadline is.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

async fn open() -> Result<Arc<key_value::Store>, Error> {
    let opened = OPENED.lock().unwrap_or_else(|e| e.into_inner()).clone();
    if let Some(store) = opened {
        return Ok(store);
    }
    let store = key_value::Store::open_default()
        .await
        .map_err(|error| failed("open", &error))?;
    let store = Arc::new(store);
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = Some(store.clone());
    Ok(store)
}

fn failed(operation: &str, error: &key_value::Error) -> Error {
    // Whatever the handle's trouble is, the next request opens the store anew.
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = None;
    Error::Dependency(format!("store: {operation} failed: {error}"))
}

/// The bytes under `key`.
pub async fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    let store = open().await?;
    store.get(key).await.map_err(|error| failed("get", &error))
}

/// Writes `value` under `key`.
pub async fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    let store = open().await?;
    let written = store.set(key, value).await;
    written.map_err(|error| failed("set", &error))
}

/// Removes `key`; one that is not there is no error.
pub async fn delete(key: &str) -> Result<(), Error> {
    let store = open().await?;
    let deleted = store.delete(key).await;
    deleted.map_err(|error| failed("delete", &error))
}

/// Whether `key` is there.
pub async fn exists(key: &str) -> Result<bool, Error> {
    let store = open().await?;
    let found = store.exists(key).await;
    found.map_err(|error| failed("exists", &error))
}

/// The document under `key`. One that cannot be read is the store's failure, not the client's.
pub async fn get_document<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(bytes) = get(key).await? else {
        return Ok(None);
    };
    match serde_json::from_slice(&bytes) {
        Ok(document) => Ok(Some(document)),
        // serde's text may quote the document: only the place is told.
        Err(error) => Err(Error::Dependency(format!(
            "store: the document under `{key}` cannot be read (line {}, column {})",
            error.line(),
            error.column()
        ))),
    }
}

/// Writes a document under `key`.
pub async fn set_document(key: &str, document: &impl Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec(document)
        .map_err(|error| Error::Internal(format!("a document cannot be written: {error}")))?;
    set(key, &bytes).await
}

/// The index of an application's webhooks: a set of ids that only helps to find them.
///
/// The store has no transaction, so two writers may overwrite each other's entry. Whoever adds
/// an id therefore makes sure that it stays ([`Self::keep`]). An id without a webhook is
/// ignored.
#[derive(Clone, Debug)]
pub struct Index {
    application: ApplicationId,
    ids: Vec<WebhookId>,
}

impl Index {
    /// What the store holds now.
    pub async fn read(application: &ApplicationId) -> Result<Self, Error> {
        let ids = get_document(&keys::index(application)).await?;
        Ok(Self {
            application: application.clone(),
            ids: ids.unwrap_or_default(),
        })
    }

    /// The ids, oldest first as far as is known.
    pub fn ids(&self) -> &[WebhookId] {
        &self.ids
    }

    /// Removes the ids that have no webhook. Asked for when the index looks full.
    pub async fn prune(&mut self) -> Result<(), Error> {
        let keys: Vec<_> = self
            .ids
            .iter()
            .map(|id| keys::webhook(&self.application, *id))
            .collect();
        let mut found = try_join_all(keys.iter().map(|key| exists(key)))
            .await?
            .into_iter();
        self.ids.retain(|_| found.next().unwrap_or(true));
        Ok(())
    }

    /// Adds the ids and writes the index.
    pub async fn add(&mut self, ids: &[WebhookId]) -> Result<(), Error> {
        for id in ids {
            if !self.ids.contains(id) {
                self.ids.push(*id);
            }
        }
        self.write().await
    }

    async fn write(&self) -> Result<(), Error> {
        set_document(&keys::index(&self.application), &self.ids).await
    }

    /// Goes on, after the response, to check that `id` stays in the index, and writes it back
    /// as the union of all that was seen, until it has stayed for a while.
    pub fn keep(self, id: WebhookId, store: Store, request_id: String) {
        spawn(async move {
            if let Err(error) = self.heal(id, &store).await {
                log::background(&request_id, "index not confirmed", &error);
            }
        });
    }

    async fn heal(mut self, id: WebhookId, store: &Store) -> Result<(), Error> {
        /// How many checks in a row must find the id.
        const GOOD_CHECKS: u32 = 3;
        /// Lost this often, something else is wrong: `cargo xtask reindex` mends it.
        const MOST_CHECKS: u32 = 40;

        let mut good = 0;
        let mut failures = 0;
        let mut pause = Duration::from_millis(30);
        for _ in 0..MOST_CHECKS {
            sleep(with_jitter(pause)).await;
            let checked = store
                .renewed()
                .in_time("checking the index", self.check(id))
                .await;
            match checked {
                Ok(Check::Kept) => good += 1,
                Ok(Check::WebhookGone) => return Ok(()),
                Ok(Check::WrittenBack) => {
                    good = 0;
                    pause = Duration::from_millis(30);
                    continue;
                }
                Err(error) if failures == 5 => return Err(error),
                Err(_) => failures += 1,
            }
            if good == GOOD_CHECKS {
                return Ok(());
            }
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        Ok(())
    }

    async fn check(&mut self, id: WebhookId) -> Result<Check, Error> {
        let now = Self::read(&self.application).await?;
        if now.ids.contains(&id) {
            return Ok(Check::Kept);
        }
        // Deleted meanwhile: not to be brought back.
        if !exists(&keys::webhook(&self.application, id)).await? {
            return Ok(Check::WebhookGone);
        }
        let seen: BTreeSet<_> = now.ids.iter().copied().collect();
        let missing: Vec<_> = self
            .ids
            .iter()
            .filter(|id| !seen.contains(id))
            .copied()
            .collect();
        self.ids = now.ids;
        self.add(&missing).await?;
        Ok(Check::WrittenBack)
    }
}

enum Check {
    Kept,
    WebhookGone,
    WrittenBack,
}

/// `pause`, made up to four times as long by chance, so that writers who met once do not meet again.
fn with_jitter(pause: Duration) -> Duration {
    let [chance] = random::bytes();
    pause + pause * 3 * u32::from(chance) / 255
}

/// Removes, after the response, what a failed create may have left or may still leave: nobody
/// was told the webhook's secret, so nobody could verify its deliveries.
///
/// A write that was cut off can take effect after the first removal. So the key is removed
/// again after a full `store_timeout_ms`, and until two removals have succeeded.
pub fn retract(application: ApplicationId, id: WebhookId, store: Store, request_id: String) {
    spawn(async move {
        let key = keys::webhook(&application, id);
        let mut removals = 0;
        let mut pause = Duration::from_millis(50);
        let mut last = None;
        for _ in 0..12 {
            match store
                .renewed()
                .in_time("retracting a webhook", delete(&key))
                .await
            {
                Ok(()) => {
                    removals += 1;
                    pause = store.timeout().max(Duration::from_millis(500));
                }
                Err(error) => {
                    last = Some(error);
                    pause = (pause * 2).min(Duration::from_secs(10));
                }
            }
            if removals == 3 {
                return;
            }
            sleep(pause).await;
        }
        if let Some(error) = last {
            log::background(
                &request_id,
                "a failed create could not be retracted",
                &error,
            );
        }
    });
}
