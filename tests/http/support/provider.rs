//! Identity providers: a false one that does what it is told, and a real one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use super::{Application, PATIENCE, Setup};

impl Setup {
    /// With the keys of this identity provider instead of configured ones.
    pub fn jwks_url(self, url: &str) -> Self {
        self.without("jwks")
            .variable("jwks_url", url)
            .variable("jwt_audience", "*")
            .variable("store_timeout_ms", "20000")
            .variable("allow_insecure_urls", "true")
            .variable("delivery_scheme", "*")
            .into_private_networks()
    }
}

/// What a [`FakeProvider`] does when it is asked for its keys.
#[derive(Clone)]
pub enum Answer {
    /// 200 with this body.
    Keys(String),
    /// The same after a while.
    Slow(Duration, String),
    /// This status, with a set of keys that nobody may believe.
    Status(u16, String),
    /// These bytes as they are, then the end.
    Raw(Vec<u8>),
    /// Nothing, for as long as somebody waits.
    Hang,
}

/// An identity provider as far as its key set goes.
pub struct FakeProvider {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    hits: Arc<AtomicUsize>,
    /// The head of the last request.
    head: Arc<Mutex<String>>,
}

impl FakeProvider {
    /// Listens until the tests end.
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let provider = Self {
            address: listener.local_addr().expect("an address"),
            answer: Arc::new(Mutex::new(answer)),
            hits: Arc::default(),
            head: Arc::default(),
        };
        let (answer, hits) = (provider.answer.clone(), provider.hits.clone());
        let head = provider.head.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                hits.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().unwrap_or_else(|e| e.into_inner()).clone();
                let head = head.clone();
                // Whoever asked may be gone.
                std::thread::spawn(move || {
                    let _ = respond(stream, answer, &head);
                });
            }
        });
        provider
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks?tenant=sesame", self.address)
    }

    /// What it answers from now on.
    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(|e| e.into_inner()) = answer;
    }

    /// The head of the last request that it read.
    pub fn last_head(&self) -> String {
        self.head.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// How often it was asked so far.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

fn respond(stream: TcpStream, answer: Answer, head: &Mutex<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = String::new();
    while reader.read_line(&mut lines)? > 2 {}
    *head.lock().unwrap_or_else(|e| e.into_inner()) = lines;
    let (status, body) = match answer {
        Answer::Keys(body) => (200, body),
        Answer::Slow(delay, body) => {
            std::thread::sleep(delay);
            (200, body)
        }
        Answer::Status(status, body) => (status, body),
        Answer::Raw(bytes) => return reader.get_mut().write_all(&bytes),
        Answer::Hang => {
            let _ = reader.read(&mut [0])?;
            return Ok(());
        }
    };
    let length = body.len();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} As told\r\ncontent-type: application/json\r\nlocation: /elsewhere\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// npm's `oidc-provider`, in a process of its own.
pub struct OpenIdProvider {
    address: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl OpenIdProvider {
    /// Starts it with these merchants as clients; `None` when it is not installed.
    pub fn start(merchants: &[&Application]) -> Option<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = project.join("target/tools/openid-provider");
        if !modules.join("node_modules/oidc-provider").exists() {
            return None;
        }
        let ids: Vec<&str> = merchants.iter().map(|it| it.merchant.as_str()).collect();
        let mut child = Command::new("node")
            .arg(project.join("tests/provider/openid-provider.mjs"))
            .arg(modules)
            .arg(serde_json::json!(ids).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let base = line(&mut stdout);
        let address = base.strip_prefix("http://").and_then(|it| it.parse().ok());
        Some(Self {
            address: address.unwrap_or_else(|| panic!("no address: {base}")),
            child,
            stdin,
            stdout,
        })
    }

    /// Its `jwks_uri`.
    pub fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Signs with a new key from now on. `overlap`: publishes the old one still; `replace`: not.
    pub fn rotate(&mut self, how: &str) {
        let stdin = self.stdin.as_mut().expect("until it is dropped");
        writeln!(stdin, "{how}").expect("write");
        assert_eq!(line(&mut self.stdout), "rotated");
    }

    /// A token of this merchant: RFC 6749 §4.4, RFC 8707, RFC 9068.
    pub async fn token(&self, application: &Application) -> String {
        use base64ct::{Base64, Encoding};

        let client = format!("{}:for+these+tests+only", application.merchant);
        let body = "grant_type=client_credentials&resource=https://api.example.com";
        let request = hyper::Request::post("/token")
            .header("host", self.address.to_string())
            .header(
                "authorization",
                format!("Basic {}", Base64::encode_string(client.as_bytes())),
            )
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let exchange = async {
            let stream = tokio::net::TcpStream::connect(self.address)
                .await
                .expect("connect");
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .expect("handshake");
            tokio::spawn(connection);
            let response = sender.send_request(request).await.expect("an answer");
            response
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes()
        };
        let answer = tokio::time::timeout(PATIENCE, exchange)
            .await
            .expect("in time");
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        answer["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token: {answer}"))
            .to_owned()
    }
}

impl Drop for OpenIdProvider {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(stdout: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("read");
    line.trim_end().to_owned()
}
