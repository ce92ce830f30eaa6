//! The log: pages of events and of deliveries, one delivery with its attempts, and who reads them.
//!
//! Long because each filter, each reader and each failure of a page is a test.

use std::time::Duration;

use serde_json::{Value, json};

use super::{completed, event_when, publish, subscribed};
use crate::support::contract::{
    DEPENDENCY_FAILED, DEPENDENCY_LATE, FORBIDDEN, NOT_FOUND, UNAUTHORIZED,
};
use crate::support::faults::{Fault, trace};
use crate::support::receiver::answer;
use crate::support::server::dispatching_setup;
use crate::support::tokens::{publisher, support};
use crate::support::{Application, Receiver, Server, local_runtime_only, unique};

on_both_databases! {
    events_come_in_pages_the_newest_first
    pages_go_on_where_they_ended_while_events_arrive
    events_are_found_by_type_time_and_key
    deliveries_are_found_by_status_and_type_and_have_their_attempts
    every_wrong_parameter_is_named_at_once
    a_log_is_read_by_its_merchant_and_by_support
    the_log_of_a_webhook_outlives_it
    whichever_statement_fails_a_page_is_502
}

/// What a request of the application's merchant returns.
async fn get(api: &Server, application: &Application, path: &str) -> Value {
    api.by(application, "GET", path).expect(200).await.json()
}

/// The path of a webhook's deliveries.
pub fn deliveries_path(application: &Application, webhook: &str) -> String {
    format!("{}/deliveries", application.webhook_path(webhook))
}

/// Publishes an event of this type.
async fn publish_as(api: &Server, application: &Application, event_type: &str) -> Value {
    let body = json!({"type": event_type, "data": {}});
    let request = api.publish(application).json(&body);
    request.expect(202).await.json()["id"].clone()
}

/// The items of all pages, asked for with this query, and how many there are of each page.
async fn all(
    api: &Server,
    application: &Application,
    path: &str,
    query: &str,
) -> (Vec<Value>, Vec<usize>) {
    let (mut items, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = get(api, application, &format!("{path}?{query}{cursor}")).await;
        assert_eq!(page.as_object().map(|page| page.len()), Some(2), "{page}");
        let of_page = page["items"].as_array().expect("items");
        sizes.push(of_page.len());
        items.extend(of_page.iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                assert_eq!(page["nextCursor"], Value::Null);
                return (items, sizes);
            }
        }
        assert!(sizes.len() < 100, "pages without end");
    }
}

fn ids(items: &[Value], member: &str) -> Vec<Value> {
    items.iter().map(|item| item[member].clone()).collect()
}

async fn events_come_in_pages_the_newest_first(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    let path = application.events_path();
    let empty = get(api, &application, &path).await;
    assert_eq!(empty, json!({"items": [], "nextCursor": null}));
    let mut published = Vec::new();
    for _ in 0..21 {
        published.insert(0, publish(api, &application).await["id"].clone());
    }
    for id in &published {
        completed(api, &application, id).await;
    }
    for (query, expected) in [
        ("", &[20, 1][..]),
        ("limit=100", &[21]),
        ("limit=21", &[21]),
        ("limit=8", &[8, 8, 5]),
        ("limit=7", &[7, 7, 7]),
    ] {
        let (items, sizes) = all(api, &application, &path, query).await;
        assert_eq!(ids(&items, "id"), published, "{query}");
        assert_eq!(sizes, expected, "{query}");
    }
    // An item is the event without its data, what is said of them, and its deliveries.
    let (items, _) = all(api, &application, &path, "limit=5").await;
    let one = format!("{path}/{}", published[3].as_str().expect("an id"));
    let mut alone = get(api, &application, &one).await;
    let members = alone.as_object_mut().expect("an event");
    for left_out in ["data", "payloadOmitted", "deliveries"] {
        assert!(members.remove(left_out).is_some(), "{left_out}");
    }
    assert_eq!(items[3], alone);
    assert_eq!(items[3]["summary"]["succeeded"], 1);
}

async fn pages_go_on_where_they_ended_while_events_arrive(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let mut published = Vec::new();
    for _ in 0..6 {
        published.insert(0, publish(api, &application).await["id"].clone());
    }
    let events = application.events_path();
    let deliveries = deliveries_path(&application, &created.webhook.id);
    for (path, member) in [(&events, "id"), (&deliveries, "eventId")] {
        let first = get(api, &application, &format!("{path}?limit=3")).await;
        let cursor = first["nextCursor"]
            .as_str()
            .expect("another page")
            .to_owned();
        let newer = publish(api, &application).await["id"].clone();
        let second = format!("{path}?limit=3&cursor={cursor}");
        let second = get(api, &application, &second).await;
        let mut found = ids(first["items"].as_array().expect("items"), member);
        found.extend(ids(second["items"].as_array().expect("items"), member));
        let from = published.iter().position(|id| *id == found[0]);
        assert_eq!(from, Some(0), "{found:?}");
        assert_eq!(found, published[..6]);
        published.insert(0, newer);
        // Who begins anew finds it.
        let again = get(api, &application, &format!("{path}?limit=1")).await;
        assert_eq!(again["items"][0][member], published[0]);
    }
}

async fn events_are_found_by_type_time_and_key(api: &Server) {
    let application = api.application();
    let path = application.events_path();
    let mut published = Vec::new();
    for (number, event_type) in ["session.completed", "session.expired", "session.completed"]
        .iter()
        .enumerate()
    {
        let body = json!({"type": event_type, "data": {}});
        let request = api.publish(&application).json(&body);
        let request = request.header("idempotency-key", format!("payment {number} +&"));
        published.push(request.expect(202).await.json());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let created = |number: usize| published[number]["createdAt"].as_str().expect("a time");
    let (after, before) = (created(1), created(2));
    for (query, expected) in [
        ("type=session.completed".to_owned(), &[2, 0][..]),
        ("type=session.expired&limit=1".to_owned(), &[1]),
        // A type that there is not today: it may have been one.
        ("type=session.renamed".to_owned(), &[]),
        // At that moment or later, and before.
        (format!("after={after}"), &[2, 1]),
        (format!("before={before}"), &[1, 0]),
        (format!("after={after}&before={before}"), &[1]),
        (format!("after={before}&before={after}"), &[]),
        (format!("type=session.completed&before={before}"), &[0]),
        ("idempotencyKey=payment%201%20%2B%26".to_owned(), &[1]),
        ("idempotencyKey=%22payment%201%20%2B%26%22".to_owned(), &[1]),
        ("idempotencyKey=payment%201".to_owned(), &[]),
        (
            "idempotencyKey=payment%201%20%2B%26&type=session.completed".to_owned(),
            &[],
        ),
        (
            format!("idempotencyKey=payment%201%20%2B%26&after={before}"),
            &[],
        ),
    ] {
        let (items, _) = all(api, &application, &path, &query).await;
        let expected: Vec<_> = expected.iter().map(|it: &usize| &published[*it]).collect();
        assert_eq!(items.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    // Another application's keys are its own.
    let other = api.application();
    let elsewhere = format!(
        "{}?idempotencyKey=payment%201%20%2B%26",
        other.events_path()
    );
    let found = get(api, &other, &elsewhere).await;
    assert_eq!(found["items"], json!([]));
}

/// One webhook with a delivery of each status.
async fn deliveries_are_found_by_status_and_type_and_have_their_attempts(api: &Server) {
    let (no, ok) = (answer("500 No", b"no"), answer("200 OK", b"thanks"));
    let receiver = Receiver::answering_in_turn(&[&no, &no, &no, &no, &ok]);
    let (application, created) = subscribed(api, &receiver.url()).await;
    let webhook = application.webhook_path(&created.webhook.id);
    let change = async |body: Value| {
        let patch = api.by(&application, "PATCH", &webhook).json(&body);
        patch.expect(200).await;
    };
    let failed = publish_as(api, &application, "session.completed").await;
    completed(api, &application, &failed).await;
    let succeeded = publish_as(api, &application, "session.expired").await;
    completed(api, &application, &succeeded).await;
    let late = json!({
        "type": "session.completed", "data": {}, "deliverBefore": "2026-01-15T08:00:00Z",
    });
    let expired = api.publish(&application).json(&late).expect(202).await;
    let expired = expired.json()["id"].clone();
    completed(api, &application, &expired).await;
    change(json!({"isActive": false})).await;
    let suppressed = publish_as(api, &application, "session.expired").await;
    let hanging = Receiver::hanging();
    change(json!({"isActive": true, "url": hanging.url()})).await;
    let pending = publish_as(api, &application, "session.completed").await;

    let path = deliveries_path(&application, &created.webhook.id);
    for (query, expected) in [
        (
            "",
            &[&pending, &suppressed, &expired, &succeeded, &failed][..],
        ),
        ("status=pending", &[&pending]),
        ("status=succeeded", &[&succeeded]),
        ("status=failed", &[&failed]),
        ("status=suppressed", &[&suppressed]),
        ("status=expired", &[&expired]),
        ("type=session.expired", &[&suppressed, &succeeded]),
        ("type=session.completed&status=failed", &[&failed]),
        ("type=session.completed&status=succeeded", &[]),
        ("type=session.completed&status=pending", &[&pending]),
        ("type=session.completed&status=suppressed", &[]),
    ] {
        for limit in [1, 2, 100] {
            let query = format!("limit={limit}&{query}");
            let (items, _) = all(api, &application, &path, &query).await;
            let found = ids(&items, "eventId");
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
        }
    }

    let (items, _) = all(api, &application, &path, "status=failed").await;
    let one = format!("{path}/{}", failed.as_str().expect("an id"));
    let mut alone = get(api, &application, &one).await;
    let attempts = alone.as_object_mut().and_then(|it| it.remove("attempts"));
    let attempts = attempts.expect("attempts");
    assert_eq!(items[0], alone);
    assert_eq!(alone["attemptCount"], 4);
    let attempts = attempts.as_array().expect("attempts");
    assert_eq!(attempts.last(), Some(&alone["lastAttempt"]));
    let numbers: Vec<_> = attempts.iter().map(|it| it["number"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4)]);
    for attempt in attempts {
        assert_eq!(attempt["httpStatusCode"], 500, "{attempt}");
        assert_eq!(attempt["responseBody"], "no", "{attempt}");
    }
}

async fn every_wrong_parameter_is_named_at_once(api: &Server) {
    let (application, created) = subscribed(api, "http://127.0.0.1:9/").await;
    let wrong =
        "type=a%20b&after=yesterday&before=2026-13-01T00:00:00Z&limit=0&cursor=evt_1&page=1";
    let events = format!(
        "{}?{wrong}&idempotencyKey=%C3%A9",
        application.events_path()
    );
    let request = api.by(&application, "GET", &events);
    let fields = [
        "page",
        "after",
        "before",
        "limit",
        "cursor",
        "type",
        "idempotencyKey",
    ];
    request.expect_bad_fields(&fields).await;
    let path = deliveries_path(&application, &created.webhook.id);
    let request = api.by(
        &application,
        "GET",
        &format!("{path}?{wrong}&status=Failed"),
    );
    let fields = [
        "page", "status", "after", "before", "limit", "cursor", "type",
    ];
    request.expect_bad_fields(&fields).await;
    for (query, message) in [
        ("limit=101", "Must be a whole number from 1 to 100"),
        ("cursor=", "Must be the `nextCursor` of a page"),
        (
            "status=done",
            "Must be pending, succeeded, failed, suppressed or expired",
        ),
    ] {
        let (field, _) = query.split_once('=').expect("a parameter");
        let request = api.by(&application, "GET", &format!("{path}?{query}"));
        request.expect_bad_request(&[(field, message)]).await;
    }
    let nowhere = format!("{}/deliveries/evt_1", application.webhook_path("w"));
    let request = api.by(&application, "GET", &nowhere);
    request.expect_bad_fields(&["webhookId", "eventId"]).await;
}

async fn a_log_is_read_by_its_merchant_and_by_support(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    completed(api, &application, &published["id"]).await;
    let id = published["id"].as_str().expect("an id");
    let deliveries = deliveries_path(&application, &created.webhook.id);
    let (other, others) = subscribed(api, &receiver.url()).await;
    for path in [
        application.events_path(),
        deliveries.clone(),
        format!("{deliveries}/{id}"),
    ] {
        let get = |token: String| api.request("GET", &path).token(&token);
        let own = get(application.token()).expect(200).await;
        assert_eq!(get(support()).expect(200).await.text, own.text);
        get(publisher()).expect_error(FORBIDDEN).await;
        get(other.token()).expect_error(FORBIDDEN).await;
        let request = api.request("GET", &path).without_token();
        request.expect_error(UNAUTHORIZED).await;
        // What is wrong with it is nobody else's business.
        let wrong = api.request("GET", &format!("{path}?x=1"));
        wrong.token(&publisher()).expect_error(FORBIDDEN).await;
    }
    // Neither webhooks of another application nor those that never were.
    let unknown = uuid::Uuid::new_v4().to_string();
    for (application, webhook) in [
        (&other, &created.webhook.id),
        (&application, &others.webhook.id),
        (&application, &unknown),
    ] {
        let path = deliveries_path(application, webhook);
        for path in [
            path.clone(),
            format!("{path}?status=failed"),
            format!("{path}/{id}"),
        ] {
            for token in [application.token(), support()] {
                let request = api.request("GET", &path).token(&token);
                request.expect_error(NOT_FOUND).await;
            }
        }
    }
    // An event that it has no delivery of.
    let path = deliveries_path(&other, &others.webhook.id);
    let request = api.by(&other, "GET", &format!("{path}/{id}"));
    request.expect_error(NOT_FOUND).await;
    let nobody = Application::new();
    let request = api.by(&nobody, "GET", &nobody.events_path());
    request.expect_error(NOT_FOUND).await;
}

async fn the_log_of_a_webhook_outlives_it(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    completed(api, &application, &published["id"]).await;
    let path = deliveries_path(&application, &created.webhook.id);
    let one = format!("{path}/{}", published["id"].as_str().expect("an id"));
    let (page, delivery) = (
        get(api, &application, &path).await,
        get(api, &application, &one).await,
    );
    let webhook = application.webhook_path(&created.webhook.id);
    api.by(&application, "DELETE", &webhook).expect(204).await;
    assert_eq!(get(api, &application, &path).await, page);
    assert_eq!(get(api, &application, &one).await, delivery);
    let nothing = get(api, &application, &format!("{path}?status=failed")).await;
    assert_eq!(nothing, json!({"items": [], "nextCursor": null}));
    let other = api.application();
    let request = api.by(&other, "GET", &deliveries_path(&other, &created.webhook.id));
    request.expect_error(NOT_FOUND).await;
}

async fn whichever_statement_fails_a_page_is_502(api: &Server) {
    local_runtime_only!();
    let receiver = Receiver::answering("500 No", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let has_failed = |event: &Value| event["deliveries"][0]["lastAttempt"] != Value::Null;
    event_when(api, &application, &published["id"], has_failed).await;
    let webhook = application.webhook_path(&created.webhook.id);
    api.by(&application, "DELETE", &webhook).expect(204).await;
    let id = published["id"].as_str().expect("an id");
    let events = application.events_path();
    let deliveries = deliveries_path(&application, &created.webhook.id);
    let other = api.application();
    for (path, statements) in [
        (events.clone(), &["events-page", "summaries"][..]),
        (
            format!("{events}?type=session.completed"),
            &["events-page", "events-scanned", "summaries"],
        ),
        (format!("{events}?idempotencyKey=x"), &["event-with-key"]),
        (deliveries.clone(), &["deliveries-page", "application-of"]),
        (
            format!("{deliveries}?status=succeeded"),
            &["succeeded-page", "deliveries-scanned"],
        ),
        (
            format!("{deliveries}?status=pending&type=a"),
            &["pending-page", "pending-scanned"],
        ),
        (
            format!("{deliveries}?status=failed&type=a"),
            &["unsuccessful-page", "unsuccessful-scanned"],
        ),
        (
            format!("{deliveries}/{id}"),
            &["delivery", "attempts", "application-of"],
        ),
        (format!("{events}/digest?day=2026-01-15"), &["hashes"]),
    ] {
        let name = unique("request");
        let ask = |name: &str| {
            let request = api.by(&application, "GET", &path);
            request.header("x-local-runtime-request", name)
        };
        ask(&name).expect(200).await;
        let traced = trace(api, &name).into_iter();
        let ran: Vec<_> = traced
            .filter(|it| it.op == "sql")
            .map(|it| it.key)
            .collect();
        for statement in statements {
            assert!(ran.iter().any(|key| key == statement), "{path}: {ran:?}");
            let name = unique("request");
            let fault = Fault::error("sql").on(*statement).of(&name).inject(api);
            ask(&name).expect_error(DEPENDENCY_FAILED).await;
            assert!(fault.hits() > 0, "{path}: {statement}");
            // Whose application it is comes first.
            let request = api.by(&other, "GET", &path);
            let request = request.header("x-local-runtime-request", &name);
            request.expect_error(FORBIDDEN).await;
            fault.end();
        }
    }
}

#[tokio::test]
async fn a_page_that_is_late_is_504() {
    local_runtime_only!();
    let server = dispatching_setup()
        .variable("store_timeout_ms", "500")
        .start();
    let (application, created) = subscribed(&server, "http://127.0.0.1:9/").await;
    publish(&server, &application).await;
    let path = deliveries_path(&application, &created.webhook.id);
    for (path, statement) in [
        (application.events_path(), "events-page"),
        (path, "deliveries-page"),
    ] {
        let fault = Fault::hang("sql").on(statement).inject(&server);
        let request = server.by(&application, "GET", &path);
        request.expect_error(DEPENDENCY_LATE).await;
        fault.end();
        server.by(&application, "GET", &path).expect(200).await;
    }
}
