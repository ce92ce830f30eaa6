//! The webhook service of a payment platform, as one WebAssembly component for Spin.
//!
//! ARCHITECTURE.md tells how it is built and why.

#![deny(unsafe_code)]

#[cfg(feature = "service")]
pub mod api;
#[cfg(feature = "service")]
pub mod auth;
pub mod concurrency;
pub mod config;
#[cfg(feature = "service")]
pub mod dispatch;
#[cfg(feature = "service")]
pub mod early_body;
#[cfg(feature = "service")]
pub mod events;
pub mod fault;
#[cfg(feature = "service")]
pub mod http;
pub mod json;
pub mod log;
pub mod model;
#[cfg(feature = "openapi")]
pub mod openapi;
#[cfg(feature = "service")]
pub mod operator;
pub mod reference;
pub mod runtime;
#[cfg(feature = "service")]
pub mod store;

#[cfg(all(target_family = "wasm", feature = "entry"))]
#[allow(unsafe_code, reason = "what the macro exports to the host is")]
mod entry {
    use spin_sdk::http::{IntoResponse, Request};
    use spin_sdk::http_service;

    use crate::api::{app, routes};
    use crate::early_body;

    /// The entry point: Spin calls it for every request.
    #[http_service]
    async fn handle(request: Request) -> impl IntoResponse {
        early_body::response(app::serve(&routes::ROUTES, request).await).await
    }
}
