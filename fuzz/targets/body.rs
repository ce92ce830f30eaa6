//! Request bodies: what is accepted is one JSON object, read as serde_json reads it, and nothing
//! of it goes unnoticed.
#![no_main]

use application_webhooks::http::body::{Body, MAX_BODY_BYTES};
use application_webhooks::http::details::Details;
use application_webhooks::http::object::Object;
use bytes::Bytes;
use futures::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|body: &[u8]| {
    let mut details = Details::default();
    let read = read(body, &mut details);
    if body.len() > MAX_BODY_BYTES {
        assert!(read.is_none(), "too large");
        return;
    }
    let mut object = read.expect("a body of a size that is read");
    let parsed = serde_json::from_slice::<Map<String, Value>>(body);
    let Ok(members) = parsed else {
        assert!(details.finish().is_err(), "accepted what is no object");
        return;
    };
    details.finish().expect("an object to be accepted");

    // Whoever knows no member is told of each.
    let mut details = Details::default();
    let unknown = self::read(body, &mut details).expect("as before");
    unknown.finish(&mut details);
    assert_eq!(details.finish().is_err(), !members.is_empty());

    // Whoever knows all of them finds each, and is told of those that come twice.
    let mut details = Details::default();
    let mut found = Map::new();
    for name in members.keys() {
        let value = object.required(name, &mut details, Ok::<Value, String>);
        found.insert(name.clone(), value.expect("a member that is there"));
    }
    let content = object.finish(&mut details);
    assert_eq!(content.sent, body, "the body as it was sent");
    if details.finish().is_ok() {
        assert_eq!(found, members);
        // And what was accepted is accepted again, and is the same.
        let again = serde_json::to_vec(&found).expect("JSON");
        assert_eq!(
            serde_json::from_slice::<Map<String, Value>>(&again).ok(),
            Some(found)
        );
    }
});

fn read(body: &[u8], details: &mut Details) -> Option<Object> {
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
    let body = Full::new(Bytes::copy_from_slice(body));
    let body = Body::new(body.map_err(|never| match never {}));
    let read = Object::read(&headers, body, details).now_or_never();
    read.expect("nobody to wait for").ok()
}
