//! The events' database, as the service reaches it: one connection per instance.

use std::cell::RefCell;
use std::rc::Rc;

use spin_sdk::{pg, sqlite, variables};

use crate::recording::Parameter;

/// An open connection.
pub enum Database {
    Sqlite(sqlite::Connection),
    Postgres(pg::Connection),
}

impl Database {
    /// The instance's.
    pub async fn open() -> Result<Rc<Self>, String> {
        thread_local! {
            static OPENED: RefCell<Option<Rc<Database>>> = const { RefCell::new(None) };
        }

        if let Some(opened) = OPENED.with_borrow(Clone::clone) {
            return Ok(opened);
        }
        let address = variables::get("events_database").await;
        let address = address.map_err(|error| error.to_string())?;
        let opened = match address.as_str() {
            "" => {
                let opened = sqlite::Connection::open_default().await;
                let opened = Self::Sqlite(opened.map_err(|error| error.to_string())?);
                opened.run("PRAGMA busy_timeout = 20000", &[]).await?;
                opened
            }
            address => {
                let opened = pg::Connection::open(address).await;
                Self::Postgres(opened.map_err(|error| error.to_string())?)
            }
        };
        // Of requests that came at the same moment each may have opened one: the first is kept.
        Ok(OPENED.with_borrow_mut(|kept| kept.get_or_insert_with(|| Rc::new(opened)).clone()))
    }

    /// Runs a statement, and reads its rows.
    pub async fn run(&self, sql: &str, parameters: &[Parameter]) -> Result<(), String> {
        match self {
            Self::Sqlite(connection) => {
                let parameters = parameters.iter().map(|parameter| match parameter {
                    Parameter::Null => sqlite::Value::Null,
                    Parameter::Integer(number) => sqlite::Value::Integer(*number),
                    Parameter::Text(text) => sqlite::Value::Text(text.clone()),
                });
                let begun = connection.execute(sql, parameters).await;
                let rows = begun.map_err(|error| error.to_string())?.collect().await;
                rows.map(drop).map_err(|error| error.to_string())
            }
            Self::Postgres(connection) => {
                let parameters = parameters.iter().map(|parameter| match parameter {
                    Parameter::Null => pg::ParameterValue::DbNull,
                    Parameter::Integer(number) => pg::ParameterValue::Int64(*number),
                    Parameter::Text(text) => pg::ParameterValue::Str(text.clone()),
                });
                let begun = connection.query(sql, parameters.collect::<Vec<_>>()).await;
                let begun = begun.map_err(|error| error.to_string())?;
                let (_, rows, result) = begun.into_inner();
                drop(rows.collect().await);
                result.await.map_err(|error| format!("{error:?}"))
            }
        }
    }
}
