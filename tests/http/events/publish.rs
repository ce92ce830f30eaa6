//! Publishing: what is stored, and what is answered.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{completed, event, publish, subscribed, webhook};
use crate::support::contract::{self, KEY_REUSED};
use crate::support::{Receiver, Server, Setup, unique};

on_both_databases! {
    a_202_has_the_event_and_where_it_is_to_be_found
    every_wrong_field_is_named_at_once
    an_event_larger_than_the_operator_allows_is_413_and_says_so
    data_are_delivered_and_shown_as_they_were_spelled
    a_repeat_gets_the_first_response_also_when_the_event_has_been_delivered
    of_requests_with_one_key_at_the_same_moment_one_publishes
    inactive_webhooks_and_those_of_a_disabled_application_get_suppressed_deliveries
}

fn hex_sha256(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

async fn a_202_has_the_event_and_where_it_is_to_be_found(api: &Server) {
    let application = api.application();
    let response = api.publish(&application).expect(202).await;
    let published = response.json();
    let id = published["id"].as_str().expect("an id");
    let location = format!("{}/{id}", application.events_path());
    assert_eq!(response.header("location"), Some(location.as_str()));
    assert_eq!(response.header("idempotency-replayed"), None);
    assert!(id.starts_with("evt_") && id.len() == 36, "{id}");
    assert_eq!(published["type"], "session.completed");
    assert_eq!(published["applicationId"], json!(application.id));
    assert_eq!(published["occurredAt"], published["createdAt"]);
    assert_eq!(published["deliverBefore"], Value::Null);
    let none = json!({"pending": 0, "succeeded": 0, "failed": 0, "suppressed": 0, "expired": 0});
    assert_eq!(published["summary"], none, "nobody is subscribed");
    assert_eq!(published.as_object().map(|event| event.len()), Some(9));

    let read = api
        .by(&application, "GET", &location)
        .expect(200)
        .await
        .json();
    assert_eq!(read["data"], json!({"sessionId": "ses_1"}));
    assert_eq!(read["deliveries"], json!([]));
    let body = format!(
        r#"{{"type":"session.completed","timestamp":{},"data":{{"sessionId":"ses_1"}}}}"#,
        published["occurredAt"]
    );
    assert_eq!(published["sizeBytes"], json!(body.len()));
    assert_eq!(published["sha256"], hex_sha256(body.as_bytes()));
    for (name, value) in published.as_object().expect("an event") {
        assert_eq!(&read[name], value, "{name}");
    }
}

async fn every_wrong_field_is_named_at_once(api: &Server) {
    let application = api.application();
    api.publish(&application)
        .json(&json!({"data": [], "occurredAt": "yesterday", "deliverBefore": 5, "url": ""}))
        .header("idempotency-key", "")
        .expect_bad_fields(&[
            "Idempotency-Key",
            "type",
            "data",
            "occurredAt",
            "deliverBefore",
            "url",
        ])
        .await;
    let unknown = json!({"type": "session.started", "data": {}});
    let response = api.publish(&application).json(&unknown).expect(400).await;
    let [(field, message)] = &contract::details(&response)[..] else {
        panic!("{}", response.text);
    };
    assert_eq!(field, "type");
    assert!(message.contains("session.completed"), "{message}");
    let nobody = crate::support::Application::new();
    api.publish(&nobody).expect_error(contract::NOT_FOUND).await;
    api.publish(&nobody)
        .json(&json!({}))
        .expect_bad_fields(&["type", "data"])
        .await;
}

async fn an_event_larger_than_the_operator_allows_is_413_and_says_so(api: &Server) {
    let application = api.application();
    let body = |length: usize| {
        let empty = r#"{"type":"session.completed","data":{"x":""}}"#;
        let text = "x".repeat(length - empty.len());
        empty.replace(r#""x":"""#, &format!(r#""x":"{text}""#))
    };
    let largest = api.publish(&application).body(body(262_144));
    let published = largest.expect(202).await.json();
    let read = event(api, &application, &published["id"]).await;
    let text = read["data"]["x"].as_str().expect("a text");
    assert!(text.len() > 262_000);
    let message = "The request body is larger than 262144 bytes";
    let refused = api.publish(&application).body(body(262_145));
    let refused = refused.expect(413).await.json();
    assert_eq!(refused["message"], message);
    assert_eq!(refused["reason"], "bodyTooLarge");
}

/// Numbers that no double holds, members in their order, escapes: what the publisher's library wrote
/// is what the merchant's verifies.
async fn data_are_delivered_and_shown_as_they_were_spelled(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    let data = r#"{"z": 1.10, "a":12345678901234567890.5, "é":"\u00e9\/\u0000"}"#;
    let body = format!(
        r#"{{"data": {data},"type":"session.completed","occurredAt":"2026-04-20T14:34:55+02:00"}}"#
    );
    let published = api.publish(&application).body(body);
    let published = published.expect(202).await.json();
    assert_eq!(published["occurredAt"], "2026-04-20T12:34:55.000Z");
    completed(api, &application, &published["id"]).await;
    let received = String::from_utf8(receiver.last().body).expect("UTF-8");
    let expected = format!(
        r#"{{"type":"session.completed","timestamp":"2026-04-20T12:34:55.000Z","data":{data}}}"#
    );
    assert_eq!(received, expected);
    assert_eq!(published["sha256"], hex_sha256(expected.as_bytes()));
    let path = format!(
        "{}/{}",
        application.events_path(),
        published["id"].as_str().expect("an id")
    );
    let read = api.by(&application, "GET", &path).expect(200).await;
    assert!(read.text.contains(data), "{}", read.text);
}

async fn a_repeat_gets_the_first_response_also_when_the_event_has_been_delivered(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    let key = unique("key");
    let request = || api.publish(&application).header("idempotency-key", &key);
    let first = request().expect(202).await;
    completed(api, &application, &first.json()["id"]).await;
    let quoted = format!("\"{key}\"");
    let body = r#"{ "data" : {"sessionId":"ses_1"}, "type": "session.completed" }"#;
    for repeat in [
        request(),
        request().header("idempotency-key", &quoted),
        request().body(body),
    ] {
        let repeat = repeat.expect(202).await;
        assert_eq!(repeat.text, first.text);
        assert_eq!(repeat.header("location"), first.header("location"));
        assert_eq!(repeat.header("idempotency-replayed"), Some("true"));
    }
    let other = json!({"type": "session.completed", "data": {"sessionId": "ses_2"}});
    request().json(&other).expect_error(KEY_REUSED).await;
    // Another application's keys are its own.
    let elsewhere = api.application();
    let other = api.publish(&elsewhere).header("idempotency-key", &key);
    let other = other.expect(202).await;
    assert_ne!(other.json()["id"], first.json()["id"]);
    assert_eq!(receiver.received().len(), 1);
}

async fn of_requests_with_one_key_at_the_same_moment_one_publishes(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    let key = unique("key");
    let requests = (0..16).map(|_| {
        let request = api.publish(&application).header("idempotency-key", &key);
        request.expect(202)
    });
    let responses = futures::future::join_all(requests).await;
    let ids: BTreeSet<String> = responses
        .iter()
        .map(|response| response.json()["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let replayed = responses.iter().map(|it| it.header("idempotency-replayed"));
    assert_eq!(replayed.filter(Option::is_none).count(), 1);
    completed(api, &application, &responses[0].json()["id"]).await;
    assert_eq!(receiver.received().len(), 1);
}

async fn inactive_webhooks_and_those_of_a_disabled_application_get_suppressed_deliveries(
    api: &Server,
) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, inactive) = subscribed(api, &receiver.url()).await;
    let active = webhook(api, &application, &receiver.url()).await;
    let other = api
        .create(&application)
        .json(&json!({"url": receiver.url(), "subscribedEvents": ["session.expired"]}));
    other.expect_created().await;
    let path = application.webhook_path(&inactive.webhook.id);
    let patch = |path: &str, body: Value| api.by(&application, "PATCH", path).json(&body);
    patch(&path, json!({"isActive": false})).expect(200).await;
    let published = publish(api, &application).await;
    assert_eq!(published["summary"]["suppressed"], 1, "{published}");
    assert_eq!(published["summary"]["pending"], 1, "{published}");
    let read = completed(api, &application, &published["id"]).await;
    let deliveries = read["deliveries"].as_array().expect("deliveries");
    assert_eq!(deliveries.len(), 2, "{read}");
    for delivery in deliveries {
        let (status, reason, attempts) = match delivery["webhookId"] == json!(active.webhook.id) {
            true => ("succeeded", Value::Null, 1),
            false => ("suppressed", json!("webhookInactive"), 0),
        };
        assert_eq!(delivery["status"], status, "{delivery}");
        assert_eq!(delivery["reason"], reason, "{delivery}");
        assert_eq!(delivery["attemptCount"], attempts, "{delivery}");
    }

    let path = format!("/api/v1/applications/{}", application.id);
    patch(&path, json!({"isEnabled": false})).expect(200).await;
    let published = publish(api, &application).await;
    assert_eq!(published["summary"]["suppressed"], 2, "{published}");
    let read = event(api, &application, &published["id"]).await;
    for delivery in read["deliveries"].as_array().expect("deliveries") {
        assert_eq!(delivery["reason"], "applicationDisabled", "{delivery}");
    }
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn anyone_may_know_how_events_are_delivered() {
    let server = Setup::new()
        .variable("retry_schedule", "0,60, 3600")
        .variable("max_event_bytes", "2048")
        .variable("event_retention_days", "7")
        .variable("disable_after_hours", "48")
        .start();
    let path = "/api/v1/delivery-policy";
    let policy = server.request("GET", path).expect(200).await.json();
    let expected = json!({
        "retryScheduleSeconds": [0, 60, 3600],
        "jitterPercent": 10,
        "maxJitterSeconds": 900,
        "attemptTimeoutSeconds": 15,
        "maxRetryAfterSeconds": 86400,
        "maxConcurrentAttempts": 4,
        "maxEventBytes": 2048,
        "maxResponseBytes": 65536,
        "keptResponseBytes": 4096,
        "retentionDays": 7,
        "disableAfterHours": 48,
        "disableAfterAttempts": 20,
        "disableAfterEvents": 3,
    });
    assert_eq!(policy, expected);
}
