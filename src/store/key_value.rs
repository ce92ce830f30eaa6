//! Spin's key-value store: bytes and documents under keys.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;
use spin_sdk::key_value;

use crate::config::Config;
use crate::http::error::Error;

/// The store `default`, opened once per instance: opening it costs Redis a ping.
static OPENED: Mutex<Option<Arc<Opened>>> = Mutex::new(None);

struct Opened {
    store: key_value::Store,
    separator: char,
}

impl Opened {
    fn spell<'a>(&self, key: &'a str) -> Cow<'a, str> {
        match self.separator {
            '/' => Cow::Borrowed(key),
            separator => Cow::Owned(key.replace('/', separator.encode_utf8(&mut [0; 4]))),
        }
    }
}

async fn open() -> Result<Arc<Opened>, Error> {
    let opened = OPENED.lock().unwrap_or_else(|e| e.into_inner()).clone();
    if let Some(opened) = opened {
        return Ok(opened);
    }
    let separator = Config::load().await?.store_key_separator;
    let store = key_value::Store::open_default()
        .await
        .map_err(|error| failed("open", &error))?;
    let opened = Arc::new(Opened { store, separator });
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = Some(opened.clone());
    Ok(opened)
}

fn failed(operation: &str, error: &key_value::Error) -> Error {
    // Whatever the handle's trouble is, the next request opens the store anew.
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = None;
    Error::Dependency(format!("store: {operation} failed: {error}"))
}

/// The bytes under `key`.
pub async fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    let opened = open().await?;
    let got = opened.store.get(opened.spell(key)).await;
    got.map_err(|error| failed("get", &error))
}

/// Writes `value` under `key`.
pub async fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    let opened = open().await?;
    let written = opened.store.set(opened.spell(key), value).await;
    written.map_err(|error| failed("set", &error))
}

/// Removes `key`; one that is not there is no error.
pub async fn delete(key: &str) -> Result<(), Error> {
    let opened = open().await?;
    let deleted = opened.store.delete(opened.spell(key)).await;
    deleted.map_err(|error| failed("delete", &error))
}

/// Whether `key` is there.
pub async fn exists(key: &str) -> Result<bool, Error> {
    let opened = open().await?;
    let found = opened.store.exists(opened.spell(key)).await;
    found.map_err(|error| failed("exists", &error))
}

/// The document under `key`. One that cannot be read is the store's failure, not the client's.
pub async fn get_document<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(bytes) = get(key).await? else {
        return Ok(None);
    };
    match serde_json::from_slice(&bytes) {
        Ok(document) => Ok(Some(document)),
        // serde's text may quote the document: only the place is told.
        Err(error) => Err(Error::Unreadable(format!(
            "store: the document under `{key}` cannot be read (line {}, column {})",
            error.line(),
            error.column()
        ))),
    }
}

/// Writes a document under `key`.
pub async fn set_document(key: &str, document: &impl Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec(document)
        .map_err(|error| Error::Internal(format!("a document cannot be written: {error}")))?;
    set(key, &bytes).await
}
