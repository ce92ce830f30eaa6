//! HTTP: the routes, and what holds for all of them. One file per resource.

pub mod app;
pub mod applications;
pub mod create;
#[cfg(any(feature = "dispatcher", test))]
pub mod deliveries;
#[cfg(any(feature = "dispatcher", test))]
pub mod delivery_policy;
#[cfg(any(feature = "dispatcher", test))]
pub mod dispatcher_health;
#[cfg(any(feature = "dispatcher", test))]
pub mod dispatcher_routes;
#[cfg(any(feature = "dispatcher", test))]
pub mod erasure;
#[cfg(any(feature = "dispatcher", test))]
pub mod event_log;
pub mod event_types;
#[cfg(any(feature = "dispatcher", test))]
pub mod events;
pub mod health;
#[cfg(test)]
mod interleavings;
#[cfg(any(feature = "dispatcher", test))]
pub mod log;
#[cfg(any(feature = "dispatcher", test))]
pub mod portal_sessions;
#[cfg(any(feature = "dispatcher", test))]
pub mod proof;
#[cfg(any(feature = "dispatcher", test))]
pub mod recoveries;
pub mod replay;
pub mod request;
pub mod rotation;
pub mod routes;
pub mod routing;
#[cfg(any(feature = "dispatcher", test))]
pub mod signature_check;
pub mod test_delivery;
#[cfg(any(feature = "dispatcher", test))]
pub mod webhook_health;
pub mod webhooks;
