//! `ETag` and `If-Match`, so that two editors notice each other (RFC 9110 §8.8.3, §13.1.1).

use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::http::error::Error;
use crate::http::response::Response;

/// The entity tag of a resource: 32 hexadecimal digits of the SHA-256 of its JSON.
pub fn of(resource: &impl Serialize) -> String {
    let json = serde_json::to_vec(resource).unwrap_or_default();
    let hash = Sha256::digest(json);
    let digits: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{digits}\"")
}

/// The response with the tag.
pub fn tagged(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Checks `If-Match` against the resource's tag as it is now.
///
/// # Errors
///
/// [`Error::PreconditionFailed`] when none of the header's tags is the current one.
pub fn check(headers: &HeaderMap, current: &str) -> Result<(), Error> {
    let mut sent = headers.get_all(IF_MATCH).iter().peekable();
    if sent.peek().is_none() {
        return Ok(());
    }
    let matches = sent
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag == current);
    if matches {
        Ok(())
    } else {
        Err(Error::PreconditionFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_takes_a_star_or_a_list_of_strong_tags() {
        let tag = of(&"resource");
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_str(value).unwrap());
            super::check(&headers, &tag).is_ok()
        };
        assert!(super::check(&HeaderMap::new(), &tag).is_ok());
        assert!(check("*"));
        assert!(check(&tag));
        assert!(check(&format!("\"other\", {tag}")));
        assert!(!check("\"other\""));
        assert!(!check(&format!("W/{tag}")));
        assert!(!check(""));
    }
}
