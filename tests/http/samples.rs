//! The code that the reference shows for each operation (`x-codeSamples`), run as it is: only the base URL,
//! the token and the ids are others, and each prints a success.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::tokens::publisher;
use crate::support::{Application, Server, Setup, begin, busy, python, report, standard, unique};

/// A compiler or an interpreter may start cold, and compiles a program for each operation.
const PATIENCE: Duration = Duration::from_secs(600);

/// The service, where a delivery that failed is attempted again in an hour: when its sample runs, nothing else
/// attempts it.
fn service() -> &'static Server {
    begin();
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        Setup::new()
            .variable("store_timeout_ms", "40000")
            .variable("retry_schedule", "0,3600")
            .start_shared()
    });
    &SERVER
}

/// One operation's sample in one language, with what its reader fills in.
struct Sample {
    operation: String,
    source: String,
    /// The statuses that are successes of it.
    successes: Vec<String>,
}

/// The samples of a language, each with an application, a webhook and an event of its own.
async fn samples(api: &Server, language: &str) -> Vec<Sample> {
    let document = api.request("GET", "/openapi.json").send_unchecked().await;
    let document = document.expect("an answer").json();
    let mut samples = Vec::new();
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            let all = operation["x-codeSamples"].as_array().expect("samples");
            let of_language = |sample: &&Value| sample["lang"] == language;
            let source = all.iter().find(of_language).expect("a sample")["source"].as_str();
            let responses = operation["responses"].as_object().expect("responses");
            let successes = responses.keys().filter(|status| status.starts_with('2'));
            let publishes = operation["operationId"] == "publishEvent";
            samples.push(Sample {
                operation: operation["operationId"].as_str().expect("an id").to_owned(),
                source: filled_in(api, operation, source.expect("a text"), publishes).await,
                successes: successes.cloned().collect(),
            });
        }
    }
    assert!(samples.len() >= 19, "{}", samples.len());
    samples
}

/// The source with the base URL, a token and the ids of what is there.
async fn filled_in(api: &Server, operation: &Value, source: &str, publishes: bool) -> String {
    let application = api.application();
    let created = api.create(&application).expect_created().await;
    let event = api.publish(&application).expect(202).await.json();
    attempted(api, &application, &event["id"]).await;
    let token = match publishes {
        true => publisher(),
        false => application.token(),
    };
    let mut source = source
        .replace("https://webhooks.example.com", &api.base())
        .replace("YOUR_TOKEN", &token);
    if operation["operationId"] == "exchangePortalCode" {
        let path = format!("/api/v1/applications/{}/portal-sessions", application.id);
        let opened = api.by(&application, "POST", &path).expect(201).await.json();
        let (_, code) = opened["url"]
            .as_str()
            .expect("a link")
            .split_once("#code=")
            .expect("a code");
        let body = &operation["requestBody"]["content"]["application/json"]["example"];
        source = source.replace(body["code"].as_str().expect("an example"), code);
    }
    let parameters = operation["parameters"].as_array();
    for parameter in parameters.into_iter().flatten() {
        let id = match parameter["name"].as_str().expect("a name") {
            "applicationId" => json!(application.id),
            "webhookId" => json!(created.webhook.id),
            "eventId" => event["id"].clone(),
            "recoveryId" => {
                let path = application.webhook_path(&created.webhook.id);
                let request = api.by(&application, "POST", &format!("{path}/recoveries"));
                let begun = request.json(&json!({"after": "2026-01-15T08:00:00.000Z"}));
                begun.expect(202).await.json()["id"].clone()
            }
            _ => continue,
        };
        let example = parameter["schema"]["examples"][0].as_str();
        let example = example.unwrap_or_else(|| panic!("no example of {parameter}"));
        assert!(source.contains(example), "{example} is not in {source}");
        source = source.replace(example, id.as_str().expect("an id"));
    }
    source
}

/// Until the event's first attempt, which its URL lets fail, has ended: until then it cannot be sent again.
async fn attempted(api: &Server, application: &Application, id: &Value) {
    let path = format!(
        "{}/{}",
        application.events_path(),
        id.as_str().expect("an id")
    );
    loop {
        let event = api.by(application, "GET", &path).expect(200).await.json();
        if event["deliveries"][0]["lastAttempt"].is_object() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn command(program: &str, arguments: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        // The service is on this machine.
        .envs([("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What it prints, and whether it ends well; `None`: it does not start.
async fn output(mut command: Command) -> Option<(bool, String)> {
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.expect("in time").ok()?;
    let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Some((output.status.success(), text.concat()))
}

async fn is_installed(program: &str, arguments: &[&str]) -> bool {
    let probe = command(program, arguments, Path::new("."));
    output(probe).await.is_some_and(|(succeeded, _)| succeeded)
}

/// A directory of one language, inside of the target directory.
fn scratch(language: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("samples")
        .join(unique(language));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn write(file: &Path, text: &str) {
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    std::fs::write(file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

/// Whether it printed one of the statuses that are successes, as a word.
fn check(sample: &Sample, ended: Option<(bool, String)>) {
    let (succeeded, printed) = ended.expect("it starts");
    let shown = format!("{}\n{}\n{printed}", sample.operation, sample.source);
    assert!(succeeded, "{shown}");
    let beginning: Vec<&str> = printed.split_whitespace().take(2).collect();
    let success = sample
        .successes
        .iter()
        .any(|status| beginning.contains(&status.as_str()));
    assert!(success, "{shown}");
}

/// Runs the samples of an interpreter, one after the other.
async fn interpreted(language: &str, program: &str, probe: &[&str], file: &str) {
    let _busy = busy().await;
    if !is_installed(program, probe).await {
        return report::client_missing(&format!("the samples in {language}"));
    }
    let directory = scratch(language);
    for sample in samples(service(), language).await {
        let path = directory.join(&sample.operation).join(file);
        write(&path, &sample.source);
        let path = path.to_str().expect("UTF-8");
        check(&sample, output(command(program, &[path], &directory)).await);
    }
}

#[tokio::test]
async fn the_samples_in_shell_print_a_success() {
    interpreted("Shell", "sh", &["-c", "curl --version"], "sample.sh").await;
}

#[tokio::test]
async fn the_samples_in_python_print_a_success() {
    interpreted("Python", &python(), &["-c", "import requests"], "sample.py").await;
}

#[tokio::test]
async fn the_samples_in_javascript_print_a_success() {
    interpreted("JavaScript", "node", &["--eval", "fetch"], "sample.mjs").await;
}

#[tokio::test]
async fn the_samples_in_ruby_print_a_success() {
    interpreted("Ruby", "ruby", &["-e", "require 'net/http'"], "sample.rb").await;
}

/// One module, whose programs are compiled together.
#[tokio::test]
async fn the_samples_in_go_print_a_success() {
    let _busy = busy().await;
    if !is_installed("go", &["version"]).await {
        return report::client_missing("the samples in Go");
    }
    let directory = scratch("Go");
    write(&directory.join("go.mod"), "module samples\n\ngo 1.19\n");
    let samples = samples(service(), "Go").await;
    for sample in &samples {
        let file = directory.join(&sample.operation).join("main.go");
        write(&file, &sample.source);
    }
    std::fs::create_dir_all(directory.join("bin")).expect("a directory");
    let build = command("go", &["build", "-o", "bin/", "./..."], &directory);
    let (succeeded, errors) = output(build).await.expect("go starts");
    assert!(succeeded, "{errors}");
    for sample in &samples {
        let program = directory.join("bin").join(&sample.operation);
        let program = program.to_str().expect("UTF-8");
        check(sample, output(command(program, &[], &directory)).await);
    }
}

/// What the reference shows as an operation's bodies is that operation's.
#[tokio::test]
async fn examples_are_those_of_the_operation() {
    let document = standard().request("GET", "/openapi.json").send_unchecked();
    let document = document.await.expect("an answer").json();
    let body = |pointer: &str| {
        let example = document.pointer(pointer).map(|media| &media["example"]);
        example.unwrap_or_else(|| panic!("{pointer}")).clone()
    };
    let webhooks = "/paths/~1api~1v1~1applications~1{applicationId}~1webhooks";
    let json = "content/application~1json";
    let fresh = body(&format!("{webhooks}/post/responses/201/{json}"));
    assert_eq!(
        (&fresh["lastTestAt"], &fresh["lastTestStatus"]),
        (&Value::Null, &Value::Null)
    );
    assert!(
        fresh["signingSecret"]
            .as_str()
            .expect("a secret")
            .starts_with("whsec_")
    );
    let change = body(&format!(
        "{webhooks}~1{{webhookId}}/patch/requestBody/{json}"
    ));
    assert_ne!(change["isActive"], Value::Bool(false), "{change}");
    let test = body(&format!("/webhooks/webhook.test/post/requestBody/{json}"));
    assert_eq!(test["type"], "webhook.test");
    assert!(test["data"]["webhookId"].is_string(), "{test}");
    let event = body(&format!("/webhooks/event/post/requestBody/{json}"));
    assert_eq!(event["type"], "session.completed");
}

/// Each status and reason that a client can get has a row, with what to do.
#[tokio::test]
async fn the_document_has_a_table_of_statuses_reasons_and_response_headers() {
    let document = standard().request("GET", "/openapi.json").send_unchecked();
    let document = document.await.expect("an answer").json();
    let text = document["info"]["description"].as_str().expect("a text");
    let reasons = &document["components"]["schemas"]["ErrorWithReason"]["properties"]["reason"];
    for reason in reasons["enum"].as_array().expect("reasons") {
        let row = format!(" | `{}` | ", reason.as_str().expect("a reason"));
        assert_eq!(text.matches(&row).count(), 1, "{row}");
    }
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            let statuses = operation["responses"]
                .as_object()
                .expect("responses")
                .keys();
            for status in statuses.filter(|status| status.as_str() >= "400") {
                assert!(text.contains(&format!("\n| {status} | ")), "{status}");
            }
        }
    }
    let headers = document["components"]["headers"].as_object();
    for header in headers.expect("headers").keys() {
        assert!(text.contains(&format!("\n| `{header}` | ")), "{header}");
    }
}
