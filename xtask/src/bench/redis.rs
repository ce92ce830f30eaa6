//! Redis for the documents of the benchmark: a server of its own, or the one that a runtime config names. Each
//! component under load has a database of its own there. It is spoken to by `redis-cli`, which takes the URLs
//! that Spin takes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::seed::directory;
use super::server::free_address;
use crate::{store, tools};

/// How long the benchmark's own server may take until it answers.
const START: Duration = Duration::from_secs(20);

/// Keeps the server: stops it at the end of standard input, which is the benchmark's end too, however that ends.
const KEEPER: &str = r#"
    redis-server "$@" &
    server=$!
    cat >/dev/null
    kill "$server"
    wait "$server"
"#;

/// A Redis server.
pub struct Redis {
    location: Location,
    /// The numbers of the databases that are in use.
    taken: Mutex<BTreeSet<u32>>,
    /// The keeper of a server of the benchmark's own.
    keeper: Option<Child>,
}

impl Redis {
    /// Starts one on the loopback, which keeps a log of what is written and syncs it each second, as
    /// `docs/operations.md` advises.
    ///
    /// # Errors
    ///
    /// When it is missing, or does not start.
    pub fn start() -> Result<Self> {
        tools::redis()?;
        let directory = directory().join("redis");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let address = free_address()?;
        let log = directory.join("log");
        let output = fs::File::create(&log)?;
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper", "--bind", "127.0.0.1", "--port"])
            .arg(address.port().to_string())
            .arg("--dir")
            .arg(&directory)
            .args(["--appendonly", "yes", "--save", ""])
            // No process of its own rewrites the log while something is measured.
            .args(["--auto-aof-rewrite-percentage", "0"])
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("sh does not start")?;
        let redis = Self {
            location: Location::parse(&format!("redis://{address}"))?,
            taken: Mutex::default(),
            keeper: Some(keeper),
        };
        let since = Instant::now();
        while let Err(error) = redis.expect(0, &["PING"], "PONG") {
            if since.elapsed() > START {
                let log = fs::read_to_string(&log)?;
                return Err(error.context(format!("redis-server: {log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(redis)
    }

    /// The one that a runtime config names, of which databases from the named one on are used.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
    pub fn at(url: &str) -> Result<Self> {
        tools::redis()?;
        let redis = Self {
            location: Location::parse(url)?,
            taken: Mutex::default(),
            keeper: None,
        };
        redis.expect(redis.location.first, &["PING"], "PONG")?;
        Ok(redis)
    }

    /// Whether it is the benchmark's own.
    pub fn is_own(&self) -> bool {
        self.keeper.is_some()
    }

    /// A database with the documents of that SQLite file.
    ///
    /// # Errors
    ///
    /// When there is something in it that is not the benchmark's, or it cannot be filled.
    pub fn fill(self: &Arc<Self>, documents: &Path) -> Result<Database> {
        let database = Database {
            number: self.take()?,
            redis: self.clone(),
        };
        database.fill(documents)?;
        Ok(database)
    }

    /// The number of a database that nobody uses and that is empty.
    fn take(&self) -> Result<u32> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.location.first;
        let free = (first..).find(|number| !taken.contains(number));
        let number = free.context("no number is free")?;
        // A database that cannot be selected would leave redis-cli in number 0.
        self.expect(first, &["SELECT", &number.to_string()], "OK")?;
        self.expect(number, &["DBSIZE"], "0").with_context(|| {
            format!(
                "database {number} of that Redis must be the benchmark's own and empty: it uses \
                 those from the one on that the runtime config names"
            )
        })?;
        taken.insert(number);
        Ok(number)
    }

    /// Runs a command that answers so.
    fn expect(&self, number: u32, command: &[&str], expected: &str) -> Result<()> {
        let answer = self.ask(number, command)?;
        if answer != expected {
            bail!("Redis answers {}: {answer}", command.join(" "));
        }
        Ok(())
    }

    /// The answer to a command in the database of that number.
    fn ask(&self, number: u32, command: &[&str]) -> Result<String> {
        let mut client = self.client(number);
        let output = client.args(command).stdin(Stdio::null()).output();
        let output = output.context("redis-cli does not start")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if !output.status.success() {
            bail!("redis-cli: {}", text(&output.stderr));
        }
        Ok(text(&output.stdout))
    }

    fn client(&self, number: u32) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["--no-auth-warning", "-u", &self.location.url(number)]);
        command
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            drop(keeper.stdin.take());
            // It ends by itself, and nobody is left to report a failure to.
            let _ = keeper.wait();
        }
    }
}

/// A database that is emptied, and free for others, when this is dropped.
pub struct Database {
    redis: Arc<Redis>,
    number: u32,
}

impl Database {
    /// The database's, as a runtime config has it.
    pub fn url(&self) -> String {
        self.redis.location.url(self.number)
    }

    /// Writes all documents, by way of redis-cli's mode for that.
    fn fill(&self, documents: &Path) -> Result<()> {
        let mut client = self.redis.client(self.number);
        let mut client = client
            .arg("--pipe")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("redis-cli does not start")?;
        let input = client.stdin.take().context("redis-cli has no input")?;
        let mut input = BufWriter::new(input);
        let mut count = 0;
        store::each(documents, |key, value| {
            count += 1;
            Ok(set(&mut input, key.as_bytes(), value)?)
        })?;
        input.flush()?;
        drop(input);
        let output = client.wait_with_output()?;
        if !output.status.success() {
            bail!("redis-cli: {}", String::from_utf8_lossy(&output.stdout));
        }
        self.redis
            .expect(self.number, &["DBSIZE"], &count.to_string())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What stays is reported when the database is used the next time.
        let _ = self.redis.ask(self.number, &["FLUSHDB"]);
        let taken = self.redis.taken.lock();
        taken
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}

/// Writes a `SET` as Redis reads it (RESP).
fn set(out: &mut impl Write, key: &[u8], value: &[u8]) -> std::io::Result<()> {
    out.write_all(b"*3\r\n")?;
    for word in [b"SET", key, value] {
        write!(out, "${}\r\n", word.len())?;
        out.write_all(word)?;
        out.write_all(b"\r\n")?;
    }
    Ok(())
}

/// Where a Redis is.
#[derive(Debug, PartialEq, Eq)]
struct Location {
    /// The URL without the database.
    server: String,
    /// The number of the first database that may be used.
    first: u32,
}

impl Location {
    /// Reads `redis://USER:PASSWORD@HOST:PORT/DATABASE`, of which the database can be missing.
    fn parse(url: &str) -> Result<Self> {
        let read = || {
            let (scheme, rest) = url.split_once("://")?;
            let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
            let known = ["redis", "rediss"].contains(&scheme) && !server.is_empty();
            known.then_some(())?;
            Some(Self {
                server: format!("{scheme}://{server}"),
                first: match database {
                    "" => 0,
                    number => number.parse().ok()?,
                },
            })
        };
        // It may have a password.
        read().context("the store's url must be redis://USER:PASSWORD@HOST:PORT/DATABASE")
    }

    fn url(&self, number: u32) -> String {
        format!("{}/{number}", self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_first_database() {
        for (url, server, first) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379", 0),
            ("redis://host", "redis://host", 0),
            ("rediss://u:p@host:1/", "rediss://u:p@host:1", 0),
            ("redis://:p@[::1]:6379/12", "redis://:p@[::1]:6379", 12),
        ] {
            let location = Location::parse(url).expect(url);
            let expected = Location {
                server: server.to_owned(),
                first,
            };
            assert_eq!(location, expected);
            assert_eq!(location.url(first + 1), format!("{server}/{}", first + 1));
        }
        for url in [
            "127.0.0.1:6379",
            "http://host/0",
            "redis:///0",
            "redis://host/none",
            "redis://u:secret@host/0?protocol=resp3",
        ] {
            let refused = format!("{:#}", Location::parse(url).expect_err(url));
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn documents_are_written_as_redis_reads_them() {
        let mut written = Vec::new();
        set(&mut written, "ä/1".as_bytes(), b"{}\r\n\0").expect("write");
        let expected: &[u8] = b"*3\r\n$3\r\nSET\r\n$4\r\n\xc3\xa4/1\r\n$5\r\n{}\r\n\0\r\n";
        assert_eq!(written, expected);
    }
}
