//! The steps of a request: connections by name, statements, pauses.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use serde::Deserialize;
use serde_json::{Value, json};
use spin_sdk::pg::{self, DbValue, PgError, QueryError};
use spin_sdk::sqlite;
use spin_sdk::time::sleep;

/// How long a step may take that says nothing else.
const LIMIT: u64 = 20_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Step {
    /// Opens the SQLite database `default` under a name.
    Sqlite(String),
    /// Opens a connection to a PostgreSQL server under a name.
    Postgres(String, String),
    /// Runs a statement on the connection of that name.
    Sql(String, String, Read),
    /// Drops the connection of that name.
    Drop(String),
    /// Pauses, in milliseconds.
    Sleep(u64),
    /// Gives up a step after so many milliseconds.
    Within(u64, Box<Step>),
}

/// What the guest reads of a statement's result.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Read {
    /// All rows and then the end, as `collect()` does.
    All,
    /// The end alone, with the rows unread.
    End,
    /// Nothing.
    Nothing,
}

enum Connection {
    Sqlite(sqlite::Connection),
    Postgres(pg::Connection),
}

type Connections = HashMap<String, Connection>;

/// Runs the steps one after the other, and returns what came of each.
pub async fn run(steps: &[u8]) -> String {
    let steps: Vec<Step> = match serde_json::from_slice(steps) {
        Ok(steps) => steps,
        Err(error) => return json!({"error": error.to_string()}).to_string(),
    };
    let mut connections = Connections::new();
    let mut outcomes = Vec::new();
    for step in steps {
        let (limit, step) = match step {
            Step::Within(limit, step) => (limit, *step),
            step => (LIMIT, step),
        };
        let ran = pin!(take(&mut connections, step));
        let late = pin!(sleep(Duration::from_millis(limit)));
        outcomes.push(match select(ran, late).await {
            Either::Left((Ok(outcome), _)) => outcome,
            Either::Left((Err(error), _)) => json!({"error": error}),
            Either::Right(_) => json!("late"),
        });
    }
    Value::Array(outcomes).to_string()
}

async fn take(connections: &mut Connections, step: Step) -> Result<Value, String> {
    match step {
        Step::Sqlite(name) => {
            let opened = sqlite::Connection::open_default()
                .await
                .map_err(sqlite_error)?;
            connections.insert(name, Connection::Sqlite(opened));
        }
        Step::Postgres(name, address) => {
            let opened = pg::Connection::open(address)
                .await
                .map_err(postgres_error)?;
            connections.insert(name, Connection::Postgres(opened));
        }
        Step::Sql(name, statement, read) => {
            return match connections.get(&name) {
                Some(Connection::Sqlite(connection)) => {
                    on_sqlite(connection, &statement, read).await
                }
                Some(Connection::Postgres(connection)) => {
                    on_postgres(connection, &statement, read).await
                }
                None => Err(format!("there is no connection {name}")),
            };
        }
        Step::Drop(name) => drop(connections.remove(&name)),
        Step::Sleep(pause) => sleep(Duration::from_millis(pause)).await,
        Step::Within(..) => return Err("a limit has no limit".to_owned()),
    }
    Ok(json!("done"))
}

async fn on_sqlite(
    connection: &sqlite::Connection,
    statement: &str,
    read: Read,
) -> Result<Value, String> {
    let result = connection
        .execute(statement, [])
        .await
        .map_err(sqlite_error)?;
    match read {
        Read::All => {
            let rows = result.collect().await.map_err(sqlite_error)?;
            let cells = |row: &sqlite::RowResult| row.values.iter().map(sqlite_cell).collect();
            let rows: Vec<Value> = rows.iter().map(cells).collect();
            Ok(json!({ "rows": rows }))
        }
        Read::End => {
            result.result().await.map_err(sqlite_error)?;
            Ok(json!("done"))
        }
        Read::Nothing => Ok(json!("done")),
    }
}

async fn on_postgres(
    connection: &pg::Connection,
    statement: &str,
    read: Read,
) -> Result<Value, String> {
    let result = connection
        .query(statement, [])
        .await
        .map_err(postgres_error)?;
    match read {
        Read::All => {
            let (_, rows, end) = result.into_inner();
            let rows: Vec<Vec<DbValue>> = rows.collect().await;
            end.await.map_err(|error| postgres_error(error.into()))?;
            let cells = |row: &Vec<DbValue>| row.iter().map(postgres_cell).collect();
            let rows: Vec<Value> = rows.iter().map(cells).collect();
            Ok(json!({ "rows": rows }))
        }
        Read::End => {
            result.result().await.map_err(postgres_error)?;
            Ok(json!("done"))
        }
        Read::Nothing => Ok(json!("done")),
    }
}

fn sqlite_cell(value: &sqlite::Value) -> Value {
    match value {
        sqlite::Value::Null => Value::Null,
        sqlite::Value::Integer(number) => json!(number),
        sqlite::Value::Real(number) => json!(number),
        sqlite::Value::Text(text) => json!(text),
        sqlite::Value::Blob(bytes) => json!(bytes),
    }
}

fn postgres_cell(value: &DbValue) -> Value {
    match value {
        DbValue::DbNull => Value::Null,
        DbValue::Boolean(value) => json!(value),
        DbValue::Int32(number) => json!(number),
        DbValue::Int64(number) => json!(number),
        DbValue::Str(text) => json!(text),
        other => json!(format!("{other:?}")),
    }
}

fn sqlite_error(error: sqlite::Error) -> String {
    format!("{error:?}")
}

/// The server's code of an error, or the error as it is.
fn postgres_error(error: pg::Error) -> String {
    match error {
        pg::Error::PgError(PgError::QueryFailed(QueryError::DbError(error))) => error.code,
        other => format!("{other:?}"),
    }
}
