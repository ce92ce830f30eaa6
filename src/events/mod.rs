//! The database of events: what is published, whom it goes to, and what came of it.
//!
//! [`database`] is what the rest of the service sees.

pub mod claim;
pub mod database;
