//! Recoveries in simulated time: their pace, what stops them, and processes that die in between.
//!
//! Long because each way in which a recovery ends or goes on has a schedule of its own.

use super::*;
use crate::dispatch::recovery::BACKLOG;
use crate::events::claim::ClaimToken;
use crate::events::database::{ClaimedRecovery, NewRecovery, Recoveries, RecoveryBegun, Selection};
use crate::events::value::Value;
use crate::model::ids::RecoveryId;
use crate::model::recovery::{Recovery, RecoveryKind, RecoveryStatus, SkippedByReason, StopReason};

/// A recovery of all that there is of a webhook.
fn new_recovery(dispatcher: &Dispatcher, webhook: WebhookId, per_minute: u32) -> NewRecovery {
    let now = Timestamp::now();
    let after = Timestamp::from_millis(0);
    let selection = Selection {
        application_id: shop(),
        webhook_id: webhook,
        first: dispatcher.first_recoverable(after, now),
        end: EventId::first_at(now),
        include: RecoveryKind::ALL.to_vec(),
        types: None,
        missing_types: None,
    };
    NewRecovery {
        claimed: ClaimedRecovery {
            recovery: Recovery {
                id: RecoveryId::generate(now),
                webhook_id: webhook,
                status: RecoveryStatus::Matching,
                reason: None,
                after,
                before: now,
                include: selection.include.clone(),
                types: None,
                per_minute,
                matched: None,
                queued: 0,
                skipped: 0,
                skipped_by_reason: SkippedByReason::default(),
                created_at: now,
                completed_at: None,
            },
            token: ClaimToken::generate(),
            position: selection.beginning().expect("a beginning"),
            selection,
        },
        until: Dispatcher::recovery_lease(now),
        idempotency: None,
    }
}

/// Begins a recovery; returns its id, and how many it takes.
async fn recover(
    dispatcher: &Rc<Dispatcher>,
    webhook: WebhookId,
    per_minute: u32,
) -> (RecoveryId, u32) {
    let new = new_recovery(dispatcher, webhook, per_minute);
    let selection = &new.claimed.selection;
    let counted = dispatcher.count_recovery(selection).await.expect("a count");
    let (begun, matched) = dispatcher.begin_recovery(&new).await.expect("an answer");
    assert_eq!((begun, matched), (RecoveryBegun::New, Some(counted)));
    (new.claimed.recovery.id, counted)
}

async fn read(world: &World, webhook: WebhookId, id: RecoveryId) -> Recovery {
    let database = world.events.scheduled(Vec::new());
    let recovery = database.recovery(&shop(), webhook, id).await;
    recovery.expect("an answer").expect("a recovery")
}

/// A webhook that refused so many events, one a second, and takes them from now on.
async fn with_failed(world: &World, count: usize) -> (WebhookId, Vec<EventId>) {
    let answer = move |before| (AT_ONCE, Some(if before < count { 500 } else { 200 }));
    let webhook = world.webhook(answer).await;
    let process = world.process();
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(publish(&process).await.expect("published"));
        sleep(seconds(1)).await;
    }
    for id in &ids {
        let delivery = world.delivery(*id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Failed);
    }
    (webhook, ids)
}

/// Makes so many suppressed deliveries of a webhook.
async fn fill(world: &World, webhook: WebhookId, count: usize) {
    let database = world.events.scheduled(Vec::new());
    database.prepare().await.expect("the tables");
    let now = Timestamp::now().as_millis() - 1_000_000;
    world.events.rows(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {count})
         INSERT INTO events (id, application_id, type, occurred_at, created_at, size_bytes, sha256, body)
         SELECT printf('evt_%012x70008000000000000000', {now} + n), 'shop', 'session.completed',
           {now} + n, {now} + n, 2, '', '{{}}' FROM n"
    ));
    world.events.rows(&format!(
        "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, reason, attempts,
           step, retry, give_up_at, created_at, completed_at)
         SELECT id, '{webhook}', 'shop', type, 'suppressed', 'webhookInactive', 0, 0, 0, created_at,
           created_at, created_at FROM events"
    ));
}

fn count(world: &World, sql: &str) -> i64 {
    match world.events.rows(sql)[..] {
        [ref row] => match row[..] {
            [Value::Integer(number)] => number,
            ref other => panic!("{other:?}"),
        },
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn what_failed_is_delivered_again_at_the_pace() {
    simulation::run(async {
        let world = World::new("0");
        let (webhook, ids) = with_failed(&world, 20).await;
        let process = world.process();
        let (id, matched) = recover(&process, webhook, 60).await;
        assert_eq!(matched, 20);
        probe(&process, 60);
        sleep(seconds(10)).await;
        let half = read(&world, webhook, id).await;
        assert_eq!(half.status, RecoveryStatus::Running);
        assert!((9..=11).contains(&half.queued), "{half:?}");
        sleep(seconds(30)).await;
        let done = read(&world, webhook, id).await;
        assert_eq!(
            (done.status, done.queued, done.skipped),
            (RecoveryStatus::Done, 20, 0)
        );
        let sent = world.sent_to(webhook).split_off(20);
        let waited = sent.windows(2).map(|two| two[1].at.distance(two[0].at));
        for waited in waited {
            let (least, most) = (Duration::from_millis(900), Duration::from_millis(1200));
            assert!((least..most).contains(&waited), "{waited:?}");
        }
        assert!(
            sent.iter()
                .map(|sent| sent.number)
                .all(|number| number == 2)
        );
        for event in ids {
            let delivery = world.delivery(event, webhook).await;
            assert_eq!(delivery.status, DeliveryStatus::Succeeded);
            let last = delivery.last_attempt.expect("an attempt");
            assert_eq!(last.trigger, AttemptTrigger::Recovery);
        }
    });
}

#[test]
fn an_event_that_is_missing_is_delivered() {
    simulation::run(async {
        let world = World::new("0,5");
        let process = world.process();
        let id = publish(&process).await.expect("published");
        sleep(seconds(30)).await;
        let webhook = world.webhook(|_| (AT_ONCE, Some(200))).await;
        let (_, matched) = recover(&process, webhook, 600).await;
        assert_eq!(matched, 1);
        sleep(seconds(2)).await;
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Succeeded);
        assert_eq!(delivery.attempt_count, 1);
    });
}

#[test]
fn it_stops_when_its_webhook_gets_nothing_any_more() {
    for (key, document, reason) in [
        (
            "settings",
            r#"{"url":"https://merchant.example.com/","isActive":false,"subscribedEvents":["*"],
                "updatedAt":"2026-01-15T08:00:00.000Z"}"#,
            StopReason::WebhookInactive,
        ),
        (
            "application",
            r#"{"isEnabled":false,"updatedAt":"2026-01-15T08:00:00.000Z"}"#,
            StopReason::ApplicationDisabled,
        ),
        ("deleted", "", StopReason::WebhookDeleted),
    ] {
        simulation::run(async {
            let world = World::new("0");
            let (webhook, ids) = with_failed(&world, 10).await;
            let process = world.process();
            let (id, _) = recover(&process, webhook, 60).await;
            probe(&process, 60);
            sleep(Duration::from_millis(3500)).await;
            match key {
                "settings" => world
                    .store
                    .put(&keys::webhook_settings(&shop(), webhook), document),
                "application" => {
                    world
                        .store
                        .put(&keys::application_settings(&shop()), document);
                }
                _ => {
                    let store = world.store.scheduled(Vec::new());
                    let key = keys::webhook(&shop(), webhook);
                    store.delete(&key).await.expect("deleted");
                }
            }
            sleep(seconds(20)).await;
            let stopped = read(&world, webhook, id).await;
            assert_eq!(
                (stopped.status, stopped.reason),
                (RecoveryStatus::Stopped, Some(reason))
            );
            assert!((3..=5).contains(&stopped.queued), "{stopped:?}");
            assert_eq!(stopped.skipped_by_reason.stopped, 10 - stopped.queued);
            assert_eq!(count(&world, "SELECT count(*) FROM recovery_items"), 0);
            // What it has not queued is as it was, for the next one.
            let last = world.delivery(ids[9], webhook).await;
            assert_eq!(last.status, DeliveryStatus::Failed);
        });
    }
}

#[test]
fn while_the_store_fails_it_waits_and_deliveries_go_on() {
    simulation::run(async {
        let world = World::new("0");
        let (webhook, _) = with_failed(&world, 5).await;
        let broken_until = Timestamp::now().plus(seconds(30));
        let store = world.store.process(move |_, key| {
            let is_broken = key.starts_with("webhook-secrets/") && Timestamp::now() < broken_until;
            let outcome = match is_broken {
                true => Outcome::FailsBefore,
                false => Outcome::Done,
            };
            Fate { delay: 0, outcome }
        });
        let process = world.process_with(store, |_| Fate::default());
        let (id, _) = recover(&process, webhook, 600).await;
        probe(&process, 60);
        sleep(seconds(20)).await;
        assert_eq!(read(&world, webhook, id).await.queued, 0);
        sleep(seconds(20)).await;
        let done = read(&world, webhook, id).await;
        assert_eq!((done.status, done.queued), (RecoveryStatus::Done, 5));
    });
}

/// Who begins a recovery waits five seconds at most for how many it takes. Whoever comes next finds out the
/// rest.
#[test]
fn a_recovery_that_takes_long_to_look_up_is_answered_after_five_seconds() {
    simulation::run(async {
        let world = World::new("0");
        let webhook = world.webhook(|_| (AT_ONCE, Some(200))).await;
        fill(&world, webhook, 12_000).await;
        let slow = world.process_with(world.store.scheduled(Vec::new()), |name| {
            Fate::after(if name == "add-unsuccessful" { 900 } else { 0 })
        });
        let new = new_recovery(&slow, webhook, 600);
        let began = Timestamp::now();
        let begun = slow.begin_recovery(&new).await;
        assert_eq!(begun, Ok((RecoveryBegun::New, None)));
        let took = Timestamp::now().distance(began);
        // The statement that was under way then is the last.
        assert!((seconds(5)..seconds(6)).contains(&took), "{took:?}");
        let id = new.claimed.recovery.id;
        let found = read(&world, webhook, id).await;
        assert_eq!(
            (found.status, found.matched),
            (RecoveryStatus::Matching, None)
        );
        probe(&world.process(), 10);
        sleep(seconds(10)).await;
        let found = read(&world, webhook, id).await;
        assert_eq!(found.status, RecoveryStatus::Running);
        assert_eq!(found.matched, Some(12_000));
    });
}

/// Events for another webhook, while a thousand deliveries are recovered as fast as it goes, for an
/// endpoint that takes four a second.
#[test]
fn a_slow_endpoint_holds_its_recovery_back_and_nobody_else() {
    simulation::run(async {
        let world = World::new("0,5,300");
        let slow = world.webhook(|_| (seconds(1), Some(200))).await;
        fill(&world, slow, 1_500).await;
        let other = world.webhook(|_| (AT_ONCE, Some(200))).await;
        let process = world.process();
        let (id, matched) = recover(&process, slow, 60_000).await;
        assert_eq!(matched, 1_500);
        probe(&process, 60);
        for _ in 0..20 {
            sleep(seconds(1)).await;
            let event = publish(&process).await.expect("published");
            let at = Timestamp::now();
            sleep(Duration::from_millis(100)).await;
            let sent = world.sent_to(other);
            let sent = sent.iter().find(|sent| sent.event == event.to_string());
            let late = sent.expect("it was sent").at.distance(at);
            assert!(late < Duration::from_millis(50), "{late:?}");
            let pending = count(
                &world,
                &format!(
                    "SELECT count(*) FROM deliveries WHERE next_at IS NOT NULL AND webhook_id = '{slow}'"
                ),
            );
            // A step, what is in flight, and new events.
            assert!(pending < i64::from(BACKLOG) + 200 + 4 + 21, "{pending}");
        }
        let running = read(&world, slow, id).await;
        assert_eq!(running.status, RecoveryStatus::Running);
        assert!(running.queued > BACKLOG, "{running:?}");
    });
}

/// The statements of a recovery, from its beginning to its end.
const STATEMENTS: [&str; 11] = [
    "begin-recovery",
    "unsuccessful-end",
    "add-unsuccessful",
    "missing-end",
    "add-missing",
    "advance-recovery",
    "start-recovery",
    "claim-recovery",
    "backlog",
    "queue-recovery",
    "end-recovery",
];

/// A recovery of six deliveries whose process meets `outcome` at a statement, for the `nth` time that it
/// makes it. Another process is there too.
fn disturbed(statement: &'static str, nth: usize, outcome: Outcome) {
    simulation::run(async {
        let case = format!("{statement} {nth} {outcome:?}");
        let world = World::new("0");
        let (webhook, ids) = with_failed(&world, 6).await;
        let mut made = 0;
        let process = world.process_with(world.store.scheduled(Vec::new()), move |name| {
            made += usize::from(name == statement);
            let is_it = name == statement && made == nth;
            made += usize::from(is_it);
            let outcome = if is_it { outcome } else { Outcome::Done };
            Fate { delay: 0, outcome }
        });
        let new = new_recovery(&process, webhook, 120);
        let id = new.claimed.recovery.id;
        spawn({
            let process = process.clone();
            async move {
                let _ = process.begin_recovery(&new).await;
            }
        });
        probe(&process, 10);
        sleep(seconds(2)).await;
        let other = world.process();
        probe_every(5, &other, 100);
        sleep(seconds(80)).await;
        let begun = count(&world, "SELECT count(*) FROM recoveries");
        if begun == 0 {
            let before = [Outcome::FailsBefore, Outcome::CrashBefore];
            assert!(
                statement == "begin-recovery" && before.contains(&outcome),
                "{case}"
            );
            return;
        }
        let done = read(&world, webhook, id).await;
        assert_eq!(done.status, RecoveryStatus::Done, "{case}");
        assert_eq!(
            (done.matched, done.queued, done.skipped),
            (Some(6), 6, 0),
            "{case}"
        );
        let sent = world.sent_to(webhook).split_off(6);
        for event in ids {
            let delivery = world.delivery(event, webhook).await;
            assert_eq!(delivery.status, DeliveryStatus::Succeeded, "{case}");
            let sent = sent.iter().filter(|sent| sent.event == event.to_string());
            // An attempt that dies with its process is made again.
            let most = match outcome {
                Outcome::CrashBefore | Outcome::CrashAfter => 2,
                _ => 1,
            };
            assert!((1..=most).contains(&sent.count()), "{case}");
        }
    });
}

#[test]
fn whichever_statement_fails_it_ends_and_takes_each_once() {
    for statement in STATEMENTS {
        for nth in [1, 2] {
            disturbed(statement, nth, Outcome::FailsBefore);
            disturbed(statement, nth, Outcome::FailsAfter);
        }
    }
}

#[test]
fn it_outlives_the_process_that_carries_it_on() {
    for statement in STATEMENTS {
        for nth in [1, 2] {
            disturbed(statement, nth, Outcome::CrashBefore);
            disturbed(statement, nth, Outcome::CrashAfter);
        }
    }
}
