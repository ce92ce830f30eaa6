//! The component that publishes, stores and delivers events: its entry point. All else is in the
//! library that it shares with the API's component.

#![deny(unsafe_code)]

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what the macro exports to the host is")]
mod entry {
    use application_webhooks::api::app;
    use application_webhooks::api::dispatcher_routes::ROUTES;
    use application_webhooks::early_body;
    use spin_sdk::http::{IntoResponse, Request};
    use spin_sdk::http_service;

    /// The entry point: Spin calls it for every request.
    #[http_service]
    async fn handle(request: Request) -> impl IntoResponse {
        early_body::response(app::serve(&ROUTES, request).await).await
    }
}
