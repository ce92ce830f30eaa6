//! The SQLite store of a state directory, which `spin up` and the local runtime share.

use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

/// The file that Spin's default store uses.
pub const FILE: &str = "sqlite_key_value.db";

/// Has the store of a new state directory keep a write-ahead log, which the file remembers: for processes that
/// share it. In SQLite's own mode whoever reads keeps others from committing, and one of two busy processes can
/// wait for more than four seconds; a store that is made to be shared has no such lock.
pub fn keep_write_ahead_log(state_dir: &Path) -> Result<()> {
    let connection = Connection::open(state_dir.join(FILE))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    Ok(())
}

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

/// Passes each document of the store `default` in that file, by its key.
pub fn each(file: &Path, mut pass: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut documents =
        connection.prepare("SELECT key, value FROM spin_key_value WHERE store = 'default'")?;
    let mut rows = documents.query([])?;
    while let Some(row) = rows.next()? {
        pass(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?)?;
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The state directory of a store with these documents.
    pub fn filled(name: &str, documents: &[(&str, &str)]) -> std::path::PathBuf {
        let state = crate::keys::tests::scratch(name);
        let connection = Connection::open(state.join(FILE)).expect("open");
        connection
            .execute_batch(
                "CREATE TABLE spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, \
                 value BLOB NOT NULL, PRIMARY KEY (store, key))",
            )
            .expect("make the table");
        for (key, value) in documents {
            let insert = "INSERT INTO spin_key_value VALUES ('default', ?1, ?2)";
            let inserted = connection.execute(insert, rusqlite::params![key, value.as_bytes()]);
            inserted.expect("fill");
        }
        state
    }

    #[test]
    fn who_opens_a_prepared_store_has_a_write_ahead_log() {
        let state = crate::keys::tests::scratch("write-ahead-log");
        keep_write_ahead_log(&state).expect("prepare");
        let connection = Connection::open(state.join(FILE)).expect("open");
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
        assert_eq!(mode, Ok("wal".to_owned()));
    }

    #[test]
    fn each_document_of_the_default_store_is_passed() {
        let state = filled("each-document", &[("b", "2"), ("a", "1")]);
        let file = state.join(FILE);
        let other = Connection::open(&file).expect("open");
        let insert = "INSERT INTO spin_key_value VALUES ('other', 'c', x'03')";
        other.execute(insert, []).expect("fill");
        let mut passed = Vec::new();
        each(&file, |key, value| {
            passed.push((key.to_owned(), value.to_owned()));
            Ok(())
        })
        .expect("each");
        passed.sort();
        let expected = [("a", "1"), ("b", "2")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.as_bytes().to_owned()));
        assert_eq!(passed, expected);
        let stopped = each(&file, |_, _| anyhow::bail!("enough"));
        assert!(stopped.is_err());
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
