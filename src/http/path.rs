//! The parameters in a request's path.

use percent_encoding::percent_decode_str;

use super::details::Details;
use crate::model::ids::{ApplicationId, EventId, RecoveryId, WebhookId};

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
            id.ok_or("Must be `evt_` and a UUID of version 7 in lower case, without hyphens"),
        )
    }

    /// The path's `recoveryId`.
    pub fn recovery(&self, details: &mut Details) -> Option<RecoveryId> {
        let id = RecoveryId::parse(self.parameter("recoveryId"));
        details.check(
            "recoveryId",
            id.ok_or("Must be `rec_` and a UUID of version 7 in lower case, without hyphens"),
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
