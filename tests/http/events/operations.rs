//! Every operation of a publish and of its deliveries fails once, and is late once, before and after it
//! took effect. Which there are is not written down here: an undisturbed run tells.
//!
//! `crash_points.rs` has the processes that die.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::{completed, event_when, subscribed};
use crate::support::faults::{Fault, trace};
use crate::support::receiver::answer;
use crate::support::{Receiver, Server, local_runtime_only, unique};

on_both_databases_alone! {
    whichever_operation_fails_the_event_is_delivered
    whichever_operation_is_late_the_event_is_delivered
}

/// How many cases run side by side.
const SIDE_BY_SIDE: usize = 8;

/// An operation by its name and, for a document of the store, by the kind of it; for a statement by its
/// name.
pub(super) type Operation = (String, String);

/// One that fails the first time, and takes what comes then.
pub(super) fn receiver() -> Receiver {
    let (no, ok) = (answer("500 No", b""), answer("200 OK", b""));
    Receiver::answering_in_turn(&[&no, &ok])
}

/// What a publish does, also after its response, and what the retry of its delivery does.
pub(super) async fn operations(api: &Server) -> BTreeSet<Operation> {
    let receiver = receiver();
    let (application, _) = subscribed(api, &receiver.url()).await;
    let name = unique("request");
    let request = api.publish(&application).header("idempotency-key", &name);
    let request = request.header("x-local-runtime-request", &name);
    let published = request.expect(202).await.json();
    completed(api, &application, &published["id"]).await;
    let traced = trace(api, &name).into_iter();
    let traced =
        traced.filter(|operation| ["get", "exists", "set", "sql"].contains(&operation.op.as_str()));
    let mut operations: BTreeSet<Operation> = traced
        .map(|operation| {
            let kind = operation.key.split('/').next().unwrap_or_default();
            (operation.op, kind.to_owned())
        })
        .collect();
    // The pump that repeats it may be another request's.
    for statement in ["claim", "claim-fan-outs", "settle", "next-due", "record"] {
        operations.insert(("sql".to_owned(), statement.to_owned()));
    }
    for kind in [
        "webhook",
        "webhook-settings",
        "webhook-secrets",
        "application-settings",
    ] {
        operations.insert(("get".to_owned(), kind.to_owned()));
    }
    assert!(operations.contains(&("sql".to_owned(), "publish".to_owned())));
    operations
}

/// Publishes an event while one operation is disturbed, until there is a 202, and checks what became of
/// it.
async fn disturbed(api: &Server, (op, kind): &Operation, after: bool, fault: Fault) {
    let receiver = receiver();
    let (application, _) = subscribed(api, &receiver.url()).await;
    let case = format!("{op} {kind}, after: {after}");
    let key = unique("key");
    let fault = match op.as_str() {
        // Whoever runs it next.
        "sql" => fault.on(kind.as_str()),
        _ => fault.on(format!("{kind}/{}", application.id)),
    };
    let fault = if after { fault.after() } else { fault };
    let fault = fault.times(1).inject(api);
    let mut published = Value::Null;
    for _ in 0..5 {
        let request = api.publish(&application).header("idempotency-key", &key);
        let response = request.send().await;
        if response.status == 202 {
            published = response.json();
            break;
        }
        assert!(
            [502, 504].contains(&response.status),
            "{case}: {}",
            response.text
        );
    }
    assert!(published["id"].is_string(), "{case}");
    let is_delivered = |event: &Value| event["summary"]["succeeded"] == json!(1);
    event_when(api, &application, &published["id"], is_delivered).await;
    fault.end();
    let received = receiver.received();
    assert_eq!(received.len(), 2, "{case}");
    for sent in received {
        assert_eq!(json!(sent.header("webhook-id")), published["id"], "{case}");
    }
}

async fn each(api: &Server, fault: impl Fn(&str) -> Fault) {
    let operations = operations(api).await;
    let cases = operations
        .iter()
        .flat_map(|operation| [false, true].map(|after| (operation, after)));
    stream::iter(cases)
        .map(|(operation, after)| disturbed(api, operation, after, fault(&operation.0)))
        .buffer_unordered(SIDE_BY_SIDE)
        .collect::<Vec<()>>()
        .await;
}

async fn whichever_operation_fails_the_event_is_delivered(api: &Server) {
    local_runtime_only!();
    each(api, Fault::error).await;
}

async fn whichever_operation_is_late_the_event_is_delivered(api: &Server) {
    local_runtime_only!();
    each(api, |op| Fault::delay(op, Duration::from_secs(2))).await;
}
