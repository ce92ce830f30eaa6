//! A database that fails, is late, or is not there, and what requests and deliveries make of it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{completed, event, publish, subscribed};
use crate::support::contract::{DEPENDENCY_FAILED, DEPENDENCY_LATE};
use crate::support::faults::Fault;
use crate::support::server::dispatching_setup;
use crate::support::{Receiver, Server, Setup, local_runtime_only, unique};

on_both_databases! {
    a_publish_that_fails_is_502_and_can_be_repeated
    a_read_that_fails_is_502
}

on_both_databases_alone! {
    a_record_that_fails_is_written_later_and_nothing_is_sent_again
    a_claim_that_fails_is_made_again
}

async fn a_publish_that_fails_is_502_and_can_be_repeated(api: &Server) {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    for after in [false, true] {
        let key = unique("key");
        let request = || {
            let request = api.publish(&application).header("idempotency-key", &key);
            request.header("x-local-runtime-request", &key)
        };
        let fault = Fault::error("sql").on("publish").of(&key);
        let fault = if after { fault.after() } else { fault };
        let fault = fault.inject(api);
        request().expect_error(DEPENDENCY_FAILED).await;
        assert!(fault.hits() > 0);
        fault.end();
        let response = request().expect(202).await;
        let replayed = response.header("idempotency-replayed").is_some();
        assert_eq!(replayed, after);
    }
}

async fn a_record_that_fails_is_written_later_and_nothing_is_sent_again(api: &Server) {
    local_runtime_only!();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    for after in [false, true] {
        let name = unique("request");
        let fault = Fault::error("sql").on("record").of(&name).times(2);
        let fault = if after { fault.after() } else { fault };
        let fault = fault.inject(api);
        let before = receiver.received().len();
        let request = api.publish(&application);
        let request = request.header("x-local-runtime-request", &name);
        let published = request.expect(202).await.json();
        let read = completed(api, &application, &published["id"]).await;
        assert_eq!(read["deliveries"][0]["attemptCount"], 1, "{read}");
        assert_eq!(read["summary"]["succeeded"], 1, "{read}");
        assert!(fault.hits() > 0);
        assert_eq!(receiver.received().len(), before + 1);
    }
}

async fn a_claim_that_fails_is_made_again(api: &Server) {
    local_runtime_only!();
    let no = crate::support::receiver::answer("500 No", b"");
    let ok = crate::support::receiver::answer("200 OK", b"");
    let receiver = Receiver::answering_in_turn(&[&no, &ok]);
    let (application, _) = subscribed(api, &receiver.url()).await;
    let fault = Fault::error("sql").on("claim").times(1).inject(api);
    let published = publish(api, &application).await;
    let read = completed(api, &application, &published["id"]).await;
    assert_eq!(read["summary"]["succeeded"], 1, "{read}");
    fault.end();
}

async fn a_read_that_fails_is_502(api: &Server) {
    local_runtime_only!();
    let application = api.application();
    let published = publish(api, &application).await;
    let id = published["id"].as_str().expect("an id");
    let path = format!("{}/{id}", application.events_path());
    let name = unique("request");
    let fault = Fault::error("sql").of(&name).inject(api);
    let request = api.by(&application, "GET", &path);
    let request = request.header("x-local-runtime-request", &name);
    request.expect_error(DEPENDENCY_FAILED).await;
    fault.end();
    // Whose application it is comes first.
    let other = api.application();
    let fault = Fault::error("sql").of(&name).inject(api);
    let request = api.by(&other, "GET", &path);
    let request = request.header("x-local-runtime-request", &name);
    request.expect(403).await;
    fault.end();
    event(api, &application, &published["id"]).await;
}

/// The deadline of `store_timeout_ms` is the database's too.
#[tokio::test]
async fn a_database_that_is_late_is_504() {
    local_runtime_only!();
    let server = dispatching_setup()
        .variable("store_timeout_ms", "500")
        .start();
    let application = server.application();
    publish(&server, &application).await;
    let fault = Fault::hang("sql").on("publish").inject(&server);
    let since = Instant::now();
    let request = server.publish(&application);
    request.expect_error(DEPENDENCY_LATE).await;
    let waited = since.elapsed();
    assert!(waited >= Duration::from_millis(500), "{waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    fault.end();
    publish(&server, &application).await;
}

/// It does not say the password, and the API's component has nothing to do with it.
#[tokio::test]
async fn a_database_that_is_not_there_is_502_and_the_api_goes_on() {
    local_runtime_only!();
    let address = crate::support::receiver::closed_port();
    let server = Setup::new()
        .variable("allow_insecure_urls", "true")
        .variable("delivery_scheme", "*")
        .variable(
            "events_database",
            &format!("postgres://webhooks:sesame@{address}/webhooks"),
        )
        .variable("events_database_host", &format!("postgres://{address}"))
        .into_private_networks()
        .start();
    let application = server.application();
    let request = server.publish(&application);
    let refused = request.send().await;
    assert!([502, 504].contains(&refused.status), "{}", refused.text);
    let probe = server.request("GET", "/dispatcher/readyz");
    assert_eq!(probe.expect(503).await.json()["reason"], json!("notReady"));
    server.request("GET", "/readyz").expect(200).await;
    server.create(&application).expect_created().await;
    assert!(!server.output().contains("sesame"), "{}", server.output());
}

#[tokio::test]
async fn a_malformed_variable_of_events_is_a_start_up_error_that_does_not_show_it() {
    local_runtime_only!();
    for (variable, value) in [
        ("events_database", "postgres://user:sesame@"),
        ("events_database", "mysql://user:sesame@localhost/db"),
        ("retry_schedule", "sesame"),
        ("max_event_bytes", "sesame"),
        ("event_retention_days", "0"),
        ("disable_after_hours", "8761"),
        ("disable_after_hours", "sesame"),
        ("operator_application", "two sesames"),
        ("publisher_scope", "two sesames"),
    ] {
        let Err(refusal) = Setup::new().variable(variable, value).try_start() else {
            panic!("{variable} = {value} was accepted");
        };
        let said = format!("{}{}", refusal.stdout, refusal.stderr);
        assert!(said.contains(variable), "{said}");
        assert!(!said.contains("sesame"), "{said}");
    }
}
