//! What one database must offer: connections that run one statement at a time.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::statements::{Dialect, Statement};
use super::value::Value;

/// What a call of the host ends with.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + 'a>>;

/// An open connection.
pub trait Connection {
    /// Runs a statement, and returns the rows that it returns. Dropped, it may still take effect.
    fn query<'a>(
        &'a self,
        statement: &'a Statement,
        parameters: &'a [Value],
    ) -> Call<'a, Vec<Vec<Value>>>;
}

/// Who opens connections.
pub trait Driver {
    /// Which SQL the database understands.
    fn dialect(&self) -> Dialect;

    /// Opens a connection.
    fn open(&self) -> Call<'_, Rc<dyn Connection>>;
}

/// Why a call failed, in words for the log. They hold neither values nor passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The database took the statement and refused it: the connection is good.
    Refused(String),
    /// The connection may be of no more use.
    Broken(String),
}

impl Failure {
    /// What the host says of a connection that may be of no more use: on one line, and without the stack
    /// that Spin adds where its environment asks for one.
    pub fn broken(text: &str) -> Self {
        let text = text.split("Stack backtrace:").next().unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        Self::Broken(words.join(" "))
    }

    /// The words.
    pub fn reason(self) -> String {
        match self {
            Self::Refused(reason) | Self::Broken(reason) => reason,
        }
    }
}
