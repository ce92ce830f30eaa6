//! What an operator needs: probes, a change of `secrets_key`, and stores that do not take a `/`.

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding};
use serde_json::json;

use crate::support::client::URL;
use crate::support::{Setup, faults::Fault, local_runtime_only, short_deadline, standard};

pub const NOT_READY: &str = r#"{"error":"Service Unavailable","message":"The service is not ready","code":503,"reason":"notReady"}"#;

#[tokio::test]
async fn probes_answer_without_a_token() {
    let api = standard();
    let live = api.request("GET", "/healthz").expect(200).await;
    assert_eq!(live.text, r#"{"status":"ok"}"#);
    let ready = api.request("GET", "/readyz").expect(200).await;
    assert_eq!(ready.text, r#"{"status":"ready"}"#);
}

#[tokio::test]
async fn readyz_is_503_while_the_store_fails_or_hangs_and_healthz_is_not() {
    local_runtime_only!();
    let api = short_deadline();
    for fault in [Fault::error("exists"), Fault::hang("exists")] {
        let fault = fault.on("readyz").inject(api);
        api.request("GET", "/readyz").expect_error(NOT_READY).await;
        api.request("GET", "/healthz").expect(200).await;
        fault.end();
        api.request("GET", "/readyz").expect(200).await;
    }
}

/// The restarted service has another `secrets_key`, and the old one as `secrets_key_previous`.
#[tokio::test]
async fn secrets_written_under_the_previous_key_are_still_read() {
    local_runtime_only!();
    let old = Base64::encode_string(&[1; 32]);
    let new = Base64::encode_string(&[2; 32]);
    let setup = Setup::new()
        .variable("store_timeout_ms", "20000")
        .variable("secrets_key", &old);
    let api = setup.start();
    let application = api.application();
    let create = |api: &crate::support::Server| {
        api.create(&application)
            .header("idempotency-key", "before-the-change")
    };
    let first = create(&api).expect_created().await;

    let setup = api.kill();
    let without = setup.clone().variable("secrets_key", &new).start();
    let refused = create(&without).send().await;
    assert_eq!(refused.status, 502, "{}", refused.text);
    without.kill();

    let api = setup
        .variable("secrets_key", &new)
        .variable("secrets_key_previous", &old)
        .start();
    let replayed = create(&api).expect_created().await;
    assert_eq!(replayed.response.text, first.response.text);
    let path = format!("{}/{}", application.path(), first.webhook.id);
    let test = api
        .request("POST", &format!("{path}/test"))
        .token(&application.token())
        .expect(200)
        .await;
    // Nobody listens there; what counts is that the secret could be decrypted for the signature.
    assert_eq!(test.json()["success"], json!(false));
}

/// Cosmos DB refuses keys with these characters.
#[tokio::test]
async fn with_the_other_separator_no_key_holds_what_cosmos_db_refuses() {
    local_runtime_only!();
    let api = Setup::new()
        .variable("store_timeout_ms", "20000")
        .variable("store_key_separator", ":")
        .start();
    // Their documents are spelled with `/`, as the runtime was given them.
    let seeded: BTreeSet<String> = api.store().keys("").into_iter().collect();
    let token = api.application().token();
    let request = |method: &str, path: &str| api.request(method, path).token(&token);

    let application = request("POST", "/api/v1/applications")
        .json(&json!({"name": "A shop"}))
        .expect(201)
        .await
        .json();
    let application = format!(
        "/api/v1/applications/{}",
        application["id"].as_str().expect("an id")
    );
    request("PATCH", &application)
        .json(&json!({"description": "On the corner"}))
        .expect(200)
        .await;
    let webhooks = format!("{application}/webhooks");
    let create = || {
        request("POST", &webhooks)
            .header("idempotency-key", "once")
            .json(&json!({"url": URL}))
    };
    let webhook = create().expect_created().await.webhook;
    assert_eq!(create().expect_created().await.webhook.id, webhook.id);
    let path = format!("{webhooks}/{}", webhook.id);
    request("PATCH", &path)
        .json(&json!({"isActive": false}))
        .expect(200)
        .await;
    request("POST", &format!("{path}/rotate")).expect(200).await;
    request("POST", &format!("{path}/test")).expect(200).await;

    let keys: BTreeSet<String> = api.store().keys("").into_iter().collect();
    let written: Vec<&String> = keys.difference(&seeded).collect();
    for kind in [
        "application:",
        "application-name:",
        "application-settings:",
        "applications:",
        "idempotency:",
        "webhook:",
        "webhook-secrets:",
        "webhook-settings:",
        "webhook-test:",
        "webhooks:",
    ] {
        assert!(
            written.iter().any(|key| key.starts_with(kind)),
            "{kind}: {written:?}"
        );
    }
    for key in &written {
        assert!(!key.contains(['/', '\\', '?', '#']), "{key}");
        // The longest id that Cosmos DB takes.
        assert!(key.len() <= 255, "{key}");
    }

    request("DELETE", &path).expect(204).await;
    request("DELETE", &application).expect(204).await;
    request("GET", &application).expect(404).await;
}
