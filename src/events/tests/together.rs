//! Several processes at one database, each with a connection of its own.

use std::collections::BTreeSet;
use std::thread;

use futures::future::{join, join_all};

use super::*;
use crate::events::database::{Postponement, Settlement};
use crate::model::delivery::DeliveryReason;

/// What every process does: the tables are there, and a key is used once.
async fn start(database: &SqlDatabase, event: &NewEvent) -> bool {
    database.prepare().await.expect("the tables");
    match database.publish(event).await.expect("an answer") {
        Published::New => true,
        Published::Earlier { .. } => false,
    }
}

#[test]
fn processes_that_start_at_once_make_the_tables_of_one_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("events.db");
    let processes: Vec<_> = (0..8)
        .map(|_| {
            let file = file.clone();
            thread::spawn(move || {
                let database = Memory::at(&file).scheduled(Vec::new());
                let event = with_key(event_for(0, &[1]), "key", "hash");
                simulation::run(async { start(&database, &event).await })
            })
        })
        .collect();
    let stored = processes
        .into_iter()
        .map(|process| process.join().expect("it starts"))
        .filter(|stored| *stored)
        .count();
    assert_eq!(stored, 1);
    let rows = Memory::at(&file).rows("PRAGMA journal_mode");
    assert_eq!(rows, [["wal".into()]]);
}

#[test]
fn processes_that_start_at_once_make_the_tables_of_one_server() {
    let name = concat!(
        module_path!(),
        "::processes_that_start_at_once_make_the_tables_of_one_server"
    );
    postgres::run_on_new(name, async |database| {
        let starts = (0..8).map(async |_| {
            let event = with_key(event_for(0, &[1]), "key", "hash");
            start(&database.connect(), &event).await
        });
        let stored = join_all(starts).await.into_iter().filter(|stored| *stored);
        assert_eq!(stored.count(), 1);
    });
}

/// Eight processes claim and record, one publishes and settles, others move a webhook's deliveries to and
/// fro and suppress another one's. Nothing is claimed twice, and no statement is refused.
#[test]
fn processes_of_one_server_never_claim_the_same_and_never_lock_each_other_out() {
    let name = concat!(
        module_path!(),
        "::processes_of_one_server_never_claim_the_same_and_never_lock_each_other_out"
    );
    postgres::run_with(name, async |database| {
        let publisher = database.connect();
        let events: Vec<_> = (0..120)
            .map(|number| event_for(number % 7, &[1, 2]))
            .collect();
        for event in &events[..60] {
            publish(&publisher, event).await;
        }
        let publishing = async {
            for event in &events[60..] {
                publish(&publisher, event).await;
                let settlement = Settlement {
                    event_id: event.id,
                    deliveries: vec![due(2, 10), due(3, 10)],
                    now: at(10),
                };
                publisher
                    .settle(&[settlement])
                    .await
                    .expect("it is settled");
            }
        };
        let moving = async {
            let mover = database.connect();
            for _ in 0..40 {
                let back = Postponement {
                    webhook_id: hook(1),
                    now: at(10),
                    probe_at: at(15),
                    until: at(20),
                    limit: 20,
                };
                mover.postpone(back).await.expect("they are moved back");
                mover
                    .resume(hook(1), at(10), 30)
                    .await
                    .expect("they are due");
                let reason = DeliveryReason::WebhookInactive;
                mover
                    .suppress(hook(3), reason, at(10), at(10), 2)
                    .await
                    .expect("they end");
            }
        };
        let claimers = (0..8).map(async |_| {
            let database = database.connect();
            let mut keys = Vec::new();
            for _ in 0..60 {
                let some = Claim {
                    limit: 5,
                    limit_per_webhook: 4,
                    until: at(10_000),
                    ..claim_at(10)
                };
                let claimed = claim(&database, &some).await;
                let records = claimed
                    .iter()
                    .map(|one| record(one, Outcome::Succeeded, 10));
                let records: Vec<_> = records.collect();
                assert_eq!(database.record(&records).await, Ok(Vec::new()));
                keys.extend(claimed.iter().map(|one| one.held.key));
            }
            keys
        });
        let ((), (), claimed) = futures::join!(publishing, moving, join_all(claimers));
        let mut claimed = claimed.concat();
        let rest = Claim {
            limit: 1000,
            limit_per_webhook: 1000,
            ..claim_at(30)
        };
        claimed.extend(
            claim(&publisher, &rest)
                .await
                .iter()
                .map(|one| one.held.key),
        );
        let once: BTreeSet<_> = claimed.iter().collect();
        assert_eq!(once.len(), claimed.len());
        let own = |number| {
            once.iter()
                .filter(|key| key.webhook_id == hook(number))
                .count()
        };
        assert_eq!((own(1), own(2)), (120, 120));
    });
}

/// A record that began before an erasure, and has not ended yet, keeps no response.
#[test]
fn an_erasure_waits_for_the_records_that_began_before_it() {
    let name = concat!(
        module_path!(),
        "::an_erasure_waits_for_the_records_that_began_before_it"
    );
    postgres::run_with(name, async |database| {
        let eraser = database.connect();
        let event = event_for(0, &[1]);
        publish(&eraser, &event).await;
        // What the record's statement does, as far as others see it.
        let recorder = database.client().await;
        let (id, webhook) = (event.id, hook(1));
        let record = format!(
            "BEGIN;
             UPDATE deliveries SET claim = NULL WHERE event_id = '{id}';
             INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms, url,
               secret_fingerprints, response_truncated, response_body)
             VALUES ('{id}', '{webhook}', 1, 'schedule', 0, 0, '', '[]', 0, 'an answer')"
        );
        recorder
            .batch_execute(&record)
            .await
            .expect("it is recorded");
        let observer = database.client().await;
        let commit = async {
            // As soon as the erasure waits for it.
            let waits = "SELECT 1 FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while observer.query(waits, &[]).await.expect(waits).is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            recorder.batch_execute("COMMIT").await.expect("it ends");
        };
        let shop = shop();
        let (erased, ()) = join(eraser.erase(&shop, event.id, at(1)), commit).await;
        assert_eq!(erased, Ok(true));
        let delivery = eraser.delivery(event.id, hook(1)).await.unwrap().unwrap();
        let last = delivery.last_attempt.expect("an attempt");
        assert_eq!((last.number, last.response_body), (1, None));
    });
}
