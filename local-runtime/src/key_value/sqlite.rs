//! A store in a SQLite file: the file and the table of Spin's default store.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension, params};

use crate::bindings::spin::key_value::key_value::Error;

/// One store of a SQLite file with Spin's table.
#[derive(Clone)]
pub struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    label: String,
}

impl Sqlite {
    /// Opens the file, and makes it when it is not there.
    ///
    /// # Errors
    ///
    /// When SQLite cannot.
    pub fn open(path: &Path, label: &str) -> anyhow::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let connection =
            Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::with_table(connection, label)
    }

    /// A database that is gone with the process.
    ///
    /// # Errors
    ///
    /// When SQLite cannot.
    pub fn in_memory(label: &str) -> anyhow::Result<Self> {
        Self::with_table(Connection::open_in_memory()?, label)
    }

    fn with_table(connection: Connection, label: &str) -> anyhow::Result<Self> {
        // Another process (Spin, a backup) may hold the file for a moment.
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute(
            "CREATE TABLE IF NOT EXISTS spin_key_value (
               store TEXT NOT NULL,
               key   TEXT NOT NULL,
               value BLOB NOT NULL,
               PRIMARY KEY (store, key)
             )",
            [],
        )?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            label: label.to_owned(),
        })
    }

    /// Runs `work` where it blocks nobody.
    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &str) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, Error> {
        let Self { connection, label } = self.clone();
        tokio::task::spawn_blocking(move || {
            work(
                &connection.lock().unwrap_or_else(|e| e.into_inner()),
                &label,
            )
        })
        .await
        .map_err(|error| Error::Other(error.to_string()))?
        .map_err(|error| Error::Other(error.to_string()))
    }

    /// Writes a value from outside of any guest.
    ///
    /// # Errors
    ///
    /// When SQLite cannot.
    pub fn seed(&self, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let connection = self.connection.lock().unwrap_or_else(|e| e.into_inner());
        set(&connection, &self.label, key, value)?;
        Ok(())
    }

    pub(super) async fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        self.run(move |connection, label| {
            connection
                .prepare_cached("SELECT value FROM spin_key_value WHERE store=?1 AND key=?2")?
                .query_row([label, &key], |row| row.get::<_, Vec<u8>>(0))
                .optional()
        })
        .await
    }

    pub(super) async fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.run(move |connection, label| set(connection, label, &key, &value))
            .await
    }

    pub(super) async fn delete(&self, key: String) -> Result<(), Error> {
        self.run(move |connection, label| {
            connection
                .prepare_cached("DELETE FROM spin_key_value WHERE store=?1 AND key=?2")?
                .execute([label, &key])
                .map(drop)
        })
        .await
    }

    pub(super) async fn exists(&self, key: String) -> Result<bool, Error> {
        self.run(move |connection, label| {
            connection
                .prepare_cached("SELECT 1 FROM spin_key_value WHERE store=?1 AND key=?2")?
                .exists([label, &key])
        })
        .await
    }

    pub(super) async fn keys(&self) -> Result<Vec<String>, Error> {
        self.run(|connection, label| {
            connection
                .prepare_cached("SELECT key FROM spin_key_value WHERE store=?1")?
                .query_map([label], |row| row.get::<_, String>(0))?
                .collect()
        })
        .await
    }
}

fn set(connection: &Connection, label: &str, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (store, key) DO UPDATE SET value = ?3",
        )?
        .execute(params![label, key, value])
        .map(drop)
}
