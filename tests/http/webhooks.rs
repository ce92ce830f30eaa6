//! A webhook after it was made: list, read, change, delete.
//!
//! Long because reads, changes and their conditions are about one webhook.

use serde_json::{Value, json};

use crate::support::contract::{FORBIDDEN, NOT_FOUND, PRECONDITION_FAILED};
use crate::support::{Application, Created, standard};

async fn created() -> (Application, Created) {
    let api = standard();
    let application = api.application();
    let created = api.create(&application).expect_created().await;
    (application, created)
}

/// The webhook as it is shown from then on: without its secret, with those before it, and with what the
/// service made of it.
fn without_secret(created: &Created) -> Value {
    let mut shown = created.response.json();
    let members = shown.as_object_mut().expect("an object");
    members.remove("signingSecret");
    members.insert("previousSecrets".to_owned(), json!([]));
    for member in ["disabledAt", "disabledReason"] {
        members.insert(member.to_owned(), Value::Null);
    }
    shown
}

#[tokio::test]
async fn the_list_is_paged_newest_first_and_stays_as_it_is() {
    let api = standard();
    let application = api.application();
    let mut newest_first = Vec::new();
    for _ in 0..5 {
        let created = api.create(&application).expect_created().await;
        newest_first.insert(0, without_secret(&created));
        // Times have milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let list = |query: &str| {
        api.by(
            &application,
            "GET",
            &format!("{}{query}", application.path()),
        )
        .expect(200)
    };
    let all = list("").await;
    assert_eq!(all.json()["items"], json!(newest_first));
    assert_eq!(list("").await.text, all.text);
    let page = |page: usize, items: &[Value]| {
        json!({
            "items": items, "page": page, "limit": 2, "totalItems": 5, "totalPages": 3,
            "hasPreviousPage": page > 1, "hasNextPage": page < 3,
        })
    };
    for (number, range) in [(1, 0..2), (2, 2..4), (3, 4..5), (4, 5..5)] {
        let shown = list(&format!("?page={number}&limit=2")).await.json();
        assert_eq!(shown, page(number, &newest_first[range]));
    }
}

#[tokio::test]
async fn a_wrong_page_and_a_wrong_limit_are_named_together() {
    let (application, _) = created().await;
    for query in ["?page=0&limit=101", "?page=-1&limit=0", "?page=x&limit="] {
        let path = format!("{}{query}", application.path());
        let request = standard().by(&application, "GET", &path);
        request.expect_bad_fields(&["page", "limit"]).await;
    }
}

#[tokio::test]
async fn reading_shows_the_webhook_without_its_secret_and_with_its_tag() {
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let read = standard().by(&application, "GET", &path).expect(200).await;

    assert_eq!(read.json(), without_secret(&created));
    assert!(read.header("etag").is_some());
    assert_eq!(read.header("etag"), created.response.header("etag"));
}

#[tokio::test]
async fn a_change_of_any_field_is_kept_and_moves_updated_at() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let mut expected = without_secret(&created);
    for (field, value) in [
        ("url", json!("https://other.example.com/")),
        ("isActive", json!(false)),
        ("subscribedEvents", json!(["session.expired"])),
    ] {
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let patch = api.by(&application, "PATCH", &path);
        let changed = patch.json(&json!({ field: value })).expect(200).await;
        let updated_at = changed.json()["updatedAt"].clone();
        assert!(
            updated_at.as_str() > expected["updatedAt"].as_str(),
            "{field}"
        );
        expected[field] = value;
        expected["updatedAt"] = updated_at;
        assert_eq!(changed.json(), expected);
        let read = api.by(&application, "GET", &path).expect(200).await;
        assert_eq!(read.text, changed.text);
        assert_eq!(read.header("etag"), changed.header("etag"));
    }
}

#[tokio::test]
async fn a_change_to_what_it_was_already_changes_nothing() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let same = json!({"url": created.webhook.url, "isActive": true});
    let answer = api
        .by(&application, "PATCH", &path)
        .json(&same)
        .expect(200)
        .await;

    assert_eq!(answer.json(), without_secret(&created));
    assert_eq!(answer.header("etag"), created.response.header("etag"));
}

#[tokio::test]
async fn a_change_without_members_or_with_wrong_ones_is_refused() {
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let patch = standard().by(&application, "PATCH", &path);
    patch
        .clone()
        .json(&json!({}))
        .expect_bad_fields(&["body"])
        .await;
    let wrong = json!({"url": "http://merchant.example.com", "isActive": null,
        "subscribedEvents": [], "id": "x"});
    let fields = ["url", "isActive", "subscribedEvents", "id"];
    patch.json(&wrong).expect_bad_fields(&fields).await;
}

#[tokio::test]
async fn a_webhook_can_be_sent_back_as_it_was_read() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let mut whole = api.by(&application, "GET", &path).expect(200).await.json();
    let patch = |body: &Value| api.by(&application, "PATCH", &path).json(body);
    let same = patch(&whole).expect(200).await;
    assert_eq!(same.json(), whole);

    // Clients that read times spell them in their own way.
    whole["isActive"] = json!(false);
    whole["createdAt"] = json!(created.webhook.created_at.replace('Z', "000+00:00"));
    let changed = patch(&whole).expect(200).await.json();
    assert_eq!(changed["isActive"], false);
    assert_eq!(changed["createdAt"], created.webhook.created_at);
    // It was sent back with the time of the last change but one.
    patch(&whole)
        .expect_bad_request(&[("updatedAt", "Read-only field")])
        .await;
}

#[tokio::test]
async fn a_changed_read_only_field_is_named_as_one() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let patch = api.by(&application, "PATCH", &path);
    for field in [
        "id",
        "keyFingerprint",
        "signingSecret",
        "lastTestAt",
        "lastTestStatus",
        "createdAt",
        "updatedAt",
    ] {
        let other = json!({"isActive": false, field: "2026-01-15T08:00:00.000Z"});
        let request = patch.clone().json(&other);
        request
            .expect_bad_request(&[(field, "Read-only field")])
            .await;
    }
    let several = r#"{"more":1,"id":"x","url":2}"#;
    let named = [
        ("url", "Must be a string"),
        ("more", "Unknown field"),
        ("id", "Read-only field"),
    ];
    let request = patch.clone().json(&json!({})).body(several);
    request.expect_bad_request(&named).await;
    let twice = format!(r#"{{"id":"{0}","id":"{0}"}}"#, created.webhook.id);
    let twice = patch.clone().json(&json!({})).body(twice);
    twice.expect_bad_fields(&["id"]).await;

    // Who has an old state is told that, and not which fields it shows in.
    let whole = api.by(&application, "GET", &path).expect(200).await;
    let tag = whole.header("etag").expect("a tag");
    patch
        .clone()
        .json(&json!({"isActive": false}))
        .expect(200)
        .await;
    let stale = patch.header("if-match", tag).json(&whole.json());
    stale.expect_error(PRECONDITION_FAILED).await;
    let read = api.by(&application, "GET", &path).expect(200).await.json();
    assert_eq!(read["isActive"], false);
}

/// RFC 7396: that is what a `PATCH` here has always been.
#[tokio::test]
async fn a_change_can_be_a_json_merge_patch() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let change = json!({"isActive": false});
    for content_type in [
        "application/merge-patch+json",
        "Application/Merge-Patch+JSON; charset=utf-8",
    ] {
        let patch = api.by(&application, "PATCH", &path).json(&change);
        patch.header("content-type", content_type).expect(200).await;
    }
    let patch = api.by(&application, "PATCH", &path).json(&change);
    patch
        .header("content-type", "application/json-patch+json")
        .expect_bad_request(&[(
            "Content-Type",
            "Must be application/json or application/merge-patch+json",
        )])
        .await;
    let create = api.create(&application);
    create
        .header("content-type", "application/merge-patch+json")
        .expect_bad_fields(&["Content-Type"])
        .await;
}

#[tokio::test]
async fn if_match_lets_only_the_first_of_two_editors_through() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let tag = created.response.header("etag").expect("a tag").to_owned();
    let patch = |tag: &str, is_active: bool| {
        let request = api.by(&application, "PATCH", &path).header("if-match", tag);
        request.json(&json!({ "isActive": is_active }))
    };
    let weak = format!("W/{tag}");
    patch(&weak, false).expect_error(PRECONDITION_FAILED).await;
    patch(&format!("\"other\", {tag}"), false).expect(200).await;
    patch(&tag, true).expect_error(PRECONDITION_FAILED).await;
    for (method, path) in [("DELETE", path.clone()), ("POST", format!("{path}/rotate"))] {
        let request = api.by(&application, method, &path).header("if-match", &tag);
        request.expect_error(PRECONDITION_FAILED).await;
    }
    patch("*", true).expect(200).await;
}

/// `*` counts as the whole header only, and a comma may be part of a tag.
#[tokio::test]
async fn a_star_within_a_tag_or_a_list_lets_no_change_through() {
    let api = standard();
    let (application, created) = created().await;
    let own = format!("/api/v1/applications/{}", application.id);
    let path = application.webhook_path(&created.webhook.id);
    for tags in ["\"a,*,b\"", "\"a\", *, \"b\"", "*, \"a\""] {
        for (method, path, body) in [
            ("PATCH", path.clone(), json!({"isActive": false})),
            ("POST", format!("{path}/rotate"), json!({})),
            ("DELETE", path.clone(), Value::Null),
            ("PATCH", own.clone(), json!({"isEnabled": false})),
            ("DELETE", own.clone(), Value::Null),
        ] {
            let mut request = api.by(&application, method, &path).header("if-match", tags);
            if !body.is_null() {
                request = request.json(&body);
            }
            request.expect_error(PRECONDITION_FAILED).await;
        }
    }
    let read = api.by(&application, "GET", &path).expect(200).await;
    assert_eq!(read.json(), without_secret(&created));
    let list = format!("\"a,b\", {}", read.header("etag").expect("a tag"));
    let patch = api
        .by(&application, "PATCH", &path)
        .header("if-match", list);
    patch.json(&json!({"isActive": false})).expect(200).await;
}

#[tokio::test]
async fn who_reads_again_what_it_has_gets_304_with_the_tag() {
    let api = standard();
    let (application, created) = created().await;
    let own = format!("/api/v1/applications/{}", application.id);
    for path in [own, application.webhook_path(&created.webhook.id)] {
        let read = api.by(&application, "GET", &path).expect(200).await;
        let tag = read.header("etag").expect("a tag").to_owned();
        for method in ["GET", "HEAD"] {
            let read = api.by(&application, method, &path);
            for known in [
                tag.clone(),
                format!("W/{tag}"),
                format!("\"other\", {tag}"),
                "*".to_owned(),
            ] {
                let again = read.clone().header("if-none-match", &known);
                let again = again.expect(304).await;
                assert_eq!(again.header("etag"), Some(tag.as_str()), "{known}");
            }
            for other in ["\"other\"", "\"a,*,b\""] {
                let again = read.clone().header("if-none-match", other);
                assert_eq!(
                    again.expect(200).await.header("etag"),
                    Some(tag.as_str()),
                    "{other}"
                );
            }
        }
    }
}

#[tokio::test]
async fn if_match_on_a_read_asks_for_that_state() {
    let api = standard();
    let (application, created) = created().await;
    let own = format!("/api/v1/applications/{}", application.id);
    for path in [own, application.webhook_path(&created.webhook.id)] {
        let read = api.by(&application, "GET", &path);
        let tag = read.clone().expect(200).await;
        let tag = tag.header("etag").expect("a tag");
        for same in [tag, "*"] {
            read.clone().header("if-match", same).expect(200).await;
        }
        let other = read.header("if-match", "\"other\"");
        // RFC 9110 §13.2.2: it comes first.
        let other = other.header("if-none-match", tag);
        other.expect_error(PRECONDITION_FAILED).await;
    }
}

#[tokio::test]
async fn if_none_match_on_a_change_is_412_where_it_lists_the_tag() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let tag = created.response.header("etag").expect("a tag");
    let own = format!("/api/v1/applications/{}", application.id);
    for (method, path, known) in [
        ("PATCH", path.clone(), tag),
        ("POST", format!("{path}/rotate"), tag),
        ("DELETE", path.clone(), tag),
        ("PATCH", own.clone(), "*"),
        ("DELETE", own, "*"),
    ] {
        let mut request = api.by(&application, method, &path);
        if method == "PATCH" {
            request = request.json(&json!({"isActive": false}));
            if known == "*" {
                request = request.json(&json!({"isEnabled": false}));
            }
        }
        let request = request.header("if-none-match", known);
        request.expect_error(PRECONDITION_FAILED).await;
    }
    let read = api.by(&application, "GET", &path).expect(200).await;
    assert_eq!(read.json(), without_secret(&created));
    let patch = api.by(&application, "PATCH", &path);
    let patch = patch.json(&json!({"isActive": false}));
    patch.header("if-none-match", "\"other\"").expect(200).await;
}

#[tokio::test]
async fn a_test_does_not_make_another_editors_change_fail() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    let tag = created.response.header("etag").expect("a tag");
    let test = api.by(&application, "POST", &format!("{path}/test"));
    test.expect(200).await;

    let read = api.by(&application, "GET", &path).expect(200).await;
    assert!(read.json()["lastTestAt"].is_string());
    assert_eq!(read.header("etag"), Some(tag));
    let patch = api.by(&application, "PATCH", &path).header("if-match", tag);
    patch.json(&json!({"isActive": false})).expect(200).await;
}

#[tokio::test]
async fn a_deleted_webhook_is_gone() {
    let api = standard();
    let (application, created) = created().await;
    let path = application.webhook_path(&created.webhook.id);
    api.by(&application, "DELETE", &path).expect(204).await;

    api.by(&application, "DELETE", &path)
        .expect_error(NOT_FOUND)
        .await;
    api.by(&application, "GET", &path)
        .expect_error(NOT_FOUND)
        .await;
    let list = api
        .by(&application, "GET", &application.path())
        .expect(200)
        .await;
    assert_eq!(list.json()["totalItems"], 0);
}

#[tokio::test]
async fn another_merchant_and_another_application_do_not_reach_it() {
    let api = standard();
    let (application, created) = created().await;
    let other = api.application();
    let path = application.webhook_path(&created.webhook.id);
    let elsewhere = other.webhook_path(&created.webhook.id);
    for (method, suffix) in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/test"),
    ] {
        for (path, error) in [(&path, FORBIDDEN), (&elsewhere, NOT_FOUND)] {
            let mut request = api.by(&other, method, &format!("{path}{suffix}"));
            if method == "PATCH" {
                request = request.json(&json!({"isActive": false}));
            }
            request.expect_error(error).await;
        }
    }
    let list = api.by(&other, "GET", &application.path());
    list.expect_error(FORBIDDEN).await;
    let read = api.by(&application, "GET", &path).expect(200).await;
    assert_eq!(read.json(), without_secret(&created));
}
