//! `cargo xtask listen`: a developer sees deliveries come, and what the receiver makes of them.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::support::server::dispatching_setup;
use crate::support::tokens::development_keys;
use crate::support::{Application, PATIENCE, Server, Setup};

/// A server whose state directory has the development keys, as `cargo xtask up` makes them.
fn with_development_keys(setup: Setup) -> Server {
    let file = setup.state_dir().join("development-keys.json");
    std::fs::write(file, development_keys().to_string()).expect("write the keys");
    setup.start()
}

/// `cargo xtask listen` while it runs.
struct Listener {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it receives.
    port: String,
    /// The webhook that it has registered.
    webhook: String,
}

impl Listener {
    async fn start(server: &Server, application: &Application, flags: &[&str]) -> Self {
        let mut command = server.xtask_command(&["listen"]);
        command
            .args(["--application", &application.id])
            .args(["--merchant", &application.merchant])
            .args(flags);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("listen");
        let stdout = process.stdout.take().expect("piped");
        let mut listener = Self {
            process,
            lines: BufReader::new(stdout).lines(),
            port: String::new(),
            webhook: String::new(),
        };
        let line = listener.line().await;
        let between = |before: &str, after: &str| {
            let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("{line}"));
            let (found, _) = rest.split_once(after).unwrap_or_else(|| panic!("{line}"));
            found.to_owned()
        };
        listener.port = between("http://127.0.0.1:", "/");
        listener.webhook = between("as webhook ", ".");
        listener
    }

    async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("a line in time").expect("a line");
        line.expect("a line before the end")
    }

    /// The next line, without its time.
    async fn delivery(&mut self) -> String {
        let line = self.line().await;
        let (_, rest) = line.split_once("  ").unwrap_or_else(|| panic!("{line}"));
        rest.to_owned()
    }

    /// Ctrl-C, and what it says then. Whether it ended well.
    async fn interrupt(mut self) -> (bool, String) {
        let pid = self.process.id().expect("it runs").to_string();
        let kill = std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status();
        assert!(kill.expect("kill").success());
        let line = self.line().await;
        let status = timeout(PATIENCE, self.process.wait()).await;
        (status.expect("in time").expect("a status").success(), line)
    }
}

/// Publishes an event, and returns its id.
async fn publish(server: &Server, application: &Application) -> String {
    let event = server.publish(application).expect(202).await.json();
    event["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn deliveries_are_verified_and_printed_as_they_come_and_the_webhook_goes_with_the_command() {
    let server = with_development_keys(dispatching_setup());
    let application = server.application();
    let mut listener = Listener::start(&server, &application, &[]).await;

    let event = publish(&server, &application).await;
    assert_eq!(
        listener.delivery().await,
        format!("{event}  session.completed  attempt 1 (3 left)  verified  -> 200")
    );

    // With another secret it is somebody else's.
    let webhook = application.webhook_path(&listener.webhook);
    let rotate = server.by(&application, "POST", &format!("{webhook}/rotate"));
    let rotate = rotate.json(&json!({"gracePeriodSeconds": 0}));
    rotate.expect(200).await;
    let event = publish(&server, &application).await;
    assert_eq!(
        listener.delivery().await,
        format!(
            "{event}  session.completed  attempt 1 (3 left)  NOT VERIFIED: signature invalid  -> 401"
        )
    );

    let ended = listener.interrupt().await;
    assert!(ended.0, "{ended:?}");
    server.by(&application, "GET", &webhook).expect(404).await;
}

#[tokio::test]
async fn retries_come_to_who_asked_for_failures_and_the_next_run_takes_the_webhook_over() {
    let server = with_development_keys(dispatching_setup());
    let application = server.application();
    let mut listener = Listener::start(&server, &application, &["--status", "500"]).await;
    let event = publish(&server, &application).await;
    for (attempt, left) in [(1, 3), (2, 2)] {
        assert_eq!(
            listener.delivery().await,
            format!(
                "{event}  session.completed  attempt {attempt} ({left} left)  verified  -> 500"
            )
        );
    }

    // Killed, it deletes nothing.
    listener.process.kill().await.expect("kill");
    let (port, webhook) = (listener.port.clone(), listener.webhook.clone());
    let mut next = Listener::start(&server, &application, &["--port", &port]).await;
    assert_eq!(next.webhook, webhook);
    let line = next.delivery().await;
    assert!(line.starts_with(&event), "{line}");
    assert!(line.ends_with("left)  verified  -> 200"), "{line}");
    let ended = next.interrupt().await;
    assert!(ended.0, "{ended:?}");
}

#[tokio::test]
async fn what_is_in_the_way_is_one_line_that_says_what_to_do() {
    let server = with_development_keys(Setup::new());
    let (application, other) = (server.application(), server.application());
    for (id, merchant, expected) in [
        (
            &application.id,
            &application.merchant,
            "accepts no endpoint on this machine (400)",
        ),
        (
            &other.id,
            &application.merchant,
            "name its owner with --merchant",
        ),
        (
            &"none".to_owned(),
            &application.merchant,
            "has no application none (404)",
        ),
    ] {
        let mut command = server.xtask_command(&["listen", "--application", id]);
        command.args(["--merchant", merchant]);
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("listen");
        let status = timeout(PATIENCE, process.wait()).await;
        let status = status.expect("in time").expect("a status");
        let mut said = String::new();
        let mut stderr = process.stderr.take().expect("piped");
        stderr.read_to_string(&mut said).await.expect("read");
        assert!(!status.success(), "{said}");
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
