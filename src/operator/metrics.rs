//! Figures in Prometheus' text format: what the store can tell exactly and at once.
//!
//! Requests by route and status are not among them. They would be those of the one instance that
//! answers, which lives for a hundred requests: `docs/operations.md` says who counts them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::access::Access;
use crate::config::Config;
use crate::fault::Fault;
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
pub async fn text(access: &Access, config: &Config, documents: bool) -> Result<String, Fault> {
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
