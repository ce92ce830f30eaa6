//! The service on the local runtime: its processes, and the database of events that they share.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result};
use serde_json::json;

use super::client::PATIENCE;
use super::endpoints;
use super::faults::DEADLINE;
use super::judge::SCHEDULE;
use super::tally::Origin;
use crate::keys::Keys;
use crate::postgres::Postgres;
use crate::runtime::Runtime;
use crate::up::endpoints::{ALLOW_INSECURE_URLS, DELIVERY_SCHEME, config_for_local_endpoints};
use crate::{operator, project, store};

/// Where events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EventsDatabase {
    /// Spin's SQLite file: one process
    Sqlite,
    /// A PostgreSQL of the soak's own: two processes
    Postgres,
}

/// The processes, and PostgreSQL where they have one.
pub struct Service {
    state_dir: PathBuf,
    keys: Keys,
    config: PathBuf,
    /// By their numbers.
    pub processes: Vec<Process>,
    /// The server, unless events are in SQLite.
    pub postgres: Option<Postgres>,
    database: Option<crate::postgres::Database>,
    started: u16,
}

impl Service {
    /// Starts the database and every process.
    ///
    /// # Errors
    ///
    /// When one does not serve.
    pub fn start(state_dir: &Path, keys: Keys, events: EventsDatabase) -> Result<Self> {
        let postgres =
            match events {
                EventsDatabase::Sqlite => None,
                EventsDatabase::Postgres => Some(Postgres::start().context(
                    "PostgreSQL's server is missing (Debian: apt-get install postgresql)",
                )?),
            };
        let mut service = Self {
            state_dir: state_dir.to_owned(),
            config: config_for_local_endpoints(state_dir)?,
            keys,
            processes: Vec::new(),
            database: postgres.as_ref().map(Postgres::database),
            postgres,
            started: 0,
        };
        let count = if service.postgres.is_some() { 2 } else { 1 };
        if count > 1 {
            store::keep_write_ahead_log(state_dir)?;
        }
        for number in 0..count {
            let process = service.process(number)?;
            service.processes.push(process);
        }
        Ok(service)
    }

    /// The keys of its tokens.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Kills a process with `kill -9`. Returns the address that endpoints saw it by.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub fn kill(&mut self, number: usize) -> Result<Ipv4Addr> {
        let process = &mut self.processes[number];
        process.kill()?;
        Ok(process.seen_as)
    }

    /// Starts a process again that was killed, on the same state.
    ///
    /// # Errors
    ///
    /// When it does not serve.
    pub fn start_again(&mut self, number: usize) -> Result<()> {
        self.processes[number] = self.process(number)?;
        Ok(())
    }

    fn process(&mut self, number: usize) -> Result<Process> {
        self.started += 1;
        let seen_as = endpoints::address_of_process(self.started);
        let pairs: Vec<String> = Origin::all()
            .map(|it| {
                let document = json!({ "merchantId": it.merchant() });
                format!("application/{}={document}", it.id())
            })
            .collect();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let keys = &self.keys;
        let mut command = Runtime::Local(project::local_runtime()).serve(
            &project::root().join("spin.toml"),
            anywhere,
            &self.state_dir,
            &self.config,
            &pairs,
        );
        command
            .args(["--control", &anywhere.to_string()])
            .args(["--resolve", &format!("{}={seen_as}", endpoints::HOST)])
            .env("SPIN_VARIABLE_JWKS", keys.jwks())
            .env("SPIN_VARIABLE_JWKS_URL", "")
            .env("SPIN_VARIABLE_SECRETS_KEY", &keys.secrets_key)
            .env(operator::TOKEN_VARIABLE, keys.operator_token()?)
            .env("SPIN_VARIABLE_MAX_CHANGES_PER_MINUTE", "0")
            .env("SPIN_VARIABLE_MAX_WEBHOOKS_PER_APPLICATION", "10000")
            .env(
                "SPIN_VARIABLE_STORE_TIMEOUT_MS",
                DEADLINE.as_millis().to_string(),
            )
            .env("SPIN_VARIABLE_RETRY_SCHEDULE", SCHEDULE)
            .env(ALLOW_INSECURE_URLS, "true")
            .env(DELIVERY_SCHEME, "*");
        if let Some(database) = &self.database {
            command
                .env("SPIN_VARIABLE_EVENTS_DATABASE", &database.url)
                .env("SPIN_VARIABLE_EVENTS_DATABASE_HOST", &database.host);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the local runtime does not start")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no standard output")?;
        let log = self.state_dir.join(format!("service-{number}.log"));
        let lines = copied(stdout, log)?;
        let address = |name: &str| loop {
            let line = lines
                .recv_timeout(PATIENCE)
                .context("the service does not serve; its own message is above")?;
            if let Some(rest) = line.trim().strip_prefix(name) {
                let text = rest.split(['/', ' ']).next().unwrap_or_default();
                return text
                    .parse()
                    .with_context(|| format!("not an address: {line}"));
            }
        };
        let (first, second) = ("Control http://", "Serving http://");
        Ok(Process {
            control: address(first)?,
            address: address(second)?,
            seen_as,
            child,
            _stdin: stdin,
        })
    }
}

/// A process that serves.
pub struct Process {
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it takes faults.
    pub control: SocketAddr,
    /// Which of their own addresses endpoints are asked at by it, and by no other process.
    seen_as: Ipv4Addr,
    child: Child,
    /// Its end is the process's end, however this one ends.
    _stdin: Option<ChildStdin>,
}

impl Process {
    fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is gone already has been waited for.
        let _ = self.kill();
    }
}

/// Copies a process's log to a file. Its first lines, which have the addresses, come here too.
fn copied(from: impl std::io::Read + Send + 'static, log: PathBuf) -> Result<Receiver<String>> {
    let mut log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // A log that cannot be written is no reason to stop the service.
            let _ = writeln!(log, "{line}");
            let _ = sender.send(line);
        }
    });
    Ok(lines)
}
