//! `GET /metrics` of events, and the files in `deploy/` that are made of its figures.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{completed, on_postgres, publish, subscribed};
use crate::support::faults::Fault;
use crate::support::provider::{Answer, FakeProvider};
use crate::support::server::dispatching_setup;
use crate::support::tokens::{Signer, key_set};
use crate::support::{PATIENCE, Receiver, Server, Setup, local_runtime_only};

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

async fn figures(api: &Server) -> String {
    let request = api.request("GET", "/metrics").token(TOKEN);
    let response = request.send_unchecked().await.expect("a response");
    assert_eq!(response.status, 200, "{}", response.text);
    response.text
}

/// A series' value.
fn value(figures: &str, series: &str) -> Option<f64> {
    let series = format!("application_webhooks_{series} ");
    let mut lines = figures.lines();
    let value = lines.find_map(|line| line.strip_prefix(&series))?;
    Some(value.parse().expect("a number"))
}

/// The names and the label matchers `name="value"` in a text, such as an expression's.
fn named(text: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let names = text.split(|char: char| !is_part(char));
    let names = names.filter(|name| name.starts_with("application_webhooks_"));
    let matchers = text.split(['{', '}', ',', '(', ')', ' ']);
    let matchers = matchers.filter(|matcher| matcher.contains("=\"") && !matcher.contains('~'));
    (names.collect(), matchers.collect())
}

async fn everything_that_happens_is_a_figure(setup: Setup) {
    let provider = FakeProvider::start(Answer::Keys(key_set(&["es256"])));
    let setup = setup
        .jwks_url(&provider.url())
        .variable("jwks", &key_set(&["hs256"]));
    let setup = setup.variable("operator_application", "platform");
    let api = setup.variable("operator_token", TOKEN).start();
    let before = figures(&api).await;
    assert_eq!(value(&before, "database_up"), Some(1.0), "{before}");
    assert_eq!(value(&before, "oldest_due_seconds"), Some(0.0));
    assert_eq!(
        value(&before, r#"first_attempt_lag_seconds{statistic="max"}"#),
        None
    );

    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(&api, &receiver.url()).await;
    // The provider's keys are fetched when a token asks for one.
    let token = application.claims().sign(&Signer::of("es256"));
    let list = api.request("GET", &application.path()).token(&token);
    list.expect(200).await;
    let published = publish(&api, &application).await;
    completed(&api, &application, &published["id"]).await;
    let closed = crate::support::receiver::closed_port();
    let (failing, _) = subscribed(&api, &format!("http://{closed}/")).await;
    publish(&api, &failing).await;
    let since = std::time::Instant::now();
    let after = loop {
        let found = figures(&api).await;
        let has_failed = value(&found, r#"recent_attempts{result="connect"}"#) > Some(0.0);
        // Keys are cached behind the request that fetched them.
        if has_failed && value(&found, "jwks_age_seconds").is_some() {
            break found;
        }
        assert!(since.elapsed() < PATIENCE, "{found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        value(&after, r#"recent_attempts{result="succeeded"}"#),
        Some(1.0)
    );
    assert_eq!(
        value(&after, r#"recent_deliveries{status="succeeded"}"#),
        Some(1.0)
    );
    let disabled = r#"operational_events{type="webhook.disabled"}"#;
    assert_eq!(value(&after, disabled), Some(0.0));
    assert_eq!(value(&after, r#"recoveries{status="running"}"#), Some(0.0));
    let lag = value(&after, r#"first_attempt_lag_seconds{statistic="max"}"#);
    assert!(lag.is_some_and(|lag| lag < 60.0), "{lag:?}");

    // What alerts and the dashboard ask for is there.
    let (exported, labels) = named(&after);
    for (file, text) in [
        (
            "prometheus-rules.yaml",
            include_str!("../../../deploy/prometheus-rules.yaml"),
        ),
        (
            "grafana-dashboard.json",
            &include_str!("../../../deploy/grafana-dashboard.json").replace("\\\"", "\""),
        ),
    ] {
        let (names, matchers) = named(text);
        let unknown: Vec<_> = names.difference(&exported).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        assert!(names.len() > 5, "{file}: {names:?}");
        for matcher in matchers {
            let matcher = matcher.replace("!=", "=");
            assert!(labels.contains(matcher.as_str()), "{file}: {matcher}");
        }
    }
}

#[tokio::test]
async fn everything_that_happens_is_a_figure_on_sqlite() {
    everything_that_happens_is_a_figure(dispatching_setup()).await;
}

#[tokio::test]
async fn everything_that_happens_is_a_figure_on_postgres() {
    let server = crate::support::postgres_server!();
    everything_that_happens_is_a_figure(on_postgres(dispatching_setup(), server)).await;
}

/// Who looks at figures looks most of all when something is wrong.
#[tokio::test]
async fn a_database_that_is_away_is_a_figure() {
    local_runtime_only!();
    let api = dispatching_setup()
        .variable("operator_token", TOKEN)
        .start();
    let fault = Fault::error("sql").on("recent-attempts").inject(&api);
    let found = figures(&api).await;
    assert_eq!(value(&found, "database_up"), Some(0.0), "{found}");
    assert_eq!(value(&found, "store_up"), Some(1.0), "{found}");
    assert_eq!(value(&found, "oldest_due_seconds"), None);
    fault.end();
    assert_eq!(value(&figures(&api).await, "database_up"), Some(1.0));
}
