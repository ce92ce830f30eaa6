//! The races of the queue, as tests: processes on one database in memory, whose statements take as
//! long, fail and are cut off as `proptest` decides. Each test states what holds whatever it decides.
//!
//! Long because the races share the processes and their database at its beginning.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use proptest::prelude::*;

use super::claim::ClaimToken;
use super::database::{
    Beginning, Claim, ClaimOrder, ClaimedDelivery, Database, DeliveryKey, Effect, NewAttempt,
    NewDelivery, NewEvent, PublishKey, Published, Record, Resend, ResendBegun,
};
use super::memory::Memory;
use super::sql::SqlDatabase;
use crate::model::delivery::{AttemptError, AttemptTrigger, DeliveryReason, DeliveryStatus};
use crate::model::delivery_state::{Decision, Outcome, Standing};
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::retry_schedule::RetrySchedule;
use crate::model::time::Timestamp;
use crate::runtime::simulation::{self, sleep, spawn};
use crate::store::memory::{Fate, Outcome as Fortune, schedules};

/// How long a claim lasts.
const LEASE: Duration = Duration::from_secs(10);

/// How long processes work at most. By then, every delivery has come to its end.
const END: Duration = Duration::from_secs(120);

fn schedule() -> RetrySchedule {
    RetrySchedule::parse("0,1,2,4").expect("a schedule")
}

fn shop() -> ApplicationId {
    ApplicationId::parse("shop").expect("an id")
}

fn hook(number: u8) -> WebhookId {
    WebhookId::from_random_bytes([number; 16])
}

fn new_event(number: u8, hooks: u8) -> NewEvent {
    let now = Timestamp::now();
    NewEvent {
        id: EventId::generate(now),
        application_id: shop(),
        event_type: EventType::parse("paid").expect("a type"),
        body: format!("{{\"number\":{number}}}"),
        occurred_at: now,
        created_at: now,
        deliver_before: (number == 1).then(|| now.plus_secs(5)),
        idempotency: None,
        settle_at: now.plus_secs(3600),
        deliveries: (0..hooks)
            .map(|number| NewDelivery {
                webhook_id: hook(number),
                give_up_at: schedule().give_up_at(now),
                beginning: Beginning::Due(now),
            })
            .collect(),
    }
}

/// A request that was sent to an endpoint.
#[derive(Clone, Debug)]
struct Sent {
    trigger: AttemptTrigger,
    number: u32,
    began: Timestamp,
    ended: Option<Timestamp>,
    held_until: Timestamp,
    succeeded: bool,
    /// When the database said that it has its record, and that the claim was not lost.
    recorded: Option<Timestamp>,
}

/// What the endpoints received, and what the database returned to processes.
#[derive(Default)]
struct Ledger(RefCell<BTreeMap<DeliveryKey, Vec<Sent>>>);

impl Ledger {
    fn begin(&self, claimed: &ClaimedDelivery, held_until: Timestamp) -> usize {
        let mut sent = self.0.borrow_mut();
        let sent = sent.entry(claimed.held.key).or_default();
        sent.push(Sent {
            trigger: claimed.trigger,
            number: claimed.held.number,
            began: Timestamp::now(),
            ended: None,
            held_until,
            succeeded: false,
            recorded: None,
        });
        sent.len() - 1
    }

    fn change(&self, key: DeliveryKey, index: usize, change: impl FnOnce(&mut Sent)) {
        let mut sent = self.0.borrow_mut();
        change(&mut sent.get_mut(&key).expect("it was sent")[index]);
    }
}

/// What an endpoint does: how long it takes, and whether it takes the event.
#[derive(Clone, Copy, Debug)]
struct Answer {
    millis: u64,
    succeeds: bool,
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer = (0..4000_u64, prop::bool::weighted(0.3));
    let answer = answer.prop_map(|(millis, succeeds)| Answer { millis, succeeds });
    prop::collection::vec(answer, 40)
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    prop::collection::vec(Fate::any_or_crash(2500), 0..60)
}

/// A process with a pump.
struct Process {
    database: SqlDatabase,
    memory: Memory,
    ledger: Rc<Ledger>,
    answers: Vec<Answer>,
    answered: Cell<usize>,
}

impl Process {
    /// A process whose statements go as `fates` says.
    fn new(memory: &Memory, fates: Vec<Fate>, ledger: &Rc<Ledger>, answers: &[Answer]) -> Self {
        Self {
            database: memory.scheduled(fates),
            memory: memory.clone(),
            ledger: ledger.clone(),
            answers: answers.to_owned(),
            answered: Cell::new(0),
        }
    }

    /// Claims, sends and records until every delivery of the `events` events has ended.
    async fn work(self, events: usize) {
        let end = Timestamp::now().plus(END);
        while Timestamp::now() < end {
            let now = Timestamp::now();
            let claim = Claim {
                token: ClaimToken::generate(),
                now,
                until: now.plus(LEASE),
                limit: 3,
                limit_per_webhook: 2,
                taken: Vec::new(),
                except: Vec::new(),
                order: ClaimOrder::FirstAttempts,
            };
            match self.database.claim(&claim).await {
                Ok(claimed) if claimed.is_empty() => {
                    let stored = self.memory.rows("SELECT 1 FROM events").len();
                    let pending = "SELECT 1 FROM deliveries WHERE next_at IS NOT NULL LIMIT 1";
                    if stored == events && self.memory.rows(pending).is_empty() {
                        return;
                    }
                    sleep(Duration::from_millis(300)).await;
                }
                Ok(claimed) => {
                    let attempts = claimed.iter().map(|one| self.attempt(one, claim.until));
                    join_all(attempts).await;
                }
                Err(_) => sleep(Duration::from_millis(300)).await,
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn attempt(&self, claimed: &ClaimedDelivery, held_until: Timestamp) {
        let now = Timestamp::now();
        let has_data = claimed.body.is_some();
        let decision =
            claimed
                .progress
                .before_attempt(Standing::Active, has_data, &schedule(), now, 0);
        if let Decision::Skip(state) = decision {
            let record = Record {
                held: claimed.held.clone(),
                attempt: None,
                effect: Effect::Scheduled(state),
            };
            self.record(record).await;
            return;
        }
        let (index, attempt, outcome) = self.send(claimed, held_until).await;
        let now = Timestamp::now();
        let verdict = claimed.progress.after_attempt(outcome, &schedule(), now, 0);
        let record = Record {
            held: claimed.held.clone(),
            attempt: Some(attempt),
            effect: Effect::Scheduled(verdict.state),
        };
        if self.record(record).await {
            let note = |sent: &mut Sent| sent.recorded = Some(Timestamp::now());
            self.ledger.change(claimed.held.key, index, note);
        }
    }

    async fn resend(&self, key: DeliveryKey) {
        let now = Timestamp::now();
        let resend = Resend {
            key,
            token: ClaimToken::generate(),
            now,
            until: now.plus(LEASE),
        };
        let Ok(ResendBegun::Begun(claimed)) = self.database.begin_resend(&resend).await else {
            return;
        };
        let (index, attempt, outcome) = self.send(&claimed, resend.until).await;
        let succeeded_at = (outcome == Outcome::Succeeded).then(Timestamp::now);
        let record = Record {
            held: claimed.held.clone(),
            attempt: Some(attempt),
            effect: Effect::Resent { succeeded_at },
        };
        if self.record(record).await {
            let note = |sent: &mut Sent| sent.recorded = Some(Timestamp::now());
            self.ledger.change(key, index, note);
        }
    }

    async fn send(
        &self,
        claimed: &ClaimedDelivery,
        held_until: Timestamp,
    ) -> (usize, NewAttempt, Outcome) {
        let key = claimed.held.key;
        let index = self.ledger.begin(claimed, held_until);
        let started_at = Timestamp::now();
        let answer = self.answers[self.answered.get() % self.answers.len()];
        self.answered.set(self.answered.get() + 1);
        sleep(Duration::from_millis(answer.millis)).await;
        self.ledger.change(key, index, |sent| {
            sent.ended = Some(Timestamp::now());
            sent.succeeded = answer.succeeds;
        });
        let attempt = NewAttempt {
            trigger: claimed.trigger,
            started_at,
            duration_ms: answer.millis as u32,
            url: "https://merchant.example.com/".to_owned(),
            secret_fingerprints: Vec::new(),
            http_status_code: Some(if answer.succeeds { 200 } else { 500 }),
            error: (!answer.succeeds).then_some(AttemptError::HttpStatus),
            response_body: Some("an answer".to_owned()),
            response_body_truncated: false,
            response_sha256: None,
            retry_after_seconds: None,
        };
        let outcome = if answer.succeeds {
            Outcome::Succeeded
        } else {
            Outcome::Failed {
                http_status: Some(500),
                retry_after: None,
            }
        };
        (index, attempt, outcome)
    }

    /// Records, twice at most; `true`: the database has it, and the claim was good.
    async fn record(&self, record: Record) -> bool {
        let record = [record];
        for _ in 0..2 {
            if let Ok(lost) = self.database.record(&record).await {
                return lost.is_empty();
            }
        }
        false
    }
}

/// What the database has in the end.
fn ends(memory: &Memory) -> Vec<(DeliveryKey, DeliveryStatus, Option<String>, u32)> {
    let rows = memory.rows("SELECT event_id, webhook_id, status, reason, attempts FROM deliveries");
    let rows = rows
        .into_iter()
        .map(|row| super::value::Row::new("ends", row));
    rows.map(|mut row| {
        let key = DeliveryKey {
            event_id: row.event_id().expect("an event"),
            webhook_id: row.webhook_id().expect("a webhook"),
        };
        let status = row.required(|name| DeliveryStatus::parse(&name));
        let (reason, attempts) = (row.optional_text(), row.integer());
        (key, status.unwrap(), reason.unwrap(), attempts.unwrap())
    })
    .collect()
}

/// The attempts that are recorded: which, when it began, and whether it succeeded.
fn recorded(memory: &Memory) -> BTreeMap<(DeliveryKey, u32), (Timestamp, bool)> {
    let rows =
        memory.rows("SELECT event_id, webhook_id, number, started_at, error IS NULL FROM attempts");
    let rows = rows
        .into_iter()
        .map(|row| super::value::Row::new("recorded", row));
    rows.map(|mut row| {
        let key = DeliveryKey {
            event_id: row.event_id().expect("an event"),
            webhook_id: row.webhook_id().expect("a webhook"),
        };
        let number = row.integer().expect("a number");
        let began = row.moment().expect("a moment");
        ((key, number), (began, row.flag().expect("a flag")))
    })
    .collect()
}

/// Events that a publisher repeats until it has an answer.
async fn publish_until_stored(database: &SqlDatabase, events: &[NewEvent]) {
    for event in events {
        while database.publish(event).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

proptest! {
    #![proptest_config(schedules())]

    /// Processes fail, crash and lose their leases, somebody resends meanwhile, one event expires. Every
    /// delivery comes to its end; nothing that was recorded is lost, recorded twice, or repeated.
    #[test]
    fn every_delivery_ends_and_none_is_repeated_without_a_reason(
        processes in prop::collection::vec(fates(), 3),
        publisher in prop::collection::vec(Fate::any(2500), 0..10),
        resender in fates(),
        answers in answers(),
        resends in prop::collection::vec((0..20_000_u64, 0..6_usize), 0..6),
    ) {
        let memory = Memory::default();
        let ledger = Rc::new(Ledger::default());
        let events: Rc<RefCell<Vec<NewEvent>>> = Rc::default();
        simulation::run(async {
            events.borrow_mut().extend((0..3).map(|number| new_event(number, 2)));
            let events = events.borrow().clone();
            let publisher = memory.scheduled(publisher);
            for fates in processes {
                spawn(Process::new(&memory, fates, &ledger, &answers).work(3));
            }
            let keys: Vec<DeliveryKey> = events.iter().flat_map(|event| {
                let hooks = event.deliveries.iter().map(|delivery| delivery.webhook_id);
                hooks.map(|webhook_id| DeliveryKey { event_id: event.id, webhook_id })
            }).collect();
            let resender = Process::new(&memory, resender, &ledger, &answers);
            spawn(async move {
                for (pause, index) in resends {
                    sleep(Duration::from_millis(pause)).await;
                    resender.resend(keys[index]).await;
                }
            });
            publish_until_stored(&publisher, &events).await;
            // One process stays alive.
            Process::new(&memory, Vec::new(), &ledger, &answers).work(3).await;
        });

        let recorded = recorded(&memory);
        let ends = ends(&memory);
        let sent = ledger.0.borrow();
        prop_assert_eq!(ends.len(), 6);
        for (key, status, reason, attempts) in ends {
            let none = Vec::new();
            let sent = sent.get(&key).unwrap_or(&none);
            prop_assert_ne!(status, DeliveryStatus::Pending, "{:?}", sent);

            // The schedule's attempts are counted whatever happens to them.
            let scheduled = sent.iter().filter(|one| one.trigger != AttemptTrigger::Resend);
            prop_assert!(scheduled.count() <= 4, "{:?}", sent);
            prop_assert!(sent.len() <= attempts as usize);

            // Each has a number of its own, and at most one record, its own.
            let numbers: BTreeSet<u32> = sent.iter().map(|one| one.number).collect();
            prop_assert_eq!(numbers.len(), sent.len(), "{:?}", sent);
            for ((_, number), (began, succeeded)) in recorded.iter().filter(|((of, _), _)| *of == key) {
                let one = sent.iter().find(|one| one.number == *number);
                let one = one.map(|one| (one.began, one.succeeded));
                prop_assert_eq!(one, Some((*began, *succeeded)));
            }

            for one in sent {
                // What the database said that it has, it has.
                if one.recorded.is_some() {
                    prop_assert!(recorded.contains_key(&(key, one.number)), "{:?}", one);
                }
                // A success that was recorded completes the delivery, and ends the schedule.
                let Some(moment) = one.recorded.filter(|_| one.succeeded) else {
                    continue;
                };
                prop_assert_eq!(status, DeliveryStatus::Succeeded, "{:?}", sent);
                let later = sent.iter().find(|later| {
                    later.began > moment && later.trigger != AttemptTrigger::Resend
                });
                prop_assert!(later.is_none(), "{:?} after {:?}", later, one);
            }
            if status == DeliveryStatus::Succeeded {
                prop_assert!(sent.iter().any(|one| one.succeeded), "{:?}", sent);
                prop_assert_eq!(reason, None);
            }

            // While one is held, no other begins.
            for (index, one) in sent.iter().enumerate() {
                let ended = one.ended.unwrap_or(one.held_until).min(one.held_until);
                let meanwhile = sent.iter().enumerate().find(|(other, two)| {
                    *other != index && two.began >= one.began && two.began < ended
                });
                prop_assert!(meanwhile.is_none(), "{:?} while {:?}", meanwhile, one);
            }
        }
    }

    /// What is claimed by a process that dies before it sends comes back after its lease, and not before.
    #[test]
    fn a_lost_record_comes_back_after_its_lease(
        outcome in prop_oneof![Just(Fortune::CrashAfter), Just(Fortune::FailsBefore), Just(Fortune::CrashBefore)],
        at in 0..2_usize,
        delay in 0..1500_u64,
    ) {
        let memory = Memory::default();
        let ledger = Rc::new(Ledger::default());
        let good = [Answer { millis: 10, succeeds: true }];
        simulation::run(async {
            let events = [new_event(0, 1)];
            publish_until_stored(&memory.scheduled(Vec::new()), &events).await;
            // Its claim, or its record and the repeat of that.
            let fates = (0..4).map(|number| if number < at { Fate::default() } else { Fate { delay, outcome } });
            let dying = Process::new(&memory, fates.collect(), &ledger, &good);
            spawn(dying.work(1));
            sleep(Duration::from_secs(1)).await;
            Process::new(&memory, Vec::new(), &ledger, &good).work(1).await;
        });
        let ends = ends(&memory);
        prop_assert_eq!(ends[0].1, DeliveryStatus::Succeeded);
        let sent = ledger.0.borrow();
        let sent = &sent[&ends[0].0];
        if let [first, second, ..] = &sent[..] {
            prop_assert!(second.began >= first.held_until, "{:?}", sent);
            prop_assert_eq!(second.trigger, AttemptTrigger::Uncertain);
        }
        prop_assert!(sent.len() <= 2, "{:?}", sent);
    }

    /// One key is one event, in whichever processes its repeats meet, and whatever happens to them.
    #[test]
    fn one_key_is_one_event(
        processes in prop::collection::vec(prop::collection::vec(Fate::any(2500), 0..12), 4),
        starts in prop::collection::vec(0..100_u64, 4),
    ) {
        let memory = Memory::default();
        let databases: Vec<_> = processes.into_iter().map(|fates| memory.scheduled(fates)).collect();
        let stored = simulation::run(async {
            let publishes = databases.iter().zip(starts).map(|(database, start)| async move {
                sleep(Duration::from_millis(start)).await;
                let mut event = new_event(0, 2);
                event.idempotency = Some(PublishKey {
                    key: "key".to_owned(),
                    request_hash: "hash".to_owned(),
                });
                loop {
                    match database.publish(&event).await {
                        Ok(Published::New) => return event.id,
                        Ok(Published::Earlier { id, .. }) => return id,
                        Err(_) => sleep(Duration::from_millis(50)).await,
                    }
                }
            });
            let ids: BTreeSet<EventId> = join_all(publishes).await.into_iter().collect();
            ids
        });
        prop_assert_eq!(stored.len(), 1);
        let rows = memory.rows("SELECT id FROM events");
        prop_assert_eq!(rows.len(), 1);
        prop_assert_eq!(&rows[0][0], &stored.first().copied().unwrap().into());
        prop_assert_eq!(memory.rows("SELECT 1 FROM deliveries").len(), 2);
    }

    /// Once an erasure was answered, no response to the event is stored, nor comes later.
    #[test]
    fn no_response_outlives_its_event(
        processes in prop::collection::vec(fates(), 2),
        eraser in prop::collection::vec(Fate::any(2500), 0..4),
        answers in answers(),
        start in 0..20_000_u64,
    ) {
        let memory = Memory::default();
        let ledger = Rc::new(Ledger::default());
        simulation::run(async {
            let events = [new_event(0, 2)];
            publish_until_stored(&memory.scheduled(Vec::new()), &events).await;
            for fates in processes {
                spawn(Process::new(&memory, fates, &ledger, &answers).work(1));
            }
            spawn(Process::new(&memory, Vec::new(), &ledger, &answers).work(1));
            sleep(Duration::from_millis(start)).await;
            let eraser = memory.scheduled(eraser);
            while eraser.erase(&shop(), events[0].id, Timestamp::now()).await.is_err() {
                sleep(Duration::from_millis(100)).await;
            }
            sleep(END).await;
        });
        let responses = memory.rows("SELECT 1 FROM attempts WHERE response_body IS NOT NULL");
        prop_assert!(responses.is_empty());
        for (_, status, reason, _) in ends(&memory) {
            prop_assert_ne!(status, DeliveryStatus::Pending);
            if status == DeliveryStatus::Suppressed {
                let erased = Some(DeliveryReason::DataErased.as_str().to_owned());
                prop_assert_eq!(reason, erased);
            }
        }
    }
}
