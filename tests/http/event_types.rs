//! Which events there are, and what a webhook is subscribed to when that changes.

use serde_json::json;

use crate::support::client::URL;
use crate::support::{Setup, custom, local_runtime_only, standard};

const PATH: &str = "/api/v1/event-types";

#[tokio::test]
async fn the_event_types_are_listed_for_any_valid_token() {
    let api = standard();
    let list = api.by(&api.application(), "GET", PATH).expect(200).await;
    let expected = json!({"items": [{"name": "session.completed"}, {"name": "session.expired"}]});
    assert_eq!(list.json(), expected);
    api.request("GET", PATH).expect(401).await;

    let api = custom();
    let token = crate::configuration::token_for_custom(&api.application());
    let list = api.request("GET", PATH).token(&token).expect(200).await;
    let names = ["payment.created", "payment.failed", "refund_v2"];
    assert_eq!(
        list.json()["items"],
        json!(names.map(|name| json!({ "name": name })))
    );
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
