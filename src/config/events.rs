//! The variables of events, which only the component that has them reads.

use std::sync::OnceLock;
use std::time::Duration;

use url::Url;

use super::Config;
use super::variables::{ConfigError, Variables, problem, read};
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::condition::DisableRule;
use crate::model::database_address::DatabaseAddress;
use crate::model::proof::{ProofSeed, PublishedKey};
use crate::model::retry_schedule::RetrySchedule;

/// The names of the variables, as in `spin.toml`.
const VARIABLES: [&str; 9] = [
    "events_database",
    "retry_schedule",
    "max_event_bytes",
    "event_retention_days",
    "proof_key",
    "proof_keys_previous",
    "proof_issuer",
    "disable_after_hours",
    "portal_url",
];

const HOUR: Duration = Duration::from_secs(3600);

/// What the operator decided about events. Holds a password, so it has no `Debug`.
pub struct EventsConfig {
    /// Where events are kept: variable `events_database`.
    pub database: DatabaseAddress,
    /// When a delivery is attempted: variable `retry_schedule`.
    pub retry_schedule: RetrySchedule,
    /// The largest request that publishes an event, in bytes, 1,024 to 1,048,576: variable
    /// `max_event_bytes`.
    pub max_event_bytes: usize,
    /// How long events are kept, in days, 1 to 3,650: variable `event_retention_days`.
    pub retention_days: u32,
    /// From what the key follows that signs proofs: variable `proof_key`; `None`: from `secrets_key`.
    pub proof_key: Option<ProofSeed>,
    /// Keys that signed proofs earlier: variable `proof_keys_previous`.
    pub earlier_proof_keys: Vec<PublishedKey>,
    /// The `iss` of proofs: variable `proof_issuer`.
    pub proof_issuer: Option<String>,
    /// When webhooks that fail are made inactive: variable `disable_after_hours`, 1 to 8,760; 0: never.
    pub disable_rule: DisableRule,
    /// Where browsers reach the service, without a slash at its end: variable `portal_url`; `None`: where
    /// the request for a portal's session was sent to.
    pub portal_url: Option<String>,
}

impl EventsConfig {
    /// This instance's configuration, read when its first request asks for it.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub async fn load() -> Result<&'static Self, Fault> {
        static CONFIG: OnceLock<EventsConfig> = OnceLock::new();

        if let Some(config) = CONFIG.get() {
            return Ok(config);
        }
        let store_timeout = Config::load().await?.store_timeout;
        let values = try_join_bounded(VARIABLES.map(read)).await?;
        let get = |name: &str| {
            let mut all = VARIABLES.iter().zip(&values);
            all.find(|(variable, _)| **variable == name)
                .and_then(|(_, value)| value.clone())
        };
        let config = Self::parse(&get, store_timeout);
        let config = config.map_err(|error| Fault::Internal(error.to_string()))?;
        Ok(CONFIG.get_or_init(|| config))
    }

    /// Checks the variables that `get` returns by name; `None` is a variable that is not set.
    /// `store_timeout` is [`Config::store_timeout`].
    ///
    /// # Errors
    ///
    /// The first variable that is malformed.
    pub fn parse(
        get: &dyn Fn(&str) -> Option<String>,
        store_timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let variables = Variables(get);
        let database = variables.optional("events_database").unwrap_or_default();
        let schedule = variables.optional("retry_schedule");
        let schedule = schedule.as_deref().unwrap_or(RetrySchedule::DEFAULT);
        let disable_after = variables.number("disable_after_hours", 120, 0..=8760)?;
        let disable_after = Some(disable_after).filter(|hours| *hours > 0);
        Ok(Self {
            database: DatabaseAddress::parse(&database, store_timeout)
                .map_err(|error| problem("events_database", error))?,
            retry_schedule: RetrySchedule::parse(schedule)
                .map_err(|error| problem("retry_schedule", error))?,
            max_event_bytes: variables.number("max_event_bytes", 262_144, 1024..=1_048_576)?
                as usize,
            retention_days: variables.number("event_retention_days", 30, 1..=3650)? as u32,
            proof_key: variables
                .optional("proof_key")
                .map(|text| ProofSeed::parse(&text))
                .transpose()
                .map_err(|error| problem("proof_key", error))?,
            earlier_proof_keys: match variables.optional("proof_keys_previous") {
                Some(list) => list
                    .split(',')
                    .map(|x| PublishedKey::parse(x.trim()))
                    .collect::<Result<_, _>>()
                    .map_err(|error| problem("proof_keys_previous", error))?,
                None => Vec::new(),
            },
            proof_issuer: variables.optional("proof_issuer"),
            disable_rule: DisableRule(disable_after.map(|hours| HOUR * hours as u32)),
            portal_url: variables
                .optional("portal_url")
                .map(|text| public_url(&text))
                .transpose()
                .map_err(|error| problem("portal_url", error))?,
        })
    }
}

/// Where browsers reach the service: an origin, and a path before ours where a proxy has one.
fn public_url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).ok().filter(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    match url {
        Some(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        None => Err("must be the service's public URL, such as https://webhooks.example.com"),
    }
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};

    use super::*;

    fn parse(name: &str, value: &str) -> Result<EventsConfig, ConfigError> {
        let get = |asked: &str| (asked == name).then(|| value.to_owned());
        EventsConfig::parse(&get, Duration::from_secs(2))
    }

    #[test]
    fn proofs_need_no_variable() {
        let config = parse("", "").unwrap_or_else(|error| panic!("{error}"));
        assert!(config.proof_key.is_none());
        assert_eq!(config.earlier_proof_keys, []);
        assert_eq!(config.proof_issuer, None);
    }

    #[test]
    fn the_portals_address_is_a_url_without_a_query() {
        for (value, expected) in [
            (
                "https://webhooks.example.com",
                Some("https://webhooks.example.com"),
            ),
            (
                "https://example.com/webhooks/",
                Some("https://example.com/webhooks"),
            ),
            ("http://127.0.0.1:3000", Some("http://127.0.0.1:3000")),
            ("webhooks.example.com", None),
            ("ftp://example.com", None),
            ("https://user:sesame@example.com", None),
            ("https://example.com/?a=b", None),
            ("https://example.com/#a", None),
        ] {
            match (parse("portal_url", value), expected) {
                (Ok(config), Some(expected)) => {
                    assert_eq!(config.portal_url.as_deref(), Some(expected));
                }
                (Err(error), None) => {
                    assert_eq!(error.variable, "portal_url");
                    assert!(!error.to_string().contains("sesame"), "{error}");
                }
                (_, expected) => panic!("{value}: {expected:?}"),
            }
        }
    }

    #[test]
    fn a_wrong_key_of_proofs_is_named_and_not_shown() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = Base64::encode_string(&[7; 32]);
        assert!(parse("proof_key", &key).is_ok());
        let list = format!("{x}, {x}");
        let several = parse("proof_keys_previous", &list);
        assert_eq!(several.map(|config| config.earlier_proof_keys.len()), Ok(2));
        let broken = &key[..40];
        for (name, value) in [
            ("proof_key", broken),
            ("proof_key", "sesame"),
            ("proof_keys_previous", &x[1..]),
            ("proof_keys_previous", "sesame"),
        ] {
            let Err(error) = parse(name, value) else {
                panic!("{name} = {value} was accepted");
            };
            assert_eq!(error.variable, name);
            assert!(!error.to_string().contains(value), "{error}");
        }
    }
}
