//! The identity provider's keys: fetched from `jwks_url`, cached, and refreshed.
//!
//! The keys that were fetched last are in the instance and in the store, so that a new instance
//! starts with them. Their age decides what they are good for ([`Freshness`]).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http::header::{ACCEPT, USER_AGENT};
use http_body_util::{BodyExt, Full, Limited};
use sha2::{Digest, Sha256};

use super::freshness::{COOLDOWN_WITHOUT_KEYS, Freshness, REFETCH_COOLDOWN, UnknownKey};
use super::known_keys::{
    FetchPermit, Published, SOURCE, attempted_within, failed_within, known_skipped, log_skipped,
    state,
};
use crate::config::{Config, SENDER};
use crate::fault::Fault;
use crate::http::error::Error;
use crate::log;
use crate::model::jwks_source::JwksSource;
use crate::model::key_set::KeySet;
use crate::model::random;
use crate::model::time::Timestamp;
use crate::runtime::{sleep, spawn};
use crate::store::deadline::Deadline;
use crate::store::jwks_cache::{Attempt, CachedSet, JwksCache, Outcome};
use crate::store::spin;

/// How much of the provider's answer is read, in bytes. A longer one is a failure.
const MAX_BYTES: usize = 64 * 1024;

/// How often a request looks whether another one's fetch is done. Requests must not wake each
/// other (ARCHITECTURE.md), so they look.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The provider's keys, as an instance knows them.
#[derive(Clone, Copy)]
pub struct RemoteJwks {
    source: &'static JwksSource,
    config: &'static Config,
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

impl RemoteJwks {
    /// The provider's keys; `None` where `jwks_url` is not set.
    pub fn of(config: &'static Config) -> Option<Self> {
        let source = config.jwks_source.as_ref()?;
        Some(Self { source, config })
    }

    /// The keys to verify tokens with now. Those that are due are refreshed after the response;
    /// only when there are none that serve does the request wait, for `store_timeout_ms` at most.
    ///
    /// # Errors
    ///
    /// The provider's failure, when no usable keys are cached.
    pub async fn keys(self, request_id: &str) -> Result<Arc<Published>, Fault> {
        let deadline = Deadline::with_timeout(self.config.store_timeout);
        loop {
            let now = Timestamp::now();
            match self.known(now) {
                (Freshness::Fresh, Some(known)) => return Ok(known),
                (Freshness::Due, Some(known)) => {
                    self.refresh_later(request_id, now);
                    return Ok(known);
                }
                _ => failed_within(COOLDOWN_WITHOUT_KEYS, now)?,
            }
            match FetchPermit::begin() {
                Some(permit) => {
                    let updated = self.update(Reason::NoKeys, &deadline, request_id).await;
                    drop(permit);
                    // Expired keys may serve now that the provider is known to fail.
                    if let Err(error) = updated
                        && self.known(Timestamp::now()).0 == Freshness::Expired
                    {
                        return Err(error);
                    }
                }
                None if deadline.remaining().is_zero() => return Err(deadline.is_over(SOURCE)),
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
        self,
        has_key: &dyn Fn(&Published) -> bool,
        issued_at: Option<i64>,
        request_id: &str,
    ) -> Result<Arc<Published>, Error> {
        let deadline = Deadline::with_timeout(self.config.store_timeout);
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
            failed_within(REFETCH_COOLDOWN, now)?;
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
                Some(permit) => {
                    let why = Reason::UnknownKey(has_key);
                    let updated = self.update(why, &deadline, request_id).await;
                    drop(permit);
                    asked = updated?;
                }
                None if deadline.remaining().is_zero() => {
                    return Err(deadline.is_over(SOURCE).into());
                }
                None => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// What the instance knows, and what it is good for.
    fn known(self, now: Timestamp) -> (Freshness, Option<Arc<Published>>) {
        let state = state();
        let Some(published) = &state.published else {
            return (Freshness::Expired, None);
        };
        let failing = state.attempt.is_some_and(|attempt| {
            attempt.outcome != Outcome::Fetched && attempt.at >= published.fetched_at
        });
        let age = published.fetched_at.distance(now);
        let lifetime = self.source.lifetime();
        let freshness = Freshness::of(age, published.refresh_age, lifetime, failing);
        (freshness, Some(published.clone()))
    }

    fn refresh_later(self, request_id: &str, now: Timestamp) {
        if failed_within(REFETCH_COOLDOWN, now).is_err() {
            return;
        }
        let Some(permit) = FetchPermit::begin() else {
            return;
        };
        let request_id = request_id.to_owned();
        spawn(async move {
            let _permit = permit;
            let deadline = Deadline::with_timeout(self.config.store_timeout);
            let updated = self.update(Reason::Due, &deadline, &request_id).await;
            if let Err(error) = updated {
                log::background(&request_id, "keys not refreshed", &error);
            }
        });
    }

    /// Takes what another instance has left in the store, or else fetches, and leaves it there.
    /// Whether the provider was asked.
    async fn update(
        self,
        reason: Reason<'_>,
        deadline: &Deadline,
        request_id: &str,
    ) -> Result<bool, Fault> {
        let read = deadline.run("reading keys", async {
            self.read_cache(request_id).await;
            Ok::<_, Fault>(())
        });
        read.await?;
        let now = Timestamp::now();
        let (freshness, known) = self.known(now);
        let enough = match reason {
            Reason::NoKeys => freshness != Freshness::Expired,
            Reason::Due => {
                freshness == Freshness::Fresh || failed_within(REFETCH_COOLDOWN, now).is_err()
            }
            Reason::UnknownKey(has_key) => {
                known.is_some_and(|known| has_key(&known))
                    || attempted_within(REFETCH_COOLDOWN, now).is_some()
            }
        };
        if enough {
            return Ok(false);
        }
        failed_within(COOLDOWN_WITHOUT_KEYS, now)?;

        let before = known_skipped();
        let fetched = self.fetch(deadline).await;
        let outcome = match &fetched {
            Ok(_) => Outcome::Fetched,
            Err(Fault::Timeout(_)) => Outcome::Late,
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
        let (set, asked) = match fetched {
            Ok(set) => {
                log_skipped(&before);
                (Some(set), Ok(true))
            }
            Err(error) => (None, Err(error)),
        };
        self.share_later(set, attempt, deadline, request_id);
        asked
    }

    fn cache(self) -> JwksCache {
        JwksCache::of(spin::store(), self.source.url())
    }

    /// Takes over what is newer in the store than in the instance. What cannot be read there is
    /// as good as nothing: it is fetched, and written anew.
    async fn read_cache(self, request_id: &str) {
        let (set, attempt) = self.cache().read(&self.config.secrets_key).await;
        let failures = [set.as_ref().err(), attempt.as_ref().err()];
        for error in failures.into_iter().flatten() {
            log::background(request_id, "cached keys not read", error);
        }
        if let Ok(Some(set)) = set {
            let _ = self.install(&set);
        }
        if let Ok(Some(attempt)) = attempt {
            let mut state = state();
            if state.attempt.is_none_or(|known| known.at < attempt.at) {
                state.attempt = Some(attempt);
            }
        }
    }

    /// Verifies with these keys from now on, unless newer ones are known.
    fn install(self, fetched: &CachedSet) -> Result<(), Fault> {
        // Keys from the future, after the clock was set back, must not stay for ever.
        let now = Timestamp::now();
        let newer =
            |published: &Arc<Published>| (fetched.fetched_at..=now).contains(&published.fetched_at);
        if state().published.as_ref().is_some_and(newer) {
            return Ok(());
        }
        let (keys, skipped) = KeySet::published(fetched.set.as_bytes())
            .map_err(|problem| Fault::Dependency(format!("{SOURCE}: {problem}")))?;
        let lifetime = self.source.lifetime();
        let [chance] = random::bytes();
        let published = Arc::new(Published {
            keys,
            id: Sha256::digest(&fetched.set).into(),
            fetched_at: fetched.fetched_at,
            refresh_age: lifetime / 2 + lifetime / 4 * u32::from(chance) / 255,
            skipped,
        });
        let mut state = state();
        if !state.published.as_ref().is_some_and(newer) {
            state.published = Some(published);
        }
        Ok(())
    }

    async fn fetch(self, deadline: &Deadline) -> Result<CachedSet, Fault> {
        let fetched_at = Timestamp::now();
        let failed = |what: String| Fault::Dependency(format!("{SOURCE}: {what}"));
        let fetch = async {
            let request = http::Request::get(self.source.url())
                .header(ACCEPT, "application/json")
                // Some firewalls answer 403 to a request without one.
                .header(USER_AGENT, SENDER)
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
            Either::Right(_) => return Err(deadline.is_over(SOURCE)),
        };
        let fetched = CachedSet { fetched_at, set };
        self.install(&fetched)?;
        Ok(fetched)
    }

    /// Writes to the store, after the response, what other instances should know.
    fn share_later(
        self,
        set: Option<CachedSet>,
        attempt: Option<Attempt>,
        deadline: &Deadline,
        request_id: &str,
    ) {
        let (deadline, request_id) = (deadline.renew(), request_id.to_owned());
        spawn(async move {
            let cache = self.cache();
            let write = cache.write(set.as_ref(), attempt, &self.config.secrets_key);
            if let Err(error) = deadline.run("keeping keys", write).await {
                log::background(&request_id, "keys not cached", &error);
            }
        });
    }
}
