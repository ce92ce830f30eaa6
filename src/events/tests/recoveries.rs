//! Recoveries: what they take, what becomes of it, and who may carry them on.
//!
//! Long because the tests share how a recovery is begun and carried on.

use super::*;
use crate::events::database::{
    Added, ClaimedRecovery, DeliveryKey, NewRecovery, Position, QueueStep, Recoveries,
    RecoveryBegun, Resend, ResendBegun, Selection, Settlement,
};
use crate::model::delivery::DeliveryReason;
use crate::model::ids::RecoveryId;
use crate::model::recovery::{Recovery, RecoveryKind, RecoveryStatus, SkippedByReason, StopReason};

on_both! {
    it_takes_what_failed_was_suppressed_and_is_missing_of_its_window,
    a_page_at_a_time_finds_the_same,
    what_is_queued_begins_its_schedule_again,
    what_changed_meanwhile_is_skipped_and_counted,
    a_webhook_has_one_that_has_not_ended_and_a_key_is_used_once,
    who_lost_the_claim_adds_nothing_and_queues_nothing,
    one_that_is_stopped_queues_nothing_more,
    those_that_have_not_ended_are_a_figure,
    one_that_is_stopped_while_it_looks_takes_nothing,
    steps_come_at_the_pace_and_catch_up_with_one,
    what_waits_for_the_endpoint_is_counted,
    a_resend_under_way_is_not_doubled,
    old_ones_are_deleted_when_they_have_ended,
}

/// An event whose delivery for webhook 1 ended so.
async fn ended(database: &SqlDatabase, seconds: i64, status: DeliveryStatus) -> EventId {
    let event = event_for(seconds, &[1]);
    publish(database, &event).await;
    let others = Claim {
        except: vec![hook(2)],
        ..claim_at(seconds)
    };
    let claimed = claim(database, &others).await.remove(0);
    let reason = (status == DeliveryStatus::Failed).then_some(DeliveryReason::Exhausted);
    let mut record = record(&claimed, FAILED, seconds);
    record.effect = Effect::Scheduled(State {
        status,
        reason,
        step: 10,
        next_at: None,
        gone_at: Some(at(seconds)),
        completed_at: Some(at(seconds)),
    });
    assert_eq!(database.record(&[record]).await, Ok(Vec::new()));
    event.id
}

async fn failed(database: &SqlDatabase, seconds: i64) -> EventId {
    ended(database, seconds, DeliveryStatus::Failed).await
}

fn suppressed(seconds: i64) -> NewEvent {
    let mut event = event_for(seconds, &[1]);
    let reason = DeliveryReason::WebhookInactive;
    event.deliveries[0].beginning = Beginning::Suppressed(reason);
    event
}

/// Everything of webhook 1 from second 0 to second 100.
fn selection() -> Selection {
    Selection {
        application_id: shop(),
        webhook_id: hook(1),
        first: EventId::first_at(at(0)),
        end: EventId::first_at(at(100)),
        include: RecoveryKind::ALL.to_vec(),
        types: None,
        missing_types: None,
    }
}

/// A recovery that is begun at second 200, and held for 30 seconds.
fn new_recovery(selection: Selection) -> NewRecovery {
    let position = selection.beginning().expect("a beginning");
    NewRecovery {
        claimed: ClaimedRecovery {
            recovery: Recovery {
                id: RecoveryId::generate(at(200)),
                webhook_id: selection.webhook_id,
                status: RecoveryStatus::Matching,
                reason: None,
                after: at(0),
                before: at(100),
                include: selection.include.clone(),
                types: selection.types.clone(),
                per_minute: 600,
                matched: None,
                queued: 0,
                skipped: 0,
                skipped_by_reason: SkippedByReason::default(),
                created_at: at(200),
                completed_at: None,
            },
            token: ClaimToken::generate(),
            selection,
            position,
        },
        until: at(230),
        idempotency: None,
    }
}

async fn begin(database: &SqlDatabase, new: &NewRecovery) {
    let begun = database.begin_recovery(new).await;
    assert_eq!(begun, Ok(RecoveryBegun::New));
}

/// Looks up what a recovery takes, so many at a time; returns how many.
async fn look_up(database: &SqlDatabase, new: &NewRecovery, limit: u32) -> u32 {
    let mut position = new.claimed.position;
    loop {
        let added = database.add_matches(&new.claimed, position, limit, at(200), at(230));
        match added.await.expect("a page") {
            Added::Next(next) => position = next,
            Added::All => break,
            Added::Lost => panic!("it is held"),
        }
    }
    let started = database.start_recovery(&new.claimed, at(200)).await;
    started.expect("it starts").expect("it is held")
}

async fn count(database: &SqlDatabase, selection: &Selection, limit: u32) -> u32 {
    let (mut position, mut count) = (selection.beginning(), 0);
    while let Some(from) = position {
        let found = database.count_matches(selection, from, limit, at(200));
        let found = found.await.expect("a count");
        count += found.count;
        position = found.next;
    }
    count
}

/// A recovery of everything that knows what it takes.
async fn running(database: &SqlDatabase) -> NewRecovery {
    let new = new_recovery(selection());
    begin(database, &new).await;
    look_up(database, &new, 1000).await;
    new
}

async fn claimed(database: &SqlDatabase, seconds: i64) -> Option<ClaimedRecovery> {
    let token = ClaimToken::generate();
    let claimed = database.claim_recovery(token, at(seconds), at(seconds + 30));
    claimed.await.expect("a claim")
}

fn step(claimed: &ClaimedRecovery, seconds: i64, limit: u32) -> QueueStep {
    QueueStep {
        id: claimed.recovery.id,
        token: claimed.token.clone(),
        now: at(seconds),
        due_at: at(seconds),
        give_up_at: at(seconds + 5000),
        oldest: EventId::first_at(at(0)),
        interval_ms: 1000,
        limit,
    }
}

/// Claims the recovery and makes a step. Returns how many it took.
async fn queue(database: &SqlDatabase, seconds: i64, limit: u32) -> u32 {
    let claimed = claimed(database, seconds).await.expect("one is due");
    let step = step(&claimed, seconds, limit);
    database.queue_matches(&step).await.expect("a step")
}

async fn read(database: &SqlDatabase, new: &NewRecovery) -> Recovery {
    let id = new.claimed.recovery.id;
    let read = database.recovery(&shop(), hook(1), id).await;
    read.expect("it is read").expect("it is there")
}

async fn it_takes_what_failed_was_suppressed_and_is_missing_of_its_window(database: &SqlDatabase) {
    let inside = [failed(database, 0).await, failed(database, 99).await];
    let suppressed_one = publish(database, &suppressed(1)).await;
    let missing = publish(database, &event_for(2, &[2])).await;
    let mut other_type = event_for(3, &[]);
    other_type.event_type = event_type("session.expired");
    let other_type = publish(database, &other_type).await;
    // Not these: pending, succeeded, expired, erased, too late, another application's, and outside.
    let succeeded = ended(database, 4, DeliveryStatus::Succeeded).await;
    let expired = ended(database, 5, DeliveryStatus::Expired).await;
    let erased = [
        failed(database, 6).await,
        publish(database, &event_for(7, &[])).await,
    ];
    for id in erased {
        assert_eq!(database.erase(&shop(), id, at(8)).await, Ok(true));
    }
    for hooks in [&[1][..], &[]] {
        let mut late = suppressed(9);
        late.deliver_before = Some(at(200));
        late.deliveries.truncate(hooks.len());
        publish(database, &late).await;
    }
    let mut other = event_for(10, &[]);
    other.application_id = crate::model::ids::ApplicationId::parse("other").expect("an id");
    publish(database, &other).await;
    for outside in [-1, 100] {
        publish(database, &suppressed(outside)).await;
        publish(database, &event_for(outside, &[])).await;
    }
    let pending = publish(database, &event_for(50, &[1])).await;

    let kinds = |include: &[RecoveryKind]| Selection {
        include: include.to_vec(),
        ..selection()
    };
    let expired_only = Some(vec![event_type("session.expired")]);
    for (selection, expected) in [
        (selection(), 5),
        (kinds(&[RecoveryKind::Failed]), 2),
        (kinds(&[RecoveryKind::Suppressed]), 1),
        (kinds(&[RecoveryKind::Missing]), 2),
        (kinds(&[RecoveryKind::Missing, RecoveryKind::Failed]), 4),
        (
            Selection {
                types: expired_only.clone(),
                missing_types: expired_only.clone(),
                ..selection()
            },
            1,
        ),
        // Not subscribed to it now: what is there is taken, what is missing is not.
        (
            Selection {
                missing_types: Some(Vec::new()),
                ..selection()
            },
            3,
        ),
        (
            Selection {
                missing_types: expired_only,
                ..selection()
            },
            4,
        ),
    ] {
        assert_eq!(
            count(database, &selection, 1000).await,
            expected,
            "{selection:?}"
        );
        let new = new_recovery(selection);
        begin(database, &new).await;
        assert_eq!(look_up(database, &new, 1000).await, expected);
        let stopped =
            database.stop_recovery(new.claimed.recovery.id, StopReason::Requested, at(200));
        assert_eq!(stopped.await, Ok(true));
        let cleared = database.clear_recovery(new.claimed.recovery.id, 1000).await;
        assert_eq!(cleared, Ok(expected));
        assert_eq!(
            database
                .end_recovery(new.claimed.recovery.id, at(200))
                .await,
            Ok(true)
        );
    }

    running(database).await;
    assert_eq!(queue(database, 200, 1000).await, 5);
    for id in inside
        .into_iter()
        .chain([suppressed_one, missing, other_type, pending])
    {
        assert_eq!(status(database, id, 1).await, DeliveryStatus::Pending);
    }
    assert_eq!(
        status(database, succeeded, 1).await,
        DeliveryStatus::Succeeded
    );
    assert_eq!(status(database, expired, 1).await, DeliveryStatus::Expired);
    assert_eq!(status(database, erased[0], 1).await, DeliveryStatus::Failed);
    let none = database.delivery(erased[1], hook(1)).await;
    assert_eq!(none, Ok(None));
}

async fn a_page_at_a_time_finds_the_same(database: &SqlDatabase) {
    for second in 0..7 {
        failed(database, second).await;
        publish(database, &suppressed(second)).await;
        publish(database, &event_for(second, &[2])).await;
    }
    for limit in [1, 2, 7, 8, 100] {
        assert_eq!(count(database, &selection(), limit).await, 21, "{limit}");
    }
    let new = new_recovery(selection());
    begin(database, &new).await;
    // A page that is repeated, because nobody knows whether it was written, adds nothing.
    let position = new.claimed.position;
    let added = database.add_matches(&new.claimed, position, 2, at(200), at(230));
    assert!(matches!(added.await, Ok(Added::Next(_))));
    assert_eq!(look_up(database, &new, 2).await, 21);
    assert_eq!(read(database, &new).await.matched, Some(21));
}

async fn what_is_queued_begins_its_schedule_again(database: &SqlDatabase) {
    let failed = failed(database, 0).await;
    let missing = publish(database, &event_for(1, &[])).await;
    running(database).await;
    assert_eq!(queue(database, 300, 10).await, 2);
    for (id, attempts, created) in [(failed, 1, 0), (missing, 0, 300)] {
        let delivery = database.delivery(id, hook(1)).await.unwrap().unwrap();
        assert_eq!(delivery.status, DeliveryStatus::Pending);
        assert_eq!((delivery.reason, delivery.completed_at), (None, None));
        assert_eq!(delivery.attempt_count, attempts);
        assert_eq!(delivery.next_attempt_at, Some(at(300)));
        assert_eq!(delivery.give_up_at, at(5300));
        assert_eq!(delivery.created_at, at(created));
    }
    // New events go first.
    publish(database, &event_for(310, &[1])).await;
    let first = Claim {
        limit: 1,
        ..claim_at(310)
    };
    let first = claim(database, &first).await.remove(0);
    assert_eq!(first.trigger, AttemptTrigger::Schedule);
    let again = claim(database, &claim_at(310)).await;
    let numbers = again
        .iter()
        .map(|one| (one.held.key.event_id, one.held.number));
    assert!(numbers.eq([(failed, 2), (missing, 1)]));
    for one in &again {
        assert_eq!(one.trigger, AttemptTrigger::Recovery);
        assert_eq!((one.progress.step, one.progress.gone_at), (1, None));
        assert!(one.body.is_some());
        recorded(database, one, FAILED, 310).await;
        let state = database.delivery(one.held.key.event_id, hook(1)).await;
        let state = state.unwrap().unwrap();
        assert_eq!(state.next_attempt_at, Some(at(315)), "{state:?}");
    }
}

/// An attempt that somebody asks for, which succeeds.
async fn resend(database: &SqlDatabase, event_id: EventId, seconds: i64) {
    let resend = Resend {
        key: DeliveryKey {
            event_id,
            webhook_id: hook(1),
        },
        token: ClaimToken::generate(),
        now: at(seconds),
        until: at(seconds + 60),
    };
    let Ok(ResendBegun::Begun(claimed)) = database.begin_resend(&resend).await else {
        panic!("it is begun");
    };
    let mut record = record(&claimed, Outcome::Succeeded, seconds);
    record.effect = Effect::Resent {
        succeeded_at: Some(at(seconds)),
    };
    assert_eq!(database.record(&[record]).await, Ok(Vec::new()));
}

async fn what_changed_meanwhile_is_skipped_and_counted(database: &SqlDatabase) {
    let resent = failed(database, 10).await;
    let erased = failed(database, 11).await;
    let deleted = failed(database, 1).await;
    let old = failed(database, 5).await;
    let added = publish(database, &event_for(12, &[])).await;
    let mut late = suppressed(13);
    late.deliver_before = Some(at(250));
    publish(database, &late).await;
    let good = failed(database, 14).await;
    let new = running(database).await;
    assert_eq!(read(database, &new).await.matched, Some(7));

    resend(database, resent, 210).await;
    assert_eq!(database.erase(&shop(), erased, at(211)).await, Ok(true));
    assert_eq!(database.forget(at(2), 10).await, Ok(1));
    let settlement = Settlement {
        event_id: added,
        deliveries: vec![due(1, 212)],
        now: at(212),
    };
    assert_eq!(database.settle(&[settlement]).await, Ok(()));

    let held = claimed(database, 250).await.expect("one is due");
    let step = QueueStep {
        oldest: EventId::first_at(at(6)),
        ..step(&held, 250, 100)
    };
    assert_eq!(database.queue_matches(&step).await, Ok(7));
    assert_eq!(database.end_recovery(step.id, at(251)).await, Ok(true));
    let done = read(database, &new).await;
    assert_eq!(done.status, RecoveryStatus::Done);
    assert_eq!((done.queued, done.skipped), (1, 6));
    let skipped = SkippedByReason {
        succeeded: 1,
        pending: 1,
        expired: 1,
        data_erased: 1,
        event_deleted: 2,
        stopped: 0,
    };
    assert_eq!(done.skipped_by_reason, skipped);
    assert_eq!(done.completed_at, Some(at(251)));
    assert_eq!(status(database, good, 1).await, DeliveryStatus::Pending);
    assert_eq!(status(database, resent, 1).await, DeliveryStatus::Succeeded);
    assert_eq!(status(database, erased, 1).await, DeliveryStatus::Failed);
    assert_eq!(status(database, old, 1).await, DeliveryStatus::Failed);
    assert_eq!(database.delivery(deleted, hook(1)).await, Ok(None));
    assert!(claimed(database, 1000).await.is_none(), "nothing is left");
}

async fn a_webhook_has_one_that_has_not_ended_and_a_key_is_used_once(database: &SqlDatabase) {
    let with_key = |key: &str| {
        let mut new = new_recovery(selection());
        new.idempotency = Some(PublishKey {
            key: key.to_owned(),
            request_hash: format!("hash of {key}"),
        });
        new
    };
    let first = with_key("one");
    let id = first.claimed.recovery.id;
    begin(database, &first).await;
    // The same again, because nobody knows whether it took effect.
    begin(database, &first).await;
    assert_eq!(database.active_recovery(hook(1)).await, Ok(Some(id)));
    assert_eq!(database.active_recovery(hook(2)).await, Ok(None));
    let other = database.begin_recovery(&with_key("two")).await;
    assert_eq!(other, Ok(RecoveryBegun::Active(id)));
    let other = database.begin_recovery(&new_recovery(selection())).await;
    assert_eq!(other, Ok(RecoveryBegun::Active(id)));
    let of_another = Selection {
        webhook_id: hook(2),
        ..selection()
    };
    begin(database, &new_recovery(of_another)).await;

    look_up(database, &first, 10).await;
    assert_eq!(database.end_recovery(id, at(210)).await, Ok(true));
    assert_eq!(database.active_recovery(hook(1)).await, Ok(None));
    let Ok(RecoveryBegun::Earlier(earlier)) = database.begin_recovery(&with_key("one")).await
    else {
        panic!("the key was used");
    };
    assert_eq!(
        (earlier.recovery.id, &*earlier.request_hash),
        (id, "hash of one")
    );
    let found = database.recovery_with_key(hook(1), "one").await;
    assert_eq!(found, Ok(Some(earlier)));
    assert_eq!(database.recovery_with_key(hook(2), "one").await, Ok(None));
    begin(database, &with_key("two")).await;

    let other = crate::model::ids::ApplicationId::parse("other").expect("an id");
    assert_eq!(database.recovery(&other, hook(1), id).await, Ok(None));
    assert_eq!(database.recovery(&shop(), hook(2), id).await, Ok(None));
}

async fn who_lost_the_claim_adds_nothing_and_queues_nothing(database: &SqlDatabase) {
    for second in 0..5 {
        failed(database, second).await;
    }
    let lost = new_recovery(selection());
    begin(database, &lost).await;
    assert!(claimed(database, 229).await.is_none(), "it is held");
    let holder = claimed(database, 230).await.expect("its lease has ended");
    assert_eq!(holder.recovery, lost.claimed.recovery);
    assert_eq!(holder.selection, lost.claimed.selection);
    assert_eq!(holder.position, lost.claimed.position);
    let position = Position { ..holder.position };
    let added = database.add_matches(&lost.claimed, position, 2, at(231), at(261));
    assert_eq!(added.await, Ok(Added::Lost));
    assert_eq!(
        database.start_recovery(&lost.claimed, at(231)).await,
        Ok(None)
    );
    let holds = NewRecovery {
        claimed: holder,
        ..lost.clone()
    };
    assert_eq!(look_up(database, &holds, 2).await, 5, "nothing was added");

    let late = claimed(database, 300).await.expect("one is due");
    let next = claimed(database, 330).await.expect("its lease has ended");
    assert_eq!(database.queue_matches(&step(&late, 331, 3)).await, Ok(0));
    assert_eq!(database.put_off_recovery(&late, at(400)).await, Ok(()));
    assert_eq!(database.queue_matches(&step(&next, 331, 3)).await, Ok(3));
    // A step ends its claim.
    assert_eq!(database.queue_matches(&step(&next, 331, 3)).await, Ok(0));
    // What is late while it looks adds nothing once it is known.
    let added = database.add_matches(&holds.claimed, position, 100, at(331), at(361));
    assert!(matches!(added.await, Ok(Added::Next(_) | Added::Lost)));
    let recovery = read(database, &lost).await;
    assert_eq!((recovery.matched, recovery.queued), (Some(5), 3));
    assert_eq!(queue(database, 400, 10).await, 2);
}

/// How many look up what they take, and how many queue it, as the figures have it.
async fn active(database: &SqlDatabase) -> (u32, u32) {
    let found = database.gauges(at(250), None).await.expect("figures");
    (found.recoveries_matching, found.recoveries_running)
}

async fn those_that_have_not_ended_are_a_figure(database: &SqlDatabase) {
    failed(database, 0).await;
    assert_eq!(active(database).await, (0, 0));
    let new = new_recovery(selection());
    begin(database, &new).await;
    let other = new_recovery(Selection {
        webhook_id: hook(2),
        ..selection()
    });
    begin(database, &other).await;
    assert_eq!(active(database).await, (2, 0));
    look_up(database, &new, 10).await;
    assert_eq!(active(database).await, (1, 1));
    assert_eq!(queue(database, 200, 2).await, 1);
    let ended = database
        .end_recovery(new.claimed.recovery.id, at(201))
        .await;
    assert_eq!(ended, Ok(true));
    assert_eq!(active(database).await, (1, 0));
}

async fn one_that_is_stopped_queues_nothing_more(database: &SqlDatabase) {
    for second in 0..5 {
        failed(database, second).await;
    }
    let new = running(database).await;
    let id = new.claimed.recovery.id;
    assert_eq!(queue(database, 200, 2).await, 2);
    let held = claimed(database, 210).await.expect("one is due");
    let stop = |seconds| database.stop_recovery(id, StopReason::Requested, at(seconds));
    assert_eq!(stop(211).await, Ok(true));
    assert_eq!(database.queue_matches(&step(&held, 212, 2)).await, Ok(0));
    assert_eq!(stop(213).await, Ok(false));
    let stopped = read(database, &new).await;
    assert_eq!(stopped.status, RecoveryStatus::Stopped);
    assert_eq!(stopped.reason, Some(StopReason::Requested));
    assert_eq!(stopped.completed_at, Some(at(211)));
    assert_eq!((stopped.queued, stopped.skipped), (2, 3));
    assert_eq!(stopped.skipped_by_reason.stopped, 3);
    assert_eq!(active(database).await, (0, 0));

    // Another one can begin, and takes what this one left.
    assert_eq!(count(database, &selection(), 10).await, 3);
    assert_eq!(database.active_recovery(hook(1)).await, Ok(None));
    let cleaner = claimed(database, 220).await.expect("what is left of it");
    assert_eq!(cleaner.recovery, stopped);
    assert_eq!(database.clear_recovery(id, 2).await, Ok(2));
    assert_eq!(database.end_recovery(id, at(220)).await, Ok(false));
    assert_eq!(database.clear_recovery(id, 2).await, Ok(1));
    assert_eq!(database.end_recovery(id, at(220)).await, Ok(true));
    assert_eq!(read(database, &new).await, stopped);
    assert!(claimed(database, 1000).await.is_none());
}

async fn one_that_is_stopped_while_it_looks_takes_nothing(database: &SqlDatabase) {
    for second in 0..5 {
        failed(database, second).await;
    }
    let new = new_recovery(selection());
    begin(database, &new).await;
    let position = new.claimed.position;
    let added = database.add_matches(&new.claimed, position, 2, at(200), at(230));
    assert!(matches!(added.await, Ok(Added::Next(_))));
    let id = new.claimed.recovery.id;
    let stopped = database.stop_recovery(id, StopReason::Requested, at(201));
    assert_eq!(stopped.await, Ok(true));
    let added = database.add_matches(&new.claimed, position, 100, at(202), at(232));
    assert_eq!(
        added
            .await
            .map(|added| added == Added::Lost || added == Added::All),
        Ok(true)
    );
    assert_eq!(
        database.start_recovery(&new.claimed, at(202)).await,
        Ok(None)
    );
    let recovery = read(database, &new).await;
    assert_eq!(
        (recovery.matched, recovery.queued, recovery.skipped),
        (Some(2), 0, 2)
    );
    assert_eq!(database.clear_recovery(id, 100).await, Ok(2));
}

async fn steps_come_at_the_pace_and_catch_up_with_one(database: &SqlDatabase) {
    for second in 0..6 {
        failed(database, second).await;
    }
    running(database).await;
    let next = async || database.next_due().await.expect("an answer").recovery;
    assert_eq!(next().await, Some(at(200)));
    // In time, and a little late: the next one is a second after it was due.
    assert_eq!(queue(database, 200, 1).await, 1);
    assert_eq!(next().await, Some(at(201)));
    assert!(claimed(database, 200).await.is_none());
    assert_eq!(queue(database, 201, 1).await, 1);
    assert_eq!(next().await, Some(at(202)));
    // Much too late: one follows at once, and then they come at the pace.
    assert_eq!(queue(database, 300, 1).await, 1);
    assert_eq!(next().await, Some(at(300)));
    assert_eq!(queue(database, 300, 1).await, 1);
    assert_eq!(next().await, Some(at(301)));
    let held = claimed(database, 301).await.expect("one is due");
    assert_eq!(next().await, Some(at(331)), "its lease");
    assert_eq!(database.put_off_recovery(&held, at(302)).await, Ok(()));
    assert_eq!(next().await, Some(at(302)));
}

async fn what_waits_for_the_endpoint_is_counted(database: &SqlDatabase) {
    for second in 0..5 {
        publish(database, &event_for(second, &[1, 2])).await;
    }
    let backlog = async |seconds, limit| {
        let backlog = database.backlog(hook(1), at(seconds), limit).await;
        backlog.expect("a count")
    };
    assert_eq!((backlog(10, 10).await, backlog(10, 3).await), (5, 3));
    assert_eq!(backlog(2, 10).await, 3, "the others are due later");
    let one = Claim {
        except: vec![hook(2)],
        limit: 1,
        ..claim_at(10)
    };
    let under_way = claim(database, &one).await.remove(0);
    assert_eq!(backlog(10, 10).await, 4);
    recorded(database, &under_way, FAILED, 10).await;
    assert_eq!((backlog(10, 10).await, backlog(20, 10).await), (4, 5));
}

async fn a_resend_under_way_is_not_doubled(database: &SqlDatabase) {
    let id = failed(database, 0).await;
    running(database).await;
    let resend = Resend {
        key: DeliveryKey {
            event_id: id,
            webhook_id: hook(1),
        },
        token: ClaimToken::generate(),
        now: at(200),
        until: at(260),
    };
    let Ok(ResendBegun::Begun(resent)) = database.begin_resend(&resend).await else {
        panic!("it is begun");
    };
    assert_eq!(queue(database, 201, 10).await, 1);
    assert!(claim(database, &claim_at(202)).await.is_empty());
    let mut record = record(&resent, Outcome::Succeeded, 203);
    record.effect = Effect::Resent {
        succeeded_at: Some(at(203)),
    };
    assert_eq!(database.record(&[record]).await, Ok(Vec::new()));
    assert_eq!(status(database, id, 1).await, DeliveryStatus::Succeeded);
    assert!(claim(database, &claim_at(1000)).await.is_empty());
}

async fn old_ones_are_deleted_when_they_have_ended(database: &SqlDatabase) {
    failed(database, 0).await;
    let new = running(database).await;
    assert_eq!(database.forget_recoveries(at(300), 10).await, Ok(0));
    assert_eq!(queue(database, 200, 10).await, 1);
    let id = new.claimed.recovery.id;
    assert_eq!(database.end_recovery(id, at(201)).await, Ok(true));
    assert_eq!(database.forget_recoveries(at(200), 10).await, Ok(0));
    assert_eq!(database.forget_recoveries(at(201), 10).await, Ok(1));
    let read = database.recovery(&shop(), hook(1), id).await;
    assert_eq!(read, Ok(None));
}

/// Processes carry one on, while others record, resend, erase, delete old events and settle.
#[test]
fn processes_of_one_server_carry_one_on_and_never_lock_each_other_out() {
    let name = concat!(
        module_path!(),
        "::processes_of_one_server_carry_one_on_and_never_lock_each_other_out"
    );
    crate::events::tests::postgres::run_with(name, async |server| {
        let database = server.connect();
        let mut ids = Vec::new();
        for second in 0..60 {
            ids.push(match second % 3 {
                0 => failed(&database, second).await,
                1 => publish(&database, &suppressed(second)).await,
                _ => publish(&database, &event_for(second, &[])).await,
            });
        }
        let new = running(&database).await;
        assert_eq!(read(&database, &new).await.matched, Some(60));
        let id = new.claimed.recovery.id;
        let carriers = (0..3).map(async |_| {
            let database = server.connect();
            let mut took = 0;
            for second in 300..360 {
                let Some(held) = claimed(&database, second).await else {
                    continue;
                };
                let step = QueueStep {
                    oldest: EventId::first_at(at(4)),
                    interval_ms: 0,
                    ..step(&held, second, 7)
                };
                took += database.queue_matches(&step).await.expect("a step");
                database
                    .end_recovery(id, at(second))
                    .await
                    .expect("an answer");
            }
            took
        });
        let pump = async {
            let database = server.connect();
            for _ in 0..30 {
                let some = claim(&database, &claim_at(400)).await;
                let records = some.iter().map(|one| record(one, Outcome::Succeeded, 400));
                let records: Vec<_> = records.collect();
                assert_eq!(database.record(&records).await, Ok(Vec::new()));
            }
        };
        let others = async {
            let database = server.connect();
            for (index, event) in ids.iter().enumerate().rev() {
                match index % 5 {
                    0 => drop(
                        database
                            .erase(&shop(), *event, at(300))
                            .await
                            .expect("erased"),
                    ),
                    1 => {
                        let settlement = Settlement {
                            event_id: *event,
                            deliveries: vec![due(1, 300)],
                            now: at(300),
                        };
                        database.settle(&[settlement]).await.expect("settled");
                    }
                    2 => drop(database.forget(at(4), 1).await.expect("forgotten")),
                    _ => {}
                }
            }
        };
        let (took, (), ()) = futures::join!(futures::future::join_all(carriers), pump, others);
        let done = read(&database, &new).await;
        assert_eq!(done.status, RecoveryStatus::Done, "{done:?}");
        assert_eq!(took.iter().sum::<u32>(), 60);
        assert_eq!(done.queued + done.skipped, 60, "{done:?}");
        let client = server.client().await;
        let left = "SELECT count(*) FROM recovery_items";
        let left: i64 = client.query_one(left, &[]).await.expect(left).get(0);
        assert_eq!(left, 0);
        let made = "SELECT count(*) FROM deliveries WHERE trigger = 'recovery'";
        let made: i64 = client.query_one(made, &[]).await.expect(made).get(0);
        assert_eq!(made, i64::from(done.queued));
    });
}
