//! What every operation of the database returns.

use std::pin::Pin;

use crate::fault::Fault;

/// An operation under way. One that is dropped before it ends may still take effect.
pub type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + 'a>>;
