//! The variables of events, which only the component that has them reads.

use std::sync::OnceLock;
use std::time::Duration;

use super::Config;
use super::variables::{ConfigError, Variables, problem, read};
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::database_address::DatabaseAddress;
use crate::model::retry_schedule::RetrySchedule;

/// The names of the variables, as in `spin.toml`.
const VARIABLES: [&str; 4] = [
    "events_database",
    "retry_schedule",
    "max_event_bytes",
    "event_retention_days",
];

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
        Ok(Self {
            database: DatabaseAddress::parse(&database, store_timeout)
                .map_err(|error| problem("events_database", error))?,
            retry_schedule: RetrySchedule::parse(schedule)
                .map_err(|error| problem("retry_schedule", error))?,
            max_event_bytes: variables.number("max_event_bytes", 262_144, 1024..=1_048_576)?
                as usize,
            retention_days: variables.number("event_retention_days", 30, 1..=3650)? as u32,
        })
    }
}
