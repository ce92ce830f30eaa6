//! What keys of some age are good for, and what can be said of a key that is not among them.

use std::time::Duration;

use super::claims::LEEWAY_SECS;
use crate::model::time::Timestamp;

/// How long expired keys go on serving while the provider fails. The bound on how long a key that
/// the provider has withdrawn can be believed; tokens seldom live longer, so more would help
/// nobody: who issues no keys issues no tokens.
const STALE_IF_ERROR: Duration = Duration::from_secs(60 * 60);

/// Between two fetches for tokens that name an unknown key, and after a failed one while there are
/// keys that serve.
pub const REFETCH_COOLDOWN: Duration = Duration::from_secs(10);

/// After a failed fetch while there are no keys that serve: requests fail meanwhile.
pub const COOLDOWN_WITHOUT_KEYS: Duration = Duration::from_secs(1);

/// What keys of some age are good for.
#[derive(Debug, PartialEq, Eq)]
pub enum Freshness {
    /// They serve.
    Fresh,
    /// They serve, and are refreshed meanwhile.
    Due,
    /// Requests wait for newer ones.
    Expired,
}

impl Freshness {
    /// `failing`: the last fetch failed.
    pub fn of(age: Duration, refresh_age: Duration, lifetime: Duration, failing: bool) -> Self {
        if age < refresh_age {
            return Self::Fresh;
        }
        if age < lifetime || (failing && age < lifetime + STALE_IF_ERROR) {
            return Self::Due;
        }
        Self::Expired
    }
}

/// What can be said of a token whose key is not in the newest set that is known.
///
/// Clients take 401 for final, so the key must not be one that the provider published after that set
/// was fetched. It publishes a key before it signs with it, so a token that is older than the set
/// is not by such a key.
#[derive(Debug, PartialEq, Eq)]
pub enum UnknownKey {
    /// The provider is to be asked now.
    Look,
    /// The token may be by a newer key, and the provider is not asked again before so many seconds.
    Later {
        /// How many, 1 to 10.
        retry_after: u32,
    },
    /// There is no such key.
    Final,
}

impl UnknownKey {
    /// `issued_at` is the token's `iat`, which nobody has verified: who lies there is only asked to
    /// come again.
    pub fn of(
        now: Timestamp,
        last_look: Option<Timestamp>,
        fetched_at: Timestamp,
        issued_at: Option<i64>,
    ) -> Self {
        let since = last_look.map(|at| at.distance(now));
        let Some(wait) = since.and_then(|since| REFETCH_COOLDOWN.checked_sub(since)) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_serve_an_hour_past_their_lifetime_and_only_while_the_provider_fails() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let freshness = |age, failing| Freshness::of(age, minutes(3), minutes(5), failing);
        for failing in [false, true] {
            assert_eq!(freshness(minutes(0), failing), Freshness::Fresh);
            assert_eq!(freshness(minutes(3), failing), Freshness::Due);
        }
        assert_eq!(freshness(minutes(5), false), Freshness::Expired);
        assert_eq!(freshness(minutes(5), true), Freshness::Due);
        assert_eq!(freshness(minutes(64), true), Freshness::Due);
        assert_eq!(freshness(minutes(65), true), Freshness::Expired);
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
}
