//! What the service needs of a store: bytes under keys, and the documents that they are.

use std::pin::Pin;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;
use crate::json;

/// An operation under way. One that is dropped before it ends may still take effect.
pub type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + 'a>>;

/// Single reads and writes of bytes under keys: no transaction, no compare-and-swap.
///
/// Spin's ([`super::spin`]), and in tests one in memory whose operations meet as the test decides
/// (`memory`). Every operation fails with [`Fault::Dependency`].
pub trait KeyValue {
    /// The bytes under `key`.
    fn get<'a>(&'a self, key: &'a str) -> Operation<'a, Option<Vec<u8>>>;

    /// Writes `value` under `key`.
    fn set<'a>(&'a self, key: &'a str, value: &'a [u8]) -> Operation<'a, ()>;

    /// Removes `key`; one that is not there is no error.
    fn delete<'a>(&'a self, key: &'a str) -> Operation<'a, ()>;

    /// Whether `key` is there.
    fn exists<'a>(&'a self, key: &'a str) -> Operation<'a, bool>;

    /// Every key, sorted. Keys that come or go meanwhile may be among them or not.
    fn keys(&self) -> Operation<'_, Vec<String>>;

    /// Which process this is, where a test has several in one.
    fn process(&self) -> u64 {
        0
    }
}

/// Not generic: each type of documents would have its own. serde's text may quote the document, so only the
/// place is recorded.
fn unreadable(key: &str, error: &serde_json::Error) -> Fault {
    Fault::Unreadable(format!(
        "store: the document under `{key}` cannot be read (line {}, column {})",
        error.line(),
        error.column()
    ))
}

/// A store, as the rest of the service sees it: JSON documents under keys.
#[derive(Clone)]
pub struct Store(Rc<dyn KeyValue>);

impl Store {
    /// The documents in `key_value`.
    pub fn new(key_value: Rc<dyn KeyValue>) -> Self {
        Self(key_value)
    }

    /// The document under `key`. One that cannot be read is the store's failure, not the client's.
    pub async fn get_document<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Fault> {
        self.read(key, |bytes| serde_json::from_slice(bytes)).await
    }

    /// As [`Self::get_document`], of a document that `read` reads.
    pub async fn read<T>(
        &self,
        key: &str,
        read: impl FnOnce(&[u8]) -> serde_json::Result<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(bytes) = self.0.get(key).await? else {
            return Ok(None);
        };
        let document = read(&bytes).map_err(|error| unreadable(key, &error))?;
        Ok(Some(document))
    }

    /// What is under `key`, whatever it is.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.0.get(key).await
    }

    /// Writes a document under `key`.
    pub async fn set_document(&self, key: &str, document: &impl Serialize) -> Result<(), Fault> {
        self.0.set(key, json::write(document)?.as_bytes()).await
    }

    /// Removes `key`; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.0.delete(key).await
    }

    /// Whether `key` is there.
    pub async fn exists(&self, key: &str) -> Result<bool, Fault> {
        self.0.exists(key).await
    }

    /// As [`KeyValue::process`].
    pub fn process(&self) -> u64 {
        self.0.process()
    }

    /// Every key, sorted, also those of others who share the store. It takes as long as the store
    /// needs to list them, and some 100 bytes of memory for each.
    pub async fn keys(&self) -> Result<Vec<String>, Fault> {
        self.0.keys().await
    }
}
