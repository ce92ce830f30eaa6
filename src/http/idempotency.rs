//! `Idempotency-Key`: its headers, and how a request with a key conflicts with the first one.

use http::{HeaderMap, HeaderName};

use super::details::Details;
use super::error::{Error, Reason};
use crate::model::idempotency_key::IdempotencyKey;

/// The request's header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The response's header on a repeat.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The key was used for another request.
pub const KEY_USED: Error = Error::Conflict {
    reason: Reason::IdempotencyKeyReused,
    message: "The Idempotency-Key was used with another body",
};

/// What the first request created is gone.
pub const DELETED: Error = Error::Conflict {
    reason: Reason::WebhookDeleted,
    message: "The webhook that was created with this Idempotency-Key has been deleted",
};

/// The secret that the first response showed is not the newest any more.
pub const OVERTAKEN: Error = Error::Conflict {
    reason: Reason::SecretReplaced,
    message: "The signing secret that was made with this Idempotency-Key has been replaced by a rotation",
};

/// Reads the header, noting what is wrong with it.
pub fn key(headers: &HeaderMap, details: &mut Details) -> Option<IdempotencyKey> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let first = values.next()?;
    let key = first.to_str().ok().and_then(IdempotencyKey::parse);
    details.check(
        "Idempotency-Key",
        key.filter(|_| values.next().is_none())
            .ok_or("Must be one value of 1 to 255 printable ASCII characters"),
    )
}
