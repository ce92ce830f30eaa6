//! Documents of the first release, which knew creates only: everything works on them.

use serde_json::{Value, json};

use crate::support::{Application, PATIENCE, Receiver, Setup, local_runtime_only, poll};

const ID: &str = "43498a08-32fb-4f6d-903b-b32972ab7581";
const SECRET: &str = "whsec_WzxuQev/pJJvV0YNQdzkixG+KUaJ2AzD1H35qzI0oXOnsj88";
/// [`SECRET`], encrypted for [`ID`] with the key of these tests.
const SEALED: &str = "AfTZf73lYxtie4z3/VB1yE/nN1cphDX4gDoPaZNEpGous7oqChv4eBRQKxceQ/al5slM6CzHc40A1SJQgD3fPZvmfcKF3WPD+vX/BF4QbdGt";
const CREATED_AT: &str = "2026-11-24T12:19:37.015Z";

/// A webhook as the first release wrote it: its key alone told the application.
fn document(url: &str) -> String {
    json!({
        "v": 1,
        "id": ID,
        "url": url,
        "isActive": true,
        "subscribedEvents": ["session.completed", "session.expired"],
        "secret": {"fingerprint": "whsec_****sj88", "sealed": SEALED},
        "createdAt": CREATED_AT,
    })
    .to_string()
}

#[tokio::test]
async fn a_webhook_of_the_first_release_lives_on() {
    let receiver = Receiver::answering("200 OK", b"");
    let application = Application::new();
    let key = format!("{}{ID}", application.webhook_prefix());
    let api = Setup::new()
        .document(&application.key(), &application.document())
        .document(&key, &document(&receiver.url()))
        .document(&application.index_key(), &json!([ID]).to_string())
        .variable("allow_insecure_urls", "true")
        .variable("delivery_scheme", "*")
        .variable("store_timeout_ms", "20000")
        .into_private_networks()
        .start();
    let path = application.webhook_path(ID);
    let by = |method: &str, path: &str| api.by(&application, method, path);
    let test = async || {
        let result = by("POST", &format!("{path}/test")).expect(200).await.json();
        assert_eq!(result["success"], true, "{result}");
        (result, receiver.last())
    };

    // It is read and listed as ever.
    let mut expected = json!({
        "id": ID,
        "url": receiver.url(),
        "isActive": true,
        "keyFingerprint": "whsec_****sj88",
        "subscribedEvents": ["session.completed", "session.expired"],
        "lastTestAt": null,
        "lastTestStatus": null,
        "createdAt": CREATED_AT,
        "updatedAt": CREATED_AT,
    });
    let read = by("GET", &path).expect(200).await;
    assert_eq!(read.json(), expected);
    let list = by("GET", &application.path()).expect(200).await.json();
    assert_eq!(list["items"], json!([expected]));

    // Its deliveries are signed with the secret that its merchant has.
    let (result, delivery) = test().await;
    assert!(delivery.is_signed_with(SECRET));
    expected["lastTestAt"] = result["deliveredAt"].clone();
    expected["lastTestStatus"] = json!("SUCCEEDED");
    let read = by("GET", &path).expect(200).await;
    assert_eq!(read.json(), expected);

    // It is changed, under the tag of its last state only.
    let tag = read.header("etag").expect("a tag").to_owned();
    let patch = |tag: &str, body: Value| by("PATCH", &path).header("if-match", tag).json(&body);
    let changed = patch(&tag, json!({"isActive": false})).expect(200).await;
    expected["isActive"] = json!(false);
    expected["updatedAt"] = changed.json()["updatedAt"].clone();
    assert_eq!(changed.json(), expected);
    assert!(expected["updatedAt"].as_str() > Some(CREATED_AT));
    patch(&tag, json!({"isActive": true})).expect(412).await;

    // It is rotated, and both secrets sign.
    let rotate = by("POST", &format!("{path}/rotate"));
    let rotated = rotate.expect(200).await.json();
    let new = rotated["signingSecret"].as_str().expect("a secret");
    let (_, delivery) = test().await;
    assert!(delivery.is_signed_with(SECRET) && delivery.is_signed_with(new));

    // Another one is made beside it, and it is deleted.
    let second = api.create(&application).expect_created().await.webhook;
    let list = by("GET", &application.path()).expect(200).await.json();
    let ids: Vec<&Value> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["id"])
        .collect();
    assert_eq!(ids, [&json!(second.id), &json!(ID)]);
    by("DELETE", &path).expect(204).await;
    by("GET", &path).expect(404).await;
    let list = by("GET", &application.path()).expect(200).await.json();
    assert_eq!(list["totalItems"], 1);
}

/// Indexes were arrays of ids; claims to names were an id; a count of changes had one minute by slot.
#[tokio::test]
async fn indexes_names_and_counts_of_the_first_release_are_read_and_indexes_get_their_dates() {
    local_runtime_only!();
    let merchant = Application::new();
    let own = |id: &str| Application {
        id: id.to_owned(),
        merchant: merchant.merchant.clone(),
    };
    let api = Setup::new()
        .variable("max_changes_per_minute", "10")
        .start();
    let applications = "/api/v1/applications";
    // This release writes them, to find out the keys.
    let create = api.by(&merchant, "POST", applications);
    let created = create.clone().json(&json!({"name": "first"}));
    let first = created.expect(201).await.json();
    let first = own(first["id"].as_str().expect("an id"));
    let key = |prefix: &str| {
        let keys = api.store().keys(prefix);
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys[0].clone()
    };
    let (index, name) = (key("applications/"), key("application-name/"));
    poll("the count", PATIENCE, || {
        (api.store().keys("changes/").len() == 1).then_some(())
    })
    .await;
    let count = key("changes/");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let api = api.kill().start();

    // What the first release wrote there.
    let (old, by_hand) = (own("old"), own("by-hand"));
    let document = json!({
        "merchantId": merchant.merchant, "name": "old", "description": null,
        "createdAt": "2026-01-01T00:00:00.000Z",
    });
    let set = |key: &str, value: Value| api.store().set(key, value.to_string().as_bytes());
    set(&old.key(), document);
    set(&by_hand.key(), json!({"merchantId": merchant.merchant}));
    set(&index, json!([by_hand.id, old.id, first.id, "../gone"]));
    set(&name, json!(first.id));
    let minute = std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs() / 60;
    set(
        &count,
        json!({"minute": minute, "made": {"7": 4, "200": 5}, "before": 0}),
    );

    // The list is sorted as ever, and its index has the dates soon.
    let listed = async || {
        let list = api.by(&merchant, "GET", applications).expect(200).await;
        let list = list.json();
        let items = list["items"].as_array().expect("items").iter();
        let ids = items.map(|item| item["id"].as_str().expect("an id").to_owned());
        ids.collect::<Vec<_>>()
    };
    let newest_first = [&first.id, &old.id, &by_hand.id];
    assert_eq!(listed().await.iter().collect::<Vec<_>>(), newest_first);
    poll("the index has the dates", PATIENCE, || {
        let stored = api.store().get(&index).expect("an index");
        let stored: Value = serde_json::from_slice(&stored).expect("JSON");
        let stored = stored.as_array().expect("entries");
        let dated = |entry: &Value| entry.get("createdAt").is_some();
        (stored.len() == 3 && stored.iter().all(dated)).then_some(())
    })
    .await;
    assert_eq!(listed().await.iter().collect::<Vec<_>>(), newest_first);
    // The name is taken, and of ten changes nine were made.
    let taken = create.clone().json(&json!({"name": "first"}));
    taken.expect(409).await;
    create.json(&json!({"name": "second"})).expect(429).await;
}

/// Earlier releases accepted names with white space at the ends and with invisible characters.
#[tokio::test]
async fn an_application_with_a_name_of_an_earlier_release_lives_on() {
    let application = Application::new();
    let name = " Sh\u{200b}op ";
    let document = json!({
        "merchantId": application.merchant, "name": name, "createdAt": CREATED_AT,
    });
    let api = Setup::new()
        .document(&application.key(), &document.to_string())
        .variable("store_timeout_ms", "20000")
        .start();
    let path = format!("/api/v1/applications/{}", application.id);
    let mut whole = api.by(&application, "GET", &path).expect(200).await.json();
    assert_eq!(whole["name"], name);

    // It can be sent back, and is not accepted anew.
    whole["description"] = json!("d");
    let patch = |body: &Value| api.by(&application, "PATCH", &path).json(body);
    assert_eq!(patch(&whole).expect(200).await.json(), whole);
    patch(&json!({"name": " Shop"}))
        .expect_bad_fields(&["name"])
        .await;
    patch(&json!({"name": "Shop"})).expect(200).await;
    patch(&json!({ "name": name }))
        .expect_bad_fields(&["name"])
        .await;
}
