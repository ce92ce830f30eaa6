//! Tests of recordings.

use serde_json::json;

use super::*;

fn seen(op: &str, key: &str, bytes: Option<usize>, times: (u64, u64), after: bool) -> Value {
    json!({"op": op, "key": key, "bytes": bytes, "afterResponse": after,
        "beganUs": times.0, "endedUs": times.1})
}

fn exchange_of(seen: Vec<Value>) -> Exchange {
    Exchange {
        status: 201,
        headers: Vec::new(),
        body: r#"{"id":"made"}"#.to_owned(),
        seen: serde_json::from_value(Value::Array(seen)).expect("operations"),
    }
}

fn create() -> Exchange {
    exchange_of(vec![
        seen("get", "application/a-0", Some(20), (10, 90), false),
        seen("get", "webhooks/a-0", Some(41), (11, 80), false),
        seen("set", "webhook/a-0/made", Some(400), (100, 900), false),
        seen("set", "webhooks/a-0", Some(80), (950, 1500), false),
        seen("get", "webhooks/a-0", Some(80), (76_600, 76_700), true),
        seen("get", "webhooks/a-0", Some(80), (226_700, 226_800), true),
    ])
}

#[test]
fn a_recording_has_the_order_the_sizes_and_the_pauses_and_names_no_application_and_no_id() {
    let step = |operation, key: &str, after, pause_ms| Step {
        operation,
        key: key.to_owned(),
        after,
        pause_ms,
    };
    let written = |bytes, growth| Operation::Set { bytes, growth };
    let recording = create().recording("a-0").expect("a recording");
    assert_eq!(
        recording.steps,
        [
            step(Operation::Get, "application/{application}", 0, 0),
            step(Operation::Get, "webhooks/{application}", 0, 0),
            step(written(400, None), "webhook/{application}/{new}", 2, 0),
            step(written(80, Some(39)), "webhooks/{application}", 3, 0),
        ]
    );
    assert_eq!(
        recording.afterwards,
        [
            step(Operation::Get, "webhooks/{application}", 0, 75),
            step(Operation::Get, "webhooks/{application}", 1, 150),
        ]
    );
}

/// A replay of it would seem to be over before.
#[test]
fn a_recording_ends_before_a_look_that_comes_late() {
    let look = |at: u64| seen("get", "webhooks/a-0", Some(80), (at, at + 100), true);
    let mut create = create();
    let later = [look(1_226_800), look(3_326_900), look(3_400_000)];
    let later: Vec<Seen> = serde_json::from_value(json!(later)).expect("operations");
    create.seen.extend(later);
    let recording = create.recording("a-0").expect("a recording");
    let pauses: Vec<u64> = recording.afterwards.iter().map(|it| it.pause_ms).collect();
    assert_eq!(pauses, [75, 150, 1000]);
}

#[test]
fn a_publish_is_recorded_with_its_statements_and_requests_and_names_no_event() {
    let id = "evt_019abd5a6f407c2e8d3b9f0a1b2c3d4e";
    let mut statement = seen("sql", "publish", None, (10, 20), false);
    let parameters = json!([id, null, 7, "events-0", format!("[{{\"event\":\"{id}\"}}]")]);
    statement["detail"] = json!({"sql": "/* publish */ INSERT", "parameters": parameters});
    // It began before the response was written.
    let mut request = seen(
        "http",
        "http://127.0.0.1:1/?of=events-0",
        None,
        (2030, 3000),
        false,
    );
    let headers = json!([["host", "127.0.0.1:1"], ["webhook-id", id]]);
    request["detail"] = json!({"method": "POST", "headers": headers, "body": "{}"});
    let exchange = Exchange {
        status: 202,
        headers: Vec::new(),
        body: json!({ "id": id }).to_string(),
        seen: serde_json::from_value(json!([statement, request])).expect("operations"),
    };
    let recording = exchange.recording("events-0").expect("a recording");
    let text = |text: &str| Parameter::Text(text.to_owned());
    assert_eq!(
        recording.steps[0].operation,
        Operation::Statement {
            sql: "/* publish */ INSERT".to_owned(),
            parameters: vec![
                text("{event}"),
                Parameter::Null,
                Parameter::Integer(7),
                text("{application}"),
                text(r#"[{"event":"{event}"}]"#),
            ],
        }
    );
    let [request] = &recording.afterwards[..] else {
        panic!("{:?}", recording.afterwards);
    };
    assert_eq!(
        (request.key.as_str(), request.pause_ms),
        ("http://127.0.0.1:1/?of={application}", 2)
    );
    assert_eq!(
        request.operation,
        Operation::Request {
            method: "POST".to_owned(),
            headers: vec![("webhook-id".to_owned(), "{event}".to_owned())],
            body: "{}".to_owned(),
        }
    );
}

#[test]
fn a_stand_in_that_does_anything_else_is_found_out() {
    let recording = create().recording("a-0").expect("a recording");
    let replayed = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut operations = vec![
            // Side by side, these two may change places; another application, another id.
            seen("get", "webhooks/a-1", Some(41), (1, 2), false),
            seen("get", "application/a-1", Some(20), (1, 2), false),
            seen("set", "webhook/a-1/other", Some(400), (3, 4), false),
            seen("set", "webhooks/a-1", Some(119), (5, 6), false),
            seen("get", "webhooks/a-1", Some(119), (7, 8), true),
            seen("get", "webhooks/a-1", Some(119), (9, 10), true),
        ];
        change(&mut operations);
        check(&recording, &exchange_of(operations), "a-1")
    };
    replayed(&|_| {}).expect("the same");
    replayed(&|it| drop(it.remove(3))).expect_err("one is missing");
    replayed(&|it| it.push(it[0].clone())).expect_err("one too many");
    replayed(&|it| it[2]["bytes"] = json!(399)).expect_err("a smaller value");
    replayed(&|it| it[1]["key"] = json!("application/a-2")).expect_err("another key");
}
