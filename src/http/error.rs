//! Every way in which a request can fail, and the documented body of each.

use http::header::{ACCEPT_ENCODING, ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::token_problem::TokenProblem;
use crate::fault::Fault;
use crate::http::response::{self, Response};
use crate::model::ids::RecoveryId;
use crate::model::portal::Capability;

/// Why a request failed. What the client receives follows from the variant alone; the text in
/// some of them is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// 401: no bearer token was sent.
    NoToken,
    /// 401: the token that was sent is refused, and why.
    InvalidToken(TokenProblem),
    /// 400: these fields are wrong.
    Invalid(Vec<Detail>),
    /// 403: the resource belongs to another merchant.
    Forbidden,
    /// 403: the application is disabled, and with it every change.
    Disabled,
    /// 403: the portal's session lacks this capability.
    MissingCapability(Capability),
    /// 404: no such resource, or no such route.
    NotFound,
    /// 405: the route has other methods, these: the header `Allow` (RFC 9110 §10.2.1).
    MethodNotAllowed(String),
    /// 408: the body did not come in time.
    BodyTimeout,
    /// 409: the request cannot be joined with what is there; both are for the client.
    Conflict {
        /// What it cannot be joined with, for programs.
        reason: Reason,
        /// And for people.
        message: &'static str,
    },
    /// 409: this recovery of the webhook has not ended yet.
    RecoveryActive(RecoveryId),
    /// 410: the event's data were erased.
    Erased,
    /// 410: the code of a portal's session is unknown, was exchanged, or expired.
    CodeSpent,
    /// 412: the resource is not what the client's `If-Match` expects.
    PreconditionFailed,
    /// 413: the body is larger than so many bytes.
    BodyTooLarge {
        /// The largest that is read.
        limit: usize,
    },
    /// 415: the body has a `Content-Encoding`.
    BodyEncoded,
    /// 429: the merchant made too many changes in the last minute; how many seconds, 1 to 120, it
    /// should wait.
    TooManyChanges {
        /// The header `Retry-After` (RFC 9110 §10.2.3).
        retry_after: u32,
    },
    /// 502, 504 or 500: nobody's request is at fault.
    Fault(Fault),
    /// 503: a probe's answer while requests would fail.
    NotReady(String),
    /// 503: the token's key is unknown, and the identity provider is not asked again before so many
    /// seconds, 1 to 10, have passed: until then nobody can tell whether the token is good.
    KeyNotKnownYet {
        /// The header `Retry-After` (RFC 9110 §10.2.3).
        retry_after: u32,
    },
}

/// Why a request failed, for programs: on statuses that can mean several things, or that the
/// reference page of the first endpoint does not define. A name here never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// 403: the application is disabled.
    ApplicationDisabled,
    /// 403: the portal's session lacks the capability that the message names.
    MissingCapability,
    /// 408: the body did not come in time.
    BodyTimeout,
    /// 409: another application of the merchant has the name.
    NameTaken,
    /// 409: another application of the merchant is being given the name now.
    NamePending,
    /// 409: the merchant has the maximum number of applications.
    TooManyApplications,
    /// 409: the `Idempotency-Key` was used with another body.
    IdempotencyKeyReused,
    /// 409: the webhook has been deleted that was created with the `Idempotency-Key`, or that an event
    /// is to be sent to again.
    WebhookDeleted,
    /// 409: the secret that was made with the `Idempotency-Key` has been replaced by a rotation.
    SecretReplaced,
    /// 409: another recovery of the webhook has not ended.
    RecoveryActive,
    /// 409: an attempt of the delivery is under way.
    AttemptInFlight,
    /// 409: the webhook that events are to be sent to again is inactive.
    WebhookInactive,
    /// 410: the event's data were erased.
    DataErased,
    /// 410: the code of a portal's session is unknown, was exchanged, or expired.
    CodeSpent,
    /// 412: the resource is not what the request's conditions expect.
    PreconditionFailed,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 415: the body has a `Content-Encoding`.
    ContentEncodingUnsupported,
    /// 429: the merchant made too many changes within a minute.
    TooManyChanges,
    /// 503: the service cannot serve requests.
    NotReady,
    /// 503: the token's key may have been published since the identity provider was last asked.
    KeyNotKnownYet,
}

/// One wrong field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Detail {
    /// The field's name: of a member of the body, of a parameter, or `body` for the whole.
    #[schema(examples("url"))]
    pub field: String,
    /// What is wrong with it, in words.
    #[schema(examples("Must be an absolute URL that starts with https://"))]
    pub message: String,
}

/// The body of every error response.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody {
    /// The status in words.
    pub error: &'static str,
    /// What happened, in words.
    pub message: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub code: u16,
    /// Why, for programs: one of a fixed set of names. Not with 400, 401, 404, 405, 500, 502, 504,
    /// nor with a 403 that is about another merchant's application.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline, nullable = false)]
    pub reason: Option<Reason>,
    /// The wrong fields; only with 400.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 1)]
    pub details: Option<Vec<Detail>>,
}

/// Detail for the log about a failed request; rides on the response as an extension.
#[derive(Clone)]
pub struct LogDetail(pub String);

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Error {
    /// 400 for one field.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Detail {
            field: field.to_owned(),
            message: message.into(),
        }])
    }

    /// The response's status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden | Self::Disabled | Self::MissingCapability(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict { .. } | Self::RecoveryActive(_) => StatusCode::CONFLICT,
            Self::Erased | Self::CodeSpent => StatusCode::GONE,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyEncoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyChanges { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Fault(Fault::Dependency(_) | Fault::Unreadable(_)) => StatusCode::BAD_GATEWAY,
            Self::Fault(Fault::Timeout(_)) => StatusCode::GATEWAY_TIMEOUT,
            Self::Fault(Fault::Internal(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotReady(_) | Self::KeyNotKnownYet { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The two texts of the body.
    fn texts(&self) -> (&'static str, &'static str) {
        match self {
            Self::NoToken | Self::InvalidToken(_) => (
                "Unauthorized",
                "Authentication required. Please provide a valid API token",
            ),
            Self::Invalid(_) => (
                "Bad Request",
                "The request contains invalid parameters or malformed data",
            ),
            Self::Forbidden => (
                "Forbidden",
                "You don't have permission to access this resource",
            ),
            Self::Disabled => (
                "Forbidden",
                "The application is disabled. Enable it to make changes or send tests",
            ),
            // The message names the capability.
            Self::MissingCapability(_) => ("Forbidden", ""),
            Self::NotFound => ("Not Found", "The requested resource was not found"),
            Self::MethodNotAllowed(_) => (
                "Method Not Allowed",
                "The requested resource does not support this method",
            ),
            Self::BodyTimeout => (
                "Request Timeout",
                "The request body was not sent within 10 seconds",
            ),
            Self::Conflict { message, .. } => ("Conflict", message),
            // The message names the recovery.
            Self::RecoveryActive(_) => ("Conflict", ""),
            Self::Erased => ("Gone", "The event's data were erased"),
            Self::CodeSpent => (
                "Gone",
                "The code is unknown, was exchanged already, or is older than a minute",
            ),
            Self::PreconditionFailed => (
                "Precondition Failed",
                "The resource has changed since it was read",
            ),
            // The message names the limit.
            Self::BodyTooLarge { .. } => ("Content Too Large", ""),
            Self::BodyEncoded => (
                "Unsupported Media Type",
                "The request body must be sent without a Content-Encoding",
            ),
            Self::TooManyChanges { .. } => (
                "Too Many Requests",
                "Too many changes within a minute. Retry later",
            ),
            Self::Fault(Fault::Dependency(_) | Fault::Unreadable(_)) => (
                "Error",
                "A downstream dependency responded with an error or could not be reached.",
            ),
            Self::Fault(Fault::Timeout(_)) => {
                ("Error", "A downstream dependency did not respond in time.")
            }
            Self::Fault(Fault::Internal(_)) => {
                ("Internal Server Error", "An unexpected error occurred")
            }
            Self::NotReady(_) => ("Service Unavailable", "The service is not ready"),
            Self::KeyNotKnownYet { .. } => (
                "Service Unavailable",
                "The token's key is not known yet. Retry later",
            ),
        }
    }

    /// Why, for programs. The errors of the reference page have none.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Disabled => Some(Reason::ApplicationDisabled),
            Self::MissingCapability(_) => Some(Reason::MissingCapability),
            Self::BodyTimeout => Some(Reason::BodyTimeout),
            Self::Conflict { reason, .. } => Some(*reason),
            Self::RecoveryActive(_) => Some(Reason::RecoveryActive),
            Self::Erased => Some(Reason::DataErased),
            Self::CodeSpent => Some(Reason::CodeSpent),
            Self::PreconditionFailed => Some(Reason::PreconditionFailed),
            Self::BodyTooLarge { .. } => Some(Reason::BodyTooLarge),
            Self::BodyEncoded => Some(Reason::ContentEncodingUnsupported),
            Self::TooManyChanges { .. } => Some(Reason::TooManyChanges),
            Self::NotReady(_) => Some(Reason::NotReady),
            Self::KeyNotKnownYet { .. } => Some(Reason::KeyNotKnownYet),
            _ => None,
        }
    }

    /// The response's body.
    pub fn body(self) -> ErrorBody {
        let (error, message) = self.texts();
        let message = match &self {
            Self::BodyTooLarge { limit } => {
                format!("The request body is larger than {limit} bytes")
            }
            Self::MissingCapability(capability) => {
                format!(
                    "The portal's session lacks the capability {}",
                    capability.as_str()
                )
            }
            Self::RecoveryActive(id) => {
                format!("Another recovery of the webhook has not ended: {id}")
            }
            _ => message.to_owned(),
        };
        ErrorBody {
            error,
            message,
            code: self.status().as_u16(),
            reason: self.reason(),
            details: match self {
                Self::Invalid(details) => Some(details),
                _ => None,
            },
        }
    }

    /// Detail for the log, beside the status.
    fn log_detail(&self) -> Option<String> {
        match self {
            Self::InvalidToken(why) => Some(format!("token refused: {}", why.log_detail())),
            Self::KeyNotKnownYet { .. } => Some(
                "the token's key is unknown, and the provider was asked a moment ago".to_owned(),
            ),
            Self::Invalid(details) => {
                // The names of unknown members are the client's text: only known ones are logged.
                Some(format!("{} wrong fields", details.len()))
            }
            Self::Fault(fault) => Some(fault.to_string()),
            Self::NotReady(cause) => Some(cause.clone()),
            _ => None,
        }
    }

    /// The response. The detail for the log rides on it.
    pub fn into_response(self) -> Response {
        let status = self.status();
        let cause = self.log_detail();
        let header = match &self {
            Self::NoToken => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::InvalidToken(why) => Some((WWW_AUTHENTICATE, why.challenge())),
            // RFC 9110 §12.5.3: which encodings would have been accepted.
            Self::BodyEncoded => Some((ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            Self::TooManyChanges { retry_after } | Self::KeyNotKnownYet { retry_after } => {
                Some((RETRY_AFTER, HeaderValue::from(*retry_after)))
            }
            Self::MethodNotAllowed(allow) => HeaderValue::from_str(allow)
                .ok()
                .map(|allow| (ALLOW, allow)),
            _ => None,
        };
        let mut response = response::json(status, &self.body())
            .unwrap_or_else(|_| response::empty(StatusCode::INTERNAL_SERVER_ERROR));
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        if let Some(cause) = cause {
            response.extensions_mut().insert(LogDetail(cause));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference page defines these bodies: nothing is added to them.
    #[test]
    fn only_errors_that_the_reference_page_does_not_define_have_a_reason() {
        let cause = String::new;
        for error in [
            Error::NoToken,
            Error::InvalidToken(TokenProblem::Expired),
            Error::Invalid(Vec::new()),
            Error::Forbidden,
            Error::NotFound,
            Error::Fault(Fault::Dependency(cause())),
            Error::Fault(Fault::Unreadable(cause())),
            Error::Fault(Fault::Timeout(cause())),
        ] {
            assert_eq!(error.reason(), None, "{error:?}");
        }
        let body = serde_json::to_string(&Error::Disabled.body()).unwrap();
        assert!(
            body.ends_with(r#""code":403,"reason":"applicationDisabled"}"#),
            "{body}"
        );
    }
}
