//! What an event happened to, erased for ever; and what is never stored of an endpoint's answer.

use serde_json::{Value, json};

use super::log::deliveries_path;
use super::{completed, event, event_when, publish, subscribed};
use crate::support::contract::{DEPENDENCY_FAILED, FORBIDDEN, NOT_FOUND, UNAUTHORIZED};
use crate::support::faults::Fault;
use crate::support::receiver::answer;
use crate::support::tokens::{publisher, support};
use crate::support::{Application, Receiver, Server, local_runtime_only, unique};

on_both_databases! {
    data_and_answers_go_and_hashes_and_outcomes_stay
    pending_deliveries_end_and_those_under_way_keep_no_answer
    the_merchant_and_the_publisher_erase_and_nobody_else
    an_erasure_that_fails_is_502_and_can_be_repeated
    answers_are_kept_without_card_numbers_tokens_and_addresses
}

fn data_path(application: &Application, published: &Value) -> String {
    let id = published["id"].as_str().expect("an id");
    format!("{}/{id}/data", application.events_path())
}

async fn data_and_answers_go_and_hashes_and_outcomes_stay(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"an answer");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let before = completed(api, &application, &published["id"]).await;
    let path = data_path(&application, &published);
    // Erased twice is erased.
    for _ in 0..2 {
        api.by(&application, "DELETE", &path).expect(204).await;
        let mut expected = before.clone();
        expected["data"] = Value::Null;
        expected["deliveries"][0]["lastAttempt"]["responseBody"] = Value::Null;
        let after = event(api, &application, &published["id"]).await;
        assert_eq!(after, expected);
    }
    let one = deliveries_path(&application, &created.webhook.id);
    let one = format!("{one}/{}", published["id"].as_str().expect("an id"));
    let delivery = api.by(&application, "GET", &one).expect(200).await.json();
    assert_eq!(delivery["attempts"][0]["responseBody"], Value::Null);
    assert_eq!(delivery["attempts"][0]["httpStatusCode"], 200);
    let text = api.by(&application, "GET", &one).expect(200).await.text;
    assert!(!text.contains("an answer"), "{text}");
}

async fn pending_deliveries_end_and_those_under_way_keep_no_answer(api: &Server) {
    let (no, ok) = (answer("500 No", b""), answer("200 OK", b""));
    let receiver = Receiver::answering_in_turn(&[&no, &ok]);
    let (application, _) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let has_failed = |event: &Value| event["deliveries"][0]["nextAttemptAt"] != Value::Null;
    event_when(api, &application, &published["id"], has_failed).await;
    let path = data_path(&application, &published);
    api.by(&application, "DELETE", &path).expect(204).await;
    let read = completed(api, &application, &published["id"]).await;
    let delivery = &read["deliveries"][0];
    // The next attempt may have begun in that very moment.
    if delivery["status"] != "succeeded" {
        assert_eq!(delivery["status"], "suppressed", "{read}");
        assert_eq!(delivery["reason"], "dataErased", "{read}");
        assert_eq!(receiver.received().len(), 1);
    }

    let (held, release) = Receiver::held("200 OK", b"an answer");
    let (application, _) = subscribed(api, &held.url()).await;
    let published = publish(api, &application).await;
    crate::support::poll("an attempt", crate::support::PATIENCE, || {
        held.received().pop()
    })
    .await;
    let path = data_path(&application, &published);
    api.by(&application, "DELETE", &path).expect(204).await;
    drop(release);
    let read = completed(api, &application, &published["id"]).await;
    let attempt = &read["deliveries"][0]["lastAttempt"];
    assert_eq!(attempt["httpStatusCode"], 200, "{read}");
    assert_eq!(attempt["responseBody"], Value::Null, "{read}");
}

async fn the_merchant_and_the_publisher_erase_and_nobody_else(api: &Server) {
    let application = api.application();
    let other = api.application();
    let published = publish(api, &application).await;
    let path = data_path(&application, &published);
    let delete = |token: &str| api.request("DELETE", &path).token(token);
    for token in [support(), other.token()] {
        delete(&token).expect_error(FORBIDDEN).await;
    }
    let request = api.request("DELETE", &path).without_token();
    request.expect_error(UNAUTHORIZED).await;
    let elsewhere = data_path(&other, &published);
    for token in [other.token(), publisher()] {
        let request = api.request("DELETE", &elsewhere).token(&token);
        request.expect_error(NOT_FOUND).await;
    }
    let read = event(api, &application, &published["id"]).await;
    assert_eq!(read["data"], json!({"sessionId": "ses_1"}));
    let wrong = format!("{}/evt_1/data", application.events_path());
    let request = api.by(&application, "DELETE", &wrong);
    request.expect_bad_fields(&["eventId"]).await;

    delete(&publisher()).expect(204).await;
    let read = event(api, &application, &published["id"]).await;
    assert_eq!(read["data"], Value::Null);
    // That an application is disabled is no reason to keep what must go.
    let published = publish(api, &application).await;
    let disable = format!("/api/v1/applications/{}", application.id);
    let disable = api.by(&application, "PATCH", &disable);
    disable.json(&json!({"isEnabled": false})).expect(200).await;
    let path = data_path(&application, &published);
    api.by(&application, "DELETE", &path).expect(204).await;
    let read = event(api, &application, &published["id"]).await;
    assert_eq!(read["data"], Value::Null);
}

async fn an_erasure_that_fails_is_502_and_can_be_repeated(api: &Server) {
    local_runtime_only!();
    let application = api.application();
    for after in [false, true] {
        let published = publish(api, &application).await;
        let path = data_path(&application, &published);
        let name = unique("request");
        let fault = Fault::error("sql").on("erase").of(&name);
        let fault = if after { fault.after() } else { fault };
        let fault = fault.inject(api);
        let request = api.by(&application, "DELETE", &path);
        let request = request.header("x-local-runtime-request", &name);
        request.expect_error(DEPENDENCY_FAILED).await;
        assert!(fault.hits() > 0);
        fault.end();
        let read = event(api, &application, &published["id"]).await;
        assert_eq!(read["data"].is_null(), after);
        api.by(&application, "DELETE", &path).expect(204).await;
        let read = event(api, &application, &published["id"]).await;
        assert_eq!(read["data"], Value::Null);
    }
}

async fn answers_are_kept_without_card_numbers_tokens_and_addresses(api: &Server) {
    let body = b"4111 1111 1111 1111 of ada@example.com, Authorization: Bearer x1.y2; session 4111";
    let shown = "[card number] of [e-mail address], Authorization: Bearer [token]; session 4111";
    let receiver = Receiver::answering("200 OK", body);
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    assert_eq!(read["deliveries"][0]["lastAttempt"]["responseBody"], shown);
    let path = deliveries_path(&application, &created.webhook.id);
    let id = published["id"].as_str().expect("an id");
    let resend = api.by(&application, "POST", &format!("{path}/{id}/resend"));
    let attempt = resend.expect(200).await.json();
    assert_eq!(attempt["responseBody"], shown);
    // A test's answer is shown to the merchant alone, and is no different.
    let test = format!("{}/test", application.webhook_path(&created.webhook.id));
    let test = api.by(&application, "POST", &test).expect(200).await.json();
    assert_eq!(test["responseBody"], shown);
}
