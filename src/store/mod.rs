//! The key-value store: its keys, the deadline of its calls, the eventually consistent index, and
//! applications and webhooks out of their several documents, because what different actors write
//! about one thing lives under different keys.

pub mod applications;
pub mod compensation;
pub mod deadline;
pub mod deletion;
pub mod idempotency;
pub mod index;
pub mod jwks_cache;
pub mod key_value;
pub mod keys;
#[cfg(test)]
pub mod memory;
pub mod portal;
pub mod rate_limit;
pub mod recipients;
pub mod rotations;
pub mod spin;
pub mod stored_response;
pub mod webhooks;
