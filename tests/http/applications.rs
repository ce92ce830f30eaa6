//! A merchant's applications: create, list, read, change, delete.

use serde_json::{Value, json};

use crate::support::contract::{DISABLED, FORBIDDEN, NAME_TAKEN, NOT_FOUND, PRECONDITION_FAILED};
use crate::support::{Application, Response, Server, standard};

const PATH: &str = "/api/v1/applications";

/// Creates an application of this merchant and hands it back with the response.
async fn create(api: &Server, merchant: &Application, body: Value) -> (Application, Response) {
    let response = api.by(merchant, "POST", PATH).json(&body).expect(201).await;
    let id = response.json()["id"].as_str().expect("an id").to_owned();
    let merchant = merchant.merchant.clone();
    (Application { id, merchant }, response)
}

fn at(application: &Application) -> String {
    format!("{PATH}/{}", application.id)
}

#[tokio::test]
async fn a_new_application_has_these_five_fields_and_can_be_read() {
    let api = standard();
    let body = json!({"name": "Shop", "description": "My shop"});
    let (application, created) = create(api, &Application::new(), body).await;

    assert!(uuid::Uuid::parse_str(&application.id).is_ok());
    let created_at = created.json()["createdAt"]
        .as_str()
        .expect("a time")
        .to_owned();
    assert_eq!(
        created.text,
        format!(
            r#"{{"id":"{}","name":"Shop","description":"My shop","isEnabled":true,"createdAt":"{created_at}"}}"#,
            application.id
        )
    );
    assert_eq!(created.header("location"), Some(at(&application).as_str()));
    let read = api
        .by(&application, "GET", &at(&application))
        .expect(200)
        .await;
    assert_eq!(read.text, created.text);
    assert_eq!(read.header("etag"), created.header("etag"));
    assert!(read.header("etag").is_some());
}

#[tokio::test]
async fn names_and_descriptions_have_limits_in_characters() {
    let api = standard();
    let merchant = Application::new();
    let longest = json!({"name": "ü".repeat(100), "description": "ü".repeat(250)});
    create(api, &merchant, longest).await;
    create(api, &merchant, json!({"name": "n", "description": null})).await;

    let post = api.by(&merchant, "POST", PATH);
    for name in [json!(""), json!("n".repeat(101)), json!(7), json!(null)] {
        let request = post.clone().json(&json!({ "name": name }));
        request.expect_bad_fields(&["name"]).await;
    }
    post.clone()
        .json(&json!({}))
        .expect_bad_fields(&["name"])
        .await;
    let both = json!({"name": "", "description": "d".repeat(251)});
    post.json(&both)
        .expect_bad_fields(&["name", "description"])
        .await;
}

#[tokio::test]
async fn a_name_is_the_merchants_once_until_it_is_given_up() {
    let api = standard();
    let merchant = Application::new();
    let (first, _) = create(api, &merchant, json!({"name": "a"})).await;
    let post = api.by(&merchant, "POST", PATH);
    post.clone()
        .json(&json!({"name": "a"}))
        .expect_error(NAME_TAKEN)
        .await;
    create(api, &Application::new(), json!({"name": "a"})).await;

    let (second, _) = create(api, &merchant, json!({"name": "b"})).await;
    let rename = |application: &Application, name: &str| {
        api.by(application, "PATCH", &at(application))
            .json(&json!({ "name": name }))
    };
    rename(&second, "a").expect_error(NAME_TAKEN).await;
    let unchanged = api.by(&second, "GET", &at(&second)).expect(200).await;
    assert_eq!(unchanged.json()["name"], "b");

    rename(&first, "c").expect(200).await;
    rename(&second, "a").expect(200).await;
    create(api, &merchant, json!({"name": "b"})).await;
    api.by(&first, "DELETE", &at(&first)).expect(204).await;
    create(api, &merchant, json!({"name": "c"})).await;
}

#[tokio::test]
async fn the_list_has_the_merchants_own_newest_first() {
    let api = standard();
    let merchant = Application::new();
    let mut newest_first = Vec::new();
    for number in 0..3 {
        let name = format!("application {number}");
        let (application, _) = create(api, &merchant, json!({ "name": name })).await;
        newest_first.insert(0, application.id);
        // Times have milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    create(api, &Application::new(), json!({"name": "of another"})).await;

    let list = |query: &str| {
        api.by(&merchant, "GET", &format!("{PATH}{query}"))
            .expect(200)
    };
    let all = list("").await.json();
    let ids: Vec<&str> = all["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["id"].as_str())
        .collect();
    assert_eq!(ids, newest_first);
    let last = list("?page=2&limit=2").await.json();
    assert_eq!(last["items"][0]["id"], newest_first[2].as_str());
    assert_eq!(last["totalItems"], 3);
    assert_eq!(last["totalPages"], 2);
    assert_eq!(last["hasPreviousPage"], true);
    assert_eq!(last["hasNextPage"], false);
}

#[tokio::test]
async fn a_change_needs_a_member_and_the_current_tag() {
    let api = standard();
    let (application, created) = create(api, &Application::new(), json!({"name": "x"})).await;
    let patch = api.by(&application, "PATCH", &at(&application));
    patch
        .clone()
        .json(&json!({}))
        .expect_bad_fields(&["body"])
        .await;
    let wrong = json!({"name": "", "isEnabled": 1, "extra": 0});
    patch
        .clone()
        .json(&wrong)
        .expect_bad_fields(&["name", "isEnabled", "extra"])
        .await;

    let tag = created.header("etag").expect("a tag").to_owned();
    let change = patch
        .header("if-match", &tag)
        .json(&json!({"description": "d"}));
    let changed = change.clone().expect(200).await;
    assert_eq!(changed.json()["description"], "d");
    assert_eq!(changed.json()["createdAt"], created.json()["createdAt"]);
    change.expect_error(PRECONDITION_FAILED).await;
    let delete = api
        .by(&application, "DELETE", &at(&application))
        .header("if-match", &tag);
    delete.expect_error(PRECONDITION_FAILED).await;
}

#[tokio::test]
async fn an_application_can_be_sent_back_as_it_was_read() {
    let api = standard();
    let (application, created) = create(api, &Application::new(), json!({"name": "x"})).await;
    let patch = api.by(&application, "PATCH", &at(&application));
    let mut whole = created.json();
    whole["description"] = json!("d");
    let changed = patch.clone().json(&whole).expect(200).await;
    assert_eq!(changed.json(), whole);
    for (field, value) in [("id", json!("x")), ("createdAt", json!(null))] {
        let mut other = whole.clone();
        other[field] = value;
        let request = patch.clone().json(&other);
        request
            .expect_bad_request(&[(field, "Read-only field")])
            .await;
    }
    // One that was written by hand has nothing but its id.
    let by_hand = api.application();
    let request = api.by(&by_hand, "GET", &at(&by_hand));
    let whole = request.expect(200).await.json();
    let patch = api.by(&by_hand, "PATCH", &at(&by_hand));
    assert_eq!(patch.json(&whole).expect(200).await.json(), whole);
}

/// Two names that look alike are a way to deceive the people who read them.
#[tokio::test]
async fn a_name_hides_nothing() {
    let api = standard();
    let merchant = Application::new();
    for (name, message) in [
        (" Shop", "Must not start or end with white space"),
        ("Shop\u{a0}", "Must not start or end with white space"),
        ("  ", "Must not start or end with white space"),
        ("Sh\nop", "Must not contain the control character U+000A"),
        (
            "Sh\u{200b}op",
            "Must not contain the invisible character U+200B",
        ),
        (
            "\u{3164}",
            "Must not contain the invisible character U+3164",
        ),
        (
            "Shop\u{202e}pohS",
            "Must not contain the bidirectional character U+202E",
        ),
    ] {
        let request = api
            .by(&merchant, "POST", PATH)
            .json(&json!({ "name": name }));
        request.expect_bad_request(&[("name", message)]).await;
    }
    let (application, _) = create(api, &merchant, json!({"name": "Shop ❤\u{fe0f} متجر"})).await;
    let rename = api.by(&application, "PATCH", &at(&application));
    let hidden = json!({"name": "Shop\u{200d}"});
    rename.json(&hidden).expect_bad_fields(&["name"]).await;
}

#[tokio::test]
async fn a_disabled_application_accepts_reads_and_refuses_changes_until_it_is_enabled() {
    let api = standard();
    let application = api.application();
    let webhook = api.create(&application).expect_created().await.webhook;
    let path = application.webhook_path(&webhook.id);
    let enable = |is_enabled: bool| {
        api.by(&application, "PATCH", &at(&application))
            .json(&json!({"isEnabled": is_enabled}))
    };
    assert_eq!(enable(false).expect(200).await.json()["isEnabled"], false);

    for read in [at(&application), application.path(), path.clone()] {
        api.by(&application, "GET", &read).expect(200).await;
    }
    api.create(&application).expect_error(DISABLED).await;
    let patch = api
        .by(&application, "PATCH", &path)
        .json(&json!({"isActive": false}));
    patch.clone().expect_error(DISABLED).await;
    api.by(&application, "DELETE", &path)
        .expect_error(DISABLED)
        .await;
    for action in ["rotate", "test"] {
        let action = format!("{path}/{action}");
        api.by(&application, "POST", &action)
            .expect_error(DISABLED)
            .await;
    }

    enable(true).expect(200).await;
    patch.expect(200).await;
}

#[tokio::test]
async fn deleting_an_application_removes_its_webhooks() {
    let api = standard();
    let (application, _) = create(api, &Application::new(), json!({"name": "gone"})).await;
    let webhook = api.create(&application).expect_created().await.webhook;
    api.by(&application, "DELETE", &at(&application))
        .expect(204)
        .await;

    let gone = [
        at(&application),
        application.path(),
        application.webhook_path(&webhook.id),
    ];
    for path in gone {
        api.by(&application, "GET", &path)
            .expect_error(NOT_FOUND)
            .await;
    }
    api.by(&application, "DELETE", &at(&application))
        .expect_error(NOT_FOUND)
        .await;
    assert_eq!(
        api.by(&application, "GET", PATH).expect(200).await.json()["totalItems"],
        0
    );
}

#[tokio::test]
async fn an_application_written_by_hand_can_be_read_changed_and_deleted_by_its_merchant_only() {
    let api = standard();
    let application = api.application();
    let path = at(&application);
    let read = api.by(&application, "GET", &path).expect(200).await;
    assert_eq!(
        read.text,
        format!(
            r#"{{"id":"{}","name":null,"description":null,"isEnabled":true,"createdAt":null}}"#,
            application.id
        )
    );
    let other = Application::new();
    for method in ["GET", "PATCH", "DELETE"] {
        let request = api.by(&other, method, &path).json(&json!({"name": "mine"}));
        request.expect_error(FORBIDDEN).await;
    }
    let named = api
        .by(&application, "PATCH", &path)
        .json(&json!({"name": "by hand"}));
    assert_eq!(named.expect(200).await.json()["name"], "by hand");
    api.by(&application, "DELETE", &path).expect(204).await;
    api.by(&application, "GET", &path)
        .expect_error(NOT_FOUND)
        .await;
}
