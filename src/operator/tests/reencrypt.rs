//! Secrets under a new key.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::runtime::{simulation, sleep, spawn};
use crate::store::memory::Fate;

async fn reencrypt(store: &Store) -> Vec<Value> {
    lines(crate::operator::reencrypt(request(store, "")).await).await
}

/// Webhooks 1 to 3 with secrets under key 1; 2 was rotated, then too.
fn store_under_the_old_key() -> Memory {
    let memory = store_with_application();
    let index = [1, 2, 3].map(|number| {
        let id = id(number);
        put(
            &memory,
            &keys::webhook(&application(), id),
            &record(id, &key(1)),
        );
        json!({"id": id, "createdAt": created_at(id)})
    });
    put(&memory, INDEX, &index);
    let rotation = json!({"rotations": [{
        "id": id(20), "rotatedAt": created_at(id(2)), "gracePeriodSeconds": 604_800,
        "secret": StoredSecret::seal(&key(1), id(2), &SigningSecret::generate()),
    }]});
    put(
        &memory,
        &keys::webhook_secrets(&application(), id(2)),
        &rotation,
    );
    memory
}

/// The secrets that sign a webhook's deliveries, as far as this key opens them.
async fn open_secrets(store: &Store, id: WebhookId, key: &SecretsKey) -> Vec<Option<String>> {
    let webhook = webhooks::webhook(store, &application(), id)
        .await
        .unwrap()
        .unwrap();
    let live = webhook.live_secrets(created_at(id)).into_iter();
    live.map(|secret| {
        let opened = key.open_secret(&id.to_string(), &secret.sealed);
        opened.ok().map(|secret| secret.reveal())
    })
    .collect()
}

#[test]
fn after_reencrypt_the_new_key_alone_opens_the_same_secrets_and_no_webhook_was_written() {
    let memory = store_under_the_old_key();
    let store = memory.scheduled(vec![]);
    let webhooks_before = memory.keys("webhook/").into_iter();
    let read = |key: String| {
        memory
            .document::<Value>(&key)
            .map(|document| (key, document))
    };
    let before: Vec<_> = webhooks_before.map(read).collect();
    simulation::run(async {
        let mut secrets = Vec::new();
        for number in 1..=3 {
            secrets.push(open_secrets(&store, id(number), &key(1)).await);
        }
        let lines = reencrypt(&store).await;
        let done = json!({"type": "done", "found": 3, "repaired": 3, "left": 0, "repeats": 0});
        assert_eq!(lines.last(), Some(&done), "{lines:?}");
        for number in 1..=3 {
            let opened = open_secrets(&store, id(number), &key(2)).await;
            assert!(opened.iter().all(Option::is_some), "{opened:?}");
            assert_eq!(opened, secrets[usize::from(number) - 1]);
        }
        let again = reencrypt(&store).await;
        let done = json!({"type": "done", "found": 0, "repaired": 0, "left": 0, "repeats": 0});
        assert_eq!(again.last(), Some(&done));
    });
    let after: Vec<_> = memory.keys("webhook/").into_iter().map(read).collect();
    assert_eq!(after, before);
}

/// Its own document is not written again: its secret stands beside it, under the new key.
#[test]
fn a_first_secret_under_the_new_key_signs_on_and_beside_the_secret_of_a_rotation() {
    let memory = store_under_the_old_key();
    let store = memory.scheduled(vec![]);
    let first = SigningSecret::from_bytes([7; 36]).reveal();
    simulation::run(async {
        reencrypt(&store).await;
        let document = keys::webhook_secrets(&application(), id(1));
        let stored: Value = memory.document(&document).expect("its secrets");
        assert!(stored["first"].is_object(), "{stored}");
        assert_eq!(stored["rotations"], json!([]), "{stored}");
        let signing = open_secrets(&store, id(1), &key(2)).await;
        assert_eq!(signing, [Some(first.clone())]);

        let requests = Requests {
            store: store.clone(),
        };
        requests.rotate(id(1)).await.unwrap().expect("a rotation");
        sleep(Duration::from_secs(10)).await;
        let signing = open_secrets(&store, id(1), &key(2)).await;
        assert_eq!(signing.len(), 2);
        assert_ne!(signing[0], signing[1]);
        assert_eq!(signing[1], Some(first));
        // There is nothing left to do.
        let done = json!({"type": "done", "found": 0, "repaired": 0, "left": 0, "repeats": 0});
        assert_eq!(reencrypt(&store).await.last(), Some(&done));
    });
}

#[test]
fn reencrypt_names_what_no_key_opens_and_goes_on() {
    let memory = store_under_the_old_key();
    let foreign = keys::webhook(&application(), id(1));
    put(&memory, &foreign, &record(id(1), &key(9)));
    memory.put(&keys::webhook(&application(), id(4)), "not JSON");
    let store = memory.scheduled(vec![]);
    let lines = simulation::run(reencrypt(&store));
    let torn = keys::webhook(&application(), id(4));
    let expected = [format!("{foreign} unopened"), format!("{torn} unopened")];
    assert_eq!(found(&lines), expected.into());
    let done = json!({"type": "done", "found": 4, "repaired": 2, "left": 2, "repeats": 0});
    assert_eq!(lines.last(), Some(&done));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is rotated and deleted meanwhile: a deleted webhook leaves nothing, each rotation
    /// that was acknowledged stays, and no secret is lost.
    #[test]
    fn reencrypt_meets_any_rotation_and_deletion(
        // So few that none of the secrets ends over their number.
        changes in prop::collection::vec((any::<bool>(), 1..4_u8, 0..300_u64), 0..5),
        of_reencrypt in prop::collection::vec(0..40_u64, 0..60),
        of_requests in prop::collection::vec(0..40_u64, 0..80),
    ) {
        let memory = store_under_the_old_key();
        let scheduled = |delays: Vec<u64>| {
            memory.scheduled(delays.into_iter().map(Fate::after).collect())
        };
        let (operators, others) = (scheduled(of_reencrypt), scheduled(of_requests));
        let deletes = changes.iter().filter(|(deletes, ..)| *deletes);
        let deleted: BTreeSet<_> = deletes.map(|(_, number, _)| *number).collect();
        let rotated = Rc::new(RefCell::new(Vec::new()));
        simulation::run(async {
            for (deletes, number, at) in changes {
                let requests = Requests { store: others.clone() };
                let rotated = rotated.clone();
                spawn(async move {
                    sleep(Duration::from_millis(at)).await;
                    if deletes {
                        requests.delete(id(number)).await.unwrap();
                    } else if let Some(rotation) = requests.rotate(id(number)).await.unwrap() {
                        rotated.borrow_mut().push((number, rotation));
                    }
                });
            }
            let lines = reencrypt(&operators).await;
            prop_assert_eq!(&lines.last().unwrap()["type"], "done");
            sleep(Duration::from_secs(10)).await;
            let lines = reencrypt(&operators).await;
            prop_assert_eq!(&lines.last().unwrap()["left"], 0);
            for number in 1..=3 {
                let prefix = format!("a/{}", id(number));
                let left: Vec<_> = ["webhook", "webhook-secrets"].iter()
                    .flat_map(|kind| memory.keys(&format!("{kind}/{prefix}")))
                    .collect();
                if deleted.contains(&number) {
                    prop_assert_eq!(left, Vec::<String>::new());
                    continue;
                }
                let opened = open_secrets(&operators, id(number), &key(2)).await;
                prop_assert!(opened.iter().all(Option::is_some), "{:?}", opened);
                let first = SigningSecret::from_bytes([7; 36]).reveal();
                prop_assert_eq!(opened.last(), Some(&Some(first)));
                let document = RotationsDocument::of(&operators, &application(), id(number));
                let rotations = document.read().await.unwrap().unwrap();
                for (_, rotation) in rotated.borrow().iter().filter(|(of, _)| *of == number) {
                    prop_assert!(rotations.contains(*rotation), "{} was lost", rotation);
                }
            }
            Ok(())
        })?;
    }
}
