//! The OpenAPI document as it is served: what the handlers say (`openapi.rs`, made when `reference/` is
//! built), completed with the operator's event types, and with the examples and the code that follow from them.
//!
//! No annotations in here: the component makes this part itself where the operator has types of its own.

mod event_types;
mod examples;
mod samples;

use serde_json::{Map, Value};

use crate::model::event_catalogue::EventCatalogue;

/// The members of a path that are operations.
pub(crate) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Completes the document that the handlers make: an example of each body, the catalogue's event types, and
/// each operation's code in five languages.
///
/// # Panics
///
/// When the document has another form than `openapi::base` makes.
pub fn complete(document: &mut Value, catalogue: &EventCatalogue) {
    examples::add(document);
    event_types::add(document, catalogue);
    samples::add(document);
}

/// The members of an object.
pub(crate) fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("an object")
}
