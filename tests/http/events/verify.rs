//! The doctor for signatures: what it finds in what real libraries refuse.

use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{completed, subscribed, webhook};
use crate::standard_webhooks::Script;
use crate::support::contract::{
    DEPENDENCY_FAILED, DEPENDENCY_LATE, FORBIDDEN, NOT_FOUND, UNAUTHORIZED, fields,
};
use crate::support::faults::Fault;
use crate::support::receiver::Received;
use crate::support::server::dispatching_setup;
use crate::support::tokens::{publisher, support};
use crate::support::{
    Application, PATIENCE, Receiver, Response, Server, Setup, local_runtime_only, report,
};

on_both_databases! {
    each_reason_is_found_in_what_the_official_libraries_refuse
    a_secret_that_a_rotation_ended_is_named
    an_event_that_was_not_sent_to_the_webhook_says_so
    after_the_event_is_erased_the_hash_still_tells_a_changed_body
    when_it_was_received_is_the_clock
    only_the_merchant_may_ask
    every_wrong_field_is_named
    the_database_is_asked_only_where_the_signature_is_wrong
}

/// A delivery as the scripts, and requests, have it.
fn headers(sent: &Received) -> Value {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers = names.map(|name| (name.to_owned(), json!(sent.header(name))));
    Value::Object(headers.into_iter().collect())
}

fn text(sent: &Received) -> String {
    String::from_utf8(sent.body.clone()).expect("UTF-8")
}

/// A delivery of an event whose JSON no library writes just so.
struct Delivered {
    application: Application,
    path: String,
    secret: String,
    fingerprint: String,
    event: Value,
    sent: Received,
}

async fn delivered(api: &Server) -> Delivered {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let event = r#"{"type":"session.completed","data":{"total": 12.50,"name":"Zo\u00eb","z":[1,{}],"a":"ë/"}}"#;
    let request = api.publish(&application).body(event);
    let published = request.expect(202).await.json();
    completed(api, &application, &published["id"]).await;
    let path = application.webhook_path(&created.webhook.id);
    Delivered {
        path: format!("{path}/verify"),
        application,
        secret: created.webhook.signing_secret,
        fingerprint: created.webhook.key_fingerprint,
        event: published,
        sent: receiver.last(),
    }
}

impl Delivered {
    async fn verify(&self, api: &Server, body: &Value) -> Response {
        let request = api.by(&self.application, "POST", &self.path);
        request.json(body).send().await
    }

    /// What is found in this delivery: whether it is valid, the fingerprint, the reasons.
    async fn finds(&self, api: &Server, headers: &Value, body: &str) -> (bool, Value, Value) {
        let response = self
            .verify(api, &json!({"headers": headers, "body": body}))
            .await;
        assert_eq!(response.status, 200, "{}", response.text);
        let mut found = response.json();
        let valid = found["valid"].as_bool().expect("a flag");
        (
            valid,
            found["secretFingerprint"].take(),
            found["reasons"].take(),
        )
    }
}

/// What became of a delivery, as a script has it.
#[derive(Deserialize)]
struct Case {
    reasons: Value,
    headers: Value,
    body: String,
    verifies: bool,
}

async fn each_reason_is_found_in_what_the_official_libraries_refuse(api: &Server) {
    let delivered = delivered(api).await;
    let (_, other) = subscribed(api, "https://merchant.example.com/").await;
    let given = json!({
        "secret": delivered.secret, "other": other.webhook.signing_secret,
        "headers": headers(&delivered.sent), "body": text(&delivered.sent),
    });
    let library = "standardwebhooks";
    for script in [
        Script::python("standard_webhooks/refuse.py", library).await,
        Script::node("standard_webhooks/refuse.mjs", library),
    ] {
        if !script.installed {
            report::client_missing(&script.library);
            continue;
        }
        let cases: Vec<Case> = script.run(&given).await;
        assert!(cases.len() > 7, "{}", script.library);
        for case in cases {
            let shown = format!("{}: {} {}", script.library, case.reasons, case.body);
            let (valid, fingerprint, reasons) =
                delivered.finds(api, &case.headers, &case.body).await;
            assert_eq!(reasons, case.reasons, "{shown}");
            assert_eq!(
                (valid, case.verifies),
                (reasons == json!([]), valid),
                "{shown}"
            );
            let made_by = [
                "bodyReserialized",
                "bodyChanged",
                "timestampOutsideTolerance",
            ];
            let is_made = valid || made_by.iter().any(|reason| reasons == json!([reason]));
            let expected = is_made.then_some(&delivered.fingerprint);
            assert_eq!(fingerprint, json!(expected), "{shown}");
        }
    }
    // The bytes as they came, for bodies that are no text.
    let body = Base64::encode_string(&delivered.sent.body);
    let asked = json!({"headers": headers(&delivered.sent), "bodyBase64": body});
    let found = delivered.verify(api, &asked).await.json();
    let expected = json!({
        "valid": true, "secretFingerprint": delivered.fingerprint, "reasons": [],
    });
    assert_eq!(found, expected);
}

async fn a_secret_that_a_rotation_ended_is_named(api: &Server) {
    let rotate = async |delivered: &Delivered, grace: u32| {
        let path = delivered.path.replace("/verify", "/rotate");
        let request = api.by(&delivered.application, "POST", &path);
        let grace = json!({"gracePeriodSeconds": grace});
        request.json(&grace).expect(200).await.json()
    };
    let graced = delivered(api).await;
    rotate(&graced, 60).await;
    let (sent, body) = (headers(&graced.sent), text(&graced.sent));
    let found = graced.finds(api, &sent, &body).await;
    assert_eq!(found, (true, json!(graced.fingerprint), json!([])));

    let delivered = delivered(api).await;
    let (sent, body) = (headers(&delivered.sent), text(&delivered.sent));
    let newest = rotate(&delivered, 0).await;
    let newest = newest["signingSecret"].as_str().expect("a secret");
    // What the receiver's library says, which has the new one.
    assert!(!delivered.sent.is_signed_with(newest));
    let found = delivered.finds(api, &sent, &body).await;
    let reasons = json!(["secretExpired"]);
    assert_eq!(found, (false, json!(delivered.fingerprint), reasons));
    // The next rotation drops it, and then nobody knows it any more.
    rotate(&delivered, 0).await;
    let found = delivered.finds(api, &sent, &body).await;
    assert_eq!(found, (false, Value::Null, json!(["unknownSecret"])));
}

async fn an_event_that_was_not_sent_to_the_webhook_says_so(api: &Server) {
    let mut delivered = delivered(api).await;
    let later = webhook(api, &delivered.application, "https://merchant.example.com/").await;
    let path = delivered.application.webhook_path(&later.webhook.id);
    delivered.path = format!("{path}/verify");
    let (sent, body) = (headers(&delivered.sent), text(&delivered.sent));
    let found = delivered.finds(api, &sent, &body).await;
    assert_eq!(found, (false, Value::Null, json!(["otherWebhook"])));
}

async fn after_the_event_is_erased_the_hash_still_tells_a_changed_body(api: &Server) {
    let delivered = delivered(api).await;
    let id = delivered.event["id"].as_str().expect("an id");
    let data = format!("{}/{id}/data", delivered.application.events_path());
    let erase = api.by(&delivered.application, "DELETE", &data);
    erase.expect(204).await;
    let (sent, body) = (headers(&delivered.sent), text(&delivered.sent));
    let found = delivered.finds(api, &sent, &body).await;
    assert_eq!(found, (true, json!(delivered.fingerprint), json!([])));
    let found = delivered.finds(api, &sent, "{}").await;
    assert_eq!(found, (false, Value::Null, json!(["bodyChanged"])));
}

/// A delivery of yesterday is looked at today.
async fn when_it_was_received_is_the_clock(api: &Server) {
    let delivered = delivered(api).await;
    let at = |seconds: i64| {
        let moment = chrono::Utc::now() + chrono::Duration::seconds(seconds);
        moment.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    };
    let (sent, body) = (headers(&delivered.sent), text(&delivered.sent));
    for (received_at, reasons) in [
        (at(0), json!([])),
        (at(-400), json!(["timestampOutsideTolerance"])),
        (at(400), json!(["timestampOutsideTolerance"])),
    ] {
        let asked = json!({"headers": sent, "body": body, "receivedAt": received_at});
        let found = delivered.verify(api, &asked).await.json();
        assert_eq!(found["reasons"], reasons, "{received_at}");
    }
}

async fn only_the_merchant_may_ask(api: &Server) {
    let delivered = delivered(api).await;
    let asked = json!({"headers": headers(&delivered.sent), "body": text(&delivered.sent)});
    let by = |token: &str| {
        let request = api.request("POST", &delivered.path);
        request.token(token).json(&asked)
    };
    for token in [publisher(), support(), api.application().token()] {
        by(&token).expect_error(FORBIDDEN).await;
    }
    by("").without_token().expect_error(UNAUTHORIZED).await;
    let missing = delivered
        .application
        .webhook_path(&uuid::Uuid::new_v4().to_string());
    let missing = api.by(&delivered.application, "POST", &format!("{missing}/verify"));
    missing.json(&asked).expect_error(NOT_FOUND).await;
}

async fn every_wrong_field_is_named(api: &Server) {
    let delivered = delivered(api).await;
    for (body, expected) in [
        (json!({}), &["headers", "body"][..]),
        (json!({"headers": {}}), &["body"]),
        (
            json!({"headers": {}, "body": "", "bodyBase64": ""}),
            &["bodyBase64"],
        ),
        (
            json!({"headers": [], "body": 1, "receivedAt": "now", "more": 1}),
            &["headers", "body", "receivedAt", "more"],
        ),
        (json!({"headers": {}, "bodyBase64": "="}), &["bodyBase64"]),
        (
            json!({"headers": {"webhook-id": 1}, "body": ""}),
            &["headers"],
        ),
    ] {
        let request = api.by(&delivered.application, "POST", &delivered.path);
        let response = request.json(&body).expect(400).await;
        assert_eq!(fields(&response), expected, "{body}");
    }
    // Of the largest event every byte may need an escape.
    let asked = |length: usize| json!({"headers": {}, "body": "\"".repeat(length)});
    let found = delivered.verify(api, &asked(262_144)).await;
    assert_eq!(found.json()["reasons"], json!(["headerMissing"]));
    let large = delivered.verify(api, &asked(280_000)).await;
    assert_eq!(large.status, 413, "{}", large.text);
}

async fn the_database_is_asked_only_where_the_signature_is_wrong(api: &Server) {
    local_runtime_only!();
    let delivered = delivered(api).await;
    let (sent, body) = (headers(&delivered.sent), text(&delivered.sent));
    let name = crate::support::unique("request");
    let ask = |body: &str| {
        let request = api.by(&delivered.application, "POST", &delivered.path);
        let request = request.header("x-local-runtime-request", &name);
        request.json(&json!({"headers": sent, "body": body}))
    };
    let fault = Fault::error("sql").of(&name).inject(api);
    ask(&body).expect(200).await;
    ask("{}").expect_error(DEPENDENCY_FAILED).await;
    fault.end();
    ask("{}").expect(200).await;
    let fault = Fault::error("get").of(&name).inject(api);
    ask(&body).expect_error(DEPENDENCY_FAILED).await;
    fault.end();
}

/// Whoever may ask as often as it likes could try signatures.
#[tokio::test]
async fn checks_count_as_changes() {
    let api = Setup::new()
        .variable("max_changes_per_minute", "3")
        .variable("store_timeout_ms", "20000")
        .start();
    let application = api.application();
    let created = api.create(&application).expect_created().await;
    let path = application.webhook_path(&created.webhook.id);
    let asked = json!({"headers": {}, "body": ""});
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let request = api.by(&application, "POST", &format!("{path}/verify"));
        let response = request.json(&asked).send().await;
        statuses.push(response.status);
    }
    assert_eq!(statuses.first(), Some(&200));
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
}

/// The deadline is that of every request, for the store and for the database.
#[tokio::test]
async fn a_store_or_a_database_that_is_late_is_504() {
    local_runtime_only!();
    let deadline = Duration::from_secs(3);
    let api = dispatching_setup()
        .variable("store_timeout_ms", "3000")
        .start();
    let delivered = delivered(&api).await;
    let (headers, body) = (headers(&delivered.sent), text(&delivered.sent));
    let sent = json!({"headers": headers, "body": body});
    // Only what does not verify is looked up.
    let changed = json!({"headers": headers, "body": "{}"});
    let prefix = delivered.application.webhook_prefix();
    for (fault, body) in [
        (Fault::hang("get").on(prefix), &sent),
        (Fault::hang("sql").on("event"), &changed),
    ] {
        let fault = fault.inject(&api);
        let since = Instant::now();
        let response = delivered.verify(&api, body).await;
        let waited = since.elapsed();
        assert!(fault.hits() > 0, "{body}");
        fault.end();
        assert_eq!(response.text, DEPENDENCY_LATE, "{body}");
        assert!((deadline..PATIENCE).contains(&waited), "{waited:?}");
    }
    let (valid, ..) = delivered.finds(&api, &headers, &body).await;
    assert!(valid);
}
