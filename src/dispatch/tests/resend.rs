//! One more attempt that somebody asks for, in simulated time: beside the schedule, and whatever happens
//! to the process that makes it.

use super::*;
use crate::dispatch::resend::Resent;
use crate::events::database::DeliveryKey;
use crate::model::delivery::{Attempt as Made, AttemptError};
use crate::store::recipients::Recipient;

/// Asks a process for one more attempt.
async fn resend(
    process: &Rc<Dispatcher>,
    event_id: EventId,
    webhook_id: WebhookId,
) -> Result<Resent, Fault> {
    let recipient = recipients::recipient(&process.store, &shop(), webhook_id).await?;
    let Recipient::Webhook(webhook) = recipient else {
        panic!("it is there");
    };
    let key = DeliveryKey {
        event_id,
        webhook_id,
    };
    process.resend(key, &webhook).await
}

/// As [`resend`], where the attempt is made.
async fn resent(process: &Rc<Dispatcher>, event: EventId, webhook: WebhookId) -> Made {
    match resend(process, event, webhook).await.expect("an answer") {
        Resent::Attempt(attempt) => *attempt,
        Resent::InFlight => panic!("in flight"),
        Resent::Erased => panic!("erased"),
        Resent::Missing => panic!("missing"),
    }
}

#[test]
fn a_failure_leaves_the_schedule_as_it_was() {
    simulation::run(async {
        let world = World::new("0,100,200");
        let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let process = world.process();
        let id = publish(&process).await.expect("published");
        probe(&process, 400);
        sleep(seconds(10)).await;
        let before = world.delivery(id, webhook).await;
        for number in 2..6 {
            let attempt = resent(&process, id, webhook).await;
            assert_eq!(
                (attempt.number, attempt.trigger, attempt.error),
                (
                    number,
                    AttemptTrigger::Resend,
                    Some(AttemptError::HttpStatus)
                )
            );
            let delivery = world.delivery(id, webhook).await;
            assert_eq!(delivery.next_attempt_at, before.next_attempt_at);
            assert_eq!(delivery.status, DeliveryStatus::Pending);
            assert_eq!(delivery.last_attempt, Some(attempt));
        }
        sleep(seconds(390)).await;
        let delivery = world.delivery(id, webhook).await;
        // All three steps were taken, each when it was due.
        assert_eq!(delivery.reason, Some(DeliveryReason::Exhausted));
        let attempts = delivery.attempts.expect("attempts");
        let scheduled = attempts
            .iter()
            .filter(|attempt| attempt.trigger == AttemptTrigger::Schedule);
        let scheduled: Vec<_> = scheduled.map(|it| (it.number, it.started_at)).collect();
        let [(1, first), (6, second), (7, third)] = scheduled[..] else {
            panic!("{scheduled:?}");
        };
        for (earlier, later, pause) in [(first, second, 100), (second, third, 200)] {
            let waited = later.distance(earlier);
            let latest = seconds(pause) * 11 / 10 + Duration::from_millis(20);
            assert!(seconds(pause) <= waited && waited <= latest, "{waited:?}");
        }
        // And one more after the last changes nothing either.
        resent(&process, id, webhook).await;
        let after = world.delivery(id, webhook).await;
        assert_eq!(
            (after.status, after.reason, after.completed_at),
            (delivery.status, delivery.reason, delivery.completed_at)
        );
    });
}

#[test]
fn a_success_completes_the_delivery_with_the_same_id() {
    simulation::run(async {
        let world = World::new("0,100,200");
        let answer = |before| (AT_ONCE, Some(if before == 0 { 500 } else { 204 }));
        let webhook = world.webhook(answer).await;
        let process = world.process();
        let id = publish(&process).await.expect("published");
        sleep(seconds(1)).await;
        let attempt = resent(&process, id, webhook).await;
        assert_eq!(attempt.http_status_code, Some(204));
        assert_eq!(attempt.error, None);
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.status, DeliveryStatus::Succeeded);
        assert_eq!(delivery.next_attempt_at, None);
        probe(&process, 400);
        sleep(seconds(400)).await;
        let sent = world.sent_to(webhook);
        assert_eq!(sent.len(), 2);
        assert!(sent.iter().all(|sent| sent.event == id.to_string()));
    });
}

/// The endpoint takes five seconds; the schedule's next attempt is due in the middle.
#[test]
fn while_one_is_under_way_no_other_begins() {
    simulation::run(async {
        let world = World::new("0,3,100");
        let webhook = world.webhook(|_| (seconds(5), Some(500))).await;
        let process = world.process();
        let other = world.process();
        probe(&other, 60);
        let id = publish(&process).await.expect("published");
        sleep(seconds(1)).await;
        // The first attempt is.
        let refused = resend(&other, id, webhook).await.expect("an answer");
        assert!(matches!(refused, Resent::InFlight));
        sleep(seconds(5)).await;
        let (first, second) = futures::future::join(resent(&process, id, webhook), async {
            sleep(seconds(1)).await;
            resend(&other, id, webhook).await.expect("an answer")
        })
        .await;
        assert_eq!(first.number, 2);
        assert!(matches!(second, Resent::InFlight));
        sleep(seconds(10)).await;
        let sent = world.sent_to(webhook);
        assert_eq!(sent.len(), 3, "{sent:?}");
        assert!(
            sent[2].at.distance(sent[1].at) >= seconds(5),
            "the schedule waits until it has ended: {sent:?}"
        );
    });
}

/// What a statement of a resend can do to it, and what is left of it.
#[test]
fn whatever_happens_to_its_process_the_schedule_goes_on() {
    for statement in ["begin-resend", "record"] {
        for outcome in [
            Outcome::FailsBefore,
            Outcome::FailsAfter,
            Outcome::CrashBefore,
            Outcome::CrashAfter,
        ] {
            let case = format!("{statement}: {outcome:?}");
            simulation::run(async {
                let world = World::new("0,100,200");
                let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
                let process = world.process();
                let id = publish(&process).await.expect("published");
                sleep(seconds(10)).await;
                let before = world.delivery(id, webhook).await;
                // The connection runs a statement again that failed, so both fail.
                let mut failures = 2;
                let store = world.store.scheduled(Vec::new());
                let dying = world.process_with(store, move |name| {
                    let fails = name == statement && failures > 0;
                    failures -= u32::from(fails);
                    let outcome = if fails { outcome } else { Outcome::Done };
                    Fate { delay: 0, outcome }
                });
                let answer: Rc<RefCell<Option<bool>>> = Rc::default();
                let noted = answer.clone();
                spawn(async move {
                    let asked = resend(&dying, id, webhook).await;
                    *noted.borrow_mut() = Some(asked.is_ok());
                });
                sleep(seconds(20)).await;
                let crashed = matches!(outcome, Outcome::CrashBefore | Outcome::CrashAfter);
                // What a process that died would have answered does not matter.
                let sent = *answer.borrow() == Some(true);
                assert!(crashed || sent == (statement == "record"), "{case}");

                // It is as it was, and the next one can be asked for once a claim of a dead process ended.
                let after = world.delivery(id, webhook).await;
                assert_eq!(after.next_attempt_at, before.next_attempt_at, "{case}");
                assert_eq!(after.status, DeliveryStatus::Pending, "{case}");
                let is_held = crashed
                    && (statement, outcome) != ("begin-resend", Outcome::CrashBefore)
                    && (statement, outcome) != ("record", Outcome::CrashAfter);
                let again = resend(&process, id, webhook).await.expect("an answer");
                assert_eq!(matches!(again, Resent::InFlight), is_held, "{case}");
                if is_held {
                    sleep(LEASE).await;
                    resent(&process, id, webhook).await;
                }

                probe_every(5, &process, 400);
                sleep(seconds(400)).await;
                let delivery = world.delivery(id, webhook).await;
                assert_eq!(delivery.reason, Some(DeliveryReason::Exhausted), "{case}");
                let attempts = delivery.attempts.expect("attempts");
                let of = |trigger| attempts.iter().filter(|it| it.trigger == trigger).count();
                assert_eq!(of(AttemptTrigger::Schedule), 3, "{case}: {attempts:?}");
                let resends = of(AttemptTrigger::Resend);
                let recorded = statement == "record" && outcome != Outcome::CrashBefore;
                assert_eq!(resends, 1 + usize::from(recorded), "{case}: {attempts:?}");
                let sent = world.sent_to(webhook);
                assert_eq!(sent.len(), 4 + usize::from(statement == "record"), "{case}");
            });
        }
    }
}

#[test]
fn an_endpoint_that_answers_it_gets_all_that_waits() {
    simulation::run(async {
        let world = World::new("0,3600");
        let back_at = Timestamp::now().plus(seconds(30));
        let webhook = world
            .webhook(move |_| match Timestamp::now() < back_at {
                true => (seconds(1), None),
                false => (AT_ONCE, Some(200)),
            })
            .await;
        let process = world.process();
        probe(&process, 40);
        let mut ids = Vec::new();
        for _ in 0..30 {
            ids.push(publish(&process).await.expect("published"));
        }
        let untried = async || {
            let mut untried = 0;
            for id in &ids {
                let delivery = world.delivery(*id, webhook).await;
                // Those whose own attempt failed follow their schedule.
                untried += usize::from(delivery.attempt_count == 0);
            }
            untried
        };
        // It was tried a few times, and is left alone for some seconds more.
        sleep(seconds(31)).await;
        assert!(untried().await > 20);
        assert_eq!(resent(&process, ids[0], webhook).await.error, None);
        sleep(seconds(1)).await;
        assert_eq!(untried().await, 0);
    });
}

#[test]
fn nothing_of_what_was_erased_is_sent() {
    simulation::run(async {
        let world = World::new("0,100");
        let webhook = world.webhook(|_| (AT_ONCE, Some(500))).await;
        let process = world.process();
        let id = publish(&process).await.expect("published");
        sleep(seconds(1)).await;
        let database = process.database();
        assert_eq!(
            database.erase(&shop(), id, Timestamp::now()).await,
            Ok(true)
        );
        let refused = resend(&process, id, webhook).await.expect("an answer");
        assert!(matches!(refused, Resent::Erased));
        let delivery = world.delivery(id, webhook).await;
        assert_eq!(delivery.reason, Some(DeliveryReason::DataErased));
        probe(&process, 200);
        sleep(seconds(200)).await;
        assert_eq!(world.sent_to(webhook).len(), 1);
        let other = EventId::generate(Timestamp::now());
        let missing = resend(&process, other, webhook).await.expect("an answer");
        assert!(matches!(missing, Resent::Missing));
    });
}
