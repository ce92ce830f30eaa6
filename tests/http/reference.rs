//! The API reference: `GET /openapi.json` tells what the API really does.
//!
//! Long because each part of the document is compared with what the service does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::on_spin;
use crate::support::tokens::{Token, hs256, publisher};
use crate::support::{Response, Server, busy, report, standard};

async fn get(api: &Server, headers: &[(&str, &str)]) -> Response {
    let mut request = api.request("GET", "/openapi.json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send_unchecked().await.expect("an answer")
}

async fn document(api: &Server) -> Value {
    get(api, &[]).await.json()
}

#[tokio::test]
async fn the_document_is_served_to_anybody_and_can_be_cached() {
    let api = standard();
    let plain = get(api, &[]).await;
    assert_eq!(plain.status, 200);
    assert_eq!(plain.header("content-type"), Some("application/json"));
    assert_eq!(plain.header("cache-control"), Some("no-cache"));
    assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    let length = plain.header("content-length").expect("a length");
    assert_eq!(length, plain.text.len().to_string());
    assert_eq!(plain.json()["openapi"], json!("3.1.0"));

    let tag = plain.header("etag").expect("a tag");
    for known in [
        tag.to_owned(),
        format!("\"other\", W/{tag}"),
        "*".to_owned(),
    ] {
        let again = get(api, &[("if-none-match", &known)]).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{known}");
        assert_eq!(again.header("etag"), Some(tag));
    }
    for other in ["\"other\"", "\"a,*,b\"", "\"a\", *"] {
        let other = get(api, &[("if-none-match", other)]).await;
        assert_eq!(other.status, 200);
    }
    for (asked, status) in [(tag, 200), ("*", 200), ("\"a,*,b\"", 412)] {
        assert_eq!(get(api, &[("if-match", asked)]).await.status, status);
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_answered_as_the_api_answers_them() {
    let api = standard();
    let refused = api.request("POST", "/openapi.json").send_unchecked().await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.status, 405);
    assert_eq!(refused.header("allow"), Some("GET,HEAD"));
    assert_eq!(
        refused.text,
        r#"{"error":"Method Not Allowed","message":"The requested resource does not support this method","code":405}"#
    );
    let missing = api.request("GET", "/docs/missing").send_unchecked().await;
    let missing = missing.expect("an answer");
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["code"], json!(404));
    let head = api.request("HEAD", "/openapi.json").send_unchecked().await;
    assert_eq!(head.expect("an answer").status, 200);
}

/// Follows a reference within the document.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("a reference within");
            let target = document.pointer(pointer);
            resolve(document, target.unwrap_or_else(|| panic!("{reference}")))
        }
        None => value,
    }
}

fn operation<'a>(document: &'a Value, method: &str, path: &str) -> &'a Value {
    let operation = &document["paths"][path][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {path} is missing");
    operation
}

fn members(value: &Value) -> BTreeSet<&str> {
    let members = value.as_object().unwrap_or_else(|| panic!("{value}"));
    members.keys().map(String::as_str).collect()
}

/// Compares a real response with its description: status, headers, and every member of the body,
/// no more and no less.
fn check(document: &Value, method: &str, path: &str, response: &Response) {
    let shown = format!("{method} {path}: {} {}", response.status, response.text);
    let responses = &operation(document, method, path)["responses"];
    let described = resolve(document, &responses[response.status.to_string()]);
    assert!(described.is_object(), "{shown} is not described");

    let standard = ["content-type", "content-length", "date"];
    let names = response.headers.keys().map(|name| name.as_str().to_owned());
    let names: BTreeSet<String> = names
        .filter(|name| !standard.contains(&name.as_str()))
        .collect();
    let described_names = described["headers"].as_object().expect("headers");
    for name in &names {
        let known = described_names
            .keys()
            .any(|known| known.to_lowercase() == *name);
        assert!(known, "{shown}: the header {name} is not described");
    }
    for (name, header) in described_names {
        let required = resolve(document, header)["required"] == json!(true);
        assert!(
            !required || names.contains(&name.to_lowercase()),
            "{shown}: no {name}"
        );
    }
    let Some(content) = described.get("content") else {
        assert_eq!(response.text, "", "{shown}");
        return;
    };
    let schema = resolve(document, &content["application/json"]["schema"]);
    same_members(document, schema, &response.json(), &shown);
}

fn same_members(document: &Value, schema: &Value, value: &Value, shown: &str) {
    let mut schema = resolve(document, schema);
    // What is one of several, or nothing.
    let any = schema.get("anyOf").or(schema.get("oneOf"));
    if let Some(any) = any.and_then(Value::as_array).filter(|_| value.is_object()) {
        let any = any.iter().map(|schema| resolve(document, schema));
        let mut objects = any.filter(|schema| schema["properties"].is_object());
        let fitting = objects.find(|schema| members(value) == members(&schema["properties"]));
        schema = fitting.unwrap_or_else(|| panic!("{shown}: none of {schema}"));
    }
    match value {
        // Whatever the publisher sent.
        Value::Object(_) if schema.get("properties").is_none() => {}
        Value::Object(_) => {
            assert_eq!(members(value), members(&schema["properties"]), "{shown}");
            let required = schema["required"].as_array().expect("required");
            assert_eq!(required.len(), members(value).len(), "{shown}");
            for (name, value) in value.as_object().expect("an object") {
                same_members(document, &schema["properties"][name], value, shown);
            }
        }
        Value::Array(items) => {
            for item in items {
                same_members(document, &schema["items"], item, shown);
            }
        }
        _ => {}
    }
}

/// Every route is asked, and what it answers is what the document says.
#[tokio::test]
async fn every_response_has_the_fields_and_headers_that_the_document_tells() {
    const APPLICATIONS: &str = "/api/v1/applications";
    const APPLICATION: &str = "/api/v1/applications/{applicationId}";
    const WEBHOOKS: &str = "/api/v1/applications/{applicationId}/webhooks";
    const WEBHOOK: &str = "/api/v1/applications/{applicationId}/webhooks/{webhookId}";

    let api = standard();
    let document = document(api).await;
    let merchant = api.application();
    let mut asked = BTreeSet::new();
    let mut ask = async |method: &str, template: &str, ids: [&str; 2], body: Value, status: u16| {
        // Of what belongs to a webhook, its own id and that of the webhook.
        let (inner, webhook) = ids[1].split_once(' ').unwrap_or((ids[1], ids[1]));
        let path = template
            .replace("{applicationId}", ids[0])
            .replace("{webhookId}", webhook)
            .replace("{recoveryId}", inner)
            .replace("{eventId}", inner);
        let (template, _) = template.split_once('?').unwrap_or((template, ""));
        // Events are published by the platform.
        let token = match template.ends_with("/events") && method == "POST" {
            true => publisher(),
            false => merchant.token(),
        };
        let mut request = api
            .request(method, &path)
            .token(&token)
            .header("if-match", "*");
        if !body.is_null() {
            let key = crate::support::unique("key");
            request = request.header("idempotency-key", key).json(&body);
        }
        let response = request.expect(status).await;
        check(&document, method, template, &response);
        asked.insert((method.to_lowercase(), template.to_owned()));
        response
    };
    let none = Value::Null;
    let name = crate::support::unique("name");
    let new = json!({"name": name, "description": "d"});
    let created = ask("POST", APPLICATIONS, ["", ""], new.clone(), 201).await;
    ask("POST", APPLICATIONS, ["", ""], new, 409).await;
    ask("POST", APPLICATIONS, ["", ""], json!({}), 400).await;
    let created = created.json();
    let id = created["id"].as_str().expect("an id");
    ask("GET", APPLICATIONS, ["", ""], none.clone(), 200).await;
    ask("GET", APPLICATION, [id, ""], none.clone(), 200).await;
    ask(
        "PATCH",
        APPLICATION,
        [id, ""],
        json!({"description": null}),
        200,
    )
    .await;

    let new = json!({"url": "https://merchant.example.com/"});
    let webhook = ask("POST", WEBHOOKS, [id, ""], new, 201).await.json();
    let webhook = [id, webhook["id"].as_str().expect("an id")];
    ask("GET", WEBHOOKS, webhook, none.clone(), 200).await;
    ask("GET", WEBHOOK, webhook, none.clone(), 200).await;
    let recoveries = format!("{WEBHOOK}/recoveries");
    let recover = |dry_run: bool| json!({"after": "2026-01-15T08:00:00.000Z", "dryRun": dry_run});
    ask("POST", &recoveries, webhook, recover(true), 200).await;
    let begun = ask("POST", &recoveries, webhook, recover(false), 202).await;
    ask("POST", &recoveries, webhook, json!({"perMinute": 0}), 400).await;
    let begun = begun.json()["id"].as_str().expect("an id").to_owned();
    let begun = format!("{begun} {}", webhook[1]);
    let recovery = format!("{recoveries}/{{recoveryId}}");
    ask("GET", &recovery, [id, &begun], none.clone(), 200).await;
    ask("DELETE", &recovery, [id, &begun], none.clone(), 200).await;
    ask("PATCH", WEBHOOK, webhook, json!({"isActive": false}), 200).await;
    ask("POST", &recoveries, webhook, recover(false), 409).await;
    ask(
        "POST",
        &format!("{WEBHOOK}/rotate"),
        webhook,
        json!({}),
        200,
    )
    .await;
    ask("POST", &format!("{WEBHOOK}/test"), webhook, json!({}), 200).await;
    let verify = format!("{WEBHOOK}/verify");
    let sent = json!({"headers": {"webhook-id": "evt_1"}, "body": "{}"});
    ask("POST", &verify, webhook, sent, 200).await;
    ask("POST", &verify, webhook, json!({}), 400).await;
    let health = format!("{WEBHOOK}/health");
    ask("GET", &health, webhook, none.clone(), 200).await;
    ask("DELETE", WEBHOOK, webhook, none.clone(), 204).await;
    ask("DELETE", WEBHOOK, webhook, none.clone(), 404).await;
    ask("DELETE", APPLICATION, [id, ""], none.clone(), 204).await;
    let other = api.application();
    ask("GET", APPLICATION, [&other.id, ""], none.clone(), 403).await;
    let types = "/api/v1/event-types";
    ask("GET", types, ["", ""], none.clone(), 200).await;
    let policy = "/api/v1/delivery-policy";
    ask("GET", policy, ["", ""], none.clone(), 200).await;
    ask("GET", "/dispatcher/readyz", ["", ""], none.clone(), 200).await;
    let events = "/api/v1/applications/{applicationId}/events";
    let new = json!({"type": "session.completed", "data": {"any": "thing"}});
    let own = [merchant.id.as_str(), ""];
    let hook = json!({"url": "https://merchant.example.com/", "subscribedEvents": ["*"]});
    let hook = ask("POST", WEBHOOKS, own, hook, 201).await.json();
    let published = ask("POST", events, own, new, 202).await.json();
    ask("POST", events, own, json!({}), 400).await;
    let own = [own[0], published["id"].as_str().expect("an id")];
    let event = format!("{events}/{{eventId}}");
    ask("GET", &event, own, none.clone(), 200).await;
    let proof = format!("{WEBHOOK}/deliveries/{{eventId}}/proof");
    let hook_id = hook["id"].as_str().expect("an id");
    let proven = api.by(&merchant, "GET", &{
        let path = proof.replace("{applicationId}", own[0]);
        path.replace("{webhookId}", hook_id)
            .replace("{eventId}", own[1])
    });
    check(&document, "GET", &proof, &proven.expect(200).await);
    ask("GET", &proof, own, none.clone(), 400).await;
    ask("GET", events, own, none.clone(), 200).await;
    let digest = format!("{events}/digest?day=2026-01-15");
    ask("GET", &digest, own, none.clone(), 200).await;
    // Its name leads nowhere, so each attempt fails.
    let resend = format!("{WEBHOOK}/deliveries/{{eventId}}/resend");
    let ids = format!("{} {}", own[1], hook["id"].as_str().expect("an id"));
    let delivery = [own[0], ids.as_str()];
    let attempt = loop {
        // The first attempt may be under way.
        let path = format!("{WEBHOOK}/deliveries/{{eventId}}");
        let read = ask("GET", &path, delivery, none.clone(), 200).await.json();
        if read["lastAttempt"].is_object() {
            break ask("POST", &resend, delivery, json!({}), 200).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(attempt.json()["error"], "dns");
    ask("GET", &event, own, none.clone(), 200).await;
    let deliveries = format!("{WEBHOOK}/deliveries");
    ask("GET", &deliveries, delivery, none.clone(), 200).await;
    let sessions = format!("{APPLICATION}/portal-sessions");
    let opened = ask("POST", &sessions, own, json!({}), 201).await.json();
    ask("POST", &sessions, own, json!({"capabilities": []}), 400).await;
    let (_, code) = opened["url"]
        .as_str()
        .expect("a link")
        .split_once("#code=")
        .expect("a code");
    let exchange = "/api/v1/portal-sessions/exchange";
    for status in [200, 410] {
        ask("POST", exchange, ["", ""], json!({ "code": code }), status).await;
    }
    ask("DELETE", &sessions, own, none.clone(), 204).await;
    ask("DELETE", &format!("{event}/data"), own, none.clone(), 204).await;
    ask("POST", &resend, delivery, json!({}), 410).await;
    ask("GET", "/healthz", ["", ""], none.clone(), 200).await;
    ask("GET", "/readyz", ["", ""], none, 200).await;

    // The one response that caches may keep.
    let keys = "/.well-known/jwks.json";
    let response = api.request("GET", keys).send_unchecked().await;
    check(&document, "GET", keys, &response.expect("a response"));
    asked.insert(("get".to_owned(), keys.to_owned()));

    let unauthorized = api
        .request("GET", APPLICATIONS)
        .without_token()
        .expect(401)
        .await;
    check(&document, "GET", APPLICATIONS, &unauthorized);

    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        described.extend(
            members(item)
                .into_iter()
                .map(|method| (method.to_owned(), path.clone())),
        );
    }
    assert_eq!(asked, described, "every route of the document was asked");
}

/// Who reads the page sees the names where they are asked for: it shows a property's own
/// description, and not that of an array's items.
#[tokio::test]
async fn the_property_subscribed_events_names_the_event_types() {
    let document = document(standard()).await;
    for schema in ["NewWebhook", "WebhookChange"] {
        let property = &document["components"]["schemas"][schema]["properties"]["subscribedEvents"];
        let description = property["description"].as_str().expect("a description");
        for name in [
            "`session.completed`",
            "`session.expired`",
            r#"`["*"]`"#,
            "`GET /api/v1/event-types`",
        ] {
            assert!(description.contains(name), "{schema}: {description}");
        }
    }
}

/// Where a merchant may have to wait, the document says so; and nothing there is for no reason.
#[tokio::test]
async fn every_operation_of_a_merchant_tells_how_it_can_fail() {
    let document = document(standard()).await;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let documented = members(&operation["responses"]);
            // A probe's, and what anyone may know.
            let is_open = operation["security"] == json!([{}]);
            // Anyone may exchange a portal's code, which asks the store and the database.
            let is_exchange = operation["operationId"] == "exchangePortalCode";
            assert_eq!(documented.contains("401"), !is_open, "{method} {path}: 401");
            for status in ["500", "502", "504"] {
                let can_fail = !is_open || is_exchange;
                assert_eq!(
                    documented.contains(status),
                    can_fail,
                    "{method} {path}: {status}"
                );
            }
            // Who publishes events is no merchant.
            let counts = operation["operationId"] != "publishEvent" && !is_exchange;
            let changes = method != "get" && counts;
            assert_eq!(documented.contains("429"), changes, "{method} {path}");
            let takes_body = operation.get("requestBody").is_some();
            for status in ["408", "413", "415"] {
                assert_eq!(
                    documented.contains(status),
                    takes_body,
                    "{method} {path}: {status}"
                );
            }
        }
    }
}

/// Ends the test when its tools are not there, and says so loudly.
pub fn tool(path: &str, what: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let program = tools.join(path);
    if program.exists() {
        return Some(program);
    }
    report::not_run(
        what,
        &format!("target/tools/{path} is missing; `cargo xtask test` installs it"),
    );
    None
}

/// Runs it off the test's thread, which also answers for others.
pub async fn run(mut command: Command) -> (bool, String) {
    let output = tokio::task::spawn_blocking(move || {
        let output = command.stdin(std::process::Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    });
    let output = output.await.expect("it ran");
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), told.concat())
}

fn settings(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

#[tokio::test]
async fn independent_validators_find_nothing_wrong_with_the_document() {
    let _busy = busy().await;
    let document = get(standard(), &[]).await.text;
    let file = tempfile::Builder::new()
        .suffix(".json")
        .tempfile()
        .expect("a file");
    std::fs::write(file.path(), document).expect("written");
    if let Some(validator) = tool("venv/bin/openapi-spec-validator", "openapi-spec-validator") {
        let mut command = Command::new(validator);
        command.arg(file.path());
        let (valid, told) = run(command).await;
        assert!(valid, "{told}");
    }
    if let Some(linter) = tool("redocly/node_modules/.bin/redocly", "the linter of OpenAPI") {
        let mut command = Command::new(linter);
        command
            .env("REDOCLY_TELEMETRY", "off")
            .args(["lint", "--max-problems", "20", "--config"])
            .arg(settings("redocly.yaml"))
            .arg(file.path());
        let (clean, told) = run(command).await;
        assert!(clean && !told.contains("Warning was generated"), "{told}");
    }
}

/// What schemathesis makes up from the document is answered as the document says.
#[tokio::test]
async fn schemathesis_finds_no_answer_that_the_document_does_not_tell() {
    let token = standard().application().token();
    schemathesis(&token, &[]).await;
}

/// As above, of the events of an application that is there, by who may publish and read them.
#[tokio::test]
async fn schemathesis_finds_no_answer_about_events_that_the_document_does_not_tell() {
    let application = standard().application();
    let token = Token::of_platform("events:publish events:read").sign(hs256());
    let parameter = format!(
        "\n[parameters]\n\"path.applicationId\" = \"{}\"\n",
        application.id
    );
    schemathesis(&token, &[("Events", &parameter)]).await;
}

/// Runs it with a token, on all operations, or on those of these tags with more in its configuration.
async fn schemathesis(token: &str, only: &[(&str, &str)]) {
    const WHAT: &str = "the contract tests of schemathesis";
    /// How often it may fail itself until that is reported.
    const RUNS: u32 = 3;

    if on_spin() {
        return report::not_run(
            WHAT,
            "they send headers that are no UTF-8, and those Spin answers itself, with a bare 500",
        );
    }
    let _busy = busy().await;
    let api = standard();
    let Some(schemathesis) = tool("venv/bin/schemathesis", WHAT) else {
        return;
    };
    let mut failures = String::new();
    for seed in 1..=RUNS {
        let directory = tempfile::tempdir().expect("a directory");
        let written = directory.path().join("report.json");
        let configuration = directory.path().join("schemathesis.toml");
        let mut text = std::fs::read_to_string(settings("schemathesis.toml")).expect("a file");
        let mut command = Command::new(&schemathesis);
        command
            .current_dir(directory.path())
            .arg("--config-file")
            .arg(&configuration)
            .args(["run", &format!("http://{}/openapi.json", api.address())])
            .args(["--header", &format!("Authorization: Bearer {token}")]);
        for (tag, parameters) in only {
            text.push_str(parameters);
            command.args(["--include-tag", tag]);
        }
        std::fs::write(&configuration, text).expect("written");
        command
            .args(["--checks", "all", "--max-examples", "10"])
            // With more, CPython 3.11 fails: its parser's recursion is counted across threads.
            .args(["--workers", "1"])
            .args(["--request-timeout", "30", "--no-color"])
            .args(["--seed", &seed.to_string()])
            .args(["--report", "json", "--report-json-path"])
            .arg(&written);
        let (succeeded, told) = run(command).await;
        let written = std::fs::read_to_string(&written).unwrap_or_default();
        match Verdict::of(succeeded, &written) {
            Verdict::NothingFound => return,
            Verdict::Found => panic!("{told}"),
            Verdict::ToolFailed => failures = told,
        }
    }
    println!("{failures}");
    report::not_run(WHAT, "schemathesis itself failed each time");
}

/// What a run of schemathesis says of the service.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    NothingFound,
    Found,
    /// Nothing: an exception of its own, or examples that it could not make, ended it.
    ToolFailed,
}

impl Verdict {
    /// The verdict by the tool's exit status and its report in JSON, which may be missing.
    fn of(succeeded: bool, report: &str) -> Self {
        /// The titles of errors that the tool gives to what it did not expect of itself. Every other
        /// has its cause in the service or its document, such as "Network Error".
        const OWN: [&str; 3] = [
            "Runtime Error",
            "Failed Health Check",
            "Test Execution Error",
        ];

        let report: Value = serde_json::from_str(report).unwrap_or_default();
        let listed = |name: &str| report[name].as_array().cloned().unwrap_or_default();
        let mut errors = listed("errors").into_iter();
        let of_the_service = errors.any(|error| {
            let title = error["title"].as_str();
            !title.is_some_and(|title| OWN.contains(&title))
        });
        if of_the_service || !listed("failures").is_empty() {
            return Self::Found;
        }
        if succeeded && report["complete"] == true && listed("errors").is_empty() {
            return Self::NothingFound;
        }
        Self::ToolFailed
    }
}

#[test]
fn a_failure_of_schemathesis_itself_is_no_finding_and_does_not_hide_one() {
    let verdict = |succeeded, failures: Value, errors: Value| {
        let report = json!({"complete": true, "failures": failures, "errors": errors});
        Verdict::of(succeeded, &report.to_string())
    };
    let own = json!([{"title": "Runtime Error", "count": 1}]);
    let network = json!([{"title": "Network Error", "count": 1}]);
    let finding = json!([{"title": "Undocumented HTTP status code", "count": 1}]);
    assert_eq!(verdict(true, json!([]), json!([])), Verdict::NothingFound);
    assert_eq!(verdict(false, json!([]), own.clone()), Verdict::ToolFailed);
    assert_eq!(verdict(false, finding.clone(), json!([])), Verdict::Found);
    assert_eq!(verdict(false, finding, own), Verdict::Found);
    assert_eq!(verdict(false, json!([]), network), Verdict::Found);
    // It ended before it had a report, or without a reason.
    assert_eq!(Verdict::of(false, ""), Verdict::ToolFailed);
    assert_eq!(Verdict::of(true, ""), Verdict::ToolFailed);
    assert_eq!(verdict(false, json!([]), json!([])), Verdict::ToolFailed);
}

/// Who evaluates the service learns first what it does.
#[tokio::test]
async fn the_readme_and_the_reference_begin_with_what_is_delivered_today() {
    let document = document(standard()).await;
    let described = document["info"]["description"].as_str().expect("a text");
    let readme = include_str!("../../README.md");
    for (what, text) in [("the reference", described), ("README.md", readme)] {
        let beginning: Vec<&str> = text.lines().take(6).collect();
        let beginning = beginning.join(" ");
        for said in [
            "Delivered today: events such as `session.completed`",
            "signed test deliveries",
        ] {
            assert!(beginning.contains(said), "{what}: {beginning}");
        }
    }
}
