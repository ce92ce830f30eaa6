//! Figures in Prometheus' text format: what the store and the database can tell exactly and at once.
//!
//! Requests by route and status are not among them. They would be those of the one instance that
//! answers, which lives for a hundred requests: `docs/operations.md` says who counts them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::access::Access;
use crate::config::Config;
use crate::events::database::Database;
use crate::fault::Fault;
use crate::model::delivery::{AttemptError, DeliveryStatus, Summary};
use crate::model::operational::OperationalType;
use crate::model::recovery::RecoveryStatus;
use crate::model::time::Timestamp;
use crate::runtime::Instant;
use crate::store::jwks_cache::JwksCache;
use crate::store::keys::Named;

/// Prometheus' text format (its documentation, "Exposition formats").
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The figures. `documents`: also how many documents there are.
///
/// # Errors
///
/// The store's failure to list its keys. One to answer at all is a figure.
pub async fn text(
    access: &Access,
    config: &Config,
    database: &dyn Database,
    documents: bool,
) -> Result<String, Fault> {
    let mut metrics = Metrics::default();
    metrics.gauge("build_info", "The version of the component that answers.");
    metrics.labelled("build_info", ("version", env!("CARGO_PKG_VERSION")), 1.0);

    let begun = Instant::now();
    let probe = access.deadline.renew();
    let answered = probe.run("probing", access.store.exists("readyz")).await;
    let took = begun.elapsed();
    metrics.gauge(
        "store_up",
        "Whether the store answered within store_timeout_ms.",
    );
    metrics.value("store_up", f64::from(u8::from(answered.is_ok())));
    metrics.gauge(
        "store_answer_seconds",
        "How long the store took to answer one read, or to fail.",
    );
    metrics.value("store_answer_seconds", took.as_secs_f64());

    if let Some(source) = &config.jwks_source {
        let cache = JwksCache::of(access.store.clone(), source.url());
        let cached = cache.set(&config.secrets_key);
        let cached = access.deadline.renew().run("reading keys", cached).await;
        if let Ok(Some(cached)) = cached {
            metrics.gauge(
                "jwks_age_seconds",
                "How long ago the keys that the store caches were fetched from jwks_url.",
            );
            let age = cached.fetched_at.distance(Timestamp::now());
            metrics.value("jwks_age_seconds", age.as_secs_f64());
        }
    }

    metrics.events(config, database).await;

    if documents {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for key in access.keys().await? {
            let kind = Named::parse(&key).map_or("other", |named| named.kind());
            *counts.entry(kind).or_default() += 1;
        }
        metrics.gauge(
            "documents",
            "How many documents the store has, by the kind of their key.",
        );
        for (kind, count) in counts {
            metrics.labelled("documents", ("kind", kind), count as f64);
        }
    }
    Ok(metrics.0)
}

#[derive(Default)]
struct Metrics(String);

impl Metrics {
    fn gauge(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP application_webhooks_{name} {help}");
        let _ = writeln!(self.0, "# TYPE application_webhooks_{name} gauge");
    }

    /// What the database of events knows.
    async fn events(&mut self, config: &Config, database: &dyn Database) {
        let begun = Instant::now();
        let operator = config.operator_application.as_ref();
        let gauges = database.gauges(Timestamp::now(), operator).await;
        let took = begun.elapsed();
        self.gauge(
            "database_up",
            "Whether the events' database returned the figures in time.",
        );
        self.value("database_up", f64::from(u8::from(gauges.is_ok())));
        self.gauge(
            "database_answer_seconds",
            "How long the events' database took to return them, or to fail.",
        );
        self.value("database_answer_seconds", took.as_secs_f64());
        let Ok(gauges) = gauges else {
            return;
        };
        self.gauge(
            "deliveries_pending",
            "Deliveries that wait for their first attempt or another one, counted up to 100000.",
        );
        let waiting = [
            ("first", gauges.pending_first),
            ("retry", gauges.pending_retries),
        ];
        for (attempt, count) in waiting {
            self.labelled("deliveries_pending", ("attempt", attempt), count.into());
        }
        self.gauge(
            "deliveries_due",
            "Those whose time has come and that no instance has taken, counted up to 100000.",
        );
        for (attempt, count) in [("first", gauges.due_first), ("retry", gauges.due_retries)] {
            self.labelled("deliveries_due", ("attempt", attempt), count.into());
        }
        self.gauge(
            "oldest_due_seconds",
            "For how long the oldest of those has been due; 0 when there is none.",
        );
        self.value("oldest_due_seconds", gauges.oldest_due.as_secs_f64());
        self.gauge(
            "recent_deliveries",
            "Deliveries of events published in the last 5 minutes by status, the newest 20000 at most.",
        );
        let Summary {
            pending,
            succeeded,
            failed,
            suppressed,
            expired,
        } = gauges.recent;
        for (status, count) in [
            (DeliveryStatus::Pending, pending),
            (DeliveryStatus::Succeeded, succeeded),
            (DeliveryStatus::Failed, failed),
            (DeliveryStatus::Suppressed, suppressed),
            (DeliveryStatus::Expired, expired),
        ] {
            self.labelled(
                "recent_deliveries",
                ("status", status.as_str()),
                count.into(),
            );
        }
        self.gauge(
            "recent_attempts",
            "Attempts for those events by what came of them, the newest 20000 at most.",
        );
        let results = AttemptError::ALL.iter().map(|error| Some(*error));
        for result in std::iter::once(None).chain(results) {
            let mut counts = gauges.recent_attempts.iter();
            let count = counts.find(|(error, _)| *error == result);
            let count = count.map_or(0, |(_, count)| *count);
            let name = result.map_or("succeeded", AttemptError::as_str);
            self.labelled("recent_attempts", ("result", name), count.into());
        }
        if let Some(lag) = gauges.first_attempt_lag {
            self.gauge(
                "first_attempt_lag_seconds",
                "How long after their event those of them came that were scheduled first.",
            );
            for (statistic, lag) in [("mean", lag.mean), ("max", lag.max)] {
                let label = ("statistic", statistic);
                self.labelled("first_attempt_lag_seconds", label, lag.as_secs_f64());
            }
        }
        self.gauge(
            "recoveries",
            "Recoveries that look up what they take, and those that queue it, counted up to 100000.",
        );
        for (status, count) in [
            (RecoveryStatus::Matching, gauges.recoveries_matching),
            (RecoveryStatus::Running, gauges.recoveries_running),
        ] {
            self.labelled("recoveries", ("status", status.as_str()), count.into());
        }
        if let Some(counts) = gauges.operational {
            self.gauge(
                "operational_events",
                "What happened to merchants' webhooks in the last 24 hours, counted up to 100000.",
            );
            for (kind, count) in OperationalType::ALL.iter().zip(counts) {
                self.labelled("operational_events", ("type", kind.as_str()), count.into());
            }
        }
    }

    fn value(&mut self, name: &str, value: f64) {
        let _ = writeln!(self.0, "application_webhooks_{name} {value}");
    }

    /// The labels are ours: nothing in them needs an escape.
    fn labelled(&mut self, name: &str, (label, text): (&str, &str), value: f64) {
        let _ = writeln!(
            self.0,
            "application_webhooks_{name}{{{label}=\"{text}\"}} {value}"
        );
    }
}
