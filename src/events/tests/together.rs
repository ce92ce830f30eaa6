//! Several processes at one database, each with a connection of its own.

use std::collections::BTreeSet;
use std::thread;

use futures::future::join_all;

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
    postgres::run_with(name, async |database| {
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
                    .suppress(hook(3), reason, at(10), 2)
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
