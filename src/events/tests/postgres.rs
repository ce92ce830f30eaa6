//! A PostgreSQL server of the tests' own: in a temporary directory, on a port of its own, as a user
//! who is not root.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls};

use super::SqlDatabase;
use crate::events::connection::Connections;
use crate::events::driver::{Call, Connection, Driver, Failure};
use crate::events::statements::{Dialect, Statement};
use crate::events::value::Value;

/// Runs a test with an empty database. Where the server is missing, the test is not run, and says so.
pub fn run(name: &str, test: impl AsyncFnOnce(&SqlDatabase)) {
    on_server(name, async |server| {
        let database = server.database_with_tables().await;
        test(&database.connect()).await;
        server.keep_tables(database).await;
    });
}

/// As [`run`], with the database itself, which has no tables yet: to connect more than once, and to run
/// other statements.
pub fn run_with(name: &str, test: impl AsyncFnOnce(&TestDatabase)) {
    on_server(name, async |server| {
        let database = server.database().await;
        test(&database).await;
        server.keep(database).await;
    });
}

fn on_server(name: &str, test: impl AsyncFnOnce(&Server)) {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let Some(server) = SERVER.get_or_init(Server::start) else {
        return not_run(name);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test(server));
}

/// `cargo xtask test` counts what could not run.
fn not_run(name: &str) {
    let line = format!("{name}: PostgreSQL's server is not installed\n");
    match std::env::var_os("WEBHOOKS_NOT_RUN") {
        Some(file) => {
            let file = std::fs::File::options()
                .append(true)
                .create(true)
                .open(file);
            let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
            written.expect("a line can be written");
        }
        None => eprint!("NOT RUN: {line}"),
    }
}

/// A server that ends with this process.
pub struct Server {
    port: u16,
    databases: AtomicU32,
    /// What tests that passed have left: to make a database or its tables takes longer than most tests.
    empty: Mutex<Vec<TestDatabase>>,
    with_tables: Mutex<Vec<TestDatabase>>,
    /// Reads what nobody writes. When this process ends, it reads the end, and ends the server.
    _guardian: Child,
}

impl Server {
    /// A new server; `None`: it is not installed.
    fn start() -> Option<Self> {
        let programs = programs()?;
        let directory = tempfile::tempdir().expect("a directory").keep();
        let user = user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&directory, Some(uid), Some(gid)).expect("its own directory");
        }
        let data = directory.join("data");
        let run = |command: &mut Command| {
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir(&directory).stdout(Stdio::null());
            command.stderr(Stdio::null()).spawn().expect("it starts")
        };
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.arg("-D").arg(&data);
        // A language's order, in which `~` sorts before letters: the tables must not have it.
        initdb.args([
            "-U",
            "tests",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "-N",
            "--locale=C",
        ]);
        initdb.args(["--locale-provider=icu", "--icu-locale=en-US"]);
        let made = run(&mut initdb).wait().expect("initdb ends");
        assert!(made.success(), "initdb");
        let port = free_port();
        let script = r#""$1" -D "$2" -p "$3" -k "$4" -h 127.0.0.1 -c fsync=off &
            server=$!; read end; kill -INT $server; wait $server; rm -rf "$4""#;
        let mut guardian = Command::new("sh");
        guardian
            .args(["-c", script, "sh"])
            .arg(programs.join("postgres"));
        guardian.arg(&data).arg(port.to_string()).arg(&directory);
        let guardian = run(guardian.stdin(Stdio::piped()));
        Some(Self {
            port,
            databases: AtomicU32::new(0),
            empty: Mutex::default(),
            with_tables: Mutex::default(),
            _guardian: guardian,
        })
    }

    async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let port = self.port;
        let address = format!("host=127.0.0.1 port={port} user=tests dbname={database}");
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
        tokio::task::spawn_local(async {
            // An error of the connection is an error of the statement, too.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// A database without tables.
    async fn database(&self) -> TestDatabase {
        let kept = locked(&self.empty).pop();
        match kept {
            Some(database) => database,
            None => self.new_database().await,
        }
    }

    /// A database whose tables are empty, or are not there yet.
    async fn database_with_tables(&self) -> TestDatabase {
        let kept = locked(&self.with_tables).pop();
        match kept {
            Some(database) => database,
            None => self.database().await,
        }
    }

    async fn keep(&self, database: TestDatabase) {
        let emptied = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
        let client = database.client().await;
        client.batch_execute(emptied).await.expect(emptied);
        locked(&self.empty).push(database);
    }

    async fn keep_tables(&self, database: TestDatabase) {
        // Events last: each that is deleted takes with it what others have of it.
        let emptied = "DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT tablename FROM pg_tables
                WHERE schemaname = 'public' AND tablename <> 'events_schema'
                ORDER BY tablename = 'events'
            LOOP EXECUTE format('DELETE FROM %I', name); END LOOP; END $$";
        let client = database.client().await;
        client.batch_execute(emptied).await.expect(emptied);
        locked(&self.with_tables).push(database);
    }

    async fn new_database(&self) -> TestDatabase {
        let started = Instant::now();
        let client = loop {
            match self.connect("postgres").await {
                Ok(client) => break client,
                Err(error) => {
                    assert!(started.elapsed() < Duration::from_secs(60), "{error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("events_{number}");
        let create = format!("CREATE DATABASE {name}");
        let made = client.batch_execute(&create).await;
        made.expect("a database");
        TestDatabase {
            port: self.port,
            name,
        }
    }
}

/// A database that nobody else uses.
pub struct TestDatabase {
    port: u16,
    name: String,
}

impl TestDatabase {
    /// The database as one process sees it.
    pub fn connect(&self) -> SqlDatabase {
        let driver = self.driver();
        SqlDatabase::new(Connections::new(Box::new(driver), Duration::from_secs(10)))
    }

    fn driver(&self) -> TestDriver {
        let Self { port, name } = self;
        let address = format!("host=127.0.0.1 port={port} user=tests dbname={name}");
        TestDriver { address }
    }

    /// A connection of the test's own.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.driver().address, NoTls)
            .await
            .expect("a connection");
        tokio::task::spawn_local(connection);
        client
    }

    /// How it finds what a statement asks for, if it has any choice but to look at whole tables.
    pub async fn plan(&self, sql: &str) -> String {
        let client = self.client().await;
        let count = (1..)
            .take_while(|number| sql.contains(&format!("${number}")))
            .count();
        let nulls = match count {
            0 => String::new(),
            count => format!("({})", vec!["NULL"; count].join(", ")),
        };
        let script = format!(
            "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan;
             PREPARE planned AS {sql}; EXPLAIN EXECUTE planned{nulls}"
        );
        let messages = client.simple_query(&script).await.expect(sql);
        let steps = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        steps.collect::<Vec<_>>().join("\n")
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(|e| e.into_inner())
}

fn programs() -> Option<PathBuf> {
    let debian = Path::new("/usr/lib/postgresql").read_dir().into_iter();
    let mut found: Vec<PathBuf> = debian
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .chain(std::env::split_paths(&std::env::var_os("PATH")?))
        .filter(|directory| directory.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// Whom to be, since the server refuses to run as root: the user `nobody`. `None`: who we are.
fn user() -> Option<(u32, u32)> {
    let mut status = String::new();
    std::fs::File::open("/proc/self/status")
        .and_then(|mut file| file.read_to_string(&mut status))
        .ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    (uid.split_whitespace().nth(1) == Some("0")).then_some((65_534, 65_534))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

struct TestDriver {
    address: String,
}

impl Driver for TestDriver {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn open(&self) -> Call<'_, Rc<dyn Connection>> {
        Box::pin(async move {
            let connected = tokio_postgres::connect(&self.address, NoTls).await;
            let (client, connection) = connected.map_err(|error| failed(&error))?;
            tokio::task::spawn_local(async {
                // An error of the connection is an error of the statement, too.
                let _ = connection.await;
            });
            Ok(Rc::new(Open(client)) as Rc<dyn Connection>)
        })
    }
}

struct Open(Client);

impl Connection for Open {
    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        parameters: &'a [Value],
    ) -> Call<'a, Vec<Vec<Value>>> {
        Box::pin(async move {
            let parameters: Vec<&(dyn ToSql + Sync)> =
                parameters.iter().map(|value| value as _).collect();
            let rows = self.0.query(statement.sql.as_str(), &parameters).await;
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
