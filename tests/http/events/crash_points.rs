//! Every operation of a publish, of a delivery and of a retry is the last before its process dies, once
//! before and once after it took effect. Which there are is not written down here: an undisturbed run
//! shows.
//!
//! Whatever dies where: a 202 is never lost, a delivery that was claimed comes back when its lease ends and
//! not before, and nothing is sent twice unless the process died between sending and recording.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::operations::{Operation, operations, receiver};
use super::{LEASE, event, event_in_time, subscribed};
use crate::support::faults::Fault;
use crate::support::{Application, PATIENCE, Receiver, Server, Setup, local_runtime_only, unique};

on_servers_of_their_own! {
    whichever_operation_of_a_publish_is_the_last_the_event_is_delivered
    whichever_operation_of_a_retry_is_the_last_the_event_is_delivered
}

/// How many cases run side by side.
const SIDE_BY_SIDE: usize = 6;

/// How often a case is tried until its process dies where it is to.
const TRIES: usize = 3;

/// Long enough that nothing is due before the test has moved the clock.
const SCHEDULE: &str = "0,30,30,30";

/// How far the clock is moved for a retry to be due, its jitter included.
const RETRY: Duration = Duration::from_secs(35);

/// How far it is moved for the second decision about an event to be due, and no retry yet.
const SECOND_DECISION: Duration = Duration::from_secs(20);

/// How long nothing happens that is not due: twice the pause between two probes.
const QUIET: Duration = Duration::from_secs(2);

/// What a retry does, whichever request's pump makes it.
const OF_A_RETRY: [(&str, &str); 10] = [
    ("sql", "claim"),
    ("sql", "claim-fan-outs"),
    ("sql", "settle"),
    ("sql", "next-due"),
    ("sql", "record"),
    ("get", "webhook"),
    ("get", "webhook-settings"),
    ("get", "webhook-secrets"),
    ("get", "application-settings"),
    ("http", ""),
];

/// A server that is about to die, and an event of it.
struct Case {
    what: String,
    application: Application,
    receiver: Receiver,
    /// The `Idempotency-Key` of the event.
    key: String,
    server: Server,
}

impl Case {
    async fn new(setup: Setup, (op, kind): &Operation, after: bool) -> Self {
        let server = setup.variable("retry_schedule", SCHEDULE).start();
        let receiver = receiver();
        let (application, _) = subscribed(&server, &receiver.url()).await;
        Self {
            what: format!("{op} {kind}, after: {after}"),
            application,
            receiver,
            key: unique("key"),
            server,
        }
    }

    /// From now on the process dies at this operation.
    fn arm(&self, (op, kind): &Operation, after: bool) {
        let fault = Fault::crash(op);
        let fault = match op.as_str() {
            "sql" => fault.exactly(kind),
            "http" => fault.on(self.receiver.url()),
            _ => fault.on(format!("{kind}/{}", self.application.id)),
        };
        let fault = if after { fault.after() } else { fault };
        std::mem::forget(fault.inject(&self.server));
    }

    /// Publishes the event; `None` where the process died.
    async fn publish(&self) -> Option<Value> {
        let request = self.server.publish(&self.application);
        let request = request.header("idempotency-key", &self.key);
        let response = request.send_unchecked().await.ok()?;
        assert_eq!(response.status, 202, "{}: {}", self.what, response.text);
        Some(response.json()["id"].clone())
    }

    /// Waits until the process is dead, and starts another one at the same time of the day.
    async fn die(mut self) -> Self {
        let since = Instant::now();
        while !self.server.has_ended() {
            if since.elapsed() > 2 * QUIET {
                self.server.set_ahead(SECOND_DECISION);
            }
            assert!(since.elapsed() < PATIENCE, "{}: not reached", self.what);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.server = self.server.restart();
        self
    }

    /// Whether the delivery is one that a process has claimed.
    async fn is_claimed(&self, id: &Value) -> bool {
        let read = event(&self.server, &self.application, id).await;
        let delivery = &read["deliveries"][0];
        delivery["status"] == "pending" && delivery["nextAttemptAt"].is_null()
    }

    /// The event as it is delivered in the end, and how often it was sent by then.
    async fn delivered(&self, id: &Value) -> (Value, usize) {
        let succeeded = |delivery: &Value| delivery["status"] == "succeeded";
        let read = event_in_time(&self.server, &self.application, id, succeeded).await;
        // Exactly one event, which the repeat finds.
        assert_eq!(self.publish().await.as_ref(), Some(id), "{}", self.what);
        let received = self.receiver.received();
        for sent in &received {
            assert_eq!(json!(sent.header("webhook-id")), *id, "{}", self.what);
        }
        (read, received.len())
    }
}

fn cases(operations: &[Operation]) -> impl Iterator<Item = (&Operation, bool)> {
    let cases = operations.iter();
    cases.flat_map(|operation| [false, true].map(|after| (operation, after)))
}

/// What a process leaves of a retry that dies at this operation.
enum Left {
    /// It is due.
    Due,
    /// It is claimed, and was not sent.
    Claimed,
    /// It was not sent, and is claimed or due: the second decision about its event, which is made beside
    /// the attempt, reads the same documents.
    Unsent,
    /// It is claimed, and was sent.
    Sent,
    /// It is recorded.
    Recorded,
    /// One of these: the operation goes on beside the attempt.
    Any,
}

fn left((op, kind): &Operation, after: bool) -> Left {
    match (op.as_str(), kind.as_str(), after) {
        ("sql", "claim", false) => Left::Due,
        ("sql", "claim", true) | ("http", _, false) => Left::Claimed,
        ("get", ..) => Left::Unsent,
        ("http", _, true) | ("sql", "record", false) => Left::Sent,
        ("sql", "record", true) => Left::Recorded,
        _ => Left::Any,
    }
}

async fn whichever_operation_of_a_publish_is_the_last_the_event_is_delivered(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    let mut operations: Vec<_> = {
        let server = setup().start();
        operations(&server).await.into_iter().collect()
    };
    operations.push(("http".to_owned(), String::new()));
    stream::iter(cases(&operations))
        .map(async |(operation, after)| {
            let case = Case::new(setup(), operation, after).await;
            case.arm(operation, after);
            let answered = case.publish().await;
            let case = case.die().await;
            let id = match answered {
                Some(id) => id,
                None => case.publish().await.expect("a 202"),
            };
            tokio::time::sleep(QUIET).await;
            if case.is_claimed(&id).await {
                case.server.sleep(LEASE);
            }
            let (_, sent) = case.delivered(&id).await;
            // One was answered 500, one 200.
            assert_eq!(sent, 2, "{}", case.what);
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect::<Vec<()>>()
        .await;
}

async fn whichever_operation_of_a_retry_is_the_last_the_event_is_delivered(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    let operations = OF_A_RETRY.map(|(op, kind)| (op.to_owned(), kind.to_owned()));
    stream::iter(cases(&operations))
        .map(async |(operation, after)| {
            let mut tries = 1;
            while !is_delivered_whatever_dies(setup(), operation, after).await {
                assert!(tries < TRIES, "{operation:?}: it claims nothing");
                tries += 1;
            }
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect::<Vec<()>>()
        .await;
}

/// A process dies at this operation of a retry. Returns whether it did: a claim that is under way when the clock
/// moves finds nothing yet.
async fn is_delivered_whatever_dies(setup: Setup, operation: &Operation, after: bool) -> bool {
    let case = Case::new(setup, operation, after).await;
    let id = case.publish().await.expect("a 202");
    let failed = |delivery: &Value| delivery["lastAttempt"]["number"] == json!(1);
    event_in_time(&case.server, &case.application, &id, failed).await;
    case.arm(operation, after);
    case.server.set_ahead(RETRY);
    let case = case.die().await;
    let before = case.receiver.received().len();
    let left = left(operation, after);
    match left {
        Left::Due | Left::Claimed | Left::Unsent => {
            assert_eq!(before, 1, "{}", case.what);
        }
        Left::Sent | Left::Recorded => assert_eq!(before, 2, "{}", case.what),
        Left::Any => {}
    }
    tokio::time::sleep(QUIET).await;
    let is_claimed = case.is_claimed(&id).await;
    match left {
        Left::Claimed if !is_claimed && operation.1 == "claim" => return false,
        Left::Claimed | Left::Sent => assert!(is_claimed, "{}", case.what),
        Left::Due | Left::Recorded => assert!(!is_claimed, "{}", case.what),
        Left::Unsent | Left::Any => {}
    }
    if is_claimed {
        let received = case.receiver.received().len();
        assert_eq!(received, before, "{}: before its lease ended", case.what);
        case.server.sleep(LEASE);
    }
    let (read, sent) = case.delivered(&id).await;
    let is_uncertain = read["deliveries"][0]["lastAttempt"]["trigger"] == "uncertain";
    assert_eq!(is_uncertain, is_claimed, "{}: {read}", case.what);
    let sent_twice = match left {
        Left::Sent => true,
        Left::Any => is_claimed && before == 2,
        _ => false,
    };
    assert_eq!(sent, 2 + usize::from(sent_twice), "{}", case.what);
    true
}
