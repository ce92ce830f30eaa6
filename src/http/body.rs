//! Request bodies: JSON objects, read strictly.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::details::Details;
use crate::http::error::Error;

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// A request's body, unread.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body could not be read.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The members of a JSON object, in the order and with the repetitions in which they were sent.
#[derive(Debug, Default)]
pub struct Object {
    members: Vec<(String, Value)>,
    /// The body as it was sent.
    raw: Vec<u8>,
    /// Whether there was an object at all. If not, that was noted, and missing members are not.
    sent: bool,
}

impl Object {
    /// Reads the request's body, noting what is wrong with it.
    ///
    /// # Errors
    ///
    /// [`Error::BodyTooLarge`].
    pub async fn read(
        headers: &HeaderMap,
        body: Body,
        details: &mut Details,
    ) -> Result<Self, Error> {
        Self::read_body(headers, body, false, details).await
    }

    /// As [`Self::read`], and takes no body at all for `{}`.
    ///
    /// # Errors
    ///
    /// [`Error::BodyTooLarge`].
    pub async fn read_optional(
        headers: &HeaderMap,
        body: Body,
        details: &mut Details,
    ) -> Result<Self, Error> {
        Self::read_body(headers, body, true, details).await
    }

    async fn read_body(
        headers: &HeaderMap,
        body: Body,
        optional: bool,
        details: &mut Details,
    ) -> Result<Self, Error> {
        let declared = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(Error::BodyTooLarge);
        }
        let media_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let typed = media_type.is_some_and(is_json);
        let body = collect(body, MAX_BODY_BYTES).await;
        let nothing = body.as_ref().is_ok_and(Vec::is_empty);
        if optional && nothing {
            return Ok(Self {
                sent: true,
                ..Self::default()
            });
        }
        if !typed {
            details.add("Content-Type", "Must be application/json");
        }
        let body = match body {
            Err(Error::Invalid(wrong)) => {
                details.0.extend(wrong);
                return Ok(Self::default());
            }
            read => read?,
        };
        let mut object = details
            .check("body", Self::parse(&body))
            .unwrap_or_default();
        object.raw = body;
        Ok(object)
    }

    /// Whether an object without members was sent.
    pub fn is_empty(&self) -> bool {
        self.sent && self.members.is_empty()
    }

    fn parse(body: &[u8]) -> Result<Self, &'static str> {
        if body.is_empty() {
            return Err("The body must not be empty");
        }
        match serde_json::from_slice(body) {
            Ok(Members(members)) => Ok(Self {
                members,
                raw: Vec::new(),
                sent: true,
            }),
            // Another type than an object, but only if it is JSON to the end.
            Err(error) if error.is_data() && serde_json::from_slice::<IgnoredAny>(body).is_ok() => {
                Err("The body must be a JSON object")
            }
            Err(_) => Err("The body must be valid JSON"),
        }
    }

    /// Takes the member `name` and reads it with `parse`, noting what is wrong.
    pub fn optional<T, E: ToString>(
        &mut self,
        name: &str,
        details: &mut Details,
        parse: impl FnOnce(Value) -> Result<T, E>,
    ) -> Option<T> {
        let position = self.members.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.members.remove(position);
        let parsed = details.check(name, parse(value));
        while let Some(again) = self.members.iter().position(|(known, _)| known == name) {
            self.members.remove(again);
            if !details.0.iter().any(|detail| detail.field == name) {
                details.add(name, "Duplicate field");
            }
        }
        parsed
    }

    /// As [`Self::optional`], and notes when the member is missing.
    pub fn required<T, E: ToString>(
        &mut self,
        name: &str,
        details: &mut Details,
        parse: impl FnOnce(Value) -> Result<T, E>,
    ) -> Option<T> {
        if self.sent && !self.members.iter().any(|(known, _)| known == name) {
            details.add(name, "Required");
        }
        self.optional(name, details, parse)
    }

    /// Notes every member that was not taken, and returns the body as it was sent.
    pub fn finish(self, details: &mut Details) -> Vec<u8> {
        let mut noted: Vec<&str> = Vec::new();
        for (name, _) in &self.members {
            if !noted.contains(&name.as_str()) {
                noted.push(name);
                details.add(name, "Unknown field");
            }
        }
        self.raw
    }
}

/// Reads a body of at most `limit` bytes.
async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::BodyTooLarge),
        Err(_) => Err(Error::invalid("body", "The body could not be read")),
    }
}

/// `application/json`, with or without parameters (RFC 9110 §8.3.1).
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_json_object_is_a_body() {
        for (body, message) in [
            (&b""[..], "The body must not be empty"),
            (b"{", "The body must be valid JSON"),
            (b"{} {}", "The body must be valid JSON"),
            (b"[1,", "The body must be valid JSON"),
            (b"\xEF\xBB\xBF{}", "The body must be valid JSON"),
            (b"{\"a\":\"\xFF\"}", "The body must be valid JSON"),
            (b"[]", "The body must be a JSON object"),
            (b"null", "The body must be a JSON object"),
        ] {
            assert_eq!(Object::parse(body).unwrap_err(), message, "{body:?}");
        }
        let deep = [&b"{\"a\":"[..], &b"[".repeat(5000)].concat();
        assert_eq!(
            Object::parse(&deep).unwrap_err(),
            "The body must be valid JSON"
        );
    }

    #[test]
    fn duplicate_and_unknown_members_are_noted_once() {
        let mut object = Object::parse(br#"{"a":1,"x":1,"a":2,"y":1,"a":3,"x":2}"#).unwrap();
        let mut details = Details::default();
        let a = object.optional("a", &mut details, Ok::<Value, String>);
        object.finish(&mut details);
        assert_eq!(a, Some(Value::from(1)));
        let fields: Vec<_> = details
            .0
            .iter()
            .map(|d| (d.field.as_str(), d.message.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                ("a", "Duplicate field"),
                ("x", "Unknown field"),
                ("y", "Unknown field")
            ]
        );
    }
}
