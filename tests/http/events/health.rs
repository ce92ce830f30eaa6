//! How a webhook is doing, when it is made inactive, and what the operator gets to know of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{completed, event, on_postgres, publish, subscribed, webhook};
use crate::support::contract::{DEPENDENCY_FAILED, FORBIDDEN, NOT_FOUND, UNAUTHORIZED};
use crate::support::faults::Fault;
use crate::support::receiver::answer;
use crate::support::server::{SCHEDULE, dispatching_setup};
use crate::support::tokens::{publisher, support};
use crate::support::{
    Application, Created, PATIENCE, Receiver, Server, dispatching, local_runtime_only, poll,
    postgres_server, unique,
};

on_both_databases! {
    a_webhook_of_which_nothing_is_known_is_idle
    what_became_of_deliveries_and_attempts_is_counted
    one_that_fails_says_since_when_and_when_it_ends
    what_is_switched_off_is_inactive
    one_that_the_service_made_inactive_gets_nothing_until_its_merchant_makes_it_active
    figures_that_cannot_be_read_are_502
}

fn path(application: &Application, created: &Created) -> String {
    format!("{}/health", application.webhook_path(&created.webhook.id))
}

async fn health(api: &Server, application: &Application, created: &Created) -> Value {
    let request = api.by(application, "GET", &path(application, created));
    request.expect(200).await.json()
}

async fn a_webhook_of_which_nothing_is_known_is_idle(api: &Server) {
    let (application, created) = subscribed(api, "https://merchant.example.com/").await;
    let mut health = health(api, &application, &created).await;
    for part in ["deliveries", "attempts"] {
        let since = health[part]["since"].take();
        assert!(since.is_string(), "{part}: {since}");
    }
    let expected = json!({
        "webhookId": created.webhook.id,
        "state": "idle",
        "isActive": true,
        "disabledAt": null,
        "disabledReason": null,
        "failingSince": null,
        "failedAttempts": 0,
        "failedEvents": 0,
        "willBeDisabledAt": null,
        "lastSuccessAt": null,
        "pending": {"count": 0, "oldestDueAt": null},
        "deliveries": {
            "since": null,
            "byStatus": {"pending": 0, "succeeded": 0, "failed": 0, "suppressed": 0, "expired": 0},
        },
        "attempts": {
            "since": null, "total": 0, "succeeded": 0, "failed": 0,
            "byStatusCode": [], "byError": [], "latencyMs": null,
        },
    });
    assert_eq!(health, expected);
}

/// Each event has an attempt that fails before the one that succeeds.
async fn what_became_of_deliveries_and_attempts_is_counted(api: &Server) {
    let (no, ok) = (answer("503 Later", b""), answer("204 Done", b""));
    let receiver = Receiver::answering_in_turn(&[&no, &ok, &no, &ok]);
    let (application, created) = subscribed(api, &receiver.url()).await;
    let mut last = Value::Null;
    for _ in 0..2 {
        let published = publish(api, &application).await;
        last = completed(api, &application, &published["id"]).await;
    }
    let health = health(api, &application, &created).await;
    assert_eq!(health["state"], "healthy", "{health}");
    assert_eq!(health["deliveries"]["byStatus"]["succeeded"], 2);
    let attempts = &health["attempts"];
    assert_eq!(
        (&attempts["total"], &attempts["failed"]),
        (&json!(4), &json!(2))
    );
    let by_status_code = json!([
        {"httpStatusCode": 204, "count": 2},
        {"httpStatusCode": 503, "count": 2},
    ]);
    assert_eq!(attempts["byStatusCode"], by_status_code);
    assert_eq!(
        attempts["byError"],
        json!([{"error": "httpStatus", "count": 2}])
    );
    let latency = |percentile: &str| {
        attempts["latencyMs"][percentile]
            .as_u64()
            .expect("a number")
    };
    assert!(latency("p50") <= latency("p95") && latency("p95") <= latency("p99"));
    let last = &last["deliveries"][0]["lastAttempt"]["startedAt"];
    assert_eq!(&health["lastSuccessAt"], last);
    assert_eq!(health["pending"], json!({"count": 0, "oldestDueAt": null}));
    assert_eq!(health["failingSince"], Value::Null);
}

async fn one_that_fails_says_since_when_and_when_it_ends(api: &Server) {
    let receiver = Receiver::answering("500 No", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    completed(api, &application, &published["id"]).await;
    let exhausted = health(api, &application, &created).await;
    assert_eq!(exhausted["state"], "failing", "{exhausted}");
    assert_eq!(exhausted["failedAttempts"], SCHEDULE.len());
    assert_eq!(exhausted["failedEvents"], 1);
    let moment = |name: &str| {
        let text = exhausted[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name}: {exhausted}"));
        chrono::DateTime::parse_from_rfc3339(text).expect("a time")
    };
    let hours = (moment("willBeDisabledAt") - moment("failingSince")).num_hours();
    assert_eq!(hours, 120);
    assert_eq!(exhausted["deliveries"]["byStatus"]["failed"], 1);

    // What failed at another URL does not count.
    let patch = api.by(
        &application,
        "PATCH",
        &application.webhook_path(&created.webhook.id),
    );
    let other = Receiver::answering("200 OK", b"");
    patch.json(&json!({"url": other.url()})).expect(200).await;
    let changed = health(api, &application, &created).await;
    assert_eq!(changed["state"], "healthy", "{changed}");
    assert_eq!(changed["willBeDisabledAt"], Value::Null);
}

async fn what_is_switched_off_is_inactive(api: &Server) {
    let (application, created) = subscribed(api, "https://merchant.example.com/").await;
    let patch = |path: &str, body: Value| {
        let request = api.by(&application, "PATCH", path);
        request.json(&body).expect(200)
    };
    let webhook = application.webhook_path(&created.webhook.id);
    patch(&webhook, json!({"isActive": false})).await;
    let off = health(api, &application, &created).await;
    assert_eq!(
        (&off["state"], &off["isActive"]),
        (&json!("inactive"), &json!(false))
    );
    assert_eq!(off["disabledReason"], Value::Null);
    patch(&webhook, json!({"isActive": true})).await;
    let whole = format!("/api/v1/applications/{}", application.id);
    patch(&whole, json!({"isEnabled": false})).await;
    let disabled = health(api, &application, &created).await;
    assert_eq!(
        (&disabled["state"], &disabled["isActive"]),
        (&json!("inactive"), &json!(true))
    );
}

/// As the service writes it when nothing has succeeded for five days: that it does so, `dispatch::tests`
/// show.
async fn one_that_the_service_made_inactive_gets_nothing_until_its_merchant_makes_it_active(
    api: &Server,
) {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let webhook = application.webhook_path(&created.webhook.id);
    let read = async || api.by(&application, "GET", &webhook).expect(200).await;
    let before = read().await;
    let at = "2026-11-25T07:00:00.000Z";
    let document = json!({
        "rotations": [],
        "condition": {"disabled": {"at": at, "reason": "failing"}},
    });
    let key = format!("webhook-secrets/{}/{}", application.id, created.webhook.id);
    api.store().set(&key, document.to_string().as_bytes());

    let shown = read().await;
    assert_ne!(shown.header("etag"), before.header("etag"));
    let expected = [json!(false), json!(at), json!("failing")];
    let members = ["isActive", "disabledAt", "disabledReason"];
    assert_eq!(members.map(|name| shown.json()[name].clone()), expected);
    let disabled = health(api, &application, &created).await;
    assert_eq!(disabled["state"], "disabled", "{disabled}");
    assert_eq!(members.map(|name| disabled[name].clone()), expected);
    let published = publish(api, &application).await;
    let suppressed = event(api, &application, &published["id"]).await;
    assert_eq!(suppressed["deliveries"][0]["reason"], "webhookInactive");

    // Who read it before does not make it active by accident.
    let patch = |tag: &str, body: Value| {
        let request = api.by(&application, "PATCH", &webhook);
        request.header("if-match", tag).json(&body)
    };
    let tag =
        |response: &crate::support::Response| response.header("etag").expect("a tag").to_owned();
    let active = json!({"isActive": true});
    patch(&tag(&before), active.clone()).expect(412).await;
    let changed = patch(&tag(&shown), active).expect(200).await.json();
    let expected = [json!(true), Value::Null, Value::Null];
    assert_eq!(members.map(|name| changed[name].clone()), expected);
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    assert_eq!(read["summary"]["succeeded"], 1, "{read}");
    // A rotation keeps what it read.
    let rotate = api.by(&application, "POST", &format!("{webhook}/rotate"));
    let rotated = rotate.json(&json!({})).expect(200).await.json();
    assert_eq!(members.map(|name| rotated[name].clone()), expected);
}

async fn figures_that_cannot_be_read_are_502(api: &Server) {
    local_runtime_only!();
    let (application, created) = subscribed(api, "https://merchant.example.com/").await;
    let path = path(&application, &created);
    for statement in [
        "health-deliveries",
        "health-attempts",
        "health-pending",
        "last-success",
        "failures",
    ] {
        let name = unique("request");
        let fault = Fault::error("sql").on(statement).of(&name).inject(api);
        let request = api.by(&application, "GET", &path);
        let request = request.header("x-local-runtime-request", &name);
        request.expect_error(DEPENDENCY_FAILED).await;
        assert!(fault.hits() > 0, "{statement}");
        fault.end();
    }
    // Whose application it is comes first.
    let other = api.application();
    let name = unique("request");
    let fault = Fault::error("sql").of(&name).inject(api);
    let request = api.by(&other, "GET", &path);
    let request = request.header("x-local-runtime-request", &name);
    request.expect(403).await;
    fault.end();
    health(api, &application, &created).await;
}

#[tokio::test]
async fn health_is_for_the_merchant_and_for_support() {
    let api = dispatching();
    let (application, created) = subscribed(api, "https://merchant.example.com/").await;
    let path = path(&application, &created);
    let get = |token: String| api.request("GET", &path).token(&token);
    get(application.token()).expect(200).await;
    get(support()).expect(200).await;
    get(publisher()).expect_error(FORBIDDEN).await;
    api.request("GET", &path).expect_error(UNAUTHORIZED).await;
    let other = api.application();
    get(other.token()).expect_error(FORBIDDEN).await;
    // Under another application there is no such webhook.
    let elsewhere = format!("{}/health", other.webhook_path(&created.webhook.id));
    let elsewhere = api.by(&other, "GET", &elsewhere);
    elsewhere.expect_error(NOT_FOUND).await;
    for hours in ["0", "721", "-1", "1.5", "", "day"] {
        let request = api.by(&application, "GET", &format!("{path}?hours={hours}"));
        request.expect_bad_fields(&["hours"]).await;
    }
    for hours in ["1", "720"] {
        let request = api.by(&application, "GET", &format!("{path}?hours={hours}"));
        request.expect(200).await;
    }
    let all_wrong = format!("{}/health?hours=x&days=1", application.webhook_path("1"));
    let request = api.by(&application, "GET", &all_wrong);
    request
        .expect_bad_fields(&["days", "webhookId", "hours"])
        .await;
}

/// A server whose operator gets operational events: with SQLite, and on PostgreSQL.
fn operated(application: &str) -> crate::support::Setup {
    dispatching_setup().variable("operator_application", application)
}

#[tokio::test]
async fn operational_events_go_to_the_operators_application_on_sqlite() {
    let operator = Application::new();
    let api = operated(&operator.id).document(&operator.key(), &operator.document());
    operational_events(&api.start(), &operator).await;
}

#[tokio::test]
async fn operational_events_go_to_the_operators_application_on_postgres() {
    let server = postgres_server!();
    let operator = Application::new();
    let api = operated(&operator.id).document(&operator.key(), &operator.document());
    operational_events(&on_postgres(api, server).start(), &operator).await;
}

async fn operational_events(api: &Server, operator: &Application) {
    // Its webhooks can subscribe to them by name, and nobody else's.
    let alarms = Receiver::answering("200 OK", b"");
    let names = ["delivery.exhausted", "webhook.disabled"];
    let create = |application: &Application, events: Value| {
        let body = json!({"url": alarms.url(), "subscribedEvents": events});
        api.by(application, "POST", &application.path()).json(&body)
    };
    let created = create(operator, json!(names)).expect_created().await;
    let merchant = api.application();
    create(&merchant, json!(names))
        .expect_bad_fields(&["subscribedEvents"])
        .await;
    let types = api
        .by(&merchant, "GET", "/api/v1/event-types")
        .expect(200)
        .await;
    assert!(!types.text.contains("webhook.disabled"), "{}", types.text);

    let failing = Receiver::answering("500 No", b"");
    let failing_webhook = webhook(api, &merchant, &failing.url()).await;
    let published = publish(api, &merchant).await;
    completed(api, &merchant, &published["id"]).await;
    poll("the alarm", PATIENCE, || {
        (alarms.received().len() == 1).then_some(())
    })
    .await;
    let alarm = alarms.last();
    assert!(alarm.is_signed_with(&created.webhook.signing_secret));
    let body: Value = serde_json::from_slice(&alarm.body).expect("JSON");
    assert_eq!(body["type"], "delivery.exhausted");
    let expected = json!({
        "applicationId": merchant.id,
        "webhookId": failing_webhook.webhook.id,
        "url": failing.url(),
        "eventId": published["id"],
        "eventType": "session.completed",
        "attemptCount": SCHEDULE.len(),
    });
    assert_eq!(body["data"], expected);
    // An ordinary event of the operator's.
    let id = json!(alarm.header("webhook-id"));
    let read = completed(api, operator, &id).await;
    assert_eq!(read["data"], expected);

    // At most one an hour for a webhook, and none about the operator's own.
    let quiet = Receiver::answering("500 No", b"");
    webhook(api, operator, &quiet.url()).await;
    let both = [&merchant, operator];
    for application in both {
        let published = publish(api, application).await;
        completed(api, application, &published["id"]).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(alarms.received().len(), 1);
    // One line of the log each, without a URL or what was sent.
    let output = api.output();
    let lines = output
        .lines()
        .filter(|line| line.contains("delivery.exhausted"));
    let of_merchant: Vec<&str> = lines.filter(|line| line.contains(&merchant.id)).collect();
    let [line] = of_merchant[..] else {
        panic!("{of_merchant:?}");
    };
    let line: Value = serde_json::from_str(&line[line.find('{').expect("JSON")..]).expect("JSON");
    assert_eq!(line["event"], "delivery.exhausted");
    assert_eq!(line["level"], "warn");
    assert_eq!(line["webhook"], json!(failing_webhook.webhook.id));
    assert!(!output.contains(&failing.url()));
}
