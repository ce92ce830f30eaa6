//! One line per request, for whoever runs the service; and what must never be in it.

use serde_json::{Value, json};

use crate::support::application::webhooks_path;
use crate::support::faults::Fault;
use crate::support::{PATIENCE, Server, local_runtime_only, poll, standard, unique};

const ROUTE: &str = "/api/v1/applications/{applicationId}/webhooks";

/// The log's line about a request. Waits for it: the answer may be there before.
pub async fn line_of(api: &Server, request_id: &str) -> String {
    let lines = poll("a logged line", PATIENCE, || {
        let lines = api.stdout_lines();
        // What goes on after the response may log lines of its own, without a status.
        let of_request: Vec<String> = lines
            .into_iter()
            .filter(|line| line.contains(request_id) && line.contains("\"status\":"))
            .collect();
        (!of_request.is_empty()).then_some(of_request)
    })
    .await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines[0].clone()
}

#[tokio::test]
async fn every_request_is_logged_in_one_line_of_json() {
    let api = standard();
    let (application, other) = (api.application(), api.application());
    let path = application.path();
    for (response, method, status) in [
        (api.create(&application).send().await, "POST", 201),
        (api.create(&application).body("").send().await, "POST", 400),
        (
            api.create(&application).without_token().send().await,
            "POST",
            401,
        ),
        (
            api.create(&application).token(&other.token()).send().await,
            "POST",
            403,
        ),
        (
            api.create_at(&webhooks_path("unknown"))
                .token(&other.token())
                .send()
                .await,
            "POST",
            404,
        ),
        (
            api.create(&application)
                .body(" ".repeat(20_000))
                .send()
                .await,
            "POST",
            413,
        ),
        (api.request("PUT", &path).send().await, "PUT", 405),
    ] {
        let line = line_of(api, response.request_id()).await;
        let line = line.trim();
        let logged: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(logged["requestId"], json!(response.request_id()), "{line}");
        assert_eq!(logged["method"], json!(method), "{line}");
        assert_eq!(logged["route"], json!(ROUTE), "{line}");
        assert_eq!(logged["status"], json!(status), "{line}");
        assert!(
            logged["durationMs"]
                .as_f64()
                .is_some_and(|millis| millis >= 0.0),
            "{line}"
        );
        assert!(
            logged["level"]
                .as_str()
                .is_some_and(|level| !level.is_empty()),
            "{line}"
        );
        let time = logged["time"].as_str().unwrap_or_default();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{line}");

        let mut rest = line;
        for member in [
            "time",
            "level",
            "requestId",
            "method",
            "route",
            "status",
            "durationMs",
        ] {
            let name = format!("\"{member}\":");
            let position = rest
                .find(&name)
                .unwrap_or_else(|| panic!("{member}: {line}"));
            rest = &rest[position + name.len()..];
        }
        let members = logged.as_object().map_or(0, |members| members.len());
        let optional = ["error", "merchant", "application"];
        let optional = optional.iter().filter(|name| logged.get(**name).is_some());
        assert_eq!(members, 7 + optional.count(), "{line}");
    }
}

/// "Of a 429 or 502 nobody can tell whose."
#[tokio::test]
async fn the_line_says_whose_request_it_was_and_to_which_trace_it_belongs() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    let api = standard();
    let application = api.application();
    let logged = async |request: crate::support::client::Request, status: u16| {
        let response = request.expect(status).await;
        let line = line_of(api, response.request_id()).await;
        let logged: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(!line.contains(&application.merchant), "{line}");
        logged
    };
    let create = || api.create(&application);
    let created = logged(create().header("traceparent", TRACE), 201).await;
    assert_eq!(created["application"], application.id.as_str());
    assert_eq!(created["traceparent"], TRACE);
    // The merchant as a short hash: what the keys of its documents in the store begin with.
    let hash = created["merchant"].as_str().expect("a hash").to_owned();
    assert_eq!(hash.len(), 12, "{hash}");

    // An error says the same, and what is no traceparent is not logged.
    let refused = logged(create().body("{}").header("traceparent", "00-1-2-3"), 400).await;
    assert_eq!(refused["merchant"], hash.as_str());
    assert_eq!(refused["application"], application.id.as_str());
    assert_eq!(refused.get("traceparent"), None);
    // Without a valid token it is nobody's.
    let unknown = logged(create().token("wrong"), 401).await;
    assert_eq!(unknown.get("merchant"), None);
    assert_eq!(unknown["application"], application.id.as_str());
    // Another merchant has another hash.
    let other = api.application();
    let foreign = logged(create().token(&other.token()), 403).await;
    assert_ne!(foreign["merchant"], hash.as_str());
    assert!(foreign["merchant"].is_string());
}

#[tokio::test]
async fn an_unknown_route_is_logged_without_its_path() {
    let api = standard();
    let path = format!("/{}", unique("a-path"));
    let response = api.request("GET", &path).expect(404).await;

    let line = line_of(api, response.request_id()).await;
    let logged: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    assert_eq!(logged["status"], 404);
    assert_eq!(logged["method"], "GET");
    assert!(!api.output().contains(&path), "{line}");
}

#[tokio::test]
async fn a_failed_dependency_is_logged_with_its_error() {
    local_runtime_only!();
    let api = standard();
    let application = api.application();
    let fault = Fault::error("get").on(application.key()).inject(api);
    let response = api.create(&application).expect(502).await;
    fault.end();

    let line = line_of(api, response.request_id()).await;
    let logged: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    assert!(
        logged["error"]
            .as_str()
            .is_some_and(|error| !error.is_empty()),
        "{line}"
    );
    assert_eq!(logged["status"], 502);
}

#[tokio::test]
async fn tokens_secrets_bodies_and_urls_are_never_logged() {
    let api = standard();
    let application = api.application();
    let [in_url, in_body, in_header, in_token, in_query] =
        ["url", "body", "header", "token", "query"].map(|place| unique(&format!("secret-{place}")));
    let url = format!("https://{in_url}.example.com/{in_url}?key={in_url}");
    let token = application.claims().claim("note", in_token.as_str());
    let token = token.sign(crate::support::tokens::hs256());
    let refused_token = format!("{token}x");
    let create = api
        .create(&application)
        .token(&token)
        .header("x-custom", &in_header);

    let created = create.clone().url(&url).expect_created().await;
    let mut ids = vec![created.response.request_id().to_owned()];
    for request in [
        create.clone().url(&format!("http://{in_url}.example.com/")),
        create
            .clone()
            .json(&json!({ "url": url, in_body.as_str(): in_body })),
        create.clone().body(format!("{in_body} {{")),
        create.clone().token(&refused_token).url(&url),
        create
            .clone()
            .header("content-type", format!("text/{in_header}")),
        create
            .clone()
            .header("authorization", format!("Basic {in_token}")),
        api.create_at(&format!("{}?access_token={in_query}", application.path()))
            .url(&url),
        api.create_at(&webhooks_path(&format!("%20{in_query}")))
            .token(&token),
    ] {
        ids.push(request.send().await.request_id().to_owned());
    }
    for id in &ids {
        line_of(api, id).await;
    }
    let output = api.output();
    let signature = token.rsplit('.').next().expect("a signature");
    let secret = created.webhook.signing_secret.trim_start_matches("whsec_");
    for hidden in [
        in_url.as_str(),
        &in_body,
        &in_header,
        &in_token,
        &in_query,
        signature,
        secret,
        &token,
        &application.merchant,
    ] {
        assert!(!output.contains(hidden), "the log tells {hidden}");
    }
}

#[tokio::test]
async fn faults_are_logged_without_secrets_too() {
    local_runtime_only!();
    let api = standard();
    let application = api.application();
    let host = unique("secret-host");
    let url = format!("https://{host}.example.com/");
    for fault in [
        Fault::error("get").on(application.key()),
        Fault::error("set").on(application.webhook_prefix()),
        Fault::error("set").on(application.index_key()),
    ] {
        let fault = fault.inject(api);
        let response = api.create(&application).url(&url).expect(502).await;
        fault.end();
        line_of(api, response.request_id()).await;
    }
    let output = api.output();
    let signature = application.token();
    let signature = signature.rsplit('.').next().expect("a signature");
    for hidden in [host.as_str(), signature] {
        assert!(!output.contains(hidden), "the log tells {hidden}");
    }
    assert!(!output.contains("whsec_"), "the log tells a secret");
}
