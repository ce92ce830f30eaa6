//! The operator's event types in the document: where the handlers and the examples have the defaults, and
//! a delivery of its own for each.

use serde_json::{Value, json};

use super::object_mut;
use crate::model::event_catalogue::{CatalogueEntry, EventCatalogue};

/// The types that annotations and examples have.
const COMPLETED: &str = "session.completed";
const EXPIRED: &str = "session.expired";

/// How many names a description has at most.
const MAX_NAMED: usize = 12;

/// The tag of the deliveries.
const TAG: &str = "Event types";

/// Puts the types in.
pub fn add(document: &mut Value, catalogue: &EventCatalogue) {
    let Some(first) = catalogue.entries().first() else {
        return;
    };
    // One whose data are known makes the better example.
    let shown = catalogue
        .entries()
        .iter()
        .find(|entry| entry.data.is_some());
    let shown = shown.unwrap_or(first);
    let other = catalogue.entries().iter().find(|entry| *entry != shown);
    let names = Names {
        completed: shown,
        expired: other,
        all: sentence(catalogue, ", "),
        and: sentence(catalogue, " and "),
    };
    if catalogue
        .entries()
        .iter()
        .map(|entry| entry.name.as_str())
        .ne([COMPLETED, EXPIRED])
    {
        names.put_in(document);
    }
    add_deliveries(document, catalogue);
}

/// The names as code, the first [`MAX_NAMED`] of them, with `last` before the last one.
fn sentence(catalogue: &EventCatalogue, last: &str) -> String {
    let names = catalogue
        .entries()
        .iter()
        .map(|entry| format!("`{}`", entry.name.as_str()));
    let named: Vec<String> = names.take(MAX_NAMED).collect();
    let more = catalogue.entries().len() - named.len();
    match (&named[..], more) {
        ([before @ .., end], 0) if !before.is_empty() => {
            format!("{}{last}{end}", before.join(", "))
        }
        (_, 0) => named.concat(),
        (_, more) => format!("{} and {more} more", named.join(", ")),
    }
}

/// What takes the place of the defaults.
struct Names<'a> {
    completed: &'a CatalogueEntry,
    /// None: there is one type only.
    expired: Option<&'a CatalogueEntry>,
    all: String,
    and: String,
}

impl Names<'_> {
    fn put_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => {
                if self.expired.is_none() {
                    items.retain(|item| item != EXPIRED);
                }
                items.iter_mut().for_each(|item| self.put_in(item));
            }
            Value::Object(members) => {
                // An event, or what publishes one.
                let is_event = members.get("type").is_some_and(|name| name == COMPLETED);
                if let Some(data) = members.get_mut("data").filter(|_| is_event) {
                    *data = self.completed.data.clone().unwrap_or_default().into();
                }
                members.values_mut().for_each(|member| self.put_in(member));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let (completed, expired) = (
            self.completed.name.as_str(),
            self.expired.unwrap_or(self.completed).name.as_str(),
        );
        let quoted = |name: &str| (format!("`{name}`"), format!("\"{name}\""));
        let ((code, json), (shown_code, shown_json)) = (quoted(COMPLETED), quoted(completed));
        match text {
            COMPLETED => completed.to_owned(),
            EXPIRED => expired.to_owned(),
            text => text
                .replace(&format!("`{COMPLETED}`, `{EXPIRED}`"), &self.all)
                .replace(&format!("`{COMPLETED}` and `{EXPIRED}`"), &self.and)
                .replace(&code, &shown_code)
                .replace(&json, &shown_json),
        }
    }
}

/// A delivery for each type: the one of any event, with the type's own words and example.
fn add_deliveries(document: &mut Value, catalogue: &EventCatalogue) {
    let event = document["webhooks"]["event"].clone();
    assert!(event.is_object(), "no delivery of events");
    for entry in catalogue.entries() {
        let name = entry.name.as_str();
        let mut delivery = event.clone();
        let operation = &mut delivery["post"];
        operation["operationId"] = format!("receiveEvent.{name}").into();
        operation["tags"] = json!([TAG]);
        operation["summary"] = entry.title.as_deref().unwrap_or(name).into();
        let said = entry.description.as_deref().unwrap_or_default();
        operation["description"] = format!(
            "{said}{}An event of type `{name}`, to every webhook that is subscribed to it. Each is signed, \
             repeated and deduplicated as *Event* under *Deliveries* says.",
            if said.is_empty() { "" } else { "\n\n" }
        )
        .into();
        let media = &mut operation["requestBody"]["content"]["application/json"];
        let payload = media["schema"].take();
        media["schema"] = json!({
            "allOf": [payload, {"type": "object", "properties": {"type": {"const": name}}}],
        });
        // Without data of the type's own, those of another would mislead.
        media["example"] = entry.payload().unwrap_or_else(|| {
            let timestamp = media["example"]["timestamp"].clone();
            json!({"type": name, "timestamp": timestamp, "data": {}})
        });
        object_mut(&mut document["webhooks"]).insert(name.to_owned(), delivery);
    }
    let tags = document["tags"].as_array_mut().expect("tags");
    let place = tags.iter().position(|tag| tag["name"] == "Deliveries");
    let tag = json!({
        "name": TAG,
        "description": "What the platform publishes, with an example of each. A webhook subscribes to them by \
            name (`subscribedEvents`).",
    });
    tags.insert(place.map_or(tags.len(), |place| place + 1), tag);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the annotations make, in little.
    fn document() -> Value {
        json!({
            "info": {"description": "Events such as `session.completed`."},
            "tags": [{"name": "Events"}, {"name": "Deliveries"}, {"name": "Probes"}],
            "components": {"schemas": {
                "Subscribed": {
                    "description": "One of `session.completed`, `session.expired`, or more; by default \
                        `session.completed` and `session.expired`.",
                    "examples": ["session.completed", "session.expired"],
                },
                "Received": {"example": "{\"type\":\"session.completed\"}"},
            }},
            "paths": {"/events": {"post": {"example": {
                "type": "session.completed", "data": {"sessionId": "ses_8c1f"},
            }}}},
            "webhooks": {"event": {"post": {
                "operationId": "receiveEvent",
                "requestBody": {"content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Payload"},
                    "example": {"type": "session.completed", "timestamp": "t", "data": {"sessionId": "s"}},
                }}},
            }}},
        })
    }

    fn with(names: &str, details: &str) -> Value {
        let mut document = document();
        let catalogue = EventCatalogue::parse(Some(names), Some(details)).unwrap();
        add(&mut document, &catalogue);
        document
    }

    #[test]
    fn the_operators_types_take_the_place_of_the_defaults_everywhere() {
        let document = with(
            "payment.created,payment.failed,refund",
            r#"{"payment.failed": {"title": "Payment failed", "description": "No money.", "data": {"paymentId": 7}}}"#,
        );
        assert!(!document.to_string().contains("session."), "{document}");
        let schema = &document["components"]["schemas"]["Subscribed"];
        assert_eq!(
            schema["description"],
            "One of `payment.created`, `payment.failed`, `refund`, or more; by default `payment.created`, \
             `payment.failed` and `refund`."
        );
        // The one with an example comes first.
        assert_eq!(
            schema["examples"],
            json!(["payment.failed", "payment.created"])
        );
        let published = &document["paths"]["/events"]["post"]["example"];
        assert_eq!(
            *published,
            json!({"type": "payment.failed", "data": {"paymentId": 7}})
        );

        let failed = &document["webhooks"]["payment.failed"]["post"];
        assert_eq!(failed["summary"], "Payment failed");
        assert_eq!(failed["operationId"], "receiveEvent.payment.failed");
        assert_eq!(failed["tags"], json!(["Event types"]));
        let description = failed["description"].as_str().unwrap();
        assert!(
            description.starts_with("No money.\n\nAn event of type `payment.failed`,"),
            "{description}"
        );
        let media = &failed["requestBody"]["content"]["application/json"];
        assert_eq!(media["example"]["data"], json!({"paymentId": 7}));
        assert_eq!(
            media["schema"]["allOf"][1]["properties"]["type"]["const"],
            "payment.failed"
        );
        // Nothing is made up of a type that is only named.
        let refund = &document["webhooks"]["refund"]["post"];
        assert_eq!(refund["summary"], "refund");
        let media = &refund["requestBody"]["content"]["application/json"];
        assert_eq!(
            media["example"],
            json!({"type": "refund", "timestamp": "t", "data": {}})
        );
        let tags: Vec<_> = document["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| &tag["name"])
            .collect();
        assert_eq!(tags, ["Events", "Deliveries", "Event types", "Probes"]);
    }

    #[test]
    fn the_defaults_leave_the_document_as_it_is() {
        let mut document = document();
        add(&mut document, &EventCatalogue::default());
        let before = self::document();
        for part in ["info", "components", "paths"] {
            assert_eq!(document[part], before[part]);
        }
        let summary = &document["webhooks"]["session.expired"]["post"]["summary"];
        assert_eq!(summary, "Session expired");
    }

    #[test]
    fn a_single_type_is_named_once_and_of_many_the_first() {
        let document = with("only", "{}");
        let schema = &document["components"]["schemas"]["Subscribed"];
        assert_eq!(
            schema["description"],
            "One of `only`, or more; by default `only`."
        );
        assert_eq!(schema["examples"], json!(["only"]));
        let published = &document["paths"]["/events"]["post"]["example"];
        assert_eq!(*published, json!({"type": "only", "data": {}}));

        let many: Vec<_> = (0..40).map(|number| format!("t{number}")).collect();
        let document = with(&many.join(","), "{}");
        let description = &document["components"]["schemas"]["Subscribed"]["description"];
        let description = description.as_str().unwrap();
        assert!(
            description.contains("`t11` and 28 more, or more"),
            "{description}"
        );
        assert_eq!(document["webhooks"].as_object().unwrap().len(), 41);
    }
}
