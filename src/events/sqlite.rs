//! Spin's SQLite database `default`. Only this file names `spin_sdk::sqlite`.

use std::rc::Rc;
use std::time::Duration;

use spin_sdk::sqlite;

use super::driver::{Call, Connection, Driver, Failure};
use super::statements::{Dialect, Statement};
use super::value::Value;

/// Opens connections to it.
pub struct Sqlite {
    /// How long a statement waits for another connection's lock.
    pub lock_timeout: Duration,
}

impl Driver for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn open(&self) -> Call<'_, Rc<dyn Connection>> {
        Box::pin(async move {
            let opened = sqlite::Connection::open_default().await;
            let connection = Open(opened.map_err(failed)?);
            // Spin waits for five seconds: longer than whoever asks. libSQL has no such lock, and
            // refuses.
            let millis = self.lock_timeout.as_millis();
            let sql = format!("PRAGMA busy_timeout = {millis}");
            let _ = connection
                .query(&Statement::new("lock-timeout", &sql), &[])
                .await;
            Ok(Rc::new(connection) as Rc<dyn Connection>)
        })
    }
}

struct Open(sqlite::Connection);

impl Connection for Open {
    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        parameters: &'a [Value],
    ) -> Call<'a, Vec<Vec<Value>>> {
        Box::pin(async move {
            let parameters = parameters.iter().map(parameter);
            let begun = self.0.execute(&statement.sql, parameters).await;
            // Every row is taken: the host holds the connection until they are, and until then
            // nobody knows whether the statement took effect.
            let rows = begun.map_err(failed)?.collect().await.map_err(failed)?;
            let rows = rows.into_iter();
            rows.map(|row| row.values.into_iter().map(column).collect())
                .collect()
        })
    }
}

fn parameter(value: &Value) -> sqlite::Value {
    match value {
        Value::Null => sqlite::Value::Null,
        Value::Integer(number) => sqlite::Value::Integer(*number),
        Value::Text(text) => sqlite::Value::Text(text.clone()),
    }
}

fn column(value: sqlite::Value) -> Result<Value, Failure> {
    match value {
        sqlite::Value::Null => Ok(Value::Null),
        sqlite::Value::Integer(number) => Ok(Value::Integer(number)),
        sqlite::Value::Text(text) => Ok(Value::Text(text)),
        sqlite::Value::Real(_) | sqlite::Value::Blob(_) => {
            Err(Failure::Refused("a column of another type".to_owned()))
        }
    }
}

/// Spin does not tell a statement that is refused from a connection that is broken, but for the words.
/// A new connection costs little.
fn failed(error: sqlite::Error) -> Failure {
    match error {
        sqlite::Error::Io(reason) if reason.contains("no such table") => Failure::Refused(reason),
        sqlite::Error::Io(reason) => Failure::broken(&reason),
        other => Failure::broken(&other.to_string()),
    }
}
