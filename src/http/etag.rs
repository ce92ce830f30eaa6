//! Entity tags, and the conditions that requests make of them: so that two editors notice each
//! other, and that who reads again gets nothing that it has (RFC 9110 §8.8.3, §13).

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::Error;
use super::response::{self, Response};
use crate::fault::Fault;
use crate::json;

/// A strong entity tag: 32 hexadecimal digits in quotation marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag of a state: the start of the SHA-256 of its JSON.
    ///
    /// # Errors
    ///
    /// [`Fault::Internal`] when the state cannot be written as JSON.
    pub fn of(state: &impl Serialize) -> Result<Self, Fault> {
        let hash = Sha256::digest(json::write(state)?);
        let digits = base16ct::lower::encode_string(&hash[..16]);
        Ok(Self(format!("\"{digits}\"")))
    }

    /// The tag as headers have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The response with the tag.
    pub fn on(&self, mut response: Response) -> Response {
        if let Ok(tag) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }

    /// Evaluates the conditions of a request that changes what has this tag now.
    ///
    /// # Errors
    ///
    /// [`Error::PreconditionFailed`] when `If-Match` does not list the tag, or `If-None-Match` does.
    pub fn check_change(&self, headers: &HeaderMap) -> Result<(), Error> {
        self.check_match(headers)?;
        match self.is_listed(headers, &IF_NONE_MATCH, Comparison::Weak) {
            Some(true) => Err(Error::PreconditionFailed),
            Some(false) | None => Ok(()),
        }
    }

    /// The response to a request that reads what has this tag now, on its conditions: `body`, or 304
    /// when the client has it already.
    ///
    /// # Errors
    ///
    /// [`Error::PreconditionFailed`] when `If-Match` does not list the tag, and [`Fault::Internal`]
    /// when the body cannot be written.
    pub fn respond(&self, headers: &HeaderMap, body: &impl Serialize) -> Result<Response, Error> {
        // RFC 9110 §13.2.2: `If-Match` comes first.
        self.check_match(headers)?;
        let response = match self.is_listed(headers, &IF_NONE_MATCH, Comparison::Weak) {
            Some(true) => response::empty(StatusCode::NOT_MODIFIED),
            Some(false) | None => response::json(StatusCode::OK, body)?,
        };
        Ok(self.on(response))
    }

    fn check_match(&self, headers: &HeaderMap) -> Result<(), Error> {
        match self.is_listed(headers, &IF_MATCH, Comparison::Strong) {
            Some(false) => Err(Error::PreconditionFailed),
            Some(true) | None => Ok(()),
        }
    }

    /// Whether the header lists this tag, or is `*`; `None` when it was not sent.
    fn is_listed(
        &self,
        headers: &HeaderMap,
        name: &HeaderName,
        comparison: Comparison,
    ) -> Option<bool> {
        let fields: Vec<&[u8]> = headers
            .get_all(name)
            .iter()
            .map(|field| field.as_bytes().trim_ascii())
            .collect();
        match fields[..] {
            [] => None,
            // It counts as the whole field only.
            [b"*"] => Some(true),
            _ => Some(fields.into_iter().flat_map(members).any(|member| {
                let member = match comparison {
                    Comparison::Strong => member,
                    Comparison::Weak => member.strip_prefix(b"W/").unwrap_or(member),
                };
                member == self.0.as_bytes()
            })),
        }
    }
}

/// Whether the request has conditions.
pub fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH)
}

/// How tags are compared (RFC 9110 §8.8.3.2): to the strong comparison, `W/"x"` equals nothing.
enum Comparison {
    Strong,
    Weak,
}

/// The members of a list of entity tags. A comma may be part of a tag.
fn members(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let members = field.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    members.map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a change passes, and what a read is answered, where the header has these fields.
    fn evaluate(name: HeaderName, fields: &[&str]) -> (bool, Option<u16>) {
        let tag = EntityTag::of(&"resource").unwrap();
        let mut headers = HeaderMap::new();
        for field in fields {
            let field = field.replace("TAG", tag.as_str());
            headers.append(&name, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        let read = tag.respond(&headers, &"resource").ok();
        (
            tag.check_change(&headers).is_ok(),
            read.map(|response| response.status().as_u16()),
        )
    }

    #[test]
    fn if_match_takes_a_star_or_a_list_of_strong_tags() {
        for passes in [
            &[][..],
            &["*"],
            &["TAG"],
            &["\"other\", TAG"],
            &["\"other\"", "TAG"],
            &["\"other\" ,\tTAG,"],
            &["\"a,b\", TAG"],
            &["\"a\\\", TAG"],
            &["\"ü\", TAG"],
        ] {
            assert_eq!(evaluate(IF_MATCH, passes), (true, Some(200)), "{passes:?}");
        }
        for fails in [
            &[""][..],
            &["\"other\""],
            &["W/TAG"],
            &["other"],
            &["\"TAG\""],
        ] {
            assert_eq!(evaluate(IF_MATCH, fails), (false, None), "{fails:?}");
        }
    }

    #[test]
    fn a_star_within_a_tag_or_a_list_matches_nothing() {
        for list in [
            &["\"a,*,b\""][..],
            &["\"a\", *, \"b\""],
            &["*, \"a\""],
            &["*", "\"a\""],
            &["\"*\""],
            &["\"a,", "*"],
        ] {
            assert_eq!(evaluate(IF_MATCH, list), (false, None), "{list:?}");
            assert_eq!(evaluate(IF_NONE_MATCH, list), (true, Some(200)), "{list:?}");
        }
    }

    #[test]
    fn if_none_match_is_304_on_reads_and_fails_changes_where_it_lists_the_tag_weakly() {
        for lists in [&["*"][..], &["TAG"], &["W/TAG"], &["\"other\", W/TAG"]] {
            assert_eq!(
                evaluate(IF_NONE_MATCH, lists),
                (false, Some(304)),
                "{lists:?}"
            );
        }
        for other in [&["\"other\""][..], &["w/TAG"], &[""], &["W/\"other\""]] {
            assert_eq!(
                evaluate(IF_NONE_MATCH, other),
                (true, Some(200)),
                "{other:?}"
            );
        }
    }

    #[test]
    fn if_match_is_evaluated_before_if_none_match() {
        let tag = EntityTag::of(&"resource").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, HeaderValue::from_static("\"other\""));
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        assert_eq!(
            tag.respond(&headers, &"resource").err(),
            Some(Error::PreconditionFailed)
        );
    }
}
