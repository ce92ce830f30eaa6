//! `spin:key-value@3.0.0`, with the limits of Spin's default store: on SQLite, or for benchmarks on a map.

mod memory;
mod sqlite;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use crate::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use crate::instruments::Instruments;
use crate::runtime_config::RuntimeConfig;
use crate::stats::Caller;
use crate::view::{Has, View, request};

pub use self::memory::Memory;
pub use self::sqlite::Sqlite;

/// The largest result that Spin buffers: its `MAX_HOST_BUFFERED_BYTES`.
const MAX_RESULT_BYTES: usize = 128 << 20;

/// How many stores an instance can have open: Spin's `DEFAULT_STORE_TABLE_CAPACITY`.
const MAX_OPEN_STORES: usize = 256;

/// What stores are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// SQLite, as Spin's default store
    Sqlite,
    /// A map that begins with what SQLite's file has and is never written back, for benchmarks
    Memory,
}

/// An open store.
#[derive(Clone)]
pub enum Store {
    /// In a SQLite file.
    Sqlite(Sqlite),
    /// In a map.
    Memory(Memory),
}

impl Store {
    /// Opens the store of this label in the file, or one without a file.
    ///
    /// # Errors
    ///
    /// When SQLite cannot.
    pub fn open(kind: Kind, path: Option<&Path>, label: &str) -> anyhow::Result<Self> {
        Ok(match (kind, path) {
            (Kind::Sqlite, Some(path)) => Self::Sqlite(Sqlite::open(path, label)?),
            (Kind::Sqlite, None) => Self::Sqlite(Sqlite::in_memory(label)?),
            (Kind::Memory, Some(path)) => Self::Memory(Memory::load(path, label)?),
            (Kind::Memory, None) => Self::Memory(Memory::default()),
        })
    }

    /// Writes a value from outside of any guest.
    ///
    /// # Errors
    ///
    /// When SQLite cannot.
    pub fn seed(&self, key: &str, value: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(store) => store.seed(key, value)?,
            Self::Memory(store) => store.seed(key, value),
        }
        Ok(())
    }

    async fn get(self, key: String) -> Result<Option<Vec<u8>>, Error> {
        let value = match self {
            Self::Sqlite(store) => store.get(key).await,
            Self::Memory(store) => store.get(key).await,
        }?;
        if value.as_ref().is_some_and(|it| it.len() > MAX_RESULT_BYTES) {
            return Err(Error::Other(format!(
                "query result exceeds limit of {MAX_RESULT_BYTES} bytes"
            )));
        }
        Ok(value)
    }

    async fn set(self, key: String, value: Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Sqlite(store) => store.set(key, value).await,
            Self::Memory(store) => store.set(key, value).await,
        }
    }

    async fn delete(self, key: String) -> Result<(), Error> {
        match self {
            Self::Sqlite(store) => store.delete(key).await,
            Self::Memory(store) => store.delete(key).await,
        }
    }

    async fn exists(self, key: String) -> Result<bool, Error> {
        match self {
            Self::Sqlite(store) => store.exists(key).await,
            Self::Memory(store) => store.exists(key).await,
        }
    }

    async fn keys(self) -> Result<Vec<String>, Error> {
        match self {
            Self::Sqlite(store) => store.keys().await,
            Self::Memory(store) => store.keys().await,
        }
    }
}

/// Every store that the runtime knows, by label.
pub type Stores = BTreeMap<String, Store>;

/// The stores of the runtime config, and `default`: in the state directory, or without one in memory.
///
/// # Errors
///
/// When the config names another type than `spin`, or one of them cannot be opened.
pub fn stores(
    config: &RuntimeConfig,
    state_dir: Option<&Path>,
    kind: Kind,
) -> anyhow::Result<Stores> {
    let open = |label: &str, path: Option<&Path>, name: &str| {
        let path = match path {
            Some(path) => Some(config.directory.join(path)),
            None => state_dir.map(|directory| directory.join(name)),
        };
        Store::open(kind, path.as_deref(), label)
    };
    let mut stores = Stores::new();
    for (label, table) in &config.key_value_store {
        if table.r#type != "spin" {
            bail!(
                "the runtime config has a `{}` store; the local runtime has only SQLite, so use Spin for it",
                table.r#type
            );
        }
        let store = open(label, table.path.as_deref(), &format!("{label}.db"))?;
        stores.insert(label.clone(), store);
    }
    if !stores.contains_key("default") {
        let store = open("default", None, "sqlite_key_value.db")?;
        stores.insert("default".to_owned(), store);
    }
    Ok(stores)
}

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
    store: Store,
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
        operation: impl Future<Output = Result<R, Error>> + Send + 'static,
    ) -> wasmtime::Result<Result<R, Error>> {
        let caller = Caller(self.caller.as_deref());
        self.context
            .instruments
            .run(op, key, caller, injected(), size, operation)
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
        let store = match result {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let view = access.get();
            if view.context.open >= MAX_OPEN_STORES {
                return Ok(Err(Error::StoreTableFull));
            }
            let store = OpenStore {
                store,
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
        let opened = opened(accessor, &store)?;
        let length = |value: &Option<Vec<u8>>| value.as_ref().map(Vec::len);
        let operation = opened.store.clone().get(key.clone());
        opened.call("get", &key, length, operation).await
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let opened = opened(accessor, &store)?;
        let bytes = value.len();
        let operation = opened.store.clone().set(key.clone(), value);
        let length = move |_: &()| Some(bytes);
        opened.call("set", &key, length, operation).await
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        let opened = opened(accessor, &store)?;
        let operation = opened.store.clone().delete(key.clone());
        opened.call("delete", &key, |()| None, operation).await
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> wasmtime::Result<Result<bool, Error>> {
        let opened = opened(accessor, &store)?;
        let operation = opened.store.clone().exists(key.clone());
        opened.call("exists", &key, |_| None, operation).await
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let opened = opened(accessor, &store)?;
        let operation = opened.store.clone().keys();
        let keys = opened.call("get-keys", "", |_| None, operation).await?;
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
