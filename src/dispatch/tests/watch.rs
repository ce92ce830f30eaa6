//! Which webhooks are made inactive, and what the operator gets to know of them.
//!
//! Long because the days of a webhook and the deaths of a process share one world.

use std::cell::Cell;
use std::cmp::Ordering;

use super::*;
use crate::dispatch::operational::About;
use crate::dispatch::watch::Observed;
use crate::events::database::{Beginning, EventsPage, LogRange, NewDelivery};
use crate::model::webhook::WebhookSettings;

fn platform() -> ApplicationId {
    ApplicationId::parse("platform").expect("an id")
}

const HOUR: u64 = 3600;

/// The default schedule, of 75 h 35 min.
const DEFAULT: &str = "0,5,300,1800,7200,18000,36000,50400,72000,86400";

/// How long a simulation may last: a month.
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// A world whose operator gets operational events.
fn observed_world(schedule: &'static str) -> World {
    thread_local! {
        static OBSERVED: &'static Config = Box::leak(Box::new(
            Config::parse(&|name| match name {
                "operator_application" => Some("platform".to_owned()),
                _ => variable(name),
            })
            .unwrap_or_else(|error| panic!("{error}")),
        ));
    }
    let mut world = World::new(schedule);
    world.config = OBSERVED.with(|config| *config);
    let key = keys::application(&platform());
    world.store.put(&key, r#"{"merchantId":"operator"}"#);
    world
}

/// Probes a process every hour.
fn probe_for_days(dispatcher: &Rc<Dispatcher>, days: u64) {
    let dispatcher = dispatcher.clone();
    spawn(async move {
        for _ in 0..days * 24 {
            dispatcher.wake(true);
            sleep(seconds(3600)).await;
        }
    });
}

/// The operational events there are, the oldest first: their types and data.
async fn operational(world: &World) -> Vec<(String, serde_json::Value)> {
    let database = world.events.scheduled(Vec::new());
    let page = EventsPage {
        range: LogRange {
            limit: 10_000,
            ..LogRange::default()
        },
        ..EventsPage::default()
    };
    let listed = database.events(&platform(), &page).await.expect("a page");
    let mut events = Vec::new();
    for event in listed.items.iter().rev() {
        let stored = database.event(&platform(), event.id).await;
        let body = stored.expect("an answer").expect("an event").body;
        let body: serde_json::Value = serde_json::from_str(&body.expect("a body")).unwrap();
        assert_eq!(body["type"], event.r#type.as_str());
        events.push((event.r#type.as_str().to_owned(), body["data"].clone()));
    }
    events
}

async fn types(world: &World) -> Vec<String> {
    let events = operational(world).await.into_iter();
    events.map(|(event_type, _)| event_type).collect()
}

fn moment(value: &serde_json::Value) -> Timestamp {
    serde_json::from_value(value.clone()).expect("a time")
}

/// What its merchant does to a webhook, as the API does it.
async fn set_active(world: &World, webhook: WebhookId, is_active: bool) {
    let shown = world.shown(webhook).await;
    let mut settings = WebhookSettings::from(shown.settings());
    let now = Timestamp::now().max(shown.updated_at());
    settings.set_active(is_active, now);
    settings.updated_at = now;
    let store = world.store.scheduled(Vec::new());
    let written = webhooks::write_settings(&store, &shop(), webhook, &settings).await;
    assert_eq!(written, Ok(true));
}

/// Two processes see all of it, and the operator gets each event once.
#[test]
fn after_five_days_without_a_success_a_webhook_is_inactive_and_its_deliveries_end() {
    simulation::run_for(MONTH, async {
        let world = observed_world(DEFAULT);
        let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let begin = Timestamp::now();
        let (one, other) = (world.process(), world.process());
        probe_for_days(&one, 6);
        probe_for_days(&other, 6);
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(publish(&one).await.expect("published"));
            sleep(seconds(3 * HOUR)).await;
            if Timestamp::now() < begin.plus(seconds(119 * HOUR)) {
                assert!(world.shown(webhook).await.is_active());
            }
        }
        // 120 hours have passed; the next attempt that fails is soon.
        sleep(seconds(3 * HOUR)).await;
        let shown = world.shown(webhook).await;
        assert!(!shown.is_active());
        let disabled = shown.disabled().expect("disabled");
        assert_eq!(disabled.reason, DisabledReason::Failing);
        assert!(disabled.at.distance(begin) >= seconds(120 * HOUR));
        let mut suppressed = 0;
        for id in ids {
            let delivery = world.delivery(id, webhook).await;
            assert_ne!(delivery.status, DeliveryStatus::Pending, "{delivery:?}");
            if delivery.status == DeliveryStatus::Suppressed {
                assert_eq!(delivery.reason, Some(DeliveryReason::WebhookInactive));
                suppressed += 1;
            }
        }
        assert!(suppressed > 10, "{suppressed}");
        let attempts = world.sent_to(webhook).len();
        let next = publish(&one).await.expect("published");
        let delivery = world.delivery(next, webhook).await;
        assert_eq!(delivery.reason, Some(DeliveryReason::WebhookInactive));
        assert_eq!(world.sent_to(webhook).len(), attempts);

        let events = operational(&world).await;
        let of = |name: &str| -> Vec<&serde_json::Value> {
            let named = events.iter().filter(|(event_type, _)| event_type == name);
            named.map(|(_, data)| data).collect()
        };
        let [failing] = of("webhook.failing")[..] else {
            panic!("{events:?}");
        };
        assert_eq!(failing["applicationId"], "shop");
        assert_eq!(failing["webhookId"], serde_json::json!(webhook));
        assert_eq!(failing["url"], format!("https://{webhook}.example.com/"));
        let since = moment(&failing["failingSince"]);
        assert!(since.distance(begin) < seconds(1));
        let will = moment(&failing["willBeDisabledAt"]);
        assert_eq!(will, since.plus(seconds(120 * HOUR)));
        let [ended] = of("webhook.disabled")[..] else {
            panic!("{events:?}");
        };
        assert_eq!(moment(&ended["disabledAt"]), disabled.at);
        assert_eq!(ended["disabledReason"], "failing");
        assert_eq!(moment(&ended["failingSince"]), since);
        assert!(of("webhook.recovered").is_empty());
    });
}

/// The table of cases in `model::condition`, as it happens: neither a single failure nor two are enough,
/// and three events that all fail are.
#[test]
fn a_webhook_with_an_event_a_week_is_inactive_when_the_third_one_fails() {
    simulation::run_for(MONTH, async {
        let world = World::new(DEFAULT);
        let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let process = world.process();
        probe_for_days(&process, 22);
        for week in 1..=3 {
            assert!(world.shown(webhook).await.is_active(), "week {week}");
            publish(&process).await.expect("published");
            sleep(seconds(12 * HOUR)).await;
            assert_eq!(
                world.shown(webhook).await.is_active(),
                week < 3,
                "week {week}"
            );
            sleep(seconds(7 * 24 * HOUR - 12 * HOUR)).await;
        }
        // Probes come so seldom here that the first two have had a few less than ten each.
        let sent = world.sent_to(webhook).len();
        assert!((20..=23).contains(&sent), "{sent}");
    });
}

#[test]
fn a_webhook_that_takes_one_event_in_a_while_is_never_inactive() {
    simulation::run_for(MONTH, async {
        let world = observed_world("0,5,300");
        // Of 12 attempts one succeeds.
        let answer = |before: usize| {
            let succeeds = (before + 1).is_multiple_of(12);
            (AT_ONCE, Some(if succeeds { 200 } else { 500 }))
        };
        let webhook = world.webhook(answer).await;
        let process = world.process();
        probe_for_days(&process, 14);
        for _ in 0..14 * 8 {
            publish(&process).await.expect("published");
            sleep(seconds(3 * HOUR)).await;
        }
        assert!(world.sent_to(webhook).len() > 200);
        assert!(world.shown(webhook).await.is_active());
        assert!(!types(&world).await.contains(&"webhook.failing".to_owned()));
    });
}

#[test]
fn one_that_works_again_after_a_day_has_recovered_once() {
    simulation::run_for(MONTH, async {
        let world = observed_world("0,7200,7200,7200");
        let works_from = Timestamp::now().plus(seconds(40 * HOUR));
        let answer = move |_| {
            let works = Timestamp::now() >= works_from;
            (AT_ONCE, Some(if works { 200 } else { 500 }))
        };
        let webhook = world.webhook(answer).await;
        let (one, other) = (world.process(), world.process());
        probe_for_days(&one, 4);
        probe_for_days(&other, 4);
        for _ in 0..48 {
            publish(&one).await.expect("published");
            publish(&other).await.expect("published");
            sleep(seconds(HOUR)).await;
        }
        let events = operational(&world).await;
        let events: Vec<_> = events
            .iter()
            .filter(|(event_type, _)| event_type != "delivery.exhausted")
            .collect();
        let [(failing, first), (recovered, data)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(
            (&failing[..], &recovered[..]),
            ("webhook.failing", "webhook.recovered")
        );
        assert_eq!(data["failingSince"], first["failingSince"]);
        assert!(moment(&data["recoveredAt"]) >= works_from);
        assert_eq!(
            world
                .shown(webhook)
                .await
                .rotations
                .condition
                .failing_since(),
            None
        );

        // The next time is another one.
        assert!(world.shown(webhook).await.is_active());
    });
}

/// Within the hours of the clock, and once for all processes.
#[test]
fn deliveries_that_are_exhausted_are_known_once_an_hour() {
    simulation::run_for(MONTH, async {
        let world = observed_world("0,5");
        world.webhook(|_| (AT_ONCE, Some(500))).await;
        let (one, other) = (world.process(), world.process());
        // It is 08:00:00.
        for _ in 0..9 {
            publish(&one).await.expect("published");
            publish(&other).await.expect("published");
            sleep(seconds(600)).await;
        }
        let events = operational(&world).await;
        let exhausted = |(event_type, data): &(String, serde_json::Value)| {
            assert_eq!(event_type, "delivery.exhausted");
            assert_eq!(data["eventType"], "session.completed");
            assert_eq!(data["attemptCount"], 2);
            assert!(EventId::parse(data["eventId"].as_str().expect("an id")).is_some());
        };
        events.iter().for_each(exhausted);
        assert_eq!(events.len(), 2, "at 8 and at 9 o'clock");
    });
}

/// The process that makes the last attempt dies at each of its statements from then on.
#[test]
fn a_process_that_dies_beside_the_end_of_a_schedule_keeps_nothing_from_the_operator() {
    for outcome in [Outcome::CrashBefore, Outcome::CrashAfter] {
        for last in [2, 3] {
            simulation::run(async {
                let world = observed_world("0");
                let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
                let mut number = 0;
                // The publish, and then the operational event and the record.
                let dying = world.process_with(world.store.scheduled(Vec::new()), move |name| {
                    number += u32::from(["publish", "record"].contains(&name));
                    match number == last {
                        true => Fate { delay: 0, outcome },
                        false => Fate::default(),
                    }
                });
                let id = publish(&dying).await.expect("published");
                sleep(seconds(5)).await;
                assert_eq!(world.sent_to(webhook).len(), 1);
                probe_every(5, &world.process(), 200);
                sleep(seconds(200)).await;
                let delivery = world.delivery(id, webhook).await;
                assert_eq!(delivery.reason, Some(DeliveryReason::Exhausted));
                let types = types(&world).await;
                assert_eq!(types, ["delivery.exhausted"], "{outcome:?} at {last}");
            });
        }
    }
}

/// Where the event cannot be published, it is tried again, and the record does not wait for it.
#[test]
fn a_store_that_fails_at_the_end_of_a_schedule_keeps_nothing_from_the_operator() {
    simulation::run(async {
        let world = observed_world("0");
        let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let broken_until = Timestamp::now().plus(seconds(20));
        let store = world.store.process(move |_, key| {
            let is_broken = key.contains("platform") && Timestamp::now() < broken_until;
            let outcome = match is_broken {
                true => Outcome::FailsBefore,
                false => Outcome::Done,
            };
            Fate { delay: 0, outcome }
        });
        let id = publish(&world.process_with(store, |_| Fate::default())).await;
        let id = id.expect("published");
        sleep(seconds(1)).await;
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Failed);
        assert_eq!(types(&world).await, Vec::<String>::new());
        sleep(seconds(40)).await;
        assert_eq!(types(&world).await, ["delivery.exhausted"]);
    });
}

/// An event about them would fail as well, and so make the next one.
#[test]
fn what_happens_to_the_operators_own_webhooks_makes_no_events() {
    simulation::run_for(MONTH, async {
        let world = observed_world("0,5");
        let of_shop = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let operators = world
            .webhook_of(&platform(), |_| (AT_ONCE, Some(500)))
            .await;
        let process = world.process();
        probe_for_days(&process, 8);
        for hour in 0..7 * 24 {
            if hour == 48 {
                // Events about this one go on when the first one is inactive.
                world.webhook(|_| (AT_ONCE, Some(500))).await;
            }
            publish(&process).await.expect("published");
            sleep(seconds(HOUR)).await;
        }
        assert!(!world.shown(of_shop).await.is_active());
        let store = world.store.scheduled(Vec::new());
        let own = webhooks::webhook(&store, &platform(), operators).await;
        let own = own.expect("an answer").expect("a webhook");
        assert_eq!(
            own.disabled().map(|it| it.reason),
            Some(DisabledReason::Failing)
        );
        let events = operational(&world).await;
        for (_, data) in &events {
            assert_eq!(data["applicationId"], "shop");
        }
        let count = |name: &str| events.iter().filter(|(it, _)| it == name).count();
        assert_eq!(
            (count("webhook.failing"), count("webhook.disabled")),
            (2, 1)
        );
    });
}

#[test]
fn one_that_is_gone_ends_its_other_deliveries_too() {
    simulation::run(async {
        let world = observed_world("0,5,400,1800");
        let webhook = world.webhook(|_| (AT_ONCE, Some(410))).await;
        let process = world.process();
        let first = publish(&process).await.expect("published");
        probe(&process, 600);
        sleep(seconds(390)).await;
        let other = publish(&process).await.expect("published");
        sleep(seconds(150)).await;
        let delivery = world.delivery(first, webhook).await;
        assert_eq!(delivery.reason, Some(DeliveryReason::Gone));
        let delivery = world.delivery(other, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Suppressed);
        assert_eq!(delivery.reason, Some(DeliveryReason::WebhookInactive));
        let events = operational(&world).await;
        let [(event_type, data)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(event_type, "webhook.disabled");
        assert_eq!(data["disabledReason"], "gone");
        assert_eq!(data["failingSince"], serde_json::Value::Null);
    });
}

/// A store and a database in which a webhook of the shop has failed for six days: 30 attempts of 3 events.
async fn six_days_of_failures(world: &World) -> WebhookId {
    let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
    let ago = |days: u64| Timestamp::now().as_millis() - (days * 24 * HOUR * 1000) as i64;
    let key = keys::webhook(&shop(), webhook);
    let mut record: WebhookRecord = world.store.document(&key).expect("a webhook");
    record.created_at = Timestamp::from_millis(ago(10));
    let store = world.store.scheduled(Vec::new());
    store.set_document(&key, &record).await.expect("written");
    let database = world.events.scheduled(Vec::new());
    database.prepare().await.expect("the tables");
    let began = ago(6);
    world.events.rows(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 29)
         INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms, url,
           secret_fingerprints, http_status, error, response_truncated)
         SELECT printf('evt_0190%08x70008000000000000000', n % 3), '{webhook}', n, 'schedule',
           {began} + n * 1000, 5, '', '[]', 500, 'httpStatus', 0 FROM n"
    ));
    webhook
}

/// An event whose delivery is due in so many seconds.
async fn due_in(world: &World, webhook: WebhookId, secs: u64) -> EventId {
    let now = Timestamp::now();
    let event = NewEvent {
        id: EventId::generate(now),
        application_id: shop(),
        event_type: EventType::parse("session.completed").expect("a type"),
        body: "{}".to_owned(),
        occurred_at: now,
        created_at: now,
        deliver_before: None,
        idempotency: None,
        settle_at: now,
        deliveries: vec![NewDelivery {
            webhook_id: webhook,
            give_up_at: now.plus(seconds(100 * HOUR)),
            beginning: Beginning::Due(now.plus(seconds(secs))),
        }],
    };
    let database = world.events.scheduled(Vec::new());
    database.publish(&event).await.expect("published");
    event.id
}

/// A process that looks at a webhook dies at each of its operations in turn, or that operation fails: when
/// somebody finds what is left, the webhook becomes inactive, nothing is pending, and the operator knows
/// it once.
#[test]
fn who_dies_while_a_webhook_is_made_inactive_leaves_nothing_undone() {
    end_at_each_operation(Outcome::CrashAfter);
}

#[test]
fn what_fails_while_a_webhook_is_made_inactive_leaves_nothing_undone() {
    for outcome in [Outcome::FailsBefore, Outcome::FailsAfter] {
        end_at_each_operation(outcome);
    }
}

fn end_at_each_operation(ending: Outcome) {
    let mut deaths = 0;
    for dies_at in 0.. {
        let has_died = Rc::new(Cell::new(false));
        simulation::run(async {
            let world = observed_world("0,60,7200");
            let webhook = six_days_of_failures(&world).await;
            let about = About {
                application: shop(),
                webhook,
            };
            let pending = due_in(&world, webhook, 20).await;
            let count = Rc::new(Cell::new(0));
            let fate = move |count: &Cell<usize>, has_died: &Cell<bool>| {
                let number = count.get();
                count.set(number + 1);
                has_died.set(has_died.get() || number == dies_at);
                let is_dead = ending == Outcome::CrashAfter;
                let outcome = match number.cmp(&dies_at) {
                    Ordering::Less => Outcome::Done,
                    Ordering::Equal => ending,
                    Ordering::Greater if is_dead => Outcome::CrashBefore,
                    Ordering::Greater => Outcome::Done,
                };
                Fate { delay: 0, outcome }
            };
            let (c1, d1, c2, d2) = (count.clone(), has_died.clone(), count, has_died.clone());
            let store = world.store.process(move |_, _| fate(&c1, &d1));
            let dying = world.process_with(store, move |_| fate(&c2, &d2));
            dying.observe(about.clone(), Observed::Failed);
            sleep(seconds(10)).await;
            probe_every(5, &world.process(), 40);
            sleep(seconds(40)).await;
            let shown = world.shown(webhook).await;
            assert!(!shown.is_active(), "died at {dies_at}");
            let delivery = world.delivery(pending, webhook).await;
            assert_eq!(
                delivery.status,
                DeliveryStatus::Suppressed,
                "died at {dies_at}"
            );
            let events = types(&world).await;
            assert_eq!(events, ["webhook.disabled"], "died at {dies_at}");
        });
        if !has_died.get() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 10, "{deaths}");
}

fn late() -> impl Strategy<Value = Vec<Fate>> {
    proptest::collection::vec((0..=400_u64).prop_map(Fate::after), 0..40)
}

proptest! {
    #![proptest_config(schedules())]

    /// Its merchant makes it active while processes decide on what they read before: it stays so, and
    /// what is published from then on is delivered.
    #[test]
    fn who_decides_on_older_facts_does_not_overrule_its_merchant(
        fates in proptest::collection::vec((late(), late()), 3),
        at in 0..2500_u64,
    ) {
        simulation::run(async {
            let world = observed_world("0,5,300");
            let webhook = six_days_of_failures(&world).await;
            let processes: Vec<_> = fates
                .into_iter()
                .map(|(store, database)| {
                    let mut database = database.into_iter();
                    let decide = move |_: &str| database.next().unwrap_or_default();
                    world.process_with(world.store.scheduled(store), decide)
                })
                .collect();
            let about = About { application: shop(), webhook };
            for process in &processes {
                process.observe(about.clone(), Observed::Failed);
            }
            sleep(Duration::from_millis(at)).await;
            set_active(&world, webhook, false).await;
            set_active(&world, webhook, true).await;
            // Its endpoint works again.
            let url = format!("https://{webhook}.example.com/");
            let works: Endpoint = Rc::new(|_| (AT_ONCE, Some(200)));
            world.endpoints.borrow_mut().insert(url, (webhook, works));
            let calm = world.process();
            let id = publish(&calm).await.expect("published");
            probe(&calm, 30);
            sleep(seconds(30)).await;
            prop_assert!(world.shown(webhook).await.is_active());
            let delivery = world.delivery(id, webhook).await;
            prop_assert_eq!(delivery.status, DeliveryStatus::Succeeded);
            let disabled = types(&world).await;
            let disabled = disabled.iter().filter(|it| *it == "webhook.disabled").count();
            prop_assert!(disabled <= 1);
            Ok(())
        })?;
    }
}

/// What fails by this service's own fault, or is skipped, asks nothing.
#[test]
fn the_database_is_asked_seldom() {
    simulation::run_for(MONTH, async {
        let world = World::new("0,5");
        let fails = Rc::new(Cell::new(true));
        let answers = fails.clone();
        let answer = move |_| (AT_ONCE, Some(if answers.get() { 500 } else { 200 }));
        world.webhook(answer).await;
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let process = world.process_with(world.store.scheduled(Vec::new()), move |name| {
            count.set(count.get() + u32::from(name == "failures"));
            Fate::default()
        });
        for _ in 0..60 {
            publish(&process).await.expect("published");
            sleep(seconds(1)).await;
        }
        // It fails since just now: nothing changes for a day.
        assert_eq!(asked.get(), 1);
        fails.set(false);
        publish(&process).await.expect("published");
        sleep(seconds(1)).await;
        fails.set(true);
        for _ in 0..20 {
            publish(&process).await.expect("published");
            sleep(seconds(600)).await;
        }
        assert_eq!(asked.get(), 1);
    });
}
