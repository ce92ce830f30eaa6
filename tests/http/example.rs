//! `deploy/example/up.sh`: two Spin processes, a Redis and a PostgreSQL, without containers.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::server::SECRETS_KEY;
use crate::support::tokens::{configured_key_set, publisher};
use crate::support::{Application, busy, report, unique};

/// Two processes compile the components, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where PostgreSQL's programs are, which Debian leaves off PATH.
fn postgres_programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut places = debian.map(|version| version.path().join("bin"));
    places.find(|place| place.join("initdb").exists())
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    listener
        .local_addr()
        .expect("an address")
        .port()
        .to_string()
}

/// What a request to one of the processes gets: the status, and the body.
async fn send(method: &str, url: &str, token: &str, body: Option<Value>) -> (String, Value) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-w", "\n%{http_code}", "-X", method, url])
        .args(["-H", &format!("Authorization: Bearer {token}")]);
    if let Some(body) = body {
        curl.args([
            "-H",
            "Content-Type: application/json",
            "-d",
            &body.to_string(),
        ]);
    }
    let output = curl.stdin(Stdio::null()).output().await.expect("curl");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (
        status.to_owned(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

/// The example, which gets SIGTERM when the test ends, however that ends.
struct Running(String);

impl Drop for Running {
    fn drop(&mut self) {
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &self.0])
            .status();
        assert!(sent.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test]
async fn two_spin_processes_share_a_redis_and_a_postgres_as_the_example_starts_them() {
    const WHAT: &str = "deploy/example: two Spin processes, Redis and PostgreSQL";

    let _busy = busy().await;
    let programs =
        "spin --version && redis-server --version && curl --version && setpriv --version";
    let installed = Command::new("sh").args(["-c", programs]).output().await;
    let (Some(postgres), true) = (
        postgres_programs(),
        installed.is_ok_and(|it| it.status.success()),
    ) else {
        return report::not_run(WHAT, "spin, redis-server, curl or PostgreSQL is missing");
    };
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Outside of the target directory, into which PostgreSQL's user may not come.
    let directory = std::env::temp_dir().join(unique("webhooks-example"));
    let path = std::env::var("PATH").unwrap_or_default();
    let ports: [String; 4] = std::array::from_fn(|_| free_port());
    let mut example = Command::new(project.join("deploy/example/up.sh"));
    example
        .arg(&directory)
        .env("PATH", format!("{}:{path}", postgres.display()))
        .envs(
            ["FIRST", "SECOND", "REDIS", "POSTGRES"]
                .into_iter()
                .zip(&ports),
        )
        .env("SPIN_VARIABLE_JWKS", configured_key_set())
        .env(
            "SPIN_VARIABLE_SECRETS_KEY",
            Base64::encode_string(&SECRETS_KEY),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut example = example.spawn().expect("a shell");
    let running = Running(example.id().expect("it runs").to_string());
    let mut lines = BufReader::new(example.stdout.take().expect("piped")).lines();
    for port in &ports[..2] {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("in time");
        let line = line.expect("a line").expect("a line before the end");
        assert_eq!(line, format!("Serving http://127.0.0.1:{port}"));
    }
    let [first, second] =
        [0, 1].map(|process| format!("http://127.0.0.1:{}/api/v1", ports[process]));

    // What one process made, the other has: an application and a webhook in Redis, an event in PostgreSQL.
    let merchant = Application::new().token();
    let new = Some(json!({"name": "Shop"}));
    let (status, made) = send("POST", &format!("{first}/applications"), &merchant, new).await;
    assert_eq!(status, "201", "{made}");
    let application = format!("applications/{}", made["id"].as_str().expect("an id"));
    let new = Some(json!({"url": "https://merchant.example.com/hooks"}));
    let url = format!("{second}/{application}/webhooks");
    let (status, webhook) = send("POST", &url, &merchant, new).await;
    assert_eq!(status, "201", "{webhook}");
    let new = Some(json!({"type": "session.completed", "data": {}}));
    let url = format!("{first}/{application}/events");
    let (status, event) = send("POST", &url, &publisher(), new).await;
    assert_eq!(status, "202", "{event}");
    let event = event["id"].as_str().expect("an id");
    let url = format!("{second}/{application}/events/{event}");
    let (status, read) = send("GET", &url, &merchant, None).await;
    assert_eq!(status, "200", "{read}");
    assert_eq!(read["deliveries"][0]["webhookId"], webhook["id"]);

    // It takes all that it started along.
    drop(running);
    let ended = timeout(PATIENCE, example.wait()).await.expect("in time");
    assert!(ended.expect("a status").success());
    for port in &ports {
        let address = format!("127.0.0.1:{port}");
        assert!(
            std::net::TcpStream::connect(&address).is_err(),
            "{address} is served"
        );
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}
