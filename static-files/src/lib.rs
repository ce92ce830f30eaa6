//! Files that are part of a component: [`embed`] makes a table of them when it is built, and [`answer`]
//! serves them, compressed, with entity tags, as the API answers where it has nothing.

#![deny(unsafe_code)]

pub mod embed;

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};

/// A file as it is embedded.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Where it is served.
    pub path: &'static str,
    /// Its `Content-Type`.
    pub media_type: &'static str,
    /// Its `Content-Security-Policy`: what a browser may load and do for it.
    pub policy: &'static str,
    /// The start of the content's SHA-256, in hexadecimal.
    pub tag: &'static str,
    /// The content's length in bytes.
    pub length: usize,
    /// The content, compressed. Nearly every client takes it so; for the others it is unpacked.
    pub gzip: &'static [u8],
}

/// The policy of what is no page.
pub const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// The bodies that the API's errors have: `reference/build.rs` compares them with the API's own.
pub const NOT_FOUND: &str =
    r#"{"error":"Not Found","message":"The requested resource was not found","code":404}"#;
/// As [`NOT_FOUND`].
pub const METHOD_NOT_ALLOWED: &str = concat!(
    r#"{"error":"Method Not Allowed","message":"The requested resource does not support this method","#,
    r#""code":405}"#
);
/// As [`NOT_FOUND`].
pub const PRECONDITION_FAILED: &str = concat!(
    r#"{"error":"Precondition Failed","message":"The resource has changed since it was read","#,
    r#""code":412,"reason":"preconditionFailed"}"#
);
/// As [`NOT_FOUND`].
pub const INTERNAL: &str = concat!(
    r#"{"error":"Internal Server Error","message":"An unexpected error occurred","#,
    r#""code":500}"#
);

/// Answers one request with one of the files.
pub fn answer(
    files: &'static [File],
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response<Bytes> {
    let known = |path| files.iter().find(|file| file.path == path);
    let Some(file) = known(uri.path()) else {
        return match uri.path().strip_suffix('/').and_then(known) {
            Some(file) => redirect(file.path, uri.query()),
            None => error(StatusCode::NOT_FOUND, NOT_FOUND),
        };
    };
    if let Some(refused) = refused_method(method) {
        return refused;
    }
    let compressed = accepts_gzip(headers);
    // RFC 9110 §8.8.3: each coding of a resource has a tag of its own.
    let tag = match compressed {
        true => format!("\"{}-gzip\"", file.tag),
        false => format!("\"{}\"", file.tag),
    };
    // RFC 9110 §13.2.2: `If-Match` comes first, and is compared strongly.
    if is_listed(headers, &IF_MATCH, |known| known == tag.as_bytes()) == Some(false) {
        return error(StatusCode::PRECONDITION_FAILED, PRECONDITION_FAILED);
    }
    let mut response = Response::new(Bytes::new());
    set(&mut response, ETAG, &tag);
    set(&mut response, VARY, "Accept-Encoding");
    // May be kept, but must be asked about: what it describes changes with every release.
    set(&mut response, CACHE_CONTROL, "no-cache");
    set_security(&mut response, file.policy);
    let weakly = |known: &[u8]| known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes();
    if is_listed(headers, &IF_NONE_MATCH, weakly) == Some(true) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    set(&mut response, CONTENT_TYPE, file.media_type);
    let mut length = file.length;
    if compressed {
        set(&mut response, CONTENT_ENCODING, "gzip");
        length = file.gzip.len();
    }
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    if method == Method::GET {
        *response.body_mut() = match compressed {
            true => Bytes::from_static(file.gzip),
            false => file.unpacked(),
        };
    }
    response
}

impl File {
    fn unpacked(&self) -> Bytes {
        let mut content = Vec::with_capacity(self.length);
        GzDecoder::new(self.gzip)
            .read_to_end(&mut content)
            .expect("what the build compressed");
        content.into()
    }
}

/// What a method gets that is neither `GET` nor `HEAD`.
pub fn refused_method(method: &Method) -> Option<Response<Bytes>> {
    if [Method::GET, Method::HEAD].contains(method) {
        return None;
    }
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED);
    set(&mut response, ALLOW, "GET,HEAD");
    Some(response)
}

/// The API does the same with a slash at a path's end.
fn redirect(path: &str, query: Option<&str>) -> Response<Bytes> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{path}{query}");
    let Ok(target) = HeaderValue::from_bytes(target.as_bytes()) else {
        return error(StatusCode::NOT_FOUND, NOT_FOUND);
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, target);
    set(&mut response, CACHE_CONTROL, "no-store");
    response.headers_mut().insert(CONTENT_LENGTH, 0.into());
    set_security(&mut response, NOTHING);
    response
}

/// An error with one of the bodies above.
pub fn error(status: StatusCode, body: &'static str) -> Response<Bytes> {
    let mut response = json(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response
}

/// JSON that no cache keeps.
pub fn json(body: Bytes) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    set(&mut response, CONTENT_TYPE, "application/json");
    set(&mut response, CACHE_CONTROL, "no-store");
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    set_security(&mut response, NOTHING);
    response
}

/// What a browser must not do with a response of ours.
fn set_security(response: &mut Response<Bytes>, policy: &str) {
    set(response, CONTENT_SECURITY_POLICY, policy);
    set(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(response, REFERRER_POLICY, "no-referrer");
}

/// Sets a header of ours.
///
/// # Panics
///
/// When the value is not visible ASCII.
pub fn set(response: &mut Response<Bytes>, name: http::HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("ours are visible ASCII");
    response.headers_mut().insert(name, value);
}

/// Whether the client takes gzip (RFC 9110 §12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    let values = headers.get_all(ACCEPT_ENCODING).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    for coding in values.flat_map(|value| value.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = parameters
            .trim()
            .strip_prefix("q=")
            .is_some_and(|quality| quality.trim().parse() == Ok(0.0));
        match name.trim() {
            "gzip" | "x-gzip" => return !refused,
            "*" => any = !refused,
            _ => {}
        }
    }
    any
}

/// Whether the header is `*`, or a list with a tag that `matches`; `None` when it was not sent. A
/// comma may be part of a tag (RFC 9110 §8.8.3).
fn is_listed(
    headers: &HeaderMap,
    name: &http::HeaderName,
    matches: impl Fn(&[u8]) -> bool,
) -> Option<bool> {
    let fields = headers.get_all(name).into_iter();
    let fields: Vec<&[u8]> = fields.map(|field| field.as_bytes().trim_ascii()).collect();
    match fields[..] {
        [] => None,
        [b"*"] => Some(true),
        _ => Some(fields.into_iter().any(|field| {
            let mut quoted = false;
            let mut members = field.split(|byte| {
                quoted ^= *byte == b'"';
                *byte == b',' && !quoted
            });
            members.any(|member| matches(member.trim_ascii()))
        })),
    }
}
