//! The database of events: what is published, whom it goes to, and what came of it.
//!
//! [`database`] is what the rest of the service sees. Below it, [`sql`] makes statements of operations,
//! [`statements`] has their text for each of the two databases, and [`connection`] runs them.

pub mod claim;
pub mod connection;
pub mod database;
pub mod driver;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
pub mod memory;
#[cfg(test)]
mod portal_interleavings;
mod postgres;
#[cfg(test)]
mod recovery_interleavings;
mod schema;
pub mod sql;
mod sqlite;
pub mod statements;
#[cfg(test)]
mod tests;
pub mod value;

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use connection::Connections;
use database::Database;
use driver::Driver;
use postgres::Postgres;
use sql::SqlDatabase;
use sqlite::Sqlite;

use crate::model::database_address::DatabaseAddress;

/// The database of events, whose statements have `timeout` each. An instance has one: later calls
/// return what the first one made.
pub fn open(address: &DatabaseAddress, timeout: Duration) -> Rc<dyn Database> {
    thread_local! {
        static OPENED: OnceCell<Rc<SqlDatabase>> = const { OnceCell::new() };
    }
    OPENED.with(|opened| {
        let database = opened.get_or_init(|| {
            let driver: Box<dyn Driver> = match address {
                DatabaseAddress::Sqlite => Box::new(Sqlite {
                    lock_timeout: timeout,
                }),
                DatabaseAddress::Postgres(address) => Box::new(Postgres {
                    address: address.clone(),
                }),
            };
            Rc::new(SqlDatabase::new(Connections::new(driver, timeout)))
        });
        database.clone()
    })
}
