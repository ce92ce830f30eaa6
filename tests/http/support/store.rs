//! The store behind the service, read and written as another program would: Spin's SQLite file.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::Application;

/// The store `default` of a running server.
pub struct Store {
    file: PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    pub fn open(state_dir: &Path) -> Self {
        let file = state_dir.join("sqlite_key_value.db");
        let connection = Connection::open_with_flags(
            &file,
            rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_URI,
        )
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        connection
            .busy_timeout(Duration::from_secs(30))
            .expect("set a time limit");
        Self {
            file,
            connection: Mutex::new(connection),
        }
    }

    fn with<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
        let connection = self.connection.lock().unwrap_or_else(|e| e.into_inner());
        run(&connection).unwrap_or_else(|e| panic!("{}: {e}", self.file.display()))
    }

    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.with(|connection| {
            connection
                .query_row(
                    "SELECT value FROM spin_key_value WHERE store = 'default' AND key = ?1",
                    [key],
                    |row| row.get(0),
                )
                .optional()
        })
    }

    pub fn set(&self, key: &str, value: &[u8]) {
        self.with(|connection| {
            connection.execute(
                "INSERT OR REPLACE INTO spin_key_value (store, key, value)
                 VALUES ('default', ?1, ?2)",
                params![key, value],
            )
        });
    }

    /// The keys that start with `prefix`, which has no wildcards.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT key FROM spin_key_value
                     WHERE store = 'default' AND substr(key, 1, length(?1)) = ?1 ORDER BY key",
                )?
                .query_map([prefix], |row| row.get(0))?
                .collect()
        })
    }

    /// Removes what is under keys that start with `prefix`.
    pub fn delete_all(&self, prefix: &str) {
        self.with(|connection| {
            connection.execute(
                "DELETE FROM spin_key_value
                 WHERE store = 'default' AND substr(key, 1, length(?1)) = ?1",
                [prefix],
            )
        });
    }

    /// The ids of the application's webhooks: those whose key exists.
    pub fn webhooks(&self, application: &Application) -> Vec<String> {
        let prefix = application.webhook_prefix();
        self.keys(&prefix)
            .iter()
            .map(|key| key[prefix.len()..].to_owned())
            .collect()
    }

    /// One webhook's document.
    pub fn webhook(&self, application: &Application, id: &str) -> Option<Value> {
        let document = self.get(&format!("{}{id}", application.webhook_prefix()))?;
        Some(serde_json::from_slice(&document).unwrap_or_else(|e| panic!("webhook {id}: {e}")))
    }

    /// The ids in the application's index.
    pub fn index(&self, application: &Application) -> Vec<String> {
        let Some(index) = self.get(&application.index_key()) else {
            return Vec::new();
        };
        let index: Vec<Value> = serde_json::from_slice(&index).unwrap_or_else(|e| {
            panic!(
                "index of {}: {e}: {}",
                application.id,
                String::from_utf8_lossy(&index)
            )
        });
        let ids = index.iter().map(|entry| {
            let id = entry.as_str().or_else(|| entry["id"].as_str());
            id.expect("an id").to_owned()
        });
        ids.collect()
    }

    /// Every byte that the store has on disk, its logs too.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for suffix in ["", "-wal", "-journal", "-shm"] {
            let mut file = self.file.clone().into_os_string();
            file.push(suffix);
            match std::fs::read(&file) {
                Ok(content) => bytes.extend(content),
                Err(error) => assert_ne!(suffix, "", "{}: {error}", self.file.display()),
            }
        }
        bytes
    }
}
