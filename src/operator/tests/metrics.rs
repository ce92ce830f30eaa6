//! Figures.

use super::*;
use crate::events::memory::Memory as Events;
use crate::operator::figures;
use crate::runtime::simulation;
use crate::store::memory::{Fate, Outcome};

#[test]
fn figures_are_prometheus_text_and_documents_are_counted_only_when_asked_for() {
    let memory = sound_store();
    memory.put("webhook/misspelled", "");
    let store = memory.scheduled(vec![Fate::after(24)]);
    let events = Events::default().scheduled(Vec::new());
    let figures = |query: &'static str| {
        simulation::run(async { text(figures(request(&store, query), &events).await).await })
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
    assert!(plain.starts_with(&expected), "{plain}");
    assert!(
        plain.contains("application_webhooks_database_up 1\n"),
        "{plain}"
    );
    // Prometheus' format: each name has its help and its type, once and before its values.
    let mut described = BTreeSet::new();
    let mut lines = plain.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line
            .strip_prefix("# HELP ")
            .unwrap_or_else(|| panic!("{line}"));
        let (name, help) = help.split_once(' ').expect("a help");
        assert!(help.ends_with('.'), "{line}");
        assert!(described.insert(name), "{line}");
        let kind = format!("# TYPE {name} gauge");
        assert_eq!(lines.next(), Some(kind.as_str()));
        while let Some(value) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = value.rsplit_once(' ').expect("a value");
            assert_eq!(series.split('{').next(), Some(name));
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{value}");
        }
    }
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
    let wrong = super::super::figures(request(&store, "documents=yes"), &events);
    let refused = simulation::run(wrong).err();
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
    let events = Events::default().scheduled(Vec::new());
    let read = figures(request(&store, ""), &events);
    let text = simulation::run(async { text(read.await).await });
    assert!(text.contains("application_webhooks_store_up 0\n"), "{text}");
}

/// Deliveries and attempts that the database has.
#[test]
fn figures_of_events_are_the_databases() {
    let memory = Events::default();
    let events = memory.scheduled(Vec::new());
    let store = Memory::default().scheduled(Vec::new());
    let text = simulation::run(async {
        let now = Timestamp::now();
        crate::events::database::Database::prepare(&events)
            .await
            .expect("the tables");
        let id = crate::model::ids::EventId::generate(now);
        let (at, due) = (now.as_millis(), now.as_millis() - 2_500);
        for (webhook, status, retry, next) in [
            ("a", "pending", 0, due.to_string()),
            ("b", "pending", 1, (at + 9).to_string()),
            ("c", "succeeded", 1, "NULL".to_owned()),
            ("d", "expired", 1, "NULL".to_owned()),
        ] {
            memory.rows(&format!(
                "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, attempts,
                   step, retry, give_up_at, created_at, next_at)
                 VALUES ('{id}', '{webhook}', 'shop', 'a', '{status}', 1, 1, {retry}, 0, {at}, {next})"
            ));
        }
        for (webhook, error) in [("b", "'timeout'"), ("c", "NULL")] {
            memory.rows(&format!(
                "INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms,
                   url, secret_fingerprints, response_truncated, error)
                 VALUES ('{id}', '{webhook}', 1, 'schedule', {at} + 250, 1, '', '[]', 0, {error})"
            ));
        }
        text(figures(request(&store, ""), &events).await).await
    });
    for line in [
        r#"deliveries_pending{attempt="first"} 1"#,
        r#"deliveries_pending{attempt="retry"} 1"#,
        r#"deliveries_due{attempt="first"} 1"#,
        r#"deliveries_due{attempt="retry"} 0"#,
        r#"recent_deliveries{status="pending"} 2"#,
        r#"recent_deliveries{status="succeeded"} 1"#,
        r#"recent_deliveries{status="failed"} 0"#,
        r#"recent_deliveries{status="expired"} 1"#,
        r#"recent_attempts{result="succeeded"} 1"#,
        r#"recent_attempts{result="timeout"} 1"#,
        r#"recent_attempts{result="dns"} 0"#,
        r#"first_attempt_lag_seconds{statistic="mean"} 0.25"#,
    ] {
        let line = format!("application_webhooks_{line}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    let due = text
        .lines()
        .find_map(|line| line.strip_prefix("application_webhooks_oldest_due_seconds "));
    let due: f64 = due.and_then(|due| due.parse().ok()).expect("a figure");
    assert!((2.5..4.0).contains(&due), "{due}");
}

#[test]
fn a_database_that_is_away_is_a_figure() {
    let store = Memory::default().scheduled(Vec::new());
    let events = Events::default().process(|_| Fate {
        delay: 0,
        outcome: Outcome::FailsBefore,
    });
    let text = simulation::run(async { text(figures(request(&store, ""), &events).await).await });
    assert!(
        text.contains("application_webhooks_database_up 0\n"),
        "{text}"
    );
    assert!(text.contains("application_webhooks_store_up 1\n"), "{text}");
    assert!(!text.contains("deliveries"), "{text}");
}
