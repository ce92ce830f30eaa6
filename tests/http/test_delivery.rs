//! Test deliveries: what goes to the endpoint, and what comes back of it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Application, Receiver, delivering};

/// A webhook of this URL.
async fn webhook(url: &str) -> (Application, String) {
    let application = delivering().application();
    let created = delivering()
        .create(&application)
        .url(url)
        .expect_created()
        .await;
    let path = application.webhook_path(&created.webhook.id);
    (application, path)
}

async fn test(application: &Application, path: &str) -> Value {
    let path = format!("{path}/test");
    delivering()
        .by(application, "POST", &path)
        .expect(200)
        .await
        .json()
}

async fn result_of(receiver: &Receiver) -> Value {
    let (application, path) = webhook(&receiver.url()).await;
    test(&application, &path).await
}

#[tokio::test]
async fn the_event_is_signed_named_and_carries_no_cookies() {
    let receiver = Receiver::answering("200 OK", b"thanks");
    let (application, path) = webhook(&receiver.url()).await;
    let result = test(&application, &path).await;
    let sent = receiver.last();

    assert_eq!(sent.line, "POST /hooks?from=test HTTP/1.1");
    assert_eq!(sent.header("content-type"), "application/json");
    let agent = sent.header("user-agent");
    assert_eq!(
        agent,
        concat!("application-webhooks/", env!("CARGO_PKG_VERSION"))
    );
    for absent in ["cookie", "authorization", "referer"] {
        assert!(sent.headers.get(absent).is_none(), "{absent}");
    }
    assert!(sent.header("webhook-id").starts_with("msg_"));
    assert!(sent.header("webhook-timestamp").parse::<i64>().is_ok());
    let at = result["deliveredAt"].as_str().expect("a time");
    let (app, id) = (&application.id, path.rsplit('/').next().expect("an id"));
    let body = format!(
        r#"{{"type":"webhook.test","timestamp":"{at}","data":{{"applicationId":"{app}","webhookId":"{id}"}}}}"#
    );
    assert_eq!(String::from_utf8_lossy(&sent.body), body);
    test(&application, &path).await;
    assert_ne!(
        receiver.last().header("webhook-id"),
        sent.header("webhook-id")
    );
}

#[tokio::test]
async fn any_2xx_is_a_success_and_any_other_status_is_a_failure() {
    for (status, code, success) in [
        ("200 OK", 200, true),
        ("202 Accepted", 202, true),
        ("299 Fine", 299, true),
        ("300 Choose", 300, false),
        ("404 Not Found", 404, false),
        ("500 Broken", 500, false),
    ] {
        let result = result_of(&Receiver::answering(status, b"body")).await;
        assert_eq!(result["success"], success, "{status}");
        assert_eq!(result["httpStatusCode"], code);
        assert_eq!(result["responseBody"], "body");
        assert!(result["latencyMs"].is_u64());
        assert_eq!(result.as_object().map(|result| result.len()), Some(5));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Receiver::answering("200 OK", b"");
    let answer = format!(
        "HTTP/1.1 307 Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        target.url()
    );
    let result = result_of(&Receiver::sending(answer.into_bytes())).await;

    assert_eq!(
        (&result["success"], &result["httpStatusCode"]),
        (&json!(false), &json!(307))
    );
    assert!(target.received().is_empty());
}

#[tokio::test]
async fn the_answer_is_shown_up_to_1024_characters_whatever_its_bytes_are() {
    let long = "ü".repeat(1100);
    let result = result_of(&Receiver::answering("200 OK", long.as_bytes())).await;
    assert_eq!(result["responseBody"], "ü".repeat(1024));

    let huge = vec![b'x'; 1024 * 1024];
    let result = result_of(&Receiver::answering("200 OK", &huge)).await;
    assert_eq!(result["success"], true);
    assert_eq!(result["responseBody"], "x".repeat(1024));

    let result = result_of(&Receiver::answering("200 OK", b"a\xff\0b")).await;
    assert_eq!(result["responseBody"], "a\u{fffd}\0b");
}

#[tokio::test]
async fn no_more_than_64_kib_of_the_answer_are_read() {
    let hanging_after = |bytes: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + bytes, b'x');
        Receiver::hanging_after(answer)
    };
    let result = result_of(&hanging_after(64 * 1024)).await;
    assert_eq!(result["success"], true);
    assert_eq!(result["responseBody"], "x".repeat(1024));
    let result = result_of(&hanging_after(64 * 1024 - 1)).await;
    assert_eq!(result["success"], false);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_or_breaks_off_is_a_failure_of_its_own() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .and_then(|it| it.local_addr())
        .expect("a port");
    let (application, path) = webhook(&format!("http://{gone}/")).await;
    let result = test(&application, &path).await;
    assert_eq!(result["success"], false);
    assert_eq!(
        (&result["httpStatusCode"], &result["responseBody"]),
        (&json!(null), &json!(null))
    );

    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec();
    let result = result_of(&Receiver::sending(cut)).await;
    assert_eq!(result["success"], false);
    assert_eq!(result["httpStatusCode"], 200);
    let result = result_of(&Receiver::sending(b"not HTTP\r\n\r\n".to_vec())).await;
    assert_eq!(
        (&result["success"], &result["httpStatusCode"]),
        (&json!(false), &json!(null))
    );
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up_after_ten_seconds() {
    let (application, path) = webhook(&Receiver::hanging().url()).await;
    let since = Instant::now();
    let result = test(&application, &path).await;

    assert_eq!(
        (&result["success"], &result["httpStatusCode"]),
        (&json!(false), &json!(null))
    );
    let latency = result["latencyMs"].as_u64().expect("milliseconds");
    assert!(latency >= 10_000, "{latency}");
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn the_last_test_is_shown_and_an_inactive_webhook_is_tested_too() {
    let api = delivering();
    let (application, path) = webhook(&Receiver::answering("204 None", b"").url()).await;
    let before = api.by(&application, "GET", &path).expect(200).await.json();
    let patch = |body: Value| api.by(&application, "PATCH", &path).json(&body).expect(200);
    let inactive = patch(json!({"isActive": false})).await.json();
    let result = test(&application, &path).await;
    assert_eq!(result["success"], true);
    let mut expected = inactive;
    expected["lastTestAt"] = result["deliveredAt"].clone();
    expected["lastTestStatus"] = json!("SUCCEEDED");
    let tested = api.by(&application, "GET", &path).expect(200).await.json();
    assert_eq!(tested, expected);
    assert_eq!(before["lastTestAt"], json!(null));

    patch(json!({"url": Receiver::answering("500 No", b"").url()})).await;
    let result = test(&application, &path).await;
    let tested = api.by(&application, "GET", &path).expect(200).await.json();
    assert_eq!(tested["lastTestAt"], result["deliveredAt"]);
    assert_eq!(tested["lastTestStatus"], "FAILED");
}
