//! Request bodies, as bytes of a declared type that come in time.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::details::Details;
use crate::http::error::Error;
use crate::runtime::sleep;

/// The largest body that is read, but for events, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// How long a body may take from its first byte to its last. Without a limit a client that sends a
/// byte a minute would keep an instance to itself.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A request's body, unread.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body could not be read.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Which bodies an operation takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON.
    Json,
    /// JSON, or none at all.
    OptionalJson,
    /// JSON, also as a merge patch (RFC 7396).
    MergePatch,
}

impl Kind {
    /// Notes a `Content-Type` that it does not have.
    pub fn check(self, headers: &HeaderMap, details: &mut Details) {
        let sent = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let (accepted, message): (&[&str], _) = match self {
            Self::Json | Self::OptionalJson => (&["application/json"], "Must be application/json"),
            Self::MergePatch => (
                &["application/json", "application/merge-patch+json"],
                "Must be application/json or application/merge-patch+json",
            ),
        };
        // With or without parameters (RFC 9110 §8.3.1).
        let media_type = sent.split(';').next().unwrap_or_default().trim();
        if !accepted
            .iter()
            .any(|accepted| media_type.eq_ignore_ascii_case(accepted))
        {
            details.add("Content-Type", message);
        }
    }
}

/// Whether the body is compressed, or otherwise not what it says: `identity` is the name of no
/// encoding (RFC 9110 §8.4.1).
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        value.to_str().map_or(true, |list| {
            list.split(',')
                .map(str::trim)
                .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        })
    })
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
///
/// [`Error::BodyTooLarge`], [`Error::BodyTimeout`], and [`Error::Invalid`] when it breaks off.
pub async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Error> {
    let collected = pin!(Limited::new(body, limit).collect());
    // The body is asked first: one that is there needs no timer.
    match select(collected, pin!(sleep(READ_TIMEOUT))).await {
        Either::Left((Ok(collected), _)) => Ok(collected.to_bytes().into()),
        Either::Left((Err(error), _)) if error.is::<LengthLimitError>() => {
            Err(Error::BodyTooLarge { limit })
        }
        Either::Left((Err(_), _)) => Err(Error::invalid("body", "The body could not be read")),
        Either::Right(_) => Err(Error::BodyTimeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::simulation;

    /// A byte every so often, and no end.
    fn trickle(pause: Duration) -> Body {
        let bytes = futures::stream::unfold((), move |()| async move {
            sleep(pause).await;
            let byte = http_body::Frame::data(Bytes::from_static(b" "));
            Some((Ok::<_, BodyError>(byte), ()))
        });
        Body::new(http_body_util::StreamBody::new(bytes))
    }

    #[test]
    fn a_body_has_ten_seconds_in_all() {
        for millis in [1_000, 60_000] {
            let read = async move {
                let started = crate::runtime::Instant::now();
                let body = trickle(Duration::from_millis(millis));
                let read = collect(body, MAX_BODY_BYTES).await;
                (read, started.elapsed())
            };
            let (read, took) = simulation::run(read);
            assert_eq!(read, Err(Error::BodyTimeout));
            assert_eq!(took, READ_TIMEOUT);
        }
    }

    #[test]
    fn an_encoding_is_whatever_is_not_identity() {
        let is_encoded = |values: &[&'static str]| {
            let values = values.iter().map(|value| {
                let value = http::HeaderValue::from_static(value);
                (CONTENT_ENCODING, value)
            });
            super::is_encoded(&HeaderMap::from_iter(values))
        };
        for plain in [&[][..], &[""], &["identity"], &["Identity, identity"]] {
            assert!(!is_encoded(plain), "{plain:?}");
        }
        for encoded in [
            &["gzip"][..],
            &["identity, br"],
            &["identity", "deflate"],
            &["x"],
        ] {
            assert!(is_encoded(encoded), "{encoded:?}");
        }
    }
}
