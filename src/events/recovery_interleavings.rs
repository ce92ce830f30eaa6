//! The races of recoveries, as tests: processes that carry one on, with a pump, somebody who resends,
//! erases, stops and deletes old events, on one database in memory whose statements take as long, fail
//! and are cut off as `proptest` decides.
//!
//! Long because the processes and deeds that meet are here, too.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join;
use proptest::prelude::*;

use super::claim::ClaimToken;
use super::database::{
    Added, Beginning, Claim, ClaimOrder, ClaimedDelivery, ClaimedRecovery, Database, DeliveryKey,
    Effect, NewDelivery, NewEvent, NewRecovery, QueueStep, Record, Recoveries, RecoveryBegun,
    Resend, ResendBegun, Selection, Settlement,
};
use super::memory::Memory;
use super::sql::SqlDatabase;
use super::value::Value as Column;
use crate::model::delivery::{AttemptTrigger, DeliveryReason};
use crate::model::delivery_state::{Decision, Outcome, Standing};
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, RecoveryId, WebhookId};
use crate::model::recovery::{Recovery, RecoveryKind, RecoveryStatus, SkippedByReason, StopReason};
use crate::model::retry_schedule::RetrySchedule;
use crate::model::time::Timestamp;
use crate::runtime::simulation::{self, sleep, spawn};
use crate::store::memory::{Fate, schedules};

/// How long a claim of a delivery lasts.
const LEASE: Duration = Duration::from_secs(10);

/// How long one of a recovery does: shorter than a statement can be late, so that claims are lost.
const RECOVERY_LEASE: Duration = Duration::from_secs(1);

/// How long processes work at most. By then, everything has come to its end.
const END: Duration = Duration::from_secs(120);

/// How many events there are.
const EVENTS: usize = 9;

fn schedule() -> RetrySchedule {
    RetrySchedule::parse("0,1").expect("a schedule")
}

fn shop() -> ApplicationId {
    ApplicationId::parse("shop").expect("an id")
}

fn hook() -> WebhookId {
    WebhookId::from_random_bytes([1; 16])
}

/// An event whose delivery was suppressed; the last three have none.
fn new_event(number: usize) -> NewEvent {
    let now = Timestamp::now();
    let suppressed = NewDelivery {
        webhook_id: hook(),
        give_up_at: schedule().give_up_at(now),
        beginning: Beginning::Suppressed(DeliveryReason::WebhookInactive),
    };
    NewEvent {
        id: EventId::generate(now),
        application_id: shop(),
        event_type: EventType::parse("paid").expect("a type"),
        body: "{}".to_owned(),
        occurred_at: now,
        created_at: now,
        deliver_before: (number == 0).then(|| now.plus_secs(8)),
        idempotency: None,
        settle_at: now.plus_secs(3600),
        deliveries: if number < EVENTS - 3 {
            vec![suppressed]
        } else {
            Vec::new()
        },
    }
}

fn new_recovery() -> NewRecovery {
    let now = Timestamp::now();
    let selection = Selection {
        application_id: shop(),
        webhook_id: hook(),
        first: EventId::first_at(Timestamp::from_millis(0)),
        end: EventId::first_at(now.plus_secs(1)),
        include: RecoveryKind::ALL.to_vec(),
        types: None,
        missing_types: None,
    };
    let position = selection.beginning().expect("a beginning");
    NewRecovery {
        claimed: ClaimedRecovery {
            recovery: Recovery {
                id: RecoveryId::generate(now),
                webhook_id: hook(),
                status: RecoveryStatus::Matching,
                reason: None,
                after: Timestamp::from_millis(0),
                before: now.plus_secs(1),
                include: selection.include.clone(),
                types: None,
                per_minute: 60,
                matched: None,
                queued: 0,
                skipped: 0,
                skipped_by_reason: SkippedByReason::default(),
                created_at: now,
                completed_at: None,
            },
            token: ClaimToken::generate(),
            selection,
            position,
        },
        until: now.plus(RECOVERY_LEASE),
        idempotency: None,
    }
}

/// What the endpoint received of the pump: each event as often as it came, why, and when it was claimed.
type Received = Rc<RefCell<BTreeMap<EventId, Vec<(AttemptTrigger, Timestamp)>>>>;

/// The resends whose success was recorded, and when.
type Resent = Rc<RefCell<Vec<(EventId, Timestamp)>>>;

/// Whether there is nothing left to do.
type Ended = Rc<Cell<bool>>;

/// Carries recoveries on as `dispatch::recovery` does.
async fn carry_on(database: SqlDatabase, ended: Ended) {
    while !ended.get() {
        let now = Timestamp::now();
        let token = ClaimToken::generate();
        if let Ok(Some(claimed)) = database
            .claim_recovery(token, now, now.plus(RECOVERY_LEASE))
            .await
        {
            // Whatever fails comes again when the lease has ended.
            let _ = step(&database, &claimed).await;
        }
        sleep(Duration::from_millis(300)).await;
    }
}

async fn step(
    database: &SqlDatabase,
    claimed: &ClaimedRecovery,
) -> Result<(), crate::fault::Fault> {
    let now = Timestamp::now();
    let id = claimed.recovery.id;
    match claimed.recovery.status {
        RecoveryStatus::Matching => {
            let mut position = claimed.position;
            loop {
                let until = Timestamp::now().plus(RECOVERY_LEASE);
                match database
                    .add_matches(claimed, position, 2, now, until)
                    .await?
                {
                    Added::Next(next) => position = next,
                    Added::All => break,
                    Added::Lost => return Ok(()),
                }
            }
            database.start_recovery(claimed, Timestamp::now()).await?;
        }
        RecoveryStatus::Running => {
            let step = QueueStep {
                id,
                token: claimed.token.clone(),
                now,
                due_at: now,
                give_up_at: schedule().give_up_at(now),
                oldest: EventId::first_at(Timestamp::from_millis(1)),
                interval_ms: 500,
                limit: 2,
            };
            if database.queue_matches(&step).await? < step.limit {
                database.end_recovery(id, now).await?;
            }
        }
        RecoveryStatus::Stopped | RecoveryStatus::Done => {
            database.clear_recovery(id, 2).await?;
            if !database.end_recovery(id, now).await? {
                database.put_off_recovery(claimed, now).await?;
            }
        }
    }
    Ok(())
}

/// Claims, sends and records: the endpoint takes everything.
async fn pump(database: SqlDatabase, received: Received, ended: Ended) {
    while !ended.get() {
        let now = Timestamp::now();
        let claim = Claim {
            token: ClaimToken::generate(),
            now,
            until: now.plus(LEASE),
            limit: 3,
            limit_per_webhook: 3,
            taken: Vec::new(),
            except: Vec::new(),
            order: ClaimOrder::FirstAttempts,
        };
        let deliveries = database.claim(&claim).await.unwrap_or_default();
        let claimed_at = Timestamp::now();
        for claimed in deliveries {
            attempt(&database, &claimed, claimed_at, &received).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn attempt(
    database: &SqlDatabase,
    claimed: &ClaimedDelivery,
    claimed_at: Timestamp,
    received: &Received,
) {
    let (progress, now) = (claimed.progress, Timestamp::now());
    let has_data = claimed.body.is_some();
    let decision = progress.before_attempt(Standing::Active, has_data, &schedule(), now, 0);
    let state = match decision {
        Decision::Skip(state) => state,
        Decision::Attempt => {
            let mut received = received.borrow_mut();
            let sent = received.entry(claimed.held.key.event_id).or_default();
            sent.push((claimed.trigger, claimed_at));
            let verdict = progress.after_attempt(Outcome::Succeeded, &schedule(), now, 0);
            verdict.state
        }
    };
    let record = [Record {
        held: claimed.held.clone(),
        attempt: None,
        effect: Effect::Scheduled(state),
    }];
    for _ in 0..2 {
        if database.record(&record).await.is_ok() {
            return;
        }
    }
}

/// What somebody does meanwhile.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// An attempt that somebody asks for, which succeeds.
    Resend(usize),
    Erase(usize),
    /// The second decision about an event that has no delivery.
    Settle(usize),
    /// The oldest event is deleted, if nothing is pending of it.
    Forget,
    Stop,
}

fn deeds() -> impl Strategy<Value = Vec<(u64, Deed)>> {
    let deed = prop_oneof![
        4 => (0..EVENTS).prop_map(Deed::Resend),
        2 => (0..EVENTS).prop_map(Deed::Erase),
        2 => (EVENTS - 3..EVENTS).prop_map(Deed::Settle),
        2 => Just(Deed::Forget),
        1 => Just(Deed::Stop),
    ];
    prop::collection::vec((0..4000_u64, deed), 0..8)
}

async fn perform(
    database: &SqlDatabase,
    deed: Deed,
    ids: &[EventId],
    recovery: RecoveryId,
    resent: &Resent,
) {
    let now = Timestamp::now();
    match deed {
        Deed::Resend(index) => {
            let key = DeliveryKey {
                event_id: ids[index],
                webhook_id: hook(),
            };
            let resend = Resend {
                key,
                token: ClaimToken::generate(),
                now,
                until: now.plus(LEASE),
            };
            if let Ok(ResendBegun::Begun(claimed)) = database.begin_resend(&resend).await {
                let record = Record {
                    held: claimed.held,
                    attempt: None,
                    effect: Effect::Resent {
                        succeeded_at: Some(now),
                    },
                };
                if database.record(&[record]).await == Ok(Vec::new()) {
                    resent.borrow_mut().push((ids[index], Timestamp::now()));
                }
            }
        }
        Deed::Erase(index) => drop(database.erase(&shop(), ids[index], now).await),
        Deed::Settle(index) => {
            let settlement = Settlement {
                event_id: ids[index],
                deliveries: vec![NewDelivery {
                    webhook_id: hook(),
                    give_up_at: schedule().give_up_at(now),
                    beginning: Beginning::Due(now),
                }],
                now,
            };
            drop(database.settle(&[settlement]).await);
        }
        Deed::Forget => drop(database.forget(now.plus_secs(1), 1).await),
        Deed::Stop => {
            let stopped = database.stop_recovery(recovery, StopReason::Requested, now);
            drop(stopped.await);
        }
    }
}

/// What there is to do.
const LEFT: &str = "SELECT 1 FROM recoveries WHERE next_at IS NOT NULL
    UNION ALL SELECT 1 FROM deliveries WHERE next_at IS NOT NULL LIMIT 1";

/// Notes each delivery that a step queues or skips.
const NOTES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS taken (step INTEGER PRIMARY KEY, event_id TEXT, outcome TEXT, claimed_at INTEGER)",
    "CREATE TRIGGER IF NOT EXISTS note INSTEAD OF INSERT ON recovery_steps
     BEGIN
       INSERT INTO taken (event_id, outcome, claimed_at) VALUES (NEW.event_id, NEW.outcome, NEW.now);
     END",
];

/// What a recovery that ended has passed over: it was suppressed or missing from the beginning on, can be
/// delivered, and nobody has.
const LOST: &str = "SELECT e.id FROM events AS e LEFT JOIN deliveries AS d ON d.event_id = e.id
    WHERE e.erased_at IS NULL AND e.deliver_before IS NULL
      AND (d.status IS NULL OR d.status = 'suppressed')";

/// The recovery's numbers: `matched`, `queued`, all that was skipped, what is left, and its status.
fn numbers(memory: &Memory) -> (Option<i64>, i64, i64, i64, String) {
    let rows = memory.rows(
        "SELECT matched, queued, succeeded + pending + expired + data_erased + event_deleted + stopped,
           (SELECT count(*) FROM recovery_items), status FROM recoveries",
    );
    let [
        matched,
        Column::Integer(queued),
        Column::Integer(skipped),
        Column::Integer(left),
        Column::Text(status),
    ] = &rows[0][..]
    else {
        panic!("{rows:?}");
    };
    let matched = match matched {
        Column::Integer(matched) => Some(*matched),
        _ => None,
    };
    (matched, *queued, *skipped, *left, status.clone())
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    prop::collection::vec(Fate::any_or_crash(2500), 0..40)
}

proptest! {
    #![proptest_config(schedules())]

    /// Whichever process carries it on, and whatever happens to it and beside it: a recovery ends,
    /// `matched` is `queued` and `skipped` together at any moment once it is known, nothing is passed over,
    /// none is taken twice by two processes, and no delivery is made twice without a failure in between, nor
    /// once more after a resend of it has succeeded.
    #[test]
    fn none_is_lost_and_none_is_taken_twice(
        carriers in prop::collection::vec(fates(), 2),
        pumps in fates(),
        starter in prop::collection::vec(Fate::any_or_crash(2500), 0..12),
        others in prop::collection::vec(Fate::any(1500), 0..20),
        deeds in deeds(),
    ) {
        let memory = Memory::default();
        let (received, resent) = (Received::default(), Resent::default());
        let failures = pumps.iter().filter(|fate| **fate != Fate::default()).count();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let ended = Ended::default();
        let has_begun = simulation::run(async {
            let database = memory.scheduled(Vec::new());
            let events: Vec<_> = (0..EVENTS).map(new_event).collect();
            for event in &events {
                database.publish(event).await.expect("published");
            }
            for note in NOTES {
                memory.rows(note);
            }
            let ids: Vec<_> = events.iter().map(|event| event.id).collect();
            let new = new_recovery();
            let recovery = new.claimed.recovery.id;
            spawn({
                // Who begins it looks up what it takes, like anybody else.
                let database = memory.scheduled(starter);
                async move {
                    if database.begin_recovery(&new).await == Ok(RecoveryBegun::New) {
                        let _ = step(&database, &new.claimed).await;
                    }
                }
            });
            for fates in carriers {
                spawn(carry_on(memory.scheduled(fates), ended.clone()));
            }
            spawn(pump(memory.scheduled(pumps), received.clone(), ended.clone()));
            let deeds = {
                let (database, resent) = (memory.scheduled(others), resent.clone());
                async move {
                    for (pause, deed) in deeds {
                        sleep(Duration::from_millis(pause)).await;
                        perform(&database, deed, &ids, recovery, &resent).await;
                    }
                }
            };
            // Processes that stay alive.
            spawn(carry_on(memory.scheduled(Vec::new()), ended.clone()));
            spawn(pump(memory.scheduled(Vec::new()), received.clone(), ended.clone()));
            let observe = async {
                for _ in 0..END.as_millis() / 250 {
                    sleep(Duration::from_millis(250)).await;
                    if memory.rows("SELECT 1 FROM recoveries").is_empty() {
                        continue;
                    }
                    seen.borrow_mut().push(numbers(&memory));
                    if memory.rows(LEFT).is_empty() {
                        return;
                    }
                }
            };
            join(deeds, observe).await;
            // What was late has an effect now.
            sleep(LEASE).await;
            ended.set(true);
            !memory.rows("SELECT 1 FROM recoveries").is_empty()
        });
        if !has_begun {
            return Ok(());
        }
        for (matched, queued, skipped, left, status) in seen.borrow().iter() {
            match (matched, &**status) {
                (None, _) => prop_assert_eq!((*queued, *skipped), (0, 0)),
                // What is left of one that was stopped is counted already.
                (Some(matched), "stopped") => prop_assert_eq!(*matched, queued + skipped),
                (Some(matched), _) => prop_assert_eq!(*matched, queued + skipped + left),
            }
        }
        let (matched, queued, skipped, left, status) = numbers(&memory);
        prop_assert!(["done", "stopped"].contains(&&*status), "{}", status);
        prop_assert_eq!(matched, Some(queued + skipped));
        prop_assert_eq!(left, 0);
        prop_assert!(memory.rows(LEFT).is_empty());

        let taken = memory.rows("SELECT event_id FROM taken");
        let twice = "SELECT event_id FROM taken GROUP BY event_id HAVING count(*) > 1";
        prop_assert_eq!(memory.rows(twice), Vec::<Vec<Column>>::new());
        // Claims follow each other, and so do what they take: who lost one takes nothing any more.
        let late = "SELECT one.step FROM taken AS one JOIN taken AS next ON next.step > one.step
            WHERE next.claimed_at < one.claimed_at";
        prop_assert_eq!(memory.rows(late), Vec::<Vec<Column>>::new());
        let noted = memory.rows("SELECT event_id FROM taken WHERE outcome = 'queued'");
        prop_assert_eq!(noted.len() as i64, queued);
        if status == "done" {
            prop_assert_eq!(taken.len() as i64, queued + skipped);
            prop_assert_eq!(memory.rows(LOST), Vec::<Vec<Column>>::new());
        }

        // What was queued came, unless it was erased or expired in between; and nothing came that was not.
        let received = received.borrow();
        let recovered = received.values().filter(|sent| {
            sent.iter().any(|(trigger, _)| *trigger == AttemptTrigger::Recovery)
        });
        prop_assert!(recovered.count() as i64 <= queued);
        for sent in received.values() {
            prop_assert!(sent.len() <= 1 + failures, "{:?}", sent);
        }
        for (event, at) in resent.borrow().iter() {
            let sent = received.get(event).into_iter().flatten();
            let again = sent.filter(|(_, claimed_at)| claimed_at > at);
            prop_assert_eq!(again.count(), 0, "{} was resent at {}", event, at);
        }
    }
}
