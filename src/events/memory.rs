//! SQLite in memory, whose statements a test schedules: when each takes effect, and whether it fails,
//! is cut off, or is the last of its process. What runs is what runs on Spin.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::oneshot;
use rusqlite::StatementStatus;
use rusqlite::types::ValueRef;

use super::connection::Connections;
use super::driver::{Call, Connection, Driver, Failure};
use super::sql::SqlDatabase;
use super::statements::{Dialect, Statement};
use super::value::Value;
use crate::runtime::simulation::{sleep, spawn};
use crate::store::memory::{Fate, Outcome};

/// How long a statement has.
const TIMEOUT: Duration = Duration::from_secs(2);

/// More than there are, so that each statement is prepared once.
const STATEMENTS: usize = 256;

thread_local! {
    /// The databases of this test's earlier cases: their tables are empty, and their statements prepared.
    /// To make the tables and to prepare the statements takes longer than most cases.
    static USED: RefCell<Vec<rusqlite::Connection>> = RefCell::default();
}

/// The database that several processes share.
#[derive(Clone)]
pub struct Memory(Rc<Shared>);

impl Default for Memory {
    fn default() -> Self {
        let used = USED.with_borrow_mut(Vec::pop);
        let connection = used.unwrap_or_else(|| opened(rusqlite::Connection::open_in_memory()));
        Self(Rc::new(Shared::Used(Some(connection))))
    }
}

fn opened(connection: rusqlite::Result<rusqlite::Connection>) -> rusqlite::Connection {
    let connection = connection.expect("SQLite opens");
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection
}

/// A connection, until nobody has it any more.
enum Shared {
    /// It is for the next case then; always there until then.
    Used(Option<rusqlite::Connection>),
    /// It is closed then.
    Closed(rusqlite::Connection),
}

impl Shared {
    fn connection(&self) -> &rusqlite::Connection {
        match self {
            Self::Used(connection) => connection.as_ref().expect("it is dropped last"),
            Self::Closed(connection) => connection,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Self::Used(connection) = self
            && let Some(connection) = connection.take()
            && !std::thread::panicking()
            && empty(&connection).is_ok()
        {
            // A test's thread can be ending.
            let _ = USED.try_with(|used| used.borrow_mut().push(connection));
        }
    }
}

/// Deletes every row but that of the tables' version.
fn empty(connection: &rusqlite::Connection) -> rusqlite::Result<()> {
    // Events last: each that is deleted takes with it what others have of it.
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
        AND name <> 'events_schema' ORDER BY name = 'events'";
    let mut tables = connection.prepare_cached(tables)?;
    let names: Vec<String> = tables
        .query_map((), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in names {
        let delete = format!("DELETE FROM {name}");
        connection.prepare_cached(&delete)?.execute(())?;
    }
    Ok(())
}

impl Memory {
    /// A database in a file, which other processes open too.
    pub fn at(file: &std::path::Path) -> Self {
        Self(Rc::new(Shared::Closed(opened(rusqlite::Connection::open(
            file,
        )))))
    }

    /// The database as one process sees it. `decide` is asked about each statement, by its name, when
    /// it begins; the tables are made at once.
    pub fn process(&self, decide: impl FnMut(&str) -> Fate + 'static) -> SqlDatabase {
        let process = Process {
            database: self.0.clone(),
            decide: Rc::new(RefCell::new(Box::new(decide))),
            crashed: Rc::default(),
        };
        SqlDatabase::new(Connections::new(Box::new(process), TIMEOUT))
    }

    /// The database as a process sees it whose statements go as `fates` says, one after the other; the
    /// rest are done at once.
    pub fn scheduled(&self, fates: Vec<Fate>) -> SqlDatabase {
        let mut fates = fates.into_iter();
        self.process(move |_| fates.next().unwrap_or_default())
    }

    /// What a statement of the test's own returns, whose parameters all have no value.
    pub fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        let connection = self.0.connection();
        let parameters = match connection.prepare_cached(sql) {
            Ok(prepared) => vec![Value::Null; prepared.parameter_count()],
            Err(error) => panic!("{sql}: {error}"),
        };
        run(connection, sql, &parameters).expect(sql)
    }

    /// Whether SQLite prepares a statement anew when its parameters have other values, but for 0 and 1: of
    /// these it expects more rows (3.54; Spin's 3.49 does not).
    pub fn prepares_anew(&self, sql: &str) -> bool {
        let mut prepared = self.0.connection().prepare_cached(sql).expect(sql);
        for value in 2..=4 {
            let values = vec![value; prepared.parameter_count()];
            // What it makes of them does not matter.
            let rows = prepared.query(rusqlite::params_from_iter(values));
            let _ = rows.and_then(|mut rows| rows.next().map(drop));
        }
        prepared.get_status(StatementStatus::RePrepare) > 0
    }
}

/// What is asked about each statement: its name.
type Decide = Rc<RefCell<Box<dyn FnMut(&str) -> Fate>>>;

#[derive(Clone)]
struct Process {
    database: Rc<Shared>,
    decide: Decide,
    crashed: Rc<Cell<bool>>,
}

impl Driver for Process {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn open(&self) -> Call<'_, Rc<dyn Connection>> {
        Box::pin(async move { Ok(Rc::new(self.clone()) as Rc<dyn Connection>) })
    }
}

impl Connection for Process {
    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        parameters: &'a [Value],
    ) -> Call<'a, Vec<Vec<Value>>> {
        let (sql, parameters) = (statement.sql.clone(), parameters.to_vec());
        let name = statement.name;
        Box::pin(async move {
            if self.crashed.get() {
                return pending().await;
            }
            if name.starts_with("schema") {
                return run(self.database.connection(), &sql, &parameters);
            }
            let Fate { delay, outcome } = (self.decide.borrow_mut())(name);
            let (answer, answered) = oneshot::channel();
            let (database, crashed) = (self.database.clone(), self.crashed.clone());
            // A task of its own: a caller that gives up does not stop it.
            spawn(async move {
                sleep(Duration::from_millis(1 + delay)).await;
                let failed = || Failure::Broken("injected".to_owned());
                match outcome {
                    Outcome::FailsBefore => return drop(answer.send(Err(failed()))),
                    Outcome::CrashBefore => return crashed.set(true),
                    _ => {}
                }
                let result = run(database.connection(), &sql, &parameters);
                match outcome {
                    Outcome::CrashAfter => crashed.set(true),
                    Outcome::FailsAfter => drop(answer.send(Err(failed()))),
                    _ => drop(answer.send(result)),
                }
            });
            match answered.await {
                Ok(answer) if !self.crashed.get() => answer,
                _ => pending().await,
            }
        })
    }
}

/// Runs a statement as Spin does: to its end, every row taken.
fn run(
    database: &rusqlite::Connection,
    sql: &str,
    parameters: &[Value],
) -> Result<Vec<Vec<Value>>, Failure> {
    let refused = |error: rusqlite::Error| Failure::Refused(error.to_string());
    let mut prepared = database.prepare_cached(sql).map_err(refused)?;
    let count = prepared.column_count();
    let mut rows = prepared
        .query(rusqlite::params_from_iter(parameters.iter().map(bound)))
        .map_err(refused)?;
    let mut taken = Vec::new();
    while let Some(row) = rows.next().map_err(refused)? {
        let columns = (0..count).map(|column| match row.get_ref(column) {
            Ok(ValueRef::Null) => Ok(Value::Null),
            Ok(ValueRef::Integer(number)) => Ok(Value::Integer(number)),
            Ok(ValueRef::Text(text)) => Ok(Value::Text(String::from_utf8_lossy(text).into())),
            other => Err(Failure::Refused(format!("a column: {other:?}"))),
        });
        taken.push(columns.collect::<Result<_, _>>()?);
    }
    Ok(taken)
}

fn bound(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(number) => rusqlite::types::Value::Integer(*number),
        Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
    }
}
