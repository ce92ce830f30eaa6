//! Attempts: what goes to an endpoint, when it goes again, and what is recorded.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{completed, event_when, publish, subscribed};
use crate::support::receiver::answer;
use crate::support::server::SCHEDULE;
use crate::support::{Receiver, Server, exclusive};

on_both_databases! {
    an_event_is_delivered_signed_at_once_and_recorded
    attempts_follow_the_schedule_and_the_last_failure_is_the_deliverys
    a_retry_is_signed_with_the_secrets_and_goes_to_the_url_of_its_moment
    retry_after_puts_the_next_attempt_off_on_429_and_503_only
    a_redirect_and_a_410_are_failures_and_repeated
    each_failure_has_its_class
    a_head_that_does_not_come_in_fifteen_seconds_is_a_timeout
    an_answer_is_kept_up_to_4_kib_as_text
    a_2xx_whose_body_stalls_is_a_success
    what_is_not_delivered_by_its_time_expires
    deliveries_of_a_webhook_that_is_deleted_end
}

/// The attempts of an event's only delivery, as far as the last one says.
fn delivery(event: &Value) -> &Value {
    let deliveries = event["deliveries"].as_array().expect("deliveries");
    assert_eq!(deliveries.len(), 1, "{event}");
    &deliveries[0]
}

async fn an_event_is_delivered_signed_at_once_and_recorded(api: &Server) {
    let receiver = Receiver::answering("200 OK", b"thanks");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    let [sent] = &receiver.received()[..] else {
        panic!("{:?}", receiver.received());
    };
    assert_eq!(sent.line, "POST /hooks?from=test HTTP/1.1");
    assert_eq!(json!(sent.header("webhook-id")), published["id"]);
    assert!(sent.is_signed_with(&created.webhook.signing_secret));
    assert_eq!(sent.header("webhook-attempt"), "1");
    assert_eq!(sent.header("webhook-attempts-left"), "3");
    assert_eq!(sent.header("content-type"), "application/json");
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    assert_eq!(
        body,
        json!({
            "type": "session.completed",
            "timestamp": published["occurredAt"],
            "data": {"sessionId": "ses_1"},
        })
    );

    let delivery = delivery(&read);
    assert_eq!(delivery["eventId"], published["id"]);
    assert_eq!(delivery["webhookId"], json!(created.webhook.id));
    assert_eq!(delivery["status"], "succeeded");
    for absent in ["reason", "nextAttemptAt"] {
        assert_eq!(delivery[absent], Value::Null, "{delivery}");
    }
    assert_eq!(delivery["attemptCount"], 1);
    let attempt = &delivery["lastAttempt"];
    assert_eq!(attempt["number"], 1, "{attempt}");
    assert_eq!(attempt["trigger"], "schedule");
    assert_eq!(attempt["url"], json!(receiver.url()));
    assert_eq!(attempt["httpStatusCode"], 200);
    assert_eq!(attempt["responseBody"], "thanks");
    assert_eq!(attempt["responseBodyTruncated"], false);
    assert_eq!(attempt["error"], Value::Null);
    let fingerprints = json!([created.webhook.key_fingerprint]);
    assert_eq!(attempt["secretFingerprints"], fingerprints);
    assert_eq!(read["summary"]["succeeded"], 1);
}

/// Never earlier than written, at most a tenth later; the same bytes, signed anew.
async fn attempts_follow_the_schedule_and_the_last_failure_is_the_deliverys(api: &Server) {
    let _exclusive = exclusive().await;
    let receiver = Receiver::answering("500 No", b"no");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    let received = receiver.received();
    assert_eq!(received.len(), SCHEDULE.len());
    for (number, sent) in (1..).zip(&received) {
        assert!(sent.is_signed_with(&created.webhook.signing_secret));
        assert_eq!(sent.header("webhook-attempt"), number.to_string());
        let left = SCHEDULE.len() - number;
        assert_eq!(sent.header("webhook-attempts-left"), left.to_string());
        assert_eq!(sent.body, received[0].body);
        assert_eq!(json!(sent.header("webhook-id")), published["id"]);
    }
    for (pause, sent) in SCHEDULE[1..].iter().zip(received.windows(2)) {
        let waited = sent[1].at - sent[0].at;
        let pause = Duration::from_secs(*pause);
        // What the endpoint's answer and the record take is not the schedule's; without them,
        // `dispatch::tests` asks for the tenth.
        let latest = pause + pause / 10 + Duration::from_millis(500);
        assert!(pause <= waited && waited <= latest, "{pause:?}: {waited:?}");
    }
    let delivery = delivery(&read);
    assert_eq!(
        (&delivery["status"], &delivery["reason"]),
        (&json!("failed"), &json!("exhausted"))
    );
    assert_eq!(delivery["lastAttempt"]["error"], "httpStatus");
    assert_eq!(delivery["lastAttempt"]["nextAttemptAt"], Value::Null);
}

async fn a_retry_is_signed_with_the_secrets_and_goes_to_the_url_of_its_moment(api: &Server) {
    let failing = Receiver::answering("503 Later", b"");
    let (application, created) = subscribed(api, &failing.url()).await;
    let published = publish(api, &application).await;
    let has_failed = |event: &Value| event["deliveries"][0]["attemptCount"] == json!(1);
    event_when(api, &application, &published["id"], has_failed).await;

    let path = application.webhook_path(&created.webhook.id);
    let rotate = api.by(&application, "POST", &format!("{path}/rotate"));
    let rotated = rotate.json(&json!({})).expect(200).await.json();
    let newer = Receiver::answering("200 OK", b"");
    let patch = api.by(&application, "PATCH", &path);
    patch.json(&json!({"url": newer.url()})).expect(200).await;
    let read = completed(api, &application, &published["id"]).await;
    let sent = newer.last();
    assert_eq!(sent.signatures(), 2);
    let secret = rotated["signingSecret"].as_str().expect("a secret");
    assert!(sent.is_signed_with(secret));
    assert!(sent.is_signed_with(&created.webhook.signing_secret));
    let attempt = &delivery(&read)["lastAttempt"];
    assert_eq!(attempt["url"], json!(newer.url()));
    assert_eq!(
        attempt["secretFingerprints"],
        json!([rotated["keyFingerprint"], created.webhook.key_fingerprint])
    );
    assert!(failing.received().len() < SCHEDULE.len());
}

async fn retry_after_puts_the_next_attempt_off_on_429_and_503_only(api: &Server) {
    let later = |status: &str| {
        let head = format!("HTTP/1.1 {status}\r\nretry-after: 4\r\ncontent-length: 0\r\n\r\n");
        head.into_bytes()
    };
    let ok = answer("200 OK", b"");
    for (status, least, most) in [("429 Wait", 4, 5), ("503 Later", 4, 5), ("500 No", 1, 3)] {
        let receiver = Receiver::answering_in_turn(&[&later(status), &ok]);
        let (application, _) = subscribed(api, &receiver.url()).await;
        let published = publish(api, &application).await;
        let failed = |event: &Value| event["deliveries"][0]["lastAttempt"] != Value::Null;
        let read = event_when(api, &application, &published["id"], failed).await;
        assert_eq!(delivery(&read)["lastAttempt"]["retryAfterSeconds"], 4);
        completed(api, &application, &published["id"]).await;
        let received = receiver.received();
        let waited = received[1].at - received[0].at;
        assert!(waited >= Duration::from_secs(least), "{status}: {waited:?}");
        assert!(waited < Duration::from_secs(most), "{status}: {waited:?}");
    }
}

async fn a_redirect_and_a_410_are_failures_and_repeated(api: &Server) {
    let target = Receiver::answering("200 OK", b"");
    let redirect = format!(
        "HTTP/1.1 307 Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        target.url()
    );
    let gone = answer("410 Gone", b"");
    let ok = answer("204 None", b"");
    let receiver = Receiver::answering_in_turn(&[redirect.as_bytes(), &gone, &gone, &ok]);
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    assert_eq!(delivery(&read)["status"], "succeeded");
    assert_eq!(delivery(&read)["attemptCount"], 4);
    assert!(target.received().is_empty());
    // Two within a few seconds are a deploy, not an endpoint that is gone.
    let path = application.webhook_path(&created.webhook.id);
    let webhook = api.by(&application, "GET", &path).expect(200).await.json();
    assert_eq!(webhook["isActive"], true);
}

async fn each_failure_has_its_class(api: &Server) {
    let closed = crate::support::receiver::closed_port();
    let resetting = Receiver::resetting();
    let garbage = Receiver::sending(b"not HTTP\r\n\r\n".to_vec());
    for (url, error) in [
        ("https://no-such-name.example.com/".to_owned(), "dns"),
        (format!("http://{closed}/"), "connect"),
        (resetting.url().replace("http:", "https:"), "tls"),
        (resetting.url(), "protocol"),
        (garbage.url(), "protocol"),
    ] {
        let (application, _) = subscribed(api, &url).await;
        let published = publish(api, &application).await;
        let failed = |event: &Value| event["deliveries"][0]["lastAttempt"] != Value::Null;
        let read = event_when(api, &application, &published["id"], failed).await;
        let attempt = &delivery(&read)["lastAttempt"];
        assert_eq!(attempt["error"], error, "{url}: {attempt}");
        for absent in ["httpStatusCode", "responseBody"] {
            assert_eq!(attempt[absent], Value::Null, "{url}: {attempt}");
        }
    }
}

/// Neither a connection that is silent nor half a head is an answer.
async fn a_head_that_does_not_come_in_fifteen_seconds_is_a_timeout(api: &Server) {
    let silent = Receiver::hanging();
    let half = Receiver::hanging_after(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec());
    let timed_out = [&silent, &half].map(async |receiver| {
        let (application, _) = subscribed(api, &receiver.url()).await;
        let published = publish(api, &application).await;
        let failed = |event: &Value| event["deliveries"][0]["lastAttempt"] != Value::Null;
        let read = event_when(api, &application, &published["id"], failed).await;
        let attempt = &delivery(&read)["lastAttempt"];
        assert_eq!(attempt["error"], "timeout", "{attempt}");
        assert_eq!(attempt["httpStatusCode"], Value::Null, "{attempt}");
        let took = attempt["durationMs"].as_u64().expect("a duration");
        assert!((15_000..20_000).contains(&took), "{attempt}");
    });
    futures::future::join_all(timed_out).await;
}

async fn an_answer_is_kept_up_to_4_kib_as_text(api: &Server) {
    let mut body = b"a\xff\0b".to_vec();
    body.resize(5000, b'x');
    let receiver = Receiver::answering("200 OK", &body);
    let (application, _) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    let attempt = &delivery(&read)["lastAttempt"];
    let kept = attempt["responseBody"].as_str().expect("a body");
    assert!(kept.starts_with("a\u{fffd}\u{fffd}bxxx"), "{kept}");
    assert!(kept.len() <= 4096 && kept.len() > 4090, "{}", kept.len());
    assert_eq!(attempt["responseBodyTruncated"], true);
}

/// The head decides, and a body that never ends holds nothing up for long.
async fn a_2xx_whose_body_stalls_is_a_success(api: &Server) {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec();
    let receiver = Receiver::hanging_after(head);
    let (application, _) = subscribed(api, &receiver.url()).await;
    let since = Instant::now();
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    assert_eq!(delivery(&read)["status"], "succeeded");
    assert_eq!(delivery(&read)["lastAttempt"]["responseBody"], "half");
    assert!(since.elapsed() < Duration::from_secs(10));
    assert_eq!(receiver.received().len(), 1);
}

async fn what_is_not_delivered_by_its_time_expires(api: &Server) {
    let receiver = Receiver::answering("500 No", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    let event_until = |until: chrono::DateTime<chrono::Utc>| {
        let until = until.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        json!({"type": "session.completed", "data": {}, "deliverBefore": until})
    };
    let now = chrono::Utc::now;
    let past = event_until(now() - chrono::Duration::seconds(1));
    let published = api.publish(&application).json(&past).expect(202).await;
    let read = completed(api, &application, &published.json()["id"]).await;
    assert_eq!(delivery(&read)["status"], "expired");
    assert_eq!(receiver.received().len(), 0);

    let soon = event_until(now() + chrono::Duration::seconds(2));
    let published = api.publish(&application).json(&soon).expect(202).await;
    let read = completed(api, &application, &published.json()["id"]).await;
    assert_eq!(delivery(&read)["status"], "expired", "{read}");
    let attempts = receiver.received().len();
    assert!((1..SCHEDULE.len()).contains(&attempts), "{attempts}");
}

async fn deliveries_of_a_webhook_that_is_deleted_end(api: &Server) {
    let receiver = Receiver::answering("500 No", b"");
    let (application, created) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let path = application.webhook_path(&created.webhook.id);
    api.by(&application, "DELETE", &path).expect(204).await;
    let read = completed(api, &application, &published["id"]).await;
    assert_eq!(
        (&delivery(&read)["status"], &delivery(&read)["reason"]),
        (&json!("suppressed"), &json!("webhookDeleted"))
    );
    assert!(receiver.received().len() < SCHEDULE.len());
}
