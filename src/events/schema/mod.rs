//! The tables, and how they come to be.
//!
//! A version is a list of statements that only add, so that an earlier release goes on working beside a
//! later one. Each can be run again: two processes that start at once both run them.

mod functions;
mod portal;
mod postgres;
mod recoveries;
mod sqlite;

use super::driver::{Connection, Failure};
use super::statements::{Dialect, Statement};
use super::value::Value;

/// What one version adds.
struct Version {
    sqlite: &'static [&'static str],
    /// The body of one `DO` statement, which is a transaction that needs no `BEGIN`.
    postgres: &'static str,
}

/// The versions, from 1.
const VERSIONS: &[Version] = &[
    Version {
        sqlite: sqlite::SQLITE_1,
        postgres: postgres::POSTGRES_1,
    },
    Version {
        sqlite: recoveries::SQLITE,
        postgres: recoveries::POSTGRES,
    },
    Version {
        sqlite: portal::SQLITE,
        postgres: portal::POSTGRES,
    },
    Version {
        sqlite: &[],
        postgres: functions::POSTGRES,
    },
];

/// Which advisory lock two processes take that make the tables at once: a random number.
const LOCK: i64 = 6_203_187_754_110_923_441;

/// Makes what the database lacks.
///
/// # Errors
///
/// The first failure of a statement.
pub async fn prepare(connection: &dyn Connection, dialect: Dialect) -> Result<(), Failure> {
    let current = version(connection).await?;
    if current >= VERSIONS.len() {
        return Ok(());
    }
    if dialect == Dialect::Sqlite {
        // A commit then waits for one flush instead of three, and readers for no writer. The file keeps
        // it. libSQL has it already, and refuses the statement.
        let wal = Statement::new("schema-journal", "PRAGMA journal_mode = WAL");
        let _ = connection.query(&wal, &[]).await;
    }
    for (number, version) in VERSIONS.iter().enumerate().skip(current) {
        let number = number + 1;
        match dialect {
            Dialect::Sqlite => {
                for sql in version.sqlite {
                    run(connection, sql).await?;
                }
                run(connection, &added(number)).await?;
            }
            Dialect::Postgres => {
                let (body, added) = (version.postgres, added(number));
                let sql = format!(
                    "DO $$ BEGIN PERFORM pg_advisory_xact_lock({LOCK}); {body} {added}; END $$"
                );
                run(connection, &sql).await?;
            }
        }
    }
    Ok(())
}

/// The statements that made a database of that version, for tests of what an earlier release left.
#[cfg(test)]
pub fn script(dialect: Dialect, version: usize) -> Vec<String> {
    let made = VERSIONS.iter().zip(1..).take(version);
    made.flat_map(|(version, number)| {
        let mut script: Vec<String> = match dialect {
            Dialect::Sqlite => version.sqlite.iter().map(|sql| (*sql).to_owned()).collect(),
            Dialect::Postgres => vec![version.postgres.to_owned()],
        };
        script.push(added(number));
        script
    })
    .collect()
}

/// Which version the database has; 0: there is none, or its table cannot be read.
async fn version(connection: &dyn Connection) -> Result<usize, Failure> {
    let sql = "SELECT max(version) FROM events_schema";
    let statement = Statement::new("schema-version", sql);
    match connection.query(&statement, &[]).await {
        Ok(rows) => match rows.first().and_then(|row| row.first()) {
            Some(Value::Integer(version)) => Ok(usize::try_from(*version).unwrap_or(0)),
            _ => Ok(0),
        },
        // Most likely there is no such table. Whatever else it is, the next statement meets it too.
        Err(Failure::Refused(_)) => Ok(0),
        Err(failure) => Err(failure),
    }
}

async fn run(connection: &dyn Connection, sql: &str) -> Result<(), Failure> {
    let statement = Statement::new("schema", sql);
    connection.query(&statement, &[]).await.map(drop)
}

fn added(version: usize) -> String {
    format!("INSERT INTO events_schema (version) VALUES ({version}) ON CONFLICT DO NOTHING")
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_version_that_was_released_is_never_changed() {
        let released = [
            ["e36588d65c1e8644", "bfa8faf846b3cdb6"],
            ["e57da930b87a5aa0", "08d5c41c38d3bbf3"],
            ["a773161cd781d4dd", "2a8e99029bc52ae5"],
            ["fc60f2df0e652710", "b823865204b8f544"],
        ];
        assert_eq!(
            VERSIONS.len(),
            released.len(),
            "a new version is added here"
        );
        for (version, hashes) in (1..).zip(released) {
            let scripts = [Dialect::Sqlite, Dialect::Postgres]
                .map(|dialect| script(dialect, version).join("\n").replace(' ', ""));
            let made = scripts.map(|script| {
                let hash = base16ct::lower::encode_string(&Sha256::digest(script));
                hash[..16].to_owned()
            });
            assert_eq!(made, hashes, "version {version}");
        }
    }
}
