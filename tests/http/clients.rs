//! The five examples of the reference page, run as they are: only base URL, token, application
//! and, for Ruby, TLS are others.
//!
//! With one exception. The page's Go example imports `encoding/json` and does not use it, which
//! Go's compiler refuses, so that as printed it cannot run anywhere. Here the import is blank.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::{Application, python, report, standard};

/// A compiler or an interpreter may start cold.
const PATIENCE: Duration = Duration::from_secs(300);

/// One language.
struct Client {
    name: &'static str,
    /// The example's file in `tests/clients`.
    file: &'static str,
    /// Ends well where the language and what the example imports are installed.
    probe: &'static [&'static str],
    /// What comes before the file's path.
    run: &'static [&'static str],
    /// What must be another than on the page, besides what every user fills in.
    changes: &'static [(&'static str, &'static str)],
    /// What its output has when it got a webhook.
    success: &'static [&'static str],
}

const WEBHOOK: &[&str] = &[
    "whsec_",
    "signingSecret",
    "https://merchant.example.com/hooks/kadosei",
];

const CURL: Client = Client {
    name: "curl",
    file: "curl.sh",
    probe: &["curl", "--version"],
    run: &["sh"],
    changes: &[],
    success: WEBHOOK,
};

const PYTHON: Client = Client {
    name: "python requests",
    file: "python_requests.py",
    probe: &["python3", "-c", "import requests"],
    run: &["python3"],
    changes: &[],
    success: WEBHOOK,
};

const JAVASCRIPT: Client = Client {
    name: "javascript fetch",
    file: "fetch.mjs",
    probe: &["node", "--eval", "fetch"],
    run: &["node"],
    changes: &[],
    success: WEBHOOK,
};

const GO: Client = Client {
    name: "go",
    file: "main.go",
    probe: &["go", "version"],
    run: &["go", "run"],
    changes: &[("\t\"encoding/json\"", "\t_ \"encoding/json\"")],
    success: &["Response Status: 201 Created"],
};

const RUBY: Client = Client {
    name: "ruby",
    file: "net_http.rb",
    probe: &["ruby", "-e", "require 'net/http'; require 'json'"],
    run: &["ruby"],
    changes: &[("http.use_ssl = true", "http.use_ssl = false")],
    success: WEBHOOK,
};

impl Client {
    fn command(&self, arguments: &[&str]) -> Command {
        let program = match arguments[0] {
            "python3" => python(),
            program => program.to_owned(),
        };
        let mut command = Command::new(program);
        command
            .args(&arguments[1..])
            // The service is on this machine.
            .envs([("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn output(&self, command: &mut Command) -> std::io::Result<std::process::Output> {
        match tokio::time::timeout(PATIENCE, command.output()).await {
            Ok(output) => output,
            Err(_) => panic!("{}: not within {PATIENCE:?}", self.name),
        }
    }

    async fn is_installed(&self) -> bool {
        let probe = self.output(&mut self.command(self.probe)).await;
        probe.is_ok_and(|output| output.status.success())
    }

    /// The example with what every user of the page fills in.
    fn source(&self, base: &str, application: &Application) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/clients")
            .join(self.file);
        let source =
            std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let token = application.token();
        let filled_in = [
            ("https://api.example.com", base),
            ("example_string", &application.id),
            ("YOUR_API_TOKEN (JWT)", &token),
        ];
        let changes = filled_in.into_iter().chain(self.changes.iter().copied());
        changes.fold(source, |source, (from, to)| {
            assert_eq!(source.matches(from).count(), 1, "{}: {from}", self.name);
            source.replace(from, to)
        })
    }

    async fn creates_a_webhook(&self) {
        if !self.is_installed().await {
            report::client_missing(self.name);
            return;
        }
        let api = standard();
        let application = api.application();
        let directory = scratch(&application.id);
        let file = directory.join(self.file);
        std::fs::write(&file, self.source(&api.base(), &application)).expect("write the example");
        let mut command = self.command(self.run);
        command.arg(&file).current_dir(&directory);
        let output = self
            .output(&mut command)
            .await
            .unwrap_or_else(|e| panic!("{}: {e}", self.name));

        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {printed}{errors}", self.name);
        for text in self.success {
            assert!(
                printed.contains(text),
                "{}: no {text} in {printed}{errors}",
                self.name
            );
        }
        if !crate::support::server::on_spin() {
            assert_eq!(
                api.store().webhooks(&application).len(),
                1,
                "{}: {printed}",
                self.name
            );
        }
    }
}

/// A directory for one client, inside of the target directory.
fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("clients")
        .join(name);
    std::fs::create_dir_all(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    directory
}

#[tokio::test]
async fn the_curl_example_creates_a_webhook() {
    let _busy = crate::support::busy().await;
    CURL.creates_a_webhook().await;
}

#[tokio::test]
async fn the_python_example_creates_a_webhook() {
    let _busy = crate::support::busy().await;
    PYTHON.creates_a_webhook().await;
}

#[tokio::test]
async fn the_javascript_example_creates_a_webhook() {
    let _busy = crate::support::busy().await;
    JAVASCRIPT.creates_a_webhook().await;
}

#[tokio::test]
async fn the_go_example_creates_a_webhook() {
    let _busy = crate::support::busy().await;
    GO.creates_a_webhook().await;
}

#[tokio::test]
async fn the_ruby_example_creates_a_webhook() {
    let _busy = crate::support::busy().await;
    RUBY.creates_a_webhook().await;
}
