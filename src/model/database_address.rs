//! Where the database of events is: variable `events_database`.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

/// Which database holds the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseAddress {
    /// Spin's SQLite database `default`.
    Sqlite,
    /// A PostgreSQL.
    Postgres(PostgresAddress),
}

/// The address of a PostgreSQL, with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    url: Url,
}

impl DatabaseAddress {
    /// The database that `text` names: nothing, or `postgres://user:password@host:port/database`.
    /// Statements end after `timeout` unless the address has `options` of its own.
    ///
    /// # Errors
    ///
    /// What is wrong with it. It never holds a part of `text`.
    pub fn parse(text: &str, timeout: Duration) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Ok(Self::Sqlite);
        }
        let mut url = Url::parse(text).map_err(|_| {
            "must be empty or a URL: postgres://user:password@host:5432/database, with all but letters, \
             digits, `-`, `.`, `_` and `~` in the user and the password percent-encoded"
        })?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err("must be empty or a URL that begins with postgres://");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("must name a host");
        }
        if url.path().trim_start_matches('/').is_empty() {
            return Err("must name a database after the host: postgres://…@host/database");
        }
        if url.fragment().is_some() {
            return Err("must have no `#`: in a password it is %23");
        }
        let mut has_options = false;
        let mut connect_timeout = false;
        for (name, value) in url.query_pairs() {
            match &*name {
                // The host takes no other. It verifies the certificate with each of them.
                "sslmode" if !["disable", "prefer", "require"].contains(&&*value) => {
                    return Err(
                        "must have sslmode disable, prefer or require; with require the certificate \
                         and its name are verified",
                    );
                }
                "options" => has_options = true,
                "connect_timeout" => connect_timeout = true,
                _ => {}
            }
        }
        // A statement goes on when the request that began it does not, and the next one on the
        // connection waits for it. PgBouncer refuses `options`, an empty one too, unless its
        // `ignore_startup_parameters` names it.
        if !has_options {
            let millis = timeout.as_millis();
            let options = format!(
                "-c statement_timeout={millis} -c lock_timeout={millis} \
                 -c idle_in_transaction_session_timeout=10000"
            );
            let options = utf8_percent_encode(&options, NON_ALPHANUMERIC).to_string();
            append(&mut url, "options", &options);
        }
        if !connect_timeout {
            let seconds = timeout.as_secs().max(1);
            append(&mut url, "connect_timeout", &seconds.to_string());
        }
        Ok(Self::Postgres(PostgresAddress { url }))
    }
}

/// Appends to the query. `value` is percent-encoded: a form's `+` would not be read as a space.
fn append(url: &mut Url, name: &str, value: &str) {
    let query = match url.query().filter(|query| !query.is_empty()) {
        Some(query) => format!("{query}&{name}={value}"),
        None => format!("{name}={value}"),
    };
    url.set_query(Some(&query));
}

impl PostgresAddress {
    /// The whole address, for the host. It holds the password.
    pub fn reveal(&self) -> &str {
        self.url.as_str()
    }

    /// The entry of `allowed_outbound_hosts` that it needs.
    pub fn outbound_host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().unwrap_or(5432);
        format!("postgres://{host}:{port}")
    }

    /// A text for the log, in which the password is made unreadable.
    pub fn redact(&self, text: &str) -> String {
        let Some(encoded) = self.url.password().filter(|password| !password.is_empty()) else {
            return text.to_owned();
        };
        let decoded = percent_decode_str(encoded).decode_utf8_lossy();
        text.replace(encoded, "****").replace(&*decoded, "****")
    }
}

impl std::fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PostgresAddress")
            .field(&self.outbound_host())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseAddress, &'static str> {
        DatabaseAddress::parse(text, Duration::from_secs(2))
    }

    fn postgres(text: &str) -> PostgresAddress {
        match parse(text) {
            Ok(DatabaseAddress::Postgres(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_sqlite() {
        assert_eq!(parse(""), Ok(DatabaseAddress::Sqlite));
    }

    #[test]
    fn an_address_gets_the_time_limits_that_it_lacks() {
        let limits = "options=%2Dc%20statement%5Ftimeout%3D2000%20%2Dc%20lock%5Ftimeout%3D2000\
                      %20%2Dc%20idle%5Fin%5Ftransaction%5Fsession%5Ftimeout%3D10000";
        for (given, whole) in [
            (
                "postgres://me:pw@db.example.com/events",
                format!("postgres://me:pw@db.example.com/events?{limits}&connect_timeout=2"),
            ),
            (
                "postgresql://me@10.0.0.1:6432/events?sslmode=require&connect_timeout=9",
                format!(
                    "postgresql://me@10.0.0.1:6432/events?sslmode=require&connect_timeout=9&{limits}"
                ),
            ),
            (
                "postgres://me@[::1]/events?options=&connect_timeout=1",
                "postgres://me@[::1]/events?options=&connect_timeout=1".to_owned(),
            ),
        ] {
            assert_eq!(postgres(given).reveal(), whole);
        }
    }

    #[test]
    fn its_outbound_host_has_a_port() {
        for (given, host) in [
            (
                "postgres://me:pw@db.example.com/events",
                "postgres://db.example.com:5432",
            ),
            (
                "postgres://me@10.0.0.1:6432/events",
                "postgres://10.0.0.1:6432",
            ),
        ] {
            assert_eq!(postgres(given).outbound_host(), host);
        }
    }

    #[test]
    fn a_wrong_address_is_refused_without_its_password() {
        for bad in [
            "db.example.com",
            "host=db password=hunter2",
            "mysql://me:hunter2@db/events",
            "https://me:hunter2@db/events",
            "postgres://me:hunter2@db",
            "postgres://me:hunter2@db/",
            "postgres:///events",
            "postgres://me:hunter2@/events",
            "postgres://me:hunter2@db:port/events",
            "postgres://me:hunter2#1@db/events",
            "postgres://me:hunter2@db/events#x",
            "postgres://me:hunter2@db/events?sslmode=verify-full",
        ] {
            let error = parse(bad).expect_err(bad);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn no_text_about_it_has_its_password() {
        let address = postgres("postgres://me:hunt%40er2@db.example.com/events");
        assert_eq!(
            format!("{address:?}"),
            r#"PostgresAddress("postgres://db.example.com:5432")"#
        );
        let text = address.redact("hunt%40er2, hunt@er2: refused");
        assert_eq!(text, "****, ****: refused");
        let without = postgres("postgres://me@db.example.com/events");
        assert_eq!(without.redact("refused"), "refused");
    }
}
