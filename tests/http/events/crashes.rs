//! Processes that die, and several that share one database.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LEASE, completed, event, on_postgres, publish, subscribed};
use crate::support::faults::Fault;
use crate::support::server::dispatching_setup;
use crate::support::{PATIENCE, Receiver, Setup, local_runtime_only, poll, unique};

on_servers_of_their_own! {
    what_is_answered_survives_kill_9
    two_processes_send_each_delivery_once
    a_crash_around_a_publish_loses_and_doubles_nothing
}

/// The process dies while its attempts are under way. Each comes again, by its id the same, when the
/// lease has ended, and says that the one before is uncertain.
async fn what_is_answered_survives_kill_9(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let setup = setup();
    let first = setup.start();
    let (receiver, release) = Receiver::held("200 OK", b"");
    let (application, _) = subscribed(&first, &receiver.url()).await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(publish(&first, &application).await["id"].clone());
    }
    poll("an attempt", PATIENCE, || {
        receiver.received().first().cloned()
    })
    .await;
    let second = first.kill().start();
    drop(release);
    let since = std::time::Instant::now();
    for id in &ids {
        let read = loop {
            let read = event(&second, &application, id).await;
            if read["summary"]["succeeded"] == json!(1) {
                break read;
            }
            assert!(since.elapsed() < LEASE + PATIENCE, "{read:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let delivery = &read["deliveries"][0];
        let attempt = &delivery["lastAttempt"];
        match attempt["number"].as_u64() {
            Some(1) => assert_eq!(attempt["trigger"], "schedule", "{read}"),
            Some(2) => assert_eq!(attempt["trigger"], "uncertain", "{read}"),
            other => panic!("{other:?}: {read}"),
        }
    }
    let mut times = BTreeMap::<String, usize>::new();
    for sent in receiver.received() {
        *times
            .entry(sent.header("webhook-id").to_owned())
            .or_default() += 1;
    }
    assert_eq!(times.len(), ids.len());
    assert!(times.values().all(|times| *times <= 2), "{times:?}");
}

async fn two_processes_send_each_delivery_once(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let setup = setup();
    let other = setup.another();
    let one = setup.start();
    let other = other.start();
    let failing_once = Receiver::answering_in_turn(&[
        &crate::support::receiver::answer("500 No", b""),
        &crate::support::receiver::answer("200 OK", b""),
    ]);
    let (application, _) = subscribed(&one, &failing_once.url()).await;
    let publishes = (0..40).map(|number| {
        let server = if number % 2 == 0 { &one } else { &other };
        publish(server, &application)
    });
    let published = futures::future::join_all(publishes).await;
    for event in &published {
        let read = completed(&other, &application, &event["id"]).await;
        assert_eq!(read["summary"]["succeeded"], 1, "{read}");
    }
    // One more than there are events: the first attempt failed.
    assert_eq!(failing_once.received().len(), published.len() + 1);
}

/// Whether the publish took effect, a repeat with its key finds out.
async fn a_crash_around_a_publish_loses_and_doubles_nothing(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let setup = setup();
    let receiver = Receiver::answering("200 OK", b"");
    let mut server = setup.start();
    let (application, _) = subscribed(&server, &receiver.url()).await;
    for (after, expected) in [(false, Value::Null), (true, json!("true"))] {
        let key = unique("key");
        let crash = Fault::crash("sql").on("publish").times(1);
        let crash = if after { crash.after() } else { crash };
        let injected = crash.inject(&server);
        let request = server.publish(&application).header("idempotency-key", &key);
        assert!(request.send_unchecked().await.is_err());
        std::mem::forget(injected);
        server = server.restart();
        let request = server.publish(&application).header("idempotency-key", &key);
        let repeated = request.expect(202).await;
        let replayed = repeated.header("idempotency-replayed").map(|it| json!(it));
        assert_eq!(replayed.unwrap_or_default(), expected);
        let id = &repeated.json()["id"];
        if after {
            // What died with its process is claimed until its lease ends.
            server.sleep(LEASE);
        }
        let delivered = |event: &Value| event["summary"]["succeeded"] == json!(1);
        let since = std::time::Instant::now();
        while !delivered(&event(&server, &application, id).await) {
            assert!(since.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    assert_eq!(receiver.received().len(), 2, "each once");
}

/// Spin does not wait for what is in flight when it is told to end.
#[tokio::test]
async fn what_is_cut_off_by_sigterm_comes_again() {
    local_runtime_only!();
    let first = dispatching_setup().without_drain().start();
    let (receiver, release) = Receiver::held("200 OK", b"");
    let (application, _) = subscribed(&first, &receiver.url()).await;
    let published = publish(&first, &application).await;
    poll("an attempt", PATIENCE, || receiver.received().pop()).await;
    let second = first.terminate().start();
    drop(release);
    second.sleep(LEASE);
    let since = std::time::Instant::now();
    let read = loop {
        let read = event(&second, &application, &published["id"]).await;
        if read["summary"]["succeeded"] == json!(1) {
            break read;
        }
        assert!(since.elapsed() < PATIENCE, "{read:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(read["deliveries"][0]["lastAttempt"]["trigger"], "uncertain");
    assert_eq!(receiver.received().len(), 2);
}

/// Answered in time while it is away, and at once when it is back: no process has to be restarted.
#[tokio::test]
async fn a_postgres_that_was_away_is_used_again() {
    local_runtime_only!();
    let Some(postgres) = crate::support::Postgres::start() else {
        crate::support::report::server_missing("events::crashes::a_postgres_that_was_away");
        return;
    };
    let setup = on_postgres(dispatching_setup(), &postgres);
    let server = setup.variable("store_timeout_ms", "3000").start();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(&server, &receiver.url()).await;
    let first = publish(&server, &application).await;
    completed(&server, &application, &first["id"]).await;
    postgres.stop();
    for _ in 0..3 {
        let since = std::time::Instant::now();
        let refused = server.publish(&application).send().await;
        assert!([502, 504].contains(&refused.status), "{}", refused.text);
        assert!(
            since.elapsed() < Duration::from_secs(8),
            "{:?}",
            since.elapsed()
        );
    }
    postgres.start_again();
    let since = std::time::Instant::now();
    let published = loop {
        let response = server.publish(&application).send().await;
        if response.status == 202 {
            break response.json();
        }
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "{}",
            response.text
        );
    };
    completed(&server, &application, &published["id"]).await;
    let read = event(&server, &application, &first["id"]).await;
    assert_eq!(read["summary"]["succeeded"], 1);
}
