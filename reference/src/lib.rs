//! The API reference: `GET /openapi.json`, and the pages under `/docs` that show it.
//!
//! A component of its own beside the API's, so that the API's does not carry its weight. All it
//! serves is made when it is built (`build.rs`), the document from the API's own types and routes; but
//! where the operator has other event types than the defaults, `catalogue.rs` completes the document with those.

#![deny(unsafe_code)]

pub mod catalogue;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri};
use static_files::{File, NOTHING};

/// The policy of the page that shows the document and sends requests. Styles: Scalar brings its own as a
/// `<style>` element and sets more on elements. Connections: the base URL can be edited, and may be that of
/// another deployment.
const REFERENCE: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; \
     img-src data:; connect-src http: https:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The policy of a page to read.
const PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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

    use super::catalogue;

    /// The entry point: Spin calls it for every request.
    #[http_service]
    async fn handle(request: Request) -> impl IntoResponse {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let document = match uri.path() == catalogue::PATH {
            true => catalogue::document().await,
            false => Ok(None),
        };
        match document {
            Ok(Some(document)) => static_files::answer(document, method, uri, headers),
            Ok(None) => super::answer(method, uri, headers),
            Err(fault) => catalogue::failed(&fault),
        }
        .map(FullBody::<Bytes>::new)
    }
}
