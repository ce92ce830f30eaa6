//! Dispatch as a whole, in simulated time: several processes share a store and a database, endpoints
//! answer as a test decides, and so do the operations of both.
//!
//! Long because the tests share the processes, endpoints and clock at its beginning.

mod recovery;
mod resend;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use proptest::prelude::*;

use super::delivery::{self, Attempt, Delivery, Failure};
use super::dispatcher::{Dispatcher, LEASE, Sender};
use super::endpoints::MAX_PER_WEBHOOK;
use super::fan_out::{self, Plan};
use crate::config::Config;
use crate::config::events::EventsConfig;
use crate::events::database::{Database, NewEvent, StoredEvent};
use crate::events::memory::Memory as Events;
use crate::events::sql::SqlDatabase;
use crate::fault::Fault;
use crate::model::condition::DisabledReason;
use crate::model::delivery::{AttemptTrigger, Delivery as Shown, DeliveryReason, DeliveryStatus};
use crate::model::event::{EventType, SubscribedEvents};
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::rotation::StoredSecret;
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;
use crate::model::webhook::{Webhook, WebhookRecord};
use crate::runtime::simulation::{self, sleep, spawn};
use crate::store::key_value::Store;
use crate::store::memory::{Fate, Memory, Outcome, schedules};
use crate::store::{index, keys, recipients, webhooks};

thread_local! {
    static CONFIG: &'static Config = Box::leak(Box::new(
        Config::parse(&|name| variable(name)).unwrap_or_else(|error| panic!("{error}")),
    ));
}

mod watch;

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "jwks" => r#"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"}]}"#,
        "secrets_key" => "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        _ => return None,
    };
    Some(value.to_owned())
}

fn shop() -> ApplicationId {
    ApplicationId::parse("shop").expect("an id")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A request that came to an endpoint.
#[derive(Clone, Debug)]
struct Sent {
    at: Timestamp,
    webhook: WebhookId,
    event: String,
    number: u32,
}

/// How an endpoint answers its requests, given how many came before: when, and with which status;
/// `None`: it cannot be reached.
type Endpoint = Rc<dyn Fn(usize) -> (Duration, Option<u16>)>;

/// What all processes share.
#[derive(Clone)]
struct World {
    store: Memory,
    events: Events,
    schedule: &'static str,
    config: &'static Config,
    endpoints: Rc<RefCell<BTreeMap<String, (WebhookId, Endpoint)>>>,
    sent: Rc<RefCell<Vec<Sent>>>,
    in_flight: Rc<RefCell<BTreeMap<WebhookId, usize>>>,
    most_in_flight: Rc<RefCell<BTreeMap<WebhookId, usize>>>,
}

impl World {
    fn new(schedule: &'static str) -> Self {
        let world = Self {
            store: Memory::default(),
            events: Events::default(),
            schedule,
            config: CONFIG.with(|config| *config),
            endpoints: Rc::default(),
            sent: Rc::default(),
            in_flight: Rc::default(),
            most_in_flight: Rc::default(),
        };
        let key = keys::application(&shop());
        world.store.put(&key, r#"{"merchantId":"m"}"#);
        world
    }

    /// A process in which everything goes well.
    fn process(&self) -> Rc<Dispatcher> {
        self.process_with(self.store.scheduled(Vec::new()), |_| Fate::default())
    }

    /// A process whose store is `store`, and whose statements go as `decide` says.
    fn process_with(
        &self,
        store: Store,
        decide: impl FnMut(&str) -> Fate + 'static,
    ) -> Rc<Dispatcher> {
        let config = self.config;
        let get = |name: &str| (name == "retry_schedule").then(|| self.schedule.to_owned());
        let events = EventsConfig::parse(&get, config.store_timeout);
        let events = events.unwrap_or_else(|error| panic!("{error}"));
        let events: &'static EventsConfig = Box::leak(Box::new(events));
        let database: Rc<SqlDatabase> = Rc::new(self.events.process(decide));
        let sender = Rc::new(self.clone());
        Rc::new(Dispatcher::new(config, events, store, database, sender))
    }

    /// A webhook whose endpoint answers so.
    async fn webhook(
        &self,
        answer: impl Fn(usize) -> (Duration, Option<u16>) + 'static,
    ) -> WebhookId {
        self.webhook_of(&shop(), answer).await
    }

    /// A webhook of that application whose endpoint answers so.
    async fn webhook_of(
        &self,
        application: &ApplicationId,
        answer: impl Fn(usize) -> (Duration, Option<u16>) + 'static,
    ) -> WebhookId {
        let id = WebhookId::generate();
        let config = CONFIG.with(|config| *config);
        let url = format!("https://{id}.example.com/");
        let record = WebhookRecord {
            is_tracked: true,
            v: WebhookRecord::VERSION,
            id,
            application_id: Some(application.clone()),
            url: url.clone(),
            is_active: true,
            subscribed_events: SubscribedEvents::Every,
            secret: StoredSecret::seal(&config.secrets_key, id, &SigningSecret::generate()),
            created_at: Timestamp::now(),
            is_repeatable: false,
        };
        self.endpoints
            .borrow_mut()
            .insert(url, (id, Rc::new(answer)));
        let store = self.store.scheduled(Vec::new());
        let key = keys::webhook(application, id);
        store.set_document(&key, &record).await.expect("written");
        let index = index::webhooks_of(&store, application).await;
        let mut index = index.expect("an index");
        index.add(&id, Some(Timestamp::now())).await.expect("added");
        id
    }

    fn sent_to(&self, webhook: WebhookId) -> Vec<Sent> {
        let sent = self.sent.borrow();
        let sent = sent.iter().filter(|sent| sent.webhook == webhook);
        sent.cloned().collect()
    }

    async fn event(&self, id: EventId) -> StoredEvent {
        let database = self.events.scheduled(Vec::new());
        let event = database.event(&shop(), id).await;
        event.expect("an answer").expect("an event")
    }

    /// The webhook as it is now.
    async fn shown(&self, webhook: WebhookId) -> Webhook {
        let store = self.store.scheduled(Vec::new());
        let shown = webhooks::webhook(&store, &shop(), webhook).await;
        shown.expect("an answer").expect("a webhook")
    }

    /// The event's delivery for a webhook, with its attempts.
    async fn delivery(&self, event: EventId, webhook: WebhookId) -> Shown {
        let database = self.events.scheduled(Vec::new());
        let delivery = database.delivery(event, webhook).await;
        delivery.expect("an answer").expect("a delivery")
    }
}

impl Sender for World {
    fn send<'a>(&'a self, delivery: &'a Delivery) -> LocalBoxFuture<'a, Attempt> {
        let (webhook, answer) = self.endpoints.borrow()[&delivery.url].clone();
        let before = self.sent_to(webhook).len();
        self.sent.borrow_mut().push(Sent {
            at: Timestamp::now(),
            webhook,
            event: delivery.id.clone(),
            number: delivery.attempt.expect("an attempt").number,
        });
        let count = {
            let mut in_flight = self.in_flight.borrow_mut();
            let count = in_flight.entry(webhook).or_default();
            *count += 1;
            *count
        };
        let mut most = self.most_in_flight.borrow_mut();
        let most = most.entry(webhook).or_default();
        *most = count.max(*most);
        let (pause, status) = answer(before);
        Box::pin(async move {
            sleep(pause.min(delivery.deadline)).await;
            *self.in_flight.borrow_mut().entry(webhook).or_default() -= 1;
            let failure = match status {
                _ if pause > delivery.deadline => Some(Failure::Timeout),
                None => Some(Failure::Connect),
                Some(200..=299) => None,
                Some(_) => Some(Failure::HttpStatus),
            };
            Attempt {
                status: status.filter(|_| pause <= delivery.deadline),
                body: Some(b"answer".to_vec()),
                retry_after: None,
                failure,
                detail: None,
                latency: pause,
            }
        })
    }
}

/// Publishes an event as the API does.
async fn publish(dispatcher: &Rc<Dispatcher>) -> Result<EventId, Fault> {
    let now = Timestamp::now();
    let event_type = EventType::parse("session.completed").expect("a type");
    let store = &dispatcher.store;
    let subscribers = recipients::subscribers(store, &shop(), &event_type).await?;
    let plan = Plan::new(dispatcher, subscribers, true, now);
    let event = NewEvent {
        id: EventId::generate(now),
        application_id: shop(),
        body: delivery::body(event_type.as_str(), now, &serde_json::json!({}))?,
        event_type,
        occurred_at: now,
        created_at: now,
        deliver_before: None,
        idempotency: None,
        settle_at: fan_out::settle_at(now),
        deliveries: plan.deliveries.clone(),
    };
    match dispatcher.database().publish(&event).await {
        Ok(_) => plan.deliver(&event),
        Err(error) => {
            plan.give_back(&event);
            return Err(error);
        }
    }
    Ok(event.id)
}

/// An event that nobody gets at first.
fn event_of(now: Timestamp) -> NewEvent {
    NewEvent {
        id: EventId::generate(now),
        application_id: shop(),
        event_type: EventType::parse("session.completed").expect("a type"),
        body: "{}".to_owned(),
        occurred_at: now,
        created_at: now,
        deliver_before: None,
        idempotency: None,
        settle_at: fan_out::settle_at(now),
        deliveries: Vec::new(),
    }
}

/// Probes a process every second, as a load balancer does, as long as the scenario lasts.
fn probe(dispatcher: &Rc<Dispatcher>, for_seconds: u64) {
    probe_every(1, dispatcher, for_seconds);
}

/// Where there are many cases, and none depends on a second.
fn probe_every(interval: u64, dispatcher: &Rc<Dispatcher>, for_seconds: u64) {
    let dispatcher = dispatcher.clone();
    spawn(async move {
        for _ in 0..for_seconds / interval {
            if simulation::is_over() {
                return;
            }
            dispatcher.wake(true);
            sleep(seconds(interval)).await;
        }
    });
}

const AT_ONCE: Duration = Duration::from_millis(5);

/// A process, and when it ran statements of that name.
fn watched(world: &World, name: &'static str) -> (Rc<Dispatcher>, Rc<RefCell<Vec<Timestamp>>>) {
    let ran = Rc::<RefCell<Vec<Timestamp>>>::default();
    let seen = ran.clone();
    let store = world.store.scheduled(Vec::new());
    let process = world.process_with(store, move |statement| {
        if statement == name {
            seen.borrow_mut().push(Timestamp::now());
        }
        Fate::default()
    });
    (process, ran)
}

#[test]
fn an_instance_that_is_used_up_claims_nothing_five_seconds_later() {
    simulation::run(async {
        let world = World::new("0,1,1,1,1,1,1,1,1,1,1,1,1,1,1");
        let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let (process, claims) = watched(&world, "claim");
        let published_at = Timestamp::now();
        publish(&process).await.expect("published");
        sleep(seconds(12)).await;
        let last = *claims.borrow().last().expect("a claim");
        let after = last.distance(published_at);
        assert!(seconds(3) < after && after < seconds(6), "{after:?}");
        // Its next request has it go on.
        let sent = world.sent_to(webhook).len();
        process.wake(false);
        sleep(seconds(2)).await;
        assert!(world.sent_to(webhook).len() > sent);
    });
}

#[test]
fn while_events_never_end_a_pump_asks_what_is_due_about_once_a_second() {
    simulation::run(async {
        let world = World::new("0,60");
        world.webhook(|_| (AT_ONCE, Some(200))).await;
        let (process, asked) = watched(&world, "next-due");
        // Their second decisions begin to be due after fifteen seconds.
        for _ in 0..120 {
            publish(&process).await.expect("published");
            sleep(Duration::from_millis(250)).await;
        }
        let begin = Timestamp::now();
        let lately = asked.borrow();
        let lately = lately
            .iter()
            .filter(|at| begin.distance(**at) < seconds(10));
        let count = lately.count();
        assert!((5..=20).contains(&count), "{count}");
    });
}

#[test]
fn attempts_are_never_earlier_than_the_schedule_and_a_tenth_later_at_most() {
    simulation::run(async {
        let world = World::new("0,1,5,300,1800");
        let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let process = world.process();
        let id = publish(&process).await.expect("published");
        probe(&process, 2500);
        sleep(seconds(2500)).await;
        let sent = world.sent_to(webhook);
        let waited = sent.windows(2).map(|two| two[1].at.distance(two[0].at));
        let waited: Vec<Duration> = waited.collect();
        assert_eq!(waited.len(), 4);
        for (waited, pause) in waited.into_iter().zip([1, 5, 300, 1800]) {
            let latest = seconds(pause) * 11 / 10 + Duration::from_millis(20);
            assert!(seconds(pause) <= waited && waited <= latest, "{waited:?}");
        }
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Failed);
        assert_eq!(delivery.reason, Some(DeliveryReason::Exhausted));
        let attempts = delivery.attempts.expect("attempts");
        assert!(attempts.iter().map(|attempt| attempt.number).eq(1..=5));
        assert!(sent.iter().map(|sent| sent.number).eq(1..=5));
    });
}

#[test]
fn an_endpoint_that_returns_410_twice_five_minutes_apart_makes_its_webhook_inactive() {
    simulation::run(async {
        let world = World::new("0,5,400,1800");
        let webhook = world.webhook(|_| (AT_ONCE, Some(410))).await;
        let process = world.process();
        let id = publish(&process).await.expect("published");
        probe(&process, 500);
        sleep(seconds(500)).await;
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Failed);
        assert_eq!(delivery.reason, Some(DeliveryReason::Gone));
        // 5 seconds after the first one it may be a deploy.
        assert_eq!(delivery.attempt_count, 3);
        let shown = world.shown(webhook).await;
        assert!(!shown.is_active());
        let disabled = shown.disabled().expect("disabled");
        assert_eq!(disabled.reason, DisabledReason::Gone);
        let id = publish(&process).await.expect("published");
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.reason, Some(DeliveryReason::WebhookInactive));
    });
}

#[test]
fn while_a_webhook_is_inactive_its_steps_pass_without_a_request() {
    simulation::run(async {
        let world = World::new("0,10,10,10,10,10,10,10,10");
        let answer = |before| (AT_ONCE, Some(if before == 0 { 500 } else { 200 }));
        let webhook = world.webhook(answer).await;
        let process = world.process();
        let id = publish(&process).await.expect("published");
        sleep(seconds(1)).await;
        let key = keys::webhook_settings(&shop(), webhook);
        let settings = |is_active: bool| {
            format!(
                r#"{{"url":"https://{webhook}.example.com/","isActive":{is_active},
                "subscribedEvents":["*"],"updatedAt":"2026-01-15T08:00:00.000Z"}}"#
            )
        };
        world.store.put(&key, &settings(false));
        probe(&process, 100);
        sleep(seconds(40)).await;
        assert_eq!(world.sent_to(webhook).len(), 1);
        world.store.put(&key, &settings(true));
        sleep(seconds(20)).await;
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Succeeded);
        assert_eq!(world.sent_to(webhook).len(), 2);
    });
}

/// 200 events for an endpoint that never answers, and for one that answers at once.
#[test]
fn one_that_never_answers_delays_nobody_else_and_is_left_alone() {
    simulation::run(async {
        let world = World::new("0,5,300,1800");
        let dead = world.webhook(|_| (seconds(3600), None)).await;
        let alive = world.webhook(|_| (AT_ONCE, Some(200))).await;
        let process = world.process();
        probe(&process, 120);
        let mut published = Vec::new();
        for _ in 0..200 {
            let id = publish(&process).await.expect("published");
            published.push((id.to_string(), Timestamp::now()));
            sleep(Duration::from_millis(100)).await;
        }
        sleep(seconds(60)).await;
        let arrived = world.sent_to(alive);
        for (id, at) in published {
            let sent = arrived.iter().filter(|sent| sent.event == id);
            let sent: Vec<&Sent> = sent.collect();
            assert_eq!(sent.len(), 1, "{id}");
            let late = sent[0].at.distance(at);
            assert!(late < Duration::from_millis(50), "{late:?}");
        }
        let most = world.most_in_flight.borrow()[&dead];
        assert!(most <= MAX_PER_WEBHOOK, "{most}");
        // Four at first, then one at a time: at most one each 15 seconds.
        let tried = world.sent_to(dead).len();
        assert!((5..=10).contains(&tried), "{tried}");
    });
}

#[test]
fn deliveries_of_an_endpoint_that_is_back_go_out_together() {
    simulation::run(async {
        let world = World::new("0,5,300,1800");
        let back_at = Timestamp::now().plus(seconds(100));
        let webhook = world
            .webhook(move |_| match Timestamp::now() < back_at {
                true => (AT_ONCE, None),
                false => (AT_ONCE, Some(200)),
            })
            .await;
        let process = world.process();
        probe(&process, 300);
        let mut ids = Vec::new();
        for _ in 0..50 {
            ids.push(publish(&process).await.expect("published"));
            sleep(seconds(1)).await;
        }
        sleep(seconds(150)).await;
        for id in ids {
            let delivery = world.delivery(id, webhook).await;
            // A few tried it meanwhile, and follow their schedule.
            assert!(
                delivery.status == DeliveryStatus::Succeeded || delivery.attempt_count > 1,
                "{delivery:?}"
            );
        }
        let tried = world.sent_to(webhook);
        let early = tried.iter().filter(|sent| sent.at < back_at).count();
        assert!(early < 20, "{early}");
    });
}

#[test]
fn an_attempt_whose_process_died_is_repeated_after_its_lease_and_says_so() {
    simulation::run(async {
        let world = World::new("0,5,300");
        let webhook = world.webhook(|_| (AT_ONCE, Some(200))).await;
        let dying = world.process_with(world.store.scheduled(Vec::new()), |name| {
            let outcome = match name {
                "record" => Outcome::CrashBefore,
                _ => Outcome::Done,
            };
            Fate { delay: 0, outcome }
        });
        let id = publish(&dying).await.expect("published");
        sleep(seconds(1)).await;
        let other = world.process();
        probe(&other, 100);
        sleep(seconds(100)).await;
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Succeeded);
        let attempts = delivery.attempts.expect("attempts");
        assert_eq!(attempts.len(), 1);
        assert_eq!(
            (attempts[0].number, attempts[0].trigger),
            (2, AttemptTrigger::Uncertain)
        );
        let sent = world.sent_to(webhook);
        assert_eq!(sent.len(), 2, "one duplicate");
        let waited = sent[1].at.distance(sent[0].at);
        // The lease began when it was claimed, milliseconds before it was sent.
        let least = LEASE - Duration::from_millis(100);
        assert!(least <= waited && waited < LEASE + seconds(2), "{waited:?}");
    });
}

/// The client gets a 502, and the event is stored all the same.
#[test]
fn a_publish_that_fails_after_it_took_effect_is_delivered_at_once() {
    simulation::run(async {
        let world = World::new("0,5,300");
        let webhook = world.webhook(|_| (AT_ONCE, Some(200))).await;
        let process = world.process_with(world.store.scheduled(Vec::new()), |name| {
            let outcome = match name {
                "publish" => Outcome::FailsAfter,
                _ => Outcome::Done,
            };
            Fate { delay: 0, outcome }
        });
        assert!(publish(&process).await.is_err());
        sleep(seconds(3)).await;
        let sent = world.sent_to(webhook);
        assert_eq!(sent.len(), 1, "{sent:?}");
        let id = EventId::parse(&sent[0].event).expect("an id");
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(
            (delivery.status, delivery.attempt_count),
            (DeliveryStatus::Succeeded, 1)
        );
    });
}

#[test]
fn a_record_that_fails_is_repeated_and_makes_no_second_attempt() {
    for outcome in [Outcome::FailsBefore, Outcome::FailsAfter] {
        simulation::run(async {
            let world = World::new("0,5,300");
            let webhook = world.webhook(|_| (AT_ONCE, Some(200))).await;
            let mut failures = 3;
            let process = world.process_with(world.store.scheduled(Vec::new()), move |name| {
                let fails = name == "record" && failures > 0;
                failures -= u32::from(fails);
                let outcome = if fails { outcome } else { Outcome::Done };
                Fate { delay: 0, outcome }
            });
            let id = publish(&process).await.expect("published");
            probe(&process, 100);
            sleep(seconds(100)).await;
            let delivery = world.delivery(id, webhook).await;
            assert_eq!(delivery.status, DeliveryStatus::Succeeded, "{outcome:?}");
            assert_eq!(delivery.attempt_count, 1);
            assert_eq!(world.sent_to(webhook).len(), 1);
        });
    }
}

#[test]
fn while_the_store_fails_no_attempt_is_used_up() {
    simulation::run(async {
        let world = World::new("0,5,10");
        let answer = |before| (AT_ONCE, Some(if before == 0 { 500 } else { 200 }));
        let webhook = world.webhook(answer).await;
        let broken_until = Timestamp::now().plus(seconds(60));
        let store = world.store.process(move |_, key| {
            let is_broken = key.starts_with("webhook/") && Timestamp::now() < broken_until;
            let outcome = match is_broken {
                true => Outcome::FailsBefore,
                false => Outcome::Done,
            };
            Fate { delay: 0, outcome }
        });
        // Published where the store works.
        let id = publish(&world.process()).await.expect("published");
        sleep(seconds(1)).await;
        let process = world.process_with(store, |_| Fate::default());
        probe(&process, 120);
        sleep(seconds(120)).await;
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Succeeded);
        assert_eq!(delivery.attempt_count, 2);
        let sent = world.sent_to(webhook);
        assert!(sent[1].at >= broken_until, "{sent:?}");
    });
}

#[test]
fn a_webhook_that_the_index_lacked_at_publish_gets_the_event() {
    simulation::run(async {
        let world = World::new("0,5,300");
        let webhook = world.webhook(|_| (AT_ONCE, Some(200))).await;
        let index = keys::webhooks(&shop());
        let (_, listed) = world
            .store
            .all()
            .into_iter()
            .find(|(key, _)| *key == index)
            .expect("an index");
        world.store.put(&index, "[]");
        let process = world.process();
        let id = publish(&process).await.expect("published");
        assert!(world.event(id).await.deliveries.is_empty());
        world.store.put(&index, &listed);
        // One that did not miss it: it is decided about together with the other, and sent once.
        let other = publish(&process).await.expect("published");
        sleep(seconds(3)).await;
        let younger = world.webhook(|_| (AT_ONCE, Some(200))).await;
        // It is time for both when somebody asks.
        sleep(seconds(15)).await;
        probe(&process, 5);
        sleep(seconds(5)).await;
        for id in [id, other] {
            let event = world.event(id).await;
            assert_eq!(event.deliveries.len(), 1, "not {younger}");
            assert_eq!(event.deliveries[0].webhook_id, webhook);
            assert_eq!(event.deliveries[0].status, DeliveryStatus::Succeeded);
        }
        assert_eq!(world.sent_to(webhook).len(), 2);
    });
}

#[test]
fn one_reading_decides_about_all_events_of_an_application_and_a_type() {
    simulation::run(async {
        let world = World::new("0,5,300");
        world.webhook(|_| (AT_ONCE, Some(200))).await;
        let publisher = world.process();
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(publish(&publisher).await.expect("published"));
        }
        let added = world.webhook(|_| (AT_ONCE, Some(200))).await;
        let readings = Rc::new(Cell::new(0));
        let (counted, index) = (readings.clone(), keys::webhooks(&shop()));
        let store = world.store.process(move |_, key| {
            counted.set(counted.get() + u32::from(key == index));
            Fate::default()
        });
        let process = world.process_with(store, |_| Fate::default());
        probe(&process, 20);
        sleep(seconds(20)).await;
        assert_eq!(readings.get(), 1);
        for id in ids {
            let deliveries = world.event(id).await.deliveries;
            let of_added = deliveries.iter().find(|it| it.webhook_id == added);
            let status = of_added.expect("a delivery for it").status;
            assert_eq!((deliveries.len(), status), (2, DeliveryStatus::Succeeded));
        }
    });
}

#[test]
fn an_application_that_cannot_be_read_keeps_no_other_from_its_second_fan_out() {
    simulation::run(async {
        let world = World::new("0,5,300");
        let torn = ApplicationId::parse("torn").expect("an id");
        world
            .store
            .put(&keys::application(&torn), r#"{"merchantId":"m"}"#);
        world.store.put(&keys::application_settings(&torn), "{");
        let process = world.process();
        let first = NewEvent {
            application_id: torn,
            ..event_of(Timestamp::now())
        };
        process.database().publish(&first).await.expect("published");
        let webhook = world.webhook(|_| (AT_ONCE, Some(200))).await;
        let second = event_of(Timestamp::now());
        let published = process.database().publish(&second).await;
        published.expect("published");
        probe(&process, 20);
        sleep(seconds(20)).await;
        let deliveries = world.event(second.id).await.deliveries;
        assert_eq!(deliveries.len(), 1, "the torn application's came before");
        assert_eq!(deliveries[0].webhook_id, webhook);
        assert_eq!(deliveries[0].status, DeliveryStatus::Succeeded);
    });
}

#[test]
fn events_are_deleted_when_they_are_old_and_when_their_application_is_gone() {
    simulation::run(async {
        let world = World::new("0,5");
        world.webhook(|_| (AT_ONCE, Some(200))).await;
        let process = world.process();
        let id = publish(&process).await.expect("published");
        let old = event_of(Timestamp::from_millis(0));
        let published = process.database().publish(&old).await;
        published.expect("published");
        probe(&process, 400);
        sleep(seconds(70)).await;
        let event = async |id| {
            process
                .database()
                .event(&shop(), id)
                .await
                .expect("an answer")
        };
        assert!(event(old.id).await.is_none());
        assert!(event(id).await.is_some());

        let key = keys::application(&shop());
        let store = world.store.scheduled(Vec::new());
        store.delete(&key).await.expect("deleted");
        sleep(seconds(55)).await;
        // Once is not enough: it may be a store that is late.
        assert!(event(id).await.is_some());
        sleep(seconds(75)).await;
        assert!(event(id).await.is_none());
    });
}

/// Its attempts go on as planned, and then it is deleted with what came of them.
#[test]
fn an_event_that_is_too_old_is_kept_until_its_last_attempt() {
    use crate::events::database::{Beginning, NewDelivery};

    simulation::run(async {
        let world = World::new("0,60,600");
        let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let process = world.process();
        let now = Timestamp::now();
        let old = NewEvent {
            deliveries: vec![NewDelivery {
                webhook_id: webhook,
                give_up_at: now.plus(seconds(3600)),
                beginning: Beginning::Due(now),
            }],
            ..event_of(Timestamp::from_millis(0))
        };
        let published = process.database().publish(&old).await;
        published.expect("published");
        probe(&process, 900);
        let is_kept = async || {
            let event = process.database().event(&shop(), old.id).await;
            event.expect("an answer").is_some()
        };
        for (later, attempts, kept) in [(600, 2, true), (300, 3, false)] {
            sleep(seconds(later)).await;
            assert_eq!(world.sent_to(webhook).len(), attempts);
            assert_eq!(is_kept().await, kept);
        }
    });
}

/// Two processes, whose statements are late, fail, and take them down.
fn fates() -> impl Strategy<Value = Vec<Fate>> {
    proptest::collection::vec(Fate::any_or_crash(3000), 0..24)
}

proptest! {
    // A case takes a tenth of a second.
    #![proptest_config(ProptestConfig { cases: schedules().cases.div_ceil(3), ..schedules() })]

    /// What is published is delivered, whatever happens to the process that publishes it: once, and once
    /// more for each of its failures at most.
    #[test]
    fn no_event_is_lost_and_every_duplicate_has_its_failure(fates in fates()) {
        let failures = fates.iter().filter(|fate| fate.outcome != Outcome::Done || fate.delay > 1500);
        let failures = failures.count();
        simulation::run(async {
            let world = World::new("0,5,30");
            let webhook = world.webhook(|_| (AT_ONCE, Some(200))).await;
            let mut fates = fates.into_iter();
            let dying = world.process_with(
                world.store.scheduled(Vec::new()),
                move |_| fates.next().unwrap_or_default(),
            );
            let published: Rc<RefCell<Vec<EventId>>> = Rc::default();
            let log = published.clone();
            spawn(async move {
                for _ in 0..5 {
                    // A client that gets no 202 cannot rely on anything.
                    if let Ok(id) = publish(&dying).await {
                        log.borrow_mut().push(id);
                    }
                    sleep(seconds(1)).await;
                }
                probe(&dying, 60);
            });
            sleep(seconds(30)).await;
            probe_every(5, &world.process(), 300);
            sleep(seconds(300)).await;
            let published = published.borrow().clone();
            for id in &published {
                let delivery = world.delivery(*id, webhook).await;
                assert_eq!(delivery.status, DeliveryStatus::Succeeded, "{delivery:?}");
            }
            let sent = world.sent_to(webhook);
            let mut times = BTreeMap::<&str, usize>::new();
            for sent in &sent {
                *times.entry(&sent.event).or_default() += 1;
            }
            // A crash takes with it all that its process has sent and not recorded.
            let most = times.values().copied().max().unwrap_or_default();
            assert!(most <= 1 + failures, "{failures}: {sent:?}");
        });
    }
}
