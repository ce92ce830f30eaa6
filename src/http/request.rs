//! A request as handlers get it: a merchant's, anyone's with a valid token, or the operator's.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::body::Body;
use super::details::Details;
use super::error::Error;
use super::query::Query;
use crate::config::Config;
use crate::model::caller::Caller;
use crate::model::ids::{ApplicationId, EventId, MerchantId, WebhookId};
use crate::store::key_value::Store;

/// A merchant's request.
pub struct Request {
    /// Whose valid token came with it.
    pub merchant: MerchantId,
    /// This instance's configuration.
    pub config: &'static Config,
    /// Where everything is kept.
    pub store: Store,
    /// The id of the request: in its log line, in `x-request-id`, and in the log lines of what it
    /// leaves to be done after the response.
    pub request_id: String,
    /// Its path.
    pub path: Path,
    /// Its query string.
    pub query: Query,
    /// What was wrong with the query string. Handlers add what else is wrong, and return all of it
    /// in one response.
    pub details: Details,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, unread.
    pub body: Body,
}

/// The request of whoever has a valid token: a merchant's, or the platform's own.
pub struct CallerRequest {
    /// Whom the token names.
    pub caller: Caller,
    /// This instance's configuration.
    pub config: &'static Config,
    /// Where everything but events is kept.
    pub store: Store,
    /// As in [`Request`].
    pub request_id: String,
    /// Its path.
    pub path: Path,
    /// Its query string.
    pub query: Query,
    /// As in [`Request`].
    pub details: Details,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, unread.
    pub body: Body,
}

impl CallerRequest {
    /// The merchant's request that it is.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`]: the platform's systems are no merchants.
    pub fn of_merchant(self) -> Result<Request, Error> {
        let Caller::Merchant(merchant) = self.caller else {
            return Err(Error::Forbidden);
        };
        Ok(Request {
            merchant,
            config: self.config,
            store: self.store,
            request_id: self.request_id,
            path: self.path,
            query: self.query,
            details: self.details,
            headers: self.headers,
            body: self.body,
        })
    }
}

/// The operator's request.
pub struct OperatorRequest {
    /// This instance's configuration.
    pub config: &'static Config,
    /// Where everything is kept.
    pub store: Store,
    /// The id of the request: in its log line, in `x-request-id`, and in the log lines of what goes
    /// on after the response has begun.
    pub request_id: String,
    /// Its query string.
    pub query: Query,
    /// What was wrong with the query string.
    pub details: Details,
}

/// The parameters in a request's path.
#[derive(Clone, Debug, Default)]
pub struct Path(Vec<(&'static str, String)>);

impl Path {
    /// Takes the parameters as they were sent. What does not decode to UTF-8 becomes empty, and so
    /// fails the parameter's own check.
    pub fn new<'a>(sent: impl Iterator<Item = (&'static str, &'a str)>) -> Self {
        let decoded = sent.map(|(name, value)| {
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_or_else(|_| String::new(), |value| value.into_owned());
            (name, value)
        });
        Self(decoded.collect())
    }

    /// The path's `applicationId`.
    pub fn application(&self, details: &mut Details) -> Option<ApplicationId> {
        let id = ApplicationId::parse(self.parameter("applicationId"));
        details.check(
            "applicationId",
            id.ok_or("Must be 1 to 128 letters, digits, `-`, `_`, `.` or `~`"),
        )
    }

    /// The path's `webhookId`.
    pub fn webhook(&self, details: &mut Details) -> Option<WebhookId> {
        let id = WebhookId::parse(self.parameter("webhookId"));
        details.check("webhookId", id.ok_or("Must be a UUID"))
    }

    /// The path's `eventId`.
    pub fn event(&self, details: &mut Details) -> Option<EventId> {
        let id = EventId::parse(self.parameter("eventId"));
        details.check(
            "eventId",
            id.ok_or("Must be `evt_` and 32 hexadecimal digits in lower case"),
        )
    }

    /// A parameter; empty when the path has none of that name.
    fn parameter(&self, name: &str) -> &str {
        let mut named = self.0.iter();
        let value = named.find(|(known, _)| *known == name);
        value.map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_what_is_no_utf8_is_empty() {
        let path = |sent| Path::new([("applicationId", sent)].into_iter());
        let shop = path("sh%6Fp");
        assert_eq!(shop.parameter("applicationId"), "shop");
        assert_eq!(shop.parameter("webhookId"), "");
        assert_eq!(path("%ff").parameter("applicationId"), "");
    }
}
