//! Responses that are kept for repeats with the same `Idempotency-Key`.

use http::header::{ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::fault::Fault;
use crate::http::error::Error;
use crate::http::etag::EntityTag;
use crate::http::idempotency::IDEMPOTENCY_REPLAYED;
use crate::http::response::{self, Response};
use crate::model::signing_secret::SigningSecret;
use crate::store::idempotency::Replay;
use crate::store::stored_response::StoredResponse;

/// What is kept of a response whose body shows this secret, or none.
///
/// # Errors
///
/// [`Fault::Internal`] when the body cannot be written as JSON.
pub fn stored(
    status: StatusCode,
    location: Option<String>,
    tag: &EntityTag,
    body: &impl Serialize,
    secret: Option<&SigningSecret>,
) -> Result<StoredResponse, Fault> {
    StoredResponse::new(status.as_u16(), location, tag.as_str(), body, secret)
}

/// The response as it was, with the secret that its body showed.
///
/// # Errors
///
/// [`Fault::Internal`] without the secret that belongs in it.
pub fn response(
    stored: &StoredResponse,
    secret: Option<&SigningSecret>,
) -> Result<Response, Error> {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let mut response = response::json_text(status, stored.body(secret)?);
    let headers = response.headers_mut();
    for (name, value) in [(LOCATION, &stored.location), (ETAG, &stored.etag)] {
        let value = value
            .as_ref()
            .and_then(|value| HeaderValue::from_str(value).ok());
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// The response to a repeat. The secret still has to be the one that the response showed: whoever asks
/// for this has looked.
///
/// # Errors
///
/// As [`response`].
pub fn replayed(replay: &Replay, secret: Option<&SigningSecret>) -> Result<Response, Error> {
    let mut response = response(&replay.response, secret)?;
    let replayed = HeaderValue::from_static("true");
    response
        .headers_mut()
        .insert(IDEMPOTENCY_REPLAYED, replayed);
    Ok(response)
}
