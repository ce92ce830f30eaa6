//! The races of the handlers, as tests: requests of several processes on one store in memory, whose
//! operations take as long, fail and are cut off as `proptest` decides. Each test states what holds
//! whatever it decides.
//!
//! Long because the races share the merchant, the store and the requests at its beginning.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::request::Request;
use super::routes::ROUTES;
use super::routing::Handler;
use super::test_delivery;
use crate::config::Config;
use crate::http::body::Body;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::idempotency::IDEMPOTENCY_KEY;
use crate::http::query::Query;
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::{LastTest, TestStatus};
use crate::runtime::{simulation, sleep};
use crate::store::deadline::Deadline;
use crate::store::key_value::Store;
use crate::store::memory::{Fate, Memory, Outcome, schedules};
use crate::store::{keys, webhooks};

mod changed;
mod condition;
mod deletes;
mod looks;

const SHOP: &str = "/api/v1/applications/shop";
const WEBHOOKS: &str = "/api/v1/applications/shop/webhooks";
const APPLICATIONS: &str = "/api/v1/applications";

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let get = |name: &str| {
        let value = match name {
            "jwks" => {
                r#"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"}]}"#
            }
            "secrets_key" => "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            // Counts are of an instance, and all processes of these tests are one.
            "max_changes_per_minute" => "0",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Config::parse(&get).unwrap_or_else(|error| panic!("{error}"))
});

/// A response's status and body.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn id(&self) -> String {
        self.body["id"].as_str().expect("an id").to_owned()
    }
}

/// A request of the merchant that owns `shop`.
async fn send(store: &Store, method: &str, path: &str, body: Value, key: Option<&str>) -> Answer {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let found = ROUTES.find(path).expect("a route");
    let method = method.parse().expect("a method");
    let operation = found.route.operation(&method).expect("an operation");
    let Handler::Merchant(handler) = operation.handler else {
        panic!("no merchant's handler");
    };
    let mut details = Details::default();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if let Some(key) = key {
        headers.insert(IDEMPOTENCY_KEY, key.parse().expect("a key"));
    }
    let bytes = match body {
        Value::Null => Bytes::new(),
        body => Bytes::from(body.to_string()),
    };
    let request = Request {
        caller: merchant().into(),
        config: &CONFIG,
        store: store.clone(),
        request_id: String::new(),
        arrived: Timestamp::now(),
        origin: None,
        path: found.path,
        query: Query::parse(Some(query), operation.query, &mut details),
        details,
        headers,
        body: Body::new(Full::new(bytes).map_err(Into::into)),
    };
    let response = handler(request).await;
    let response = response.unwrap_or_else(Error::into_response);
    Answer {
        status: response.status().as_u16(),
        body: serde_json::from_str(response.body().text().expect("a text")).unwrap_or_default(),
    }
}

fn merchant() -> MerchantId {
    MerchantId::parse("merchant").expect("an id")
}

fn shop() -> ApplicationId {
    ApplicationId::parse("shop").expect("an id")
}

async fn create_webhook(store: &Store, key: Option<&str>) -> Answer {
    let body = json!({"url": "https://merchant.example.com/"});
    send(store, "POST", WEBHOOKS, body, key).await
}

async fn create_application(store: &Store, name: &str) -> Answer {
    send(store, "POST", APPLICATIONS, json!({ "name": name }), None).await
}

async fn listed(store: &Store, path: &str) -> BTreeSet<String> {
    let list = send(
        store,
        "GET",
        &format!("{path}?limit=100"),
        Value::Null,
        None,
    )
    .await;
    let items = list.body["items"].as_array().expect("items").iter();
    items
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// A store with the application `shop`.
fn memory() -> Memory {
    let memory = Memory::default();
    let document = json!({"merchantId": "merchant"}).to_string();
    memory.put(&keys::application(&shop()), &document);
    memory
}

/// The store as processes see it whose operations are done at once.
fn calm(memory: &Memory) -> Store {
    memory.scheduled(vec![])
}

/// The ids of the webhooks that exist.
fn existing(memory: &Memory) -> BTreeSet<String> {
    let prefix = "webhook/shop/";
    let keys = memory.keys(prefix);
    keys.iter()
        .map(|key| key[prefix.len()..].to_owned())
        .collect()
}

/// For each of `processes` processes, how late its operations are.
fn delays(processes: usize, most: u64) -> impl Strategy<Value = Vec<Vec<Fate>>> {
    let delays = prop::collection::vec((0..=most).prop_map(Fate::after), 0..40);
    prop::collection::vec(delays, processes)
}

/// How long the service goes on after its last response to reconcile what was overwritten.
const SETTLED: Duration = Duration::from_secs(2);

/// Up to so many operations, of which most are done in time.
fn mostly_done(most: usize) -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![9 => (0..=300_u64).prop_map(Fate::after), 1 => Fate::any(3000)];
    prop::collection::vec(fate, 0..=most)
}

proptest! {
    #![proptest_config(schedules())]

    /// Lists are complete within two seconds of the last create, and have nothing that was deleted,
    /// as long as no operation takes longer than 40 ms.
    #[test]
    fn every_webhook_that_was_created_comes_to_the_list_and_no_deleted_one(
        fates in delays(5, 40),
        deletes in prop::collection::vec(any::<bool>(), 5),
    ) {
        let memory = memory();
        let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let changes = stores.iter().zip(deletes).map(|(store, delete)| async move {
                let created = create_webhook(store, None).await;
                prop_assert_eq!(created.status, 201);
                let id = created.id();
                if delete {
                    let path = format!("{WEBHOOKS}/{id}");
                    let deleted = send(store, "DELETE", &path, Value::Null, None).await;
                    prop_assert_eq!(deleted.status, 204);
                }
                Ok((id, delete))
            });
            let changes: Result<Vec<_>, TestCaseError> =
                join_all(changes).await.into_iter().collect();
            sleep(SETTLED).await;
            let kept = changes?.into_iter().filter(|(_, deleted)| !deleted);
            let kept: BTreeSet<String> = kept.map(|(id, _)| id).collect();
            prop_assert_eq!(&listed(&calm(&memory), WEBHOOKS).await, &kept);
            prop_assert_eq!(existing(&memory), kept);
            Ok(())
        })?;
    }

    /// Lists are complete also where some of the store's operations are slow, once every write is over that
    /// was under way. A request that is not answered in time is compensated.
    #[test]
    fn a_slow_store_loses_no_webhook_from_the_list(
        fates in delays(5, 500),
        starts in prop::collection::vec(0..800_u64, 5),
    ) {
        let memory = memory();
        let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let creates = stores.iter().zip(starts).map(|(store, start)| async move {
                sleep(Duration::from_millis(start)).await;
                create_webhook(store, None).await
            });
            let answers = join_all(creates).await;
            // What is repeated after the responses.
            sleep(Duration::from_secs(120)).await;
            let created: BTreeSet<String> = answers
                .iter()
                .filter(|answer| answer.status == 201)
                .map(Answer::id)
                .collect();
            prop_assert_eq!(&listed(&calm(&memory), WEBHOOKS).await, &created);
            prop_assert_eq!(existing(&memory), created);
            Ok(())
        })?;
    }

    /// The list of applications is as complete, whoever creates them at the same moment.
    #[test]
    fn every_application_that_was_created_comes_to_the_list(fates in delays(4, 40)) {
        let memory = Memory::default();
        let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let creates = stores.iter().enumerate();
            let creates = creates.map(|(number, store)| async move {
                create_application(store, &format!("shop {number}")).await
            });
            let created = join_all(creates).await;
            sleep(SETTLED).await;
            for answer in &created {
                prop_assert_eq!(answer.status, 201, "{:?}", answer);
            }
            let ids: BTreeSet<String> = created.iter().map(Answer::id).collect();
            prop_assert_eq!(listed(&calm(&memory), APPLICATIONS).await, ids);
            Ok(())
        })?;
    }

    /// At most one of several creates of one name succeeds, as long as no operation takes more than
    /// twice as long as another. The others leave nothing behind.
    #[test]
    fn two_applications_never_get_one_name(
        fates in delays(3, 10),
        starts in prop::collection::vec(0..60_u64, 3),
    ) {
        let memory = Memory::default();
        // From 11 to 21 ms.
        let slower = |fates: Vec<Fate>| {
            let mut fates = fates.into_iter();
            memory.process(move |_, _| {
                let fate = fates.next().unwrap_or_default();
                Fate::after(10 + fate.delay)
            })
        };
        let stores: Vec<_> = fates.into_iter().map(slower).collect();
        simulation::run(async {
            let creates = stores.iter().zip(starts).map(|(store, start)| async move {
                sleep(Duration::from_millis(start)).await;
                create_application(store, "Shop").await
            });
            let answers = join_all(creates).await;
            sleep(SETTLED).await;
            let created: BTreeSet<String> = answers
                .iter()
                .filter(|answer| answer.status == 201)
                .map(Answer::id)
                .collect();
            prop_assert!(created.len() <= 1, "{:?}", answers);
            prop_assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)));
            prop_assert_eq!(memory.keys("application/").len(), created.len());
            prop_assert_eq!(listed(&calm(&memory), APPLICATIONS).await, created);
            Ok(())
        })?;
    }

    /// Nobody's secret stays: either the client got the webhook and it is there and listed, or it
    /// got an error and no webhook remains, whatever fails, is late, or takes effect after its
    /// request was given up.
    #[test]
    fn a_create_that_fails_leaves_no_webhook(fates in prop::collection::vec(Fate::any(5000), 0..30)) {
        let memory = memory();
        let store = memory.scheduled(fates);
        let answer = simulation::run(async {
            let answer = create_webhook(&store, None).await;
            // What is repeated after the response, and the latest of its writes.
            sleep(Duration::from_secs(120)).await;
            answer
        });
        let expected: BTreeSet<String> = match answer.status {
            201 => BTreeSet::from([answer.id()]),
            502 | 504 => BTreeSet::new(),
            status => panic!("{status}"),
        };
        prop_assert_eq!(existing(&memory), expected);
    }

    /// One webhook and one secret for one `Idempotency-Key`, in whichever processes the repeats meet,
    /// and whatever happened to the first of them.
    #[test]
    fn one_key_is_one_webhook_and_one_secret(
        first in prop::collection::vec(Fate::any_or_crash(3000), 0..30),
        others in delays(2, 200),
    ) {
        let memory = memory();
        let first = memory.scheduled(first);
        let others: Vec<_> = others.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let creates = join_all(others.iter().map(|store| create_webhook(store, Some("key"))));
            let (first, others) = futures::join!(create_webhook(&first, Some("key")), creates);
            sleep(Duration::from_secs(120)).await;
            let repeat = create_webhook(&calm(&memory), Some("key")).await;
            prop_assert_eq!(repeat.status, 201);
            let created = others.iter().chain([&first]).filter(|answer| answer.status == 201);
            for answer in created {
                prop_assert_eq!(answer.id(), repeat.id());
                let secret = &answer.body["signingSecret"];
                prop_assert_eq!(secret, &repeat.body["signingSecret"]);
            }
            prop_assert_eq!(existing(&memory), BTreeSet::from([repeat.id()]));
            sleep(SETTLED).await;
            let list = listed(&calm(&memory), WEBHOOKS).await;
            prop_assert_eq!(list, BTreeSet::from([repeat.id()]));
            Ok(())
        })?;
    }

    /// Every secret that a rotation returned signs, however the rotations met.
    #[test]
    fn every_rotation_that_was_answered_is_kept(fates in delays(4, 30)) {
        let memory = memory();
        let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let created = create_webhook(&calm(&memory), None).await;
            let path = format!("{WEBHOOKS}/{}/rotate", created.id());
            let rotations = stores.iter().map(|store| send(store, "POST", &path, json!({}), None));
            let mut returned = join_all(rotations).await;
            returned.push(created.clone());
            sleep(SETTLED).await;
            let signing = signing_secrets(&memory, &created.id()).await;
            for answer in returned {
                let secret = answer.body["signingSecret"].as_str().expect("a secret");
                prop_assert!(signing.contains(secret), "{:?}", answer.status);
            }
            Ok(())
        })?;
    }

    /// A rotation that failed leaves the secret that the merchant has, and no other.
    #[test]
    fn a_rotation_that_fails_leaves_the_secret_that_the_merchant_has(
        fates in prop::collection::vec(Fate::any(5000), 0..30),
    ) {
        let memory = memory();
        let store = memory.scheduled(fates);
        simulation::run(async {
            let created = create_webhook(&calm(&memory), None).await;
            let path = format!("{WEBHOOKS}/{}/rotate", created.id());
            let rotated = send(&store, "POST", &path, json!({}), None).await;
            sleep(Duration::from_secs(120)).await;
            let signing = signing_secrets(&memory, &created.id()).await;
            let mut expected = BTreeSet::new();
            for answer in [&created, &rotated] {
                expected.extend(answer.body["signingSecret"].as_str().map(str::to_owned));
            }
            prop_assert_eq!(signing, expected);
            Ok(())
        })?;
    }

    /// A delete leaves nothing of a test that is recorded at the same moment, whatever fails or is
    /// late.
    #[test]
    fn a_webhook_deleted_during_its_test_leaves_nothing_behind(
        test in prop::collection::vec(Fate::any(3000), 0..6),
        delete in prop::collection::vec(Fate::any(1500), 0..20),
        start in 0..60_u64,
        whole_application in any::<bool>(),
    ) {
        let memory = memory();
        let (test, delete) = (memory.scheduled(test), memory.scheduled(delete));
        let deleted = simulation::run(async {
            let created = create_webhook(&calm(&memory), None).await;
            let id = WebhookId::parse(&created.id()).expect("an id");
            let (status, at) = (TestStatus::of(true), Timestamp::now());
            let deadline = Deadline::with_timeout(CONFIG.store_timeout);
            let (shop, last_test) = (shop(), LastTest { at, status });
            let record = test_delivery::record(&test, &shop, id, last_test, &deadline, "");
            let path = match whole_application {
                true => SHOP.to_owned(),
                false => format!("{WEBHOOKS}/{id}"),
            };
            let delete = async {
                sleep(Duration::from_millis(start)).await;
                send(&delete, "DELETE", &path, Value::Null, None).await
            };
            let ((), deleted) = futures::join!(record, delete);
            // What is repeated after the responses, and the latest of its writes.
            sleep(Duration::from_secs(120)).await;
            deleted.status
        });
        // A delete that failed may be repeated, and clears up then.
        if deleted == 204 {
            prop_assert_eq!(memory.keys("webhook-test/"), Vec::<String>::new());
        }
    }

    /// A delete leaves nothing of a change that is written at the same moment, whatever fails or is
    /// late.
    #[test]
    fn a_change_that_meets_a_delete_leaves_nothing_behind(
        change in mostly_done(12),
        delete in mostly_done(20),
        start in 0..1200_u64,
        of_application in any::<bool>(),
        whole_application in any::<bool>(),
    ) {
        let memory = memory();
        let (change, delete) = (memory.scheduled(change), memory.scheduled(delete));
        let deleted = simulation::run(async {
            let created = create_webhook(&calm(&memory), None).await;
            let webhook = format!("{WEBHOOKS}/{}", created.id());
            let (path, body) = match of_application {
                true => (SHOP, json!({"description": "changed"})),
                false => (webhook.as_str(), json!({"isActive": false})),
            };
            let change = send(&change, "PATCH", path, body, None);
            let path = match of_application || whole_application {
                true => SHOP,
                false => webhook.as_str(),
            };
            let delete = async {
                sleep(Duration::from_millis(start)).await;
                send(&delete, "DELETE", path, Value::Null, None).await
            };
            let (_, deleted) = futures::join!(change, delete);
            // What is repeated after the responses, and the latest of its writes.
            sleep(Duration::from_secs(120)).await;
            deleted.status
        });
        // A delete that failed may be repeated, and clears up then.
        if deleted == 204 {
            let kind = if of_application { "application-settings/" } else { "webhook-settings/" };
            prop_assert_eq!(memory.keys(kind), Vec::<String>::new());
        }
    }

    /// Whatever happens to a rotation while its webhook is deleted, in the end no document is left that
    /// opens to a secret of it.
    #[test]
    fn a_rotation_that_meets_a_delete_leaves_no_secret(
        fates in prop::collection::vec(Fate::any(5000), 0..30),
        with_key in any::<bool>(),
        start in 0..6000_u64,
    ) {
        let memory = memory();
        let store = memory.scheduled(fates);
        simulation::run(async {
            let created = create_webhook(&calm(&memory), Some("key")).await;
            let path = format!("{WEBHOOKS}/{}", created.id());
            let rotate_path = format!("{path}/rotate");
            let key = with_key.then_some("key");
            let rotate = send(&store, "POST", &rotate_path, json!({}), key);
            let deleting = calm(&memory);
            let delete = async {
                sleep(Duration::from_millis(start)).await;
                send(&deleting, "DELETE", &path, Value::Null, None).await
            };
            let (rotated, deleted) = futures::join!(rotate, delete);
            sleep(Duration::from_secs(120)).await;
            prop_assert_eq!(deleted.status, 204);
            for kind in ["webhook/", "webhook-secrets/"] {
                prop_assert!(memory.keys(kind).is_empty(), "{} after {:?}", kind, rotated);
            }
            for record in memory.keys("idempotency/") {
                let document: Value = memory.document(&record).expect("a record");
                let sealed = serde_json::from_value(document["response"].clone()).expect("sealed");
                let opened = CONFIG.secrets_key.open(&record, &sealed).expect("it opens");
                let opened = String::from_utf8(opened).expect("text");
                for answer in [&created, &rotated] {
                    let secret = answer.body["signingSecret"].as_str();
                    prop_assert!(secret.is_none_or(|secret| !opened.contains(secret)));
                }
            }
            Ok(())
        })?;
    }

    /// The repeat of a rotation returns the newest secret with its fingerprint, or 409; never a secret
    /// that another rotation has replaced.
    #[test]
    fn the_repeat_of_an_overtaken_rotation_returns_no_secret(
        fates in prop::collection::vec(Fate::any_or_crash(3000), 0..20),
        start in 0..4000_u64,
        grace in prop_oneof![Just(0), Just(600)],
    ) {
        let memory = memory();
        let store = memory.scheduled(fates);
        simulation::run(async {
            let created = create_webhook(&calm(&memory), None).await;
            let path = format!("{WEBHOOKS}/{}", created.id());
            let rotate_path = format!("{path}/rotate");
            let first = send(&store, "POST", &rotate_path, json!({}), Some("key"));
            let others = calm(&memory);
            let other = async {
                sleep(Duration::from_millis(start)).await;
                let body = json!({ "gracePeriodSeconds": grace });
                send(&others, "POST", &rotate_path, body, None).await
            };
            let (_, other) = futures::join!(first, other);
            prop_assert_eq!(other.status, 200);
            sleep(Duration::from_secs(120)).await;
            let calm = calm(&memory);
            let repeat = send(&calm, "POST", &rotate_path, json!({}), Some("key")).await;
            let read = send(&calm, "GET", &path, Value::Null, None).await;
            match repeat.status {
                200 => {
                    let secret = repeat.body["signingSecret"].as_str().expect("a secret");
                    let fingerprint = format!("whsec_****{}", &secret[secret.len() - 4..]);
                    prop_assert_eq!(&repeat.body["keyFingerprint"], &fingerprint);
                    prop_assert_eq!(&read.body["keyFingerprint"], &fingerprint);
                }
                status => prop_assert_eq!(status, 409),
            }
            Ok(())
        })?;
    }

    /// The delete of an application with any number of webhooks goes on where the one before was cut
    /// off, and leaves nothing.
    #[test]
    fn a_delete_that_is_cut_off_makes_progress(count in 300..700_usize, late in 4..18_u64) {
        let memory = memory();
        let ids: Vec<WebhookId> = (0..count).map(|_| WebhookId::generate()).collect();
        for id in &ids {
            memory.put(&keys::webhook(&shop(), *id), "{}");
        }
        memory.put(&keys::webhooks(&shop()), &json!(ids).to_string());
        // 64 at a time, and four for each webhook: the whole of it takes longer than a deadline.
        let store = memory.process(move |_, _| Fate::after(10 * late));
        let tries = simulation::run(async {
            for number in 1..100 {
                let left = existing(&memory).len();
                let deleted = send(&store, "DELETE", SHOP, Value::Null, None).await;
                // The last operation may have taken effect after it was given up.
                if [204, 404].contains(&deleted.status) {
                    return number;
                }
                assert_eq!(deleted.status, 504);
                assert!(existing(&memory).len() < left, "no progress");
                sleep(Duration::from_secs(70)).await;
            }
            panic!("never deleted");
        });
        prop_assert!(tries <= 1 + count / 128, "{} tries", tries);
        prop_assert!(existing(&memory).is_empty());
        prop_assert!(memory.keys("application/").is_empty());
    }
}

/// The secrets that deliveries of a webhook are signed with now.
async fn signing_secrets(memory: &Memory, id: &str) -> BTreeSet<String> {
    let id = WebhookId::parse(id).expect("an id");
    let webhook = webhooks::webhook(&calm(memory), &shop(), id).await;
    let webhook = webhook.expect("the store").expect("a webhook");
    let live = webhook.live_secrets(Timestamp::now());
    let open = live.iter().map(|secret| {
        let secret = CONFIG
            .secrets_key
            .open_secret(&id.to_string(), &secret.sealed);
        secret.expect("a secret").reveal()
    });
    open.collect()
}

/// One create's write of the index outlives three good checks of another, whose webhook it overwrites: that
/// one checks until no request can be writing any more.
#[test]
fn a_write_of_the_index_that_takes_a_second_loses_nobody() {
    let memory = memory();
    let stuck = memory.process(|operation, key| {
        let is_index = operation == "set" && key.starts_with("webhooks/");
        Fate::after(if is_index { 1900 } else { 0 })
    });
    simulation::run(async {
        let other = calm(&memory);
        let (first, second) =
            futures::join!(create_webhook(&stuck, None), create_webhook(&other, None),);
        assert_eq!((first.status, second.status), (201, 201));
        sleep(CONFIG.store_timeout + SETTLED).await;
        let list = listed(&calm(&memory), WEBHOOKS).await;
        assert_eq!(list, BTreeSet::from([first.id(), second.id()]));
    });
}

/// What is left of the race for a name: a single write that takes longer than three operations of the
/// other request.
#[test]
fn a_write_that_is_stuck_can_give_a_name_twice() {
    let memory = Memory::default();
    let stuck = memory.process(|operation, key| {
        let claims = operation == "set" && key.starts_with("application-name/");
        Fate::after(if claims { 500 } else { 0 })
    });
    let answers = simulation::run(async {
        let (quick, stuck) = (calm(&memory), stuck);
        futures::join!(
            create_application(&quick, "Shop"),
            create_application(&stuck, "Shop"),
        )
    });
    assert_eq!((answers.0.status, answers.1.status), (201, 201));
}

/// A create whose index could not be written is compensated: until then the answer to another one of
/// the same name names no application, and soon the name is free.
#[test]
fn a_409_never_points_to_an_application_that_is_about_to_be_removed() {
    let memory = Memory::default();
    let failing = memory.process(|operation, key| Fate {
        delay: if operation == "delete" { 5000 } else { 0 },
        outcome: match operation {
            "set" if key.starts_with("applications/") => Outcome::FailsAfter,
            _ => Outcome::Done,
        },
    });
    simulation::run(async {
        assert_eq!(create_application(&failing, "Shop").await.status, 502);
        let store = calm(&memory);
        let repeat = create_application(&store, "Shop").await;
        assert_eq!(repeat.status, 409);
        assert_eq!(listed(&store, APPLICATIONS).await, BTreeSet::new());
        sleep(Duration::from_secs(6)).await;
        let repeat = create_application(&store, "Shop").await;
        assert_eq!(repeat.status, 201);
        sleep(Duration::from_secs(120)).await;
        let found = listed(&store, APPLICATIONS).await;
        assert_eq!(found, BTreeSet::from([repeat.id()]));
    });
}

/// What an index has no document for is left out of a page, and the next takes its place.
#[test]
fn a_page_is_full_whatever_its_index_has_too_much() {
    let memory = memory();
    let store = calm(&memory);
    simulation::run(async {
        for _ in 0..6 {
            assert_eq!(create_webhook(&store, None).await.status, 201);
        }
        sleep(SETTLED).await;
        let index = keys::webhooks(&shop());
        let mut entries: Vec<Value> = memory.document(&index).expect("an index");
        for _ in 0..10 {
            let id = WebhookId::generate();
            entries.push(json!({"id": id, "createdAt": "2030-01-01T00:00:00.000Z"}));
        }
        memory.put(&index, &json!(entries).to_string());
        let list = send(
            &store,
            "GET",
            &format!("{WEBHOOKS}?limit=4"),
            Value::Null,
            None,
        )
        .await;
        assert_eq!(list.body["items"].as_array().map(Vec::len), Some(4));
        assert_eq!(list.body["totalItems"], 6);
        sleep(Duration::from_secs(3)).await;
        let entries: Vec<Value> = memory.document(&index).expect("an index");
        assert_eq!(entries.len(), 6, "{entries:?}");
    });
}
