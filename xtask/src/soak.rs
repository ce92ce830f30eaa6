//! `cargo xtask soak`: load, faults and checks together, for as long as is asked.
//!
//! Workers create, change, rotate, delete and read webhooks, each its own, and remember what the
//! service acknowledged. Meanwhile the store fails, is late or hangs, for one application or for
//! all, and the service is killed and started on the same state. A failure is explained when a
//! fault that was on while the request ran has that status by the documentation; everything else
//! is not. Then `doctor --fix` runs under load and at rest, and all that was acknowledged is read
//! back.
//!
//! Long because workers, faults and checks know the same record of what was acknowledged.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::keys::Keys;
use crate::runtime::{self, Runtime};
use crate::token::Issuer;
use crate::{build, operator, project};

/// Requests at the same time; four workers share an application.
const WORKERS: usize = 16;
const APPLICATIONS: usize = 4;

/// How many webhooks a worker keeps at most.
const KEPT: usize = 40;

/// `store_timeout_ms`, which a busy machine must meet, and how long a late store takes.
const DEADLINE: Duration = Duration::from_secs(4);
const LATE: Duration = Duration::from_secs(6);

/// How long a fault is on, and how long none is after it.
const FAULT: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_secs(2);

/// Within this, every request is answered, and a service that starts serves.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many unexplained failures and losses are described.
const DESCRIBED: u64 = 20;

#[derive(clap::Args)]
pub struct Args {
    /// How long load and faults go on; the last round of faults is finished
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: u64,
}

/// A fault, as the local runtime's control interface takes it, and the status that the
/// documentation has for it.
struct Fault {
    what: &'static str,
    action: &'static str,
    operation: &'static str,
    after: bool,
    status: u16,
}

const FAULTS: [Fault; 7] = [
    Fault::new("reads fail", "error", "get", 502),
    Fault::new("writes are late", "delay", "set", 504),
    Fault::new("writes fail", "error", "set", 502),
    Fault::new("reads are late", "delay", "get", 504),
    Fault::new("removals fail", "error", "delete", 502),
    Fault {
        after: true,
        ..Fault::new("writes fail when they took effect", "error", "set", 502)
    },
    Fault::new("nothing answers", "hang", "*", 504),
];

impl Fault {
    const fn new(
        what: &'static str,
        action: &'static str,
        operation: &'static str,
        status: u16,
    ) -> Self {
        Self {
            what,
            action,
            operation,
            after: false,
            status,
        }
    }

    /// `scope`: what the keys of the operations contain.
    fn body(&self, scope: &str) -> Value {
        json!({
            "action": self.action,
            "op": self.operation,
            "when": if self.after { "after" } else { "before" },
            "keyContains": scope,
            "delayMs": LATE.as_millis() as u64,
            // As with a store across a network: who stops waiting does not stop the operation.
            "detach": self.action == "delay",
        })
    }
}

/// How a request ended: with a status, or without an answer.
type Outcome = Option<u16>;

/// A time in which requests may end so; of one application, or of all.
struct Explanation {
    application: Option<usize>,
    outcome: Outcome,
    until: Option<Instant>,
}

/// What the workers and the faults share.
struct Soak {
    address: Mutex<SocketAddr>,
    explanations: Mutex<Vec<Explanation>>,
    stop: AtomicBool,
    requests: AtomicU64,
    explained: AtomicU64,
    unexplained: AtomicU64,
    acknowledged: AtomicU64,
    lost: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

impl Soak {
    fn new(address: SocketAddr) -> Self {
        Self {
            address: Mutex::new(address),
            explanations: Mutex::default(),
            stop: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            explained: AtomicU64::new(0),
            unexplained: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// From now on requests may end so, until [`Self::calm`].
    fn explain(&self, application: Option<usize>, outcome: Outcome) {
        locked(&self.explanations).push(Explanation {
            application,
            outcome,
            until: None,
        });
    }

    /// From now on every request must succeed.
    fn calm(&self) {
        for explanation in locked(&self.explanations).iter_mut() {
            explanation.until.get_or_insert_with(Instant::now);
        }
    }

    /// Whether a fault that was on after `since` explains this outcome.
    fn explains(&self, application: usize, outcome: Outcome, since: Instant) -> bool {
        locked(&self.explanations).iter().any(|it| {
            it.outcome == outcome
                && it.application.is_none_or(|only| only == application)
                && it.until.is_none_or(|until| until >= since)
        })
    }

    fn lose(&self, what: &str) {
        if count(&self.lost) < DESCRIBED {
            eprintln!("lost: {what}");
        }
    }

    /// The last line.
    fn summary(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{} requests, {} failures explained, {} unexplained, {} acknowledged (webhooks and \
             secrets), {} lost",
            read(&self.requests),
            read(&self.explained),
            read(&self.unexplained),
            read(&self.acknowledged),
            read(&self.lost)
        )
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    build::components()?;
    project::build_local_runtime()?;
    let state_dir = project::root().join(format!("target/soak/{}", std::process::id()));
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(soak(&state_dir, Duration::from_secs(args.minutes * 60)));
    match outcome {
        Ok(true) => {
            std::fs::remove_dir_all(&state_dir)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(false) => {
            eprintln!("The store and the log are in {}", state_dir.display());
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.context(format!("see {}", state_dir.display()))),
    }
}

/// Whether all is well.
async fn soak(state_dir: &Path, duration: Duration) -> Result<bool> {
    let keys = Keys::ensure(state_dir)?;
    let mut server = Server::start(state_dir, &keys)?;
    let soak = Arc::new(Soak::new(server.address));
    let begin = Instant::now();
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let application = number % APPLICATIONS;
            let worker = Worker::new(soak.clone(), application, &keys, duration)?;
            Ok(tokio::spawn(worker.work()))
        })
        .collect::<Result<_>>()?;

    let mut number = 0;
    while begin.elapsed() < duration {
        for (row, fault) in FAULTS.iter().enumerate() {
            // By turns for all and for one application, whose neighbours must not notice; by
            // turns it ends by itself and with the process.
            let only = (number % 2 == 1).then_some(row % APPLICATIONS);
            let killed = number % 4 >= 2;
            number += 1;
            let scope = only.map_or_else(|| "/".to_owned(), id);
            eprintln!(
                "{:>5} s: {} ({}){}",
                begin.elapsed().as_secs(),
                fault.what,
                only.map_or("all", |_| "one application"),
                if killed { ", then kill -9" } else { "" }
            );
            soak.explain(only, Some(fault.status));
            control(server.control, "POST", &fault.body(&scope)).await?;
            sleep(FAULT).await;
            if killed {
                soak.explain(None, None);
                server.kill()?;
                server = tokio::task::block_in_place(|| Server::start(state_dir, &keys))?;
                *locked(&soak.address) = server.address;
            } else {
                control(server.control, "DELETE", &Value::Null).await?;
            }
            soak.calm();
            sleep(CALM).await;
        }
    }

    let announce = |what: &str| eprintln!("{:>5} s: {what}", begin.elapsed().as_secs());
    let token = keys.operator_token()?;
    let doctor = format!("http://{}/operator/v1/doctor?fix=true", server.address);
    let doctor: Uri = doctor.parse()?;
    let repair = async || {
        let last = operator::stream(&doctor, &token, &mut std::io::stdout()).await?;
        anyhow::Ok(operator::is_sound(&last))
    };
    announce("doctor --fix under load");
    // What the load changes all the time may not come to rest under it; nothing may be lost.
    repair().await?;
    soak.stop.store(true, Ordering::Relaxed);
    let mut kept = Vec::new();
    for worker in workers {
        kept.push(worker.await?);
    }
    announce("doctor --fix at rest");
    let sound = repair().await?;
    announce("reading back");
    for worker in &mut kept {
        worker.read_back().await;
    }
    server.kill()?;
    println!("{}", soak.summary());
    let none = |counter: &AtomicU64| counter.load(Ordering::Relaxed) == 0;
    Ok(sound && none(&soak.lost) && none(&soak.unexplained))
}

fn id(application: usize) -> String {
    format!("soak-{application}")
}

fn merchant(application: usize) -> String {
    format!("merchant-{application}")
}

/// The service on the local runtime.
struct Server {
    address: SocketAddr,
    control: SocketAddr,
    child: Child,
    /// Its end is the service's end, however this process ends.
    _stdin: Option<ChildStdin>,
}

impl Server {
    fn start(state_dir: &Path, keys: &Keys) -> Result<Self> {
        let pairs: Vec<String> = (0..APPLICATIONS)
            .map(|it| {
                let document = json!({ "merchantId": merchant(it) });
                format!("application/{}={document}", id(it))
            })
            .collect();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut child = Runtime::Local(project::local_runtime())
            .serve(
                &project::root().join("spin.toml"),
                anywhere,
                state_dir,
                &runtime::shipped_config(),
                &pairs,
            )
            .args(["--control", &anywhere.to_string()])
            .env("SPIN_VARIABLE_JWKS", keys.jwks())
            .env("SPIN_VARIABLE_JWKS_URL", "")
            .env("SPIN_VARIABLE_SECRETS_KEY", &keys.secrets_key)
            .env(operator::TOKEN_VARIABLE, keys.operator_token()?)
            .env("SPIN_VARIABLE_MAX_CHANGES_PER_MINUTE", "0")
            .env("SPIN_VARIABLE_MAX_WEBHOOKS_PER_APPLICATION", "10000")
            .env(
                "SPIN_VARIABLE_STORE_TIMEOUT_MS",
                DEADLINE.as_millis().to_string(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the local runtime does not start")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no standard output")?;
        let lines = copied(stdout, state_dir.join("service.log"))?;
        let address = |name: &str| loop {
            let line = lines
                .recv_timeout(PATIENCE)
                .context("the service does not serve; its own message is above")?;
            if let Some(rest) = line.trim().strip_prefix(name) {
                let text = rest.split(['/', ' ']).next().unwrap_or_default();
                return text
                    .parse()
                    .with_context(|| format!("not an address: {line}"));
            }
        };
        let (first, second) = ("Control http://", "Serving http://");
        Ok(Self {
            control: address(first)?,
            address: address(second)?,
            child,
            _stdin: stdin,
        })
    }

    /// `kill -9`.
    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// Copies the service's log to a file. Its first lines, which tell the addresses, come here too.
fn copied(from: impl std::io::Read + Send + 'static, log: PathBuf) -> Result<Receiver<String>> {
    let mut log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // A log that cannot be written is no reason to stop the service.
            let _ = writeln!(log, "{line}");
            let _ = sender.send(line);
        }
    });
    Ok(lines)
}

/// Arms a fault, or disarms all.
async fn control(address: SocketAddr, method: &str, body: &Value) -> Result<()> {
    let request = hyper::Request::builder()
        .method(method)
        .uri("/faults")
        .header("host", address.to_string())
        .body(Full::new(Bytes::from(body.to_string())))?;
    let response = connect(address).await?.send_request(request).await?;
    if !response.status().is_success() {
        let text = response.into_body().collect().await?.to_bytes();
        bail!("the fault is refused: {}", String::from_utf8_lossy(&text));
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// What a client can expect of a webhook, by the last response about it.
struct Expected {
    /// The end of its secret. `None`: a rotation ended without an explanation, which was counted.
    fingerprint: Option<String>,
    /// `None`: so did a change; or a write that was given up may undo it, which is no secret's
    /// loss, and which nothing promises to prevent.
    is_active: Option<bool>,
}

/// A client that knows its webhooks.
struct Worker {
    soak: Arc<Soak>,
    application: usize,
    authorization: String,
    /// Kept from request to request, and not beyond the process that it leads to.
    connection: Option<(SocketAddr, SendRequest<Full<Bytes>>)>,
    expected: BTreeMap<String, Expected>,
    deleted: Vec<String>,
}

impl Worker {
    fn new(soak: Arc<Soak>, application: usize, keys: &Keys, valid: Duration) -> Result<Self> {
        let valid = valid + Duration::from_secs(24 * 60 * 60);
        let token = Issuer::from_environment().token(keys, &merchant(application), valid)?;
        Ok(Self {
            soak,
            application,
            authorization: format!("Bearer {token}"),
            connection: None,
            expected: BTreeMap::new(),
            deleted: Vec::new(),
        })
    }

    async fn work(mut self) -> Self {
        while !self.soak.stop.load(Ordering::Relaxed) {
            let Some(id) = self.any_webhook() else {
                self.create().await;
                continue;
            };
            match random() % 10 {
                0..2 if self.expected.len() < KEPT => self.create().await,
                0..3 => self.delete(&id).await,
                3..5 => self.rotate(&id).await,
                5..7 => self.change(&id).await,
                7..9 => self.read(&id).await,
                _ => {
                    let _ = self.ask("GET", "?limit=100", None, None, &[200]).await;
                }
            }
        }
        self
    }

    fn any_webhook(&self) -> Option<String> {
        let number = usize::try_from(random()).ok()? % self.expected.len().max(1);
        self.expected.keys().nth(number).cloned()
    }

    async fn create(&mut self) {
        let body = json!({ "url": "https://merchant.example.com/hooks" });
        let created = if random().is_multiple_of(2) {
            // Without a key, what was not answered is forgotten.
            self.ask("POST", "", Some(&body), None, &[201]).await.ok()
        } else {
            let key = format!("create-{:016x}", random());
            self.retry_until_success("POST", "", Some(&body), Some(&key), &[201])
                .await
        };
        let Some((_, created)) = created else { return };
        count(&self.soak.acknowledged);
        let expected = Expected {
            fingerprint: secret_end(&created),
            is_active: Some(true),
        };
        match created["id"].as_str() {
            Some(id) if expected.fingerprint.is_some() => {
                self.expected.insert(id.to_owned(), expected);
            }
            _ => self.soak.lose("a webhook was created without id or secret"),
        }
    }

    async fn rotate(&mut self, id: &str) {
        let key = format!("rotate-{:016x}", random());
        let path = format!("/{id}/rotate");
        let rotated = self
            .retry_until_success("POST", &path, None, Some(&key), &[200])
            .await;
        if rotated.is_some() {
            count(&self.soak.acknowledged);
        }
        if let Some(expected) = self.expected.get_mut(id) {
            expected.fingerprint = rotated.and_then(|(_, rotated)| secret_end(&rotated));
        }
    }

    async fn change(&mut self, id: &str) {
        let Some(expected) = self.expected.get(id) else {
            return;
        };
        let is_active = !expected.is_active.unwrap_or_default();
        let body = json!({ "isActive": is_active });
        let since = Instant::now();
        let changed = self
            .retry_until_success("PATCH", &format!("/{id}"), Some(&body), None, &[200])
            .await;
        let stays = changed.is_some() && !self.late_writes(since);
        if let Some(expected) = self.expected.get_mut(id) {
            expected.is_active = stays.then_some(is_active);
        }
    }

    async fn delete(&mut self, id: &str) {
        self.expected.remove(id);
        // A delete whose answer failed may have taken effect.
        let answer = self
            .retry_until_success("DELETE", &format!("/{id}"), None, None, &[204, 404])
            .await;
        if answer.is_some() {
            self.deleted.push(id.to_owned());
        }
    }

    /// What is read is what was expected: at once, or soon when a write that was given up may take
    /// effect only now, which the service then notices and compensates.
    async fn read(&mut self, id: &str) {
        let since = Instant::now();
        while let Ok((_, webhook)) = self
            .ask("GET", &format!("/{id}"), None, None, &[200, 404])
            .await
        {
            let Err(problem) = self.compare(id, &webhook) else {
                return;
            };
            if !self.late_writes(since) || since.elapsed() > PATIENCE {
                return self.soak.lose(&problem);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether a write that was given up may have taken effect after this moment.
    fn late_writes(&self, since: Instant) -> bool {
        let given_up = since.checked_sub(DEADLINE + LATE).unwrap_or(since);
        self.soak.explains(self.application, Some(504), given_up)
    }

    /// Reports what of the webhook is not as expected.
    fn compare(&self, id: &str, read: &Value) -> Result<(), String> {
        let Some(expected) = self.expected.get(id) else {
            return Ok(());
        };
        let shown = read["keyFingerprint"].as_str();
        let same_secret = expected
            .fingerprint
            .as_ref()
            .is_none_or(|end| shown.is_some_and(|shown| shown.ends_with(end.as_str())));
        let same_state = expected
            .is_active
            .is_none_or(|is_active| read["isActive"] == is_active);
        if read["id"] == id && same_secret && same_state {
            return Ok(());
        }
        Err(format!(
            "{}: expected {:?}, active {:?}; read {read}",
            id_of(self.application, id),
            expected.fingerprint,
            expected.is_active
        ))
    }

    /// Everything that was acknowledged is there, and in the list; what was deleted is not.
    async fn read_back(&mut self) {
        let mut listed = Vec::new();
        for page in 1.. {
            let path = format!("?limit=100&page={page}");
            let Ok((_, list)) = self.ask("GET", &path, None, None, &[200]).await else {
                break;
            };
            let items = list["items"].as_array().cloned().unwrap_or_default();
            if items.is_empty() {
                break;
            }
            listed.extend(
                items
                    .iter()
                    .filter_map(|it| Some(it["id"].as_str()?.to_owned())),
            );
        }
        let ids: Vec<String> = self.expected.keys().cloned().collect();
        for id in ids {
            self.read(&id).await;
            if !listed.contains(&id) {
                let at = id_of(self.application, &id);
                self.soak.lose(&format!("{at}: is not in the list"));
            }
        }
        for id in std::mem::take(&mut self.deleted) {
            let path = format!("/{id}");
            let answer = self.ask("GET", &path, None, None, &[200, 404]).await;
            if matches!(answer, Ok((200, _))) || listed.contains(&id) {
                let at = id_of(self.application, &id);
                self.soak.lose(&format!("{at}: was deleted, and is back"));
            }
        }
    }

    /// Asks until the answer is a wanted one; `None` when it is one that nothing explains.
    async fn retry_until_success(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
        wanted: &[u16],
    ) -> Option<(u16, Value)> {
        loop {
            match self.ask(method, path, body, key, wanted).await {
                Ok(answer) => return Some(answer),
                Err(Failure { explained: true }) => sleep(Duration::from_millis(50)).await,
                Err(Failure { explained: false }) => return None,
            }
        }
    }

    /// Asks once for something under the application's webhooks, and counts.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
        wanted: &[u16],
    ) -> Result<(u16, Value), Failure> {
        let since = Instant::now();
        let uri = format!(
            "/api/v1/applications/{}/webhooks{path}",
            id(self.application)
        );
        count(&self.soak.requests);
        let answer = timeout(PATIENCE, self.exchange(method, &uri, body, key)).await;
        let answer = answer.map_err(anyhow::Error::from).flatten();
        let outcome = answer.as_ref().ok().map(|(status, _)| *status);
        if let Ok((status, json)) = &answer
            && wanted.contains(status)
        {
            return Ok((*status, json.clone()));
        }
        let explained = self.soak.explains(self.application, outcome, since);
        if explained {
            count(&self.soak.explained);
        } else if count(&self.soak.unexplained) < DESCRIBED {
            let seen = match &answer {
                Ok((status, json)) => format!("{status} {json}"),
                Err(error) => format!("{error:#}"),
            };
            eprintln!("unexplained: {method} {uri}, {:?}: {seen}", since.elapsed());
        }
        if outcome.is_none() {
            sleep(Duration::from_millis(50)).await;
        }
        Err(Failure { explained })
    }

    async fn exchange(
        &mut self,
        method: &str,
        uri: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<(u16, Value)> {
        let address = *locked(&self.soak.address);
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(uri)
            .header("host", address.to_string())
            .header("authorization", &self.authorization);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)))?;
        let mut sender = match self.connection.take() {
            Some((there, sender)) if there == address => sender,
            _ => connect(address).await?,
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        self.connection = Some((address, sender));
        let json = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body)?,
        };
        Ok((status, json))
    }
}

struct Failure {
    explained: bool,
}

fn id_of(application: usize, webhook: &str) -> String {
    format!("webhook/{}/{webhook}", id(application))
}

/// What a fingerprint shows of a secret: its last four characters.
fn secret_end(webhook: &Value) -> Option<String> {
    let secret = webhook["signingSecret"].as_str()?;
    Some(secret.get(secret.len().checked_sub(4)?..)?.to_owned())
}

fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_that_was_on_explains_a_failure_and_only_its_own() {
        let soak = Soak::new(SocketAddr::from(([127, 0, 0, 1], 1)));
        let before = Instant::now();
        assert!(!soak.explains(0, Some(502), before));
        soak.explain(Some(1), Some(502));
        soak.explain(None, None);
        assert!(soak.explains(1, Some(502), before));
        assert!(!soak.explains(0, Some(502), before), "another application");
        assert!(!soak.explains(1, Some(504), before), "another status");
        assert!(soak.explains(0, None, before));
        soak.calm();
        assert!(soak.explains(1, Some(502), before), "it ran meanwhile");
        std::thread::sleep(Duration::from_millis(2));
        assert!(!soak.explains(1, Some(502), Instant::now()), "it is over");
    }

    #[test]
    fn what_was_told_and_is_not_read_is_lost() {
        let soak = Arc::new(Soak::new(SocketAddr::from(([127, 0, 0, 1], 1))));
        let keys = Keys::ensure(&crate::keys::tests::scratch("soak")).expect("keys");
        let mut worker = Worker::new(soak, 0, &keys, CALM).expect("a worker");
        let expected = Expected {
            fingerprint: secret_end(&json!({ "signingSecret": "whsec_abcd1234" })),
            is_active: Some(true),
        };
        worker.expected.insert("w".to_owned(), expected);
        let lost = |read: Value| worker.compare("w", &read).is_err();
        let read = json!({"id": "w", "keyFingerprint": "whsec_****1234", "isActive": true});
        assert!(!lost(read.clone()));
        for (field, other) in [
            ("id", json!("v")),
            ("keyFingerprint", json!("whsec_****1235")),
            ("isActive", json!(false)),
        ] {
            let mut read = read.clone();
            read[field] = other;
            assert!(lost(read), "{field}");
        }
        assert!(lost(json!({"error": "Not Found"})));
    }
}
