//! What Spin's databases do in their own way, on Spin and on the local runtime alike, so that a test of
//! events on the local runtime holds for Spin too. The component is `tests/sql_probe/`.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::postgres::Database;
use crate::support::{
    PATIENCE, Server, Setup, faults, local_runtime_only, poll, postgres_server, raw,
};

/// A server of the probe, which may connect to this database.
fn setup(database: Option<&Database>) -> Setup {
    let host = database.map_or("", |database| &database.host);
    let wasm = std::env::var_os("WEBHOOKS_SQL_PROBE").map_or_else(
        || Path::new("target/wasm32-wasip2/release/sql_probe.wasm").to_owned(),
        PathBuf::from,
    );
    let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join(wasm);
    let manifest = format!(
        r#"
        spin_manifest_version = 2
        [application]
        name = "sql-probe"
        version = "0.1.0"
        [variables]
        host = {{ default = "{host}" }}
        [[trigger.http]]
        route = "/..."
        component = "sql-probe"
        [[trigger.http]]
        route = "/dispatcher/readyz"
        component = "sql-probe"
        [component.sql-probe]
        source = {wasm:?}
        key_value_stores = ["default"]
        sqlite_databases = ["default"]
        allowed_outbound_hosts = ["{{{{ host }}}}"]
        "#
    );
    Setup::new().without_runtime_config().manifest(&manifest)
}

/// Has the probe run these steps, and returns what came of each.
fn run(server: &Server, steps: &[Value]) -> Vec<Value> {
    let answer = post(server, "/", steps);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn post(server: &Server, path: &str, steps: &[Value]) -> String {
    let body = json!(steps).to_string();
    let length = body.len();
    let host = server.address();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let response = raw::exchange(host, request.as_bytes());
    match response.status {
        200 => response.text,
        status => status.to_string(),
    }
}

fn all(connection: &str, statement: &str) -> Value {
    json!({"sql": [connection, statement, "all"]})
}

fn end(connection: &str, statement: &str) -> Value {
    json!({"sql": [connection, statement, "end"]})
}

fn nothing(connection: &str, statement: &str) -> Value {
    json!({"sql": [connection, statement, "nothing"]})
}

/// The step, given up after what is too short for it when it waits.
fn briefly(step: Value) -> Value {
    json!({"within": [1000, step]})
}

fn rows(rows: Value) -> Value {
    json!({ "rows": rows })
}

fn sqlite(name: &str) -> Value {
    json!({ "sqlite": name })
}

/// The server of the tests on SQLite, each of which has a table of its own.
fn on_sqlite() -> &'static Server {
    static SERVER: LazyLock<Server> = LazyLock::new(|| setup(None).start());
    &SERVER
}

#[tokio::test]
async fn on_sqlite_more_than_four_unread_rows_have_no_end() {
    let numbers = |count: u8| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n"
        )
    };
    let steps = [
        sqlite("a"),
        end("a", &numbers(4)),
        briefly(end("a", &numbers(5))),
        all("a", &numbers(5)),
    ];
    let outcomes = run(on_sqlite(), &steps);
    assert_eq!(outcomes[1..3], ["done", "late"]);
    assert_eq!(outcomes[3], rows(json!([[1], [2], [3], [4], [5]])));
}

#[tokio::test]
async fn on_sqlite_of_several_statements_only_the_first_runs() {
    let steps = [
        sqlite("a"),
        end("a", "CREATE TABLE several (n)"),
        end(
            "a",
            "INSERT INTO several VALUES (1); INSERT INTO several VALUES (2)",
        ),
        end("a", "INSERT INTO several VALUES (4); this is no SQL"),
        all("a", "SELECT sum(n) FROM several"),
    ];
    let outcomes = run(on_sqlite(), &steps);
    assert_eq!(outcomes[2..4], ["done", "done"]);
    assert_eq!(outcomes[4], rows(json!([[5]])));
}

#[tokio::test]
async fn on_sqlite_only_the_end_tells_whether_a_statement_worked() {
    let steps = [
        sqlite("a"),
        nothing("a", "SELECT * FROM missing"),
        end("a", "SELECT * FROM missing"),
        end("a", "ATTACH '/tmp/other.db' AS other"),
    ];
    let outcomes = run(on_sqlite(), &steps);
    assert_eq!(outcomes[1], "done");
    for outcome in &outcomes[2..] {
        assert!(outcome["error"].is_string(), "{outcome}");
    }
}

#[tokio::test]
async fn on_sqlite_a_statement_waits_five_seconds_for_anothers_lock_and_fails() {
    let server = setup(None).start();
    let since = Instant::now();
    let steps = [
        sqlite("a"),
        sqlite("b"),
        end("a", "CREATE TABLE t (n)"),
        end("a", "BEGIN IMMEDIATE"),
        nothing("b", "SELECT * FROM t"),
        end("b", "INSERT INTO t VALUES (1)"),
        json!({"drop": "a"}),
        end("b", "INSERT INTO t VALUES (2)"),
        all("b", "SELECT n FROM t"),
    ];
    let outcomes = run(&server, &steps);
    assert!(since.elapsed() >= Duration::from_secs(5));
    let error = outcomes[5]["error"].as_str().unwrap_or_default();
    assert!(error.contains("database is locked"), "{}", outcomes[5]);
    // The dropped connection rolled its transaction back.
    assert_eq!(outcomes[7], "done");
    assert_eq!(outcomes[8], rows(json!([[2]])));
}

#[tokio::test]
async fn on_sqlite_the_journal_is_what_a_component_makes_it() {
    let server = setup(None).start();
    let mode = |name: &str| all(name, "PRAGMA journal_mode");
    let steps = [
        sqlite("a"),
        mode("a"),
        all("a", "PRAGMA journal_mode = WAL"),
    ];
    let outcomes = run(&server, &steps);
    assert_eq!(outcomes[1], rows(json!([["delete"]])));
    assert_eq!(outcomes[2], rows(json!([["wal"]])));
    let outcomes = run(&server, &[sqlite("b"), mode("b")]);
    assert_eq!(outcomes[1], rows(json!([["wal"]])));
}

#[tokio::test]
async fn a_text_that_is_not_utf_8_ends_the_instance() {
    let steps = [sqlite("a"), all("a", "SELECT CAST(x'ff' AS TEXT)")];
    assert_eq!(post(&setup(None).start(), "/", &steps), "500");
}

#[tokio::test]
async fn a_task_goes_on_after_the_response() {
    let server = setup(None).start();
    run(&server, &[sqlite("a"), end("a", "CREATE TABLE t (n)")]);
    // Longer than an instance lives that has nothing to do.
    let later = [
        sqlite("a"),
        json!({"sleep": 3000}),
        end("a", "INSERT INTO t VALUES (1)"),
    ];
    post(&server, "/background", &later);
    let count = || run(&server, &[sqlite("a"), all("a", "SELECT count(*) FROM t")]);
    assert_eq!(count()[1], rows(json!([[0]])));
    poll("the task's row", PATIENCE, || {
        (count()[1] == rows(json!([[1]]))).then_some(())
    })
    .await;
}

/// How many rows a task has written whose server was stopped a second before it was to write.
fn written_by_a_task_of(setup: Setup) -> Value {
    let server = setup.start();
    run(&server, &[sqlite("a"), end("a", "CREATE TABLE t (n)")]);
    let later = [
        sqlite("a"),
        json!({"sleep": 1000}),
        end("a", "INSERT INTO t VALUES (1)"),
    ];
    post(&server, "/background", &later);
    let again = server.terminate().start();
    run(&again, &[sqlite("a"), all("a", "SELECT count(*) FROM t")]).remove(1)
}

#[tokio::test]
async fn a_stop_cuts_off_what_is_running() {
    let written = written_by_a_task_of(setup(None).without_drain());
    assert_eq!(written, rows(json!([[0]])));
}

#[tokio::test]
async fn the_local_runtime_lets_tasks_end_unless_it_is_told_not_to() {
    local_runtime_only!();
    assert_eq!(written_by_a_task_of(setup(None)), rows(json!([[1]])));
}

#[tokio::test]
async fn the_local_runtime_asks_whether_a_dispatcher_is_ready() {
    local_runtime_only!();
    let server = setup(None).probed().start();
    poll("an instance for the probe", PATIENCE, || {
        (faults::stats(&server)["instances"] == 1).then_some(())
    })
    .await;
    let unasked = setup(None).start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(faults::stats(&unasked)["instances"], 0);
}

#[tokio::test]
async fn on_postgres_a_connection_goes_back_inside_its_transaction() {
    let database = postgres_server!().database();
    let server = setup(Some(&database)).start();
    let open = |name: &str| json!({"postgres": [name, database.url]});
    let steps = [
        open("a"),
        end("a", "CREATE TABLE t (n bigint)"),
        end("a", "BEGIN"),
        json!({"drop": "a"}),
        open("b"),
        end("b", "INSERT INTO t VALUES (1)"),
        open("c"),
        all("c", "SELECT count(*) FROM t"),
        end("b", "COMMIT"),
        all("c", "SELECT count(*) FROM t"),
    ];
    let outcomes = run(&server, &steps);
    assert_eq!(outcomes[5], "done");
    assert_eq!(outcomes[7], rows(json!([[0]])), "nobody sees it");
    assert_eq!(outcomes[9], rows(json!([[1]])));
}

#[tokio::test]
async fn on_postgres_the_sixty_fifth_connection_waits() {
    let database = postgres_server!().database();
    let server = setup(Some(&database)).start();
    let open = |number: usize| json!({"postgres": [number.to_string(), database.url]});
    let mut steps: Vec<_> = (0..64).map(open).collect();
    steps.push(briefly(open(64)));
    steps.push(json!({"drop": "0"}));
    steps.push(open(64));
    let outcomes = run(&server, &steps);
    assert!(outcomes[..64].iter().all(|outcome| outcome == "done"));
    assert_eq!(outcomes[64..], ["late", "done", "done"]);
}

#[tokio::test]
async fn on_postgres_a_statement_that_was_given_up_runs_to_its_end() {
    let database = postgres_server!().database();
    let server = setup(Some(&database)).start();
    let steps = [
        json!({"postgres": ["a", database.url]}),
        end("a", "CREATE TABLE t (n bigint)"),
        briefly(end("a", "INSERT INTO t SELECT 1 FROM pg_sleep(2)")),
        all("a", "SELECT count(*) FROM t"),
    ];
    let outcomes = run(&server, &steps);
    assert_eq!(outcomes[2], "late");
    assert_eq!(outcomes[3], rows(json!([[1]])));
}

#[tokio::test]
async fn on_postgres_rows_values_and_errors_are_spins() {
    let database = postgres_server!().database();
    let server = setup(Some(&database)).start();
    let steps = [
        json!({"postgres": ["a", database.url]}),
        end("a", "SELECT generate_series(1, 4)"),
        briefly(end("a", "SELECT generate_series(1, 5)")),
        all("a", "SELECT generate_series(1, 5)"),
        all("a", "SELECT true, 1::bigint, 'ä'::text, NULL::text"),
        all("a", "SELECT 1; SELECT 2"),
        all("a", "SELECT 1 / 0"),
        all("a", "SELECT now()"),
    ];
    let outcomes = run(&server, &steps);
    assert_eq!(outcomes[1..3], ["done", "late"]);
    assert_eq!(outcomes[3], rows(json!([[1], [2], [3], [4], [5]])));
    assert_eq!(outcomes[4], rows(json!([[true, 1, "ä", null]])));
    assert_eq!(outcomes[5], json!({"error": "42601"}));
    assert_eq!(outcomes[6], json!({"error": "22012"}));
    let error = outcomes[7]["error"].as_str().unwrap_or_default();
    assert!(error.contains("error deserializing column 0"), "{error}");
}

#[tokio::test]
async fn on_postgres_a_component_reaches_allowed_servers_only() {
    let database = postgres_server!().database();
    let open = |address: &str| json!({"postgres": ["a", address]});
    let other = database.url.replace("127.0.0.1", "localhost");
    let allowed = setup(Some(&database)).start();
    let outcomes = run(&allowed, &[open(&database.url), open(&other)]);
    assert_eq!(outcomes[0], "done");
    let error = outcomes[1]["error"].as_str().unwrap_or_default();
    assert!(error.contains("is not permitted"), "{error}");
    // An entry that its variable leaves empty allows nothing, and breaks nothing.
    let outcomes = run(on_sqlite(), &[open(&database.url), sqlite("b")]);
    let error = outcomes[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("is not permitted"), "{error}");
    assert_eq!(outcomes[1], "done");
}

#[tokio::test]
async fn on_postgres_a_connection_that_died_stays_dead() {
    let database = postgres_server!().database();
    let server = setup(Some(&database)).start();
    let open = |name: &str| json!({"postgres": [name, database.url]});
    run(&server, &[open("a"), end("a", "CREATE TABLE t (n bigint)")]);
    // Ends the database's connections, as the server's end would, while the guest holds one.
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                  WHERE pid <> pg_backend_pid() AND datname = current_database()";
    let steps = [
        open("a"),
        open("b"),
        all("b", others),
        all("a", "SELECT 1"),
        all("a", "SELECT 1"),
        open("c"),
        all("c", "SELECT 1"),
    ];
    let outcomes = run(&server, &steps);
    for outcome in &outcomes[3..5] {
        assert!(outcome["error"].is_string(), "it is dead: {outcome}");
    }
    assert_eq!(outcomes[6], rows(json!([[1]])));
}
