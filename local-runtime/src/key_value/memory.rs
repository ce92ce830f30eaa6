//! A store that is a map, for benchmarks: what an operation costs in it is the runtime's, not a database's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};

use crate::bindings::spin::key_value::key_value::Error;

type Documents = BTreeMap<String, Vec<u8>>;

/// One store, which is gone with the process.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Documents>>);

impl Memory {
    /// A store with what the SQLite file has under this label; an empty one where there is no file. Nothing
    /// is written back.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is none of Spin's.
    pub fn load(path: &Path, label: &str) -> anyhow::Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let documents =
            documents(path, label).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(documents))))
    }

    /// Does the work at once, and lets the guest wait a turn for it: no store that a service is run with
    /// answers within the call. As with SQLite, what has begun takes effect, whoever still waits for it.
    async fn run<R>(&self, work: impl FnOnce(&mut Documents) -> R) -> Result<R, Error> {
        let done = work(&mut self.0.lock().unwrap_or_else(|e| e.into_inner()));
        tokio::task::yield_now().await;
        Ok(done)
    }

    /// Writes a value from outside of any guest.
    pub fn seed(&self, key: &str, value: &[u8]) {
        let mut documents = self.0.lock().unwrap_or_else(|e| e.into_inner());
        documents.insert(key.to_owned(), value.to_owned());
    }

    pub(super) async fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        self.run(|documents| documents.get(&key).cloned()).await
    }

    pub(super) async fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.run(|documents| drop(documents.insert(key, value)))
            .await
    }

    pub(super) async fn delete(&self, key: String) -> Result<(), Error> {
        self.run(|documents| drop(documents.remove(&key))).await
    }

    pub(super) async fn exists(&self, key: String) -> Result<bool, Error> {
        self.run(|documents| documents.contains_key(&key)).await
    }

    pub(super) async fn keys(&self) -> Result<Vec<String>, Error> {
        self.run(|documents| documents.keys().cloned().collect())
            .await
    }
}

fn documents(path: &Path, label: &str) -> rusqlite::Result<Documents> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut rows = connection.prepare("SELECT key, value FROM spin_key_value WHERE store = ?1")?;
    rows.query_map([label], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
