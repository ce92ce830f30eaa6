//! A PostgreSQL server of the tests' own: in a temporary directory, on a port of its own, as a user
//! who is not root.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use super::SqlDatabase;
use super::postgres_driver::{self, Session};

/// Runs a test with an empty database. Where the server is missing, the test is not run, and says so.
pub fn run(name: &str, test: impl AsyncFnOnce(&SqlDatabase)) {
    on_server(name, async |server| {
        let (database, kept) = server.database_with_tables().await;
        test(&database.process(Some(kept.clone()))).await;
        server.keep_tables(database, kept).await;
    });
}

/// As [`run`], with the database itself: to connect more than once, and to run other statements.
pub fn run_with(name: &str, test: impl AsyncFnOnce(&TestDatabase)) {
    on_server(name, async |server| {
        let (database, kept) = server.database_with_tables().await;
        test(&database).await;
        server.keep_tables(database, kept).await;
    });
}

/// As [`run_with`], with a database that has no tables yet.
pub fn run_on_new(name: &str, test: impl AsyncFnOnce(&TestDatabase)) {
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

/// A language's order, in which `~` sorts before letters: the tables must not have it.
const INITDB: &[&str] = &[
    "-U",
    "tests",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "-N",
    "--wal-segsize=1",
    "--locale=C",
    "--locale-provider=icu",
    "--icu-locale=en-US",
];

/// Where an earlier run of the tests has left what `initdb` makes, which takes longer than any test.
fn template(programs: &Path) -> PathBuf {
    let mut of = DefaultHasher::new();
    let server = programs.join("postgres").metadata();
    let changed = server.and_then(|server| server.modified()).ok();
    (programs, changed, INITDB).hash(&mut of);
    let binary = std::env::current_exe().expect("this program");
    let target = binary.ancestors().nth(3).expect("target/debug/deps");
    target.join(format!("tmp/postgres-{:016x}.tar", of.finish()))
}

/// Leaves it there, whole or not at all. A run that cannot leaves the next one to make it anew.
fn keep_template(directory: &Path, template: &Path) {
    let unfinished = template.with_extension(std::process::id().to_string());
    let _ = std::fs::create_dir_all(unfinished.parent().expect("target/tmp"));
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(&unfinished).arg("-C").arg(directory);
    let is_kept = tar.arg("data").status().is_ok_and(|made| made.success())
        && std::fs::rename(&unfinished, template).is_ok();
    if !is_kept {
        let _ = std::fs::remove_file(&unfinished);
    }
}

/// A directory in memory where there is plenty: a cluster is a thousand files, which take a disk half a second.
fn directory() -> std::io::Result<tempfile::TempDir> {
    const PLENTY_KIB: u64 = 1024 * 1024;
    let free = Command::new("df").args(["-Pk", "/dev/shm"]).output();
    let free = free.ok().and_then(|free| {
        let free = String::from_utf8(free.stdout).ok()?;
        let mut columns = free.lines().nth(1)?.split_whitespace();
        columns.nth(3)?.parse::<u64>().ok()
    });
    match free {
        Some(free) if free > PLENTY_KIB => {
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
        }
        _ => tempfile::tempdir(),
    }
}

/// A server that ends with this process.
pub struct Server {
    port: u16,
    databases: AtomicU32,
    /// What tests that passed have left: to make a database or its tables takes longer than most tests.
    empty: Mutex<Vec<TestDatabase>>,
    with_tables: Mutex<Vec<(TestDatabase, Arc<Session>)>>,
    /// Reads what nobody writes. When this process ends, it reads the end, and ends the server.
    _guardian: Child,
}

impl Server {
    /// A new server; `None`: it is not installed.
    fn start() -> Option<Self> {
        let programs = programs()?;
        let directory = directory().expect("a directory").keep();
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
        let template = template(&programs);
        let is_there = std::fs::File::open(&template).is_ok_and(|template| {
            let mut tar = Command::new("tar");
            let tar = tar
                .args(["-xpf", "-", "-C"])
                .arg(&directory)
                .stdin(template);
            run(tar).wait().is_ok_and(|read| read.success())
        });
        if !is_there {
            let _ = std::fs::remove_dir_all(&data);
            let mut initdb = Command::new(programs.join("initdb"));
            initdb.arg("-D").arg(&data).args(INITDB);
            let made = run(&mut initdb).wait().expect("initdb ends");
            assert!(made.success(), "initdb");
            keep_template(&directory, &template);
        }
        let port = free_port();
        let script = r#""$1" -D "$2" -p "$3" -k "$4" -h 127.0.0.1 -c fsync=off \
                -c autovacuum=off -c wal_level=minimal -c max_wal_senders=0 &
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

    /// A database whose tables are empty, or are not there yet, and a connection to it.
    async fn database_with_tables(&self) -> (TestDatabase, Arc<Session>) {
        let left = locked(&self.with_tables).pop();
        if let Some(left) = left {
            return left;
        }
        let database = self.database().await;
        let kept = Session::open(&database.address()).await;
        (database, Arc::new(kept.expect("a connection")))
    }

    async fn keep(&self, database: TestDatabase) {
        let emptied = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
        let client = database.client().await;
        client.batch_execute(emptied).await.expect(emptied);
        locked(&self.empty).push(database);
    }

    async fn keep_tables(&self, database: TestDatabase, kept: Arc<Session>) {
        // Events last: each that is deleted takes with it what others have of it.
        let emptied = "DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT tablename FROM pg_tables
                WHERE schemaname = 'public' AND tablename <> 'events_schema'
                ORDER BY tablename = 'events'
            LOOP EXECUTE format('DELETE FROM %I', name); END LOOP; END $$";
        kept.client.batch_execute(emptied).await.expect(emptied);
        locked(&self.with_tables).push((database, kept));
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
        let name = match number {
            // It is there, and nobody else uses it.
            0 => "postgres".to_owned(),
            _ => format!("events_{number}"),
        };
        if number > 0 {
            let create = format!("CREATE DATABASE {name}");
            client.batch_execute(&create).await.expect("a database");
        }
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
        self.process(None)
    }

    fn process(&self, kept: Option<Arc<Session>>) -> SqlDatabase {
        postgres_driver::process(self.address(), kept)
    }

    fn address(&self) -> String {
        let Self { port, name } = self;
        format!("host=127.0.0.1 port={port} user=tests dbname={name}")
    }

    /// A connection of the test's own.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.address(), NoTls)
            .await
            .expect("a connection");
        tokio::task::spawn_local(connection);
        client
    }
}

pub fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
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
