//! The doctor.
//!
//! Long because each kind of damage is made, reported and repaired here, beside what looks like it and is none.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use futures::future::join;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::runtime::{simulation, sleep, spawn};
use crate::store::memory::{Fate, Outcome};

async fn doctor(store: &Store, query: &str) -> Vec<Value> {
    lines(crate::operator::doctor(request(store, query)).await).await
}

/// What is wrong with a store before the doctor comes.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Webhooks 1 to 3 are not in their index.
    Lost,
    /// The index has an id of a webhook that is not there.
    Dangling,
    /// The index has another date for webhook 1.
    WrongDate,
    /// The index cannot be read.
    TornIndex,
    /// The merchant's list does not have the application.
    LostApplication,
    /// Something is left of a webhook that is not there.
    Remains,
    /// Webhook 4 cannot be read.
    TornWebhook,
    /// There is a webhook of an application that is not there.
    WithoutApplication,
}

const DAMAGES: [Damage; 8] = [
    Damage::Lost,
    Damage::Dangling,
    Damage::WrongDate,
    Damage::TornIndex,
    Damage::LostApplication,
    Damage::Remains,
    Damage::TornWebhook,
    Damage::WithoutApplication,
];

impl Damage {
    fn inflict(self, memory: &Memory) {
        let entry = |id: WebhookId| json!({"id": id, "createdAt": created_at(id)});
        match self {
            Self::Lost => put(memory, INDEX, &json!([])),
            Self::Dangling => {
                let index = [1, 2, 3, 9].map(|number| entry(id(number)));
                put(memory, INDEX, &index);
            }
            Self::WrongDate => {
                let mut index = [1, 2, 3].map(|number| entry(id(number)));
                index[0]["createdAt"] = json!("2020-01-01T00:00:00.000Z");
                put(memory, INDEX, &index);
            }
            Self::TornIndex => memory.put(INDEX, r#"[{"id":"#),
            Self::LostApplication => {
                let list = keys::applications(&MerchantId::parse("m").unwrap());
                put(memory, &list, &json!([]));
            }
            Self::Remains => {
                let settings = json!({
                    "url": "https://example.com/", "isActive": true, "subscribedEvents": [],
                    "updatedAt": "2026-01-15T08:00:00.000Z",
                });
                put(
                    memory,
                    &keys::webhook_settings(&application(), id(9)),
                    &settings,
                );
                let rotations = json!({ "rotations": [] });
                put(
                    memory,
                    &keys::webhook_secrets(&application(), id(9)),
                    &rotations,
                );
            }
            Self::TornWebhook => memory.put(&keys::webhook(&application(), id(4)), r#"{"v":1,"#),
            Self::WithoutApplication => {
                let other = ApplicationId::parse("b").unwrap();
                let mut record = json!(record(id(5), &key(2)));
                record["applicationId"] = json!("b");
                put(memory, &keys::webhook(&other, id(5)), &record);
                let index = [json!({"id": id(5), "createdAt": created_at(id(5))})];
                put(memory, &keys::webhooks(&other), &index);
            }
        }
    }

    /// What the doctor says of it in a store where nobody changes anything.
    fn findings(self) -> Vec<String> {
        let index = || vec![format!("{INDEX} index")];
        match self {
            Self::Lost | Self::Dangling | Self::WrongDate | Self::TornIndex => index(),
            Self::LostApplication => {
                let list = keys::applications(&MerchantId::parse("m").unwrap());
                vec![format!("{list} index")]
            }
            Self::Remains => [keys::webhook_settings, keys::webhook_secrets]
                .map(|key| format!("{} remains", key(&application(), id(9))))
                .to_vec(),
            Self::TornWebhook => {
                vec![format!(
                    "{} unreadable",
                    keys::webhook(&application(), id(4))
                )]
            }
            Self::WithoutApplication => vec![format!("webhook/b/{} withoutApplication", id(5))],
        }
    }

    fn is_for_a_person(self) -> bool {
        matches!(self, Self::TornWebhook | Self::WithoutApplication)
    }
}

/// The ids in the index.
fn listed(memory: &Memory) -> BTreeSet<WebhookId> {
    let entries: Vec<Value> = memory.document(INDEX).unwrap_or_default();
    let ids = entries.iter().map(|entry| entry["id"].as_str().unwrap());
    ids.map(|id| WebhookId::parse(id).unwrap()).collect()
}

#[test]
fn the_doctor_finds_each_damage_and_changes_nothing_unasked() {
    for damage in DAMAGES {
        let memory = sound_store();
        damage.inflict(&memory);
        let before = memory.all();
        let store = memory.scheduled(vec![]);
        simulation::run(async {
            for query in ["", "fix=false"] {
                let lines = doctor(&store, query).await;
                let expected = damage.findings();
                assert_eq!(
                    found(&lines),
                    expected.iter().cloned().collect(),
                    "{damage:?}"
                );
                let count = expected.len();
                let done = json!({"type": "done", "found": count, "repaired": 0, "left": count});
                assert_eq!(lines.last(), Some(&done), "{damage:?}");
            }
        });
        assert_eq!(memory.all(), before, "{damage:?}");
    }
}

#[test]
fn the_doctor_repairs_what_needs_no_person_and_finds_nothing_afterwards() {
    for damage in DAMAGES {
        let memory = sound_store();
        let sound = memory.all();
        damage.inflict(&memory);
        let damaged = memory.all();
        let store = memory.scheduled(vec![]);
        simulation::run(async {
            let lines = doctor(&store, "fix=true").await;
            let count = damage.findings().len();
            let (repaired, left) = match damage.is_for_a_person() {
                true => (0, count),
                false => (count, 0),
            };
            let done = json!({"type": "done", "found": count, "repaired": repaired, "left": left});
            assert_eq!(lines.last(), Some(&done), "{damage:?}");
            assert_eq!(of_type(&lines, "repaired").len(), repaired, "{damage:?}");
            let again = doctor(&store, "fix=true").await;
            let done = json!({"type": "done", "found": left, "repaired": 0, "left": left});
            assert_eq!(again.last(), Some(&done), "{damage:?}");
        });
        match damage.is_for_a_person() {
            true => assert_eq!(memory.all(), damaged, "{damage:?}"),
            false => assert_eq!(sorted(memory.all()), sorted(sound), "{damage:?}"),
        }
    }
}

/// The documents, with the entries of indexes in one order: which is first does not matter.
fn sorted(documents: Vec<(String, String)>) -> Vec<(String, String)> {
    let documents = documents.into_iter().map(|(key, value)| {
        let sorted = serde_json::from_str::<Vec<Value>>(&value).map(|mut entries| {
            entries.sort_by_key(|entry| entry["id"].to_string());
            json!(entries).to_string()
        });
        (key, sorted.unwrap_or(value))
    });
    documents.collect()
}

#[test]
fn a_copy_precedes_what_is_removed_but_for_what_could_open_to_a_secret() {
    let memory = sound_store();
    Damage::Remains.inflict(&memory);
    let removed = keys::webhook_settings(&application(), id(9));
    let bytes = serde_json::to_vec(&memory.document::<Value>(&removed).unwrap()).unwrap();
    let store = memory.scheduled(vec![]);
    let lines = simulation::run(doctor(&store, "fix=true"));
    let copy = json!({"type": "copy", "key": removed, "base64": Base64::encode_string(&bytes)});
    assert_eq!(of_type(&lines, "copy"), [&copy]);
}

#[test]
fn reindex_repairs_indexes_and_nothing_else() {
    let memory = sound_store();
    for damage in [Damage::Lost, Damage::LostApplication, Damage::Remains] {
        damage.inflict(&memory);
    }
    let store = memory.scheduled(vec![]);
    let lines =
        simulation::run(async { lines(crate::operator::reindex(request(&store, "")).await).await });
    let done = json!({"type": "done", "found": 2, "repaired": 2, "left": 0});
    assert_eq!(lines.last(), Some(&done));
    assert_eq!(listed(&memory), BTreeSet::from([id(1), id(2), id(3)]));
    assert!(
        memory.keys("webhook-settings/").len() == 1,
        "it is not an index"
    );
}

#[test]
fn a_create_that_is_half_way_is_not_wrong() {
    let memory = sound_store();
    let store = memory.scheduled(vec![]);
    simulation::run(async {
        let half_way = async {
            let document = keys::webhook(&application(), id(6));
            store
                .set_document(&document, &record(id(6), &key(2)))
                .await?;
            sleep(Duration::from_millis(1600)).await;
            let at = Some(created_at(id(6)));
            let mut index = index::webhooks_of(&store, &application()).await?;
            index.add(&id(6), at).await
        };
        let later = async {
            sleep(Duration::from_millis(100)).await;
            doctor(&store, "fix=true").await
        };
        let (lines, created) = join(later, half_way).await;
        created.unwrap();
        let done = json!({"type": "done", "found": 0, "repaired": 0, "left": 0});
        assert_eq!(lines.last(), Some(&done));
        assert!(
            lines.iter().any(|line| line["step"] == "settling"),
            "{lines:?}"
        );
    });
}

#[test]
fn a_failure_of_a_moment_does_not_end_the_work_and_a_longer_one_says_so() {
    let memory = sound_store();
    Damage::Lost.inflict(&memory);
    let mut operations = 0;
    let flaky = memory.process(move |operation, _| {
        operations += 1;
        let fails = operation != "get-keys" && operations % 7 == 0;
        Fate {
            delay: 0,
            outcome: if fails {
                Outcome::FailsBefore
            } else {
                Outcome::Done
            },
        }
    });
    let lines = simulation::run(doctor(&flaky, ""));
    assert_eq!(found(&lines).len(), 1, "{lines:?}");

    let away = memory.process(|_, key| Fate {
        delay: 0,
        outcome: match key {
            INDEX => Outcome::FailsBefore,
            _ => Outcome::Done,
        },
    });
    let lines = simulation::run(doctor(&away, ""));
    let message = "store: get failed: injected; nothing is lost: call it again";
    let stopped = json!({"type": "stopped", "message": message});
    assert_eq!(lines.last(), Some(&stopped));
}

/// What deletes left whose processes died before they had looked again for a minute: webhook 6 is back, and
/// application c with webhook 7; of application d webhook 8 is back; and nothing came back after the
/// delete of webhook 9.
fn died_after_deletes(memory: &Memory) {
    let named = |name: &str| ApplicationId::parse(name).unwrap();
    let mark = json!({"at": "2026-01-15T07:00:05.000Z"});
    let webhook = |application: &str, id: WebhookId| {
        let mut record = json!(record(id, &key(2)));
        record["applicationId"] = json!(application);
        put(memory, &keys::webhook(&named(application), id), &record);
    };
    webhook("a", id(6));
    put(memory, &keys::webhook_deleted(&application(), id(6)), &mark);
    put(
        memory,
        &keys::webhook_settings(&application(), id(6)),
        &json!({
            "url": "https://example.com/", "isActive": true, "subscribedEvents": [],
            "updatedAt": "2026-01-15T07:00:00.000Z",
        }),
    );
    put(
        memory,
        &keys::application(&named("c")),
        &json!({
            "merchantId": "m", "name": "c", "createdAt": "2026-01-15T07:00:00.000Z",
            "isRepeatable": true,
        }),
    );
    put(memory, &keys::application_deleted(&named("c")), &mark);
    webhook("c", id(7));
    put(memory, &keys::application_deleted(&named("d")), &mark);
    webhook("d", id(8));
    put(memory, &keys::webhook_deleted(&application(), id(9)), &mark);
}

#[test]
fn the_doctor_removes_what_came_back_after_a_delete_whose_process_died() {
    let memory = sound_store();
    let sound = memory.all();
    died_after_deletes(&memory);
    let store = memory.scheduled(vec![]);
    simulation::run(async {
        let seen = found(&doctor(&store, "").await);
        let expected = [
            "application/c returned".to_owned(),
            format!("webhook/a/{} returned", id(6)),
            format!("webhook/d/{} returned", id(8)),
            format!("webhook-deleted/a/{} oldMark", id(9)),
        ];
        assert_eq!(seen, BTreeSet::from(expected));
        let lines = doctor(&store, "fix=true").await;
        let seen = found(&lines);
        assert!(
            seen.contains(&format!("webhook/c/{} returned", id(7))),
            "{seen:?}"
        );
        assert_eq!(lines.last().unwrap()["left"], 0, "{lines:?}");
        // No copy has what could open to a secret.
        assert_eq!(of_type(&lines, "copy"), Vec::<&Value>::new());
    });
    assert_eq!(sorted(memory.all()), sorted(sound));
}

/// A webhook that is created again after its deletion has the mark beside it for a while.
#[test]
fn the_doctor_leaves_what_was_created_after_the_deletion() {
    let memory = sound_store();
    let mark = Timestamp::from_millis(created_at(id(1)).as_millis() - 1);
    put(
        &memory,
        &keys::webhook_deleted(&application(), id(1)),
        &json!({"at": mark}),
    );
    put(
        &memory,
        "application-deleted/a",
        &json!({"at": "2026-01-15T07:00:05.000Z"}),
    );
    let before = memory.all();
    let store = memory.scheduled(vec![]);
    let lines = simulation::run(doctor(&store, "fix=true"));
    assert_eq!(found(&lines), BTreeSet::new());
    assert_eq!(memory.all(), before);
}

/// Reindexing puts nothing into a list that was deleted.
#[test]
fn reindex_does_not_list_what_came_back() {
    let memory = sound_store();
    died_after_deletes(&memory);
    let store = memory.scheduled(vec![]);
    let lines =
        simulation::run(async { lines(crate::operator::reindex(request(&store, "")).await).await });
    let done = json!({"type": "done", "found": 0, "repaired": 0, "left": 0});
    assert_eq!(lines.last(), Some(&done));
}

/// A change that a request makes while the operator's work goes on.
#[derive(Clone, Copy, Debug)]
enum Change {
    Create,
    Update,
    Delete,
}

fn any_changes() -> impl Strategy<Value = Vec<(Change, u8, u64)>> {
    let change = prop_oneof![
        Just(Change::Create),
        Just(Change::Update),
        Just(Change::Delete)
    ];
    prop::collection::vec((change, 0..6_u8, 0..7000_u64), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is wrong, and whatever is created, changed and deleted meanwhile: nothing that is
    /// acknowledged is lost, nothing deleted comes back, and in the end the index has exactly the
    /// webhooks that there are.
    #[test]
    fn the_doctor_meets_any_change(
        damages in prop::sample::subsequence(DAMAGES.to_vec(), 0..4),
        changes in any_changes(),
        of_doctor in prop::collection::vec(0..40_u64, 0..40),
        of_requests in prop::collection::vec(0..40_u64, 0..80),
    ) {
        let memory = sound_store();
        for damage in &damages {
            damage.inflict(&memory);
        }
        let torn = memory.keys(&keys::webhook(&application(), id(4)));
        let scheduled = |delays: Vec<u64>| {
            memory.scheduled(delays.into_iter().map(Fate::after).collect())
        };
        let (doctors, others) = (scheduled(of_doctor), scheduled(of_requests));
        let expected = Rc::new(RefCell::new(BTreeSet::from([1, 2, 3].map(id))));
        simulation::run(async {
            for (place, (change, number, at)) in changes.into_iter().enumerate() {
                let requests = Requests { store: others.clone() };
                let expected = expected.clone();
                spawn(async move {
                    sleep(Duration::from_millis(at)).await;
                    let old = id(1 + number % 3);
                    match change {
                        Change::Create => {
                            // Each webhook is created once, as their ids are random.
                            let new = id(10 + place as u8);
                            match requests.create(new).await {
                                Ok(()) => drop(expected.borrow_mut().insert(new)),
                                // It read the index first, and wrote nothing.
                                Err(error) => assert!(matches!(error, Fault::Unreadable(_))),
                            }
                        }
                        Change::Update => requests.change(old).await.unwrap(),
                        Change::Delete => {
                            requests.delete(old).await.unwrap();
                            expected.borrow_mut().remove(&old);
                        }
                    }
                });
            }
            let lines = doctor(&doctors, "fix=true").await;
            prop_assert_eq!(&lines.last().unwrap()["type"], "done");
            sleep(Duration::from_secs(10)).await;
            // What the last requests left half-way is for the next call.
            let lines = doctor(&doctors, "fix=true").await;
            let people = damages.iter().filter(|damage| damage.is_for_a_person()).count();
            prop_assert_eq!(lines.last().unwrap()["left"].as_u64(), Some(people as u64));
            Ok(())
        })?;
        let expected = expected.take();
        let there = memory.keys("webhook/a/").into_iter().filter(|key| !torn.contains(key));
        let there: BTreeSet<_> = there.map(|key| WebhookId::parse(&key[10..]).unwrap()).collect();
        prop_assert_eq!(&there, &expected);
        prop_assert_eq!(listed(&memory), expected);
        prop_assert_eq!(memory.keys("webhook/a/").len(), there.len() + torn.len());
        prop_assert_eq!(memory.keys("webhook-settings/").iter().filter(|key| {
            !there.contains(&WebhookId::parse(&key[19..]).unwrap())
        }).count(), 0);
        prop_assert_eq!(memory.keys("others/"), ["others/x"]);
    }
}
