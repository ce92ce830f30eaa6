//! Figures.

use super::*;
use crate::operator::metrics;
use crate::runtime::simulation;
use crate::store::memory::{Fate, Outcome};

#[test]
fn figures_are_prometheus_text_and_documents_are_counted_only_when_asked_for() {
    let memory = sound_store();
    memory.put("webhook/misspelled", "");
    let store = memory.scheduled(vec![Fate::after(24)]);
    let figures = |query: &'static str| {
        simulation::run(async { text(metrics(request(&store, query)).await).await })
    };
    let plain = figures("");
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "# HELP application_webhooks_build_info The version of the component that answers.\n\
         # TYPE application_webhooks_build_info gauge\n\
         application_webhooks_build_info{{version=\"{version}\"}} 1\n\
         # HELP application_webhooks_store_up Whether the store answered within store_timeout_ms.\n\
         # TYPE application_webhooks_store_up gauge\n\
         application_webhooks_store_up 1\n\
         # HELP application_webhooks_store_answer_seconds How long the store took to answer one \
         read, or to fail.\n\
         # TYPE application_webhooks_store_answer_seconds gauge\n\
         application_webhooks_store_answer_seconds 0.025\n"
    );
    assert_eq!(plain, expected);
    let counted = figures("documents=true");
    for (kind, count) in [
        ("application", 1),
        ("applications", 1),
        ("webhook", 3),
        ("webhooks", 1),
        ("misspelled", 1),
        ("other", 1),
    ] {
        let line = format!("application_webhooks_documents{{kind=\"{kind}\"}} {count}\n");
        assert!(counted.contains(&line), "{counted}");
    }
    let refused = simulation::run(metrics(request(&store, "documents=yes"))).err();
    assert_eq!(
        refused,
        Some(Error::invalid("documents", "Must be true or false"))
    );
}

#[test]
fn a_store_that_is_away_is_a_figure() {
    let memory = Memory::default();
    let store = memory.process(|_, _| Fate {
        delay: 0,
        outcome: Outcome::FailsBefore,
    });
    let text = simulation::run(async { text(metrics(request(&store, "")).await).await });
    assert!(text.contains("application_webhooks_store_up 0\n"), "{text}");
}
