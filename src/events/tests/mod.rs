//! The operations on both databases: each test runs on SQLite in memory, and on a PostgreSQL where its
//! server is installed.

mod evidence;
mod gauges;
mod health;
mod log;
mod plans;
mod portal;
mod postgres;
mod postgres_driver;
mod publishing;
mod queue;
mod recoveries;
mod releases;
mod resend;
mod together;

use super::claim::ClaimToken;
use super::database::{
    Beginning, Claim, ClaimOrder, ClaimedDelivery, Database, Effect, Held, NewAttempt, NewDelivery,
    NewEvent, PublishKey, Published, Record,
};
use super::memory::Memory;
use super::sql::SqlDatabase;
use crate::model::delivery::{AttemptError, AttemptTrigger, DeliveryStatus};
use crate::model::delivery_state::{Outcome, State};
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::retry_schedule::RetrySchedule;
use crate::model::time::Timestamp;
use crate::runtime::simulation;

/// Makes of each test, which is given a new database, one for SQLite and one for PostgreSQL.
macro_rules! on_both {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[test] fn $name() { crate::events::tests::on_sqlite(async |database| super::$name(database).await) })+
        }

        mod postgres {
            $(#[test] fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                crate::events::tests::postgres::run(name, async |database| super::$name(database).await)
            })+
        }
    };
}
pub(super) use on_both;

fn on_sqlite(test: impl AsyncFnOnce(&SqlDatabase)) {
    let database = Memory::default().scheduled(Vec::new());
    simulation::run(async { test(&database).await });
}

/// Second 0 of the tests.
const BEGIN: i64 = 1_768_464_000_000;

/// So many seconds after the beginning.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(BEGIN + seconds * 1000)
}

fn shop() -> ApplicationId {
    ApplicationId::parse("shop").expect("an id")
}

fn hook(number: u8) -> WebhookId {
    WebhookId::from_random_bytes([number; 16])
}

fn event_type(name: &str) -> EventType {
    EventType::parse(name).expect("a type")
}

/// An event of the shop that is published then, for these webhooks.
fn event_for(seconds: i64, hooks: &[u8]) -> NewEvent {
    let created_at = at(seconds);
    NewEvent {
        id: EventId::generate(created_at),
        application_id: shop(),
        event_type: event_type("session.completed"),
        body: format!(r#"{{"type":"session.completed","data":{{"n":{seconds}}}}}"#),
        occurred_at: at(seconds - 1),
        created_at,
        deliver_before: None,
        idempotency: None,
        settle_at: at(seconds + 5),
        deliveries: hooks.iter().map(|hook| due(*hook, seconds)).collect(),
    }
}

/// A delivery for a webhook that is due then.
fn due(number: u8, seconds: i64) -> NewDelivery {
    NewDelivery {
        webhook_id: hook(number),
        give_up_at: at(seconds + 300_000),
        beginning: Beginning::Due(at(seconds)),
    }
}

fn with_key(mut event: NewEvent, key: &str, hash: &str) -> NewEvent {
    event.idempotency = Some(PublishKey {
        key: key.to_owned(),
        request_hash: hash.to_owned(),
    });
    event
}

async fn publish(database: &SqlDatabase, event: &NewEvent) -> EventId {
    let published = database.publish(event).await.expect("it is stored");
    assert_eq!(published, Published::New);
    event.id
}

/// A claim of up to 10 deliveries.
fn claim_at(seconds: i64) -> Claim {
    Claim {
        token: ClaimToken::generate(),
        now: at(seconds),
        until: at(seconds + 60),
        limit: 10,
        limit_per_webhook: 10,
        taken: Vec::new(),
        except: Vec::new(),
        order: ClaimOrder::FirstAttempts,
    }
}

async fn claim(database: &SqlDatabase, claim: &Claim) -> Vec<ClaimedDelivery> {
    let mut claimed = database.claim(claim).await.expect("a claim");
    claimed.sort_by_key(|claimed| claimed.held.key);
    claimed
}

/// The only delivery that is due then.
async fn claim_one(database: &SqlDatabase, seconds: i64) -> ClaimedDelivery {
    let mut claimed = claim(database, &claim_at(seconds)).await;
    assert_eq!(claimed.len(), 1);
    claimed.remove(0)
}

fn attempt(trigger: AttemptTrigger, seconds: i64, error: Option<AttemptError>) -> NewAttempt {
    NewAttempt {
        trigger,
        started_at: at(seconds),
        duration_ms: 7,
        url: "https://merchant.example.com/".to_owned(),
        secret_fingerprints: vec!["whsec_****abcd".to_owned()],
        http_status_code: Some(if error.is_none() { 200 } else { 500 }),
        error,
        response_body: Some("ok".to_owned()),
        response_body_truncated: false,
        response_sha256: Some("0".repeat(64)),
        retry_after_seconds: None,
    }
}

const FAILED: Outcome = Outcome::Failed {
    http_status: Some(500),
    retry_after: None,
};

/// The state after an attempt that ended then, by the default schedule without jitter.
fn state(claimed: &ClaimedDelivery, outcome: Outcome, seconds: i64) -> State {
    let schedule = RetrySchedule::default();
    let verdict = claimed
        .progress
        .after_attempt(outcome, &schedule, at(seconds), 0);
    verdict.state
}

/// The record of an attempt that began and ended then.
fn record(claimed: &ClaimedDelivery, outcome: Outcome, seconds: i64) -> Record {
    let error = (outcome != Outcome::Succeeded).then_some(AttemptError::HttpStatus);
    Record {
        held: claimed.held.clone(),
        attempt: Some(attempt(claimed.trigger, seconds, error)),
        effect: Effect::Scheduled(state(claimed, outcome, seconds)),
    }
}

async fn recorded(database: &SqlDatabase, claimed: &ClaimedDelivery, outcome: Outcome, at: i64) {
    let lost = database.record(&[record(claimed, outcome, at)]).await;
    assert_eq!(lost, Ok(Vec::new()));
}

fn held(claimed: &[ClaimedDelivery]) -> Vec<Held> {
    claimed.iter().map(|claimed| claimed.held.clone()).collect()
}

async fn status(database: &SqlDatabase, id: EventId, number: u8) -> DeliveryStatus {
    let delivery = database
        .delivery(id, hook(number))
        .await
        .expect("it is read");
    delivery.expect("it is there").status
}
