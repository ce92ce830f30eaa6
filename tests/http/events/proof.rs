//! Proofs of deliveries: what two independent libraries verify, offline.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{completed, on_postgres, publish, subscribed};
use crate::standard_webhooks::Script;
use crate::support::contract::{DEPENDENCY_FAILED, FORBIDDEN, NOT_FOUND, UNAUTHORIZED};
use crate::support::faults::Fault;
use crate::support::receiver::answer;
use crate::support::server::dispatching_setup;
use crate::support::tokens::{publisher, support};
use crate::support::{Application, Receiver, Server, Setup, local_runtime_only, report};

on_both_databases! {
    a_proof_states_what_was_sent_and_what_came_of_it
    a_proof_is_for_who_may_read_the_log
    a_proof_needs_the_database
}

/// What each library says of the proofs: what they state, null for one that it refuses.
async fn verified(keys: &Value, proofs: &[&str]) -> Vec<(String, Vec<Value>)> {
    let given = json!({"keys": keys, "proofs": proofs});
    let mut verified = Vec::new();
    for script in [
        Script::python("proofs/verify.py", "jwt").await,
        Script::node("proofs/verify.mjs", "jose"),
    ] {
        if !script.installed {
            report::client_missing(&script.library);
            continue;
        }
        let stated = script.run(&given).await;
        verified.push((script.library, stated));
    }
    verified
}

async fn keys(api: &Server) -> Value {
    let response = api
        .request("GET", "/.well-known/jwks.json")
        .send_unchecked();
    let response = response.await.expect("a response");
    assert_eq!(response.status, 200, "{}", response.text);
    let kept = response.header("cache-control");
    assert_eq!(kept, Some("public, max-age=300"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    let keys = response.json();
    for key in keys["keys"].as_array().expect("keys") {
        assert_eq!(key.get("d"), None, "{key}");
    }
    keys
}

/// The path of the proof of the application's only delivery.
fn path(application: &Application, webhook: &str, event: &Value) -> String {
    let event = event["id"].as_str().expect("an id");
    let webhook = application.webhook_path(webhook);
    format!("{webhook}/deliveries/{event}/proof")
}

async fn proof(api: &Server, application: &Application, path: &str) -> String {
    let response = api.by(application, "GET", path).expect(200).await.json();
    response["proof"].as_str().expect("a proof").to_owned()
}

fn sha256(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

async fn a_proof_states_what_was_sent_and_what_came_of_it(api: &Server) {
    let receiver = Receiver::answering_in_turn(&[
        &answer("503 Later", b"not now"),
        &answer("200 OK", b"thanks"),
    ]);
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    let path = path(&application, &created.webhook.id, &published);
    let proof = proof(api, &application, &path).await;
    // Somebody says that all went well at once.
    let mut parts: Vec<_> = proof.split('.').map(str::to_owned).collect();
    let payload = base64ct::Base64UrlUnpadded::decode_vec(&parts[1]).expect("base64url");
    let payload = String::from_utf8(payload).expect("UTF-8");
    let changed = payload.replace("\"httpStatusCode\":503", "\"httpStatusCode\":200");
    assert_ne!(payload, changed);
    parts[1] = base64ct::Base64UrlUnpadded::encode_string(changed.as_bytes());
    let changed = parts.join(".");

    let delivery = &read["deliveries"][0];
    let last = &delivery["lastAttempt"];
    // The data go, and with them what the endpoint answered; the hashes stay.
    let id = published["id"].as_str().expect("an id");
    let data = format!("{}/{id}/data", application.events_path());
    api.by(&application, "DELETE", &data).expect(204).await;
    let response = api.by(&application, "GET", &path).expect(200).await.json();
    let erased = response["proof"].as_str().expect("a proof");
    for (library, mut stated) in verified(&keys(api).await, &[&proof, &changed, erased]).await {
        assert_eq!(stated[1], Value::Null, "{library}");
        let mut after = stated.remove(2);
        assert!(after["event"]["erasedAt"].take().is_string(), "{library}");
        let stated = &stated[0];
        after["iat"] = stated["iat"].clone();
        assert_eq!(&after, stated, "{library}");
        assert_eq!(stated["applicationId"], json!(application.id), "{library}");
        assert_eq!(stated["webhookId"], json!(created.webhook.id));
        assert!(
            stated["iat"]
                .as_i64()
                .is_some_and(|iat| iat > 1_700_000_000)
        );
        assert_eq!(stated.get("iss"), None);
        let event = json!({
            "id": published["id"], "type": published["type"],
            "occurredAt": published["occurredAt"], "createdAt": published["createdAt"],
            "sizeBytes": receiver.last().body.len(), "sha256": sha256(&receiver.last().body),
            "erasedAt": null,
        });
        assert_eq!(stated["event"], event);
        let stated_delivery = json!({
            "status": "succeeded", "reason": null, "attemptCount": 2,
            "createdAt": delivery["createdAt"], "completedAt": delivery["completedAt"],
        });
        assert_eq!(stated["delivery"], stated_delivery);
        let [first, second] = &stated["attempts"].as_array().expect("attempts")[..] else {
            panic!("{stated}");
        };
        assert_eq!(first["number"], 1);
        assert_eq!(first["httpStatusCode"], 503);
        assert_eq!(first["error"], "httpStatus");
        assert_eq!(first["responseSha256"], json!(sha256(b"not now")));
        let expected = json!({
            "number": 2, "trigger": "schedule", "startedAt": last["startedAt"],
            "durationMs": last["durationMs"], "url": receiver.url(),
            "secretFingerprints": [created.webhook.key_fingerprint],
            "httpStatusCode": 200, "error": null, "responseSha256": sha256(b"thanks"),
        });
        assert_eq!(second, &expected);
    }
}

async fn a_proof_is_for_who_may_read_the_log(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    completed(api, &application, &published["id"]).await;
    let webhook = &created.webhook.id;
    let own = path(&application, webhook, &published);
    let by = |token: &str, path: &str| api.request("GET", path).token(token);
    by(&support(), &own).expect(200).await;
    api.by(&application, "HEAD", &own).expect(200).await;
    let other = api.application();
    for token in [publisher(), other.token()] {
        by(&token, &own).expect_error(FORBIDDEN).await;
    }
    by("", &own)
        .without_token()
        .expect_error(UNAUTHORIZED)
        .await;
    // Neither under another application nor another webhook, nor is there a proof of nothing.
    let nobody = uuid::Uuid::new_v4().to_string();
    let never = json!({"id": "evt_019abd5a6f407c2e8d3b9f0a1b2c3d4e"});
    for (application, path) in [
        (&other, path(&other, webhook, &published)),
        (&application, path(&application, &nobody, &published)),
        (&application, path(&application, webhook, &never)),
    ] {
        let request = api.by(application, "GET", &path);
        request.expect_error(NOT_FOUND).await;
    }
    let malformed = format!("{}/deliveries/1/proof", application.webhook_path("1"));
    let request = api.by(&application, "GET", &malformed);
    request.expect_bad_fields(&["webhookId", "eventId"]).await;
    // It outlives its webhook.
    let webhook = application.webhook_path(webhook);
    api.by(&application, "DELETE", &webhook).expect(204).await;
    by(&application.token(), &own).expect(200).await;
}

async fn a_proof_needs_the_database(api: &Server) {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    completed(api, &application, &published["id"]).await;
    let path = path(&application, &created.webhook.id, &published);
    let name = crate::support::unique("request");
    let request = || {
        let request = api.by(&application, "GET", &path);
        request.header("x-local-runtime-request", &name)
    };
    let fault = Fault::error("sql").on("evidence").of(&name).inject(api);
    request().expect_error(DEPENDENCY_FAILED).await;
    // The keys need nothing.
    keys(api).await;
    fault.end();
    request().expect(200).await;
}

/// Proofs that were handed out are worth something only as long as they verify.
async fn earlier_proofs_verify_after_each_change_of_a_key(setup: Setup) {
    let key = |byte: u8| Base64::encode_string(&[byte; 32]);
    let receiver = Receiver::answering("200 OK", b"");
    let setup = setup.variable("secrets_key", &key(1));
    let api = setup.start();
    let (application, created) = subscribed(&api, &receiver.url()).await;
    let published = publish(&api, &application).await;
    completed(&api, &application, &published["id"]).await;
    let path = path(&application, &created.webhook.id, &published);
    let first = proof(&api, &application, &path).await;
    let keys_before = keys(&api).await;
    let setup = api.kill();

    let api = setup
        .variable("secrets_key", &key(2))
        .variable("secrets_key_previous", &key(1))
        .variable("proof_key", &key(3))
        .variable("proof_issuer", "https://webhooks.example.com")
        .start();
    let second = proof(&api, &application, &path).await;
    let keys_of_both = keys(&api).await;
    let setup = api.kill();

    // The secrets key is another for good, and so is the proof key.
    let earlier = |keys: &Value| keys["keys"][0]["x"].as_str().expect("a key").to_owned();
    let list = [earlier(&keys_before), earlier(&keys_of_both)].join(", ");
    let api = setup
        .variable("secrets_key_previous", "")
        .variable("proof_key", &key(4))
        .variable("proof_keys_previous", &list)
        .start();
    let keys_after = keys(&api).await;
    let proofs = [first.as_str(), &second];
    for (keys, verifies) in [
        (&keys_before, [true, false]),
        (&keys_of_both, [true, true]),
        (&keys_after, [true, true]),
    ] {
        for (library, stated) in verified(keys, &proofs).await {
            let verified: Vec<bool> = stated.iter().map(Value::is_object).collect();
            assert_eq!(verified, verifies, "{library}");
            if verifies[1] {
                let issuer = json!("https://webhooks.example.com");
                assert_eq!(stated[1]["iss"], issuer, "{library}");
            }
        }
    }
}

#[tokio::test]
async fn earlier_proofs_verify_after_each_change_of_a_key_on_sqlite() {
    earlier_proofs_verify_after_each_change_of_a_key(dispatching_setup()).await;
}

#[tokio::test]
async fn earlier_proofs_verify_after_each_change_of_a_key_on_postgres() {
    let server = crate::support::postgres_server!();
    let setup = on_postgres(dispatching_setup(), server);
    earlier_proofs_verify_after_each_change_of_a_key(setup).await;
}
