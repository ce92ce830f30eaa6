//! What is found when a delivery is due, hours and days after its event: the default schedule, on servers
//! whose clock the test moves.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Application, Created, event, event_in_time, publish, subscribed, time};
use crate::support::receiver::answer;
use crate::support::{Receiver, Server, Setup, local_runtime_only};

on_servers_of_their_own! {
    the_default_schedule_takes_three_days_and_ends
    a_410_before_and_after_five_minutes_is_an_endpoint_that_is_gone
    a_410_once_is_a_failure_like_others
    steps_pass_while_the_webhook_is_inactive_and_in_the_end_the_delivery_is_suppressed
    steps_pass_while_the_application_is_disabled_and_in_the_end_the_delivery_is_suppressed
    a_webhook_that_is_active_again_gets_what_is_due
    a_delivery_ends_that_is_due_after_its_webhook_was_deleted
    a_delivery_expires_that_is_due_after_its_time
    retry_after_is_a_date_or_seconds_and_a_day_at_most
    after_five_days_without_a_success_a_webhook_is_inactive_until_its_merchant_makes_it_active
}

/// The specification's pauses before the attempts, in seconds.
const DEFAULT_SCHEDULE: [i64; 10] = [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400];

/// How long an attempt that is due may take to come: the server is probed every second.
const SOON: Duration = Duration::from_secs(3);

/// A server with the default schedule.
fn start(setup: &dyn Fn() -> Setup) -> Server {
    setup().without("retry_schedule").start()
}

fn is_pending(delivery: &Value) -> bool {
    delivery["status"] == "pending"
}

/// The event as soon as its delivery has so many attempts that are recorded.
async fn attempted(api: &Server, application: &Application, id: &Value, count: u64) -> Value {
    event_in_time(api, application, id, |delivery| {
        delivery["attemptCount"] == json!(count)
            && delivery["lastAttempt"]["number"] == json!(count)
    })
    .await
}

/// The event as soon as its delivery is not pending any more.
async fn ended(api: &Server, application: &Application, id: &Value) -> Value {
    event_in_time(api, application, id, |delivery| !is_pending(delivery)).await
}

fn outcome(event: &Value) -> [&Value; 2] {
    let delivery = &event["deliveries"][0];
    [&delivery["status"], &delivery["reason"]]
}

async fn change(api: &Server, application: &Application, path: &str, change: Value) {
    let request = api.by(application, "PATCH", path);
    request.json(&change).expect(200).await;
}

/// Whether the webhook is active, and why it is not.
async fn activity(api: &Server, application: &Application, created: &Created) -> (Value, Value) {
    let id = &created.webhook.id;
    let path = application.webhook_path(id);
    let webhook = api.by(application, "GET", &path).expect(200).await.json();
    let reason = webhook["disabledReason"].clone();
    (webhook["isActive"].clone(), reason)
}

async fn the_default_schedule_takes_three_days_and_ends(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let api = start(setup);
    let receiver = Receiver::answering("500 No", b"");
    let (application, _) = subscribed(&api, &receiver.url()).await;
    let published = publish(&api, &application).await;
    let id = &published["id"];
    for (taken, pause) in (1..).zip(&DEFAULT_SCHEDULE[1..]) {
        let read = attempted(&api, &application, id, taken).await;
        let delivery = &read["deliveries"][0];
        let attempt = &delivery["lastAttempt"];
        let ended = time(&attempt["startedAt"])
            + TimeDelta::milliseconds(attempt["durationMs"].as_i64().expect("a duration"));
        let waits = time(&delivery["nextAttemptAt"]) - ended;
        let pause = TimeDelta::seconds(*pause);
        let jitter = (pause / 10).min(TimeDelta::minutes(15));
        // The attempt is over a little later than its answer.
        let latest = pause + jitter + TimeDelta::milliseconds(500);
        assert!(pause <= waits && waits <= latest, "{taken}: {waits}");
        assert_eq!(attempt["nextAttemptAt"], delivery["nextAttemptAt"]);
        if taken == 4 {
            // Two hours later, and not a moment earlier.
            api.sleep_until(time(&delivery["nextAttemptAt"]) - TimeDelta::seconds(5));
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(receiver.received().len(), 4);
        }
    }
    let read = ended(&api, &application, id).await;
    assert_eq!(outcome(&read), ["failed", "exhausted"], "{read:#}");
    assert_eq!(receiver.received().len(), DEFAULT_SCHEDULE.len());
    let took = time(&read["deliveries"][0]["completedAt"]) - time(&published["createdAt"]);
    let hours = took.num_minutes() as f64 / 60.0;
    assert!((75.5..78.0).contains(&hours), "{hours}");
}

async fn a_410_before_and_after_five_minutes_is_an_endpoint_that_is_gone(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    let api = start(setup);
    let receiver = Receiver::answering("410 Gone", b"");
    let (application, created) = subscribed(&api, &receiver.url()).await;
    let published = publish(&api, &application).await;
    // After five seconds it may be a deploy.
    let read = attempted(&api, &application, &published["id"], 2).await;
    assert_eq!(
        outcome(&read),
        [&json!("pending"), &Value::Null],
        "{read:#}"
    );
    let active = (json!(true), Value::Null);
    assert_eq!(activity(&api, &application, &created).await, active);
    let read = ended(&api, &application, &published["id"]).await;
    assert_eq!(outcome(&read), ["failed", "gone"], "{read:#}");
    assert_eq!(receiver.received().len(), 3);
    let gone = (json!(false), json!("gone"));
    assert_eq!(activity(&api, &application, &created).await, gone);
    // Nothing more is sent, and nothing is dropped silently.
    let later = publish(&api, &application).await;
    let read = event(&api, &application, &later["id"]).await;
    assert_eq!(outcome(&read), ["suppressed", "webhookInactive"]);
    assert_eq!(receiver.received().len(), 3);
}

async fn a_410_once_is_a_failure_like_others(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let api = start(setup);
    let (gone, no, ok) = (
        answer("410 Gone", b""),
        answer("500 No", b""),
        answer("200 OK", b""),
    );
    let receiver = Receiver::answering_in_turn(&[&gone, &no, &no, &ok]);
    let (application, created) = subscribed(&api, &receiver.url()).await;
    let published = publish(&api, &application).await;
    let read = ended(&api, &application, &published["id"]).await;
    assert_eq!(outcome(&read), [&json!("succeeded"), &Value::Null]);
    assert_eq!(read["deliveries"][0]["attemptCount"], 4);
    let active = (json!(true), Value::Null);
    assert_eq!(activity(&api, &application, &created).await, active);
}

/// Takes the delivery to its end while nobody is to get it, and back to the schedule's end it is.
async fn suppressed_by(
    api: &Server,
    application: &Application,
    id: &Value,
    receiver: &Receiver,
) -> Value {
    let read = ended(api, application, id).await;
    let delivery = &read["deliveries"][0];
    assert_eq!(delivery["attemptCount"], 1, "{read:#}");
    assert_eq!(receiver.received().len(), 1);
    let late = time(&delivery["completedAt"]) - time(&delivery["giveUpAt"]);
    let soon = TimeDelta::from_std(SOON + Duration::from_secs(3)).expect("seconds");
    assert!(TimeDelta::zero() <= late && late < soon, "{read:#}");
    read
}

async fn steps_pass_while_the_webhook_is_inactive_and_in_the_end_the_delivery_is_suppressed(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    let api = start(setup);
    let receiver = Receiver::answering("500 No", b"");
    let (application, created) = subscribed(&api, &receiver.url()).await;
    let published = publish(&api, &application).await;
    attempted(&api, &application, &published["id"], 1).await;
    let path = application.webhook_path(&created.webhook.id);
    change(&api, &application, &path, json!({"isActive": false})).await;
    let read = suppressed_by(&api, &application, &published["id"], &receiver).await;
    assert_eq!(outcome(&read), ["suppressed", "webhookInactive"]);
}

async fn steps_pass_while_the_application_is_disabled_and_in_the_end_the_delivery_is_suppressed(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    let api = start(setup);
    let receiver = Receiver::answering("500 No", b"");
    let (application, _) = subscribed(&api, &receiver.url()).await;
    let published = publish(&api, &application).await;
    attempted(&api, &application, &published["id"], 1).await;
    let path = format!("/api/v1/applications/{}", application.id);
    change(&api, &application, &path, json!({"isEnabled": false})).await;
    let read = suppressed_by(&api, &application, &published["id"], &receiver).await;
    assert_eq!(outcome(&read), ["suppressed", "applicationDisabled"]);
}

async fn a_webhook_that_is_active_again_gets_what_is_due(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let api = start(setup);
    let (no, ok) = (answer("500 No", b""), answer("200 OK", b""));
    let receiver = Receiver::answering_in_turn(&[&no, &ok]);
    let (application, created) = subscribed(&api, &receiver.url()).await;
    let published = publish(&api, &application).await;
    let read = attempted(&api, &application, &published["id"], 1).await;
    let path = application.webhook_path(&created.webhook.id);
    change(&api, &application, &path, json!({"isActive": false})).await;
    let due = read["deliveries"][0]["nextAttemptAt"].clone();
    let read = event_in_time(&api, &application, &published["id"], |delivery| {
        delivery["nextAttemptAt"].is_string() && delivery["nextAttemptAt"] != due
    })
    .await;
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(
        outcome(&read),
        [&json!("pending"), &Value::Null],
        "{read:#}"
    );
    change(&api, &application, &path, json!({"isActive": true})).await;
    let read = ended(&api, &application, &published["id"]).await;
    assert_eq!(outcome(&read), [&json!("succeeded"), &Value::Null]);
    assert_eq!(receiver.received().len(), 2);
}

async fn a_delivery_ends_that_is_due_after_its_webhook_was_deleted(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let api = start(setup);
    let receiver = Receiver::answering("500 No", b"");
    let (application, created) = subscribed(&api, &receiver.url()).await;
    let published = publish(&api, &application).await;
    attempted(&api, &application, &published["id"], 2).await;
    let path = application.webhook_path(&created.webhook.id);
    api.by(&application, "DELETE", &path).expect(204).await;
    let read = ended(&api, &application, &published["id"]).await;
    assert_eq!(outcome(&read), ["suppressed", "webhookDeleted"]);
    assert_eq!(receiver.received().len(), 2);
}

async fn a_delivery_expires_that_is_due_after_its_time(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let api = start(setup);
    let receiver = Receiver::answering("500 No", b"");
    let (application, _) = subscribed(&api, &receiver.url()).await;
    let until = Utc::now() + TimeDelta::minutes(30);
    let until = until.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let body = json!({"type": "session.completed", "data": {}, "deliverBefore": until});
    let request = api.publish(&application).json(&body);
    let published = request.expect(202).await.json();
    let read = ended(&api, &application, &published["id"]).await;
    // At once, after 5 s and 300 s; the next one would be too late, and that is known at once.
    assert_eq!(outcome(&read), [&json!("expired"), &Value::Null]);
    assert_eq!(receiver.received().len(), 3);

    // One that waits longer than it thought: the endpoint asked for it.
    let wait = b"HTTP/1.1 503 Wait\r\nretry-after: 1200\r\ncontent-length: 0\r\n\r\n";
    let receiver = Receiver::sending(wait.to_vec());
    let (application, _) = subscribed(&api, &receiver.url()).await;
    let until =
        Utc::now() + TimeDelta::from_std(api.ahead()).expect("time") + TimeDelta::minutes(30);
    let until = until.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let body = json!({"type": "session.completed", "data": {}, "deliverBefore": until});
    let request = api.publish(&application).json(&body);
    let published = request.expect(202).await.json();
    attempted(&api, &application, &published["id"], 1).await;
    // Nobody asks the server for an hour, as if all processes were away.
    api.sleep(Duration::from_secs(3600));
    let read = ended(&api, &application, &published["id"]).await;
    assert_eq!(outcome(&read), [&json!("expired"), &Value::Null]);
    assert_eq!(receiver.received().len(), 1, "no request after its time");
}

async fn retry_after_is_a_date_or_seconds_and_a_day_at_most(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let api = start(setup);
    let day = TimeDelta::days(1);
    let date = |ahead: TimeDelta| {
        let date: chrono::DateTime<Utc> = Utc::now() + ahead;
        date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let hours = TimeDelta::hours;
    let pause = (TimeDelta::seconds(5), TimeDelta::milliseconds(5500));
    let exactly = |pause: TimeDelta| (pause, pause);
    for (retry_after, (least, most)) in [
        ("7200".to_owned(), exactly(hours(2))),
        (
            date(hours(3)),
            (hours(3) - TimeDelta::seconds(60), hours(3)),
        ),
        // What is absurd is a day, or nothing.
        ("99999999999999999999".to_owned(), exactly(day)),
        (date(TimeDelta::days(4000)), exactly(day)),
        (date(-hours(3)), pause),
        ("0".to_owned(), pause),
        ("-5".to_owned(), pause),
        ("soon".to_owned(), pause),
        ("Fri, 99 Foo 2026 00:00:00 GMT".to_owned(), pause),
    ] {
        let head = format!(
            "HTTP/1.1 503 Later\r\nretry-after: {retry_after}\r\ncontent-length: 0\r\n\r\n"
        );
        let receiver = Receiver::sending(head.into_bytes());
        let (application, _) = subscribed(&api, &receiver.url()).await;
        let published = publish(&api, &application).await;
        let read = attempted(&api, &application, &published["id"], 1).await;
        let delivery = &read["deliveries"][0];
        let attempt = &delivery["lastAttempt"];
        let ended = time(&attempt["startedAt"])
            + TimeDelta::milliseconds(attempt["durationMs"].as_i64().expect("a duration"));
        let waits = time(&delivery["nextAttemptAt"]) - ended;
        let latest = most + TimeDelta::milliseconds(500);
        assert!(least <= waits && waits <= latest, "{retry_after}: {waits}");
    }
}

/// 20 attempts of 5 events fail within seconds. That is nothing, until days have passed.
async fn after_five_days_without_a_success_a_webhook_is_inactive_until_its_merchant_makes_it_active(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    let api = setup().start();
    let receiver = Receiver::answering("500 No", b"");
    let (application, created) = subscribed(&api, &receiver.url()).await;
    for _ in 0..5 {
        let published = publish(&api, &application).await;
        let read = ended(&api, &application, &published["id"]).await;
        assert_eq!(outcome(&read), ["failed", "exhausted"], "{read:#}");
    }
    let health = format!("{}/health", application.webhook_path(&created.webhook.id));
    let health = async || {
        api.by(&application, "GET", &health)
            .expect(200)
            .await
            .json()
    };
    let failing = health().await;
    assert_eq!(
        (&failing["state"], &failing["isActive"]),
        (&json!("failing"), &json!(true))
    );
    api.sleep_until(time(&failing["willBeDisabledAt"]) - TimeDelta::hours(1));
    let published = publish(&api, &application).await;
    ended(&api, &application, &published["id"]).await;
    let active = (json!(true), Value::Null);
    assert_eq!(activity(&api, &application, &created).await, active);

    api.sleep(Duration::from_secs(2 * 3600));
    let published = publish(&api, &application).await;
    let read = ended(&api, &application, &published["id"]).await;
    assert_eq!(
        outcome(&read),
        ["suppressed", "webhookInactive"],
        "{read:#}"
    );
    let inactive = (json!(false), json!("failing"));
    assert_eq!(activity(&api, &application, &created).await, inactive);
    let ended_so = health().await;
    assert_eq!(ended_so["state"], "disabled", "{ended_so}");
    assert_eq!(ended_so["failingSince"], failing["failingSince"]);

    // Nothing that failed before counts.
    let path = application.webhook_path(&created.webhook.id);
    change(&api, &application, &path, json!({"isActive": true})).await;
    let published = publish(&api, &application).await;
    let read = ended(&api, &application, &published["id"]).await;
    assert_eq!(outcome(&read), ["failed", "exhausted"], "{read:#}");
    assert_eq!(activity(&api, &application, &created).await, active);
    let anew = health().await;
    assert_eq!(anew["failedEvents"], 1, "{anew}");
}
