//! A component that runs the SQL of its requests. `tests/http/databases.rs` sends it what Spin's
//! databases are known to do in their own way; it runs on Spin and on the local runtime.
//!
//! The body of a request is a list of steps in JSON, the response what came of each: `"done"`, `"late"`
//! when it took longer than the step allows, `{"rows": […]}` or `{"error": "…"}`. A request to
//! `/background` is answered at once, and its steps follow.

#![deny(unsafe_code)]

#[cfg(target_family = "wasm")]
mod steps;

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what the macro exports to the host is")]
mod entry {
    use http_body_util::BodyExt;
    use spin_sdk::http::{IntoResponse, Request, Response};
    use spin_sdk::http_service;
    use spin_sdk::wit_bindgen::spawn;

    use crate::steps::run;

    #[http_service]
    async fn handle(request: Request) -> impl IntoResponse {
        let background = request.uri().path() == "/background";
        let body = request.into_body().collect().await;
        let steps = body.map(|body| body.to_bytes()).unwrap_or_default();
        if background {
            spawn(async move {
                run(&steps).await;
            });
            return answer("[]".to_owned());
        }
        answer(run(&steps).await)
    }

    /// With its length, so that it comes in one piece.
    fn answer(body: String) -> Response<String> {
        let length = body.len();
        let mut response = Response::new(body);
        response
            .headers_mut()
            .insert("content-length", length.into());
        response
    }
}
