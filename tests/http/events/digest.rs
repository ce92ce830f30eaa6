//! A day's events as numbers and hashes, which a merchant computes from what it received.

use std::io::Write;
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::{completed, publish, subscribed};
use crate::support::contract::{FORBIDDEN, NOT_FOUND};
use crate::support::tokens::{publisher, support};
use crate::support::{Application, Receiver, Server, python};

on_both_databases! {
    a_digest_is_what_a_receiver_computes
    a_digest_is_of_one_day_and_read_by_who_may
}

/// What a merchant does with the requests that it received: lines of `webhook-id`, type and body, the
/// latter in base64.
const PROGRAM: &str = r#"
import base64, hashlib, json, sys
types = {}
for line in sys.stdin:
    id, body = line.split()
    body = base64.b64decode(body)
    types.setdefault(json.loads(body)["type"], {})[id] = hashlib.sha256(body).hexdigest()
print(json.dumps([
    {
        "type": type,
        "count": len(events),
        "sha256": hashlib.sha256(
            "".join(f"{id} {events[id]}\n" for id in sorted(events)).encode()
        ).hexdigest(),
    }
    for type, events in sorted(types.items())
]))
"#;

/// What Python computes of these lines.
fn computed(lines: &str) -> Value {
    let mut program = Command::new(python())
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut input = program.stdin.take().expect("piped");
    input.write_all(lines.as_bytes()).expect("Python reads");
    drop(input);
    let output = program.wait_with_output().expect("Python ends");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn path(application: &Application, day: &str) -> String {
    format!("{}/digest?day={day}", application.events_path())
}

/// The day of an event.
fn day_of(event: &Value) -> String {
    let created = event["createdAt"].as_str().expect("a time");
    created[..10].to_owned()
}

async fn a_digest_is_what_a_receiver_computes(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    let mut published = Vec::new();
    for number in 0..7 {
        let event_type = ["session.completed", "session.expired"][usize::from(number % 3 == 0)];
        let body = json!({"type": event_type, "data": {"number": number, "name": "é"}});
        let request = api.publish(&application).json(&body);
        published.push(request.expect(202).await.json());
    }
    let day = day_of(&published[0]);
    if day_of(&published[6]) != day {
        // It is midnight: what was received is of two days.
        return;
    }
    for event in &published {
        completed(api, &application, &event["id"]).await;
    }
    let lines: Vec<_> = receiver
        .received()
        .iter()
        .map(|sent| {
            let body = Base64::encode_string(&sent.body);
            format!("{} {body}\n", sent.header("webhook-id"))
        })
        .collect();
    let expected = computed(&lines.concat());
    assert_eq!(expected[0]["count"], 4, "{expected}");
    let path = path(&application, &day);
    let get = async |token: &str| {
        let request = api.request("GET", &path).token(token);
        request.expect(200).await.json()
    };
    let digest = get(&application.token()).await;
    assert_eq!(digest["types"], expected);
    assert_eq!(digest["day"], json!(day));
    assert_eq!(digest["isComplete"], false, "the day is not over");
    assert_eq!(get(&support()).await, digest);

    // The data go, and the hash stays.
    let id = published[0]["id"].as_str().expect("an id");
    let data = format!("{}/{id}/data", application.events_path());
    api.by(&application, "DELETE", &data).expect(204).await;
    assert_eq!(get(&application.token()).await, digest);
    // One event more is another hash.
    publish(api, &application).await;
    let more = get(&application.token()).await;
    assert_eq!(more["types"][0]["count"], 5);
    assert_ne!(more["types"][0]["sha256"], digest["types"][0]["sha256"]);
    assert_eq!(more["types"][1], digest["types"][1]);
}

async fn a_digest_is_of_one_day_and_read_by_who_may(api: &Server) {
    let application = api.application();
    let published = publish(api, &application).await;
    let today = chrono::NaiveDate::parse_from_str(&day_of(&published), "%Y-%m-%d").expect("a day");
    for (days, is_complete) in [(-1, true), (1, false), (-40, false)] {
        let day = today + chrono::Duration::days(days);
        let request = api.by(&application, "GET", &path(&application, &day.to_string()));
        let digest = request.expect(200).await.json();
        assert_eq!(digest["types"], json!([]), "{digest}");
        let now = chrono::Utc::now().time();
        let is_just_over = now < chrono::NaiveTime::from_hms_opt(0, 6, 0).expect("a time");
        if !is_just_over {
            // Yesterday is over; after 40 days events are deleted.
            assert_eq!(digest["isComplete"], is_complete, "{digest}");
        }
    }
    for wrong in ["", "2026-02-30", "2026-1-1", "2026-01-15T00:00:00Z"] {
        let request = api.by(&application, "GET", &path(&application, wrong));
        let message = "Must be a day, such as 2026-11-25";
        request.expect_bad_request(&[("day", message)]).await;
    }
    let bare = format!("{}/digest", application.events_path());
    let message = "Is required, such as 2026-11-25";
    let request = api.by(&application, "GET", &bare);
    request.expect_bad_request(&[("day", message)]).await;

    let today = path(&application, &today.to_string());
    let other = api.application();
    for token in [publisher(), other.token()] {
        let request = api.request("GET", &today).token(&token);
        request.expect_error(FORBIDDEN).await;
    }
    let nobody = Application::new();
    let request = api.by(&nobody, "GET", &path(&nobody, "2026-01-15"));
    request.expect_error(NOT_FOUND).await;
}
