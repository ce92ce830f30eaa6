//! 201: the webhook that "Create application webhook" makes.

use std::collections::HashSet;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use crate::support::client::URL;
use crate::support::tokens::now;
use crate::support::{Created, custom, local_runtime_only, raw, standard};

async fn created() -> Created {
    let api = standard();
    api.create(&api.application()).expect_created().await
}

#[tokio::test]
async fn the_body_has_the_ten_fields_in_the_documented_order() {
    let created = created().await;

    let text = &created.response.text;
    let mut rest = text.as_str();
    for field in [
        "id",
        "url",
        "isActive",
        "keyFingerprint",
        "signingSecret",
        "subscribedEvents",
        "lastTestAt",
        "lastTestStatus",
        "createdAt",
        "updatedAt",
    ] {
        let name = format!("\"{field}\":");
        let position = rest
            .find(&name)
            .unwrap_or_else(|| panic!("{field} not in place: {text}"));
        rest = &rest[position + name.len()..];
    }
    assert_eq!(
        created.response.json().as_object().map(|body| body.len()),
        Some(10),
        "{text}"
    );
}

#[tokio::test]
async fn id_is_a_random_uuid() {
    let id = created().await.webhook.id;

    let uuid = uuid::Uuid::parse_str(&id).unwrap_or_else(|e| panic!("{id}: {e}"));
    assert_eq!(uuid.get_version_num(), 4, "{id}");
    assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122, "{id}");
    assert_eq!(uuid.hyphenated().to_string(), id, "lower case with hyphens");
}

#[tokio::test]
async fn url_is_echoed_as_it_was_sent() {
    let api = standard();
    let application = api.application();
    for url in [
        URL,
        "https://merchant.example.com",
        "HTTPS://Merchant.EXAMPLE.com:443/Hooks/../%7Ea?b=c&d=%20",
    ] {
        let created = api.create(&application).url(url).expect_created().await;
        assert_eq!(created.webhook.url, url);
    }

    // JSON's own escapes are no part of the URL.
    let escaped = r#"{"\u0075rl":"https:\/\/merchant.example.com\/\u0061"}"#;
    let created = api
        .create(&application)
        .body(escaped)
        .expect_created()
        .await;
    assert_eq!(created.webhook.url, "https://merchant.example.com/a");
}

#[tokio::test]
async fn a_new_webhook_is_active_and_was_never_tested() {
    let webhook = created().await.webhook;

    assert!(webhook.is_active);
    assert_eq!(webhook.last_test_at, Value::Null);
    assert_eq!(webhook.last_test_status, Value::Null);
}

#[tokio::test]
async fn signing_secret_is_36_random_bytes_in_base64_behind_its_prefix() {
    let secret = created().await.webhook.signing_secret;

    let encoded = secret
        .strip_prefix("whsec_")
        .unwrap_or_else(|| panic!("{secret}"));
    assert_eq!(encoded.len(), 48, "36 bytes need no padding");
    let bytes = Base64::decode_vec(encoded).unwrap_or_else(|e| panic!("{secret}: {e}"));
    assert_eq!(bytes.len(), 36);
    let different: HashSet<u8> = bytes.into_iter().collect();
    assert!(different.len() > 12, "not random: {secret}");
}

#[tokio::test]
async fn key_fingerprint_is_the_secrets_last_four_characters() {
    let webhook = created().await.webhook;

    let secret = &webhook.signing_secret;
    assert_eq!(
        webhook.key_fingerprint,
        format!("whsec_****{}", &secret[secret.len() - 4..])
    );
}

#[tokio::test]
async fn ids_and_secrets_are_never_the_same_twice() {
    let api = standard();
    let application = api.application();
    let (mut ids, mut secrets) = (HashSet::new(), HashSet::new());
    for _ in 0..20 {
        let webhook = api.create(&application).expect_created().await.webhook;
        assert!(ids.insert(webhook.id));
        assert!(secrets.insert(webhook.signing_secret));
    }
}

#[tokio::test]
async fn times_are_now_in_utc_with_milliseconds() {
    let before = now();
    let webhook = created().await.webhook;
    let after = now();

    let created_at = &webhook.created_at;
    let shape: String = created_at
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{created_at}");
    let time = chrono::DateTime::parse_from_rfc3339(created_at)
        .unwrap_or_else(|e| panic!("{created_at}: {e}"))
        .timestamp();
    // Two clocks of one machine.
    assert!((before - 1..=after + 1).contains(&time), "{created_at}");
    assert_eq!(webhook.updated_at, *created_at);
}

#[tokio::test]
async fn subscribed_events_default_to_all() {
    assert_eq!(
        created().await.webhook.subscribed_events,
        ["session.completed", "session.expired"]
    );
}

#[tokio::test]
async fn subscribed_events_are_those_that_were_asked_for() {
    let api = standard();
    let application = api.application();
    for events in [
        json!(["session.completed"]),
        json!(["session.expired"]),
        json!(["session.completed", "session.expired"]),
        json!(["*"]),
    ] {
        let body = json!({ "url": URL, "subscribedEvents": events });
        let created = api.create(&application).json(&body).expect_created().await;
        assert_eq!(json!(created.webhook.subscribed_events), events);
    }
}

#[tokio::test]
async fn event_types_come_from_the_configuration() {
    let api = custom();
    let application = api.application();
    let token = crate::configuration::token_for_custom(&application);

    let created = api
        .create(&application)
        .token(&token)
        .expect_created()
        .await;
    assert_eq!(
        created.webhook.subscribed_events,
        ["payment.created", "payment.failed", "refund_v2"]
    );

    let known = json!({ "url": URL, "subscribedEvents": ["refund_v2"] });
    api.create(&application)
        .token(&token)
        .json(&known)
        .expect(201)
        .await;
    let unknown = json!({ "url": URL, "subscribedEvents": ["session.completed"] });
    let refused = api.create(&application).token(&token).json(&unknown);
    refused.expect_bad_fields(&["subscribedEvents"]).await;
}

#[tokio::test]
async fn headers_are_the_documented_ones() {
    let api = standard();
    let application = api.application();
    let created = api.create(&application).expect_created().await;

    let response = &created.response;
    let location = format!(
        "/api/v1/applications/{}/webhooks/{}",
        application.id, created.webhook.id
    );
    assert_eq!(response.header("location"), Some(location.as_str()));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    let length = response.text.len().to_string();
    assert_eq!(response.header("content-length"), Some(length.as_str()));
    let request_id = uuid::Uuid::parse_str(response.request_id());
    assert!(request_id.is_ok_and(|id| id.get_version_num() == 4));
}

#[tokio::test]
async fn request_ids_are_ours_and_of_one_request_each() {
    let api = standard();
    let application = api.application();
    let mine = "8a1c2f9e-3d4b-4f5a-9b6c-7d8e9f0a1b2c";
    let mut seen = HashSet::from([mine.to_owned()]);
    for _ in 0..3 {
        let response = api
            .create(&application)
            .header("x-request-id", mine)
            .expect(201)
            .await;
        assert!(seen.insert(response.request_id().to_owned()), "{seen:?}");
    }
}

#[tokio::test]
async fn the_same_url_may_have_many_webhooks() {
    let api = standard();
    let application = api.application();
    let first = api.create(&application).expect_created().await.webhook;
    let second = api.create(&application).expect_created().await.webhook;
    assert_eq!(first.url, second.url);
    assert_ne!(first.id, second.id);
}

#[tokio::test]
async fn a_connection_serves_request_after_request() {
    let api = standard();
    let application = api.application();
    let (path, token) = (application.path(), application.token());
    let body = json!({ "url": URL }).to_string();
    let request = |connection: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // Three at once on the wire: the answers come in order, each with its length.
    let pipelined = request("keep-alive") + &request("keep-alive") + &request("close");
    let answers = raw::exchange(api.address(), pipelined.as_bytes());
    assert_eq!(answers.status, 201);
    assert_eq!(
        answers.text.matches("HTTP/1.1 201 Created\r\n").count(),
        2,
        "{}",
        answers.text
    );
    assert_eq!(
        answers.text.matches("\"signingSecret\"").count(),
        3,
        "{}",
        answers.text
    );
}

#[tokio::test]
async fn the_webhook_is_stored_under_its_key_and_in_the_index() {
    local_runtime_only!();
    let api = standard();
    let application = api.application();
    let first = api.create(&application).expect_created().await.webhook;

    let document = api
        .store()
        .webhook(&application, &first.id)
        .expect("stored");
    assert_eq!(document["v"], 1);
    assert_eq!(document["id"], json!(first.id));
    assert_eq!(document["applicationId"], json!(application.id));
    assert_eq!(document["url"], json!(first.url));
    assert_eq!(document["isActive"], json!(true));
    assert_eq!(document["subscribedEvents"], json!(first.subscribed_events));
    assert_eq!(
        document["secret"]["fingerprint"],
        json!(first.key_fingerprint)
    );
    assert!(document["secret"]["sealed"].is_string(), "{document}");
    assert_eq!(document["createdAt"], json!(first.created_at));

    let second = api.create(&application).expect_created().await.webhook;
    assert_eq!(
        api.store().index(&application),
        [first.id, second.id],
        "oldest first"
    );
    let keys = api.store().keys(&application.webhook_prefix());
    assert_eq!(keys.len(), 2, "{keys:?}");
}
