//! The identity provider's keys: fetched from `jwks_url`, cached, and refreshed.
//!
//! The keys that were fetched last are in the instance and in the store, so that a new instance
//! starts with them. Their age decides what they are good for ([`Freshness`]).

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, join, select};
use http::header::{ACCEPT, USER_AGENT};
use http_body_util::{BodyExt, Full, Limited};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::{Host, Url};

use crate::auth::claims::LEEWAY_SECS;
use crate::config::Config;
use crate::http::error::Error;
use crate::log;
use crate::model::encryption::{Sealed, SecretsKey};
use crate::model::key_set::KeySet;
use crate::model::random;
use crate::model::time::Timestamp;
use crate::runtime::{sleep, spawn};
use crate::store::deadline::Deadline;
use crate::store::key_value::Store;
use crate::store::keys;
use crate::store::spin;

/// How much of the provider's answer is read, in bytes. A longer one is a failure.
const MAX_BYTES: usize = 64 * 1024;

/// How long expired keys go on serving while the provider fails. The bound on how long a key that
/// the provider has withdrawn can be believed; tokens seldom live longer, so more would help
/// nobody: who issues no keys issues no tokens.
const STALE_IF_ERROR: Duration = Duration::from_secs(60 * 60);

/// Between two fetches for tokens that name an unknown key, and after a failed one while there are
/// keys that serve.
const PAUSE: Duration = Duration::from_secs(10);

/// After a failed fetch while there are no keys that serve: requests fail meanwhile.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(1);

/// How often a request looks whether another one's fetch is done. Requests must not wake each
/// other (ARCHITECTURE.md), so they look.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Where the keys come from: variables `jwks_url` and `jwks_cache_seconds`.
pub struct RemoteJwks {
    /// May hold a password in its query: never shown.
    url: String,
    lifetime: Duration,
}

/// The keys as they were published at some moment.
pub struct Published {
    /// The keys.
    pub keys: KeySet,
    /// What tells this set from others: the SHA-256 of its text.
    pub id: [u8; 32],
    fetched_at: Timestamp,
    /// The age at which they are refreshed: a half to three quarters of their lifetime, by chance,
    /// so that not all instances fetch at once.
    refresh_age: Duration,
    /// The keys of the set that are not used, and why: for the log.
    skipped: Vec<String>,
}

/// What keys of some age are good for.
#[derive(Debug, PartialEq, Eq)]
enum Freshness {
    Fresh,
    /// They serve, and are refreshed meanwhile.
    Due,
    /// Requests wait for newer ones.
    Expired,
}

/// The last fetch that failed, or that was made for an unknown key: what must not be repeated soon.
/// In the instance and, as JSON, in the store.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Attempt {
    at: Timestamp,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Fetched,
    Failed,
    Late,
}

/// What an instance knows.
struct State {
    published: Option<Arc<Published>>,
    attempt: Option<Attempt>,
    /// Whether one of the instance's requests or tasks is fetching.
    fetching: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    published: None,
    attempt: None,
    fetching: false,
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(|e| e.into_inner())
}

/// The document under `jwks/…`, sealed: who can write to the store must not be able to sign tokens.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    fetched_at: Timestamp,
    set: String,
}

impl Document {
    /// Opens what stands under `key`; `None`: it is not ours. Not with `secrets_key_previous`: a key
    /// that was changed because it leaked could make any set ours, and keys can be fetched anew.
    fn open(sealed: &Sealed, key: &str, secrets_key: &SecretsKey) -> Option<Self> {
        let json = secrets_key.open_current(key, sealed).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// The right to fetch; one at a time in an instance.
struct FetchPermit;

impl FetchPermit {
    fn begin() -> Option<Self> {
        let mut state = state();
        if state.fetching {
            return None;
        }
        state.fetching = true;
        Some(Self)
    }
}

impl Drop for FetchPermit {
    fn drop(&mut self) {
        state().fetching = false;
    }
}

/// Why keys are looked for.
#[derive(Clone, Copy)]
enum Reason<'a> {
    /// A request waits: there are none that serve.
    NoKeys,
    /// The ones that serve are due.
    Due,
    /// A token names a key that is not among the known ones: whether it is in this set.
    UnknownKey(&'a dyn Fn(&Published) -> bool),
}

/// What can be said of a token whose key is not in the newest set that is known.
///
/// Clients take 401 for final, so the key must not be one that the provider published after that set
/// was fetched. It publishes a key before it signs with it, so a token that is older than the set
/// is not by such a key.
#[derive(Debug, PartialEq, Eq)]
enum UnknownKey {
    /// The provider is to be asked now.
    Look,
    /// The token may be by a newer key, and the provider is not asked again before so many seconds.
    Later { retry_after: u32 },
    /// There is no such key.
    Final,
}

impl UnknownKey {
    /// `issued_at` is the token's `iat`, which nobody has verified: who lies there is only told to
    /// come again.
    fn of(
        now: Timestamp,
        last_look: Option<Timestamp>,
        fetched_at: Timestamp,
        issued_at: Option<i64>,
    ) -> Self {
        let since = last_look.map(|at| at.distance(now));
        let Some(wait) = since.and_then(|since| PAUSE.checked_sub(since)) else {
            return Self::Look;
        };
        if wait.is_zero() {
            return Self::Look;
        }
        if issued_at.is_some_and(|at| at.saturating_add(LEEWAY_SECS) <= fetched_at.as_secs()) {
            return Self::Final;
        }
        Self::Later {
            retry_after: wait.as_millis().div_ceil(1000) as u32,
        }
    }
}

impl RemoteJwks {
    /// Checks the URL: https, or with `allow_insecure` also http to a loopback host.
    ///
    /// # Errors
    ///
    /// What the URL must be; never the URL.
    pub fn new(text: &str, lifetime: Duration, allow_insecure: bool) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "must be an absolute URL")?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            // As with a webhook's URL: Spin takes it for a DNS name.
            "https" if matches!(url.host(), Some(Host::Ipv6(_))) => {
                return Err("must not have an IPv6 address as its host, which https cannot reach");
            }
            "https" => {}
            "http" if loopback && allow_insecure => {}
            _ => return Err("must start with https://"),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("must have no user name, password or fragment");
        }
        Ok(Self {
            url: url.into(),
            lifetime,
        })
    }

    /// Whether the keys come over plain http.
    pub fn is_plain_http(&self) -> bool {
        self.url.starts_with("http:")
    }

    /// The keys to verify tokens with now. Those that are due are refreshed after the response;
    /// only when there are none that serve does the request wait, for `store_timeout_ms` at most.
    ///
    /// # Errors
    ///
    /// The provider's failure, when no usable keys are cached.
    pub async fn keys(
        &'static self,
        config: &'static Config,
        request_id: &str,
    ) -> Result<Arc<Published>, Error> {
        let deadline = Deadline::with_timeout(config.store_timeout);
        loop {
            let now = Timestamp::now();
            let (standing, known) = self.known(now);
            match (standing, known) {
                (Freshness::Fresh, Some(known)) => return Ok(known),
                (Freshness::Due, Some(known)) => {
                    self.refresh_later(config, request_id, now);
                    return Ok(known);
                }
                _ => failed_within(PAUSE_WITHOUT_KEYS, now)?,
            }
            match FetchPermit::begin() {
                Some(turn) => {
                    let updated = self
                        .update(Reason::NoKeys, config, &deadline, request_id)
                        .await;
                    drop(turn);
                    // Expired keys may serve now that the provider is known to fail.
                    if let Err(error) = updated
                        && self.known(Timestamp::now()).0 == Freshness::Expired
                    {
                        return Err(error);
                    }
                }
                None if deadline.remaining().is_zero() => return Err(late(&deadline)),
                None => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// The keys after another look at the provider, because a token that was issued at `issued_at`
    /// (seconds since 1970) names a key that is not among the known ones: those of a set for which
    /// `has_key` holds, or of one that proves that the key does not exist ([`UnknownKey::Final`]).
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotKnownYet`] when the last such look was less than 10 s ago and the key may have
    /// been published since; the provider's failure. With all of them the token may be good.
    pub async fn newer(
        &'static self,
        has_key: &dyn Fn(&Published) -> bool,
        issued_at: Option<i64>,
        config: &'static Config,
        request_id: &str,
    ) -> Result<Arc<Published>, Error> {
        let deadline = Deadline::with_timeout(config.store_timeout);
        let mut asked = false;
        loop {
            let now = Timestamp::now();
            let (freshness, newest) = self.known(now);
            let newest = newest.filter(|_| freshness != Freshness::Expired);
            if let Some(newest) = &newest
                && (asked || has_key(newest))
            {
                return Ok(newest.clone());
            }
            failed_within(PAUSE, now)?;
            if let Some(newest) = newest {
                let last_look = state().attempt.map(|attempt| attempt.at);
                match UnknownKey::of(now, last_look, newest.fetched_at, issued_at) {
                    UnknownKey::Final => return Ok(newest),
                    UnknownKey::Later { retry_after } => {
                        return Err(Error::KeyNotKnownYet { retry_after });
                    }
                    UnknownKey::Look => {}
                }
            }
            match FetchPermit::begin() {
                Some(turn) => {
                    let why = Reason::UnknownKey(has_key);
                    let updated = self.update(why, config, &deadline, request_id).await;
                    drop(turn);
                    asked = updated?;
                }
                None if deadline.remaining().is_zero() => return Err(late(&deadline)),
                None => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// What the instance knows, and what it is good for.
    fn known(&self, now: Timestamp) -> (Freshness, Option<Arc<Published>>) {
        let state = state();
        let Some(published) = &state.published else {
            return (Freshness::Expired, None);
        };
        let failing = state.attempt.is_some_and(|attempt| {
            attempt.outcome != Outcome::Fetched && attempt.at >= published.fetched_at
        });
        let age = published.fetched_at.distance(now);
        let standing = Freshness::of(age, published.refresh_age, self.lifetime, failing);
        (standing, Some(published.clone()))
    }

    fn refresh_later(&'static self, config: &'static Config, request_id: &str, now: Timestamp) {
        if failed_within(PAUSE, now).is_err() {
            return;
        }
        let Some(turn) = FetchPermit::begin() else {
            return;
        };
        let request_id = request_id.to_owned();
        spawn(async move {
            let _turn = turn;
            let deadline = Deadline::with_timeout(config.store_timeout);
            let updated = self
                .update(Reason::Due, config, &deadline, &request_id)
                .await;
            if let Err(error) = updated {
                log::background(&request_id, "keys not refreshed", &error);
            }
        });
    }

    /// Takes what another instance has left in the store, or else fetches, and leaves it there.
    /// Whether the provider was asked.
    async fn update(
        &self,
        reason: Reason<'_>,
        config: &'static Config,
        deadline: &Deadline,
        request_id: &str,
    ) -> Result<bool, Error> {
        let read = deadline.run("reading keys", async {
            self.read_shared(config, request_id).await;
            Ok(())
        });
        read.await?;
        let now = Timestamp::now();
        let (standing, known) = self.known(now);
        let enough = match reason {
            Reason::NoKeys => standing != Freshness::Expired,
            Reason::Due => standing == Freshness::Fresh || failed_within(PAUSE, now).is_err(),
            Reason::UnknownKey(has_key) => {
                known.is_some_and(|known| has_key(&known)) || attempted_within(PAUSE, now).is_some()
            }
        };
        if enough {
            return Ok(false);
        }
        failed_within(PAUSE_WITHOUT_KEYS, now)?;

        let before = known_skipped();
        let fetched = self.fetch(deadline).await;
        let outcome = match &fetched {
            Ok(_) => Outcome::Fetched,
            Err(Error::DependencyTimeout(_)) => Outcome::Late,
            Err(_) => Outcome::Failed,
        };
        let attempt = Attempt {
            at: Timestamp::now(),
            outcome,
        };
        let attempt = (outcome != Outcome::Fetched || matches!(reason, Reason::UnknownKey(_)))
            .then_some(attempt);
        if let Some(attempt) = attempt {
            state().attempt = Some(attempt);
        }
        let (document, failure) = match fetched {
            Ok(document) => {
                log_skipped(&before);
                (Some(document), Ok(true))
            }
            Err(error) => (None, Err(error)),
        };
        let key = keys::jwks(&self.url);
        let sealed = document.and_then(|document| {
            let json = serde_json::to_vec(&document).ok()?;
            Some(config.secrets_key.seal(&key, &json))
        });
        self.share_later(sealed, attempt, deadline, request_id);
        failure
    }

    /// When the keys that the store caches were fetched; `None`: it caches none that can be read.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn cached_at(
        &self,
        store: &Store,
        config: &Config,
    ) -> Result<Option<Timestamp>, Error> {
        let key = keys::jwks(&self.url);
        let sealed: Option<Sealed> = match store.get_document(&key).await {
            Err(Error::Unreadable(_)) => None,
            read => read?,
        };
        let document = sealed.and_then(|sealed| Document::open(&sealed, &key, &config.secrets_key));
        Ok(document.map(|document| document.fetched_at))
    }

    /// Takes over what is newer in the store than in the instance. What cannot be read there is
    /// as good as nothing: it is fetched, and written anew.
    async fn read_shared(&self, config: &Config, request_id: &str) {
        let key = keys::jwks(&self.url);
        let attempt_key = keys::jwks_attempt(&self.url);
        let store = spin::store();
        let (sealed, attempt) = join(
            store.get_document::<Sealed>(&key),
            store.get_document::<Attempt>(&attempt_key),
        )
        .await;
        let failures = [sealed.as_ref().err(), attempt.as_ref().err()];
        for error in failures.into_iter().flatten() {
            log::background(request_id, "cached keys not read", error);
        }
        let sealed = sealed.ok().flatten();
        let document = sealed.and_then(|sealed| Document::open(&sealed, &key, &config.secrets_key));
        if let Some(document) = document {
            let _ = self.install(&document);
        }
        if let Ok(Some(attempt)) = attempt {
            let mut state = state();
            if state.attempt.is_none_or(|known| known.at < attempt.at) {
                state.attempt = Some(attempt);
            }
        }
    }

    /// Verifies with these keys from now on, unless newer ones are known.
    fn install(&self, document: &Document) -> Result<(), Error> {
        // Keys from the future, after the clock was set back, must not stay for ever.
        let now = Timestamp::now();
        let newer = |published: &Arc<Published>| {
            (document.fetched_at..=now).contains(&published.fetched_at)
        };
        if state().published.as_ref().is_some_and(newer) {
            return Ok(());
        }
        let (keys, skipped) = KeySet::published(document.set.as_bytes())
            .map_err(|problem| Error::Dependency(format!("jwks_url: {problem}")))?;
        let [chance] = random::bytes();
        let published = Arc::new(Published {
            keys,
            id: Sha256::digest(&document.set).into(),
            fetched_at: document.fetched_at,
            refresh_age: self.lifetime / 2 + self.lifetime / 4 * u32::from(chance) / 255,
            skipped,
        });
        let mut state = state();
        if !state.published.as_ref().is_some_and(newer) {
            state.published = Some(published);
        }
        Ok(())
    }

    async fn fetch(&self, deadline: &Deadline) -> Result<Document, Error> {
        let fetched_at = Timestamp::now();
        let failed = |what: String| Error::Dependency(format!("jwks_url: {what}"));
        let fetch = async {
            let request = http::Request::get(&self.url)
                .header(ACCEPT, "application/json")
                // Some firewalls answer 403 to a request without one.
                .header(USER_AGENT, crate::SENDER)
                .body(Full::<Bytes>::default())
                .map_err(|_| failed("is no URL to connect to".to_owned()))?;
            // Follows no redirect: there is nobody here who would.
            let response = spin_sdk::http::send(request)
                .await
                .map_err(|error| failed(format!("could not be reached: {error:?}")))?;
            if response.status() != http::StatusCode::OK {
                return Err(failed(format!("answered {}", response.status().as_u16())));
            }
            let body = Limited::new(response.into_body(), MAX_BYTES)
                .collect()
                .await;
            let body = body.map_err(|_| {
                failed(format!(
                    "the answer broke off, or is longer than {MAX_BYTES} bytes"
                ))
            })?;
            String::from_utf8(body.to_bytes().into())
                .map_err(|_| failed("answered what is not UTF-8".to_owned()))
        };
        let set = match select(pin!(fetch), pin!(sleep(deadline.remaining()))).await {
            Either::Left((set, _)) => set?,
            Either::Right(_) => return Err(late(deadline)),
        };
        let document = Document { fetched_at, set };
        self.install(&document)?;
        Ok(document)
    }

    /// Writes to the store, after the response, what other instances should know.
    fn share_later(
        &self,
        sealed: Option<Sealed>,
        attempt: Option<Attempt>,
        deadline: &Deadline,
        request_id: &str,
    ) {
        let key = keys::jwks(&self.url);
        let attempt_key = keys::jwks_attempt(&self.url);
        let (deadline, request_id) = (deadline.renew(), request_id.to_owned());
        spawn(async move {
            let written = deadline.run("keeping keys", async {
                let store = spin::store();
                if let Some(sealed) = sealed {
                    store.set_document(&key, &sealed).await?;
                }
                match attempt {
                    Some(attempt) => store.set_document(&attempt_key, &attempt).await,
                    None => Ok(()),
                }
            });
            if let Err(error) = written.await {
                log::background(&request_id, "keys not cached", &error);
            }
        });
    }
}

impl Freshness {
    fn of(age: Duration, refresh_age: Duration, lifetime: Duration, failing: bool) -> Self {
        if age < refresh_age {
            return Self::Fresh;
        }
        if age < lifetime || (failing && age < lifetime + STALE_IF_ERROR) {
            return Self::Due;
        }
        Self::Expired
    }
}

/// The keys that are known not to be used, and why.
fn known_skipped() -> Vec<String> {
    let state = state();
    let published = state.published.as_ref();
    published.map_or_else(Vec::new, |published| published.skipped.clone())
}

/// Logs which keys of the set that was just fetched are not used: each once, and not with every
/// fetch and every instance.
fn log_skipped(before: &[String]) {
    let mut new = known_skipped();
    new.retain(|key| !before.contains(key));
    if !new.is_empty() {
        log::warning(&format!("keys of jwks_url not used: {}", new.join(", ")));
    }
}

fn attempted_within(pause: Duration, now: Timestamp) -> Option<Outcome> {
    let attempt = state().attempt?;
    (attempt.at.distance(now) < pause).then_some(attempt.outcome)
}

/// The failure of a fetch less than `pause` ago.
fn failed_within(pause: Duration, now: Timestamp) -> Result<(), Error> {
    match attempted_within(pause, now) {
        None | Some(Outcome::Fetched) => Ok(()),
        Some(Outcome::Failed) => Err(Error::Dependency(
            "jwks_url: could not be read a moment ago".to_owned(),
        )),
        Some(Outcome::Late) => Err(Error::DependencyTimeout(
            "jwks_url: did not answer a moment ago".to_owned(),
        )),
    }
}

fn late(deadline: &Deadline) -> Error {
    Error::DependencyTimeout(format!(
        "jwks_url: took longer than {} ms",
        deadline.timeout().as_millis()
    ))
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};

    use super::*;

    #[test]
    fn keys_serve_an_hour_past_their_lifetime_and_only_while_the_provider_fails() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let standing = |age, failing| Freshness::of(age, minutes(3), minutes(5), failing);
        for failing in [false, true] {
            assert_eq!(standing(minutes(0), failing), Freshness::Fresh);
            assert_eq!(standing(minutes(3), failing), Freshness::Due);
        }
        assert_eq!(standing(minutes(5), false), Freshness::Expired);
        assert_eq!(standing(minutes(5), true), Freshness::Due);
        assert_eq!(standing(minutes(64), true), Freshness::Due);
        assert_eq!(standing(minutes(65), true), Freshness::Expired);
    }

    /// A token with an unknown key, now: the last look so many milliseconds ago, the newest set
    /// fetched and the token issued so many seconds ago.
    fn unknown_key(look: Option<i64>, fetched: i64, issued: Option<i64>) -> UnknownKey {
        let now = Timestamp::now();
        let ago = |millis| Timestamp::from_millis(now.as_millis() - millis);
        let issued_at = issued.map(|seconds| now.as_secs() - seconds);
        UnknownKey::of(now, look.map(ago), ago(fetched * 1000), issued_at)
    }

    #[test]
    fn an_unknown_key_is_final_only_where_the_set_is_newer_than_the_token() {
        let later = |retry_after| UnknownKey::Later { retry_after };
        // Nobody looked lately: the provider says.
        assert_eq!(unknown_key(None, 5, Some(1)), UnknownKey::Look);
        assert_eq!(unknown_key(Some(10_000), 10, Some(3600)), UnknownKey::Look);
        assert_eq!(unknown_key(Some(3_600_000), 5, None), UnknownKey::Look);
        // It may have been published since the look.
        assert_eq!(unknown_key(Some(0), 0, Some(0)), later(10));
        assert_eq!(unknown_key(Some(0), 0, None), later(10));
        assert_eq!(unknown_key(Some(2_500), 2, Some(5)), later(8));
        assert_eq!(unknown_key(Some(9_999), 9, Some(30)), later(1));
        assert_eq!(unknown_key(Some(1), 0, Some(59)), later(10));
        assert_eq!(
            unknown_key(Some(1), 100, Some(120)),
            later(10),
            "an older set"
        );
        assert_eq!(
            unknown_key(Some(1), 0, Some(-100)),
            later(10),
            "not yet issued"
        );
        // The provider had published all keys that could have signed it.
        assert_eq!(unknown_key(Some(1), 0, Some(60)), UnknownKey::Final);
        assert_eq!(unknown_key(Some(1), 100, Some(160)), UnknownKey::Final);
        assert_eq!(unknown_key(Some(1), 0, Some(1 << 60)), UnknownKey::Final);
    }

    #[test]
    fn cached_keys_open_with_the_current_secrets_key_only() {
        let secrets_key = |byte| SecretsKey::parse(&Base64::encode_string(&[byte; 32])).unwrap();
        let document = Document {
            fetched_at: Timestamp::now(),
            set: r#"{"keys":[]}"#.to_owned(),
        };
        let json = serde_json::to_vec(&document).unwrap();
        let old = secrets_key(1).seal("jwks/x", &json);
        let rotated = secrets_key(2).with_previous(Some(secrets_key(1)));
        assert!(rotated.open("jwks/x", &old).is_ok(), "secrets still open");
        assert!(Document::open(&old, "jwks/x", &rotated).is_none());
        let new = rotated.seal("jwks/x", &json);
        let opened = Document::open(&new, "jwks/x", &rotated).unwrap();
        assert_eq!(opened.set, document.set);
        assert!(Document::open(&new, "jwks/y", &rotated).is_none());
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine_where_the_operator_allows_it() {
        let accepted = |url: &str, insecure| RemoteJwks::new(url, PAUSE, insecure).is_ok();
        for url in [
            "https://issuer.example.com/jwks?tenant=a",
            "https://10.0.0.1:8443/jwks",
        ] {
            assert!(accepted(url, false), "{url}");
        }
        for url in [
            "http://localhost:9000/jwks",
            "http://127.0.0.2/jwks",
            "http://[::1]:1/jwks",
        ] {
            assert!(!accepted(url, false), "{url}");
            assert!(accepted(url, true), "{url}");
        }
        for url in [
            "",
            "jwks",
            "http://issuer.example.com/jwks",
            "http://localhost.example.com/jwks",
            "http://10.0.0.1/jwks",
            "ftp://localhost/jwks",
            "file:///jwks.json",
            "data:application/json,{}",
            "https://user:password@issuer.example.com/jwks",
            "https://issuer.example.com/jwks#key",
        ] {
            assert!(!accepted(url, true), "{url}");
        }
    }
}
