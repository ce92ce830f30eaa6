//! Who gets an event: decided at publish, and once more some seconds later.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{event, event_when, publish, subscribed, webhook};
use crate::support::client::Request;
use crate::support::{PATIENCE, Receiver, Server, busy, local_runtime_only};

on_both_databases! {
    a_webhook_that_the_index_lacked_gets_the_event_seconds_later
    an_event_published_after_a_webhooks_201_reaches_it_whatever_creates_meet
}

fn webhooks(event: &Value) -> Vec<&str> {
    let deliveries = event["deliveries"].as_array().expect("deliveries");
    let ids = deliveries.iter().map(|it| it["webhookId"].as_str());
    ids.map(|id| id.expect("an id")).collect()
}

/// The index is a hint: what it lacks at publish is added, and nothing else.
async fn a_webhook_that_the_index_lacked_gets_the_event_seconds_later(api: &Server) {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, missed) = subscribed(api, &receiver.url()).await;
    let index = api.store().get(&application.index_key()).expect("an index");
    let published = loop {
        api.store().set(&application.index_key(), b"[]");
        let published = publish(api, &application).await;
        // The create looks after its entry for a while, and may just have written it back.
        if published["summary"]["pending"] == 0 {
            break published;
        }
    };
    api.store().set(&application.index_key(), &index);
    let younger = webhook(api, &application, &receiver.url()).await;
    let is_delivered = |event: &Value| {
        event["summary"]["pending"] == json!(0) && event["summary"]["succeeded"] != json!(0)
    };
    let read = event_when(api, &application, &published["id"], is_delivered).await;
    // One that is younger by less than two seconds may be the older one by another clock.
    let possible = [missed.webhook.id.as_str(), younger.webhook.id.as_str()];
    assert!(webhooks(&read).contains(&possible[0]), "{read}");
    assert!(
        webhooks(&read).iter().all(|id| possible.contains(id)),
        "{read}"
    );

    tokio::time::sleep(Duration::from_secs(3)).await;
    let late = webhook(api, &application, &receiver.url()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let read = event(api, &application, &published["id"]).await;
    assert!(!webhooks(&read).contains(&late.webhook.id.as_str()));
}

async fn an_event_published_after_a_webhooks_201_reaches_it_whatever_creates_meet(api: &Server) {
    const TRIES: usize = 20;
    const CREATES: usize = 10;

    let receiver = Receiver::answering("200 OK", b"");
    let url = receiver.url();
    let mut made = Vec::new();
    let busy = busy().await;
    for _ in 0..TRIES {
        let application = api.application();
        let creates = (0..CREATES).map(async |_| {
            let created = accepted(201, || api.create(&application).url(&url)).await;
            let published = accepted(202, || api.publish(&application)).await;
            (text(&created["id"]), text(&published["id"]))
        });
        let creates = futures::future::join_all(creates).await;
        made.push((application, creates));
    }
    drop(busy);
    // Who was missed gets the event when it is settled.
    for (application, creates) in made {
        for (webhook, id) in creates {
            let path = format!("{}/{id}", application.events_path());
            let since = Instant::now();
            loop {
                let read = accepted(200, || api.by(&application, "GET", &path)).await;
                if webhooks(&read).contains(&webhook.as_str()) {
                    break;
                }
                assert!(since.elapsed() < PATIENCE, "{webhook}: {read}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What such a request returns with this status. A slow disk keeps SQLite's store and its lock from a busy
/// application for longer than a deadline, and then a request promises nothing: it is made again.
async fn accepted(status: u16, request: impl Fn() -> Request) -> Value {
    let since = Instant::now();
    loop {
        let response = request().send().await;
        match response.status {
            502 | 504 if since.elapsed() < PATIENCE => continue,
            _ => assert_eq!(response.status, status, "{}", response.text),
        }
        return response.json();
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}
