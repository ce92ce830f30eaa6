//! HTTP: the routes, and what holds for all of them. One file per resource.

pub mod app;
pub mod applications;
pub mod event_types;
pub mod health;
#[cfg(test)]
mod interleavings;
pub mod rotation;
pub mod routes;
pub mod routing;
pub mod test_delivery;
pub mod webhooks;
