//! What is due is claimed by one, recorded once, and comes back when it is lost.

use super::*;
use crate::events::database::{NextDue, Postponement};
use crate::model::delivery::{DeliveryReason, DeliveryStatus};

on_both! {
    a_claim_takes_what_is_due_and_holds_it,
    a_claim_that_is_lost_comes_back_and_is_uncertain,
    first_attempts_come_before_retries,
    no_webhook_fills_a_batch,
    a_record_ends_its_claim,
    a_record_can_be_repeated,
    a_record_without_its_claim_changes_no_state,
    a_step_without_a_request_gives_its_number_back,
    a_text_with_a_nul_is_recorded,
    a_release_undoes_its_claim,
    a_renewed_claim_is_held_longer,
    a_black_hole_is_moved_back_and_probed,
    a_webhooks_deliveries_are_suppressed_but_for_those_that_are_held,
    what_is_due_next_is_known,
}

async fn a_claim_takes_what_is_due_and_holds_it(database: &SqlDatabase) {
    let mut event = event_for(100, &[1]);
    event.deliver_before = Some(at(9000));
    publish(database, &event).await;
    assert!(claim(database, &claim_at(99)).await.is_empty());
    let claimed = claim_one(database, 100).await;
    assert_eq!(claimed.held.key.event_id, event.id);
    assert_eq!((claimed.held.number, claimed.progress.step), (1, 1));
    assert_eq!(claimed.body.as_ref(), Some(&event.body));
    assert_eq!(
        (claimed.application_id, claimed.event_type),
        (shop(), event.event_type)
    );
    assert_eq!(claimed.trigger, AttemptTrigger::Schedule);
    assert_eq!(claimed.progress.give_up_at, at(300_100));
    assert_eq!(claimed.progress.deliver_before, Some(at(9000)));
    assert_eq!(claimed.progress.gone_at, None);
    assert!(claim(database, &claim_at(159)).await.is_empty());
}

async fn a_claim_that_is_lost_comes_back_and_is_uncertain(database: &SqlDatabase) {
    publish(database, &event_for(0, &[1])).await;
    claim_one(database, 0).await;
    let second = claim_one(database, 60).await;
    assert_eq!((second.held.number, second.progress.step), (2, 2));
    assert_eq!(second.trigger, AttemptTrigger::Uncertain);
    // It stays so until an attempt has a record.
    database.release(&held(&[second]), at(61)).await.unwrap();
    let third = claim_one(database, 61).await;
    assert_eq!(
        (third.held.number, third.trigger),
        (2, AttemptTrigger::Uncertain)
    );
    recorded(database, &third, FAILED, 62).await;
    let fourth = claim_one(database, 10_000).await;
    assert_eq!(
        (fourth.held.number, fourth.trigger),
        (3, AttemptTrigger::Schedule)
    );
}

async fn first_attempts_come_before_retries(database: &SqlDatabase) {
    let old = publish(database, &event_for(0, &[1])).await;
    let claimed = claim_one(database, 0).await;
    recorded(database, &claimed, FAILED, 0).await;
    let new = publish(database, &event_for(50, &[1])).await;
    for (order, expected) in [(ClaimOrder::FirstAttempts, new), (ClaimOrder::Due, old)] {
        let only = Claim {
            limit: 1,
            order,
            ..claim_at(60)
        };
        let claimed = claim(database, &only).await;
        assert_eq!(claimed.len(), 1);
        assert_eq!(claimed[0].held.key.event_id, expected, "{order:?}");
        database
            .release(&held(&claimed), at(if expected == new { 50 } else { 5 }))
            .await
            .unwrap();
    }
}

async fn no_webhook_fills_a_batch(database: &SqlDatabase) {
    for seconds in 0..20 {
        publish(database, &event_for(seconds, &[1])).await;
    }
    publish(database, &event_for(30, &[2, 3])).await;
    let fair = Claim {
        limit: 8,
        limit_per_webhook: 3,
        except: vec![hook(3)],
        ..claim_at(40)
    };
    let claimed = claim(database, &fair).await;
    let hooks: Vec<_> = claimed.iter().map(|one| one.held.key.webhook_id).collect();
    assert_eq!(hooks, [hook(1), hook(1), hook(1), hook(2)]);
    // The oldest of the webhook's.
    assert_eq!(
        claimed[2].held.key.event_id.to_string()[..12],
        EventId::first_at(at(2)).to_string()[..12]
    );
    // Those that are under way count.
    let taken = Claim {
        taken: vec![(hook(1), 2), (hook(3), 5)],
        limit_per_webhook: 3,
        ..claim_at(40)
    };
    let claimed = claim(database, &taken).await;
    let hooks: Vec<_> = claimed.iter().map(|one| one.held.key.webhook_id).collect();
    assert_eq!(hooks, [hook(1)]);
    // With that one left out, the others' turn comes however long its backlog is.
    let except = Claim {
        limit: 1,
        except: vec![hook(1)],
        ..claim_at(40)
    };
    let claimed = claim(database, &except).await;
    assert_eq!(claimed[0].held.key.webhook_id, hook(3));
}

async fn a_record_ends_its_claim(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1, 2])).await;
    let claimed = claim(database, &claim_at(0)).await;
    let [one, two] = &claimed[..] else {
        panic!("{} claimed", claimed.len());
    };
    let mut failed = record(two, FAILED, 3);
    if let Some(attempt) = &mut failed.attempt {
        attempt.retry_after_seconds = Some(9);
        attempt.response_body_truncated = true;
    }
    let records = [record(one, Outcome::Succeeded, 2), failed];
    assert_eq!(database.record(&records).await, Ok(Vec::new()));

    let first = database.delivery(id, hook(1)).await.unwrap().unwrap();
    assert_eq!(first.status, DeliveryStatus::Succeeded);
    assert_eq!(
        (first.completed_at, first.next_attempt_at),
        (Some(at(2)), None)
    );
    let second = database.delivery(id, hook(2)).await.unwrap().unwrap();
    assert_eq!(second.status, DeliveryStatus::Pending);
    assert_eq!(
        (second.completed_at, second.next_attempt_at),
        (None, Some(at(8)))
    );
    assert_eq!(second.attempts.as_ref().map(Vec::len), Some(1));
    let last = second.last_attempt.expect("an attempt");
    assert_eq!((last.number, last.trigger), (1, AttemptTrigger::Schedule));
    assert_eq!((last.started_at, last.duration_ms), (at(3), 7));
    assert_eq!(last.url, "https://merchant.example.com/");
    assert_eq!(last.secret_fingerprints, ["whsec_****abcd"]);
    assert_eq!(
        (last.http_status_code, last.error),
        (Some(500), Some(AttemptError::HttpStatus))
    );
    assert_eq!(last.response_body.as_deref(), Some("ok"));
    assert!(last.response_body_truncated);
    assert_eq!(
        (last.retry_after_seconds, last.next_attempt_at),
        (Some(9), Some(at(8)))
    );

    assert!(claim(database, &claim_at(7)).await.is_empty());
    let again = claim_one(database, 8).await;
    assert_eq!(again.held.key, two.held.key);
    assert_eq!((again.held.number, again.progress.step), (2, 2));
}

async fn a_record_can_be_repeated(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let claimed = claim_one(database, 0).await;
    let record = [record(&claimed, FAILED, 1)];
    assert_eq!(database.record(&record).await, Ok(Vec::new()));
    assert_eq!(database.record(&record).await, Ok(vec![claimed.held.key]));
    let again = claim_one(database, 6).await;
    assert_eq!(again.held.number, 2);
    assert_eq!(database.record(&record).await, Ok(vec![claimed.held.key]));
    assert!(claim(database, &claim_at(7)).await.is_empty());
    let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
    assert_eq!(delivery.attempts.map(|attempts| attempts.len()), Some(1));
    assert_eq!(database.record(&[]).await, Ok(Vec::new()));
}

async fn a_record_without_its_claim_changes_no_state(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let late = claim_one(database, 0).await;
    let holder = claim_one(database, 60).await;
    let lost = database
        .record(&[record(&late, Outcome::Succeeded, 61)])
        .await;
    assert_eq!(lost, Ok(vec![late.held.key]));
    assert_eq!(status(database, id, 1).await, DeliveryStatus::Pending);
    recorded(database, &holder, FAILED, 62).await;
    let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
    let numbers: Vec<_> = delivery
        .attempts
        .iter()
        .flatten()
        .map(|a| a.number)
        .collect();
    assert_eq!(numbers, [1, 2]);
    // A delivery that is no more has no record, and stops no other.
    publish(database, &event_for(70, &[1])).await;
    let other = claim_one(database, 70).await;
    assert_ne!(other.held.key.event_id, id);
    let mut gone = record(&other, Outcome::Succeeded, 71);
    gone.held.key.event_id = EventId::generate(at(1));
    let records = [gone, record(&other, Outcome::Succeeded, 71)];
    assert_eq!(database.record(&records).await, Ok(Vec::new()));
    assert_eq!(
        status(database, other.held.key.event_id, 1).await,
        DeliveryStatus::Succeeded
    );
}

async fn a_step_without_a_request_gives_its_number_back(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let claimed = claim_one(database, 0).await;
    let skipped = Record {
        attempt: None,
        ..record(&claimed, FAILED, 0)
    };
    assert_eq!(database.record(&[skipped]).await, Ok(Vec::new()));
    let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
    assert_eq!((delivery.attempt_count, delivery.last_attempt), (0, None));
    let next = claim_one(database, 5).await;
    assert_eq!((next.held.number, next.progress.step), (1, 2));
    assert_eq!(next.trigger, AttemptTrigger::Schedule);
}

async fn a_text_with_a_nul_is_recorded(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let claimed = claim_one(database, 0).await;
    let mut answered = record(&claimed, Outcome::Succeeded, 0);
    let attempt = answered.attempt.as_mut().expect("an attempt");
    attempt.response_body = Some("a\0\u{1}\"é\u{10ffff}".to_owned());
    assert_eq!(database.record(&[answered]).await, Ok(Vec::new()));
    let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
    let body = delivery.last_attempt.and_then(|last| last.response_body);
    assert_eq!(body.as_deref(), Some("a\u{fffd}\u{1}\"é\u{10ffff}"));
}

async fn a_release_undoes_its_claim(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let claimed = claim_one(database, 0).await;
    database.release(&held(&[claimed]), at(20)).await.unwrap();
    let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
    assert_eq!(
        (delivery.attempt_count, delivery.next_attempt_at),
        (0, Some(at(20)))
    );
    let first = claim_one(database, 20).await;
    assert_eq!((first.held.number, first.progress.step), (1, 1));
    assert_eq!(first.trigger, AttemptTrigger::Schedule);
    // A claim that was lost undoes nothing.
    let second = claim_one(database, 80).await;
    database.release(&held(&[first]), at(81)).await.unwrap();
    assert!(claim(database, &claim_at(82)).await.is_empty());
    recorded(database, &second, Outcome::Succeeded, 83).await;
    database.release(&[], at(84)).await.unwrap();
}

async fn a_renewed_claim_is_held_longer(database: &SqlDatabase) {
    publish(database, &event_for(0, &[1])).await;
    let claimed = claim_one(database, 0).await;
    let own = held(std::slice::from_ref(&claimed));
    let renewed = database.renew(&own, at(200)).await;
    assert_eq!(renewed, Ok(vec![claimed.held.key]));
    assert!(claim(database, &claim_at(199)).await.is_empty());
    claim_one(database, 200).await;
    assert_eq!(
        database.renew(&held(&[claimed]), at(900)).await,
        Ok(Vec::new())
    );
    assert_eq!(database.renew(&[], at(900)).await, Ok(Vec::new()));
}

async fn a_black_hole_is_moved_back_and_probed(database: &SqlDatabase) {
    let mut ids = Vec::new();
    for seconds in 0..4 {
        ids.push(publish(database, &event_for(seconds, &[1, 2])).await);
    }
    let flight = Claim {
        limit: 1,
        except: vec![hook(2)],
        ..claim_at(1)
    };
    let in_flight = claim(database, &flight).await;
    assert_eq!(in_flight[0].held.key.event_id, ids[0]);
    let back = Postponement {
        webhook_id: hook(1),
        now: at(10),
        probe_at: at(30),
        until: at(50),
        limit: 10,
    };
    assert_eq!(database.postpone(back).await, Ok(3));
    let due = |claimed: Vec<ClaimedDelivery>| {
        let due = claimed.into_iter().map(|one| one.held.key);
        due.filter(|key| key.webhook_id == hook(1))
            .map(|key| key.event_id)
            .collect::<Vec<_>>()
    };
    let other = claim(database, &claim_at(29)).await;
    assert_eq!(other.len(), 4);
    assert_eq!(due(other), []);
    let probe = claim_one(database, 30).await;
    assert_eq!(probe.held.key.event_id, ids[1]);
    assert_eq!(
        (probe.held.number, probe.trigger),
        (1, AttemptTrigger::Schedule)
    );
    // Of what is not due by itself, nothing is made due.
    recorded(database, &probe, FAILED, 31).await;
    assert_eq!(database.resume(hook(1), at(32), 10).await, Ok(2));
    assert_eq!(due(claim(database, &claim_at(32)).await), ids[2..]);
    // One that was lost on its way is postponed too, and stays uncertain.
    let lost = Postponement {
        now: at(62),
        limit: 1,
        ..back
    };
    assert_eq!(database.postpone(lost).await, Ok(1));
    let first = claim(
        database,
        &Claim {
            limit: 1,
            ..claim_at(61)
        },
    )
    .await;
    assert_eq!(
        (first[0].held.key.event_id, first[0].trigger),
        (ids[0], AttemptTrigger::Uncertain)
    );
}

async fn a_webhooks_deliveries_are_suppressed_but_for_those_that_are_held(database: &SqlDatabase) {
    let held = publish(database, &event_for(0, &[1])).await;
    let claimed = claim_one(database, 0).await;
    let (one, two) = (event_for(1, &[1, 2]), event_for(2, &[1]));
    publish(database, &one).await;
    publish(database, &two).await;
    let reason = DeliveryReason::WebhookDeleted;
    assert_eq!(
        database.suppress(hook(1), reason, at(9), at(9), 1).await,
        Ok(1)
    );
    assert_eq!(
        database.suppress(hook(1), reason, at(9), at(9), 10).await,
        Ok(1)
    );
    assert_eq!(
        database.suppress(hook(1), reason, at(9), at(9), 10).await,
        Ok(0)
    );
    for id in [one.id, two.id] {
        let ended = database.delivery(id, hook(1)).await.unwrap().unwrap();
        assert_eq!(
            (ended.status, ended.reason),
            (DeliveryStatus::Suppressed, Some(reason))
        );
        assert_eq!(
            (ended.completed_at, ended.next_attempt_at),
            (Some(at(9)), None)
        );
    }
    assert_eq!(status(database, one.id, 2).await, DeliveryStatus::Pending);
    recorded(database, &claimed, Outcome::Succeeded, 10).await;
    assert_eq!(status(database, held, 1).await, DeliveryStatus::Succeeded);
}

async fn what_is_due_next_is_known(database: &SqlDatabase) {
    assert_eq!(database.next_due().await, Ok(NextDue::default()));
    publish(database, &event_for(10, &[1])).await;
    publish(database, &event_for(20, &[1])).await;
    let next = |delivery, fan_out| NextDue {
        delivery: Some(at(delivery)),
        fan_out: Some(at(fan_out)),
        recovery: None,
    };
    assert_eq!(database.next_due().await, Ok(next(10, 15)));
    let claimed = claim_one(database, 10).await;
    assert_eq!(database.next_due().await, Ok(next(20, 15)));
    recorded(database, &claimed, FAILED, 10).await;
    assert_eq!(database.next_due().await, Ok(next(15, 15)));
}
