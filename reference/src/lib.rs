//! The API reference: `GET /openapi.json`, and the pages under `/docs` that show it.
//!
//! A component of its own beside the API's, so that the API's does not carry its weight. All it
//! serves is made when it is built (`build.rs`), the document from the API's own types and routes.

#![deny(unsafe_code)]

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri};
use static_files::{File, NOTHING};

/// The policy of the page that shows the document and sends requests. Styles: Scalar brings its own as a
/// `<style>` element and sets more on elements. Connections: the base URL can be edited, and may be that of
/// another deployment.
const REFERENCE: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; \
     img-src data:; connect-src http: https:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The policy of a page without scripts.
const PAGE: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Answers one request.
pub fn answer(method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Bytes> {
    static_files::answer(FILES, method, uri, headers)
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what the macro exports to the host is")]
mod entry {
    use bytes::Bytes;
    use spin_sdk::http::{FullBody, IntoResponse, Request};
    use spin_sdk::http_service;

    /// The entry point: Spin calls it for every request.
    #[http_service]
    async fn handle(request: Request) -> impl IntoResponse {
        super::answer(request.method(), request.uri(), request.headers())
            .map(FullBody::<Bytes>::new)
    }
}
