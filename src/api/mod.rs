//! HTTP: the routes, and what holds for all of them. One file per resource.

pub mod app;
pub mod applications;
pub mod create;
pub mod delivery_policy;
pub mod dispatcher_health;
pub mod dispatcher_routes;
pub mod event_types;
pub mod events;
pub mod health;
#[cfg(test)]
mod interleavings;
pub mod replay;
pub mod request;
pub mod rotation;
pub mod routes;
pub mod routing;
pub mod test_delivery;
pub mod webhooks;
