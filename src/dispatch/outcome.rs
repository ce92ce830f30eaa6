//! What came of sending a delivery once, and why it failed.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::future::select;
use http::header::{CONTENT_ENCODING, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::Serialize;
use spin_sdk::wasip3::http::types::ErrorCode;
use url::Url;

use crate::model::delivery::AttemptError;
use crate::model::endpoint_url::{EndpointUrl, UrlError};
use crate::runtime::sleep;

/// How long the response's body is read, after its head. People read it, and nothing depends on it.
const BODY_TIME: Duration = Duration::from_secs(1);

/// How much of the response's body is read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Why a delivery failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// The host leads to a private or reserved address, where deliveries never go.
    BlockedAddress,
    /// The host's name was not found.
    Dns,
    /// There was no connection: refused, or nothing is there.
    Connect,
    /// There was no TLS: most often a certificate that is expired, another host's or unknown.
    Tls,
    /// No status came in time.
    Timeout,
    /// The connection ended, or went on in something that is not HTTP, before a status came.
    Protocol,
    /// The status was not one of 200 to 299.
    HttpStatus,
    /// The rules for URLs became stricter, and this one breaks them.
    UrlRefused,
}

impl Failure {
    fn of(status: StatusCode) -> Option<Self> {
        (!status.is_success()).then_some(Self::HttpStatus)
    }

    /// Whether the endpoint did anything. One that did not is left alone for a while.
    pub(super) fn is_reached(self) -> bool {
        match self {
            Self::BlockedAddress | Self::Dns | Self::Connect | Self::Tls | Self::Timeout => false,
            Self::Protocol | Self::HttpStatus | Self::UrlRefused => true,
        }
    }

    /// One sentence for the merchant.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::BlockedAddress => {
                "The host leads to a private or reserved address, where deliveries never go."
            }
            Self::Dns => "The host's name was not found in the DNS.",
            Self::Connect => {
                "No connection was made: the host refused it, or nothing is at its address."
            }
            Self::Tls => {
                "No TLS connection was made: the certificate must be in date, issued for this host, \
                 and by an authority that browsers trust."
            }
            Self::Timeout => "The endpoint returned no status within 10 seconds.",
            Self::Protocol => {
                "The endpoint closed the connection before it returned a status, or did not return \
                 HTTP."
            }
            Self::HttpStatus => "The endpoint did not return a status from 200 to 299.",
            Self::UrlRefused => "Deliveries to this URL are not allowed any more.",
        }
    }
}

impl From<Failure> for AttemptError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::BlockedAddress => Self::BlockedAddress,
            Failure::Dns => Self::Dns,
            Failure::Connect => Self::Connect,
            Failure::Tls => Self::Tls,
            Failure::Timeout => Self::Timeout,
            Failure::Protocol => Self::Protocol,
            Failure::HttpStatus => Self::HttpStatus,
            Failure::UrlRefused => Self::UrlRefused,
        }
    }
}

/// What the host reports. Spin makes few distinctions: every handshake that fails is
/// `TLS-protocol-error`, and what is wrong on an open connection `HTTP-protocol-error`.
impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::DestinationIpProhibited => Self::BlockedAddress,
            ErrorCode::DnsError(_) | ErrorCode::DnsTimeout | ErrorCode::DestinationNotFound => {
                Self::Dns
            }
            ErrorCode::ConnectionRefused
            | ErrorCode::ConnectionLimitReached
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpUnroutable => Self::Connect,
            ErrorCode::TlsProtocolError
            | ErrorCode::TlsCertificateError
            | ErrorCode::TlsAlertReceived(_) => Self::Tls,
            ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => Self::Timeout,
            // The manifest's `allowed_outbound_hosts`, which `delivery_scheme` is part of.
            ErrorCode::HttpRequestDenied | ErrorCode::HttpRequestUriInvalid => Self::UrlRefused,
            _ => Self::Protocol,
        }
    }
}

/// What came of sending a delivery once.
#[derive(Debug)]
pub struct Attempt {
    /// The status that the endpoint returned, if it returned one.
    pub status: Option<u16>,
    /// As much of the response's body as came within a second; `None` without a response, and when
    /// the body is encoded.
    pub body: Option<Vec<u8>>,
    /// The header `Retry-After`, if it is one text.
    pub retry_after: Option<String>,
    /// Why it failed; `None`: the endpoint took the delivery.
    pub failure: Option<Failure>,
    /// One sentence for the merchant on what failed or is not shown.
    pub detail: Option<String>,
    /// From the start to the status, or to the failure.
    pub latency: Duration,
}

impl Attempt {
    /// Not made, because the URL is not allowed any more.
    pub(super) fn refused(rule: &UrlError) -> Self {
        Self {
            detail: Some(format!("The URL is not allowed any more: {rule}.")),
            ..Self::unanswered(Failure::UrlRefused, Duration::ZERO)
        }
    }

    /// Made, but no status came.
    pub(super) fn unanswered(failure: Failure, latency: Duration) -> Self {
        Self {
            status: None,
            body: None,
            retry_after: None,
            failure: Some(failure),
            detail: Some(failure.sentence().to_owned()),
            latency,
        }
    }

    /// A status came. It alone decides: what becomes of the body is no matter.
    pub(super) async fn answered<B>(
        url: &EndpointUrl,
        response: http::Response<B>,
        latency: Duration,
    ) -> Self
    where
        B: http_body::Body<Data = Bytes>,
    {
        let (head, body) = response.into_parts();
        let body = if is_encoded(&head.headers) {
            None
        } else {
            Some(read(body).await)
        };
        Self {
            status: Some(head.status.as_u16()),
            body,
            retry_after: retry_after(&head.headers),
            failure: Failure::of(head.status),
            detail: detail(url, head.status, &head.headers),
            latency,
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(RETRY_AFTER).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.to_owned())
}

/// One sentence on a response that is a failure or whose body is not shown.
fn detail(url: &EndpointUrl, status: StatusCode, headers: &HeaderMap) -> Option<String> {
    let of_status = if status.is_success() {
        None
    } else if status.is_redirection() {
        let target = redirect_host(url, headers);
        let target = target.map_or_else(
            || format!("({})", status.as_u16()),
            |host| format!("to {host}"),
        );
        Some(format!(
            "endpoint redirects {target}, and redirects are not followed"
        ))
    } else {
        Some(format!(
            "endpoint returned the status {}, not one from 200 to 299",
            status.as_u16()
        ))
    };
    let of_body = is_encoded(headers).then(|| {
        "response body is not shown, because the endpoint encoded it although the request asks for `identity`".to_owned()
    });
    let parts: Vec<String> = of_status.into_iter().chain(of_body).collect();
    (!parts.is_empty()).then(|| format!("The {}.", parts.join("; the ")))
}

/// Whether the body is compressed or otherwise encoded (RFC 9110 §8.4).
fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity"))
}

/// The host that `Location` leads to, in its ASCII form.
fn redirect_host(url: &EndpointUrl, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let target = Url::parse(url.normalized()).ok()?.join(location).ok()?;
    // RFC 1035 §2.3.4: longer than any name.
    target
        .host_str()
        .filter(|host| host.len() <= 253)
        .map(str::to_owned)
}

/// What comes of the body within [`BODY_TIME`], [`MAX_BODY_BYTES`] of it at most.
async fn read(body: impl http_body::Body<Data = Bytes>) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        let mut body = pin!(body);
        while read.len() < MAX_BODY_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            if let Ok(data) = frame.into_data() {
                let room = MAX_BODY_BYTES - read.len();
                read.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
    };
    select(pin!(reading), pin!(sleep(BODY_TIME))).await;
    read
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn attempt(status: u16, headers: &[(&'static str, &str)]) -> Attempt {
        let url = EndpointUrl::parse("https://shop.example.com/hooks", false).unwrap();
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(Full::new(Bytes::new())).unwrap();
        let (head, _) = response.into_parts();
        Attempt {
            status: Some(status),
            body: None,
            retry_after: retry_after(&head.headers),
            failure: Failure::of(head.status),
            detail: detail(&url, head.status, &head.headers),
            latency: Duration::ZERO,
        }
    }

    #[test]
    fn a_redirect_is_a_failure_that_names_the_host_it_leads_to() {
        for (location, names) in [
            ("https://www.example.com/hooks", "to www.example.com,"),
            ("//cdn.example.com/x", "to cdn.example.com,"),
            ("/hooks/", "to shop.example.com,"),
            ("https://ex\u{e4}mple.com/", "(302),"),
            ("data:text/plain,x", "(302),"),
            ("http://[", "(302),"),
        ] {
            let attempt = attempt(302, &[("location", location)]);
            assert_eq!(attempt.failure, Some(Failure::HttpStatus), "{location}");
            let detail = attempt.detail.expect("a detail");
            assert!(detail.contains(names), "{location}: {detail}");
            assert!(detail.contains("not followed"), "{location}: {detail}");
        }
        let detail = attempt(304, &[]).detail.expect("a detail");
        assert!(detail.contains("(304)"), "{detail}");
    }

    #[test]
    fn an_encoded_response_is_one_with_another_encoding_than_identity() {
        for encoding in ["gzip", "GZIP", "identity, br", "zstd,"] {
            let attempt = attempt(200, &[("content-encoding", encoding)]);
            let detail = attempt.detail.expect("a detail");
            assert!(detail.contains("encoded"), "{encoding}: {detail}");
            assert_eq!(attempt.failure, None, "{encoding}");
        }
        for encoding in ["identity", "Identity", "", " , "] {
            let attempt = attempt(200, &[("content-encoding", encoding)]);
            assert_eq!(attempt.detail, None, "{encoding}");
        }
        let detail = attempt(500, &[("content-encoding", "gzip")]).detail;
        let detail = detail.expect("a detail");
        assert!(detail.contains("status 500") && detail.contains("encoded"));
        assert_eq!(detail.matches('.').count(), 1, "one sentence: {detail}");
    }

    #[test]
    fn every_error_of_the_host_has_its_reason() {
        for (code, failure) in [
            (ErrorCode::DestinationIpProhibited, Failure::BlockedAddress),
            (ErrorCode::DnsTimeout, Failure::Dns),
            (ErrorCode::ConnectionRefused, Failure::Connect),
            (ErrorCode::TlsProtocolError, Failure::Tls),
            (ErrorCode::ConnectionTimeout, Failure::Timeout),
            (ErrorCode::ConnectionReadTimeout, Failure::Timeout),
            (ErrorCode::HttpProtocolError, Failure::Protocol),
            (ErrorCode::InternalError(None), Failure::Protocol),
            (ErrorCode::HttpRequestDenied, Failure::UrlRefused),
        ] {
            assert_eq!(Failure::from(code.clone()), failure, "{code:?}");
        }
    }
}
