//! What things are. Pure: no `spin_sdk`, nothing async. Types that can only be built valid, and the
//! documents of the store with what they say together.

pub mod application;
pub mod caller;
pub mod collections;
pub mod content;
pub mod cursor;
pub mod database_address;
pub mod day;
pub mod delivery;
pub mod delivery_state;
pub mod digest;
pub mod encryption;
pub mod endpoint_url;
pub mod event;
pub mod global_address;
pub mod idempotency_key;
pub mod ids;
pub mod jwks_source;
pub mod jws;
pub mod key_set;
pub mod operator_token;
pub mod proof;
pub mod random;
pub mod rate_window;
pub mod recovery;
pub mod retry_after;
pub mod retry_schedule;
pub mod rotation;
pub mod scrub;
pub mod signature;
pub mod signature_check;
pub mod signing_secret;
pub mod time;
pub mod visible_text;
pub mod webhook;
