//! Which events there are, and what a webhook is subscribed to when that changes.

use serde_json::json;

use crate::support::client::URL;
use crate::support::{Setup, custom, local_runtime_only, standard};

const PATH: &str = "/api/v1/event-types";

#[tokio::test]
async fn the_event_types_are_listed_for_any_valid_token() {
    let api = standard();
    let list = api.by(&api.application(), "GET", PATH).expect(200).await;
    let example = |name: &str| {
        let data = json!({"sessionId": "ses_8c1f"});
        json!({"type": name, "timestamp": "2026-04-20T12:34:56.000Z", "data": data})
    };
    let expected = json!({"items": [
        {
            "name": "session.completed", "title": "Session completed",
            "description": "The customer completed the session.",
            "example": example("session.completed"),
        },
        {
            "name": "session.expired", "title": "Session expired",
            "description": "The session ended before the customer completed it.",
            "example": example("session.expired"),
        },
    ]});
    assert_eq!(list.json(), expected);
    api.request("GET", PATH).expect(401).await;

    let api = custom();
    let token = crate::configuration::token_for_custom(&api.application());
    let list = api.request("GET", PATH).token(&token).expect(200).await;
    let names = ["payment.created", "payment.failed", "refund_v2"];
    assert_eq!(
        list.json()["items"],
        json!(names.map(
            |name| json!({"name": name, "title": null, "description": null, "example": null})
        ))
    );
}

/// What variable `event_type_details` says is in the list, and the document is that of the operator's types:
/// its examples can be sent as they are.
#[tokio::test]
async fn the_operators_own_types_are_in_the_list_and_in_the_document() {
    local_runtime_only!();
    let details = json!({
        "refund.settled": {
            "title": "Refund settled", "description": "The money is back.",
            "data": {"refundId": "re_1", "amount": {"value": 1250, "currency": "EUR"}},
        },
        "payment.created": {"title": "Payment created"},
    });
    let api = Setup::new()
        .variable("store_timeout_ms", "20000")
        .variable("event_types", "payment.created,refund.settled")
        .variable("event_type_details", &details.to_string())
        .start();
    let application = api.application();
    let list = api.by(&application, "GET", PATH).expect(200).await.json();
    let example = json!({
        "type": "refund.settled", "timestamp": "2026-04-20T12:34:56.000Z",
        "data": details["refund.settled"]["data"],
    });
    assert_eq!(
        list["items"],
        json!([
            {"name": "payment.created", "title": "Payment created", "description": null, "example": null},
            {
                "name": "refund.settled", "title": "Refund settled",
                "description": "The money is back.", "example": example,
            },
        ])
    );

    let get = |headers: [(&'static str, String); 1]| {
        let [(name, value)] = headers;
        api.request("GET", "/openapi.json").header(name, &value)
    };
    let plain = get([("accept", "*/*".to_owned())]).send_unchecked().await;
    let plain = plain.expect("a document");
    assert_eq!(plain.status, 200);
    assert!(
        !plain.text.contains("session.completed"),
        "the defaults are still in it"
    );
    let length = plain.header("content-length").expect("a length");
    assert_eq!(length, plain.text.len().to_string());
    // It has a tag of its own, which is the same as long as the types are.
    let tag = plain.header("etag").expect("a tag").to_owned();
    let unchanged = get([("if-none-match", tag.clone())]).send_unchecked().await;
    assert_eq!(unchanged.expect("an answer").status, 304);
    let standard = standard()
        .request("GET", "/openapi.json")
        .send_unchecked()
        .await;
    let standard = standard.expect("a document");
    assert_ne!(standard.header("etag"), Some(tag.as_str()));
    let of_others = standard.header("etag").expect("a tag").to_owned();
    let changed = get([("if-none-match", of_others)]).send_unchecked().await;
    assert_eq!(changed.expect("an answer").status, 200);
    let compressed = api
        .request("HEAD", "/openapi.json")
        .header("accept-encoding", "gzip");
    let compressed = compressed.send_unchecked().await.expect("an answer");
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    let gzip_tag = format!("{}-gzip\"", tag.trim_end_matches('"'));
    assert_eq!(compressed.header("etag"), Some(gzip_tag.as_str()));

    let document = plain.json();
    let delivery = &document["webhooks"]["refund.settled"]["post"];
    assert_eq!(delivery["summary"], "Refund settled");
    let media = &delivery["requestBody"]["content"]["application/json"];
    assert_eq!(media["example"], example);
    let publish = &document["paths"]["/api/v1/applications/{applicationId}/events"]["post"];
    let body = &publish["requestBody"]["content"]["application/json"]["example"];
    assert_eq!(body["type"], "refund.settled");
    api.publish(&application).json(body).expect(202).await;
    for sample in publish["x-codeSamples"].as_array().expect("samples") {
        let source = sample["source"].as_str().expect("a text");
        assert!(
            source.contains("refund.settled") && source.contains("re_1"),
            "{source}"
        );
    }
}

#[tokio::test]
async fn an_unknown_event_type_is_answered_with_the_known_ones() {
    let api = standard();
    let events = json!(["session.expired", "session.complete", "foo "]);
    api.create(&api.application())
        .json(&json!({ "url": URL, "subscribedEvents": events }))
        .expect_bad_request(&[(
            "subscribedEvents",
            "Unknown event type: \"session.complete\", \"foo \". \
             Known: session.completed, session.expired; or `*` for every event",
        )])
        .await;
}

#[tokio::test]
async fn every_event_stays_every_event_and_a_withdrawn_type_stays_where_it_is() {
    local_runtime_only!();
    let api = Setup::new()
        .variable("store_timeout_ms", "20000")
        .variable("event_types", "a,b")
        .start();
    let application = api.application();
    let create = async |events: Option<serde_json::Value>| {
        let mut body = json!({ "url": URL });
        if let Some(events) = events {
            body["subscribedEvents"] = events;
        }
        let created = api.create(&application).json(&body).expect_created().await;
        application.webhook_path(&created.webhook.id)
    };
    let every = create(Some(json!(["*"]))).await;
    let all_of_that_day = create(None).await;
    let read = async |path: &str| api.by(&application, "GET", path).expect(200).await.json();
    assert_eq!(read(&every).await["subscribedEvents"], json!(["*"]));
    assert_eq!(
        read(&all_of_that_day).await["subscribedEvents"],
        json!(["a", "b"])
    );

    // The type `b` is withdrawn, and `c` is added.
    let api = api.kill().variable("event_types", "a,c").start();
    let read = async |path: &str| api.by(&application, "GET", path).expect(200).await.json();
    assert_eq!(read(&every).await["subscribedEvents"], json!(["*"]));
    let whole = read(&all_of_that_day).await;
    assert_eq!(whole["subscribedEvents"], json!(["a", "b"]));
    let patch =
        |body: serde_json::Value| api.by(&application, "PATCH", &all_of_that_day).json(&body);
    let events = |names: &[&str]| json!({ "subscribedEvents": names });
    patch(whole).expect(200).await;
    patch(events(&["c", "b"])).expect(200).await;
    patch(events(&["b", "d"]))
        .expect_bad_fields(&["subscribedEvents"])
        .await;
    let changed = patch(events(&["*"])).expect(200).await;
    assert_eq!(changed.json()["subscribedEvents"], json!(["*"]));
    // What has left the list does not come back.
    patch(events(&["b"]))
        .expect_bad_fields(&["subscribedEvents"])
        .await;
    patch(events(&["a", "c"])).expect(200).await;
}
