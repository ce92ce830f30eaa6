//! Test deliveries: what goes to the endpoint, and what comes back of it.
//!
//! Long because an endpoint can answer in many ways, and each is a test of its own.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::faults::Fault;
use crate::support::server::standard;
use crate::support::{Application, PATIENCE, Receiver, delivering, local_runtime_only, poll};

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
    assert_eq!(sent.header("accept-encoding"), "identity");
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
        let failed = !success;
        assert_eq!(result["error"] == "httpStatus", failed, "{result}");
        assert_eq!(result["errorDetail"].is_string(), failed, "{result}");
        assert_eq!(result.as_object().map(|result| result.len()), Some(8));
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
    assert_eq!(result["error"], "httpStatus");
    assert_eq!(
        result["errorDetail"],
        "The endpoint redirects to 127.0.0.1, and redirects are not followed."
    );
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
async fn no_more_than_64_kib_of_the_body_are_read() {
    let hanging_after = |bytes: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + bytes, b'x');
        Receiver::hanging_after(answer)
    };
    // Who waits for more waits for the second that the body has. A busy machine may need it too.
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let since = Instant::now();
        let result = result_of(&hanging_after(64 * 1024)).await;
        fastest = fastest.min(since.elapsed());
        assert_eq!(result["responseBody"], "x".repeat(1024));
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    let since = Instant::now();
    let result = result_of(&hanging_after(64 * 1024 - 1)).await;
    assert!(since.elapsed() >= Duration::from_secs(1));
    assert_eq!(result["responseBody"], "x".repeat(1024));
}

#[tokio::test]
async fn a_2xx_whose_body_is_cut_off_stalls_or_never_ends_is_a_success() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
    let half = [&head[..], b"half"].concat();
    for (receiver, shown) in [
        (Receiver::sending(half.clone()), "half"),
        (Receiver::hanging_after(half), "half"),
        (Receiver::hanging_after(head.to_vec()), ""),
        (Receiver::endless(), "x"),
    ] {
        let result = result_of(&receiver).await;
        assert_eq!(
            (&result["success"], &result["httpStatusCode"]),
            (&json!(true), &json!(200)),
            "{result}"
        );
        assert_eq!(
            (&result["error"], &result["errorDetail"]),
            (&json!(null), &json!(null)),
            "{result}"
        );
        let body = result["responseBody"].as_str().expect("a body");
        assert!(body.starts_with(shown), "{result}");
        let latency = result["latencyMs"].as_u64().expect("milliseconds");
        assert!(latency < 10_000, "{latency}");
        assert_eq!(receiver.received().len(), 1);
    }
}

#[tokio::test]
async fn an_encoded_body_is_not_shown_and_the_detail_says_why() {
    let answer = |status: &str| {
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n");
        [head.as_bytes(), b"\x1f\x8b\x08\x00"].concat()
    };
    let result = result_of(&Receiver::sending(answer("200 OK"))).await;
    assert_eq!(result["success"], true);
    assert_eq!(
        (&result["error"], &result["responseBody"]),
        (&json!(null), &json!(null))
    );
    let detail = result["errorDetail"].as_str().expect("a sentence");
    assert!(detail.contains("encoded"), "{detail}");

    let result = result_of(&Receiver::sending(answer("500 No"))).await;
    assert_eq!(result["error"], "httpStatus");
    assert_eq!(result["responseBody"], json!(null));
    let detail = result["errorDetail"].as_str().expect("a sentence");
    assert!(
        detail.contains("500") && detail.contains("encoded"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_delivery_that_fails_names_its_reason() {
    let resetting = Receiver::resetting();
    let garbage = Receiver::sending(b"not HTTP\r\n\r\n".to_vec());
    let silent = Receiver::sending(Vec::new());
    let half_a_head = Receiver::hanging_after(b"HTTP/1.1 200 OK\r\n".to_vec());
    for (url, reason, sentence) in [
        ("https://no-such-name.example.com/".to_owned(), "dns", "DNS"),
        (
            format!("http://{}/", crate::support::receiver::closed_port()),
            "connect",
            "refused",
        ),
        (
            resetting.url().replace("http:", "https:"),
            "tls",
            "certificate",
        ),
        (resetting.url(), "protocol", "closed"),
        (garbage.url(), "protocol", "HTTP"),
        (silent.url(), "protocol", "closed"),
        (half_a_head.url(), "timeout", "10 seconds"),
    ] {
        let (application, path) = webhook(&url).await;
        let result = test(&application, &path).await;
        assert_eq!(result["error"], reason, "{url}: {result}");
        assert_eq!(result["success"], false, "{url}");
        assert_eq!(
            (&result["httpStatusCode"], &result["responseBody"]),
            (&json!(null), &json!(null)),
            "{url}"
        );
        let detail = result["errorDetail"].as_str().expect("a sentence");
        assert!(detail.contains(sentence), "{url}: {detail}");
        // Of the host's own words and of the URL there is nothing in it.
        for raw in ["rror", "127.0.0.1", "Some(", "hyper"] {
            assert!(!detail.contains(raw), "{url}: {detail}");
        }
    }
}

/// The rules were laxer when it was created.
#[tokio::test]
async fn a_url_that_is_not_allowed_any_more_is_refused_with_the_rule() {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, path) = webhook(&receiver.url()).await;
    let id = path.rsplit('/').next().expect("an id");
    let stricter = standard();
    for key in [application.key(), application.webhook_prefix() + id] {
        let document = delivering().store().get(&key).expect("a document");
        stricter.store().set(&key, &document);
    }
    let test = stricter.by(&application, "POST", &format!("{path}/test"));
    let result = test.expect(200).await.json();
    assert_eq!(result["error"], "urlRefused", "{result}");
    let detail = result["errorDetail"].as_str().expect("a sentence");
    assert!(detail.contains("https://"), "{detail}");
    assert!(receiver.received().is_empty());
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
    assert_eq!(result["error"], "timeout");
    let latency = result["latencyMs"].as_u64().expect("milliseconds");
    assert!(latency >= 10_000, "{latency}");
    assert!(
        since.elapsed() < Duration::from_secs(30),
        "{:?}",
        since.elapsed()
    );
}

/// The event is with the merchant: an error would have it sent again, and say nothing of it.
#[tokio::test]
async fn a_test_that_was_sent_is_answered_also_when_it_cannot_be_recorded() {
    local_runtime_only!();
    let api = delivering();
    for (operation, kind) in [("set", "webhook-test"), ("exists", "webhook")] {
        let (application, path) = webhook(&Receiver::answering("200 OK", b"ok").url()).await;
        let fault = Fault::error(operation).on(format!("{kind}/{}", application.id));
        let fault = fault.times(1).inject(api);
        let request = api.by(&application, "POST", &format!("{path}/test"));
        let response = request.expect(200).await;
        assert_eq!(response.json()["success"], true);
        assert_eq!(fault.hits(), 1);
        let id = response.request_id().to_owned();
        poll("a line in the log", PATIENCE, || {
            let lines = api.stdout_lines();
            let mut lines = lines.iter().filter(|line| line.contains(&id));
            lines
                .any(|line| line.contains("test not recorded"))
                .then_some(())
        })
        .await;
    }
}

/// Deletes what `path` leads to while a test of its webhook waits for the endpoint.
async fn delete_during_a_test(
    application: &Application,
    webhook: &str,
    receiver: &Receiver,
    release: Sender<()>,
    path: &str,
) -> Value {
    let delete = async {
        poll("a delivery", PATIENCE, || receiver.received().pop()).await;
        delivering()
            .by(application, "DELETE", path)
            .expect(204)
            .await;
        drop(release);
    };
    futures::future::join(test(application, webhook), delete)
        .await
        .0
}

async fn nothing_is_left_of(path: &str) {
    let id = path.rsplit('/').next().expect("an id");
    poll("nothing of it in the store", PATIENCE, || {
        let keys = delivering().store().keys("webhook");
        (!keys.iter().any(|key| key.contains(id))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_webhook_or_application_deleted_during_a_test_leaves_nothing_behind() {
    local_runtime_only!();
    for whole_application in [false, true] {
        let (receiver, release) = Receiver::held("200 OK", b"");
        let (application, path) = webhook(&receiver.url()).await;
        let gone = match whole_application {
            true => format!("/api/v1/applications/{}", application.id),
            false => path.clone(),
        };
        let result = delete_during_a_test(&application, &path, &receiver, release, &gone).await;
        assert_eq!(result["success"], true, "{result}");
        nothing_is_left_of(&path).await;
    }
}

/// The delete comes between the record's write and the look that follows it, or the look fails.
#[tokio::test]
async fn a_delete_between_a_tests_record_and_its_check_leaves_nothing_behind() {
    local_runtime_only!();
    let api = delivering();
    let late = |operation| Fault::delay(operation, Duration::from_secs(1));
    for (fault, kind) in [
        (late("set"), "webhook-test"),
        (late("set").after(), "webhook-test"),
        (late("exists"), "webhook"),
        (Fault::error("exists"), "webhook"),
    ] {
        let (receiver, release) = Receiver::held("200 OK", b"");
        let (application, path) = webhook(&receiver.url()).await;
        let fault = fault.on(format!("{kind}/{}", application.id));
        let fault = fault.times(1).inject(api);
        let during = async {
            poll("a delivery", PATIENCE, || receiver.received().pop()).await;
            drop(release);
            poll("a fault", PATIENCE, || (fault.hits() == 1).then_some(())).await;
            api.by(&application, "DELETE", &path).expect(204).await;
        };
        let (result, ()) = futures::future::join(test(&application, &path), during).await;
        assert_eq!(result["success"], true, "{result}");
        nothing_is_left_of(&path).await;
    }
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
