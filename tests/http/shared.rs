//! Several service processes on one store: whatever one of them did, the others do too, and they
//! need nothing else of each other.
//!
//! On the local runtime the store is a SQLite file that two processes have open; on Spin it is the
//! one that the runtime config chooses, such as Redis (`deploy/redis.toml`).

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::support::{
    Application, Created, PATIENCE, Receiver, Server, Setup, report, server, server::on_spin,
};

/// What the design allows the index after the last 201.
const INDEXED: Duration = Duration::from_secs(2);

/// Two processes on one store, where there is one that two can have.
fn two_processes(test: &str) -> Option<&'static [Server; 2]> {
    static PROCESSES: LazyLock<Option<[Server; 2]>> = LazyLock::new(|| {
        let setup = Setup::new()
            .variable("max_webhooks_per_application", "1000")
            .variable("store_timeout_ms", "30000")
            .variable("allow_insecure_urls", "true")
            .variable("delivery_scheme", "*")
            .into_private_networks();
        server::store_can_be_shared().then(|| [setup.another().start(), setup.start()])
    });
    let processes = PROCESSES.as_ref();
    if processes.is_none() {
        report::not_run(
            &format!("shared::{test}"),
            "several processes on one store need a runtime config with a store that they can \
             share, such as --runtime-config deploy/redis.toml",
        );
    }
    processes
}

/// The ids that the service lists, sorted. One that an index takes up between two pages moves
/// others to the next page, so until all are in it one can be there twice.
async fn listed(api: &Server, application: &Application) -> Vec<String> {
    let mut ids = Vec::new();
    for page in 1.. {
        let path = format!("{}?page={page}&limit=100", application.path());
        let response = api
            .request("GET", &path)
            .token(&application.token())
            .expect(200)
            .await
            .json();
        for item in response["items"].as_array().expect("items") {
            ids.push(item["id"].as_str().expect("an id").to_owned());
        }
        if response["hasNextPage"] == json!(false) {
            break;
        }
    }
    ids.sort();
    ids
}

async fn read(api: &Server, application: &Application, id: &str, status: u16) -> Value {
    let path = format!("{}/{id}", application.path());
    let response = api.request("GET", &path).token(&application.token());
    response.expect(status).await.json()
}

#[tokio::test]
async fn what_one_process_wrote_the_other_reads_changes_and_deletes() {
    let Some([one, other]) =
        two_processes("what_one_process_wrote_the_other_reads_changes_and_deletes")
    else {
        return;
    };
    let application = one.application();
    for (writer, reader) in [(one, other), (other, one)] {
        let id = writer
            .create(&application)
            .expect_created()
            .await
            .webhook
            .id;
        let path = format!("{}/{id}", application.path());

        assert_eq!(
            read(reader, &application, &id, 200).await,
            read(writer, &application, &id, 200).await
        );
        assert!(listed(reader, &application).await.contains(&id));
        let changed = reader
            .request("PATCH", &path)
            .token(&application.token())
            .json(&json!({"isActive": false}))
            .expect(200)
            .await;
        assert_eq!(read(writer, &application, &id, 200).await, changed.json());
        reader
            .request("DELETE", &path)
            .token(&application.token())
            .expect(204)
            .await;
        read(writer, &application, &id, 404).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_creates_over_both_processes_are_all_kept_and_indexed() {
    let Some(processes) =
        two_processes("two_hundred_creates_over_both_processes_are_all_kept_and_indexed")
    else {
        return;
    };
    for tries in 1.. {
        let (creates, index) = two_hundred_creates_are_kept(processes).await;
        // On a machine that has others to do, within as long as the creates took.
        if index < INDEXED.max(creates) {
            break;
        }
        assert!(
            tries < 5,
            "all are in the index, but only {index:?} after {creates:?} of creates, {tries} times \
             in a row"
        );
    }
}

/// How long the creates took, and then the index until it had all of them.
async fn two_hundred_creates_are_kept(processes: &'static [Server; 2]) -> (Duration, Duration) {
    let application = processes[0].application();
    let began = Instant::now();
    // Between processes a SQLite file's lock is not fair: who waits five seconds in vain is
    // refused. Production has a store without such a lock.
    let at_once = if on_spin() { 200 } else { 8 };
    let created: BTreeSet<String> = stream::iter(0..200)
        .map(|number| tokio::spawn(processes[number % 2].create(&application).expect_created()))
        .buffer_unordered(at_once)
        .map(|request| request.expect("a create").webhook.id)
        .collect()
        .await;
    assert_eq!(created.len(), 200, "an id twice");
    let created = Vec::from_iter(created);

    let creates = began.elapsed();
    let since = Instant::now();
    let mut took = Duration::ZERO;
    for api in processes {
        loop {
            let ids = listed(api, &application).await;
            took = since.elapsed();
            if ids == created {
                break;
            }
            assert!(
                took < PATIENCE,
                "{} of 200 are in the index after {took:?}",
                ids.len()
            );
        }
    }

    // And they stay, whatever still goes on behind the last response.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for api in processes {
            assert_eq!(listed(api, &application).await, created);
        }
    }
    (creates, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_used_at_both_processes_gives_one_webhook() {
    let Some([one, other]) =
        two_processes("an_idempotency_key_used_at_both_processes_gives_one_webhook")
    else {
        return;
    };
    let application = one.application();
    let create = |api: &'static Server, key: &str| {
        let request = api.create(&application).header("idempotency-key", key);
        tokio::spawn(request.expect_created())
    };
    let told = |created: &Created| {
        let webhook = &created.webhook;
        (webhook.id.clone(), webhook.signing_secret.clone())
    };

    let first = create(one, "one after the other").await.expect("a create");
    let repeat = create(other, "one after the other")
        .await
        .expect("a repeat");
    assert_eq!(repeat.response.text, first.response.text);
    assert_eq!(repeat.response.header("idempotency-replayed"), Some("true"));

    let mut ids = BTreeSet::from([first.webhook.id]);
    for round in 0..5 {
        let key = format!("at once {round}");
        let both = [create(one, &key), create(other, &key)];
        let [first, second] = both;
        let first = told(&first.await.expect("a create"));
        let second = told(&second.await.expect("a create"));
        assert_eq!(first, second);
        ids.insert(first.0);
    }
    assert_eq!(ids.len(), 6);
    let ids = Vec::from_iter(ids);
    let since = Instant::now();
    for api in [one, other] {
        loop {
            let found = listed(api, &application).await;
            if found == ids {
                break;
            }
            assert!(since.elapsed() < PATIENCE, "{found:?}, not {ids:?}");
        }
    }
}

#[tokio::test]
async fn a_rotation_at_one_process_signs_at_the_other() {
    let Some([one, other]) = two_processes("a_rotation_at_one_process_signs_at_the_other") else {
        return;
    };
    let application = one.application();
    let receiver = Receiver::answering("200 OK", b"");
    let created = one
        .create(&application)
        .url(&receiver.url())
        .expect_created()
        .await
        .webhook;
    let path = format!("{}/{}", application.path(), created.id);

    for (rotating, delivering) in [(one, other), (other, one)] {
        let rotated = rotating
            .request("POST", &format!("{path}/rotate"))
            .token(&application.token())
            .json(&json!({"gracePeriodSeconds": 0}))
            .expect(200)
            .await
            .json();
        let secret = rotated["signingSecret"].as_str().expect("a secret");
        let tested = delivering
            .request("POST", &format!("{path}/test"))
            .token(&application.token())
            .expect(200)
            .await;
        assert_eq!(tested.json()["success"], json!(true), "{}", tested.text);
        let delivery = receiver.last();
        assert!(delivery.is_signed_with(secret), "{delivery:?}");
        assert!(!delivery.is_signed_with(&created.signing_secret));
    }
}
