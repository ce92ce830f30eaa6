//! A component that does nothing but what `cargo xtask bench` recorded of the service: the same store
//! operations, statements and outbound requests, as many side by side, of the same sizes, and the same
//! responses. It checks no token, parses no body and knows no deadline. What the service is slower than this is
//! what the service itself costs.
//!
//! The recordings are the lines of the variable `recordings`; a request for
//! `/replay/{number}/…/applications/{application}/…` replays one. With `/fewest/` in the place of `/replay/` it
//! makes the fewest operations that any design could make, and with `/at-once/` none: so the same response is
//! compared with what is possible ([`recording::Mode`]).

#![deny(unsafe_code)]

pub mod recording;

#[cfg(target_family = "wasm")]
mod database;
#[cfg(target_family = "wasm")]
mod replay;

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what the macro exports to the host is")]
mod entry {
    use spin_sdk::http::{IntoResponse, Request};
    use spin_sdk::http_service;

    #[http_service]
    async fn handle(request: Request) -> impl IntoResponse {
        crate::replay::respond(request).await
    }
}
