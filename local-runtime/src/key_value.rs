//! `spin:key-value@3.0.0` over [`Database`], with Spin's access rules and limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wasmtime::component::{Accessor, FutureReader, HasData, Resource, ResourceTable, StreamReader};

use crate::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use crate::faults::{Faults, Operation, Outcome};
use crate::sqlite::Database;
use crate::stats::Stats;

/// The largest result that Spin buffers: its `MAX_HOST_BUFFERED_BYTES`.
const MAX_RESULT_BYTES: usize = 128 << 20;

/// How many stores an instance can have open: Spin's `DEFAULT_STORE_TABLE_CAPACITY`.
const MAX_OPEN_STORES: usize = 256;

/// Every store that the runtime knows, by label.
pub type Stores = BTreeMap<String, Database>;

/// What the instances of one component have of the key-value interface.
pub struct KeyValue {
    /// The labels in the component's `key_value_stores`.
    pub allowed: BTreeSet<String>,
    /// Every store that the runtime knows.
    pub stores: Arc<Stores>,
    /// The armed faults.
    pub faults: Arc<Faults>,
    /// The counters.
    pub stats: Arc<Stats>,
}

impl KeyValue {
    async fn perform<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &str,
        effect: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> wasmtime::Result<Result<T, Error>> {
        self.stats.operation(operation);
        match self.faults.around(operation, key, effect).await {
            Outcome::Done(result) => Ok(result),
            Outcome::Failed => Ok(Err(Error::Other("injected fault".to_owned()))),
            Outcome::Trapped => Err(wasmtime::Error::msg("injected trap")),
        }
    }
}

/// A store that a guest has opened.
#[derive(Clone)]
pub struct OpenStore {
    label: String,
    database: Database,
    component: Arc<KeyValue>,
}

impl OpenStore {
    /// Hands `effect` the database, the store's label and the key, around which faults may strike.
    async fn perform<T, F>(
        self,
        operation: Operation,
        key: String,
        effect: impl FnOnce(Database, String, String) -> F,
    ) -> wasmtime::Result<Result<T, Error>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        let effect = effect(self.database, self.label, key.clone());
        let effect = async move { effect.await.map_err(Error::Other) };
        self.component.perform(operation, &key, effect).await
    }
}

/// The part of an instance that the generated traits work on.
pub struct KeyValueView<'a> {
    /// What its component has.
    pub component: &'a Arc<KeyValue>,
    /// How many stores it has open.
    pub open: &'a mut usize,
    /// Its resources.
    pub table: &'a mut ResourceTable,
}

/// Names [`KeyValueView`] for the linker.
pub struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = KeyValueView<'a>;
}

impl Host for KeyValueView<'_> {}

impl HostStore for KeyValueView<'_> {
    async fn drop(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        *self.open -= 1;
        Ok(())
    }
}

fn opened<T>(
    accessor: &Accessor<T, HasKeyValue>,
    store: &Resource<OpenStore>,
) -> wasmtime::Result<OpenStore> {
    accessor.with(|mut access| Ok(access.get().table.get(store)?.clone()))
}

impl<T: Send> HostStoreWithStore<T> for HasKeyValue {
    async fn open(
        accessor: &Accessor<T, Self>,
        label: String,
    ) -> wasmtime::Result<Result<Resource<OpenStore>, Error>> {
        let component = accessor.with(|mut access| access.get().component.clone());
        if !component.allowed.contains(&label) {
            return Ok(Err(Error::AccessDenied));
        }
        let found = component.stores.get(&label).cloned();
        let found = async move { found.ok_or(Error::NoSuchStore) };
        let database = match component.perform(Operation::Open, &label, found).await? {
            Ok(database) => database,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let view = access.get();
            if *view.open >= MAX_OPEN_STORES {
                return Ok(Err(Error::StoreTableFull));
            }
            *view.open += 1;
            Ok(Ok(view.table.push(OpenStore {
                label,
                database,
                component,
            })?))
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        opened(accessor, &store)?
            .perform(Operation::Get, key, |database, label, key| async move {
                let value = database.get(label, key).await?;
                let length = value.as_ref().map_or(0, Vec::len);
                if size_of_val(&value) + length > MAX_RESULT_BYTES {
                    // Spin's words.
                    return Err(format!(
                        "query result exceeds limit of {MAX_RESULT_BYTES} bytes"
                    ));
                }
                Ok(value)
            })
            .await
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        opened(accessor, &store)?
            .perform(Operation::Set, key, |database, label, key| async move {
                database.set(label, key, value).await
            })
            .await
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        opened(accessor, &store)?
            .perform(Operation::Delete, key, |database, label, key| async move {
                database.delete(label, key).await
            })
            .await
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> wasmtime::Result<Result<bool, Error>> {
        opened(accessor, &store)?
            .perform(Operation::Exists, key, |database, label, key| async move {
                database.exists(label, key).await
            })
            .await
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let keys = opened(accessor, &store)?
            .perform(
                Operation::GetKeys,
                String::new(),
                |database, label, _| async move { database.keys(label).await },
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
