//! Where a server of the benchmark keeps its documents and its events, and how they are filled.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use application_webhooks::model::encryption::SecretsKey;
use application_webhooks::model::signing_secret::SigningSecret;
use base64ct::{Base64, Encoding};
use rusqlite::Connection;
use serde_json::json;

use super::reads::OPERATOR_TOKEN;
use crate::bench::seed::{directory, fresh_store};
use crate::bench::server::SECRETS_KEY;
use crate::bench::tokens::MERCHANT;
use crate::postgres::{self, Postgres};
use crate::store;

/// How many applications events are published to, each with two webhooks.
pub const APPLICATIONS: usize = 200;

/// An application's id, with Lua's `%d` for its number. The ids of its webhooks have it too, so that
/// what was recorded of one is replayed for any.
pub const APPLICATION: &str = "ab%04d";

/// How long statements of the benchmark's own wait for the service's.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the service may take to finish what is due: second decisions are made after 15 seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// What counts as work that the service has not finished.
const UNFINISHED: &str = "SELECT (SELECT count(*) FROM deliveries WHERE next_at IS NOT NULL) \
                          + (SELECT count(*) FROM fan_outs)";

/// The id of an application.
pub fn application(number: usize) -> String {
    format!("ab{number:04}")
}

/// The id of one of an application's two webhooks.
pub fn webhook(number: usize, application: &str) -> String {
    format!("8a1c2f9e-0000-4000-800{number}-000000{application}")
}

/// A kind of database.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// Spin's SQLite file.
    Sqlite,
    /// A database of this server.
    Postgres(&'a Postgres),
}

/// Where one server keeps all it has.
#[derive(Clone)]
pub struct Kept {
    /// The state directory.
    pub state: PathBuf,
    database: Option<postgres::Database>,
}

impl Place<'_> {
    /// What the report calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// A new place without events, with applications whose webhooks are at `receiver`.
    pub fn fresh(&self, name: &str, receiver: &str) -> Result<Kept> {
        let name = format!("{name}-{}", self.name().to_lowercase());
        let state = fresh_store(&name, 0)?;
        seed(&state, receiver)?;
        let database = match self {
            Self::Sqlite => None,
            Self::Postgres(server) => Some(server.database()),
        };
        Ok(Kept { state, database })
    }

    /// A copy of a place that no server uses.
    pub fn copy(&self, kept: &Kept, name: &str) -> Result<Kept> {
        let state = directory().join(format!("{name}-{}", self.name().to_lowercase()));
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir_all(&state)?;
        for file in fs::read_dir(&kept.state)? {
            let file = file?;
            // Beside its files Spin has a directory of logs there.
            if file.file_type()?.is_file() {
                fs::copy(file.path(), state.join(file.file_name()))?;
            }
        }
        let database = match (self, &kept.database) {
            (Self::Postgres(server), Some(database)) => Some(server.copy(database)),
            _ => None,
        };
        Ok(Kept { state, database })
    }

    /// Stores `count` events of the last weeks with deliveries that succeeded, as the service would have
    /// after as many publishes. It has made the tables, and does not run now.
    pub fn fill(&self, kept: &Kept, count: u64) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let now = i64::try_from(now)?;
        match (self, &kept.database) {
            (Self::Postgres(server), Some(database)) => {
                for statement in fill(Dialect::Postgres, count, now) {
                    server.query(database, &statement);
                }
                server.query(database, "VACUUM (ANALYZE)");
                server.query(database, "CHECKPOINT");
            }
            _ => {
                let connection = kept.sqlite()?;
                connection.execute_batch("PRAGMA synchronous = OFF; BEGIN")?;
                for statement in fill(Dialect::Sqlite, count, now) {
                    connection.execute_batch(&statement)?;
                }
                connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
            }
        }
        Ok(())
    }

    /// Waits until every delivery has ended and every event was decided about a second time.
    pub fn wait_until_finished(&self, kept: &Kept) -> Result<()> {
        let since = Instant::now();
        loop {
            let unfinished: i64 = match (self, &kept.database) {
                (Self::Postgres(server), Some(database)) => {
                    server.query(database, UNFINISHED).trim().parse()?
                }
                _ => kept.sqlite()?.query_row(UNFINISHED, [], |row| row.get(0))?,
            };
            if unfinished == 0 {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                bail!("{unfinished} deliveries and second decisions are not made");
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

impl Kept {
    /// The variables of a server that keeps its events here.
    pub fn environment(&self) -> Vec<(String, String)> {
        let database = self.database.as_ref();
        let variables = database.into_iter().flat_map(|database| {
            [
                ("EVENTS_DATABASE", database.url.clone()),
                ("EVENTS_DATABASE_HOST", database.host.clone()),
            ]
        });
        let variables = variables.chain([
            ("ALLOW_INSECURE_URLS", "true".to_owned()),
            ("DELIVERY_SCHEME", "*".to_owned()),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN.to_owned()),
        ]);
        variables
            .map(|(name, value)| (format!("SPIN_VARIABLE_{name}"), value))
            .collect()
    }

    fn sqlite(&self) -> Result<Connection> {
        let connection = Connection::open(self.state.join("sqlite_db.db"))?;
        connection.busy_timeout(LOCK_TIMEOUT)?;
        Ok(connection)
    }
}

/// Puts the applications with their webhooks into a store.
fn seed(state: &Path, receiver: &str) -> Result<()> {
    let key = SecretsKey::parse(&Base64::encode_string(&SECRETS_KEY));
    let key = key.ok().context("the benchmark's key is none")?;
    let mut connection = Connection::open(state.join(store::FILE))?;
    let transaction = connection.transaction()?;
    {
        let mut insert =
            transaction.prepare("INSERT INTO spin_key_value VALUES ('default', ?1, ?2)")?;
        let mut insert =
            |key: String, document: String| insert.execute((key, document.into_bytes()));
        for application in (0..APPLICATIONS).map(application) {
            let owner = json!({ "merchantId": MERCHANT });
            insert(format!("application/{application}"), owner.to_string())?;
            let created_at = "2026-01-15T08:00:00.000Z";
            let ids = [0, 1].map(|number| webhook(number, &application));
            for id in &ids {
                let document = json!({
                    "v": 1, "id": id, "applicationId": application,
                    "url": format!("{receiver}/hooks?of={application}"), "isActive": true,
                    "subscribedEvents": ["session.completed", "session.expired"],
                    "secret": {
                        "fingerprint": "whsec_****a3f2", "sealed": key.seal(id, &[9; SigningSecret::BYTES]),
                    },
                    "createdAt": created_at, "isTracked": true,
                });
                insert(format!("webhook/{application}/{id}"), document.to_string())?;
            }
            let entries = ids.map(|id| json!({"id": id, "createdAt": created_at}));
            insert(
                format!("webhooks/{application}"),
                json!(entries).to_string(),
            )?;
        }
    }
    transaction.commit()?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Dialect {
    Sqlite,
    Postgres,
}

/// The statements that store `count` events of the 20 days before `now`, in milliseconds.
fn fill(dialect: Dialect, count: u64, now: i64) -> [String; 3] {
    let hex = |number: &str, width: usize| match dialect {
        Dialect::Sqlite => format!("printf('%0{width}x', {number})"),
        Dialect::Postgres => format!("lpad(to_hex(({number})::bigint), {width}, '0')"),
    };
    let numbers = match dialect {
        Dialect::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})",
            count.saturating_sub(1)
        ),
        Dialect::Postgres => format!(
            "WITH n(i) AS (SELECT generate_series(0::bigint, {}))",
            count.saturating_sub(1)
        ),
    };
    let begin = now - 20 * 24 * 60 * 60 * 1000;
    let step = 19 * 24 * 60 * 60 * 1000 / i64::try_from(count.max(1)).unwrap_or(i64::MAX);
    let at = format!("({begin} + i * {step})");
    let id = format!(
        "'evt_' || {} || '7' || {} || '8' || {}",
        hex(&at, 12),
        hex("i % 4096", 3),
        hex("i", 15)
    );
    let number = match dialect {
        Dialect::Sqlite => format!("printf('%04d', i % {APPLICATIONS})"),
        Dialect::Postgres => format!("lpad((i % {APPLICATIONS})::text, 4, '0')"),
    };
    let application = format!("'ab' || {number}");
    let webhook = format!("'8a1c2f9e-0000-4000-800' || w.k || '-000000ab' || {number}");
    let webhooks = "(SELECT '0' AS k UNION ALL SELECT '1') AS w";
    let (sha256, body) = ("0".repeat(64), super::BODY);
    [
        format!(
            "{numbers} INSERT INTO events (id, application_id, type, occurred_at, created_at, \
             size_bytes, sha256, body) SELECT {id}, {application}, 'session.completed', {at}, {at}, \
             {}, '{sha256}', '{body}' FROM n",
            body.len()
        ),
        format!(
            "{numbers} INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, \
             attempts, step, retry, due_at, give_up_at, created_at, completed_at) SELECT {id}, \
             {webhook}, {application}, 'session.completed', 'succeeded', 1, 1, 1, {at}, \
             {at} + 272100000, {at}, {at} + 9 FROM n, {webhooks}"
        ),
        format!(
            "{numbers} INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, \
             duration_ms, url, secret_fingerprints, http_status, response_truncated, response_body) \
             SELECT {id}, {webhook}, 1, 'schedule', {at}, 7, 'http://127.0.0.1:65535/hooks?of=' \
             || {application}, '[\"whsec_****a3f2\"]', 200, 0, '' FROM n, {webhooks}"
        ),
    ]
}

#[cfg(test)]
mod tests {
    use application_webhooks::model::ids::{EventId, WebhookId};

    use super::*;

    #[test]
    fn webhooks_have_ids_with_their_application_in_it() {
        let id = webhook(1, &application(42));
        assert!(WebhookId::parse(&id).is_some(), "{id}");
        assert!(id.ends_with("ab0042"));
        assert_eq!(APPLICATION.replace("%04d", "0042"), application(42));
    }

    #[test]
    fn what_is_stored_by_sql_has_ids_as_the_service_makes_them() {
        let connection = Connection::open_in_memory().expect("open");
        let tables = "CREATE TABLE events (id, application_id, type, occurred_at, created_at,
               size_bytes, sha256, body);
             CREATE TABLE deliveries (event_id, webhook_id, application_id, type, status, attempts,
               step, retry, due_at, give_up_at, created_at, completed_at);
             CREATE TABLE attempts (event_id, webhook_id, number, trigger, started_at, duration_ms,
               url, secret_fingerprints, http_status, response_truncated, response_body)";
        connection.execute_batch(tables).expect("tables");
        for statement in fill(Dialect::Sqlite, 300, 1_790_000_000_000) {
            connection.execute_batch(&statement).expect("fill");
        }
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let count = |sql: &str| count(sql).expect("a count");
        assert_eq!(count("SELECT count(DISTINCT id) FROM events"), 300);
        assert_eq!(
            count(
                "SELECT count(*) FROM deliveries AS d JOIN attempts AS a USING (event_id, webhook_id)
                 JOIN events AS e ON e.id = d.event_id AND e.application_id = d.application_id"
            ),
            600
        );
        let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0));
        let id = text("SELECT max(id) FROM events").expect("an id");
        assert!(EventId::parse(&id).is_some(), "{id}");
        let webhook = text("SELECT max(webhook_id) FROM deliveries").expect("an id");
        assert!(WebhookId::parse(&webhook).is_some(), "{webhook}");
    }
}
