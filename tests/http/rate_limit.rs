//! `max_changes_per_minute`: over it, 429.

use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};

use crate::support::faults::{Fault, instances_end};
use crate::support::{PATIENCE, Server, Setup, local_runtime_only, poll};

const TOO_MANY: &str = r#"{"error":"Too Many Requests","message":"Too many changes within a minute. Retry later","code":429,"reason":"tooManyChanges"}"#;

fn setup(most: u32) -> Setup {
    Setup::new()
        .variable("store_timeout_ms", "20000")
        .variable("max_changes_per_minute", &most.to_string())
}

/// What the store holds of the only merchant's changes.
fn count(api: &Server) -> u64 {
    let [key] = &api.store().keys("changes/")[..] else {
        return 0;
    };
    let count = api.store().get(key).expect("a count");
    let Ok(count) = serde_json::from_slice::<Value>(&count) else {
        return 0;
    };
    let minutes = count["minutes"].as_object().expect("counts by minute");
    let counts = minutes.values().filter_map(Value::as_object);
    counts
        .flat_map(|counts| counts.values())
        .filter_map(Value::as_u64)
        .sum()
}

async fn counted(api: &Server, changes: u64) {
    poll("the count is written", PATIENCE, || {
        (count(api) == changes).then_some(())
    })
    .await;
}

/// Every kind of change counts, reads do not, and neither does what is refused.
#[tokio::test]
async fn a_merchant_over_the_limit_gets_429_for_every_change_and_still_reads() {
    let api = setup(4).start();
    let application = api.application();
    let token = application.token();
    let request = |method: &str, path: &str| api.request(method, path).token(&token);
    let webhook = api.create(&application).expect_created().await.webhook;
    let path = format!("{}/{}", application.path(), webhook.id);
    let (rotate, test) = (format!("{path}/rotate"), format!("{path}/test"));

    // Wrong requests and other people's do not count.
    api.create(&application).body("{}").expect(400).await;
    api.create(&application).token("wrong").expect(401).await;
    request("PATCH", &path)
        .json(&json!({"isActive": false}))
        .expect(200)
        .await;
    request("POST", &rotate).expect(200).await;
    request("POST", &test).expect(200).await;

    let applications = "/api/v1/applications";
    let own = format!("{applications}/{}", application.id);
    for (method, path, body) in [
        (
            "POST",
            application.path().as_str(),
            json!({"url": "https://merchant.example.com/"}),
        ),
        ("PATCH", &path, json!({"isActive": true})),
        ("POST", &rotate, json!({})),
        ("POST", &test, json!({})),
        ("DELETE", &path, Value::Null),
        ("POST", applications, json!({"name": "one more"})),
        ("PATCH", &own, json!({"isEnabled": false})),
        ("DELETE", &own, Value::Null),
    ] {
        let request = request(method, path);
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let refused = request.expect_error(TOO_MANY).await;
        let wait = refused.header("retry-after").expect("Retry-After");
        let wait: u32 = wait.parse().expect("whole seconds");
        assert!((1..=120).contains(&wait), "{method} {path}: {wait}");
    }
    request("GET", &path).expect(200).await;
    request("GET", &application.path()).expect(200).await;
    // Nobody else is concerned.
    api.create(&api.application()).expect(201).await;
}

#[tokio::test]
async fn a_repeat_needs_no_allowance_and_does_not_count() {
    let api = setup(2).start();
    let application = api.application();
    let create = api.create(&application);
    let create = create.header("idempotency-key", "the-create");
    let created = create.clone().expect_created().await;
    let path = application.webhook_path(&created.webhook.id);
    let rotate = api.by(&application, "POST", &format!("{path}/rotate"));
    let rotate = rotate.header("idempotency-key", "the-rotation");
    for _ in 0..5 {
        create.clone().expect_created().await;
    }
    // The second of two changes, after which there are none left.
    let rotated = rotate.clone().expect(200).await;
    api.create(&application).expect_error(TOO_MANY).await;
    assert_eq!(
        create.clone().expect_created().await.response.text,
        created.response.text
    );
    assert_eq!(rotate.expect(200).await.text, rotated.text);
    // Another request with its key is no repeat.
    let other = create.url("https://other.example.com/");
    other.expect_error(TOO_MANY).await;
}

/// The count is in the store, not in the instance.
#[tokio::test]
async fn a_restart_does_not_forget_the_count() {
    local_runtime_only!();
    let api = setup(2).start();
    let application = api.application();
    api.create(&application).expect(201).await;
    api.create(&application).expect(201).await;
    counted(&api, 2).await;

    let api = api.kill().start();
    api.create(&application).expect_error(TOO_MANY).await;
}

/// Instances that run side by side do not know of each other's changes at once, but soon.
#[tokio::test]
async fn what_a_burst_passes_is_counted_to_the_last_change() {
    local_runtime_only!();
    let api = setup(10).start();
    let application = api.application();
    // In one minute of the window: in the next one what was before weighs less by the second.
    let minute = Duration::from_secs(60);
    let since = Utc::now().timestamp() % 60;
    api.sleep_until(Utc::now() + minute - Duration::from_secs(since as u64));
    let burst = async || {
        let creates = (0..16).map(|_| api.create(&application).send());
        let answers = futures::future::join_all(creates).await;
        let with = |status: u16| answers.iter().filter(move |answer| answer.status == status);
        assert_eq!(with(201).count() + with(429).count(), 16);
        with(201).count()
    };
    let passed = burst().await;
    assert!(passed >= 10, "{passed}");
    counted(&api, passed as u64).await;
    // Until then one that writes what it read before can take a count away, and give it back.
    instances_end(&api).await;
    counted(&api, passed as u64).await;
    assert_eq!(burst().await, 0);
    assert_eq!(api.store().webhooks(&application).len(), passed);
}

#[tokio::test]
async fn a_count_that_cannot_be_read_refuses_nobody_and_is_mended() {
    local_runtime_only!();
    let api = setup(1000).start();
    let application = api.application();
    api.create(&application).expect(201).await;
    counted(&api, 1).await;
    let [key] = &api.store().keys("changes/")[..] else {
        panic!("one count was expected");
    };
    api.store().set(key, b"not JSON");
    let setup = api.kill();
    let api = setup.start();
    api.create(&application).expect(201).await;
    counted(&api, 1).await;
}

#[tokio::test]
async fn a_store_that_fails_to_tell_the_count_refuses_nobody() {
    local_runtime_only!();
    let api = setup(1).start();
    let application = api.application();
    let fault = Fault::error("get").on("changes/").inject(&api);
    api.create(&application).expect(201).await;
    fault.end();
    // What was not written then is written with the next change.
    api.create(&application).expect_error(TOO_MANY).await;
}
