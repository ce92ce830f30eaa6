//! Lists read the documents beside a webhook's own only where an index says that there are some
//! (`webhooks-changed/…`). Whichever way first changes meet, a list shows what the client was given.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::model::condition::{Condition, Disabled, DisabledReason};
use crate::store::recipients;

/// How a webhook changes for the first time.
#[derive(Clone, Copy, Debug)]
enum First {
    Settings,
    Rotation,
    Test,
    Disabling,
}

fn first() -> impl Strategy<Value = First> {
    prop_oneof![
        Just(First::Settings),
        Just(First::Rotation),
        Just(First::Test),
        Just(First::Disabling),
    ]
}

/// Returns whether it was made.
async fn make(store: &Store, id: &str, first: First) -> bool {
    let webhook = WebhookId::parse(id).expect("an id");
    let path = format!("{WEBHOOKS}/{id}");
    let deadline = Deadline::with_timeout(CONFIG.store_timeout);
    let now = Timestamp::now();
    match first {
        First::Settings => {
            let body = json!({"isActive": false});
            send(store, "PATCH", &path, body, None).await.status == 200
        }
        First::Rotation => {
            let path = format!("{path}/rotate");
            send(store, "POST", &path, json!({}), None).await.status == 200
        }
        First::Test => {
            let last_test = LastTest {
                at: now,
                status: TestStatus::of(true),
            };
            test_delivery::record(store, &shop(), webhook, last_test, &deadline, "").await;
            false
        }
        First::Disabling => {
            let condition = Condition {
                failing: None,
                disabled: Some(Disabled {
                    at: now,
                    reason: DisabledReason::Failing,
                    activation: None,
                }),
            };
            let noted = recipients::note(store, &shop(), webhook, condition, &deadline).await;
            noted == Ok(true)
        }
    }
}

/// The webhooks as the list shows them, and as each shows itself.
async fn shown(memory: &Memory) -> [BTreeSet<String>; 2] {
    let store = calm(memory);
    let path = format!("{WEBHOOKS}?limit=100");
    let list = send(&store, "GET", &path, Value::Null, None).await;
    let items = list.body["items"].as_array().expect("items").iter();
    let listed = items.map(Value::to_string).collect();
    let mut read = BTreeSet::new();
    for id in existing(memory) {
        let path = format!("{WEBHOOKS}/{id}");
        let webhook = send(&store, "GET", &path, Value::Null, None).await;
        read.insert(webhook.body.to_string());
    }
    [listed, read]
}

proptest! {
    #![proptest_config(schedules())]

    /// First changes of several webhooks at the same moment: two seconds later lists show all of them, as
    /// long as no operation takes longer than 40 ms.
    #[test]
    fn lists_show_every_first_change(
        fates in delays(5, 40),
        firsts in prop::collection::vec(first(), 5),
        starts in prop::collection::vec(0..80_u64, 5),
    ) {
        let memory = memory();
        let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let mut ids = Vec::new();
            for _ in &stores {
                ids.push(create_webhook(&calm(&memory), None).await.id());
            }
            sleep(SETTLED).await;
            let changes = stores.iter().zip(&ids).zip(firsts.iter().zip(&starts));
            let changes = changes.map(|((store, id), (first, start))| async move {
                sleep(Duration::from_millis(*start)).await;
                make(store, id, *first).await
            });
            join_all(changes).await;
            sleep(SETTLED).await;
            let [listed, read] = shown(&memory).await;
            prop_assert_eq!(listed, read);
            Ok(())
        })?;
    }

    /// Whatever fails, is late, or is the last of its process: a list shows what a webhook itself does once
    /// all is over, but for first changes that nobody was answered and that another one overwrote.
    #[test]
    fn lists_show_a_first_change_whatever_happens_to_it(
        fates in prop::collection::vec(Fate::any_or_crash(3000), 0..20),
        first in first(),
    ) {
        let memory = memory();
        let store = memory.scheduled(fates);
        simulation::run(async {
            let id = create_webhook(&calm(&memory), None).await.id();
            sleep(SETTLED).await;
            futures::future::select(
                std::pin::pin!(make(&store, &id, first)),
                std::pin::pin!(sleep(Duration::from_secs(10))),
            )
            .await;
            sleep(Duration::from_secs(120)).await;
            let [listed, read] = shown(&memory).await;
            prop_assert_eq!(listed, read);
            Ok(())
        })?;
    }

    /// A webhook that is deleted while it changes for the first time is in no list, and the index of changed
    /// ones has it no longer than until the next look.
    #[test]
    fn a_first_change_that_meets_a_delete_brings_nothing_back(
        change in prop::collection::vec((0..=60_u64).prop_map(Fate::after), 0..12),
        delete in prop::collection::vec((0..=60_u64).prop_map(Fate::after), 0..12),
        first in first(),
        start in 0..400_u64,
    ) {
        let memory = memory();
        let (change, delete) = (memory.scheduled(change), memory.scheduled(delete));
        simulation::run(async {
            let id = create_webhook(&calm(&memory), None).await.id();
            let path = format!("{WEBHOOKS}/{id}");
            let delete = async {
                sleep(Duration::from_millis(start)).await;
                send(&delete, "DELETE", &path, Value::Null, None).await
            };
            let (_, deleted) = futures::join!(make(&change, &id, first), delete);
            prop_assert_eq!(deleted.status, 204);
            sleep(Duration::from_secs(120)).await;
            let [listed, read] = shown(&memory).await;
            prop_assert_eq!((listed.len(), read.len()), (0, 0));
            for kind in ["webhook/", "webhook-settings/", "webhook-secrets/", "webhook-test/"] {
                prop_assert!(memory.keys(kind).is_empty(), "{}", kind);
            }
            Ok(())
        })?;
    }
}

/// One operation for each webhook that is as it was created, four for one that is not.
#[test]
fn a_list_reads_no_documents_that_do_not_exist() {
    let memory = memory();
    let gets = Rc::new(RefCell::new(Vec::new()));
    let seen = gets.clone();
    let counting = memory.process(move |_, key| {
        seen.borrow_mut().push(key.to_owned());
        Fate::default()
    });
    simulation::run(async {
        let store = calm(&memory);
        let mut ids = Vec::new();
        for _ in 0..10 {
            ids.push(create_webhook(&store, None).await.id());
        }
        send(&counting, "GET", WEBHOOKS, Value::Null, None).await;
        assert_eq!(gets.take().len(), 3 + 10);
        assert!(make(&store, &ids[3], First::Settings).await);
        assert!(make(&store, &ids[7], First::Rotation).await);
        send(&counting, "GET", WEBHOOKS, Value::Null, None).await;
        assert_eq!(gets.take().len(), 3 + 10 + 2 * 3);
        let [listed, read] = shown(&memory).await;
        assert_eq!(listed, read);
    });
}

/// What an earlier release wrote says nothing of an index: its documents are looked for.
#[test]
fn a_webhook_of_an_earlier_release_is_listed_as_it_is_now() {
    let memory = memory();
    simulation::run(async {
        let id = create_webhook(&calm(&memory), None).await.id();
        let key = keys::webhook(&shop(), WebhookId::parse(&id).expect("an id"));
        let mut document: Value = memory.document(&key).expect("a webhook");
        assert_eq!(document["isTracked"], true);
        document
            .as_object_mut()
            .expect("an object")
            .remove("isTracked");
        memory.put(&key, &document.to_string());
        assert!(make(&calm(&memory), &id, First::Settings).await);
        let index = keys::webhooks_changed(&shop());
        memory.put(&index, "[]");
        let [listed, read] = shown(&memory).await;
        assert_eq!(listed, read);
        assert!(
            listed
                .iter()
                .all(|webhook| webhook.contains(r#""isActive":false"#))
        );
        // Where the index is torn, all may have changed.
        memory.put(&index, "{");
        let [listed, read] = shown(&memory).await;
        assert_eq!(listed, read);
    });
}
