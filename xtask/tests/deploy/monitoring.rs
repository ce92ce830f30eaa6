//! The alert rules and the dashboard: what Prometheus and Grafana would refuse. That every figure in them
//! is one of the service's, the HTTP tests find out (`events::metrics`).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::read;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    r#for: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    severity: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
}

/// An expression that has a figure of ours, and closes what it opens.
fn check(what: &str, expression: &str) {
    assert!(expression.contains("application_webhooks_"), "{what}");
    let mut open = Vec::new();
    for char in expression.chars() {
        match char {
            '(' | '{' => open.push(char),
            ')' => assert_eq!(open.pop(), Some('('), "{what}: {expression}"),
            '}' => assert_eq!(open.pop(), Some('{'), "{what}: {expression}"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{what}: {expression}");
    assert_eq!(
        expression.matches('"').count() % 2,
        0,
        "{what}: {expression}"
    );
}

#[test]
fn every_alert_has_what_prometheus_reads_and_an_entry_in_the_documentation() {
    let rules: Rules = serde_saphyr::from_str(&read("deploy/prometheus-rules.yaml"))
        .unwrap_or_else(|e| panic!("{e}"));
    let documentation = read("docs/operations.md");
    let mut names = BTreeSet::new();
    for group in rules.groups {
        assert!(!group.name.is_empty());
        for rule in group.rules {
            let what = &rule.alert;
            assert!(names.insert(what.clone()), "{what} twice");
            check(what, &rule.expr);
            let minutes = rule
                .r#for
                .strip_suffix('m')
                .and_then(|text| text.parse::<u32>().ok());
            assert!(minutes.is_some_and(|minutes| minutes > 0), "{what}");
            let severity = rule.labels.severity.as_str();
            assert!(["critical", "warning"].contains(&severity), "{what}");
            assert!(rule.annotations.summary.ends_with('.'), "{what}");
            assert!(documentation.contains(&format!("`{what}`")), "{what}");
        }
    }
    assert!(names.len() >= 8);
}

#[test]
fn every_panel_of_the_dashboard_asks_for_a_figure() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json"))
        .unwrap_or_else(|e| panic!("{e}"));
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!(
        (&variable["name"], &variable["type"]),
        (&"datasource".into(), &"datasource".into())
    );
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut places = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(ids.insert(panel["id"].as_u64()), "{title}");
        let place = &panel["gridPos"];
        let number = |name: &str| {
            place[name]
                .as_u64()
                .unwrap_or_else(|| panic!("{title}: {name}"))
        };
        assert!(
            number("x") + number("w") <= 24 && number("h") > 0,
            "{title}"
        );
        assert!(places.insert((number("x"), number("y"))), "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            check(title, target["expr"].as_str().expect("an expression"));
        }
    }
    assert!(panels.len() >= 8);
}
