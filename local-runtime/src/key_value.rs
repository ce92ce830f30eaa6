//! `spin:key-value@3.0.0` on SQLite: the file, the table and the limits of Spin's default store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension, params};
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use crate::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use crate::instruments::Instruments;
use crate::stats::Caller;
use crate::view::{Has, View, request};

/// The largest result that Spin buffers: its `MAX_HOST_BUFFERED_BYTES`.
const MAX_RESULT_BYTES: usize = 128 << 20;

/// How many stores an instance can have open: Spin's `DEFAULT_STORE_TABLE_CAPACITY`.
const MAX_OPEN_STORES: usize = 256;

/// A SQLite file with Spin's table.
#[derive(Clone)]
pub struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Opens the file, and makes it when it is not there.
    ///
    /// # Errors
    ///
    /// When SQLite cannot.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let connection =
            Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::with_table(connection)
    }

    /// A database that is gone with the process.
    ///
    /// # Errors
    ///
    /// When SQLite cannot.
    pub fn in_memory() -> anyhow::Result<Self> {
        Self::with_table(Connection::open_in_memory()?)
    }

    fn with_table(connection: Connection) -> anyhow::Result<Self> {
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
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` where it blocks nobody.
    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, Error> {
        let connection = self.0.clone();
        tokio::task::spawn_blocking(move || {
            work(&connection.lock().unwrap_or_else(|e| e.into_inner()))
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
    pub fn seed(&self, label: &str, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let connection = self.0.lock().unwrap_or_else(|e| e.into_inner());
        set(&connection, label, key, value)?;
        Ok(())
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

/// Every store that the runtime knows, by label.
pub type Stores = BTreeMap<String, Database>;

/// What one instance has of the key-value interface.
#[derive(Clone)]
pub struct KeyValue {
    /// The labels in the component's `key_value_stores`.
    pub allowed: Arc<BTreeSet<String>>,
    /// Every store that the runtime knows.
    pub stores: Arc<Stores>,
    /// The armed faults and the counters.
    pub instruments: Instruments,
    /// How many stores the instance has open.
    pub open: usize,
}

/// The guest's handle of an open store.
#[derive(Clone)]
pub struct OpenStore {
    label: String,
    database: Database,
    context: KeyValue,
    /// The name of the request that uses it now, if it has one.
    caller: Option<Arc<str>>,
}

impl OpenStore {
    async fn call<R: Send + 'static>(
        &self,
        op: &'static str,
        key: &str,
        size: impl FnOnce(&R) -> Option<usize> + Send,
        work: impl FnOnce(&Connection, &str) -> rusqlite::Result<R> + Send + 'static,
    ) -> wasmtime::Result<Result<R, Error>> {
        let label = self.label.clone();
        let database = self.database.clone();
        let caller = Caller(self.caller.as_deref());
        self.context
            .instruments
            .run(op, key, caller, injected(), size, async move {
                database
                    .run(move |connection| work(connection, &label))
                    .await
            })
            .await
    }
}

/// The error of an injected fault.
fn injected() -> Error {
    Error::Other("injected fault".to_owned())
}

impl Host for View<'_, KeyValue> {}

impl HostStore for View<'_, KeyValue> {
    async fn drop(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        self.context.open -= 1;
        Ok(())
    }
}

/// The store behind the handle, as the request uses it that the guest works on right now.
fn opened<T>(
    accessor: &Accessor<T, Has<KeyValue>>,
    store: &Resource<OpenStore>,
) -> wasmtime::Result<OpenStore> {
    let caller = request(accessor)?;
    accessor.with(|mut access| {
        Ok(OpenStore {
            caller,
            ..access.get().table.get(store)?.clone()
        })
    })
}

impl<T: Send> HostStoreWithStore<T> for Has<KeyValue> {
    async fn open(
        accessor: &Accessor<T, Self>,
        label: String,
    ) -> wasmtime::Result<Result<Resource<OpenStore>, Error>> {
        let context = accessor.with(|mut access| access.get().context.clone());
        let found = context.stores.get(&label).cloned();
        let allowed = context.allowed.contains(&label);
        let result = context
            .instruments
            // The instance's, not the request's that happens to need it first.
            .run(
                "open",
                &label,
                Caller(None),
                injected(),
                |_| None,
                async move {
                    if !allowed {
                        return Err(Error::AccessDenied);
                    }
                    found.ok_or(Error::NoSuchStore)
                },
            )
            .await?;
        let database = match result {
            Ok(database) => database,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let view = access.get();
            if view.context.open >= MAX_OPEN_STORES {
                return Ok(Err(Error::StoreTableFull));
            }
            let store = OpenStore {
                label,
                database,
                context: view.context.clone(),
                caller: None,
            };
            let store = view.table.push(store)?;
            view.context.open += 1;
            Ok(Ok(store))
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let store = opened(accessor, &store)?;
        let wanted = key.clone();
        let length = |value: &Option<Vec<u8>>| value.as_ref().map(Vec::len);
        let got = store
            .call("get", &key, length, move |connection, label| {
                connection
                    .prepare_cached("SELECT value FROM spin_key_value WHERE store=?1 AND key=?2")?
                    .query_row([label, &wanted], |row| row.get::<_, Vec<u8>>(0))
                    .optional()
            })
            .await?;
        Ok(got.and_then(|value| {
            if value
                .as_ref()
                .is_some_and(|value| value.len() > MAX_RESULT_BYTES)
            {
                return Err(Error::Other(format!(
                    "query result exceeds limit of {MAX_RESULT_BYTES} bytes"
                )));
            }
            Ok(value)
        }))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let store = opened(accessor, &store)?;
        let (wanted, bytes) = (key.clone(), value.len());
        store
            .call(
                "set",
                &key,
                move |()| Some(bytes),
                move |connection, label| set(connection, label, &wanted, &value),
            )
            .await
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        let store = opened(accessor, &store)?;
        let wanted = key.clone();
        store
            .call(
                "delete",
                &key,
                |()| None,
                move |connection, label| {
                    connection
                        .prepare_cached("DELETE FROM spin_key_value WHERE store=?1 AND key=?2")?
                        .execute([label, &wanted])
                        .map(drop)
                },
            )
            .await
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> wasmtime::Result<Result<bool, Error>> {
        let store = opened(accessor, &store)?;
        let wanted = key.clone();
        store
            .call(
                "exists",
                &key,
                |_| None,
                move |connection, label| {
                    connection
                        .prepare_cached("SELECT 1 FROM spin_key_value WHERE store=?1 AND key=?2")?
                        .exists([label, &wanted])
                },
            )
            .await
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let store = opened(accessor, &store)?;
        let keys = store
            .call(
                "get-keys",
                "",
                |_| None,
                |connection, label| {
                    connection
                        .prepare_cached("SELECT key FROM spin_key_value WHERE store=?1")?
                        .query_map([label], |row| row.get::<_, String>(0))?
                        .collect::<rusqlite::Result<Vec<String>>>()
                },
            )
            .await?;
        let (keys, result) = match keys {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        accessor.with(|mut access| {
            let keys = StreamReader::new(&mut access, keys)?;
            let result =
                FutureReader::new(&mut access, async move { wasmtime::error::Ok(result) })?;
            Ok((keys, result))
        })
    }
}
