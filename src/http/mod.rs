//! What all resources share: requests, bodies, pages, entity tags, repeats, responses, errors.

pub mod body;
pub mod details;
pub mod error;
pub mod etag;
pub mod idempotency;
mod members;
pub mod object;
pub mod page;
pub mod parameters;
pub mod path;
pub mod query;
pub mod response;
pub mod token_problem;
pub mod traceparent;
