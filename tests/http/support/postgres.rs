//! A PostgreSQL server of the tests' own: a cluster in a temporary directory, on a port of its own,
//! reached over TCP with a password. It ends with the tests, however they end.
//!
//! Only the standard library: the local runtime's tests include this file too.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// The password of [`ROLE`]. No log may have it.
pub const PASSWORD: &str = "a-password-that-no-log-may-have";

/// Who owns the databases. It is no superuser.
pub const ROLE: &str = "webhooks";

/// How long the server may take until it accepts connections.
const START: Duration = Duration::from_secs(60);

/// Keeps the server: starts and stops it on a word of its standard input, and at the end of that
/// input, which is the tests' end too, stops it and removes its files.
const KEEPER: &str = r#"
    directory=$1 binaries=$2 port=$3
    while read -r word; do
        case $word in
        start)
            "$binaries/postgres" -D "$directory/data" -p "$port" >>"$directory/log" 2>&1 </dev/null &
            server=$!
            ;;
        stop)
            kill -QUIT "$server"
            wait "$server"
            ;;
        esac
        echo "$word"
    done
    kill -QUIT "$server"
    wait "$server"
    rm -rf "$directory"
"#;

/// A cluster, which accepts connections unless it is stopped.
pub struct Postgres {
    address: SocketAddr,
    directory: PathBuf,
    binaries: PathBuf,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    child: Child,
    /// `None` when the keeper is to end.
    words: Option<ChildStdin>,
    echo: BufReader<ChildStdout>,
}

/// A database that no other test uses.
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://…`, with the password.
    pub url: String,
    /// What `allowed_outbound_hosts` needs for it: `postgres://127.0.0.1:PORT`.
    pub host: String,
}

impl Postgres {
    /// The server that tests share which do not stop it; `None` where PostgreSQL is not installed.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: LazyLock<Option<Postgres>> = LazyLock::new(Postgres::start);
        SHARED.as_ref()
    }

    /// A new server; `None` where PostgreSQL is not installed.
    ///
    /// # Panics
    ///
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        Self::start_with(&[], "")
    }

    /// A new server that flushes each commit to disk, as a server in use does; `None` where PostgreSQL
    /// is not installed.
    ///
    /// # Panics
    ///
    /// As [`Self::start`] does.
    pub fn start_durable() -> Option<Self> {
        Self::start_with(&[], "fsync = on")
    }

    /// A new server that offers TLS, with this certificate and key in PEM; `None` where PostgreSQL is
    /// not installed.
    ///
    /// # Panics
    ///
    /// As [`Self::start`] does.
    pub fn start_with_tls(certificate: &str, key: &str) -> Option<Self> {
        let files = [("server.crt", certificate), ("server.key", key)];
        Self::start_with(&files, "ssl = on")
    }

    fn start_with(files: &[(&str, &str)], settings: &str) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);

        let binaries = binaries()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("webhooks-postgres-{}-{number}", std::process::id()));
        make_cluster(&directory, &binaries, settings);
        for (name, text) in files {
            own_file(&directory.join("data").join(name), text);
        }
        let address = free_address();
        let mut child = as_its_user("sh", &directory)
            .args(["-c", KEEPER, "keeper"])
            .args([&directory, &binaries])
            .arg(address.port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let keeper = Keeper {
            words: child.stdin.take(),
            echo: BufReader::new(child.stdout.take().expect("piped")),
            child,
        };
        let server = Self {
            address,
            directory,
            binaries,
            keeper: Mutex::new(keeper),
        };
        server.start_again();
        server.superuser(
            "postgres",
            &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"),
        );
        Some(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new, empty database, owned by [`ROLE`].
    pub fn database(&self) -> Database {
        static COUNT: AtomicUsize = AtomicUsize::new(0);

        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.superuser("postgres", &format!("CREATE DATABASE {name} OWNER {ROLE}"));
        let address = self.address;
        Database {
            url: format!("postgres://{ROLE}:{PASSWORD}@{address}/{name}?sslmode=disable"),
            host: format!("postgres://{address}"),
        }
    }

    /// A new database with all that is in another one, to which nobody may be connected.
    pub fn copy(&self, database: &Database) -> Database {
        let copy = self.database();
        let (from, to) = (database_name(database), database_name(&copy));
        self.superuser("postgres", &format!("DROP DATABASE {to}"));
        let create = format!("CREATE DATABASE {to} TEMPLATE {from} OWNER {ROLE}");
        self.superuser("postgres", &create);
        copy
    }

    /// What `pg_dump --format=custom` writes of a database.
    pub fn dump(&self, database: &Database) -> Vec<u8> {
        let mut dump = Command::new(self.binaries.join("pg_dump"));
        dump.args(["--format=custom", &database.url]);
        let output = dump.stdin(Stdio::null()).output().expect("pg_dump");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pg_dump: {complaint}");
        output.stdout
    }

    /// Puts a dump into an empty database, with the statistics that it lacks.
    pub fn restore(&self, database: &Database, dump: &[u8]) {
        let mut restore = Command::new(self.binaries.join("pg_restore"));
        restore.args(["--exit-on-error", "--no-owner", "--dbname", &database.url]);
        let mut child = restore
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pg_restore");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(dump).expect("write to pg_restore");
        drop(input);
        let output = child.wait_with_output().expect("pg_restore");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pg_restore: {complaint}");
        self.query(database, "ANALYZE");
    }

    /// Stops it as a crash would (`immediate`): connections end, and what was not committed is gone.
    pub fn stop(&self) {
        self.command("stop");
    }

    /// Starts it after [`Self::stop`], on the same port with the same data.
    pub fn start_again(&self) {
        self.command("start");
        let since = Instant::now();
        while !self.is_ready() {
            assert!(since.elapsed() < START, "PostgreSQL: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a statement of a superuser gives: a line for each row, `|` between columns.
    pub fn query(&self, database: &Database, statement: &str) -> String {
        self.superuser(database_name(database), statement)
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn is_ready(&self) -> bool {
        self.psql("postgres", "SELECT 1").is_ok()
    }

    fn superuser(&self, database: &str, statement: &str) -> String {
        self.psql(database, statement)
            .unwrap_or_else(|error| panic!("{statement}: {error}\n{}", self.log()))
    }

    fn psql(&self, database: &str, statement: &str) -> Result<String, String> {
        let output = Command::new(self.binaries.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-h", "127.0.0.1", "-U", "postgres", "-d", database])
            .args(["-p", &self.address.port().to_string()])
            .args(["-c", statement])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Sends the keeper a word, and waits until it has done it.
    fn command(&self, word: &str) {
        let keeper = &mut *self.keeper.lock().unwrap_or_else(|e| e.into_inner());
        let words = keeper.words.as_mut().expect("a keeper that runs");
        writeln!(words, "{word}").expect("write to the keeper");
        let mut echo = String::new();
        keeper
            .echo
            .read_line(&mut echo)
            .expect("read from the keeper");
        assert_eq!(echo.trim_end(), word, "the keeper");
    }
}

fn database_name(database: &Database) -> &str {
    let (_, name) = database.url.rsplit_once('/').expect("a URL with a path");
    name.split_once('?').map_or(name, |(name, _)| name)
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(|e| e.into_inner());
        keeper.words = None;
        // It ends by itself, and nobody is left to report a failure to.
        let _ = keeper.child.wait();
    }
}

/// The programs of the newest PostgreSQL: Debian's, which are not on PATH, or those on PATH.
fn binaries() -> Option<PathBuf> {
    let version = |path: &PathBuf| {
        let version = path.file_name()?.to_str()?;
        version.parse::<u32>().ok()
    };
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let debian = debian.flatten().map(|entry| entry.path());
    let newest = debian
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(version)
        .map(|path| path.join("bin"));
    newest.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|directory| directory.join("initdb").exists())
    })
}

/// A command that is not run as root, with whom the server does not start. The directory becomes its
/// user's.
fn as_its_user(program: &str, directory: &Path) -> Command {
    let id = |name: &str| {
        let output = Command::new("id").args(["-u", name]).output().ok()?;
        String::from_utf8(output.stdout)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    let own = Command::new("id").arg("-u").output().expect("id");
    if own.stdout.trim_ascii() != b"0" {
        return Command::new(program);
    }
    let user = id("postgres")
        .or_else(|| id("nobody"))
        .expect("a user that is not root");
    std::os::unix::fs::chown(directory, Some(user), None).expect("give the directory away");
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={user}"), "--clear-groups".to_owned()])
        .arg(program)
        // Its own directory is one that this user may not be able to enter.
        .current_dir(directory);
    command
}

/// Writes a file that only the server's user can read, as the server wants it for a key.
fn own_file(path: &Path, text: &str) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let directory = path.parent().expect("a directory");
    let owner = std::fs::metadata(directory).expect("a directory").uid();
    std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)))
        .and_then(|()| std::os::unix::fs::chown(path, Some(owner), None))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn make_cluster(directory: &Path, binaries: &Path, settings: &str) {
    std::fs::create_dir_all(directory).expect("make a directory");
    let password = directory.join("password");
    std::fs::write(&password, PASSWORD).expect("write the password");
    let initdb = binaries.join("initdb");
    let output = as_its_user(initdb.to_str().expect("a path in UTF-8"), directory)
        .arg("--pgdata")
        .arg(directory.join("data"))
        .arg("--pwfile")
        .arg(&password)
        .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
        // A language's order of texts, so that a statement shows when it needs that of bytes.
        .args(["--encoding=UTF8", "--locale=C", "--locale-provider=icu"])
        .arg("--icu-locale=en-US")
        .output()
        .expect("initdb");
    assert!(
        output.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let settings = format!(
        "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
# What the server has written outlives the server; only a crash of the machine would need this.
fsync = off
log_statement = none
{settings}
"
    );
    let file = directory.join("data/postgresql.conf");
    std::fs::File::options()
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(settings.as_bytes()))
        .expect("write the settings");
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}
