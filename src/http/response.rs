//! Responses: their status and headers, and a body that is text.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::error::Error;
use crate::json;

/// A response. Every body is small, and there before its first byte is sent.
pub type Response = http::Response<String>;

/// A response with a JSON body.
///
/// # Errors
///
/// [`Error::Internal`] when the body cannot be written as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Error> {
    Ok(json_text(status, json::write(body)?))
}

/// A response with a body that is JSON already.
pub fn json_text(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response without a body: 204 or 304.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// A redirection to a path of ours, without a body; `None` when the path cannot be a header's value.
pub fn redirect(status: StatusCode, path: &str) -> Option<Response> {
    let path = HeaderValue::from_bytes(path.as_bytes()).ok()?;
    let mut response = Response::default();
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, path);
    Some(response)
}
