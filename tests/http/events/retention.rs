//! Events are deleted when they are too old, and when their application is gone: on servers whose clock the
//! test moves, and whose database fails, is late or loses its process meanwhile.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::{completed, event, publish, subscribed};
use crate::support::faults::{Fault, stats};
use crate::support::{Application, PATIENCE, Receiver, Server, Setup, local_runtime_only};

on_servers_of_their_own! {
    whichever_operation_fails_old_events_are_deleted
    whichever_operation_is_late_old_events_are_deleted
    whichever_operation_is_the_last_of_its_process_old_events_are_deleted
    whichever_operation_fails_events_of_a_deleted_application_are_deleted
    whichever_operation_is_late_events_of_a_deleted_application_are_deleted
    whichever_operation_is_the_last_of_its_process_events_of_a_deleted_application_are_deleted
    what_is_pending_is_not_deleted_however_old
}

/// `event_retention_days`, and a little more.
const KEPT: Duration = Duration::from_secs(30 * 86_400 + 60);

/// How long an instance waits until it looks again.
const PAUSE: Duration = Duration::from_secs(61);

/// The deadline of statements, and how late a late one is.
const DEADLINE: &str = "3000";
const LATE: Duration = Duration::from_millis(4500);

/// What deletes old events.
const OF_OLD_EVENTS: [(&str, &str); 1] = [("sql", "forget")];

/// What deletes events of an application that is gone.
const OF_ORPHANS: [(&str, &str); 4] = [
    ("sql", "application-since"),
    ("sql", "next-application"),
    ("exists", "application/"),
    ("sql", "forget-application"),
];

fn error(operation: &str) -> Fault {
    Fault::error(operation)
}

fn late(operation: &str) -> Fault {
    Fault::delay(operation, LATE)
}

fn crash(operation: &str) -> Fault {
    Fault::crash(operation)
}

/// An event that is delivered, and its server.
async fn delivered(setup: Setup) -> (Server, Application, Value) {
    let server = setup.variable("store_timeout_ms", DEADLINE).start();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(&server, &receiver.url()).await;
    let published = publish(&server, &application).await;
    let read = completed(&server, &application, &published["id"]).await;
    assert_eq!(read["summary"]["succeeded"], 1);
    (server, application, published["id"].clone())
}

/// Arms a fault of an operation, once.
fn arm(server: &Server, (op, key): (&str, &str), after: bool, fault: fn(&str) -> Fault) {
    let fault = match op {
        "sql" => fault(op).exactly(key),
        _ => fault(op).on(key),
    };
    let fault = if after { fault.after() } else { fault };
    // It ends with the process, which may not live so long as the test.
    std::mem::forget(fault.times(1).inject(server));
}

/// The server, or if it has died another process of it, at the same time of the day.
fn alive(server: Server) -> Server {
    if !server.has_ended() {
        return server;
    }
    server.restart()
}

/// The status of a read of the event; `None` where the process died.
async fn status(server: &Server, application: &Application, id: &Value) -> Option<u16> {
    let path = format!(
        "{}/{}",
        application.events_path(),
        id.as_str().expect("an id")
    );
    let read = server.by(application, "GET", &path).send_unchecked().await;
    read.ok().map(|response| response.status)
}

/// Lets time pass until the event is deleted. Returns the server.
async fn deleted(mut server: Server, application: &Application, id: &Value, what: &str) -> Server {
    let is_orphan = server.store().get(&application.key()).is_none();
    let since = Instant::now();
    loop {
        server = alive(server);
        // Of an application that is gone nobody could ask: so it is there for the moment of the question.
        if is_orphan {
            let document = application.document();
            server.store().set(&application.key(), document.as_bytes());
        }
        let status = status(&server, application, id).await;
        if is_orphan {
            server.store().delete_all(&application.key());
        }
        if status == Some(404) {
            return server;
        }
        assert!(since.elapsed() < 2 * PATIENCE, "{what}: {status:?}");
        server.sleep(PAUSE);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
}

/// That the event is kept. Its process may still be dying: what it did last was seen before.
async fn is_kept(mut server: Server, application: &Application, id: &Value) {
    let since = Instant::now();
    loop {
        server = alive(server);
        match status(&server, application, id).await {
            Some(status) => return assert_eq!(status, 200),
            None => assert!(since.elapsed() < PATIENCE, "no answer"),
        }
    }
}

async fn old_events(setup: &dyn Fn() -> Setup, fault: fn(&str) -> Fault) {
    each(&OF_OLD_EVENTS, async |operation, after| {
        let (server, application, id) = delivered(setup()).await;
        let what = format!("{operation:?}, after: {after}");
        server.set_ahead(KEPT / 2);
        let young = publish(&server, &application).await;
        completed(&server, &application, &young["id"]).await;
        arm(&server, operation, after, fault);
        server.set_ahead(KEPT);
        let server = deleted(server, &application, &id, &what).await;
        // And what is not so old is there.
        is_kept(server, &application, &young["id"]).await;
    })
    .await;
}

async fn orphans(setup: &dyn Fn() -> Setup, fault: fn(&str) -> Fault) {
    each(&OF_ORPHANS, async |operation, after| {
        let (server, application, id) = delivered(setup()).await;
        let other = server.application();
        let kept = publish(&server, &other).await;
        let what = format!("{operation:?}, after: {after}");
        let path = format!("/api/v1/applications/{}", application.id);
        server.by(&application, "DELETE", &path).expect(204).await;
        arm(&server, operation, after, fault);
        let server = deleted(server, &application, &id, &what).await;
        is_kept(server, &other, &kept["id"]).await;
    })
    .await;
}

/// Runs a case for each operation, before and after it took effect.
async fn each(
    operations: &[(&'static str, &'static str)],
    case: impl AsyncFn((&'static str, &'static str), bool),
) {
    let cases = operations.iter();
    let cases = cases.flat_map(|operation| [(*operation, false), (*operation, true)]);
    stream::iter(cases)
        .map(|(operation, after)| case(operation, after))
        .buffer_unordered(6)
        .collect::<Vec<()>>()
        .await;
}

async fn whichever_operation_fails_old_events_are_deleted(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    old_events(setup, error).await;
}

async fn whichever_operation_is_late_old_events_are_deleted(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    old_events(setup, late).await;
}

async fn whichever_operation_is_the_last_of_its_process_old_events_are_deleted(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    old_events(setup, crash).await;
}

async fn whichever_operation_fails_events_of_a_deleted_application_are_deleted(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    orphans(setup, error).await;
}

async fn whichever_operation_is_late_events_of_a_deleted_application_are_deleted(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    orphans(setup, late).await;
}

async fn whichever_operation_is_the_last_of_its_process_events_of_a_deleted_application_are_deleted(
    setup: &dyn Fn() -> Setup,
) {
    local_runtime_only!();
    orphans(setup, crash).await;
}

/// Its attempt is under way when it is old enough to be deleted: nobody has asked the server for a month.
async fn what_is_pending_is_not_deleted_however_old(setup: &dyn Fn() -> Setup) {
    local_runtime_only!();
    let server = setup().start();
    let (receiver, release) = Receiver::held("200 OK", b"");
    let (application, _) = subscribed(&server, &receiver.url()).await;
    let published = publish(&server, &application).await;
    let forgotten = || {
        stats(&server)["statements"]["forget"]
            .as_u64()
            .unwrap_or_default()
    };
    let before = forgotten();
    server.set_ahead(KEPT);
    let since = Instant::now();
    while forgotten() == before {
        assert!(since.elapsed() < PATIENCE, "no look for old events");
        // An instance looks within a minute of its own.
        server.sleep(PAUSE);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    event(&server, &application, &published["id"]).await;
    drop(release);
    let read = completed(&server, &application, &published["id"]).await;
    assert_eq!(read["summary"]["pending"], json!(0));
    deleted(server, &application, &published["id"], "completed").await;
}
