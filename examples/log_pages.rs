//! What a page of the log costs as the log grows: the statements that run on Spin, timed on SQLite and on
//! PostgreSQL with 1,000, 100,000 and 1,000,000 deliveries of one webhook. With 100,000 a page that is
//! filtered has as much to look at as it ever has.
//!
//! `cargo run --example log_pages` prints a table of medians and the ratio of the last to the first;
//! `-- --plans` also prints how each database finds what a statement asks for. Where PostgreSQL's server is
//! not installed, there is no table of it, and it says so.

#[allow(dead_code, reason = "the tests need other parts of it")]
#[path = "../tests/http/support/postgres.rs"]
mod postgres;
#[path = "../src/events/schema/postgres.rs"]
mod postgres_schema;
#[path = "../src/events/schema/sqlite.rs"]
mod sqlite_schema;

use std::time::{Duration, Instant};

use application_webhooks::events::database::{MAX_READ, MAX_SCANNED};
use application_webhooks::events::statements::{Dialect, Statement, Statements};
use tokio_postgres::NoTls;
use tokio_postgres::types::ToSql;

/// How many deliveries the logs have.
const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

/// How often each statement is timed.
const TIMES: usize = 101;

const APPLICATION: &str = "shop";
const WEBHOOK: &str = "8a1c2f9e-3d4b-4f5a-9b6c-7d8e9f0a1b2c";

/// How many items a page has, and one more, by which it is known that there is another page.
const LIMIT: i64 = 21;

/// A parameter of a statement.
#[derive(Clone)]
enum Parameter {
    Number(i64),
    Text(Option<String>),
}

/// A statement with its parameters.
struct Case {
    name: &'static str,
    statement: &'static Statement,
    parameters: Vec<Parameter>,
}

fn text(text: &str) -> Parameter {
    Parameter::Text(Some(text.to_owned()))
}

/// The id of the `number`th event.
fn id(number: u32) -> String {
    format!("evt_0190{number:08x}70008000000000000000")
}

/// What a page of each kind runs.
fn cases(statements: &'static Statements, size: u32) -> Vec<Case> {
    let none = || Parameter::Text(None);
    let number = |number: u32| Parameter::Number(number.into());
    let limit = || Parameter::Number(LIMIT);
    let mut cases = Vec::new();
    let mut add = |name, statement, parameters| {
        cases.push(Case {
            name,
            statement,
            parameters,
        });
    };
    let all = || [text(""), text("~")];
    let older = || [text(""), text(&id(size / 2))];

    let page = |[from, end]: [Parameter; 2], event_type, looked_at| {
        let application = text(APPLICATION);
        vec![application, from, end, event_type, looked_at, limit()]
    };
    let events = &statements.events_page;
    add("events", events, page(all(), none(), limit()));
    add(
        "events, from the middle on",
        events,
        page(older(), none(), limit()),
    );
    let frequent = page(all(), text("frequent"), number(MAX_SCANNED));
    add("events of a frequent type", events, frequent);
    let rare = page(all(), text("rare"), number(MAX_SCANNED));
    add("events of a rare type", events, rare);
    let scanned = |whose, looked_at: u32| {
        let [from, end] = all();
        vec![text(whose), from, end, number(looked_at - 1)]
    };
    let ended = &statements.events_scanned;
    add(
        "… and where it ended",
        ended,
        scanned(APPLICATION, MAX_SCANNED),
    );
    let [from, end] = all();
    let key = text(&format!("key-{}", size / 2));
    let with_key = vec![text(APPLICATION), key, from, end, none()];
    add("an event by its key", &statements.event_with_key, with_key);
    let ids = (0..LIMIT as u32 - 1).map(|back| format!("\"{}\"", id(size - back)));
    let ids = format!("[{}]", ids.collect::<Vec<_>>().join(","));
    add(
        "the summaries of a page",
        &statements.summaries,
        vec![text(&ids)],
    );

    let page = |[from, end]: [Parameter; 2], event_type, looked_at| {
        vec![text(WEBHOOK), from, end, event_type, looked_at, limit()]
    };
    let with_status = |mut parameters: Vec<Parameter>, status| {
        parameters.push(text(status));
        parameters
    };
    let deliveries = &statements.deliveries_page;
    add("deliveries", deliveries, page(all(), none(), limit()));
    add(
        "deliveries, from the middle on",
        deliveries,
        page(older(), none(), limit()),
    );
    let rare = || page(all(), text("rare"), number(MAX_READ));
    add(
        "deliveries of a rare type",
        deliveries,
        page(all(), text("rare"), number(MAX_SCANNED)),
    );
    let ended = &statements.deliveries_scanned;
    add("… and where it ended", ended, scanned(WEBHOOK, MAX_SCANNED));
    let succeeded = &statements.succeeded_page;
    add(
        "succeeded",
        succeeded,
        page(all(), none(), number(MAX_READ)),
    );
    add("succeeded, of a rare type", succeeded, rare());
    let unsuccessful = &statements.unsuccessful_page;
    for (name, status) in [("failed", "failed"), ("suppressed", "suppressed")] {
        let parameters = with_status(page(all(), none(), limit()), status);
        add(name, unsuccessful, parameters);
    }
    add(
        "failed, of a rare type",
        unsuccessful,
        with_status(rare(), "failed"),
    );
    let pending = &statements.pending_page;
    add("pending", pending, page(all(), none(), limit()));
    add("pending, of a rare type", pending, rare());
    let one = || vec![text(&id(size / 2)), text(WEBHOOK)];
    add("one delivery", &statements.delivery, one());
    add("its attempts", &statements.attempts, one());
    add(
        "a webhook's application",
        &statements.application_of,
        vec![text(WEBHOOK)],
    );
    cases
}

/// Fills a log with `size` events of one application, each with a delivery to one webhook and an attempt:
/// of 100, one failed, one is suppressed, one pending and the others succeeded; no type is rarer than the
/// one that is only at the log's beginning.
fn seed(dialect: Dialect, size: u32) -> [String; 3] {
    let (numbers, id, key) = match dialect {
        Dialect::Sqlite => (
            format!(
                "(WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {size}) SELECT n FROM n)"
            ),
            "printf('evt_0190%08x70008000000000000000', n)",
            "'key-' || n",
        ),
        Dialect::Postgres => (
            format!("(SELECT generate_series(1, {size}) AS n)"),
            "'evt_0190' || lpad(to_hex(n), 8, '0') || '70008000000000000000'",
            "'key-' || n",
        ),
    };
    let event_type = "CASE WHEN n = 1 THEN 'rare' ELSE 'frequent' END";
    let status = "CASE n % 100 WHEN 1 THEN 'failed' WHEN 2 THEN 'suppressed' WHEN 3 THEN 'pending' \
        ELSE 'succeeded' END";
    [
        format!(
            "INSERT INTO events (id, application_id, type, occurred_at, created_at, size_bytes, sha256,
               idempotency_key, request_hash, body)
             SELECT {id}, '{APPLICATION}', {event_type}, 0, 0, 200, '{hash}', {key}, '{hash}', '{body}'
             FROM {numbers} AS numbers",
            hash = "0".repeat(64),
            body = "x".repeat(200),
        ),
        format!(
            "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, attempts, step,
               retry, next_at, give_up_at, created_at)
             SELECT {id}, '{WEBHOOK}', '{APPLICATION}', {event_type}, {status}, 1, 1, 1,
               CASE WHEN n % 100 = 3 THEN 1 END, 0, 0
             FROM {numbers} AS numbers"
        ),
        format!(
            "INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms, url,
               secret_fingerprints, http_status, response_truncated, response_body)
             SELECT {id}, '{WEBHOOK}', 1, 'schedule', n, 20, 'https://merchant.example.com/hooks', '[]',
               200, 0, 'ok'
             FROM {numbers} AS numbers"
        ),
    ]
}

/// The median of what each case takes.
type Medians = Vec<(&'static str, Duration)>;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn on_sqlite(size: u32, plans: bool) -> Medians {
    let directory = tempfile::tempdir().expect("a directory");
    let database = rusqlite::Connection::open(directory.path().join("log.db")).expect("SQLite");
    database
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
        .expect("pragmas");
    for sql in sqlite_schema::SQLITE_1 {
        database.execute_batch(sql).expect("the tables");
    }
    for sql in seed(Dialect::Sqlite, size) {
        database.execute_batch(&sql).expect("the log");
    }
    let bound = |parameter: &Parameter| match parameter {
        Parameter::Number(number) => rusqlite::types::Value::Integer(*number),
        Parameter::Text(Some(text)) => rusqlite::types::Value::Text(text.clone()),
        Parameter::Text(None) => rusqlite::types::Value::Null,
    };
    let mut medians = Vec::new();
    for case in cases(Dialect::Sqlite.statements(), size) {
        let parameters: Vec<_> = case.parameters.iter().map(bound).collect();
        if plans {
            let sql = format!("EXPLAIN QUERY PLAN {}", case.statement.sql);
            let mut prepared = database.prepare(&sql).expect("a plan");
            let rows = prepared.query_map(rusqlite::params_from_iter(&parameters), |row| {
                row.get::<_, String>(3)
            });
            println!("\nSQLite, {}: {}", case.name, case.statement.name);
            for step in rows.expect("a plan") {
                println!("    {}", step.expect("a step"));
            }
        }
        let mut prepared = database.prepare(&case.statement.sql).expect("a statement");
        let times = (0..TIMES).map(|_| {
            let began = Instant::now();
            let mut rows = prepared
                .query(rusqlite::params_from_iter(&parameters))
                .expect("rows");
            while rows.next().expect("a row").is_some() {}
            began.elapsed()
        });
        medians.push((case.name, median(times.collect())));
    }
    medians
}

async fn on_postgres(server: &postgres::Postgres, size: u32, plans: bool) -> Medians {
    let address = server.database().url;
    let (client, connection) = tokio_postgres::connect(&address, NoTls)
        .await
        .expect("a connection");
    let connection = tokio::spawn(connection);
    let tables = postgres_schema::POSTGRES_1;
    client.batch_execute(tables).await.expect("the tables");
    for sql in seed(Dialect::Postgres, size) {
        client.batch_execute(&sql).await.expect("the log");
    }
    client
        .batch_execute("VACUUM ANALYZE")
        .await
        .expect("statistics");
    let mut medians = Vec::new();
    for case in cases(Dialect::Postgres.statements(), size) {
        let parameters: Vec<Box<dyn ToSql + Sync + Send>> = case
            .parameters
            .iter()
            .map(|parameter| -> Box<dyn ToSql + Sync + Send> {
                match parameter.clone() {
                    Parameter::Number(number) => Box::new(number),
                    Parameter::Text(text) => Box::new(text),
                }
            })
            .collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters
            .iter()
            .map(|parameter| parameter.as_ref() as &(dyn ToSql + Sync))
            .collect();
        if plans {
            println!("\nPostgreSQL, {}: {}", case.name, case.statement.name);
            let literals = case.parameters.iter().map(|parameter| match parameter {
                Parameter::Number(number) => number.to_string(),
                Parameter::Text(Some(text)) => format!("'{text}'"),
                Parameter::Text(None) => "NULL".to_owned(),
            });
            let literals = literals.collect::<Vec<_>>().join(", ");
            let script = format!(
                "SET plan_cache_mode = force_generic_plan; PREPARE planned AS {};
                 EXPLAIN (COSTS OFF) EXECUTE planned ({literals}); DEALLOCATE planned;
                 RESET plan_cache_mode",
                case.statement.sql
            );
            for message in client.simple_query(&script).await.expect("a plan") {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                    println!("    {}", row.get(0).unwrap_or_default());
                }
            }
        }
        let prepared = client
            .prepare(&case.statement.sql)
            .await
            .expect("a statement");
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let began = Instant::now();
            client.query(&prepared, &parameters).await.expect("rows");
            times.push(began.elapsed());
        }
        medians.push((case.name, median(times)));
    }
    drop(client);
    connection.abort();
    medians
}

fn print(database: &str, of_sizes: &[Medians]) {
    println!("\n| {database}: | 1,000, µs | 100,000, µs | 1,000,000, µs | ratio |");
    println!("|---|---|---|---|---|");
    let [small, middle, large] = of_sizes else {
        unreachable!("three sizes");
    };
    for (((name, small), (_, middle)), (_, large)) in small.iter().zip(middle).zip(large) {
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        let [small, middle, large] = [small, middle, large].map(|time| time.as_micros());
        println!("| {name} | {small} | {middle} | {large} | {ratio:.1} |");
    }
}

fn main() {
    let plans = std::env::args().any(|argument| argument == "--plans");
    let is_last = |size| plans && size == SIZES[2];
    let medians = SIZES.map(|size| on_sqlite(size, is_last(size)));
    print("SQLite", &medians);
    let Some(server) = postgres::Postgres::start() else {
        eprintln!("NOT RUN: PostgreSQL's server is not installed");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let medians = SIZES.map(|size| runtime.block_on(on_postgres(&server, size, is_last(size))));
    print("PostgreSQL", &medians);
}
