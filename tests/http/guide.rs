//! docs/guide.md: its requests are run as they are, in its order, and what each prints is what is shown
//! below it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;

use crate::support::tokens::{Token, hs256, publisher, support};
use crate::support::{PATIENCE, Receiver, busy, dispatching, report, unique};

const GUIDE: &str = include_str!("../../docs/guide.md");

/// What the blocks leave for those after them.
const KEPT: &str = r#"for name in APPLICATION WEBHOOK EVENT; do
  [ -z "${!name-}" ] || declare -p "$name"
done >kept"#;

/// A block of the guide that is run, and the JSON that it shows below, if it does.
struct Step {
    script: String,
    shown: Option<Value>,
}

/// The blocks of the guide.
fn steps(guide: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        match language {
            "bash" => steps.push(Step {
                script: block,
                shown: None,
            }),
            "json" => {
                let shown = serde_json::from_str(&block).unwrap_or_else(|e| panic!("{block}: {e}"));
                steps.last_mut().expect("a request before").shown = Some(shown);
            }
            "" | "console" => {}
            other => panic!("a block in {other}"),
        }
    }
    steps
}

/// Where the real value is not what is shown. Ids, times, secrets and durations are others each time; words,
/// counts and statuses are not.
fn difference(shown: &Value, real: &Value, place: &str) -> Option<String> {
    let differs = || Some(format!("{place}: {real} where the guide shows {shown}"));
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => shown.iter().find_map(|(name, value)| {
            let place = format!("{place}.{name}");
            match real.get(name) {
                Some(real) => difference(value, real, &place),
                None => Some(format!("{place} is missing")),
            }
        }),
        (Value::Array(shown), Value::Array(real)) if shown.len() == real.len() => {
            let mut pairs = shown.iter().zip(real);
            pairs.find_map(|(shown, real)| difference(shown, real, place))
        }
        (Value::String(text), Value::String(_)) if !is_word(text) => None,
        (Value::Number(_), Value::Number(_)) if place.ends_with("Ms") => None,
        _ if shown == real => None,
        _ => differs(),
    }
}

/// Whether it is the same in each run.
fn is_word(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphabetic() || ". ".contains(c))
}

/// A shell in a directory of its own, for one block after the other.
struct Shell {
    directory: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Shell {
    /// What the block prints.
    async fn run(&self, block: &str) -> String {
        let script = format!("set -euo pipefail\n[ ! -f kept ] || . ./kept\n{block}\n{KEPT}\n");
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs([("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.expect("in time").expect("bash starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{printed}{errors}");
        printed
    }
}

#[tokio::test]
async fn every_request_of_the_guide_runs_and_prints_what_it_shows() {
    let _busy = busy().await;
    let curl = Command::new("bash").args(["-c", "curl --version"]).output();
    if !curl.await.is_ok_and(|output| output.status.success()) {
        return report::client_missing("the guide's requests: bash and curl");
    }
    let api = dispatching();
    let endpoint = Receiver::answering("200 OK", b"ok");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique("guide"));
    std::fs::create_dir_all(&directory).expect("a directory");
    let shell = Shell {
        directory,
        variables: vec![
            ("BASE", api.base()),
            ("TOKEN", api.application().token()),
            ("PUBLISHER", publisher()),
            ("SUPPORT", support()),
            ("PORTAL", Token::of_platform("portal:create").sign(hs256())),
            ("ENDPOINT", endpoint.url()),
        ],
    };
    let steps = steps(GUIDE);
    assert!(steps.len() >= 9, "{}", steps.len());
    for Step { script, shown } in steps {
        let since = Instant::now();
        loop {
            let printed = shell.run(&script).await;
            let Some(shown) = &shown else {
                assert_eq!(printed, "", "{script}");
                break;
            };
            let real = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{printed}: {e}"));
            let Some(difference) = difference(shown, &real, "") else {
                break;
            };
            // What becomes of an event takes a moment; reading it again changes nothing.
            let is_read = !script.contains(" -X ");
            let patient = is_read && since.elapsed() < PATIENCE;
            assert!(patient, "{script}\n{difference}\n{printed}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    // The test delivery, the event, and the event sent again.
    assert_eq!(endpoint.received().len(), 3);
}

#[test]
fn a_guide_that_shows_something_else_is_found() {
    let real = serde_json::json!({
        "id": "evt_1", "status": "pending", "latencyMs": 4, "list": [{"code": 200}], "more": true
    });
    let shown = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    for same in [
        r#"{"id": "evt_2", "latencyMs": 9, "list": [{"code": 200}]}"#,
        r#"{"status": "pending"}"#,
    ] {
        assert_eq!(difference(&shown(same), &real, ""), None, "{same}");
    }
    for (other, place) in [
        (r#"{"status": "succeeded"}"#, ".status"),
        (r#"{"list": [{"code": 204}]}"#, ".list.code"),
        (r#"{"list": []}"#, ".list"),
        (r#"{"reason": null}"#, ".reason is missing"),
        (r#"{"id": 1}"#, ".id"),
    ] {
        let found = difference(&shown(other), &real, "").expect(other);
        assert!(found.starts_with(place), "{found}");
    }
}

/// README's table writes each path out, and has every one that there is.
#[tokio::test]
async fn the_readme_lists_the_paths_of_the_document_and_no_others() {
    let readme = include_str!("../../README.md");
    let document = crate::support::standard().request("GET", "/openapi.json");
    let document = document.send_unchecked().await.expect("an answer").json();
    let mut listed = std::collections::BTreeSet::new();
    for row in readme.lines().filter(|line| line.starts_with("| `")) {
        let request = row
            .trim_start_matches("| ")
            .split(" | ")
            .next()
            .expect("a cell");
        let codes = request.split('`').skip(1).step_by(2);
        let paths = codes.filter_map(|code| code.split(' ').find(|word| word.starts_with('/')));
        for path in paths {
            listed.insert(path.split('?').next().expect("a path").to_owned());
        }
    }
    let described = document["paths"].as_object().expect("paths");
    // The operator's are in docs/operations.md, and the pages are no operations.
    for path in &listed {
        let elsewhere = ["/operator", "/metrics", "/docs", "/openapi.json"];
        let is_elsewhere = elsewhere.iter().any(|start| path.starts_with(start));
        assert!(
            is_elsewhere || described.contains_key(path),
            "{path} is none"
        );
    }
    for path in described.keys() {
        assert!(listed.contains(path), "README.md lacks {path}");
    }
}
