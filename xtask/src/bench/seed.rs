//! What is in the stores that the benchmark serves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::tokens::MERCHANT;
use crate::{project, store};

/// How many applications without webhooks a store has, for creates and reads to be spread over.
pub const SMALL: usize = 1000;

/// How many applications have [`FULL`] webhooks.
pub const LARGE: usize = 100;

/// The webhooks of a large application: the default limit.
pub const FULL: usize = 50;

/// The folder of all that the benchmark writes.
pub fn directory() -> PathBuf {
    project::root().join("target/bench")
}

/// The id of an application's `number`th seeded webhook.
pub fn id(number: usize) -> String {
    format!("8a1c2f9e-0000-4000-8000-{number:012}")
}

/// The folder of a new store with `applications` and those that other cases need.
pub fn fresh_store(name: &str, applications: usize) -> Result<PathBuf> {
    let state = directory().join(name);
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    fs::create_dir_all(&state)?;
    seed(&state, applications)?;
    Ok(state)
}

/// Fills a store: `applications` with one webhook, then those that other cases need.
fn seed(state: &Path, applications: usize) -> Result<()> {
    let mut connection = Connection::open(state.join(store::FILE))?;
    connection.execute_batch(
        "CREATE TABLE spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT \
         NULL, PRIMARY KEY (store, key))",
    )?;
    let transaction = connection.transaction()?;
    {
        let mut insert =
            transaction.prepare("INSERT INTO spin_key_value VALUES ('default', ?1, ?2)")?;
        let mut application = |name: String, webhooks: usize| -> Result<()> {
            let owner = json!({"merchantId": MERCHANT}).to_string();
            insert.execute((format!("application/{name}"), owner.as_bytes()))?;
            let ids: Vec<String> = (0..webhooks).map(id).collect();
            let created_at = |number: usize| format!("2026-01-15T08:00:{:02}.000Z", number % 60);
            for (number, id) in ids.iter().enumerate() {
                let document = json!({
                    "v": 1, "id": id, "applicationId": name,
                    "url": "https://merchant.example.com/hooks/kadosei", "isActive": true,
                    "subscribedEvents": ["session.completed", "session.expired"],
                    "secret": {"fingerprint": "whsec_****a3f2", "sealed": "0".repeat(128)},
                    "createdAt": created_at(number), "isTracked": true,
                });
                let document = document.to_string();
                insert.execute((format!("webhook/{name}/{id}"), document.as_bytes()))?;
            }
            let entries = ids.iter().enumerate();
            let entries: Vec<Value> = entries
                .map(|(number, id)| json!({"id": id, "createdAt": created_at(number)}))
                .collect();
            let entries = json!(entries).to_string();
            insert.execute((format!("webhooks/{name}"), entries.as_bytes()))?;
            Ok(())
        };
        for number in 0..applications {
            application(format!("small-{number}"), 1)?;
        }
        for number in 0..LARGE {
            application(format!("one-{number}"), 1)?;
            application(format!("large-{number}"), FULL)?;
            application(format!("listed-{number}"), FULL)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
