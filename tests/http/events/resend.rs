//! One more attempt, made now: its result is the answer, and the schedule goes on beside it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::log::deliveries_path;
use super::{LEASE, completed, event, event_when, on_postgres, publish, subscribed, webhook};
use crate::support::contract::{
    ATTEMPT_IN_FLIGHT, DATA_ERASED, DEPENDENCY_FAILED, DISABLED, FORBIDDEN, NOT_FOUND,
    WEBHOOK_DELETED, WEBHOOK_INACTIVE,
};
use crate::support::faults::Fault;
use crate::support::receiver::answer;
use crate::support::server::{SCHEDULE, dispatching_setup};
use crate::support::tokens::{publisher, support};
use crate::support::{
    Application, Created, PATIENCE, Receiver, Server, Setup, local_runtime_only, poll, unique,
};

on_both_databases! {
    a_success_is_the_answer_and_completes_the_delivery
    a_failure_is_the_answer_and_the_schedule_goes_on
    while_an_attempt_is_under_way_there_is_no_other
    who_may_not_resend_and_what_cannot_be_resent
}

on_both_databases_alone! {
    whatever_of_it_fails_another_one_can_be_asked_for
}

/// A resend of an event to a webhook, by their merchant.
fn resend(
    api: &Server,
    application: &Application,
    created: &Created,
    event: &Value,
) -> crate::support::client::Request {
    let path = deliveries_path(application, &created.webhook.id);
    let id = event["id"].as_str().expect("an id");
    api.by(application, "POST", &format!("{path}/{id}/resend"))
}

/// The delivery with its attempts.
async fn delivery(
    api: &Server,
    application: &Application,
    created: &Created,
    event: &Value,
) -> Value {
    let path = deliveries_path(application, &created.webhook.id);
    let id = event["id"].as_str().expect("an id");
    let path = format!("{path}/{id}");
    api.by(application, "GET", &path).expect(200).await.json()
}

async fn a_success_is_the_answer_and_completes_the_delivery(api: &Server) {
    let (no, ok) = (answer("500 No", b""), answer("200 OK", b"thanks"));
    let receiver = Receiver::answering_in_turn(&[&no, &no, &no, &no, &ok]);
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    completed(api, &application, &published["id"]).await;

    let attempt = resend(api, &application, &created, &published);
    let attempt = attempt.expect(200).await.json();
    assert_eq!(attempt["number"], 5, "{attempt}");
    assert_eq!(attempt["trigger"], "resend");
    assert_eq!(attempt["httpStatusCode"], 200);
    assert_eq!(attempt["error"], Value::Null);
    assert_eq!(attempt["responseBody"], "thanks");
    assert_eq!(attempt["nextAttemptAt"], Value::Null);
    let read = delivery(api, &application, &created, &published).await;
    assert_eq!(read["status"], "succeeded", "{read}");
    assert_eq!(read["reason"], Value::Null);
    assert_eq!(read["attempts"][4], attempt);
    assert_eq!(read["lastAttempt"], attempt);

    let received = receiver.received();
    let sent = received.last().expect("a delivery");
    assert_eq!(json!(sent.header("webhook-id")), published["id"]);
    assert_eq!(sent.header("webhook-attempt"), "5");
    assert_eq!(sent.header("webhook-attempts-left"), "0");
    assert!(sent.is_signed_with(&created.webhook.signing_secret));
    assert_eq!(sent.body, received[0].body);

    // What succeeded can be sent again: receivers test their deduplication with it.
    let again = resend(api, &application, &created, &published);
    let again = again.json(&json!({})).expect(200).await.json();
    assert_eq!(again["number"], 6);
    let after = delivery(api, &application, &created, &published).await;
    assert_eq!(after["completedAt"], read["completedAt"]);
    assert_eq!(receiver.last().header("webhook-attempts-left"), "0");
}

async fn a_failure_is_the_answer_and_the_schedule_goes_on(api: &Server) {
    let (no, ok) = (answer("500 No", b""), answer("200 OK", b""));
    let receiver = Receiver::answering_in_turn(&[&no, &no, &no, &ok]);
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let has_failed = |event: &Value| event["deliveries"][0]["nextAttemptAt"] != Value::Null;
    let pending = event_when(api, &application, &published["id"], has_failed).await;
    let due = pending["deliveries"][0]["nextAttemptAt"].clone();
    let attempt = resend(api, &application, &created, &published);
    let attempt = attempt.expect(200).await.json();
    assert_eq!(attempt["error"], "httpStatus", "{attempt}");
    let read = completed(api, &application, &published["id"]).await;
    assert_eq!(read["summary"]["succeeded"], 1, "{read}");
    let read = delivery(api, &application, &created, &published).await;
    let attempts = read["attempts"].as_array().expect("attempts");
    let triggers: Vec<_> = attempts.iter().map(|it| it["trigger"].clone()).collect();
    let scheduled = triggers.iter().filter(|it| **it == json!("schedule"));
    assert_eq!(scheduled.count(), 3, "{read}");
    assert_eq!(triggers.len(), 4, "{read}");
    // The second step was due when it was due before.
    assert_eq!(attempts[0]["nextAttemptAt"], due);
    let second = attempts.iter().filter(|it| it["trigger"] == "schedule");
    let second = second.clone().nth(1).expect("a second step");
    let started = second["startedAt"].as_str().expect("a time");
    assert!(started >= due.as_str().expect("a time"), "{read}");
    // What the schedule has left is not what the resend took from it.
    let left = receiver.last();
    let left = left.header("webhook-attempts-left");
    assert_eq!(left, (SCHEDULE.len() - 3).to_string());
}

async fn while_an_attempt_is_under_way_there_is_no_other(api: &Server) {
    let (receiver, release) = Receiver::held("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    poll("an attempt", PATIENCE, || receiver.received().pop()).await;
    let refused = resend(api, &application, &created, &published);
    refused.expect_error(ATTEMPT_IN_FLIGHT).await;
    release.send(()).expect("the receiver waits");
    completed(api, &application, &published["id"]).await;

    // And of two resends.
    let first = resend(api, &application, &created, &published).expect(200);
    let second = async {
        poll("a resend", PATIENCE, || receiver.received().get(1).cloned()).await;
        let second = resend(api, &application, &created, &published);
        second.expect_error(ATTEMPT_IN_FLIGHT).await;
        release.send(()).expect("the receiver waits");
    };
    let (first, ()) = futures::future::join(first, second).await;
    assert_eq!(first.json()["number"], 2);
    assert_eq!(receiver.received().len(), 2);
}

async fn who_may_not_resend_and_what_cannot_be_resent(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    completed(api, &application, &published["id"]).await;
    let request = || resend(api, &application, &created, &published);
    let (other, others) = subscribed(api, &receiver.url()).await;
    for token in [publisher(), support(), other.token()] {
        request().token(&token).expect_error(FORBIDDEN).await;
    }
    let body = json!({"url": "https://example.com/"});
    request().json(&body).expect_bad_fields(&["url"]).await;
    // There is no such delivery, webhook or application.
    let elsewhere = resend(api, &other, &others, &published);
    elsewhere.expect_error(NOT_FOUND).await;
    let elsewhere = resend(api, &other, &created, &published);
    elsewhere.expect_error(NOT_FOUND).await;
    let nobody = Application::new();
    let nowhere = resend(api, &nobody, &created, &published);
    nowhere.expect_error(NOT_FOUND).await;

    let application_path = format!("/api/v1/applications/{}", application.id);
    let webhook_path = application.webhook_path(&created.webhook.id);
    let change = async |path: &str, body: Value| {
        api.by(&application, "PATCH", path)
            .json(&body)
            .expect(200)
            .await;
    };
    change(&application_path, json!({"isEnabled": false})).await;
    request().expect_error(DISABLED).await;
    change(&application_path, json!({"isEnabled": true})).await;
    change(&webhook_path, json!({"isActive": false})).await;
    request().expect_error(WEBHOOK_INACTIVE).await;
    // A delivery that there is not is none, whatever its webhook is.
    let unknown = json!({"id": "evt_019abd5a6f407c2e8d3b9f0a1b2c3d4e"});
    let missing = resend(api, &application, &created, &unknown);
    missing.expect_error(NOT_FOUND).await;
    // What was suppressed meanwhile can be sent once the webhook is active.
    let suppressed = publish(api, &application).await;
    change(&webhook_path, json!({"isActive": true})).await;
    let attempt = resend(api, &application, &created, &suppressed);
    assert_eq!(attempt.expect(200).await.json()["number"], 1);
    let read = event(api, &application, &suppressed["id"]).await;
    assert_eq!(read["summary"]["succeeded"], 1, "{read}");

    let id = published["id"].as_str().expect("an id");
    let data = format!("{}/{id}/data", application.events_path());
    api.by(&application, "DELETE", &data).expect(204).await;
    request().expect_error(DATA_ERASED).await;
    let webhook = application.webhook_path(&created.webhook.id);
    api.by(&application, "DELETE", &webhook).expect(204).await;
    request().expect_error(WEBHOOK_DELETED).await;
    let missing = resend(api, &application, &created, &unknown);
    missing.expect_error(NOT_FOUND).await;
    let elsewhere = resend(api, &other, &created, &published);
    elsewhere.expect_error(NOT_FOUND).await;
    assert_eq!(receiver.received().len(), 2);
}

/// A statement that fails before anything was sent is 502; the record's is repeated after the response.
async fn whatever_of_it_fails_another_one_can_be_asked_for(api: &Server) {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    completed(api, &application, &published["id"]).await;
    let mut sent = 1;
    for after in [false, true] {
        for statement in ["begin-resend", "record"] {
            let case = format!("{statement}, after: {after}");
            let name = unique("request");
            let fault = Fault::error("sql").on(statement).of(&name).times(2);
            let fault = if after { fault.after() } else { fault };
            let fault = fault.inject(api);
            let request = resend(api, &application, &created, &published);
            let request = request.header("x-local-runtime-request", &name);
            if statement == "record" {
                let attempt = request.expect(200).await.json();
                sent += 1;
                // It is recorded all the same.
                let since = Instant::now();
                loop {
                    let read = delivery(api, &application, &created, &published).await;
                    if read["lastAttempt"] == attempt {
                        break;
                    }
                    assert!(since.elapsed() < PATIENCE, "{case}: {read:#}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            } else {
                request.expect_error(DEPENDENCY_FAILED).await;
            }
            assert!(fault.hits() > 0, "{case}");
            fault.end();
            // The claim of what failed has ended, or ends in a moment.
            let since = Instant::now();
            loop {
                let again = resend(api, &application, &created, &published);
                let again = again.send().await;
                if again.status == 200 {
                    sent += 1;
                    break;
                }
                assert_eq!(again.text, ATTEMPT_IN_FLIGHT, "{case}");
                assert!(since.elapsed() < Duration::from_secs(30), "{case}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(receiver.received().len(), sent, "{case}");
        }
    }
}

mod sqlite_crashes {
    use super::*;

    #[tokio::test]
    async fn a_crash_in_the_middle_ends_by_itself() {
        super::a_crash_in_the_middle_ends_by_itself(dispatching_setup()).await;
    }
}

mod postgres_crashes {
    use super::*;

    #[tokio::test]
    async fn a_crash_in_the_middle_ends_by_itself() {
        let server = crate::support::postgres_server!();
        let setup = on_postgres(dispatching_setup(), server);
        super::a_crash_in_the_middle_ends_by_itself(setup).await;
    }
}

/// The endpoint has it, and the process dies before it is recorded. The delivery stays as it was, and can
/// be sent again when the claim has ended.
async fn a_crash_in_the_middle_ends_by_itself(setup: Setup) {
    local_runtime_only!();
    let server = setup.start();
    let (no, ok) = (answer("500 No", b""), answer("200 OK", b""));
    let receiver = Receiver::answering_in_turn(&[&no, &no, &no, &no, &ok]);
    let (application, created) = subscribed(&server, &receiver.url()).await;
    let published = publish(&server, &application).await;
    completed(&server, &application, &published["id"]).await;
    let before = delivery(&server, &application, &created, &published).await;
    let crash = Fault::crash("sql").on("record").times(1).inject(&server);
    let cut_off = resend(&server, &application, &created, &published);
    assert!(cut_off.send_unchecked().await.is_err());
    std::mem::forget(crash);
    let server = server.wait().start();
    assert_eq!(receiver.received().len(), SCHEDULE.len() + 1);
    let after = delivery(&server, &application, &created, &published).await;
    for member in ["status", "reason", "completedAt", "attempts"] {
        assert_eq!(after[member], before[member], "{after}");
    }
    let again = resend(&server, &application, &created, &published);
    assert_eq!(again.send().await.text, ATTEMPT_IN_FLIGHT);
    server.sleep(LEASE);
    let again = resend(&server, &application, &created, &published);
    let attempt = again.expect(200).await.json();
    // The number of the attempt without a record is missing.
    assert_eq!(attempt["number"], json!(SCHEDULE.len() + 2));
    let done = delivery(&server, &application, &created, &published).await;
    assert_eq!(done["status"], "succeeded", "{done}");
}

/// It is one of the merchant's changes.
#[tokio::test]
async fn more_resends_than_a_merchant_may_make_are_429() {
    let server = dispatching_setup()
        .variable("max_changes_per_minute", "4")
        .start();
    let receiver = Receiver::answering("200 OK", b"");
    let application = server.application();
    let created = webhook(&server, &application, &receiver.url()).await;
    let published = publish(&server, &application).await;
    completed(&server, &application, &published["id"]).await;
    let mut refused = None;
    for _ in 0..8 {
        let response = resend(&server, &application, &created, &published);
        let response = response.send().await;
        if response.status == 429 {
            refused = Some(response);
            break;
        }
        assert_eq!(response.status, 200, "{}", response.text);
    }
    let refused = refused.expect("a limit");
    assert!(refused.header("retry-after").is_some());
    let resent = receiver.received().len() - 1;
    assert!((1..=4).contains(&resent), "{resent}");
}
