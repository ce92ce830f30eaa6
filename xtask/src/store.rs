//! The SQLite store of a state directory, which `spin up` and the local runtime share.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

/// The file that Spin's default store uses.
pub const FILE: &str = "sqlite_key_value.db";

/// The value of a key in the store `default`; `None` also when there is no store yet.
pub fn get(state_dir: &Path, key: &str) -> Result<Option<Vec<u8>>> {
    let path = state_dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let table: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'spin_key_value')",
        [],
        |row| row.get(0),
    )?;
    if !table {
        return Ok(None);
    }
    Ok(connection
        .query_row(
            "SELECT value FROM spin_key_value WHERE store = 'default' AND key = ?1",
            [key],
            |row| row.get(0),
        )
        .optional()?)
}

/// The store `default`, also while a service uses it: every write is one transaction, and depends
/// on what is there at that moment.
pub struct Documents(Connection);

impl Documents {
    /// Opens the store of a state directory.
    ///
    /// # Errors
    ///
    /// When there is none, or SQLite cannot.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join(FILE);
        if !path.exists() {
            bail!(
                "{} is not there: --state-dir names the store's directory",
                path.display()
            );
        }
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(Duration::from_secs(30))?;
        Ok(Self(connection))
    }

    /// Every key, sorted.
    pub fn keys(&self) -> Result<Vec<String>> {
        let mut select = self
            .0
            .prepare("SELECT key FROM spin_key_value WHERE store = 'default' ORDER BY key")?;
        let keys = select.query_map([], |row| row.get(0))?;
        Ok(keys.collect::<rusqlite::Result<_>>()?)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut select = self.0.prepare_cached(
            "SELECT value FROM spin_key_value WHERE store = 'default' AND key = ?1",
        )?;
        Ok(select.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Replaces what was read of a key, unless it is something else by now: then nothing happens
    /// and the answer is `false`. `None` stands for a key that is not there.
    pub fn replace(&self, key: &str, read: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        // One statement is one transaction.
        let changed = match (read, new) {
            (Some(read), Some(new)) => self.0.execute(
                "UPDATE spin_key_value SET value = ?3
                 WHERE store = 'default' AND key = ?1 AND value = ?2",
                params![key, read, new],
            )?,
            (Some(read), None) => self.0.execute(
                "DELETE FROM spin_key_value WHERE store = 'default' AND key = ?1 AND value = ?2",
                params![key, read],
            )?,
            (None, Some(new)) => self.0.execute(
                "INSERT OR IGNORE INTO spin_key_value (store, key, value)
                 VALUES ('default', ?1, ?2)",
                params![key, new],
            )?,
            (None, None) => return Ok(self.get(key)?.is_none()),
        };
        Ok(changed == 1)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A store with these documents.
    pub fn filled(name: &str, documents: &[(&str, &str)]) -> (std::path::PathBuf, Documents) {
        let state = crate::keys::tests::scratch(name);
        let connection = Connection::open(state.join(FILE)).expect("open");
        connection
            .execute_batch(
                "CREATE TABLE spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, \
                 value BLOB NOT NULL, PRIMARY KEY (store, key))",
            )
            .expect("make the table");
        let documents_of = Documents(connection);
        for (key, value) in documents {
            let new = Some(value.as_bytes());
            assert!(documents_of.replace(key, None, new).expect("fill"));
        }
        (state, documents_of)
    }

    #[test]
    fn a_document_is_replaced_only_if_it_is_what_was_read() {
        let (_, store) = filled("replace", &[("a", "1")]);
        let replace = |read: Option<&str>, new: Option<&str>| {
            let (read, new) = (read.map(str::as_bytes), new.map(str::as_bytes));
            store.replace("a", read, new).expect("replace")
        };
        assert!(!replace(Some("0"), Some("2")));
        assert!(!replace(None, Some("2")));
        assert!(!replace(Some("0"), None));
        assert!(replace(Some("1"), Some("2")));
        assert_eq!(store.get("a").expect("get"), Some(b"2".to_vec()));
        assert!(replace(Some("2"), None));
        // What was deleted meanwhile does not come back.
        assert!(!replace(Some("2"), Some("3")));
        assert_eq!(store.keys().expect("keys"), Vec::<String>::new());
    }

    #[test]
    fn a_value_is_found_where_spin_puts_it() {
        let state = crate::keys::tests::scratch("store");
        assert_eq!(get(&state, "a").expect("no file"), None);

        let connection = Connection::open(state.join(FILE)).expect("open");
        assert_eq!(get(&state, "a").expect("no table"), None);
        connection
            .execute_batch(
                "CREATE TABLE spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, \
                 value BLOB NOT NULL, PRIMARY KEY (store, key));
                 INSERT INTO spin_key_value VALUES ('default', 'a', x'01'), ('other', 'b', x'02')",
            )
            .expect("fill");
        assert_eq!(get(&state, "a").expect("get"), Some(vec![1]));
        assert_eq!(get(&state, "b").expect("get"), None);
    }
}
