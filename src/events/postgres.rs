//! A PostgreSQL database. Only this file names `spin_sdk::pg`.

use std::rc::Rc;

use spin_sdk::pg;

use super::driver::{Call, Connection, Driver, Failure};
use super::statements::{Dialect, Statement};
use super::value::Value;
use crate::model::database_address::PostgresAddress;

/// Opens connections to it. Spin keeps at most 64 open in a process, and lets who needs another wait.
pub struct Postgres {
    /// Where it is.
    pub address: PostgresAddress,
}

impl Driver for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn open(&self) -> Call<'_, Rc<dyn Connection>> {
        Box::pin(async move {
            let opened = pg::Connection::open(self.address.reveal()).await;
            let connection = opened.map_err(|error| match failed(error) {
                Failure::Refused(reason) | Failure::Broken(reason) => {
                    Failure::broken(&self.address.redact(&reason))
                }
            })?;
            Ok(Rc::new(Open(connection)) as Rc<dyn Connection>)
        })
    }
}

struct Open(pg::Connection);

impl Connection for Open {
    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        parameters: &'a [Value],
    ) -> Call<'a, Vec<Vec<Value>>> {
        Box::pin(async move {
            let parameters: Vec<_> = parameters.iter().map(parameter).collect();
            let begun = self.0.query(statement.sql.as_str(), parameters).await;
            let (_, rows, result) = begun.map_err(failed)?.into_inner();
            let rows = rows.collect().await;
            result.await.map_err(|error| failed(error.into()))?;
            let rows = rows.into_iter();
            rows.map(|row| row.into_iter().map(column).collect())
                .collect()
        })
    }
}

fn parameter(value: &Value) -> pg::ParameterValue {
    match value {
        Value::Null => pg::ParameterValue::DbNull,
        Value::Integer(number) => pg::ParameterValue::Int64(*number),
        Value::Text(text) => pg::ParameterValue::Str(text.clone()),
    }
}

fn column(value: pg::DbValue) -> Result<Value, Failure> {
    match value {
        pg::DbValue::DbNull => Ok(Value::Null),
        pg::DbValue::Int64(number) => Ok(Value::Integer(number)),
        pg::DbValue::Int32(number) => Ok(Value::Integer(number.into())),
        pg::DbValue::Str(text) => Ok(Value::Text(text)),
        _ => Err(Failure::Refused("a column of another type".to_owned())),
    }
}

/// An error of the database is its code and its message. The rest of it may quote values.
fn failed(error: pg::Error) -> Failure {
    match error {
        pg::Error::PgError(pg::PgError::QueryFailed(pg::QueryError::DbError(error))) => {
            // Classes 08 and 57: the connection is lost, or the server is going down.
            let is_lost = error.code.starts_with("08") || error.code.starts_with("57P");
            let reason = format!("{} {}", error.code, error.message);
            if is_lost {
                Failure::Broken(reason)
            } else {
                Failure::Refused(reason)
            }
        }
        pg::Error::PgError(error) => match error {
            pg::PgError::ConnectionFailed(reason) => {
                Failure::broken(&format!("no connection: {reason}"))
            }
            pg::PgError::QueryFailed(pg::QueryError::Text(reason)) | pg::PgError::Other(reason) => {
                Failure::broken(&reason)
            }
            pg::PgError::QueryFailed(pg::QueryError::DbError(error)) => {
                Failure::broken(&error.code)
            }
            // The host's text may quote the value.
            pg::PgError::BadParameter(_) => Failure::broken("a parameter cannot be sent"),
            pg::PgError::ValueConversionFailed(_) => Failure::broken("a value cannot be read"),
        },
        pg::Error::Decode(_) => Failure::Refused("a column of another type".to_owned()),
    }
}
