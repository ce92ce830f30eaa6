//! The connection that an instance keeps, and the deadline of each statement on it.
//!
//! Statements of an instance's requests run beside each other on it: the host queues them. Only who
//! opens it is waited for, by looking every few milliseconds: a task of one request that wakes another
//! request's traps.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};

use super::driver::{Connection, Driver, Failure};
use super::schema;
use super::statements::{Dialect, Statement};
use super::value::{Row, Value};
use crate::fault::Fault;
use crate::runtime::sleep;

/// How often a task looks whether another one has opened the connection.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The database as an instance reaches it: by one connection, which is opened anew when it fails.
pub struct Connections {
    driver: Box<dyn Driver>,
    timeout: Duration,
    kept: RefCell<Kept>,
}

enum Kept {
    Closed,
    /// A task is opening it.
    Opening,
    Open(Rc<dyn Connection>),
}

impl Connections {
    /// A database whose statements have `timeout` each, the opening of a connection included.
    pub fn new(driver: Box<dyn Driver>, timeout: Duration) -> Self {
        Self {
            driver,
            timeout,
            kept: RefCell::new(Kept::Closed),
        }
    }

    /// Which SQL it understands.
    pub fn dialect(&self) -> Dialect {
        self.driver.dialect()
    }

    /// Opens the connection, unless it is open, and makes the tables.
    ///
    /// # Errors
    ///
    /// As [`Self::query`].
    pub async fn prepare(&self) -> Result<(), Fault> {
        self.with_deadline("open", async { self.connection().await.map(drop) })
            .await
    }

    /// Runs a statement. One that meets a connection which was kept too long is run once more, on
    /// another: every statement can be.
    ///
    /// # Errors
    ///
    /// [`Fault::Dependency`], and [`Fault::Timeout`] when the time is up: it may still take
    /// effect then.
    pub async fn query(
        &self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Fault> {
        let rows = self
            .with_deadline(statement.name, self.run(statement, parameters))
            .await?;
        let rows = rows.into_iter();
        Ok(rows.map(|row| Row::new(statement.name, row)).collect())
    }

    async fn run(
        &self,
        statement: &Statement,
        parameters: &[Value],
    ) -> Result<Vec<Vec<Value>>, Failure> {
        let (connection, is_new) = self.connection().await?;
        // Closed as well when the deadline drops this: what the statement waits for, the next would.
        let mut closing = CloseOnDrop::new(self, &connection);
        let result = connection.query(statement, parameters).await;
        match result {
            Err(Failure::Broken(_)) if !is_new => {
                drop(closing);
                let (connection, _) = self.connection().await?;
                closing = CloseOnDrop::new(self, &connection);
                let result = connection.query(statement, parameters).await;
                closing.finish(&result);
                result
            }
            result => {
                closing.finish(&result);
                result
            }
        }
    }

    /// The connection, and whether it was opened for this.
    async fn connection(&self) -> Result<(Rc<dyn Connection>, bool), Failure> {
        loop {
            match &*self.kept.borrow() {
                Kept::Open(connection) => return Ok((connection.clone(), false)),
                Kept::Closed => break,
                Kept::Opening => {}
            }
            sleep(POLL_INTERVAL).await;
        }
        let mut opening = Opening::begin(self);
        let connection = self.driver.open().await?;
        schema::prepare(&*connection, self.dialect()).await?;
        opening.end(&connection);
        Ok((connection, true))
    }

    async fn with_deadline<T>(
        &self,
        name: &str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Fault> {
        match select(pin!(call), pin!(sleep(self.timeout))).await {
            Either::Left((result, _)) => result.map_err(|failure| {
                let reason = failure.reason();
                Fault::Dependency(format!("database: {name} failed: {reason}"))
            }),
            Either::Right(_) => Err(Fault::Timeout(format!(
                "database: {name} took longer than {} ms",
                self.timeout.as_millis()
            ))),
        }
    }
}

/// Lets another task open the connection when this one does not come to its end.
struct Opening<'a>(&'a Connections);

impl<'a> Opening<'a> {
    fn begin(connections: &'a Connections) -> Self {
        connections.kept.replace(Kept::Opening);
        Self(connections)
    }

    fn end(&mut self, connection: &Rc<dyn Connection>) {
        self.0.kept.replace(Kept::Open(connection.clone()));
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut kept = self.0.kept.borrow_mut();
        if matches!(*kept, Kept::Opening) {
            *kept = Kept::Closed;
        }
    }
}

/// Closes a connection on which a statement did not come to a good end.
struct CloseOnDrop<'a> {
    connections: &'a Connections,
    connection: Rc<dyn Connection>,
    finished: bool,
}

impl<'a> CloseOnDrop<'a> {
    fn new(connections: &'a Connections, connection: &Rc<dyn Connection>) -> Self {
        let connection = connection.clone();
        Self {
            connections,
            connection,
            finished: false,
        }
    }

    fn finish<T>(&mut self, result: &Result<T, Failure>) {
        self.finished = !matches!(result, Err(Failure::Broken(_)));
    }
}

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut kept = self.connections.kept.borrow_mut();
        // Another task may have opened the next one already.
        if matches!(&*kept, Kept::Open(open) if Rc::ptr_eq(open, &self.connection)) {
            *kept = Kept::Closed;
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
