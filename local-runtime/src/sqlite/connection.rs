//! A connection to a SQLite database, with the traps of Spin's.
//!
//! Each is a connection of its own to the file: there is no pool. Statements of one connection wait
//! for each other on a mutex, in threads of their own, and one holds it until the guest has taken its
//! last row.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Statement, params_from_iter};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::bindings::spin::sqlite::sqlite::{Error, QueryResult, RowResult, Value};
use crate::sql::{Answer, ROWS_AHEAD};

/// The largest row, and the largest result of a blocking call, that Spin buffers: its
/// `MAX_HOST_BUFFERED_BYTES`.
const MAX_RESULT_BYTES: usize = 128 << 20;

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Nowhere: each connection has an empty database of its own, gone when it closes.
    Memory,
    /// In this file.
    File(PathBuf),
}

/// A connection, whose file is opened by its first statement.
pub struct Connection {
    location: Location,
    /// Whether `ATTACH` may open other files.
    attach_files: bool,
    opened: OnceLock<Arc<Mutex<rusqlite::Connection>>>,
}

/// The result of an asynchronous statement.
pub type Rows = Answer<String, RowResult, Error>;

impl Connection {
    /// A connection that is not open yet.
    ///
    /// # Errors
    ///
    /// `InvalidConnection` when the file's folder cannot be made.
    pub fn new(location: Location, attach_files: bool) -> Result<Self, Error> {
        if let Location::File(path) = &location
            && let Some(directory) = path.parent()
        {
            std::fs::create_dir_all(directory).map_err(|_| Error::InvalidConnection)?;
        }
        Ok(Self {
            location,
            attach_files,
            opened: OnceLock::new(),
        })
    }

    fn opened(&self) -> Result<Arc<Mutex<rusqlite::Connection>>, Error> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened.clone());
        }
        let mut connection = match &self.location {
            Location::Memory => rusqlite::Connection::open_in_memory(),
            Location::File(path) => rusqlite::Connection::open(path),
        }
        .map_err(io)?;
        if !self.attach_files {
            connection.authorizer(Some(deny_attach)).map_err(io)?;
        }
        let opened = Arc::new(Mutex::new(connection));
        Ok(self.opened.get_or_init(|| opened).clone())
    }

    /// Runs a statement, and returns when its columns are known: before it has run.
    ///
    /// Nothing stops it any more, unless the caller is gone before the connection was free.
    ///
    /// # Errors
    ///
    /// `Io` when the file cannot be opened. What is wrong with the statement is reported at the
    /// result's end.
    pub async fn execute(&self, statement: &str, parameters: Vec<Value>) -> Result<Rows, Error> {
        let connection = self.opened()?;
        let statement = statement.to_owned();
        let (prepared, columns) = oneshot::channel();
        let (row, rows) = mpsc::channel(ROWS_AHEAD);
        let (ended, end) = oneshot::channel();
        spawn_blocking(move || {
            let mut prepared = Some(prepared);
            let result = run(
                &lock(&connection),
                &statement,
                parameters,
                |columns| match prepared.take().map(|prepared| prepared.send(columns)) {
                    Some(Ok(())) => Ok(()),
                    _ => Err(Error::Io("column send error".to_owned())),
                },
                |next| {
                    if size_of_row(&next) > MAX_RESULT_BYTES {
                        return Err(too_large());
                    }
                    row.blocking_send(next)
                        .map_err(|_| Error::Io("row send error".to_owned()))
                },
            );
            // A statement that cannot be prepared has no columns, and is no error yet.
            if let Some(prepared) = prepared.take() {
                let _ = prepared.send(Vec::new());
            }
            let _ = ended.send(result);
        });
        let columns = columns
            .await
            .map_err(|error| Error::Io(error.to_string()))?;
        Ok(Answer { columns, rows, end })
    }

    /// Runs a statement to its end.
    ///
    /// # Errors
    ///
    /// `Io` with SQLite's message, or for more than 128 MiB of rows.
    pub async fn execute_blocking(
        &self,
        statement: &str,
        parameters: Vec<Value>,
    ) -> Result<QueryResult, Error> {
        let connection = self.opened()?;
        let statement = statement.to_owned();
        let work = move || {
            let mut result = QueryResult {
                columns: Vec::new(),
                rows: Vec::new(),
            };
            let mut bytes = 0;
            run(
                &lock(&connection),
                &statement,
                parameters,
                |columns| {
                    result.columns = columns;
                    Ok(())
                },
                |row| {
                    bytes += size_of_row(&row);
                    if bytes > MAX_RESULT_BYTES {
                        return Err(too_large());
                    }
                    result.rows.push(row);
                    Ok(())
                },
            )?;
            Ok(result)
        };
        spawn_blocking(work)
            .await
            .map_err(|error| Error::Io(error.to_string()))?
    }

    /// The rows that the last statement changed. Blocks the thread while another one runs.
    ///
    /// # Errors
    ///
    /// `Io` when the file cannot be opened.
    pub fn changes(&self) -> Result<u64, Error> {
        Ok(lock(&*self.opened()?).changes())
    }

    /// The id of the row that was inserted last. Blocks the thread while a statement runs.
    ///
    /// # Errors
    ///
    /// `Io` when the file cannot be opened.
    pub fn last_insert_rowid(&self) -> Result<i64, Error> {
        Ok(lock(&*self.opened()?).last_insert_rowid())
    }
}

/// Panics, as Spin does, when a statement panicked while it held the connection: that connection
/// never serves again.
fn lock(connection: &Mutex<rusqlite::Connection>) -> MutexGuard<'_, rusqlite::Connection> {
    connection.lock().expect("a connection that works")
}

fn deny_attach(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Attach { filename } if !matches!(filename, "" | ":memory:") => {
            Authorization::Deny
        }
        _ => Authorization::Allow,
    }
}

/// Runs the first statement of a text, and gives out its columns and then its rows.
fn run(
    connection: &rusqlite::Connection,
    text: &str,
    parameters: Vec<Value>,
    columns: impl FnOnce(Vec<String>) -> Result<(), Error>,
    mut row: impl FnMut(RowResult) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut cached, mut first);
    let statement: &mut Statement<'_> = match connection.prepare_cached(text) {
        Ok(statement) => {
            cached = statement;
            &mut cached
        }
        // Spin's release of rusqlite ignores what follows the first statement; this one refuses it.
        Err(error) => {
            let only = Batch::new(connection, text).next().map_err(io)?;
            first = only.ok_or_else(|| io(error))?;
            &mut first
        }
    };
    let names: Vec<_> = statement.column_names().map(str::to_owned).collect();
    let width = names.len();
    columns(names)?;
    let mut rows = statement
        .query(params_from_iter(parameters.into_iter().map(bound)))
        .map_err(io)?;
    while let Some(next) = rows.next().map_err(io)? {
        let values = (0..width)
            .map(|column| next.get_ref(column).map(value))
            .collect::<rusqlite::Result<_>>()
            .map_err(io)?;
        row(RowResult { values })?;
    }
    Ok(())
}

fn bound(value: Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(value) => rusqlite::types::Value::Integer(value),
        Value::Real(value) => rusqlite::types::Value::Real(value),
        Value::Text(value) => rusqlite::types::Value::Text(value),
        Value::Blob(value) => rusqlite::types::Value::Blob(value),
    }
}

/// Panics, as Spin does, on a text that is not UTF-8.
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(value) => {
            Value::Text(String::from_utf8(value.to_vec()).expect("a text in UTF-8"))
        }
        ValueRef::Blob(value) => Value::Blob(value.to_vec()),
    }
}

fn size_of_row(row: &RowResult) -> usize {
    let variable = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        Value::Null | Value::Integer(_) | Value::Real(_) => 0,
    };
    row.values
        .iter()
        .map(|value| size_of::<Value>() + variable(value))
        .sum()
}

fn too_large() -> Error {
    Error::Io(format!(
        "query result exceeds limit of {MAX_RESULT_BYTES} bytes"
    ))
}

fn io(error: rusqlite::Error) -> Error {
    Error::Io(error.to_string())
}
