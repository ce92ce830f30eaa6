//! The API reference: `GET /openapi.json`, and the pages under `/docs` that show it.
//!
//! A component of its own beside the API's, so that the API's does not carry its weight. All it
//! serves is made when it is built (`build.rs`), the document from the API's own types and routes.

#![deny(unsafe_code)]

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
struct File {
    /// Where it is served.
    path: &'static str,
    kind: Kind,
    /// The start of the content's SHA-256, in hexadecimal.
    tag: &'static str,
    /// The content's length in bytes.
    length: usize,
    /// The content, compressed. Nearly every client takes it so; for the others it is unpacked.
    gzip: &'static [u8],
}

/// What a file is, which decides most of its headers.
#[derive(Clone, Copy)]
enum Kind {
    /// The OpenAPI document.
    Json,
    /// The page that shows the document and sends requests.
    Reference,
    /// A page without scripts.
    Page,
    Script,
    Style,
}

const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The bodies that the API's errors have.
const NOT_FOUND: &str = include_str!(concat!(env!("OUT_DIR"), "/not-found.json"));
const METHOD_NOT_ALLOWED: &str = include_str!(concat!(env!("OUT_DIR"), "/method-not-allowed.json"));
const PRECONDITION_FAILED: &str =
    include_str!(concat!(env!("OUT_DIR"), "/precondition-failed.json"));

/// The policy of what is no page.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

impl Kind {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Reference | Self::Page => "text/html; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
        }
    }

    /// What a browser may load and do for it.
    const fn policy(self) -> &'static str {
        match self {
            // Styles: Scalar brings its own as a `<style>` element and sets more on elements.
            // Connections: the base URL can be edited, and may be that of another deployment.
            Self::Reference => {
                "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; \
                 img-src data:; connect-src http: https:; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'"
            }
            Self::Page => {
                "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'"
            }
            Self::Json | Self::Script | Self::Style => NOTHING,
        }
    }
}

/// Answers one request.
pub fn answer(method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Bytes> {
    let known = |path| FILES.iter().find(|file| file.path == path);
    let Some(file) = known(uri.path()) else {
        return match uri.path().strip_suffix('/').and_then(known) {
            Some(file) => redirect(file, uri.query()),
            None => error(StatusCode::NOT_FOUND, NOT_FOUND),
        };
    };
    if method != Method::GET && method != Method::HEAD {
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED);
        set(&mut response, ALLOW, "GET,HEAD");
        return response;
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
    set_security(&mut response, file.kind.policy());
    let weakly = |known: &[u8]| known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes();
    if is_listed(headers, &IF_NONE_MATCH, weakly) == Some(true) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    set(&mut response, CONTENT_TYPE, file.kind.media_type());
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

/// The API does the same with a slash at a path's end.
fn redirect(file: &File, query: Option<&str>) -> Response<Bytes> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{}{query}", file.path);
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

fn error(status: StatusCode, body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, "application/json");
    set(&mut response, CACHE_CONTROL, "no-store");
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, body.len().into());
    set_security(&mut response, NOTHING);
    response
}

/// What a browser must not do with a response of ours.
fn set_security(response: &mut Response<Bytes>, policy: &str) {
    set(response, CONTENT_SECURITY_POLICY, policy);
    set(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(response, REFERRER_POLICY, "no-referrer");
}

fn set(response: &mut Response<Bytes>, name: http::HeaderName, value: &str) {
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
