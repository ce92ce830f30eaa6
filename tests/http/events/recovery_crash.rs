//! A recovery of many deliveries, whose process is killed in the middle: none is lost, and none comes
//! twice but for what was in flight then.
//!
//! `RECOVERY_SIZE=100000 cargo xtask test -- --test http events::recovery_crash -- --nocapture` makes it
//! large: that takes some minutes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::subscribed;
use crate::support::postgres::Database;
use crate::support::server::dispatching_setup;
use crate::support::{
    Application, PATIENCE, Postgres, Receiver, Server, Setup, local_runtime_only,
};

#[tokio::test]
async fn on_sqlite_none_is_lost_by_kill_9() {
    local_runtime_only!();
    let setup = dispatching_setup();
    let file = setup.state_dir().join("sqlite_db.db");
    none_is_lost_by_kill_9(setup, Events::Sqlite(file)).await;
}

#[tokio::test]
async fn on_postgres_none_is_lost_by_kill_9() {
    local_runtime_only!();
    let server = crate::support::postgres_server!();
    let database = server.database();
    let setup = dispatching_setup()
        .variable("events_database", &database.url)
        .variable("events_database_host", &database.host);
    none_is_lost_by_kill_9(setup, Events::Postgres(server, database)).await;
}

/// How many deliveries are recovered.
fn size() -> usize {
    let size = std::env::var("RECOVERY_SIZE").ok();
    size.map_or(1_500, |size| {
        size.parse().expect("RECOVERY_SIZE is a number")
    })
}

/// The database of events, from the outside.
enum Events {
    Sqlite(PathBuf),
    Postgres(&'static Postgres, Database),
}

impl Events {
    fn run(&self, statement: &str) {
        match self {
            Self::Sqlite(file) => {
                let database = rusqlite::Connection::open(file).expect("it opens");
                let busy = database.busy_timeout(Duration::from_secs(30));
                busy.expect("a timeout");
                database.execute_batch(statement).expect(statement);
            }
            Self::Postgres(server, database) => drop(server.query(database, statement)),
        }
    }

    /// Stores so many failed deliveries, the last an hour ago.
    fn fill(&self, application: &Application, webhook: &str, size: usize) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("after 1970").as_millis();
        let first = now - 3_600_000 - size as u128;
        let (numbers, id) = match self {
            Self::Sqlite(_) => (
                format!(
                    "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {size})"
                ),
                format!("printf('evt_%012x70008000000000000000', {first} + n)"),
            ),
            Self::Postgres(..) => (
                format!("WITH n AS (SELECT generate_series(0, {size} - 1)::bigint AS n)"),
                format!("'evt_' || lpad(to_hex({first} + n), 12, '0') || '70008000000000000000'"),
            ),
        };
        let application = &application.id;
        self.run(&format!(
            "{numbers} INSERT INTO events (id, application_id, type, occurred_at, created_at, size_bytes,
               sha256, body)
             SELECT {id}, '{application}', 'session.completed', {first} + n, {first} + n, 2, '', '{{}}'
             FROM n"
        ));
        self.run(&format!(
            "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, reason, attempts,
               step, retry, give_up_at, created_at, completed_at)
             SELECT id, '{webhook}', application_id, type, 'failed', 'exhausted', 4, 4, 1, created_at,
               created_at, created_at FROM events WHERE application_id = '{application}'"
        ));
    }
}

async fn read(api: &Server, application: &Application, location: &str) -> Value {
    api.by(application, "GET", location)
        .expect(200)
        .await
        .json()
}

fn number(recovery: &Value, name: &str) -> usize {
    let number = recovery[name].as_u64();
    number.unwrap_or_else(|| panic!("{recovery:#}")) as usize
}

async fn none_is_lost_by_kill_9(setup: Setup, events: Events) {
    let size = size();
    // A step, and what the endpoint takes, may be slow on a busy machine.
    let patience = PATIENCE + Duration::from_millis(40) * size as u32;
    let api = setup.start();
    api.request("GET", "/dispatcher/readyz")
        .without_token()
        .expect(200)
        .await;
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = subscribed(&api, &receiver.url()).await;
    let webhook = &created.webhook.id;
    events.fill(&application, webhook, size);

    let path = format!("{}/recoveries", application.webhook_path(webhook));
    let request = |body: Value| api.by(&application, "POST", &path).json(&body);
    let window = json!({"after": "2026-01-15T08:00:00.000Z", "perMinute": 60_000});
    let mut dry_run = window.clone();
    dry_run["dryRun"] = json!(true);
    let since = Instant::now();
    let counted = request(dry_run).expect(200).await.json();
    println!("{size} deliveries: counted in {:?}", since.elapsed());
    assert_eq!(counted, json!({"matched": size}));
    let since = Instant::now();
    let begun = request(window).expect(202).await;
    println!("begun in {:?}: {}", since.elapsed(), begun.text);
    let location = begun.header("location").expect("a location").to_owned();

    let since = Instant::now();
    let queued = loop {
        let recovery = read(&api, &application, &location).await;
        let queued = number(&recovery, "queued");
        if queued >= size / 3 {
            break queued;
        }
        assert!(since.elapsed() < patience, "{recovery:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let api = api.kill().start();
    println!("killed after {:?} with {queued} queued", since.elapsed());
    assert!(queued < size, "in the middle");
    let done = loop {
        let recovery = read(&api, &application, &location).await;
        if recovery["status"] == "done" {
            break recovery;
        }
        assert!(since.elapsed() < patience, "{recovery:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("done after {:?}: {done}", since.elapsed());
    assert_eq!(done["matched"], json!(size));
    assert_eq!(
        (number(&done, "queued"), number(&done, "skipped")),
        (size, 0)
    );

    let times = loop {
        let mut times = BTreeMap::<String, usize>::new();
        for sent in receiver.received() {
            *times
                .entry(sent.header("webhook-id").to_owned())
                .or_default() += 1;
        }
        if times.len() == size {
            break times;
        }
        assert!(since.elapsed() < patience, "{} of {size}", times.len());
        tokio::time::sleep(Duration::from_millis(1000)).await;
    };
    let twice = times.values().filter(|times| **times == 2).count();
    let more = times.values().filter(|times| **times > 2).count();
    println!("all delivered after {:?}, {twice} twice", since.elapsed());
    // What was sent and not recorded when the process was killed.
    assert!(twice <= 64 && more == 0, "{twice} twice, {more} more often");
}
