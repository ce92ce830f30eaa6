//! JSON objects that requests send, read strictly.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::body::{Body, Kind, MAX_BODY_BYTES, collect, is_encoded};
use super::details::Details;
use super::error::Error;
use super::members::Members;
use crate::fault::Fault;
use crate::model::content::Content;
use crate::model::time::Timestamp;

/// The members of a JSON object, in the order and with the repetitions in which they were sent.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: Vec<(String, Value)>,
    content: Content,
    /// Whether there was an object at all. If not, that was noted, and missing members are not.
    sent: bool,
}

impl Object {
    /// Reads the request's body, noting what is wrong with it.
    ///
    /// # Errors
    ///
    /// [`Error::BodyTooLarge`], [`Error::BodyEncoded`], [`Error::BodyTimeout`].
    pub async fn read(
        headers: &HeaderMap,
        body: Body,
        details: &mut Details,
    ) -> Result<Self, Error> {
        Self::read_as(Kind::Json, MAX_BODY_BYTES, headers, body, details).await
    }

    /// As [`Self::read`], and takes a body of up to `limit` bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    pub async fn read_up_to(
        limit: usize,
        headers: &HeaderMap,
        body: Body,
        details: &mut Details,
    ) -> Result<Self, Error> {
        Self::read_as(Kind::Json, limit, headers, body, details).await
    }

    /// As [`Self::read`], and takes no body at all for `{}`.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    pub async fn read_optional(
        headers: &HeaderMap,
        body: Body,
        details: &mut Details,
    ) -> Result<Self, Error> {
        Self::read_as(Kind::OptionalJson, MAX_BODY_BYTES, headers, body, details).await
    }

    /// As [`Self::read`], and takes a JSON merge patch too, which is what a change is (RFC 7396).
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    pub async fn read_change(
        headers: &HeaderMap,
        body: Body,
        details: &mut Details,
    ) -> Result<Self, Error> {
        Self::read_as(Kind::MergePatch, MAX_BODY_BYTES, headers, body, details).await
    }

    async fn read_as(
        kind: Kind,
        limit: usize,
        headers: &HeaderMap,
        body: Body,
        details: &mut Details,
    ) -> Result<Self, Error> {
        let declared = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > limit as u64) {
            return Err(Error::BodyTooLarge { limit });
        }
        if is_encoded(headers) {
            return Err(Error::BodyEncoded);
        }
        let body = collect(body, limit).await;
        let nothing = body.as_ref().is_ok_and(Vec::is_empty);
        if kind == Kind::OptionalJson && nothing {
            return Ok(Self {
                sent: true,
                content: content(body?, &[])?,
                ..Self::default()
            });
        }
        kind.check(headers, details);
        let body = match body {
            Err(Error::Invalid(wrong)) => {
                for detail in wrong {
                    details.add(&detail.field, detail.message);
                }
                return Ok(Self::default());
            }
            read => read?,
        };
        let mut object = details
            .check("body", Self::parse(&body))
            .unwrap_or_default();
        object.content = content(body, &object.members)?;
        Ok(object)
    }

    /// Whether an object without members was sent.
    pub fn is_empty(&self) -> bool {
        self.sent && self.members.is_empty()
    }

    fn parse(body: &[u8]) -> Result<Self, String> {
        if body.is_empty() {
            return Err("The body must not be empty".to_owned());
        }
        let error = match serde_json::from_slice(body) {
            Ok(Members(members)) => {
                return Ok(Self {
                    members,
                    sent: true,
                    ..Self::default()
                });
            }
            // Another type than an object, but only if it is JSON to the end.
            Err(error) if error.is_data() => serde_json::from_slice::<IgnoredAny>(body).err(),
            Err(error) => Some(error),
        };
        // What is wrong with the syntax, and at which line and column; nothing of the body.
        Err(match error {
            Some(error) => format!("The body must be valid JSON: {error}"),
            None => "The body must be a JSON object".to_owned(),
        })
    }

    /// Whether one of these members was sent and not taken yet.
    pub fn has(&self, names: &[&str]) -> bool {
        let mut members = self.members.iter();
        members.any(|(name, _)| names.contains(&name.as_str()))
    }

    /// Takes out these members.
    pub fn ignore(&mut self, names: &[&str]) {
        self.members
            .retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Takes out the members that say what `resource`, as responses show it, says already. What is
    /// sent twice stays. A read-only time may be spelled in another way: many clients read times
    /// and write them back in their own.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] when the resource is no JSON object.
    pub fn drop_unchanged(
        &mut self,
        resource: &impl Serialize,
        read_only: &[&str],
    ) -> Result<(), Error> {
        let Ok(Value::Object(resource)) = serde_json::to_value(resource) else {
            return Err(Fault::Internal("a resource is no JSON object".to_owned()).into());
        };
        let moment = |value: &Value| serde_json::from_value::<Timestamp>(value.clone()).ok();
        let mut times = BTreeMap::<String, usize>::new();
        for (name, _) in &self.members {
            *times.entry(name.clone()).or_default() += 1;
        }
        self.members.retain(|(name, value)| {
            let same = resource.get(name).is_some_and(|shown| {
                shown == value
                    || (read_only.contains(&name.as_str())
                        && moment(shown).is_some_and(|shown| moment(value) == Some(shown)))
            });
            times[name] > 1 || !same
        });
        Ok(())
    }

    /// Takes the member `name` and reads it with `parse`, noting what is wrong.
    pub fn optional<T, E: ToString>(
        &mut self,
        name: &str,
        details: &mut Details,
        parse: impl FnOnce(Value) -> Result<T, E>,
    ) -> Option<T> {
        let mut named = self.members.extract_if(.., |(known, _)| known == name);
        let (_, value) = named.next()?;
        let is_repeated = named.count() > 0;
        let parsed = details.check(name, parse(value));
        if is_repeated && !details.has(&[name]) {
            details.add(name, "Duplicate field");
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

    /// Notes every member that was not taken, and returns the body.
    pub fn finish(self, details: &mut Details) -> Content {
        self.finish_change(&[], details)
    }

    /// As [`Self::finish`], and says of these members that they cannot be changed.
    pub fn finish_change(self, read_only: &[&str], details: &mut Details) -> Content {
        let mut noted = BTreeSet::new();
        for (name, _) in &self.members {
            if noted.insert(name) {
                let known = read_only.contains(&name.as_str());
                details.add(
                    name,
                    if known {
                        "Read-only field"
                    } else {
                        "Unknown field"
                    },
                );
            }
        }
        self.content
    }
}

fn content(sent: Vec<u8>, members: &[(String, Value)]) -> Result<Content, Fault> {
    let content = Content::of(sent, members);
    content.map_err(|_| Fault::Internal("a body cannot be written as JSON".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::details::MAX_DETAILS;
    use super::*;

    #[test]
    fn only_a_json_object_is_a_body() {
        for (body, message) in [
            (&b""[..], "The body must not be empty"),
            (b"[]", "The body must be a JSON object"),
            (b"null", "The body must be a JSON object"),
        ] {
            assert_eq!(Object::parse(body).unwrap_err(), message, "{body:?}");
        }
    }

    #[test]
    fn broken_json_is_named_with_its_line_and_column() {
        for (body, line, column) in [
            (&b"{"[..], 1, 1),
            (b"{} {}", 1, 4),
            (b"[1,", 1, 3),
            (b"{\n  \"a\": 1,\n}", 3, 1),
            (b"\xEF\xBB\xBF{}", 1, 1),
            (b"{\"a\":\"\xFF\"}", 1, 7),
            (&[&b"{\"a\":"[..], &b"[".repeat(5000)].concat(), 1, 132),
        ] {
            let message = Object::parse(body).unwrap_err();
            let shown = String::from_utf8_lossy(&body[..body.len().min(20)]);
            assert!(
                message.starts_with("The body must be valid JSON: ")
                    && message.ends_with(&format!(" at line {line} column {column}")),
                "{shown}: {message}"
            );
        }
    }

    /// 16 KiB of members of one letter were 120 KB of errors, found in quadratic time.
    #[test]
    fn at_most_32_wrong_members_are_named() {
        for name in ["x", "a"] {
            let members: Vec<String> = (0..3_000)
                .map(|number| match name {
                    "a" => r#""a":0"#.to_owned(),
                    other => format!(r#""{other}{number}":0"#),
                })
                .collect();
            let body = format!("{{{}}}", members.join(","));
            let mut object = Object::parse(body.as_bytes()).unwrap();
            let mut details = Details::default();
            object.optional("a", &mut details, Ok::<Value, String>);
            object.finish(&mut details);
            assert_eq!(details.0.len(), if name == "a" { 1 } else { MAX_DETAILS });
        }
    }

    #[test]
    fn members_that_say_what_the_resource_says_are_no_change() {
        let resource = serde_json::json!({
            "id": "1", "createdAt": "2026-01-15T08:00:00.000Z", "url": "u", "lastTestAt": null,
        });
        let left = |body: &str| {
            let mut object = Object::parse(body.as_bytes()).unwrap();
            object
                .drop_unchanged(&resource, &["id", "createdAt", "lastTestAt"])
                .unwrap();
            object
                .members
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        let same =
            r#"{"id":"1","createdAt":"2026-01-15T09:00:00+01:00","url":"u","lastTestAt":null}"#;
        assert_eq!(left(same), [""; 0]);
        let other =
            r#"{"id":"2","createdAt":"2026-01-15T08:00:00.001Z","lastTestAt":"","more":null}"#;
        assert_eq!(left(other), ["id", "createdAt", "lastTestAt", "more"]);
        assert_eq!(left(r#"{"id":"1","id":"1"}"#), ["id", "id"]);
    }

    #[test]
    fn bodies_that_mean_the_same_have_one_canonical_form() {
        let canonical = |body: &str| {
            let members = Object::parse(body.as_bytes()).unwrap().members;
            let content = Content::of(body.as_bytes().to_owned(), &members).unwrap();
            String::from_utf8(content.canonical).unwrap()
        };
        for same in [
            r#"{"a":"é/","b":[1,{"c":1,"d":2}],"e":600}"#,
            r#"{"e":600.0,"b":[1.0,{"d":2,"c":1}],"a":"\u00e9\/"}"#,
            "{ \"b\" : [ 1 , {\"d\":2e0,\"c\":1} ] ,\n\"a\":\"é/\",\"e\":6e2,\"f\":null}",
        ] {
            assert_eq!(
                canonical(same),
                r#"{"a":"é/","b":[1,{"c":1,"d":2}],"e":600}"#
            );
        }
        assert_eq!(canonical("{}"), "{}");
        let others = [
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[1.5,2]}"#,
            r#"{"a":["1",2]}"#,
            r#"{"a":[1,null]}"#,
            r#"{"A":[1,2]}"#,
        ];
        let distinct: std::collections::HashSet<_> = others.map(canonical).into();
        assert_eq!(distinct.len(), others.len());
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
