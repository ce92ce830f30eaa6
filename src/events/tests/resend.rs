//! Attempts that somebody asks for, beside the schedule.

use super::*;
use crate::events::database::{DeliveryKey, Resend, ResendBegun};
use crate::model::delivery::{DeliveryReason, DeliveryStatus};

on_both! {
    a_resend_leaves_the_schedule_as_it_was,
    nothing_else_begins_while_an_attempt_is_under_way,
    a_resend_that_was_cut_off_is_no_obstacle,
    a_resend_that_is_repeated_begins_once,
    a_resend_without_an_attempt_ends_at_once,
    nothing_that_was_erased_is_resent,
}

fn resend_at(seconds: i64, event_id: EventId, number: u8) -> Resend {
    Resend {
        key: DeliveryKey {
            event_id,
            webhook_id: hook(number),
        },
        token: ClaimToken::generate(),
        now: at(seconds),
        until: at(seconds + 60),
    }
}

async fn begin(database: &SqlDatabase, resend: &Resend) -> ClaimedDelivery {
    match database.begin_resend(resend).await.expect("it is begun") {
        ResendBegun::Begun(claimed) => *claimed,
        ResendBegun::InFlight => panic!("it is in flight"),
        ResendBegun::Erased => panic!("it is erased"),
        ResendBegun::Missing => panic!("it is missing"),
    }
}

fn resent(claimed: &ClaimedDelivery, succeeded_at: Option<Timestamp>, seconds: i64) -> Record {
    let error = succeeded_at.is_none().then_some(AttemptError::HttpStatus);
    Record {
        held: claimed.held.clone(),
        attempt: Some(attempt(claimed.trigger, seconds, error)),
        effect: Effect::Resent { succeeded_at },
    }
}

async fn a_resend_leaves_the_schedule_as_it_was(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let first = claim_one(database, 0).await;
    recorded(database, &first, FAILED, 0).await;
    let before = database.delivery(id, hook(1)).await.unwrap().unwrap();
    let again = begin(database, &resend_at(1, id, 1)).await;
    assert_eq!(
        (again.held.number, again.trigger),
        (2, AttemptTrigger::Resend)
    );
    assert_eq!(
        database.record(&[resent(&again, None, 1)]).await,
        Ok(Vec::new())
    );
    let after = database.delivery(id, hook(1)).await.unwrap().unwrap();
    assert_eq!(after.next_attempt_at, before.next_attempt_at);
    assert_eq!(
        (after.status, after.attempt_count),
        (DeliveryStatus::Pending, 2)
    );
    let scheduled = claim_one(database, 5).await;
    assert_eq!((scheduled.held.number, scheduled.progress.step), (3, 2));
    assert_eq!(scheduled.trigger, AttemptTrigger::Schedule);
    recorded(database, &scheduled, FAILED, 6).await;

    // A success completes it; a later failure does not change that.
    let good = begin(database, &resend_at(10, id, 1)).await;
    assert_eq!(
        database.record(&[resent(&good, Some(at(11)), 11)]).await,
        Ok(Vec::new())
    );
    let done = database.delivery(id, hook(1)).await.unwrap().unwrap();
    assert_eq!(
        (done.status, done.completed_at),
        (DeliveryStatus::Succeeded, Some(at(11)))
    );
    assert!(claim(database, &claim_at(100_000)).await.is_empty());
    for succeeded in [None, Some(at(21))] {
        let more = begin(database, &resend_at(20, id, 1)).await;
        let lost = database.record(&[resent(&more, succeeded, 21)]).await;
        assert_eq!(lost, Ok(Vec::new()));
        let same = database.delivery(id, hook(1)).await.unwrap().unwrap();
        assert_eq!(
            (same.status, same.completed_at),
            (DeliveryStatus::Succeeded, Some(at(11)))
        );
    }

    // What was given up stays so after a failure, and is completed by a success.
    let id = publish(database, &event_for(30, &[2])).await;
    let suppressed = DeliveryReason::WebhookInactive;
    assert_eq!(
        database
            .suppress(hook(2), suppressed, at(31), at(31), 9)
            .await,
        Ok(1)
    );
    for (succeeded, expected) in [
        (None, (DeliveryStatus::Suppressed, Some(suppressed))),
        (Some(at(32)), (DeliveryStatus::Succeeded, None)),
    ] {
        let more = begin(database, &resend_at(32, id, 2)).await;
        let lost = database.record(&[resent(&more, succeeded, 32)]).await;
        assert_eq!(lost, Ok(Vec::new()));
        let now = database.delivery(id, hook(2)).await.unwrap().unwrap();
        assert_eq!((now.status, now.reason), expected);
    }
    let missing = database.begin_resend(&resend_at(40, id, 7)).await;
    assert!(matches!(missing, Ok(ResendBegun::Missing)));
}

async fn nothing_else_begins_while_an_attempt_is_under_way(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let scheduled = claim_one(database, 0).await;
    let refused = database.begin_resend(&resend_at(59, id, 1)).await;
    assert!(matches!(refused, Ok(ResendBegun::InFlight)));
    recorded(database, &scheduled, FAILED, 59).await;
    let resend = begin(database, &resend_at(60, id, 1)).await;
    let refused = database.begin_resend(&resend_at(60, id, 1)).await;
    assert!(matches!(refused, Ok(ResendBegun::InFlight)));
    assert!(claim(database, &claim_at(119)).await.is_empty());
    assert_eq!(
        database.record(&[resent(&resend, None, 119)]).await,
        Ok(Vec::new())
    );
    claim_one(database, 119).await;
}

async fn a_resend_that_was_cut_off_is_no_obstacle(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let cut_off = begin(database, &resend_at(0, id, 1)).await;
    let next = claim_one(database, 60).await;
    assert_eq!(
        (next.held.number, next.trigger),
        (2, AttemptTrigger::Uncertain)
    );
    let lost = database.record(&[resent(&cut_off, Some(at(61)), 61)]).await;
    assert_eq!(lost, Ok(vec![cut_off.held.key]));
    // And one of a delivery whose claim was lost may begin.
    let again = begin(database, &resend_at(120, id, 1)).await;
    assert_eq!(again.held.number, 3);
    assert_eq!(
        database.record(&[resent(&again, Some(at(121)), 121)]).await,
        Ok(Vec::new())
    );
    let lost = database.record(&[record(&next, FAILED, 122)]).await;
    assert_eq!(lost, Ok(vec![next.held.key]));
    assert_eq!(status(database, id, 1).await, DeliveryStatus::Succeeded);
}

/// A statement that met a broken connection is run again, and may have taken effect.
async fn a_resend_that_is_repeated_begins_once(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let resend = resend_at(0, id, 1);
    let first = begin(database, &resend).await;
    let again = begin(database, &resend).await;
    assert_eq!(again.held, first.held);
    let refused = database.begin_resend(&resend_at(0, id, 1)).await;
    assert!(matches!(refused, Ok(ResendBegun::InFlight)));
    let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
    assert_eq!(delivery.attempt_count, 1);
}

/// Nothing was sent: the schedule goes on, and says of no attempt that it is uncertain.
async fn a_resend_without_an_attempt_ends_at_once(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let resend = begin(database, &resend_at(0, id, 1)).await;
    let record = Record {
        attempt: None,
        ..resent(&resend, None, 0)
    };
    for _ in 0..2 {
        assert!(database.record(std::slice::from_ref(&record)).await.is_ok());
    }
    let next = claim_one(database, 0).await;
    assert_eq!(
        (next.held.number, next.trigger),
        (2, AttemptTrigger::Schedule)
    );
    let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
    assert_eq!(delivery.attempts, Some(Vec::new()));
}

async fn nothing_that_was_erased_is_resent(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    let resend = begin(database, &resend_at(0, id, 1)).await;
    assert_eq!(database.erase(&shop(), id, at(1)).await, Ok(true));
    // One that was under way keeps no response.
    let recorded = database.record(&[resent(&resend, Some(at(2)), 2)]).await;
    assert_eq!(recorded, Ok(Vec::new()));
    let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
    let last = delivery.last_attempt.expect("an attempt");
    assert_eq!((last.number, last.response_body), (1, None));
    assert_eq!(delivery.status, DeliveryStatus::Succeeded);

    let refused = database.begin_resend(&resend_at(3, id, 1)).await;
    assert!(matches!(refused, Ok(ResendBegun::Erased)));
    let missing = database.begin_resend(&resend_at(3, id, 2)).await;
    assert!(matches!(missing, Ok(ResendBegun::Missing)));
}
