//! Recoveries: what failed, was suppressed or is missing is delivered anew.
//!
//! Long because every test begins one in its own way.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{completed, event, publish, subscribed, webhook};
use crate::support::contract::{FORBIDDEN, KEY_REUSED, NOT_FOUND};
use crate::support::faults::Fault;
use crate::support::server::dispatching_setup;
use crate::support::tokens::{publisher, support};
use crate::support::{
    Application, PATIENCE, Receiver, Request, Response, Server, local_runtime_only, unique,
};

on_both_databases! {
    what_was_suppressed_is_counted_queued_and_delivered
    events_from_before_a_webhook_are_missing_and_are_delivered
    wrong_fields_are_named_all_at_once
    the_merchant_begins_and_stops_and_support_reads
    an_inactive_webhook_and_a_second_recovery_are_409
    a_repeat_with_its_key_gets_the_first_response
    a_stop_queues_nothing_more_and_can_be_repeated
}

mod faults_sqlite {
    use crate::support::local_runtime_only;
    use crate::support::server::dispatching_setup;

    #[tokio::test]
    async fn whichever_statement_fails_once_it_comes_to_its_end() {
        local_runtime_only!();
        let api = dispatching_setup().start();
        super::whichever_statement_fails_once_it_comes_to_its_end(&api).await;
    }
}

mod faults_postgres {
    use crate::support::local_runtime_only;
    use crate::support::server::dispatching_setup;

    #[tokio::test]
    async fn whichever_statement_fails_once_it_comes_to_its_end() {
        local_runtime_only!();
        let postgres = crate::support::postgres_server!();
        let api = crate::events::on_postgres(dispatching_setup(), postgres).start();
        super::whichever_statement_fails_once_it_comes_to_its_end(&api).await;
    }
}

const SINCE: &str = "2026-01-15T08:00:00.000Z";

fn path(application: &Application, webhook: &str) -> String {
    format!("{}/recoveries", application.webhook_path(webhook))
}

fn recover(api: &Server, application: &Application, webhook: &str, body: Value) -> Request {
    api.by(application, "POST", &path(application, webhook))
        .json(&body)
}

/// Events that were published while the webhook was inactive.
async fn suppressed(
    api: &Server,
    application: &Application,
    webhook: &str,
    count: usize,
) -> Vec<Value> {
    activate(api, application, webhook, false).await;
    let mut ids = Vec::new();
    for _ in 0..count {
        let published = publish(api, application).await;
        assert_eq!(published["summary"]["suppressed"], 1, "{published}");
        ids.push(published["id"].clone());
    }
    activate(api, application, webhook, true).await;
    ids
}

async fn activate(api: &Server, application: &Application, webhook: &str, is_active: bool) {
    let path = application.webhook_path(webhook);
    let change = api.by(application, "PATCH", &path);
    change
        .json(&json!({"isActive": is_active}))
        .expect(200)
        .await;
}

/// The recovery that a 202 is about, as soon as it has ended.
async fn ended(api: &Server, application: &Application, begun: &Response) -> Value {
    let location = begun.header("location").expect("a location").to_owned();
    let since = Instant::now();
    loop {
        let read = api
            .by(application, "GET", &location)
            .expect(200)
            .await
            .json();
        if !read["completedAt"].is_null() {
            return read;
        }
        assert!(
            since.elapsed() < PATIENCE + Duration::from_secs(40),
            "{read:#}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn what_was_suppressed_is_counted_queued_and_delivered(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let id = &created.webhook.id;
    let ids = suppressed(api, &application, id, 3).await;
    let delivered = publish(api, &application).await;
    completed(api, &application, &delivered["id"]).await;

    for (body, matched) in [
        (json!({"after": SINCE, "dryRun": true}), 3),
        (
            json!({"after": SINCE, "dryRun": true, "include": ["failed", "missing"]}),
            0,
        ),
        (
            json!({"after": SINCE, "dryRun": true, "types": ["session.completed"]}),
            3,
        ),
        (
            json!({"after": SINCE, "dryRun": true, "types": ["session.expired"]}),
            0,
        ),
        (
            json!({"after": SINCE, "before": "2026-01-16T08:00:00Z", "dryRun": true}),
            0,
        ),
    ] {
        let counted = recover(api, &application, id, body.clone())
            .expect(200)
            .await;
        assert_eq!(counted.json(), json!({"matched": matched}), "{body}");
    }
    let body = json!({"after": SINCE, "include": ["suppressed"], "types": ["session.completed"]});
    let begun = recover(api, &application, id, body).expect(202).await;
    let mut first = begun.json();
    let recovery = first["id"].as_str().expect("an id");
    let location = format!("{}/{recovery}", path(&application, id));
    assert_eq!(begun.header("location"), Some(location.as_str()));
    for volatile in ["id", "before", "createdAt"] {
        assert!(first[volatile].take().is_string());
    }
    let expected = json!({
        "id": null, "webhookId": id, "status": "running", "reason": null, "after": SINCE,
        "before": null, "include": ["suppressed"], "types": ["session.completed"],
        "perMinute": 600, "matched": 3, "queued": 0, "skipped": 0,
        "skippedByReason": {"succeeded": 0, "pending": 0, "expired": 0, "dataErased": 0,
            "eventDeleted": 0, "stopped": 0},
        "createdAt": null, "completedAt": null,
    });
    assert_eq!(first, expected);
    let done = ended(api, &application, &begun).await;
    assert_eq!(
        (&done["status"], &done["queued"]),
        (&json!("done"), &json!(3))
    );
    for id in &ids {
        let read = completed(api, &application, id).await;
        let delivery = &read["deliveries"][0];
        assert_eq!(delivery["status"], "succeeded", "{read:#}");
        assert_eq!(delivery["lastAttempt"]["trigger"], "recovery");
        assert_eq!(delivery["attemptCount"], 1);
    }
    assert_eq!(receiver.received().len(), 4, "each once");
}

async fn events_from_before_a_webhook_are_missing_and_are_delivered(api: &Server) {
    let application = api.application();
    let published = publish(api, &application).await;
    let erased = publish(api, &application).await;
    // The webhook is younger than the clocks' difference.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let receiver = Receiver::answering("200 OK", b"");
    let created = webhook(api, &application, &receiver.url()).await;
    let body = json!({"after": SINCE, "include": ["missing"]});
    let begun = recover(api, &application, &created.webhook.id, body)
        .expect(202)
        .await;
    assert_eq!(begun.json()["matched"], 2);
    assert_eq!(ended(api, &application, &begun).await["queued"], 2);
    for id in [&published["id"], &erased["id"]] {
        let read = completed(api, &application, id).await;
        assert_eq!(read["summary"]["succeeded"], 1, "{read:#}");
    }
}

async fn wrong_fields_are_named_all_at_once(api: &Server) {
    let (application, created) = subscribed(api, "https://merchant.example.com/").await;
    let id = &created.webhook.id;
    let kinds = "Must be an array with one or more of failed, suppressed and missing, each once";
    let moment = "Must be a time in RFC 3339, such as 2026-01-15T08:00:00.000Z";
    let number = "Must be a whole number from 1 to 60000";
    let body = json!({
        "before": "tomorrow", "include": [], "types": ["session.completed", "nothing"],
        "dryRun": "yes", "perMinute": 60_001, "webhook": id,
    });
    recover(api, &application, id, body)
        .expect_bad_request(&[
            ("after", "Required"),
            ("before", moment),
            ("include", kinds),
            (
                "types",
                "Unknown event type: \"nothing\". Known: session.completed, session.expired",
            ),
            ("dryRun", "Must be true or false"),
            ("perMinute", number),
            ("webhook", "Unknown field"),
        ])
        .await;
    for (field, value, message) in [
        (
            "after",
            json!("2999-01-01T00:00:00Z"),
            "Must be in the past",
        ),
        ("after", json!(1), moment),
        ("include", json!(["failed", "failed"]), kinds),
        ("include", json!("failed"), kinds),
        ("include", json!(["expired"]), kinds),
        ("include", Value::Null, kinds),
        (
            "types",
            json!([]),
            "Must be an array with one or more event types, each once",
        ),
        ("types", json!([1]), "Must be a string"),
        ("perMinute", json!(0), number),
        ("perMinute", json!(1.5), number),
        ("perMinute", json!("600"), number),
        ("before", json!(SINCE), "Must be later than `after`"),
    ] {
        let mut body = json!({"after": SINCE});
        body[field] = value.clone();
        let refused = recover(api, &application, id, body);
        refused.expect_bad_request(&[(field, message)]).await;
    }
    let bad = recover(api, &application, "x", json!({})).expect_bad_fields(&["webhookId", "after"]);
    bad.await;
    let bad = format!("{}/rec_1", path(&application, id));
    for method in ["GET", "DELETE"] {
        let request = api.by(&application, method, &bad);
        request.expect_bad_fields(&["recoveryId"]).await;
    }
}

async fn the_merchant_begins_and_stops_and_support_reads(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let id = &created.webhook.id;
    let body = json!({"after": SINCE});
    let begin = || recover(api, &application, id, body.clone());
    let other = api.application();
    for token in [publisher(), support(), other.token()] {
        begin().token(&token).expect_error(FORBIDDEN).await;
    }
    let begun = begin().expect(202).await;
    let location = begun.header("location").expect("a location");
    let done = ended(api, &application, &begun).await;
    assert_eq!(
        (&done["matched"], &done["status"]),
        (&json!(0), &json!("done"))
    );
    let read = api.request("GET", location).token(&support());
    assert_eq!(read.expect(200).await.json(), done);
    for (method, token) in [
        ("GET", publisher()),
        ("GET", other.token()),
        ("DELETE", support()),
        ("DELETE", publisher()),
        ("DELETE", other.token()),
    ] {
        let request = api.request(method, location).token(&token);
        request.expect_error(FORBIDDEN).await;
    }
    // It is of this webhook of this application.
    let second = webhook(api, &application, &receiver.url()).await;
    let recovery = done["id"].as_str().expect("an id");
    let unknown = format!(
        "{}/rec_019abd5a6f407c2e8d3b9f0a1b2c3d4e",
        path(&application, id)
    );
    let elsewhere = format!("{}/{recovery}", path(&application, &second.webhook.id));
    for path in [unknown, elsewhere] {
        for method in ["GET", "DELETE"] {
            let request = api.by(&application, method, &path);
            request.expect_error(NOT_FOUND).await;
        }
    }
    let path_of_webhook = application.webhook_path(id);
    api.by(&application, "DELETE", &path_of_webhook)
        .expect(204)
        .await;
    begin().expect_error(NOT_FOUND).await;
    let read = api.by(&application, "GET", location).expect(200).await;
    assert_eq!(read.json(), done, "as long as events are kept");
}

async fn an_inactive_webhook_and_a_second_recovery_are_409(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let id = &created.webhook.id;
    suppressed(api, &application, id, 3).await;
    activate(api, &application, id, false).await;
    for dry_run in [true, false] {
        let body = json!({"after": SINCE, "dryRun": dry_run});
        let refused = recover(api, &application, id, body)
            .expect(409)
            .await
            .json();
        assert_eq!(refused["reason"], "webhookInactive");
    }
    activate(api, &application, id, true).await;
    let slow = json!({"after": SINCE, "perMinute": 1});
    let begun = recover(api, &application, id, slow.clone())
        .expect(202)
        .await;
    let running = begun.json()["id"].as_str().expect("an id").to_owned();
    for dry_run in [true, false] {
        let body = json!({"after": SINCE, "dryRun": dry_run});
        let refused = recover(api, &application, id, body)
            .expect(409)
            .await
            .json();
        assert_eq!(refused["reason"], "recoveryActive");
        let message = format!("Another recovery of the webhook has not ended: {running}");
        assert_eq!(refused["message"], message);
    }
    // It is stopped with its webhook, and one begins again.
    let location = begun.header("location").expect("a location");
    let stopped = api.by(&application, "DELETE", location).expect(200).await;
    assert_eq!(stopped.json()["status"], "stopped");
    let begun = recover(api, &application, id, json!({"after": SINCE}))
        .expect(202)
        .await;
    assert_eq!(ended(api, &application, &begun).await["status"], "done");
}

async fn a_repeat_with_its_key_gets_the_first_response(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let id = &created.webhook.id;
    let ids = suppressed(api, &application, id, 2).await;
    let key = unique("key");
    let begin = |after: &str| {
        let body = json!({"after": after, "perMinute": 6000});
        recover(api, &application, id, body).header("idempotency-key", &key)
    };
    let first = begin(SINCE).expect(202).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(ended(api, &application, &first).await["queued"], 2);
    let again = begin(SINCE).expect(202).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.json(), first.json());
    begin("2026-01-16T08:00:00.000Z")
        .expect_error(KEY_REUSED)
        .await;
    for id in &ids {
        completed(api, &application, id).await;
    }
    assert_eq!(receiver.received().len(), 2, "each once");
}

async fn a_stop_queues_nothing_more_and_can_be_repeated(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let id = &created.webhook.id;
    let ids = suppressed(api, &application, id, 4).await;
    let body = json!({"after": SINCE, "perMinute": 1});
    let begun = recover(api, &application, id, body).expect(202).await;
    let location = begun.header("location").expect("a location");
    // The first one at once.
    completed(api, &application, &ids[0]).await;
    let since = Instant::now();
    while receiver.received().is_empty() {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stopped = api
        .by(&application, "DELETE", location)
        .expect(200)
        .await
        .json();
    assert_eq!(
        (&stopped["status"], &stopped["reason"]),
        (&json!("stopped"), &json!("requested"))
    );
    assert_eq!(
        (&stopped["queued"], &stopped["skipped"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(stopped["skippedByReason"]["stopped"], 3);
    for method in ["DELETE", "GET"] {
        let again = api.by(&application, method, location).expect(200).await;
        assert_eq!(again.json(), stopped);
    }
    for id in &ids[1..] {
        let read = event(api, &application, id).await;
        assert_eq!(read["summary"]["suppressed"], 1, "{read:#}");
    }
    // Another one takes what it left.
    let body = json!({"after": SINCE, "dryRun": true});
    let counted = recover(api, &application, id, body).expect(200).await;
    assert_eq!(counted.json(), json!({"matched": 3}));
}

/// A step that fails comes again with its lease, which lasts 30 seconds.
async fn whichever_statement_fails_once_it_comes_to_its_end(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let cases = [
        "unsuccessful-end",
        "add-unsuccessful",
        "missing-end",
        "add-missing",
        "advance-recovery",
        "start-recovery",
        "claim-recovery",
        "backlog",
        "queue-recovery",
        "end-recovery",
    ];
    let mut running = Vec::new();
    for (statement, after) in cases.iter().flat_map(|name| [(name, false), (name, true)]) {
        let (application, created) = subscribed(api, &receiver.url()).await;
        let id = created.webhook.id.clone();
        let ids = suppressed(api, &application, &id, 2).await;
        let fault = Fault::error("sql").on(*statement).times(1);
        let fault = if after { fault.after() } else { fault };
        let injected = fault.inject(api);
        let begun = recover(api, &application, &id, json!({"after": SINCE}))
            .expect(202)
            .await;
        let since = Instant::now();
        while injected.hits() == 0 {
            assert!(since.elapsed() < PATIENCE, "{statement}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        injected.end();
        running.push((*statement, after, application, begun, ids));
    }
    for (statement, after, application, begun, ids) in running {
        let done = ended(api, &application, &begun).await;
        assert_eq!(done["status"], "done", "{statement} {after}: {done:#}");
        assert_eq!(
            (&done["matched"], &done["queued"]),
            (&json!(2), &json!(2)),
            "{statement} {after}"
        );
        for id in &ids {
            let read = completed(api, &application, id).await;
            assert_eq!(
                read["deliveries"][0]["attemptCount"], 1,
                "{statement} {after}"
            );
        }
    }
}

#[tokio::test]
async fn a_database_that_fails_is_502_and_nothing_is_begun() {
    local_runtime_only!();
    let api = dispatching_setup().start();
    let (application, created) = subscribed(&api, "https://merchant.example.com/").await;
    let id = &created.webhook.id;
    let request = || recover(&api, &application, id, json!({"after": SINCE}));
    let fault = Fault::error("sql").on("begin-recovery").inject(&api);
    assert_eq!(request().send().await.status, 502);
    fault.end();
    let fault = Fault::error("sql").on("count-unsuccessful").inject(&api);
    let dry_run = json!({"after": SINCE, "dryRun": true});
    let refused = recover(&api, &application, id, dry_run).send().await;
    assert_eq!(refused.status, 502);
    fault.end();
    let begun = request().expect(202).await;
    let location = begun.header("location").expect("a location");
    for (statement, method) in [("recovery", "GET"), ("recovery", "DELETE")] {
        let fault = Fault::error("sql").on(statement).inject(&api);
        let refused = api.by(&application, method, location).send().await;
        assert_eq!(refused.status, 502, "{method}");
        fault.end();
    }
}

/// Begun, counted and stopped: each is a change. To look is none.
#[tokio::test]
async fn a_recovery_counts_as_a_change() {
    let api = dispatching_setup()
        .variable("max_changes_per_minute", "4")
        .start();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(&api, &receiver.url()).await;
    let id = &created.webhook.id;
    let body = json!({"after": SINCE, "dryRun": true});
    recover(&api, &application, id, body.clone())
        .expect(200)
        .await;
    let begun = recover(&api, &application, id, json!({"after": SINCE}))
        .expect(202)
        .await;
    let location = begun.header("location").expect("a location");
    ended(&api, &application, &begun).await;
    api.by(&application, "DELETE", location).expect(200).await;
    // The count is written after the response.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = recover(&api, &application, id, body).expect(429).await;
    assert_eq!(refused.json()["reason"], "tooManyChanges");
    api.by(&application, "DELETE", location).expect(429).await;
    api.by(&application, "GET", location).expect(200).await;
}
