//! What is deleted stays deleted, however late the writes of its create take effect.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::runtime::Instant;

/// A store as a process sees it whose first write under a key with `prefix` takes `late` milliseconds.
fn late_write(memory: &Memory, prefix: &'static str, late: u64) -> Store {
    let mut is_first = true;
    memory.process(move |operation, key| {
        let is_late = operation == "set" && key.starts_with(prefix) && is_first;
        is_first &= !is_late;
        Fate::after(if is_late { late } else { 0 })
    })
}

async fn create_application_with_key(store: &Store) -> Answer {
    let body = json!({"name": "Late"});
    send(store, "POST", APPLICATIONS, body, Some("key")).await
}

/// What is left of the webhooks and applications that were deleted, but for `shop`.
fn left(memory: &Memory) -> Vec<String> {
    let kinds = ["webhook", "application"];
    let keys = memory.keys("").into_iter();
    let keys = keys.filter(|key| kinds.iter().any(|kind| key.starts_with(kind)));
    // Lists are hints, and an empty one is none.
    let lists = ["webhooks/", "webhooks-changed/", "applications/"];
    let documents = keys.filter(|key| !lists.iter().any(|list| key.starts_with(list)));
    documents
        .filter(|key| *key != keys::application(&shop()))
        .collect()
}

proptest! {
    #![proptest_config(schedules())]

    /// A webhook's create was cut off and is repeated, the webhook is deleted, and the first write takes
    /// effect: before as much time has passed again as had since the delete, the webhook is gone.
    #[test]
    fn a_deleted_webhook_whose_create_takes_effect_late_is_removed_again(
        late in 2100..50_000_u64,
        of_delete in mostly_done(40),
        with_changes in any::<bool>(),
    ) {
        let memory = memory();
        let first = late_write(&memory, "webhook/", late);
        let delete = memory.scheduled(of_delete);
        simulation::run(async {
            let begun = Instant::now();
            prop_assert_eq!(create_webhook(&first, Some("key")).await.status, 504);
            let calm = calm(&memory);
            let created = create_webhook(&calm, Some("key")).await;
            prop_assert_eq!(created.status, 201);
            let path = format!("{WEBHOOKS}/{}", created.id());
            if with_changes {
                let body = json!({"isActive": false});
                prop_assert_eq!(send(&calm, "PATCH", &path, body, None).await.status, 200);
            }
            let deleted = send(&delete, "DELETE", &path, Value::Null, None).await;
            if deleted.status != 204 {
                // It may be there or not, and is deleted by who repeats it.
                return Ok(());
            }
            let deleted = begun.elapsed();
            let lands = Duration::from_millis(1 + late).max(deleted);
            // The operations of the delete's process are late by 3 seconds at most, of which each look
            // makes a few, and those that are cut off are repeated.
            let gone = deleted + (lands - deleted) * 2 + Duration::from_secs(30);
            sleep(gone - deleted).await;
            prop_assert_eq!(existing(&memory), BTreeSet::new());
            sleep(Duration::from_secs(120)).await;
            prop_assert_eq!(left(&memory), Vec::<String>::new());
            Ok(())
        })?;
    }

    /// The same of an application, with its name.
    #[test]
    fn a_deleted_application_whose_create_takes_effect_late_is_removed_again(
        late in 2100..50_000_u64,
        of_delete in mostly_done(40),
    ) {
        let memory = memory();
        let first = late_write(&memory, "application/", late);
        let delete = memory.scheduled(of_delete);
        simulation::run(async {
            prop_assert_eq!(create_application_with_key(&first).await.status, 504);
            let calm = calm(&memory);
            let created = create_application_with_key(&calm).await;
            prop_assert_eq!(created.status, 201);
            let path = format!("{APPLICATIONS}/{}", created.id());
            let deleted = send(&delete, "DELETE", &path, Value::Null, None).await;
            if deleted.status != 204 {
                return Ok(());
            }
            sleep(Duration::from_secs(150)).await;
            prop_assert_eq!(left(&memory), Vec::<String>::new());
            let again = create_application(&calm, "Late").await;
            prop_assert_eq!(again.status, 201, "its name is free: {:?}", again);
            Ok(())
        })?;
    }

    /// Of a webhook whose create meets the deletion of its application nothing is left, however it is
    /// answered, and however late it takes effect.
    #[test]
    fn a_create_that_meets_the_deletion_of_its_application_leaves_nothing(
        create in mostly_done(30),
        delete in mostly_done(20),
        start in 0..2500_u64,
        late in prop_oneof![Just(0), 2100..40_000_u64],
        with_key in any::<bool>(),
    ) {
        let memory = memory();
        let mut create = create.into_iter();
        let mut is_first = true;
        let create = memory.process(move |operation, key| {
            let fate = create.next().unwrap_or_default();
            let is_late = operation == "set" && key.starts_with("webhook/") && is_first;
            is_first &= !is_late;
            if is_late { Fate::after(late) } else { fate }
        });
        let delete = memory.scheduled(delete);
        simulation::run(async {
            let created = create_webhook(&create, with_key.then_some("key"));
            let delete = async {
                sleep(Duration::from_millis(start)).await;
                send(&delete, "DELETE", SHOP, Value::Null, None).await
            };
            let (_, deleted) = futures::join!(created, delete);
            sleep(Duration::from_secs(150)).await;
            // A delete that failed may be repeated.
            if deleted.status == 204 {
                prop_assert_eq!(left(&memory), Vec::<String>::new());
            }
            Ok(())
        })?;
    }

    /// A webhook whose application is deleted with it does not come back either.
    #[test]
    fn a_webhook_that_was_deleted_with_its_application_is_removed_again(late in 2100..50_000_u64) {
        let memory = memory();
        let first = late_write(&memory, "webhook/", late);
        simulation::run(async {
            prop_assert_eq!(create_webhook(&first, Some("key")).await.status, 504);
            let calm = calm(&memory);
            prop_assert_eq!(create_webhook(&calm, Some("key")).await.status, 201);
            let deleted = send(&calm, "DELETE", SHOP, Value::Null, None).await;
            prop_assert_eq!(deleted.status, 204);
            sleep(Duration::from_secs(150)).await;
            prop_assert_eq!(left(&memory), Vec::<String>::new());
            Ok(())
        })?;
    }

    /// A create whose record was not kept makes the same id again when it is repeated after the webhook's
    /// deletion: that one stays, with its changes, once what the delete's request has begun is over.
    #[test]
    fn a_webhook_that_is_created_again_after_its_deletion_stays(
        pause in 3100..70_000_u64,
        of_delete in mostly_done(40),
    ) {
        let memory = memory();
        let failing = memory.process(|operation, key| Fate {
            delay: 0,
            outcome: match operation {
                "set" if key.starts_with("idempotency/") => Outcome::FailsBefore,
                _ => Outcome::Done,
            },
        });
        let delete = memory.scheduled(of_delete);
        simulation::run(async {
            prop_assert_eq!(create_webhook(&failing, Some("key")).await.status, 502);
            let calm = calm(&memory);
            let listed = listed(&calm, WEBHOOKS).await;
            let id = listed.first().expect("it is in the list");
            let path = format!("{WEBHOOKS}/{id}");
            let deleted = send(&delete, "DELETE", &path, Value::Null, None).await;
            if deleted.status != 204 {
                return Ok(());
            }
            sleep(Duration::from_millis(pause)).await;
            let again = create_webhook(&calm, Some("key")).await;
            prop_assert_eq!(again.status, 201);
            let changed = send(&calm, "PATCH", &path, json!({"isActive": false}), None).await;
            prop_assert_eq!(changed.status, 200);
            sleep(Duration::from_secs(150)).await;
            let read = send(&calm, "GET", &path, Value::Null, None).await;
            prop_assert_eq!(read.status, 200);
            prop_assert_eq!(&read.body["isActive"], &json!(false));
            prop_assert_eq!(memory.keys("webhook-deleted/"), Vec::<String>::new());
            Ok(())
        })?;
    }
}

/// The deletes of most webhooks do nothing after their answer: of those that are older than any late write,
/// and of those whose create had no key.
#[test]
fn a_delete_looks_again_only_where_something_can_come_back() {
    let looks = |key: Option<&'static str>, age: Duration| {
        let memory = memory();
        let operations = Rc::new(Cell::new(0));
        let count = operations.clone();
        let counted = memory.process(move |_, _| {
            count.set(count.get() + 1);
            Fate::default()
        });
        simulation::run(async {
            let created = create_webhook(&calm(&memory), key).await;
            sleep(age).await;
            let path = format!("{WEBHOOKS}/{}", created.id());
            let deleted = send(&counted, "DELETE", &path, Value::Null, None).await;
            assert_eq!(deleted.status, 204);
            let before = operations.get();
            sleep(Duration::from_secs(100)).await;
            operations.get() - before
        })
    };
    assert_eq!(looks(None, Duration::ZERO), 0);
    assert_eq!(looks(Some("key"), Duration::from_secs(129)), 0);
    // Ten looks of four reads, and the mark's removal.
    assert_eq!(looks(Some("key"), Duration::ZERO), 41);
}

/// An application that its owner writes into the store again is none that came back.
#[test]
fn an_application_that_is_written_by_hand_after_its_deletion_stays() {
    let memory = memory();
    simulation::run(async {
        let calm = calm(&memory);
        let deleted = send(&calm, "DELETE", SHOP, Value::Null, None).await;
        assert_eq!(deleted.status, 204);
        sleep(Duration::from_secs(5)).await;
        let document = json!({"merchantId": "merchant"}).to_string();
        memory.put(&keys::application(&shop()), &document);
        let created = create_webhook(&calm, None).await;
        assert_eq!(created.status, 201);
        sleep(Duration::from_secs(150)).await;
        assert_eq!(existing(&memory), BTreeSet::from([created.id()]));
        assert_eq!(
            listed(&calm, WEBHOOKS).await,
            BTreeSet::from([created.id()])
        );
    });
}
