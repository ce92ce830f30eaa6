//! The examples of each operation: the bodies that a client sends and gets, made from the schemas, and
//! put right where one operation's differs from what the schema says in general.

use serde_json::{Map, Value, json};

use super::{METHODS, object_mut};

/// The body that a client sends, where the schema's examples would make another: all that is optional, or
/// what switches something off.
fn request(operation: &str) -> Option<Value> {
    Some(match operation {
        "createApplication" => json!({"name": "Kadosei Shop"}),
        "updateApplication" => json!({"description": "The shop at kadosei.example.com"}),
        "createWebhook" => json!({"url": "https://merchant.example.com/hooks/kadosei"}),
        "updateWebhook" => {
            json!({"isActive": true, "subscribedEvents": ["session.completed", "session.expired"]})
        }
        "publishEvent" => json!({"type": "session.completed", "data": {"sessionId": "ses_8c1f"}}),
        "recoverDeliveries" => json!({"after": "2026-04-20T08:00:00.000Z"}),
        "receiveTestDelivery" => json!({"type": "webhook.test"}),
        "receiveEvent" => json!({"type": "session.completed", "data": {"sessionId": "ses_8c1f"}}),
        _ => return None,
    })
}

/// Of the body of an event's deliveries.
const SHA256: &str = "f3b1c8a05e7d42c69b0f3a8e1d5c7264a9e8f0b1c2d3e4f5061728394a5b6c7d";

/// The beginning of a proof.
const PROOF: &str =
    "eyJhbGciOiJFZERTQSIsInR5cCI6ImRlbGl2ZXJ5LXByb29mK2p3dCJ9.eyJpYXQiOjE3NzY2ODg0OTZ9.AAAA";

/// What differs in an attempt that succeeded.
fn attempt() -> Value {
    json!({
        "number": 1, "trigger": "schedule", "durationMs": 182,
        "url": "https://merchant.example.com/hooks/kadosei", "secretFingerprints": ["whsec_****a3f2"],
        "httpStatusCode": 204, "error": null, "responseBody": "", "responseBodyTruncated": false,
        "payloadOmitted": false,
        "retryAfterSeconds": null, "nextAttemptAt": null,
    })
}

/// What differs in its delivery.
fn delivery() -> Value {
    json!({
        "type": "session.completed", "status": "succeeded", "reason": null, "attemptCount": 1,
        "nextAttemptAt": null, "giveUpAt": "2026-01-18T13:15:00.000Z", "lastAttempt": attempt(),
    })
}

/// What differs in the body of an operation's success.
fn response(operation: &str) -> Option<Value> {
    Some(match operation {
        // Nobody has tested it.
        "createWebhook" => json!({"lastTestAt": null, "lastTestStatus": null}),
        // It succeeded.
        "testWebhook" => json!({"error": null, "errorDetail": null}),
        "verifyDelivery" => json!({"valid": false, "reasons": ["bodyReserialized"]}),
        "getDeliveryProof" => json!({"proof": PROOF}),
        "getLiveness" => json!({"status": "ok"}),
        "getReadiness" | "getDispatcherReadiness" => json!({"status": "ready"}),
        "publishEvent" => json!({
            "type": "session.completed", "deliverBefore": null, "sizeBytes": 98, "sha256": SHA256,
            "summary": {"pending": 1, "succeeded": 0, "failed": 0, "suppressed": 0, "expired": 0},
        }),
        "listEvents" => json!({
            "items": [{
                "type": "session.completed", "deliverBefore": null, "sizeBytes": 98, "sha256": SHA256,
                "summary": {"pending": 0, "succeeded": 1, "failed": 0, "suppressed": 0, "expired": 0},
            }],
        }),
        "listDeliveries" => json!({"items": [delivery()]}),
        "getDelivery" => {
            let mut delivery = delivery();
            delivery["attempts"] = json!([delivery["lastAttempt"]]);
            delivery
        }
        "resendDelivery" => {
            let mut attempt = attempt();
            attempt["number"] = json!(2);
            attempt["trigger"] = json!("resend");
            attempt
        }
        "recoverDeliveries" => recovery("running", 0),
        "getRecovery" => recovery("running", 600),
        "stopRecovery" => {
            let mut stopped = recovery("stopped", 600);
            stopped["reason"] = json!("requested");
            stopped["skipped"] = json!(650);
            stopped["skippedByReason"]["stopped"] = json!(650);
            stopped["completedAt"] = json!("2026-04-20T18:01:00.000Z");
            stopped
        }
        "getEvent" => json!({
            "type": "session.completed", "deliverBefore": null, "sizeBytes": 98, "sha256": SHA256,
            "summary": {"pending": 0, "succeeded": 1, "failed": 0, "suppressed": 0, "expired": 0},
            "data": {"sessionId": "ses_8c1f"},
            "deliveries": [delivery()],
        }),
        "getWebhookHealth" => json!({
            "state": "healthy", "disabledAt": null, "disabledReason": null, "failingSince": null,
            "willBeDisabledAt": null,
            "pending": {"oldestDueAt": null},
            "deliveries": {
                "byStatus": {"pending": 0, "succeeded": 1, "failed": 0, "suppressed": 0, "expired": 0},
            },
            "attempts": {
                "total": 1, "succeeded": 1, "failed": 0,
                "byStatusCode": [{"httpStatusCode": 200, "count": 1}], "byError": [],
            },
        }),
        _ => return None,
    })
}

/// A recovery of 1,250 deliveries, of which so many are queued.
fn recovery(status: &str, queued: u32) -> Value {
    json!({
        "status": status, "reason": null, "after": "2026-04-20T08:00:00.000Z",
        "before": "2026-04-20T18:00:00.000Z", "include": ["failed", "suppressed", "missing"],
        "types": null, "perMinute": 600, "matched": 1250, "queued": queued, "skipped": 0,
        "skippedByReason": {"succeeded": 0, "pending": 0, "expired": 0, "dataErased": 0,
            "eventDeleted": 0, "stopped": 0},
        "createdAt": "2026-04-20T18:00:00.000Z", "completedAt": null,
    })
}

/// Gives each body of a request, and of a success, its example.
pub fn add(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for item in ["paths", "webhooks"] {
        let items = object_mut(&mut document[item]).values_mut();
        for (_, operation) in items
            .flat_map(|item| object_mut(item).iter_mut())
            .filter(|(method, _)| METHODS.contains(&method.as_str()))
        {
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if let Some(body) = operation.get_mut("requestBody") {
                // A delivery's is whole; what clients send is what they have to say.
                let whole = item == "webhooks";
                for media in object_mut(&mut body["content"]).values_mut() {
                    let made = example(&schemas, &media["schema"]);
                    media["example"] = match request(&id) {
                        Some(body) if whole => merged(made, &body),
                        Some(body) => body,
                        None => made,
                    };
                }
            }
            for (status, response) in object_mut(&mut operation["responses"]) {
                let media = response.pointer_mut("/content/application~1json");
                let Some(media) = media.filter(|_| status.starts_with('2')) else {
                    continue;
                };
                let made = example(&schemas, &media["schema"]);
                // A dry run has another body than what it is one of.
                let differs = match (id.as_str(), status.as_str()) {
                    ("recoverDeliveries", "200") => None,
                    _ => self::response(&id),
                };
                media["example"] = match differs {
                    Some(differs) => merged(made, &differs),
                    None => made,
                };
            }
        }
    }
}

/// `value` with what differs: members of objects and items of lists one by one, all else as a whole.
fn merged(mut value: Value, differs: &Value) -> Value {
    match (&mut value, differs) {
        (Value::Object(members), Value::Object(differs)) => {
            for (name, differs) in differs {
                let before = members.get(name).cloned().unwrap_or_default();
                members.insert(name.clone(), merged(before, differs));
            }
            value
        }
        (Value::Array(items), Value::Array(differs)) if items.len() == differs.len() => {
            let pairs = items.drain(..).zip(differs);
            pairs.map(|(item, differs)| merged(item, differs)).collect()
        }
        _ => differs.clone(),
    }
}

/// An example of a schema: its own, or one of what it is made of.
pub fn example(schemas: &Value, schema: &Value) -> Value {
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return example.clone();
    }
    let constants = [
        schema.get("const"),
        schema.get("default"),
        schema["enum"].get(0),
    ];
    if let Some(constant) = constants.into_iter().flatten().next() {
        return constant.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return example(schemas, &schemas[name]);
    }
    if let Some(all) = schema["allOf"].as_array() {
        let mut members = Map::new();
        for part in all {
            if let Value::Object(part) = example(schemas, part) {
                members.extend(part);
            }
        }
        return members.into();
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(first) = schema[choice].get(0) {
            return example(schemas, first);
        }
    }
    let kind = schema["type"]
        .as_str()
        .or_else(|| schema["type"][0].as_str());
    match kind {
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let required = schema["required"].as_array();
            let is_shown = |name: &str| {
                required.is_none_or(|names| names.iter().any(|required| required == name))
            };
            properties
                .filter(|(name, _)| is_shown(name))
                .map(|(name, schema)| (name.clone(), example(schemas, schema)))
                .collect::<Map<_, _>>()
                .into()
        }
        Some("array") => json!([example(schemas, &schema["items"])]),
        Some("boolean") => json!(true),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(0)),
        Some("string") => json!("…"),
        _ => Value::Null,
    }
}
