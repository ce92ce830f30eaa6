//! How the tests' statements reach PostgreSQL: over a connection of the test's own, or over one that is kept.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls};

use super::SqlDatabase;
use super::postgres::locked;
use crate::events::connection::Connections;
use crate::events::driver::{Call, Connection, Driver, Failure};
use crate::events::statements::{Dialect, Statement};
use crate::events::value::Value;

/// The database as one process sees it, over a connection of its own, or over the one that is kept.
pub fn process(address: String, kept: Option<Arc<Session>>) -> SqlDatabase {
    let driver = TestDriver { address, kept };
    SqlDatabase::new(Connections::new(Box::new(driver), Duration::from_secs(10)))
}

struct TestDriver {
    address: String,
    kept: Option<Arc<Session>>,
}

impl Driver for TestDriver {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn open(&self) -> Call<'_, Rc<dyn Connection>> {
        Box::pin(async move {
            let session = match &self.kept {
                Some(kept) => kept.clone(),
                None => Arc::new(Session::open(&self.address).await?),
            };
            Ok(Rc::new(Open(session)) as Rc<dyn Connection>)
        })
    }
}

/// A connection, on which each statement is prepared once. One test after the other can use it: to open one
/// and to plan the statements takes longer than most tests.
pub struct Session {
    pub client: Client,
    prepared: Mutex<HashMap<String, tokio_postgres::Statement>>,
}

impl Session {
    pub async fn open(address: &str) -> Result<Self, Failure> {
        // A test's own runtime ends with it.
        static RUNTIME: LazyLock<tokio::runtime::Handle> = LazyLock::new(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let handle = runtime.handle().clone();
            std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
            handle
        });
        let address = address.to_owned();
        let opened = RUNTIME.spawn(async move {
            let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
            // An error of the connection is an error of the statement, too.
            tokio::spawn(connection);
            Ok(client)
        });
        let client = opened.await.expect("a task");
        Ok(Self {
            client: client.map_err(|error| failed(&error))?,
            prepared: Mutex::default(),
        })
    }

    async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
        let known = locked(&self.prepared).get(sql).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let statement = self.client.prepare(sql).await?;
                locked(&self.prepared).insert(sql.to_owned(), statement.clone());
                statement
            }
        };
        self.client.query(&statement, parameters).await
    }
}

struct Open(Arc<Session>);

impl Connection for Open {
    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        parameters: &'a [Value],
    ) -> Call<'a, Vec<Vec<Value>>> {
        Box::pin(async move {
            let parameters: Vec<&(dyn ToSql + Sync)> =
                parameters.iter().map(|value| value as _).collect();
            let rows = self.0.query(&statement.sql, &parameters).await;
            let rows = rows.map_err(|error| failed(&error))?;
            rows.iter().map(columns).collect()
        })
    }
}

/// A row as Spin reads it: `bigint` and `text`.
fn columns(row: &tokio_postgres::Row) -> Result<Vec<Value>, Failure> {
    let columns = row.columns().iter().enumerate();
    let columns = columns.map(|(index, column)| match *column.type_() {
        Type::INT8 => Ok(Value::from(row.get::<_, Option<i64>>(index))),
        Type::INT4 => Ok(Value::from(row.get::<_, Option<i32>>(index).map(i64::from))),
        Type::TEXT => Ok(Value::from(row.get::<_, Option<String>>(index))),
        ref other => Err(Failure::Refused(format!("a column of type {other}"))),
    });
    columns.collect()
}

fn failed(error: &tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(refused) => {
            Failure::Refused(format!("{} {}", refused.code().code(), refused.message()))
        }
        None => Failure::Broken(error.to_string()),
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        type_: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) if *type_ == Type::INT8 => number.to_sql(type_, out),
            Self::Text(text) if *type_ == Type::TEXT => text.to_sql(type_, out),
            _ => Err(format!("{self:?} for a parameter of type {type_}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
