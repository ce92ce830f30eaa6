//! The key-value store: its keys, the deadline of every call, and the index that heals.

use std::borrow::Cow;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use serde::Serialize;
use serde::de::DeserializeOwned;
use spin_sdk::key_value;
use spin_sdk::time::sleep;
use spin_sdk::wit_bindgen::spawn;

use crate::application::{ApplicationId, MerchantId};
use crate::config::Config;
use crate::error::Error;
use crate::log;
use crate::many;
use crate::random;
use crate::webhook::WebhookId;

/// The spelling of every key. Where the store does not take `/`, variable `store_key_separator`
/// puts another character in its place.
pub mod keys {
    use sha2::{Digest, Sha256};

    use super::{ApplicationId, WebhookId};
    use crate::application::{ApplicationName, MerchantId};

    /// JSON with at least `merchantId`: an application.
    pub fn application(application: &ApplicationId) -> String {
        format!("application/{application}")
    }

    /// JSON: what the merchant changed of an application.
    pub fn application_settings(application: &ApplicationId) -> String {
        format!("application-settings/{application}")
    }

    /// JSON: the ids of a merchant's applications, a hint that heals.
    pub fn applications(merchant: &MerchantId) -> String {
        format!("applications/{}", digest(&[merchant.as_str()]))
    }

    /// JSON: the id of the application that has this name, unless it was renamed or deleted.
    pub fn application_name(merchant: &MerchantId, name: &ApplicationName) -> String {
        let name = digest(&[name.as_str()]);
        format!("application-name/{}/{name}", digest(&[merchant.as_str()]))
    }

    /// JSON: a webhook as it was created. It exists if and only if this key does.
    pub fn webhook(application: &ApplicationId, webhook: WebhookId) -> String {
        format!("webhook/{application}/{webhook}")
    }

    /// JSON: what the merchant changed of a webhook.
    pub fn webhook_settings(application: &ApplicationId, webhook: WebhookId) -> String {
        format!("webhook-settings/{application}/{webhook}")
    }

    /// JSON: the rotations of a webhook's secret.
    pub fn webhook_secrets(application: &ApplicationId, webhook: WebhookId) -> String {
        format!("webhook-secrets/{application}/{webhook}")
    }

    /// JSON: the result of a webhook's last test.
    pub fn webhook_test(application: &ApplicationId, webhook: WebhookId) -> String {
        format!("webhook-test/{application}/{webhook}")
    }

    /// JSON: the ids of an application's webhooks, a hint that heals.
    pub fn webhooks(application: &ApplicationId) -> String {
        format!("webhooks/{application}")
    }

    /// JSON: how many changes a merchant made lately.
    pub fn changes(merchant: &MerchantId) -> String {
        format!("changes/{}", digest(&[merchant.as_str()]))
    }

    /// JSON: the first response to a request with an `Idempotency-Key`.
    pub fn idempotency(scope: &str) -> String {
        format!("idempotency/{}", digest(&[scope]))
    }

    /// JSON: the keys that were fetched from `jwks_url`, sealed.
    pub fn jwks(url: &str) -> String {
        format!("jwks/{}", digest(&[url]))
    }

    /// JSON: when `jwks_url` was last asked for an unknown key, or in vain.
    pub fn jwks_attempt(url: &str) -> String {
        format!("jwks-attempt/{}", digest(&[url]))
    }

    /// Text of others as part of a key: 32 hexadecimal digits of its SHA-256.
    fn digest(parts: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.as_bytes());
        }
        let hash = hash.finalize();
        hash[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The store `default`, opened once per instance: opening it costs Redis a ping.
static OPENED: Mutex<Option<Arc<Opened>>> = Mutex::new(None);

struct Opened {
    store: key_value::Store,
    separator: char,
}

impl Opened {
    fn spell<'a>(&self, key: &'a str) -> Cow<'a, str> {
        match self.separator {
            '/' => Cow::Borrowed(key),
            separator => Cow::Owned(key.replace('/', separator.encode_utf8(&mut [0; 4]))),
        }
    }
}

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
        // Not generic in the calls: each use of its own would be a kilobyte of the component.
        let calls: Pin<&mut dyn Future<Output = _>> = pin!(calls);
        match select(calls, pin!(sleep(self.left()))).await {
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

    /// How much time is left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// How long one deadline is.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

async fn open() -> Result<Arc<Opened>, Error> {
    let opened = OPENED.lock().unwrap_or_else(|e| e.into_inner()).clone();
    if let Some(opened) = opened {
        return Ok(opened);
    }
    let separator = Config::load().await?.store_key_separator;
    let store = key_value::Store::open_default()
        .await
        .map_err(|error| failed("open", &error))?;
    let opened = Arc::new(Opened { store, separator });
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = Some(opened.clone());
    Ok(opened)
}

fn failed(operation: &str, error: &key_value::Error) -> Error {
    // Whatever the handle's trouble is, the next request opens the store anew.
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = None;
    Error::Dependency(format!("store: {operation} failed: {error}"))
}

/// The bytes under `key`.
pub async fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    let opened = open().await?;
    let got = opened.store.get(opened.spell(key)).await;
    got.map_err(|error| failed("get", &error))
}

/// Writes `value` under `key`.
pub async fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    let opened = open().await?;
    let written = opened.store.set(opened.spell(key), value).await;
    written.map_err(|error| failed("set", &error))
}

/// Removes `key`; one that is not there is no error.
pub async fn delete(key: &str) -> Result<(), Error> {
    let opened = open().await?;
    let deleted = opened.store.delete(opened.spell(key)).await;
    deleted.map_err(|error| failed("delete", &error))
}

/// Whether `key` is there.
pub async fn exists(key: &str) -> Result<bool, Error> {
    let opened = open().await?;
    let found = opened.store.exists(opened.spell(key)).await;
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
        Err(error) => Err(Error::Unreadable(format!(
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

/// An index: the ids of an application's webhooks, or of a merchant's applications. A set that
/// only helps to find them.
///
/// The store has no transaction, so two writers may overwrite each other's entry. Whoever adds
/// an id therefore makes sure that it stays ([`Self::keep`]). An id without its document is
/// ignored.
#[derive(Clone, Debug)]
pub struct Index<Id> {
    key: String,
    /// The key of an id's document.
    member: fn(&str, &Id) -> String,
    scope: String,
    ids: Vec<Id>,
}

/// What an index can hold.
pub trait Member: Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl Member for WebhookId {}
impl Member for ApplicationId {}

/// Reads the index of an application's webhooks.
///
/// # Errors
///
/// The store's failure.
pub async fn webhooks_of(application: &ApplicationId) -> Result<Index<WebhookId>, Error> {
    webhooks_unread(application).read().await
}

/// The index of an application's webhooks before it is read: as if it were empty.
pub fn webhooks_unread(application: &ApplicationId) -> Index<WebhookId> {
    Index {
        key: keys::webhooks(application),
        member: |application, id| format!("webhook/{application}/{id}"),
        scope: application.to_string(),
        ids: Vec::new(),
    }
}

/// Reads the index of a merchant's applications.
///
/// # Errors
///
/// The store's failure.
pub async fn applications_of(merchant: &MerchantId) -> Result<Index<ApplicationId>, Error> {
    applications_unread(merchant).read().await
}

/// The index of a merchant's applications before it is read: as if it were empty.
pub fn applications_unread(merchant: &MerchantId) -> Index<ApplicationId> {
    Index {
        key: keys::applications(merchant),
        member: |_, id| keys::application(id),
        scope: String::new(),
        ids: Vec::new(),
    }
}

impl<Id: Member> Index<Id> {
    async fn read(mut self) -> Result<Self, Error> {
        self.ids = get_document(&self.key).await?.unwrap_or_default();
        Ok(self)
    }

    /// The ids, oldest first as far as is known.
    pub fn ids(&self) -> &[Id] {
        &self.ids
    }

    fn member(&self, id: &Id) -> String {
        (self.member)(&self.scope, id)
    }

    /// The ids that have no document.
    async fn missing(&self) -> Result<Vec<Id>, Error> {
        let keys: Vec<_> = self.ids.iter().map(|id| self.member(id)).collect();
        let found = many::all(keys.iter().map(|key| exists(key))).await?;
        let missing = self.ids.iter().zip(found).filter(|(_, found)| !found);
        Ok(missing.map(|(id, _)| id.clone()).collect())
    }

    /// Leaves out the ids that have no document. Asked for when the index looks full.
    pub async fn prune(&mut self) -> Result<(), Error> {
        let missing = self.missing().await?;
        self.ids.retain(|id| !missing.contains(id));
        Ok(())
    }

    /// Adds an id and writes the index.
    pub async fn add(&mut self, id: &Id) -> Result<(), Error> {
        if !self.ids.contains(id) {
            self.ids.push(id.clone());
        }
        set_document(&self.key, &self.ids).await
    }

    /// Reads the index anew, and writes it without these ids if it has any.
    pub async fn remove(&mut self, gone: &[Id]) -> Result<(), Error> {
        self.ids = get_document(&self.key).await?.unwrap_or_default();
        let before = self.ids.len();
        self.ids.retain(|id| !gone.contains(id));
        if self.ids.len() == before {
            return Ok(());
        }
        if self.ids.is_empty() {
            return delete(&self.key).await;
        }
        set_document(&self.key, &self.ids).await
    }

    /// Removes, after the response, the ids that are not `there` and are still without a document
    /// then. A failure only leaves ids that are ignored.
    pub fn prune_later(mut self, there: &[Id], store: &Store) {
        /// Where a store is replicated with delay, an index can arrive before what it names.
        const GRACE: Duration = Duration::from_secs(2);

        self.ids.retain(|id| !there.contains(id));
        if self.ids.is_empty() {
            return;
        }
        let store = store.clone();
        spawn(async move {
            sleep(GRACE).await;
            let _ = store
                .renewed()
                .in_time("pruning an index", async {
                    let gone = self.missing().await?;
                    self.remove(&gone).await
                })
                .await;
        });
    }

    /// Goes on, after the response, to check that `id` stays in the index, and writes it back
    /// as the union of all that was seen, until it has stayed for a while.
    pub fn keep(mut self, id: Id, store: &Store, request_id: &str) {
        let (store, request_id) = (store.clone(), request_id.to_owned());
        spawn(async move {
            if let Err(error) = self.heal(&id, &store).await {
                log::background(&request_id, "index not confirmed", &error);
            }
        });
    }

    async fn heal(&mut self, id: &Id, store: &Store) -> Result<(), Error> {
        /// How many checks in a row must find the id.
        const GOOD_CHECKS: u32 = 3;
        /// The first pause; after each good check it doubles, up to the longest.
        const PAUSE: Duration = Duration::from_millis(30);
        const LONGEST_PAUSE: Duration = Duration::from_millis(200);

        let started = Instant::now();
        let mut good = 0;
        let mut pause = PAUSE;
        loop {
            sleep(with_jitter(pause)).await;
            let checked = store
                .renewed()
                .in_time("checking an index", self.check(id))
                .await;
            match checked {
                Ok(Check::Kept) => good += 1,
                Ok(Check::MemberGone) => return Ok(()),
                // Lost for so long, something else is wrong: `cargo xtask doctor` mends it.
                Ok(Check::WrittenBack) if started.elapsed() > MENDING => return Ok(()),
                Ok(Check::WrittenBack) => {
                    good = 0;
                    pause = PAUSE;
                    continue;
                }
                // Whoever wrote while the store was away may have overwritten this one.
                Err(error) if started.elapsed() > MENDING => return Err(error),
                Err(_) => {
                    good = 0;
                    pause = (pause * 2).min(LONGEST_MENDING_PAUSE);
                    continue;
                }
            }
            if good == GOOD_CHECKS {
                return Ok(());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn check(&mut self, id: &Id) -> Result<Check, Error> {
        let now: Vec<Id> = get_document(&self.key).await?.unwrap_or_default();
        if now.contains(id) {
            return Ok(Check::Kept);
        }
        // Deleted meanwhile: not to be brought back.
        if !exists(&self.member(id)).await? {
            return Ok(Check::MemberGone);
        }
        let seen = std::mem::replace(&mut self.ids, now);
        for id in seen {
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
        self.add(id).await?;
        Ok(Check::WrittenBack)
    }

    /// Writes back the ids that were seen in the index and are not there any more, unless what
    /// they name is gone too.
    ///
    /// For [`mend`]: a write of the index that was cut off may take effect late, and then undoes
    /// what others added meanwhile.
    pub async fn restore(&mut self) -> Result<(), Error> {
        let mut now: Vec<Id> = get_document(&self.key).await?.unwrap_or_default();
        self.ids.retain(|id| !now.contains(id));
        self.prune().await?;
        let lost = !self.ids.is_empty();
        now.append(&mut self.ids);
        self.ids = now;
        if lost {
            set_document(&self.key, &self.ids).await?;
        }
        Ok(())
    }
}

enum Check {
    Kept,
    MemberGone,
    WrittenBack,
}

/// `pause`, made up to four times as long by chance, so that writers who met once do not meet again.
pub fn with_jitter(pause: Duration) -> Duration {
    let [chance] = random::bytes();
    pause + pause * 3 * u32::from(chance) / 255
}

/// How long, at most, work after a response tries to put things right.
const MENDING: Duration = Duration::from_secs(64);

/// How long it pauses at most while the store is away.
const LONGEST_MENDING_PAUSE: Duration = Duration::from_secs(4);

/// Puts right, after the response, what a request that failed has left or may still leave.
///
/// A write that was cut off can take effect after the first `undo`, and nobody knows when. So
/// after a timeout `undo` is repeated for about a minute; after an error, for a second. What the
/// store refuses is tried again for a minute, at pauses of 0.25 s to 4 s. `cargo xtask doctor`
/// finds what a longer fault leaves.
pub fn mend(
    cause: &Error,
    store: &Store,
    request_id: &str,
    undo: impl AsyncFnMut() -> Result<(), Error> + 'static,
) {
    let enough = match cause {
        Error::DependencyTimeout(_) => MENDING,
        _ => Duration::from_secs(1),
    };
    let (store, request_id) = (store.clone(), request_id.to_owned());
    spawn(undo_until(enough, Box::new(undo), store, request_id));
}

/// Not generic: each use of its own would be a kilobyte of the component.
async fn undo_until(enough: Duration, mut undo: Box<dyn Undo>, store: Store, request_id: String) {
    let started = Instant::now();
    let mut pause = Duration::from_millis(250);
    loop {
        let last = started.elapsed();
        match store.renewed().in_time("mending", undo.undo()).await {
            Ok(()) if last >= enough => return,
            Err(error) if last >= MENDING => {
                return log::background(&request_id, "a failed request left a trace", &error);
            }
            _ => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_MENDING_PAUSE);
    }
}

/// What [`mend`] repeats. There is no `dyn AsyncFnMut`.
trait Undo {
    fn undo(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Error>> + '_>>;
}

impl<F: AsyncFnMut() -> Result<(), Error>> Undo for F {
    fn undo(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Error>> + '_>> {
        Box::pin(self())
    }
}
