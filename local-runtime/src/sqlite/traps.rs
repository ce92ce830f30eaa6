//! Tests: the traps of Spin's SQLite are the local runtime's too.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::connection::{Connection, Location, Rows};
use super::{Database, Sqlite, databases};
use crate::bindings::spin::sqlite::sqlite::{Error, Value};
use crate::instruments::Instruments;

/// Long enough for what happens, too short for what does not.
const MOMENT: Duration = Duration::from_millis(200);

fn file(directory: &Path) -> Location {
    Location::File(directory.join("deep/sqlite_db.db"))
}

fn connect(location: &Location) -> Connection {
    Connection::new(location.clone(), false).unwrap()
}

async fn execute(connection: &Connection, statement: &str) -> Rows {
    connection.execute(statement, Vec::new()).await.unwrap()
}

/// The rows of a statement, as the SDK's `collect()` returns them.
async fn collect(connection: &Connection, statement: &str) -> Result<Vec<Vec<Value>>, Error> {
    let mut answer = connection.execute(statement, Vec::new()).await?;
    let mut rows = Vec::new();
    while let Some(row) = answer.rows.recv().await {
        rows.push(row.values);
    }
    answer.end.await.expect("an end")?;
    Ok(rows)
}

async fn number(connection: &Connection, statement: &str) -> i64 {
    match collect(connection, statement).await.unwrap()[..] {
        [ref row] => match row[..] {
            [Value::Integer(number)] => number,
            ref other => panic!("{statement}: {other:?}"),
        },
        ref other => panic!("{statement}: {other:?}"),
    }
}

async fn text(connection: &Connection, statement: &str) -> String {
    let rows = collect(connection, statement).await.unwrap();
    match &rows[0][0] {
        Value::Text(text) => text.clone(),
        other => panic!("{statement}: {other:?}"),
    }
}

#[tokio::test]
async fn execute_returns_before_the_statement_ran() {
    let directory = tempfile::tempdir().unwrap();
    let location = file(directory.path());
    let (one, other) = (connect(&location), connect(&location));
    collect(&one, "CREATE TABLE t (n INTEGER)").await.unwrap();
    collect(&one, "BEGIN IMMEDIATE").await.unwrap();
    let mut insert = execute(&other, "INSERT INTO t VALUES (1)").await;
    assert!(timeout(MOMENT, &mut insert.end).await.is_err(), "it waits");
    collect(&one, "COMMIT").await.unwrap();
    insert.end.await.unwrap().unwrap();
    assert_eq!(number(&one, "SELECT count(*) FROM t").await, 1);
}

#[tokio::test]
async fn a_statement_that_cannot_be_prepared_fails_at_its_end() {
    let connection = connect(&Location::Memory);
    let answer = execute(&connection, "SELECT nothing").await;
    assert!(answer.columns.is_empty());
    let error = answer.end.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, Error::Io(text) if text.contains("nothing")),
        "{error:?}"
    );
}

#[tokio::test]
async fn more_than_four_unread_rows_have_no_end() {
    let connection = connect(&Location::Memory);
    let rows = |count: u8| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n"
        )
    };
    let four = execute(&connection, &rows(4)).await;
    assert_eq!(four.columns, ["i"]);
    timeout(MOMENT, four.end)
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    let mut five = execute(&connection, &rows(5)).await;
    assert!(timeout(MOMENT, &mut five.end).await.is_err());
    // Meanwhile nobody else has the connection.
    let next = connection.execute("SELECT 1", Vec::new());
    assert!(timeout(MOMENT, next).await.is_err());
    drop(five.rows);
    assert!(five.end.await.unwrap().is_err(), "the rows were dropped");
    assert_eq!(number(&connection, "SELECT 1").await, 1);
}

#[tokio::test]
async fn of_several_statements_only_the_first_runs_without_an_error() {
    let connection = connect(&Location::Memory);
    collect(&connection, "CREATE TABLE t (n INTEGER)")
        .await
        .unwrap();
    for statements in [
        "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
        "INSERT INTO t VALUES (3); INSERT INTO missing VALUES (4)",
        "INSERT INTO t VALUES (5); this is no SQL",
    ] {
        collect(&connection, statements).await.unwrap();
    }
    assert_eq!(number(&connection, "SELECT sum(n) FROM t").await, 9);
    let trigger = "CREATE TRIGGER twice AFTER INSERT ON t WHEN NEW.n < 10 BEGIN
                   INSERT INTO t VALUES (NEW.n + 10); INSERT INTO t VALUES (NEW.n + 20); END;";
    collect(&connection, trigger).await.unwrap();
    collect(&connection, "INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    assert_eq!(number(&connection, "SELECT count(*) FROM t").await, 6);
}

#[tokio::test]
async fn a_database_in_memory_is_its_connections_own() {
    let (one, other) = (connect(&Location::Memory), connect(&Location::Memory));
    collect(&one, "CREATE TABLE t (n)").await.unwrap();
    assert!(collect(&other, "SELECT * FROM t").await.is_err());
}

#[tokio::test]
async fn settings_are_spins() {
    let directory = tempfile::tempdir().unwrap();
    let location = file(directory.path());
    let one = connect(&location);
    for (pragma, value) in [
        ("busy_timeout", 5000),
        ("synchronous", 2),
        ("foreign_keys", 1),
    ] {
        assert_eq!(
            number(&one, &format!("PRAGMA {pragma}")).await,
            value,
            "{pragma}"
        );
    }
    assert_eq!(text(&one, "PRAGMA journal_mode").await, "delete");
    assert_eq!(text(&one, "PRAGMA journal_mode = WAL").await, "wal");
    // It stays in the file.
    assert_eq!(
        text(&connect(&location), "PRAGMA journal_mode").await,
        "wal"
    );
}

#[tokio::test]
async fn only_a_database_in_memory_can_be_attached() {
    let directory = tempfile::tempdir().unwrap();
    let location = file(directory.path());
    let other = directory.path().join("other.db");
    let attach = format!("ATTACH '{}' AS other", other.display());
    let connection = connect(&location);
    assert!(collect(&connection, &attach).await.is_err());
    assert!(!other.exists());
    collect(&connection, "ATTACH ':memory:' AS memory")
        .await
        .unwrap();
    let allowed = Connection::new(location, true).unwrap();
    collect(&allowed, &attach).await.unwrap();
}

#[tokio::test]
async fn a_connection_whose_statement_panicked_never_serves_again() {
    let connection = connect(&Location::Memory);
    let answer = execute(&connection, "SELECT CAST(x'ff' AS TEXT)").await;
    assert!(answer.end.await.is_err(), "its end is lost");
    for _ in 0..2 {
        assert!(connection.execute("SELECT 1", Vec::new()).await.is_err());
    }
}

#[tokio::test]
async fn a_dropped_connection_rolls_its_transaction_back() {
    let directory = tempfile::tempdir().unwrap();
    let location = file(directory.path());
    let (one, other) = (connect(&location), connect(&location));
    collect(&one, "CREATE TABLE t (n)").await.unwrap();
    collect(&one, "BEGIN").await.unwrap();
    collect(&one, "INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(number(&one, "SELECT count(*) FROM t").await, 1);
    drop(one);
    assert_eq!(number(&other, "SELECT count(*) FROM t").await, 0);
}

#[tokio::test]
async fn a_statement_runs_though_its_caller_is_gone_unless_it_still_waited() {
    let directory = tempfile::tempdir().unwrap();
    let location = file(directory.path());
    let (one, other) = (connect(&location), connect(&location));
    collect(&one, "CREATE TABLE t (n)").await.unwrap();
    // Executed, and never asked how it ended.
    drop(execute(&one, "INSERT INTO t VALUES (1)").await);
    // Given up while another statement had the connection.
    let many =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9) SELECT i FROM n";
    let unread = execute(&one, many).await;
    let waiting = one.execute("INSERT INTO t VALUES (2)", Vec::new());
    assert!(timeout(MOMENT, waiting).await.is_err());
    drop(unread);
    assert_eq!(number(&one, "SELECT sum(n) FROM t").await, 1);
    assert_eq!(number(&other, "SELECT sum(n) FROM t").await, 1);
}

#[tokio::test]
async fn all_changes_are_made_whichever_returned_rows_are_read() {
    let connection = connect(&Location::Memory);
    collect(&connection, "CREATE TABLE t (n)").await.unwrap();
    let insert = "INSERT INTO t VALUES (1), (2), (3), (4), (5), (6) RETURNING n";
    let mut answer = execute(&connection, insert).await;
    assert!(answer.rows.recv().await.is_some());
    drop(answer);
    assert_eq!(number(&connection, "SELECT count(*) FROM t").await, 6);
}

#[tokio::test]
async fn parameters_and_values_are_of_every_type() {
    let connection = connect(&Location::Memory);
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(0.5),
        Value::Text("ä\0".to_owned()),
        Value::Blob(vec![0, 255]),
    ];
    let select = "SELECT ?1, ?2, ?3, ?4, ?5";
    let mut answer = connection.execute(select, values.to_vec()).await.unwrap();
    let row = answer.rows.recv().await.unwrap();
    assert_eq!(format!("{:?}", row.values), format!("{values:?}"));
    let result = connection
        .execute_blocking(select, values.to_vec())
        .await
        .unwrap();
    assert_eq!(
        format!("{:?}", result.rows[0].values),
        format!("{values:?}")
    );
    assert_eq!(result.columns.len(), 5);
}

#[test]
fn the_default_database_is_in_the_state_directory_or_in_memory() {
    let config = toml::from_str("").unwrap();
    let default = |state_dir| {
        databases(&config, state_dir).unwrap()["default"]
            .location
            .clone()
    };
    let expected = Location::File("state/sqlite_db.db".into());
    assert_eq!(default(Some(Path::new("state"))), expected);
    assert_eq!(default(None), Location::Memory);
}

#[test]
fn the_runtime_config_names_databases() {
    let read = |text: &str| databases(&toml::from_str(text).unwrap(), Some(Path::new("state")));
    let found = read(
        "[sqlite_database.default]\ntype = \"spin\"\npath = \"data/events.db\"
         [sqlite_database.scratch]\ntype = \"spin\"\nallow_attach_file = true",
    )
    .unwrap();
    let database = |location, attach_files| Database {
        location,
        attach_files,
    };
    // Relative to the working directory, not to the file.
    let expected = database(Location::File("data/events.db".into()), false);
    assert_eq!(found["default"], expected);
    assert_eq!(found["scratch"], database(Location::Memory, true));
    for text in [
        "[sqlite_database.default]\ntype = \"libsql\"\nurl = \"https://db.example.com\"\ntoken = \"t\"",
        "[sqlite_database.default]\ntype = \"spin\"\nfile = \"a.db\"",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn a_component_does_not_start_with_a_database_that_nobody_defined() {
    let databases = databases(&toml::from_str("").unwrap(), None).unwrap();
    let start = |label: &str| {
        let labels = [label.to_owned()];
        Sqlite::new(
            "a",
            &labels,
            databases.clone().into(),
            Instruments::default(),
        )
    };
    assert!(start("default").is_ok());
    let error = start("other").err().unwrap().to_string();
    assert!(error.contains("`other`"), "{error}");
}
