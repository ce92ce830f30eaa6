//! Spin's key-value store.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use spin_sdk::key_value;

use super::key_value::{KeyValue, Operation, Store};
use crate::config::Config;
use crate::fault::Fault;

/// Spin's store `default`.
pub fn store() -> Store {
    Store::new(Rc::new(Spin))
}

struct Spin;

/// It is opened once per instance: opening it costs Redis a ping.
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

    /// A key as we spell it. No part of our keys can hold the separator, so this is what
    /// [`Self::spell`] was given; of others' keys nothing is known but that they are none of ours.
    fn read(&self, spelled: String) -> String {
        match self.separator {
            '/' => spelled,
            separator => spelled.replace(separator, "/"),
        }
    }
}

async fn open() -> Result<Arc<Opened>, Fault> {
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

fn failed(operation: &str, error: &key_value::Error) -> Fault {
    // Whatever the handle's trouble is, the next request opens the store anew.
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = None;
    Fault::Dependency(format!("store: {operation} failed: {error}"))
}

impl KeyValue for Spin {
    fn get<'a>(&'a self, key: &'a str) -> Operation<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let opened = open().await?;
            let got = opened.store.get(opened.spell(key)).await;
            got.map_err(|error| failed("get", &error))
        })
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a [u8]) -> Operation<'a, ()> {
        Box::pin(async move {
            let opened = open().await?;
            let written = opened.store.set(opened.spell(key), value).await;
            written.map_err(|error| failed("set", &error))
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Operation<'a, ()> {
        Box::pin(async move {
            let opened = open().await?;
            let deleted = opened.store.delete(opened.spell(key)).await;
            deleted.map_err(|error| failed("delete", &error))
        })
    }

    fn exists<'a>(&'a self, key: &'a str) -> Operation<'a, bool> {
        Box::pin(async move {
            let opened = open().await?;
            let found = opened.store.exists(opened.spell(key)).await;
            found.map_err(|error| failed("exists", &error))
        })
    }

    fn keys(&self) -> Operation<'_, Vec<String>> {
        Box::pin(async move {
            let opened = open().await?;
            let listed = opened.store.get_keys().await.collect().await;
            let listed = listed.map_err(|error| failed("get-keys", &error))?;
            let mut keys: Vec<_> = listed.into_iter().map(|key| opened.read(key)).collect();
            // Redis may list a key twice (SCAN).
            keys.sort_unstable();
            keys.dedup();
            Ok(keys)
        })
    }
}
