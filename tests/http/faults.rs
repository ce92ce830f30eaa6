//! 502 and 504: the store fails or is late, at every operation of a create.
//!
//! The rule behind all of it: either the client is told a webhook and it is there, or the client
//! is told an error and no webhook stays whose secret nobody knows.
//!
//! Long because each operation of a create fails, hangs and is late in turn.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::contract::{DEPENDENCY_FAILED, DEPENDENCY_LATE};
use crate::support::faults::{Fault, Operation, trace};
use crate::support::server::HASTE;
use crate::support::{
    Application, Created, PATIENCE, Response, Server, Setup, local_runtime_only, poll,
    short_deadline, standard, unique,
};

/// Within this, a webhook that nobody was told is gone again: the service tries for about a minute,
/// and on a busy machine not each try is in time.
const CLEANED_UP: Duration = Duration::from_secs(60);

/// How long it must then have stayed away.
const STAYS_AWAY: Duration = Duration::from_secs(1);

/// The operations that a create cannot do without, as (operation, key).
fn operations(application: &Application) -> Vec<(&'static str, String)> {
    vec![
        ("get", application.key()),
        ("get", application.index_key()),
        ("set", application.webhook_prefix()),
        ("set", application.index_key()),
    ]
}

/// Soon no webhook of the application is there any more, and none comes back.
async fn nothing_remains(api: &Server, application: &Application, what: &str) {
    let since = Instant::now();
    let mut gone_since = since;
    while gone_since.elapsed() < STAYS_AWAY {
        let there = api.store().webhooks(application);
        if !there.is_empty() {
            assert!(since.elapsed() < CLEANED_UP, "{what}: {there:?} remain");
            gone_since = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The next create succeeds: at once where there is no hurry, soon where a busy machine may miss
/// a short deadline.
async fn recovers(api: &Server, application: &Application, what: &str) {
    let since = Instant::now();
    loop {
        let response = api.create(application).send().await;
        if response.status == 201 {
            let created = Created::from(response);
            stays(api, application, &created.webhook.id, what).await;
            return;
        }
        let late = std::ptr::eq(api, short_deadline()) && response.status == 504;
        assert!(
            late && since.elapsed() < PATIENCE,
            "{what}: {}",
            response.text
        );
    }
}

/// The webhook is there by its key now, and soon in the index. How soon is for the tests of
/// concurrency.
async fn stays(api: &Server, application: &Application, id: &str, what: &str) {
    assert!(
        api.store().webhook(application, id).is_some(),
        "{what}: a 201 without a webhook"
    );
    poll(
        &format!("{what}: the index has the webhook"),
        CLEANED_UP,
        || {
            api.store()
                .index(application)
                .contains(&id.to_owned())
                .then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn a_store_that_fails_is_502_and_leaves_nothing() {
    local_runtime_only!();
    let api = standard();
    for index in 0..4 {
        for effect in ["before", "after"] {
            let application = api.application();
            let (operation, key) = operations(&application).swap_remove(index);
            let what = format!("{operation} {key} fails {effect} its effect");
            let fault = Fault::error(operation).on(key);
            let fault = if effect == "after" {
                fault.after()
            } else {
                fault
            };

            let fault = fault.inject(api);
            let response = api.create(&application).send().await;
            assert_eq!(response.text, DEPENDENCY_FAILED, "{what}");
            assert!(fault.hits() > 0, "{what}: a create does not need it");
            nothing_remains(api, &application, &what).await;
            fault.end();
            recovers(api, &application, &what).await;
            assert_eq!(api.store().webhooks(&application).len(), 1, "{what}");
        }
    }
}

/// Sends a create and takes the time until the answer.
async fn timed(api: &Server, application: &Application) -> (Response, Duration) {
    let since = Instant::now();
    let response = api.create(application).send().await;
    (response, since.elapsed())
}

/// How late the store is: much later than anybody waits.
const LATE: Duration = HASTE.saturating_mul(5);

/// At each operation of a create: 504 at the deadline, nothing remains, and then it works again.
async fn late_is_504_and_leaves_nothing(what: &str, fault: impl Fn(&'static str) -> Fault) {
    let api = short_deadline();
    for index in 0..4 {
        let begun = Instant::now();
        let (application, started, what) = loop {
            let application = api.application();
            let (operation, key) = operations(&application).swap_remove(index);
            let what = format!("{operation} {key} {what}");

            let fault = fault(operation).on(key).times(1).inject(api);
            let started = Instant::now();
            let (response, took) = timed(api, &application).await;
            assert_eq!(response.text, DEPENDENCY_LATE, "{what}");
            assert!(took >= HASTE, "{what}: gave up after {took:?}");
            assert!(took < PATIENCE / 4, "{what}: waited {took:?}");
            let hits = fault.hits();
            fault.end();
            if hits == 1 {
                break (application, started, what);
            }
            // A busy machine may be late for the deadline before the fault's turn comes.
            assert!(
                hits == 0 && begun.elapsed() < PATIENCE,
                "{what}: {hits} hits"
            );
        };
        // Only from here on can what was late be there.
        tokio::time::sleep((started + LATE).saturating_duration_since(Instant::now())).await;
        nothing_remains(api, &application, &what).await;
        recovers(api, &application, &what).await;
    }
}

#[tokio::test]
async fn a_store_that_is_late_is_504_at_the_deadline_and_leaves_nothing() {
    local_runtime_only!();
    late_is_504_and_leaves_nothing("is late", |operation| Fault::delay(operation, LATE)).await;
}

#[tokio::test]
async fn a_store_that_answers_late_is_504_at_the_deadline_and_leaves_nothing() {
    local_runtime_only!();
    let fault = |operation| Fault::delay(operation, LATE).after();
    late_is_504_and_leaves_nothing("answers late", fault).await;
}

/// What was cut off happens all the same, long after the deadline.
#[tokio::test]
async fn a_write_that_was_cut_off_and_still_happens_leaves_nothing() {
    local_runtime_only!();
    let fault = |operation| Fault::delay(operation, LATE).detached();
    late_is_504_and_leaves_nothing("still happens", fault).await;
}

/// A create's write is cut off, its repeat makes the webhook, the webhook is deleted, and the write happens.
#[tokio::test]
async fn a_webhook_that_is_deleted_stays_deleted_though_its_create_takes_effect_late() {
    local_runtime_only!();
    let api = short_deadline();
    let late = LATE * 2;
    let begun = Instant::now();
    loop {
        let application = api.application();
        let fault = Fault::delay("set", late).detached().times(1);
        let fault = fault.on(application.webhook_prefix()).inject(api);
        let started = Instant::now();
        let create = || api.create(&application).header("idempotency-key", "late");
        let first = create().send().await;
        let repeat = create().send().await;
        let hits = fault.hits();
        fault.end();
        // A busy machine may be late for another operation, or for a deadline.
        let is_cut_off = hits == 1 && first.status == 504 && repeat.status == 201;
        let created = repeat.status == 201;
        let id = created.then(|| Created::from(repeat).webhook.id);
        let request = unique("delete");
        let mut is_deleted_in_time = false;
        if let Some(id) = &id {
            let delete = api.by(&application, "DELETE", &application.webhook_path(id));
            let deleted = delete.header("x-local-runtime-request", &request);
            let status = deleted.send().await.status;
            is_deleted_in_time = status == 204 && started.elapsed() < late;
        }
        if !is_cut_off || !is_deleted_in_time {
            assert!(begun.elapsed() < PATIENCE, "it is never in time");
            continue;
        }
        let id = id.expect("a webhook");
        let key = format!("{}{id}", application.webhook_prefix());
        poll("it is back, and removed", CLEANED_UP, || {
            let removed = |it: &Operation| it.op == "delete" && it.key == key && it.after_response;
            trace(api, &request).iter().any(removed).then_some(())
        })
        .await;
        nothing_remains(api, &application, "after a delete").await;
        let read = api.by(&application, "GET", &application.webhook_path(&id));
        read.expect(404).await;
        return;
    }
}

#[tokio::test]
async fn a_store_that_hangs_is_504_at_the_deadline_and_leaves_nothing() {
    local_runtime_only!();
    late_is_504_and_leaves_nothing("hangs", Fault::hang).await;
}

#[tokio::test]
async fn a_store_that_hangs_for_everything_is_504_until_it_answers_again() {
    local_runtime_only!();
    let api = short_deadline();
    let application = api.application();
    let fault = Fault::hang("*").on(application.id.as_str()).inject(api);
    for _ in 0..3 {
        let (response, took) = timed(api, &application).await;
        assert_eq!(response.text, DEPENDENCY_LATE);
        assert!(took >= HASTE && took < PATIENCE / 4, "{took:?}");
    }
    fault.end();
    recovers(api, &application, "after a hang").await;
}

/// The write happened and its undoing fails too, for a while.
#[tokio::test]
async fn a_webhook_that_nobody_was_told_is_removed_even_if_removing_fails_at_first() {
    local_runtime_only!();
    let api = standard();
    for (operation, what) in [
        ("error", "the first deletes fail"),
        ("after", "the first deletes seem to fail"),
    ] {
        let application = api.application();
        let written = Fault::error("set")
            .on(application.webhook_prefix())
            .after()
            .inject(api);
        let delete = Fault::error("delete")
            .on(application.webhook_prefix())
            .times(2);
        let delete = if operation == "after" {
            delete.after()
        } else {
            delete
        };
        let delete = delete.inject(api);

        api.create(&application)
            .expect_error(DEPENDENCY_FAILED)
            .await;
        nothing_remains(api, &application, what).await;
        drop((written, delete));
        recovers(api, &application, what).await;
    }
}

/// A blackout in the middle of a create: the webhook is written, then nothing works for longer
/// than any deadline.
#[tokio::test]
async fn a_webhook_that_nobody_was_told_is_removed_after_a_blackout() {
    local_runtime_only!();
    let api = short_deadline();
    let application = api.application();
    let written = Fault::error("set")
        .on(application.webhook_prefix())
        .after()
        .times(1)
        .inject(api);
    let blackout = Fault::hang("delete")
        .on(application.id.as_str())
        .inject(api);
    let (response, _) = timed(api, &application).await;
    assert!([502, 504].contains(&response.status), "{}", response.text);
    tokio::time::sleep(HASTE * 4).await;
    drop((written, blackout));
    nothing_remains(api, &application, "after a blackout").await;
    recovers(api, &application, "after a blackout").await;
}

/// Every operation, not only those that we know of: the first fails, then the second, and so on
/// until there is none left, also those that go on after the response.
#[tokio::test]
async fn whichever_operation_fails_the_client_is_told_the_truth() {
    local_runtime_only!();
    let api = standard();
    for (kind, effect) in [("error", "before"), ("error", "after")] {
        let mut hit = 0;
        for position in 0.. {
            let application = api.application();
            let what = format!("operation {position}: {kind} {effect} its effect");
            let fault = Fault::error("*")
                .on(application.id.as_str())
                .skip(position)
                .times(1);
            let fault = if effect == "after" {
                fault.after()
            } else {
                fault
            };
            let fault = fault.inject(api);
            let response = api.create(&application).send().await;
            truth(api, &application, response, &what).await;
            let hits = fault.hits();
            fault.end();
            if hits == 0 {
                break;
            }
            hit += 1;
            assert!(position < 50, "a create has no end");
        }
        assert!(hit >= 4, "a create reads and writes more than {hit} times");
    }
}

/// The same with operations that take longer than anybody waits.
#[tokio::test]
async fn whichever_operation_is_late_the_client_learns_the_truth() {
    local_runtime_only!();
    let api = short_deadline();
    for detached in [false, true] {
        for position in 0..8 {
            let application = api.application();
            let what = format!("operation {position} is late, detached: {detached}");
            let late = HASTE * 3;
            let fault = Fault::delay("*", late)
                .on(application.id.as_str())
                .skip(position)
                .times(1);
            let fault = if detached { fault.detached() } else { fault };
            let started = Instant::now();
            let fault = fault.inject(api);
            let response = api.create(&application).send().await;
            if response.status != 201 {
                tokio::time::sleep((started + late * 2).saturating_duration_since(Instant::now()))
                    .await;
            }
            truth(api, &application, response, &what).await;
            fault.end();
        }
    }
}

/// A 201 means that the webhook is there and stays; an error that there is none.
async fn truth(api: &Server, application: &Application, response: Response, what: &str) {
    match response.status {
        201 => {
            let created = Created::from(response);
            let id = created.webhook.id.as_str();
            assert!(
                api.store().webhook(application, id).is_some(),
                "{what}: not there"
            );
            poll(
                &format!("{what}: the index has the webhook"),
                CLEANED_UP,
                || {
                    api.store()
                        .index(application)
                        .contains(&id.to_owned())
                        .then_some(())
                },
            )
            .await;
            assert_eq!(api.store().webhooks(application), [id], "{what}");
        }
        502 => {
            assert_eq!(response.text, DEPENDENCY_FAILED, "{what}");
            nothing_remains(api, application, what).await;
        }
        504 => {
            assert_eq!(response.text, DEPENDENCY_LATE, "{what}");
            nothing_remains(api, application, what).await;
        }
        _ => panic!("{what}: {}", response.text),
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_502_until_it_can() {
    local_runtime_only!();
    let api = Setup::new().start();
    let application = api.application();
    let fault = Fault::error("open").on("default").inject(&api);
    for _ in 0..3 {
        api.create(&application)
            .expect_error(DEPENDENCY_FAILED)
            .await;
    }
    assert!(fault.hits() > 0);
    fault.end();
    api.create(&application).expect(201).await;
}

#[tokio::test]
async fn a_store_that_does_not_open_in_time_is_504_until_it_does() {
    local_runtime_only!();
    for fault in [Fault::hang("open"), Fault::delay("open", HASTE * 100)] {
        let api = Setup::new().variable("store_timeout_ms", "300").start();
        let application = api.application();
        let fault = fault.inject(&api);
        for _ in 0..2 {
            let (response, took) = timed(&api, &application).await;
            assert_eq!(response.text, DEPENDENCY_LATE);
            assert!(took >= HASTE && took < PATIENCE / 4, "{took:?}");
        }
        fault.end();
        poll_until_created(&api, &application).await;
    }
}

async fn poll_until_created(api: &Server, application: &Application) {
    let since = Instant::now();
    while api.create(application).send().await.status != 201 {
        assert!(since.elapsed() < PATIENCE, "does not recover");
    }
}

#[tokio::test]
async fn the_deadline_is_2_seconds_where_nothing_else_is_configured() {
    local_runtime_only!();
    let api = Setup::new().start();
    let application = api.application();
    poll_until_created(&api, &application).await;
    let fault = Fault::hang("get").on(application.key()).inject(&api);
    let (response, took) = timed(&api, &application).await;
    assert_eq!(response.text, DEPENDENCY_LATE);
    assert!(
        took >= Duration::from_secs(2) && took < PATIENCE / 4,
        "{took:?}"
    );
    fault.end();
}

/// "Requests of one instance must not wait for each other."
#[tokio::test]
async fn a_request_that_waits_for_the_store_holds_up_nobody() {
    local_runtime_only!();
    let api = standard();
    let (slow, other) = (api.application(), api.application());
    let fault = Fault::hang("get").on(slow.key()).times(1).inject(api);
    let request = api.create(&slow);
    let waiting = tokio::spawn(async move { request.send().await });
    while fault.hits() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..20 {
        api.create(&other).expect(201).await;
    }
    // 20 creates were faster than the deadline of the one that hangs.
    assert!(!waiting.is_finished());
    waiting.abort();
    fault.end();
}

/// Hanging, failing, and by turns failing and not: each of 512 clients gets an answer that is
/// documented, and nothing has to be restarted.
#[tokio::test]
async fn a_store_in_trouble_with_512_connections_ends_in_documented_answers() {
    const CONNECTIONS: usize = 512;

    local_runtime_only!();
    let api = Setup::new()
        .variable("store_timeout_ms", "1000")
        .variable("max_changes_per_minute", "0")
        .variable("max_webhooks_per_application", "5000")
        .start();
    let application = api.application();
    poll_until_created(&api, &application).await;
    let flood = async |allowed: &[u16]| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let request = api.create(&application);
                tokio::spawn(request.send())
            })
            .collect();
        let mut refused = 0;
        for client in clients {
            let response = client.await.expect("a documented answer");
            assert!(allowed.contains(&response.status), "{}", response.text);
            refused += usize::from(response.status != 201);
        }
        refused
    };

    let hang = Fault::hang("*").on(application.id.as_str()).inject(&api);
    assert_eq!(flood(&[504]).await, CONNECTIONS);
    hang.end();
    poll_until_created(&api, &application).await;

    let error = Fault::error("*").on(application.id.as_str()).inject(&api);
    // A busy machine may be too late for the error.
    assert_eq!(flood(&[502, 504]).await, CONNECTIONS);
    error.end();
    poll_until_created(&api, &application).await;

    let flapping = async {
        for _ in 0..5 {
            let error = Fault::error("*").on(application.id.as_str()).inject(&api);
            tokio::time::sleep(Duration::from_millis(100)).await;
            error.end();
            let hang = Fault::hang("set").on(application.id.as_str()).inject(&api);
            tokio::time::sleep(Duration::from_millis(100)).await;
            hang.end();
        }
    };
    futures::future::join(flood(&[201, 502, 504]), flapping).await;
    poll_until_created(&api, &application).await;
}

const TORN: [&[u8]; 5] = [b"", b"not json", b"[1]", b"{\"v\":1}", b"\xff\xfe"];

/// A document that cannot be read is of one webhook: no other is touched, the list shows the others,
/// the log says which it is, and who wants to be rid of the webhook deletes it.
#[tokio::test]
async fn a_document_that_is_not_ours_is_a_logged_502_of_its_webhook_only() {
    local_runtime_only!();
    let api = standard();
    for kind in ["webhook", "webhook-settings", "webhook-secrets"] {
        for document in TORN {
            let application = api.application();
            let other = api.create(&application).expect_created().await.webhook;
            let webhook = api.create(&application).expect_created().await.webhook;
            let key = format!("{kind}/{}/{}", application.id, webhook.id);
            let path = format!("{}/{}", application.path(), webhook.id);
            let shown = format!("{kind}: {}", String::from_utf8_lossy(document));
            let by = |method: &str, path: &str| api.by(&application, method, path);
            // Of a webhook that nobody has changed a list reads nothing else.
            let change = json!({"url": "https://merchant.example.com/others"});
            by("PATCH", &path).json(&change).expect(200).await;
            api.store().set(&key, document);
            let is_logged = async |id: &str| {
                poll(&format!("{shown}: a line in the log"), PATIENCE, || {
                    let lines = api.stdout_lines();
                    let mut lines = lines.iter().filter(|line| line.contains(id));
                    lines.any(|line| line.contains(&key)).then_some(())
                })
                .await;
            };
            for request in [
                by("GET", &path),
                by("POST", &format!("{path}/rotate")),
                by("POST", &format!("{path}/test")),
                by("DELETE", &path).header("if-match", "\"x\""),
            ] {
                let response = request.expect_error(DEPENDENCY_FAILED).await;
                is_logged(response.request_id()).await;
            }
            assert_eq!(api.store().get(&key).as_deref(), Some(document), "{shown}");
            let list = by("GET", &application.path()).expect(200).await;
            is_logged(list.request_id()).await;
            let items = list.json()["items"].clone();
            assert_eq!(items.as_array().map(Vec::len), Some(1), "{shown}: {items}");
            assert_eq!(items[0]["id"], other.id, "{shown}");
            by("DELETE", &path).expect(204).await;
            by("GET", &path).expect(404).await;
            assert_eq!(api.store().get(&key), None, "{shown}");
        }
    }
}

#[tokio::test]
async fn a_torn_last_test_keeps_nobody_from_rotating_or_deleting() {
    local_runtime_only!();
    let api = standard();
    for document in TORN {
        let application = api.application();
        let webhook = api.create(&application).expect_created().await.webhook;
        let key = format!("webhook-test/{}/{}", application.id, webhook.id);
        let path = format!("{}/{}", application.path(), webhook.id);
        let shown = String::from_utf8_lossy(document);
        let by = |method: &str, path: &str| api.by(&application, method, path);
        api.store().set(&key, document);
        let read = by("GET", &path).expect(200).await.json();
        assert_eq!(read["lastTestAt"], Value::Null, "{shown}");
        let list = by("GET", &application.path()).expect(200).await.json();
        assert_eq!(list["items"][0]["id"], webhook.id, "{shown}");
        by("POST", &format!("{path}/rotate")).expect(200).await;
        assert_eq!(api.store().get(&key).as_deref(), Some(document), "{shown}");
        assert!(api.output().contains(&key), "{shown}: the log names it");
        // A test replaces it.
        by("POST", &format!("{path}/test")).expect(200).await;
        let read = by("GET", &path).expect(200).await.json();
        assert!(read["lastTestAt"].is_string(), "{shown}: {read}");
        api.store().set(&key, document);
        by("DELETE", &path).expect(204).await;
        assert_eq!(api.store().get(&key), None, "{shown}");
    }
}

#[tokio::test]
async fn an_application_whose_settings_are_torn_can_be_deleted_and_the_list_has_the_others() {
    local_runtime_only!();
    let api = standard();
    for document in TORN {
        let torn = api.application();
        let applications = "/api/v1/applications";
        let by = |method: &str, path: &str| api.by(&torn, method, path);
        let other = by("POST", applications).json(&json!({"name": "other"}));
        let other = other.expect(201).await.json();
        let path = format!("{applications}/{}", torn.id);
        // Reading one that was written by hand puts it into the list.
        by("GET", &path).expect(200).await;
        let listed = async || {
            let list = by("GET", applications).expect(200).await.json();
            let items = list["items"].as_array().expect("items").iter();
            let ids: Vec<String> = items.map(|item| item["id"].to_string()).collect();
            ids
        };
        let since = Instant::now();
        while listed().await.len() < 2 {
            assert!(since.elapsed() < PATIENCE, "not in the list");
        }
        let url = json!({"url": "https://example.com/"});
        let webhook = by("POST", &torn.path()).json(&url).expect(201).await.json();
        let webhook = torn.webhook_path(webhook["id"].as_str().expect("an id"));
        let key = format!("application-settings/{}", torn.id);
        api.store().set(&key, document);
        assert_eq!(listed().await, [other["id"].to_string()]);
        by("GET", &path).expect_error(DEPENDENCY_FAILED).await;
        // Its webhooks can be seen; whether it takes changes nobody knows.
        by("GET", &webhook).expect(200).await;
        let change = by("PATCH", &webhook).json(&json!({"isActive": false}));
        change.expect_error(DEPENDENCY_FAILED).await;
        by("DELETE", &path).expect(204).await;
        by("GET", &path).expect(404).await;
        assert_eq!(api.store().get(&key), None);
    }
}

#[tokio::test]
async fn an_application_document_that_is_not_ours_is_502() {
    local_runtime_only!();
    let api = standard();
    for document in [
        &b""[..],
        b"not json",
        b"null",
        b"[]",
        b"\"merchant\"",
        b"{}",
        br#"{"merchantId":null}"#,
        br#"{"merchantId":1}"#,
        br#"{"merchantId":""}"#,
        br#"{"merchantId":["merchant"]}"#,
        br#"{"merchant_id":"merchant"}"#,
        b"{\"merchantId\":\"\xff\"}",
        br#"{"merchantId":"merchant""#,
    ] {
        let application = api.application();
        api.store().set(&application.key(), document);
        let response = api.create(&application).send().await;
        let shown = String::from_utf8_lossy(document);
        assert_eq!(response.text, DEPENDENCY_FAILED, "{shown}");
        assert_eq!(
            api.store().webhooks(&application),
            Vec::<String>::new(),
            "{shown}"
        );
    }
}

/// Whoever owns the applications may write more than we ask for.
#[tokio::test]
async fn an_application_document_may_have_other_members() {
    local_runtime_only!();
    let api = standard();
    let application = api.application();
    let document = format!(
        "{{ \"name\": \"Shop\", \"merchantId\":\"{}\", \"tags\": [1, {{}}], \"merchantid\": 1 }}\n",
        application.merchant
    );
    api.store().set(&application.key(), document.as_bytes());
    api.create(&application).expect(201).await;
}

/// The index is a hint that is reconciled: whatever is in it, no webhook is lost over it.
#[tokio::test]
async fn an_index_that_is_not_ours_is_never_a_fault_of_ours() {
    local_runtime_only!();
    let api = standard();
    for index in [
        &b""[..],
        b"not json",
        b"null",
        b"{}",
        b"[1,null,{}]",
        b"[\"not a uuid\",\"../../x\",\"\"]",
        b"\xff\xfe",
    ] {
        let application = api.application();
        api.store().set(&application.index_key(), index);
        let response = api.create(&application).send().await;
        let shown = String::from_utf8_lossy(index);
        match response.status {
            201 => {
                let id = Created::from(response).webhook.id;
                stays(api, &application, &id, &shown).await;
            }
            502 => assert_eq!(response.text, DEPENDENCY_FAILED, "{shown}"),
            _ => panic!("{shown}: {}", response.text),
        }
    }
}

/// A service of one test's own, with time for its operations: a trap ends whatever shares the instance.
fn patient() -> Server {
    Setup::new().variable("store_timeout_ms", "40000").start()
}

#[tokio::test]
async fn a_trap_is_500_and_the_service_goes_on() {
    local_runtime_only!();
    let api = &patient();
    let application = api.application();
    for operation in [
        ("get", application.key()),
        ("set", application.webhook_prefix()),
    ] {
        let fault = Fault::trap(operation.0)
            .on(operation.1)
            .times(1)
            .inject(api);
        let response = api.create(&application).send_unchecked().await;
        assert_eq!(
            response.as_ref().map(|response| response.status),
            Ok(500),
            "{response:?}"
        );
        let text = response.map(|response| response.text).unwrap_or_default();
        for hidden in ["trap", "wasm", "panic", "fault", ".rs", "at 0x"] {
            assert!(!text.contains(hidden), "{text}");
        }
        assert_eq!(fault.hits(), 1);
        fault.end();
        for _ in 0..20 {
            api.create(&api.application()).expect(201).await;
        }
    }
}

/// "A trapped or crashed request takes down nobody else's." What shares the instance shares its
/// memory, and so its end: WebAssembly leaves no way around that, on Spin neither. All others go
/// on, and those too get an answer.
#[tokio::test]
async fn a_trap_takes_down_nobody_in_another_instance() {
    /// What one instance serves at the same time.
    const SHARED: usize = 16;

    local_runtime_only!();
    let api = &patient();
    let others: Vec<Application> = (0..3 * SHARED).map(|_| api.application()).collect();
    let slow: Vec<_> = others
        .iter()
        .map(|it| {
            Fault::delay("get", Duration::from_millis(1500))
                .on(it.key())
                .inject(api)
        })
        .collect();
    let requests: Vec<_> = others
        .iter()
        .map(|application| {
            let request = api.create(application);
            tokio::spawn(async move { request.send_unchecked().await })
        })
        .collect();
    while slow.iter().any(|fault| fault.hits() == 0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let victim = api.application();
    let fault = Fault::trap("get").on(victim.key()).times(1).inject(api);
    let response = api.create(&victim).send_unchecked().await;
    assert_eq!(
        response.as_ref().map(|response| response.status),
        Ok(500),
        "{response:?}"
    );
    fault.end();

    let mut taken_down = 0;
    for request in requests {
        let response = request.await.expect("a request").expect("an answer");
        match response.status {
            201 => {}
            500 => taken_down += 1,
            _ => panic!("{response:?}"),
        }
    }
    assert!(taken_down < SHARED, "{taken_down} of {}", others.len());
}
