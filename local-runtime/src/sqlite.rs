//! `spin:sqlite@3.1.0`: which databases a component may open, and how its calls reach them.

pub mod connection;
#[cfg(test)]
mod traps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use serde_json::json;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use self::connection::{Connection, Location};
use crate::bindings::spin::sqlite::sqlite::{
    Error, Host, HostConnection, HostConnectionWithStore, QueryResult, RowResult, Value,
};
use crate::instruments::Instruments;
use crate::runtime_config::RuntimeConfig;
use crate::sql;
use crate::stats::Caller;
use crate::view::{Has, View, request};

/// How many connections an instance can have open.
const MAX_CONNECTIONS: usize = 256;

/// The file of the database `default` in the state directory.
const DEFAULT_FILE: &str = "sqlite_db.db";

/// A database that the runtime knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Where it is.
    pub location: Location,
    /// Whether its connections may `ATTACH` other files.
    pub attach_files: bool,
}

/// Every database that the runtime knows, by label.
pub type Databases = BTreeMap<String, Database>;

/// The databases of the runtime config, and `default`, which without a state directory is in memory.
///
/// A relative path starts at the working directory, as on Spin.
///
/// # Errors
///
/// One line that names a database of a type that is not there, or an unknown setting.
pub fn databases(config: &RuntimeConfig, state_dir: Option<&Path>) -> anyhow::Result<Databases> {
    let in_file = |path: Option<std::path::PathBuf>| path.map_or(Location::Memory, Location::File);
    let mut databases = Databases::new();
    for (label, table) in &config.sqlite_database {
        if table.r#type != "spin" {
            bail!(
                "the runtime config has a `{}` database; the local runtime has only SQLite files, so use Spin for it",
                table.r#type
            );
        }
        if let Some(unknown) = table.other.keys().next() {
            bail!("the runtime config's database `{label}` has the unknown setting `{unknown}`");
        }
        let database = Database {
            location: in_file(table.path.clone()),
            attach_files: table.allow_attach_file,
        };
        databases.insert(label.clone(), database);
    }
    databases
        .entry("default".to_owned())
        .or_insert_with(|| Database {
            location: in_file(state_dir.map(|directory| directory.join(DEFAULT_FILE))),
            attach_files: false,
        });
    Ok(databases)
}

/// What one instance has of the SQLite interface.
#[derive(Clone)]
pub struct Sqlite {
    /// The labels in the component's `sqlite_databases`.
    allowed: Arc<BTreeSet<String>>,
    databases: Arc<Databases>,
    instruments: Instruments,
    /// How many connections the instance has open.
    open: usize,
}

impl Sqlite {
    /// What each instance of the component `id` starts with.
    ///
    /// # Errors
    ///
    /// One line that names a label without a database, which Spin would not start with either.
    pub fn new(
        id: &str,
        labels: &[String],
        databases: Arc<Databases>,
        instruments: Instruments,
    ) -> anyhow::Result<Self> {
        if let Some(label) = labels.iter().find(|label| !databases.contains_key(*label)) {
            bail!(
                "component `{id}` uses the SQLite database `{label}`, which the runtime config does not define"
            );
        }
        Ok(Self {
            allowed: Arc::new(labels.iter().cloned().collect()),
            databases,
            instruments,
            open: 0,
        })
    }

    async fn connect(&self, label: String) -> wasmtime::Result<Result<Connection, Error>> {
        let allowed = self.allowed.contains(&label);
        let database = self.databases.get(&label).cloned();
        let connect = async move {
            if !allowed {
                return Err(Error::AccessDenied);
            }
            let database = database.ok_or(Error::NoSuchDatabase)?;
            Connection::new(database.location, database.attach_files)
        };
        self.instruments
            // The instance's, not the request's that happens to need it first.
            .run(
                sql::OPEN,
                &label,
                Caller(None),
                injected(),
                |_| None,
                connect,
            )
            .await
    }
}

/// A parameter as a trace has it; what the benchmark cannot replay says so.
fn shown(parameter: &Value) -> serde_json::Value {
    match parameter {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Real(_) | Value::Blob(_) => json!({"notShown": true}),
    }
}

/// The error of an injected fault.
fn injected() -> Error {
    Error::Io("injected fault".to_owned())
}

/// The guest's handle of a connection.
pub type OpenConnection = Arc<Connection>;

impl View<'_, Sqlite> {
    fn push(
        &mut self,
        connection: Connection,
    ) -> wasmtime::Result<Result<Resource<OpenConnection>, Error>> {
        if self.context.open >= MAX_CONNECTIONS {
            return Ok(Err(Error::Io("too many connections opened".to_owned())));
        }
        let connection = self.table.push(Arc::new(connection))?;
        self.context.open += 1;
        Ok(Ok(connection))
    }
}

impl Host for View<'_, Sqlite> {}

/// The calls that stop the whole instance while they run. Our components import none of them.
impl HostConnection for View<'_, Sqlite> {
    async fn open(
        &mut self,
        database: String,
    ) -> wasmtime::Result<Result<Resource<OpenConnection>, Error>> {
        match self.context.connect(database).await? {
            Ok(connection) => self.push(connection),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn execute(
        &mut self,
        connection: Resource<OpenConnection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<QueryResult, Error>> {
        let connection = self.table.get(&connection)?.clone();
        let name = sql::name(&statement);
        let execute = async move { connection.execute_blocking(&statement, parameters).await };
        self.context
            .instruments
            .run(
                sql::STATEMENT,
                &name,
                Caller(None),
                injected(),
                |_| None,
                execute,
            )
            .await
    }

    async fn last_insert_rowid(
        &mut self,
        connection: Resource<OpenConnection>,
    ) -> wasmtime::Result<i64> {
        Ok(self.table.get(&connection)?.last_insert_rowid()?)
    }

    async fn changes(&mut self, connection: Resource<OpenConnection>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&connection)?.changes()?)
    }

    async fn drop(&mut self, connection: Resource<OpenConnection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        self.context.open -= 1;
        Ok(())
    }
}

type Executed = (
    Vec<String>,
    StreamReader<RowResult>,
    FutureReader<Result<(), Error>>,
);

impl<T: Send> HostConnectionWithStore<T> for Has<Sqlite> {
    async fn open_async(
        accessor: &Accessor<T, Self>,
        database: String,
    ) -> wasmtime::Result<Result<Resource<OpenConnection>, Error>> {
        let context = accessor.with(|mut access| access.get().context.clone());
        match context.connect(database).await? {
            Ok(connection) => accessor.with(|mut access| access.get().push(connection)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<OpenConnection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<Executed, Error>> {
        let caller = request(accessor)?;
        let (instruments, connection) = accessor.with(|mut access| {
            let view = access.get();
            let connection = view.table.get(&connection)?.clone();
            wasmtime::error::Ok((view.context.instruments.clone(), connection))
        })?;
        let caller = Caller(caller.as_deref());
        let is_followed = instruments.stats.is_followed(caller);
        let shown = is_followed.then(|| parameters.iter().map(shown).collect());
        let text = statement.clone();
        let execute = async move { connection.execute(&text, parameters).await };
        let answer =
            sql::query(&instruments, &statement, shown, caller, injected(), execute).await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let rows = StreamReader::new(&mut access, sql::Rows(answer.rows))?;
            let end = FutureReader::new(&mut access, answer.end)?;
            Ok(Ok((answer.columns, rows, end)))
        })
    }

    async fn last_insert_rowid_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<OpenConnection>,
    ) -> wasmtime::Result<i64> {
        let connection = opened(accessor, &connection)?;
        Ok(connection.last_insert_rowid()?)
    }

    async fn changes_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<OpenConnection>,
    ) -> wasmtime::Result<u64> {
        let connection = opened(accessor, &connection)?;
        Ok(connection.changes()?)
    }
}

fn opened<T>(
    accessor: &Accessor<T, Has<Sqlite>>,
    connection: &Resource<OpenConnection>,
) -> wasmtime::Result<OpenConnection> {
    accessor.with(|mut access| Ok(access.get().table.get(connection)?.clone()))
}
