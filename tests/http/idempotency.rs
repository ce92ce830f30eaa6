//! `Idempotency-Key`: a repeat gets the first response.

use std::collections::HashSet;

use application_webhooks::model::encryption::{Sealed, SecretsKey};
use base64ct::{Base64, Encoding};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::client::URL;
use crate::support::contract::{KEY_REUSED, MADE_IS_DELETED, MADE_IS_OVERTAKEN, NOT_FOUND};
use crate::support::server::SECRETS_KEY;
use crate::support::{Application, Server, local_runtime_only, standard, unique};

const HEADER: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

#[tokio::test]
async fn a_repeat_returns_the_first_response_with_the_secret_and_says_so() {
    let api = standard();
    let application = api.application();
    let create = api.create(&application).header(HEADER, unique("key"));
    let first = create.clone().expect_created().await;
    assert_eq!(first.response.header(REPLAYED), None);
    let again = create.clone().expect_created().await;

    assert_eq!(again.response.text, first.response.text);
    assert_eq!(again.response.header(REPLAYED), Some("true"));
    for name in ["location", "etag"] {
        assert!(first.response.header(name).is_some(), "{name}");
        assert_eq!(again.response.header(name), first.response.header(name));
    }
    create
        .url("https://other.example.com")
        .expect_error(KEY_REUSED)
        .await;
    let list = api
        .by(&application, "GET", &application.path())
        .expect(200)
        .await;
    assert_eq!(list.json()["totalItems"], 1);
}

#[tokio::test]
async fn concurrent_repeats_make_one_webhook_and_then_one_rotation_with_one_secret() {
    let api = standard();
    let application = api.application();
    let create = api.create(&application).header(HEADER, unique("key"));
    let created = join_all((0..16).map(|_| create.clone().expect_created())).await;
    let told: HashSet<_> = created
        .iter()
        .map(|created| (&created.webhook.id, &created.webhook.signing_secret))
        .collect();
    assert_eq!(told.len(), 1);
    let list = api
        .by(&application, "GET", &application.path())
        .expect(200)
        .await;
    assert_eq!(list.json()["totalItems"], 1);

    let id = &created[0].webhook.id;
    let path = format!("{}/rotate", application.webhook_path(id));
    let rotate = api
        .by(&application, "POST", &path)
        .header(HEADER, unique("key"));
    let rotated = join_all((0..16).map(|_| rotate.clone().expect(200))).await;
    let told: HashSet<_> = rotated
        .iter()
        .map(|response| response.json()["signingSecret"].to_string())
        .collect();
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn a_repeat_of_an_application_or_a_rotation_makes_no_other() {
    let api = standard();
    let merchant = Application::new();
    let post = api
        .by(&merchant, "POST", "/api/v1/applications")
        .header(HEADER, unique("key"));
    let post = post.json(&json!({"name": "once"}));
    let first = post.clone().expect(201).await;
    let again = post.clone().expect(201).await;
    assert_eq!(
        (&again.text, again.header(REPLAYED)),
        (&first.text, Some("true"))
    );
    post.json(&json!({"name": "twice"}))
        .expect_error(KEY_REUSED)
        .await;

    let application = api.application();
    let webhook = api.create(&application).expect_created().await.webhook;
    let path = format!("{}/rotate", application.webhook_path(&webhook.id));
    let rotate = api
        .by(&application, "POST", &path)
        .header(HEADER, unique("key"));
    let first = rotate.clone().expect(200).await;
    let again = rotate.clone().expect(200).await;
    assert_eq!(
        (&again.text, again.header(REPLAYED)),
        (&first.text, Some("true"))
    );
    let other = rotate.json(&json!({"gracePeriodSeconds": 1}));
    other.expect_error(KEY_REUSED).await;
}

/// What is compared is what a request means, not its bytes.
#[tokio::test]
async fn the_same_request_written_otherwise_is_a_repeat() {
    let api = standard();
    let application = api.application();
    let post = api
        .by(&application, "POST", &application.path())
        .header("content-type", "application/json")
        .header(HEADER, unique("key"));
    let first = r#"{"url":"https://same.example.com/","subscribedEvents":["session.expired"]}"#;
    let first = post.clone().body(first).expect(201).await;
    for same in [
        r#"{"subscribedEvents":["session.expired"],"url":"https://same.example.com/"}"#,
        "{ \"url\" :\n\"https://same.example.com/\", \"subscribedEvents\": [ \"session.expired\" ] }",
        r#"{"url":"https:\/\/s\u0061me.example.com/","subscribedEvents":["session\u002eexpired"]}"#,
    ] {
        let again = post.clone().body(same).expect(201).await;
        assert_eq!(again.text, first.text, "{same}");
        assert_eq!(again.header(REPLAYED), Some("true"), "{same}");
    }
    for other in [
        r#"{"url":"https://same.example.com/"}"#,
        r#"{"url":"https://same.example.com/","subscribedEvents":["session.completed"]}"#,
        r#"{"url":"https://same.example.com","subscribedEvents":["session.expired"]}"#,
    ] {
        post.clone().body(other).expect_error(KEY_REUSED).await;
    }

    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("{}/rotate", application.webhook_path(&id));
    let rotate = |key: &str| {
        api.by(&application, "POST", &path)
            .header("content-type", "application/json")
            .header(HEADER, key)
    };
    for (first, same) in [
        ("", "{ }"),
        (
            "{\"gracePeriodSeconds\":600}",
            "{\"gracePeriodSeconds\": 6.0e2}",
        ),
    ] {
        let key = unique("key");
        let first = rotate(&key).body(first).expect(200).await;
        let again = rotate(&key).body(same).expect(200).await;
        assert_eq!(again.text, first.text, "{same}");
    }
}

/// The syntax of the header's draft has them.
#[tokio::test]
async fn a_key_in_quotation_marks_is_the_key_without_them() {
    let api = standard();
    let create = api.create(&api.application());
    let key = unique("key");
    let first = create.clone().header(HEADER, &key).expect_created().await;
    let again = create
        .clone()
        .header(HEADER, format!("\"{key}\""))
        .expect_created()
        .await;
    assert_eq!(again.response.text, first.response.text);
    for wrong in ["\"\"", "\"", "\"a\"b", "\"a\"; b=1"] {
        create
            .clone()
            .header(HEADER, wrong)
            .expect_bad_fields(&["Idempotency-Key"])
            .await;
    }
}

/// It would get a secret that may be dead, perhaps beside the other's fingerprint.
#[tokio::test]
async fn a_repeat_of_a_rotation_that_another_has_overtaken_is_409() {
    let api = standard();
    let application = api.application();
    let id = api.create(&application).expect_created().await.webhook.id;
    let path = format!("{}/rotate", application.webhook_path(&id));
    let rotate = api
        .by(&application, "POST", &path)
        .json(&json!({"gracePeriodSeconds": 600}));
    let first = rotate.clone().header(HEADER, unique("key"));
    let before = idempotency_records(api);
    first.clone().expect(200).await;
    first.clone().expect(200).await;
    let recorded = idempotency_records(api);
    rotate.expect(200).await;
    first.clone().expect_error(MADE_IS_OVERTAKEN).await;

    // Also where the process died before the first was answered.
    for record in recorded.difference(&before) {
        let read = api.store().get(record).expect("a record");
        if open(record, &read).contains(&id) {
            api.store().delete_all(record);
        }
    }
    first.expect_error(MADE_IS_OVERTAKEN).await;
}

#[tokio::test]
async fn a_repeat_of_a_create_gets_its_secret_until_a_rotation_has_ended_that() {
    let api = standard();
    let application = api.application();
    let create = api.create(&application).header(HEADER, unique("key"));
    let created = create.clone().expect_created().await;
    let path = application.webhook_path(&created.webhook.id);
    let rotate = async |grace: u32| {
        let rotate = api.by(&application, "POST", &format!("{path}/rotate"));
        let body = json!({ "gracePeriodSeconds": grace });
        rotate.json(&body).expect(200).await
    };
    rotate(600).await;
    let again = create.clone().expect_created().await;
    assert_eq!(again.response.text, created.response.text);
    rotate(0).await;
    create.expect_error(MADE_IS_OVERTAKEN).await;
}

#[tokio::test]
async fn once_a_webhook_is_deleted_nothing_in_the_store_opens_to_its_secrets() {
    let api = standard();
    let application = api.application();
    let create = api.create(&application).header(HEADER, unique("key"));
    let created = create.clone().expect_created().await;
    let path = application.webhook_path(&created.webhook.id);
    let rotate = api.by(&application, "POST", &format!("{path}/rotate"));
    let rotate = rotate.header(HEADER, unique("key"));
    let rotated = rotate.clone().expect(200).await;
    api.by(&application, "DELETE", &path).expect(204).await;

    create.expect_error(MADE_IS_DELETED).await;
    rotate.expect_error(NOT_FOUND).await;
    if crate::support::server::on_spin() {
        return;
    }
    let secrets = [
        created.webhook.signing_secret,
        rotated.json()["signingSecret"]
            .as_str()
            .expect("a secret")
            .to_owned(),
    ];
    let mut seen = 0;
    for record in idempotency_records(api) {
        let Some(document) = api.store().get(&record) else {
            continue;
        };
        let opened = open(&record, &document);
        seen += usize::from(opened.contains(&created.webhook.id));
        for secret in &secrets {
            assert!(!opened.contains(secret), "{record}");
        }
    }
    assert_eq!(seen, 2, "the records of both requests");
    for kind in ["webhook", "webhook-secrets"] {
        let left = api.store().keys(&format!("{kind}/{}/", application.id));
        assert!(left.is_empty(), "{left:?}");
    }
}

fn idempotency_records(api: &Server) -> HashSet<String> {
    if crate::support::server::on_spin() {
        return HashSet::new();
    }
    api.store().keys("idempotency/").into_iter().collect()
}

/// What a record's response says to who has `secrets_key`.
fn open(key: &str, document: &[u8]) -> String {
    let record: Value = serde_json::from_slice(document).expect("JSON");
    let sealed: Sealed = serde_json::from_value(record["response"].clone()).expect("sealed");
    let secrets_key = SecretsKey::parse(&Base64::encode_string(&SECRETS_KEY)).expect("a key");
    let opened = secrets_key.open(key, &sealed).expect("it opens");
    String::from_utf8(opened).expect("text")
}

#[tokio::test]
async fn keys_are_one_to_255_printable_characters() {
    let api = standard();
    let application = api.application();
    let create = api.create(&application);
    for key in ["~".to_owned(), "k".repeat(255)] {
        create.clone().header(HEADER, key).expect_created().await;
    }
    for key in [Vec::new(), vec![b'k'; 256], b"k\tk".to_vec(), "ü".into()] {
        create
            .clone()
            .header(HEADER, key)
            .expect_bad_fields(&["Idempotency-Key"])
            .await;
    }
}

#[tokio::test]
async fn another_application_with_the_same_key_gets_a_webhook_of_its_own() {
    let api = standard();
    let key = unique("key");
    let mut secrets = HashSet::new();
    for _ in 0..2 {
        let create = api.create(&api.application()).header(HEADER, &key);
        let created = create.expect_created().await;
        assert_eq!(created.response.header(REPLAYED), None);
        secrets.insert(created.webhook.signing_secret);
    }
    assert_eq!(secrets.len(), 2);
}

#[tokio::test]
async fn another_merchant_with_the_same_key_gets_an_application_of_its_own() {
    let api = standard();
    let key = unique("key");
    let mut ids = HashSet::new();
    for _ in 0..2 {
        let create = api
            .by(&Application::new(), "POST", "/api/v1/applications")
            .header(HEADER, &key)
            .json(&json!({"name": "Shop"}));
        let created = create.expect(201).await;
        assert_eq!(created.header(REPLAYED), None);
        ids.insert(created.json()["id"].to_string());
    }
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn what_is_kept_does_not_show_the_response() {
    local_runtime_only!();
    let api = standard();
    let create = api.create(&api.application()).header(HEADER, unique("key"));
    let url = format!("{URL}/{}", unique("kept"));
    let created = create.url(&url).expect_created().await;
    let secret = created.webhook.signing_secret;
    let kept: Vec<_> = api
        .store()
        .keys("idempotency/")
        .iter()
        .filter_map(|key| api.store().get(key))
        .collect();

    assert!(!kept.is_empty());
    for document in kept {
        let text = String::from_utf8_lossy(&document);
        assert!(!text.contains(&secret) && !text.contains(&url), "{text}");
    }
    let on_disk = api.store().bytes();
    let bare = secret.trim_start_matches("whsec_").as_bytes();
    assert!(!on_disk.windows(bare.len()).any(|bytes| bytes == bare));
}

#[tokio::test]
async fn a_key_is_free_again_after_24_hours_and_makes_another_secret() {
    local_runtime_only!();
    let api = standard();
    let application = api.application();
    let before: HashSet<_> = api.store().keys("idempotency/").into_iter().collect();
    let create = api.create(&application).header(HEADER, unique("key"));
    let first = create
        .clone()
        .url("https://day.example.com")
        .expect_created()
        .await
        .webhook;
    // Other tests keep responses meanwhile: this one's is the document that a changed time frees.
    let long_ago = "2020-01-01T00:00:00.000Z";
    let mut aged = 0;
    for key in api.store().keys("idempotency/") {
        if before.contains(&key) {
            continue;
        }
        let text = api.store().get(&key).expect("a document");
        let document: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let digest = sha256_of(r#"{"url":"https://day.example.com"}"#);
        if document["request"] == digest.as_str() {
            let mut old = document;
            old["at"] = json!(long_ago);
            api.store().set(&key, old.to_string().as_bytes());
            aged += 1;
        }
    }
    assert_eq!(aged, 1);

    let second = create.url("https://day.example.com").expect_created().await;
    assert_eq!(second.response.header(REPLAYED), None);
    assert_ne!(second.webhook.id, first.id);
    assert_ne!(second.webhook.signing_secret, first.signing_secret);
}

fn sha256_of(text: &str) -> String {
    use sha2::{Digest, Sha256};
    base16ct::lower::encode_string(&Sha256::digest(text))
}
