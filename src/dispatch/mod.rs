//! Deliveries: signed and sent.

pub mod delivery;
