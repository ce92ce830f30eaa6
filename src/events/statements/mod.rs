//! Every statement that is run, by what it is for.
//!
//! One step is one statement. Nothing begins a transaction: a connection of Spin's pool that is given
//! back inside one keeps it, and what its next user writes is not seen by anybody. What changes several
//! tables does so by triggers on SQLite ([`schema`](super::schema)), and on PostgreSQL by data-modifying
//! common table expressions, or as a function where every event needs it.

mod gauges;
pub mod portal;
mod postgres;
pub mod recoveries;
mod shared;
mod sqlite;

use std::sync::LazyLock;

/// Which SQL a database understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.40 and libSQL.
    Sqlite,
    /// PostgreSQL 14.
    Postgres,
}

impl Dialect {
    /// The statements for such a database.
    pub fn statements(self) -> &'static Statements {
        static SQLITE: LazyLock<Statements> = LazyLock::new(sqlite::statements);
        static POSTGRES: LazyLock<Statements> = LazyLock::new(postgres::statements);
        match self {
            Self::Sqlite => &SQLITE,
            Self::Postgres => &POSTGRES,
        }
    }

    /// The statements of recoveries for such a database.
    pub fn recoveries(self) -> &'static recoveries::RecoveryStatements {
        static SQLITE: LazyLock<recoveries::RecoveryStatements> =
            LazyLock::new(|| recoveries::statements(Dialect::Sqlite));
        static POSTGRES: LazyLock<recoveries::RecoveryStatements> =
            LazyLock::new(|| recoveries::statements(Dialect::Postgres));
        match self {
            Self::Sqlite => &SQLITE,
            Self::Postgres => &POSTGRES,
        }
    }

    /// The statements of the portal's codes for such a database.
    pub fn portal(self) -> &'static portal::PortalStatements {
        static SQLITE: LazyLock<portal::PortalStatements> =
            LazyLock::new(|| portal::statements(Dialect::Sqlite));
        static POSTGRES: LazyLock<portal::PortalStatements> =
            LazyLock::new(|| portal::statements(Dialect::Postgres));
        match self {
            Self::Sqlite => &SQLITE,
            Self::Postgres => &POSTGRES,
        }
    }

    /// Every statement for such a database.
    #[cfg(test)]
    pub fn all(self) -> impl Iterator<Item = &'static Statement> {
        let all = self.statements().all().into_iter();
        all.chain(self.recoveries().all())
            .chain(self.portal().all())
    }
}

/// A statement with its name.
#[derive(Debug)]
pub struct Statement {
    /// What logs, and the faults of the local runtime, name it by.
    pub name: &'static str,
    /// The SQL. It begins with the name, as a comment.
    pub sql: String,
}

impl Statement {
    /// The statement of that name. Spaces and line breaks in `sql` become one space.
    ///
    /// A `LIMIT` of SQLite is given as `+?1`: it plans for the number that it finds in `?1`, and prepares
    /// the statement anew for each other number (`sqlite3ExprIsInteger` in 3.49 and 3.54, not in 3.46).
    pub fn new(name: &'static str, sql: &str) -> Self {
        let words: Vec<&str> = sql.split_whitespace().collect();
        let sql = words.join(" ").replace("LIMIT ?", "LIMIT +?");
        let sql = format!("/* {name} */ {sql}");
        Self { name, sql }
    }

    /// As [`Self::new`], for SQL that both databases understand but for the marks of its parameters.
    fn shared(dialect: Dialect, name: &'static str, sql: &str) -> Self {
        match dialect {
            Dialect::Sqlite => Self::new(name, sql),
            Dialect::Postgres => Self::new(name, &sql.replace('?', "$")),
        }
    }
}

/// Declares the statements, and a list of them for tests.
macro_rules! statements {
    ($(#[$of_all:meta])* $all:ident $($(#[$doc:meta])* $name:ident,)+) => {
        $(#[$of_all])*
        #[derive(Debug)]
        pub struct $all {
            $($(#[$doc])* pub $name: Statement,)+
        }

        #[cfg(test)]
        impl $all {
            /// All of them.
            pub fn all(&self) -> Vec<&Statement> {
                vec![$(&self.$name,)+]
            }
        }
    };
}
pub(super) use statements;

statements! {
    /// The statements of one dialect. The numbers in their documentation are those of the parameters.
    Statements
    /// 1 to 3 the event's id, application, type; 4 body; 5 `occurred_at`; 6 `created_at`;
    /// 7 `deliver_before`; 8 and 9 the `Idempotency-Key` and the request's hash; 10 `size_bytes`;
    /// 11 `sha256`; 12 when to settle; 13 deliveries as JSON. Returns whether the event is stored.
    publish,
    /// 1 application; 2 `Idempotency-Key`. Returns an event's id and its request's hash.
    published_before,
    /// 1 deliveries as JSON, each with its event. Those that are there stay as they are.
    add_deliveries,
    /// 1 now; 2 until when; 3 how many. Returns events to fan out a second time.
    claim_fan_outs,
    /// 1 ids of events as JSON.
    settle,
    /// 1 token; 2 the lease's end; 3 now; 4 how many; 5 how many of a webhook; 6 webhooks to leave out,
    /// as JSON; 7 whether first attempts come first; 8 how many to choose from; 9 how many fewer of a
    /// webhook, as JSON.
    claim,
    /// 1 records as JSON. Returns for each its event, its webhook and whether it was held.
    record,
    /// 1 claims as JSON; 2 when they are due.
    release,
    /// 1 claims as JSON; 2 the lease's end. Returns those that are held.
    renew,
    /// 1 webhook; 2 now; 3 when the oldest is due; 4 when the others are; 5 how many.
    postpone,
    /// 1 webhook; 2 now; 3 how many.
    resume,
    /// 1 webhook; 2 now; 3 reason; 4 how many; 5 the least id of events that are left alone.
    suppress,
    /// 1 event; 2 webhook; 3 token; 4 until when; 5 now.
    begin_resend,
    /// 1 event; 2 webhook. Returns a row if there is such a delivery: whether its data were erased.
    exists,
    /// 1 application; 2 event; 3 now. Returns a row if there is such an event.
    erase,
    /// 1 event. Waits for whoever changes its deliveries.
    lock_deliveries,
    /// 1 the least id to keep; 2 how many.
    forget,
    /// 1 application; 2 how many.
    forget_application,
    /// 1 after which application. Returns the next one that has events.
    next_application,
    /// 1 event. Returns the application of the first one from there.
    application_since,
    /// 1 now; 2 how far to count. Returns how many first attempts are pending and how many retries, how many
    /// of each are due, and since when.
    pending_gauges,
    /// 1 the least id of an event; 2 how many to look at. Returns statuses of deliveries, and how many
    /// have them.
    recent_deliveries,
    /// 1 the least id of an event; 2 how many to look at. Returns how attempts ended, how many did, how
    /// many of these were first attempts, and how late those came in all and at most.
    recent_attempts,
    /// 1 how far to count. Returns statuses of recoveries that have not ended, and how many have them.
    recovery_gauges,
    /// 1 application; 2 the least id of an event; 3 how far to count. Returns types, and how many of its
    /// events have them.
    events_by_type,
    /// Returns when first attempts, retries, fan-outs and recoveries are due.
    next_due,
    /// 1 application; 2 event. Returns it with its body.
    event,
    /// 1 event. Returns its deliveries, each with its last attempt.
    deliveries_of_event,
    /// 1 application; 2 and 3 between which ids; 4 type; 5 how many to look at; 6 how many.
    events_page,
    /// 1 application; 2 and 3 between which ids; 4 how many to pass over. Returns the id after them.
    events_scanned,
    /// 1 application; 2 `Idempotency-Key`; 3 and 4 between which ids; 5 type.
    event_with_key,
    /// 1 ids of events as JSON. Returns events, statuses and how many deliveries have them.
    summaries,
    /// 1 webhook; 2 and 3 between which events; 4 type; 5 how many to look at; 6 how many.
    deliveries_page,
    /// As `deliveries_page`, of those that succeeded.
    succeeded_page,
    /// As `deliveries_page`, of those that are pending.
    pending_page,
    /// As `deliveries_page`, of those of 7, a status: failed, suppressed or expired.
    unsuccessful_page,
    /// 1 webhook; 2 and 3 between which events; 4 how many to pass over. Returns the event after them.
    deliveries_scanned,
    /// As `deliveries_scanned`, of those that are pending.
    pending_scanned,
    /// As `deliveries_scanned`, of those of 5, a status: failed, suppressed or expired.
    unsuccessful_scanned,
    /// 1 event; 2 webhook. Returns the delivery with its last attempt.
    delivery,
    /// 1 event; 2 webhook. Returns the delivery's attempts.
    attempts,
    /// 1 webhook. Returns the application of its newest delivery.
    application_of,
    /// 1 application; 2 and 3 after and before which ids; 4 how many. Returns types, how many events there
    /// are of each, the last ones, and their ids and hashes as lines.
    hashes,
    /// 1 event; 2 webhook; 3 application. Returns the event and the delivery with each of its attempts.
    evidence,
    /// 1 webhook. Returns when its last successful attempt began.
    last_success,
    /// 1 webhook; 2 after when; 3 how many to look at. Returns when the first of its failed attempts
    /// began, how many there are, and of how many events.
    failures,
    /// 1 webhook; 2 from which event on; 3 how many to look at. Returns statuses, how many deliveries have
    /// each, and the first event of these.
    health_deliveries,
    /// 1 webhook; 2 since when; 3 how many to look at. Returns, with 0, what the attempts ended with, how
    /// many did, and when the first of these began; with 50, 95 and 99 how long they took.
    health_attempts,
    /// 1 webhook; 2 how many to look at. Returns how many deliveries are pending, and when the first is due.
    health_pending,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_statement_begins_with_its_own_name() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            let all: Vec<_> = dialect.all().collect();
            let names: BTreeSet<&str> = all.iter().map(|statement| statement.name).collect();
            assert_eq!(names.len(), all.len());
            for statement in all {
                let comment = format!("/* {} */ ", statement.name);
                assert!(statement.sql.starts_with(&comment), "{}", statement.sql);
                let begins = statement.sql[comment.len()..].to_uppercase();
                assert!(!begins.starts_with("BEGIN"), "{}", statement.sql);
            }
        }
    }
}
