//! Servers: the built component on a runtime, each with a state directory of its own.
//!
//! Long because both runtimes are started, watched and ended here.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};

use super::application::Application;
use super::begin;
use super::store::Store;
use super::tokens;

/// How long a server may take until it serves: it compiles the component first.
const START: Duration = Duration::from_secs(180);

/// The key that encrypts secrets in the tests.
pub const SECRETS_KEY: [u8; 32] = *b"a key for these tests only: 32 b";

/// What the operator's requests carry, where a test has an operator.
pub const OPERATOR_TOKEN: &str = "an-operators-token-for-these-tests";

/// Whether the suite runs against Spin: there the store cannot be made to fail or be looked into.
pub fn on_spin() -> bool {
    match std::env::var("WEBHOOKS_RUNTIME").as_deref() {
        Err(_) | Ok("" | "local") => false,
        Ok("spin") => true,
        Ok(other) => panic!("WEBHOOKS_RUNTIME is `local` or `spin`, not `{other}`"),
    }
}

/// Whether several processes can have one store: a SQLite file of the local runtime's, or what
/// Spin's runtime config chooses.
pub fn store_can_be_shared() -> bool {
    !on_spin() || runtime_config().contains("[key_value_store.default]")
}

/// The suite's runtime config: what the project ships, unless Spin is to run with another one.
fn runtime_config_file() -> PathBuf {
    std::env::var_os("WEBHOOKS_RUNTIME_CONFIG").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/runtime-config.toml"),
        PathBuf::from,
    )
}

fn runtime_config() -> String {
    let file = runtime_config_file();
    let text = std::fs::read_to_string(&file);
    text.unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The service as most tests want it: the defaults of every variable, but no hurry.
///
/// The deadline is long because these tests are not about it and machines may be busy.
pub fn standard() -> &'static Server {
    begin();
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        Setup::new()
            .variable("store_timeout_ms", "40000")
            .start_shared()
    });
    &SERVER
}

/// The service with every variable set to something else than its default.
pub fn custom() -> &'static Server {
    begin();
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        Setup::new()
            .variable("jwt_issuer", "https://issuer.example.com/")
            .variable("jwt_audience", "application-webhooks")
            .variable("jwt_merchant_claim", "merchant_id")
            .variable("event_types", "payment.created,payment.failed,refund_v2")
            .variable("max_webhooks_per_application", "3")
            .variable("store_timeout_ms", "40000")
            .variable("allow_insecure_urls", "true")
            .variable("cors_allowed_origins", "https://docs.example.com")
            .start_shared()
    });
    &SERVER
}

/// The service whose deliveries may go to [`Receiver`](super::Receiver)s on this machine.
pub fn delivering() -> &'static Server {
    begin();
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        Setup::new()
            .variable("allow_insecure_urls", "true")
            .variable("delivery_scheme", "*")
            .variable("store_timeout_ms", "40000")
            .into_private_networks()
            .start_shared()
    });
    &SERVER
}

/// The service whose events go to [`Receiver`](super::Receiver)s on this machine, on a schedule of
/// seconds: [`SCHEDULE`].
pub fn dispatching() -> &'static Server {
    begin();
    static SERVER: LazyLock<Server> = LazyLock::new(|| dispatching_setup().start_shared());
    &SERVER
}

/// What [`dispatching`] is started with.
pub fn dispatching_setup() -> Setup {
    let schedule = SCHEDULE.map(|pause| pause.to_string()).join(",");
    Setup::new()
        .variable("allow_insecure_urls", "true")
        .variable("delivery_scheme", "*")
        .variable("store_timeout_ms", "40000")
        .variable("retry_schedule", &schedule)
        .into_private_networks()
        .probed()
}

/// The pauses before attempts of [`dispatching`], in seconds.
pub const SCHEDULE: [u64; 4] = [0, 1, 2, 3];

/// The service for many webhooks of one application.
pub fn bulk() -> &'static Server {
    begin();
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        Setup::new()
            .variable("max_webhooks_per_application", "1000")
            .variable("store_timeout_ms", "40000")
            .start_shared()
    });
    &SERVER
}

/// The service with the deadline that tests of it use: [`HASTE`].
pub fn short_deadline() -> &'static Server {
    begin();
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        let millis = HASTE.as_millis().to_string();
        Setup::new()
            .variable("store_timeout_ms", &millis)
            .start_shared()
    });
    &SERVER
}

/// The deadline of [`short_deadline`].
pub const HASTE: Duration = Duration::from_millis(300);

/// A server that is not started yet.
#[derive(Clone)]
pub struct Setup {
    variables: BTreeMap<String, String>,
    documents: Vec<(String, String)>,
    manifest: PathBuf,
    runtime_config: Option<PathBuf>,
    resolved: Vec<String>,
    flags: Vec<&'static str>,
    state_dir: PathBuf,
    applications: Vec<Application>,
    is_shared: bool,
}

impl Setup {
    pub fn new() -> Self {
        begin();
        Self {
            variables: BTreeMap::from([
                ("jwks".to_owned(), tokens::configured_key_set()),
                (
                    "secrets_key".to_owned(),
                    Base64::encode_string(&SECRETS_KEY),
                ),
                // Tests make more changes than any merchant.
                ("max_changes_per_minute".to_owned(), "0".to_owned()),
            ]),
            documents: Vec::new(),
            manifest: Path::new(env!("CARGO_MANIFEST_DIR")).join("spin.toml"),
            runtime_config: Some(runtime_config_file()),
            resolved: Vec::new(),
            // A probe keeps an instance alive, and makes operations that no test asked for.
            flags: vec!["--no-probe"],
            state_dir: fresh_state_dir(),
            // Known from the start, since a running Spin cannot be given any more.
            applications: (0..256).map(|_| Application::new()).collect(),
            is_shared: false,
        }
    }

    /// Starts a server that several tests use.
    pub fn start_shared(mut self) -> Server {
        self.is_shared = true;
        self.start()
    }

    /// Sets a variable.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Leaves a variable unset.
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// Puts a document into the store before the server starts.
    pub fn document(mut self, key: &str, value: &str) -> Self {
        self.documents.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Uses another manifest than the project's.
    pub fn manifest(mut self, text: &str) -> Self {
        self.manifest = self.state_dir.join("spin.toml");
        std::fs::write(&self.manifest, text).expect("write a manifest");
        self
    }

    /// Uses this runtime config instead of the suite's.
    pub fn runtime_config(mut self, file: &Path) -> Self {
        self.runtime_config = Some(file.to_owned());
        self
    }

    /// Uses no runtime config, as who forgets it.
    pub fn without_runtime_config(mut self) -> Self {
        self.runtime_config = None;
        self
    }

    /// Resolves a host name to this address. Spin cannot be told to.
    pub fn resolve(mut self, host: &str, address: &str) -> Self {
        self.resolved.push(format!("{host}={address}"));
        self
    }

    /// Asks the dispatcher every second whether it is ready, as a load balancer does.
    pub fn probed(mut self) -> Self {
        self.flags.retain(|flag| *flag != "--no-probe");
        self
    }

    /// Asks the dispatcher nothing.
    pub fn unprobed(mut self) -> Self {
        self.flags.push("--no-probe");
        self
    }

    /// Cuts off what is running when it is told to stop. Spin always does.
    pub fn without_drain(mut self) -> Self {
        self.flags.push("--no-drain");
        self
    }

    /// Where its data is.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Lets deliveries into private networks, and leaves the suite's runtime config as it is
    /// otherwise: the tests' endpoints and identity providers are there.
    pub fn into_private_networks(mut self) -> Self {
        let text = runtime_config();
        let (before, blocked) = text.split_once("block_networks = [").expect("a block");
        let (_, after) = blocked.split_once("\n]").expect("its end");
        let open = format!("{before}{after}").replace("\"blocked\"", "\"open\"");
        let file = self.state_dir.join("runtime-config.toml");
        std::fs::write(&file, open).expect("write a runtime config");
        self.runtime_config = Some(file);
        self
    }

    /// Another process of the same service: the same variables, applications and store.
    pub fn another(&self) -> Self {
        let mut other = self.clone();
        if on_spin() {
            other.state_dir = fresh_state_dir();
        }
        other
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start(self) -> Server {
        self.try_start().unwrap_or_else(|refusal| {
            panic!("the server did not start: {refusal:?}");
        })
    }

    /// Starts it and waits until it serves or ends.
    pub fn try_start(self) -> Result<Server, Refusal> {
        let port = free_port();
        let mut command = if on_spin() {
            self.spin(port)
        } else {
            self.local_runtime()
        };
        self.variables_of(&mut command);
        let mut child = command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
        let stdout = Output::read(child.stdout.take().expect("piped"));
        let stderr = Output::read(child.stderr.take().expect("piped"));
        let stdin = child.stdin.take();

        let since = Instant::now();
        let address = loop {
            if let Some(address) = stdout.address_after("Serving http://") {
                break address;
            }
            if let Some(status) = child.try_wait().expect("wait for the server") {
                return Err(Refusal {
                    status,
                    stdout: stdout.rest(),
                    stderr: stderr.rest(),
                });
            }
            assert!(
                since.elapsed() < START,
                "the server does not serve: {:?} {:?}",
                stdout.text(),
                stderr.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        if on_spin() && !self.flags.contains(&"--no-probe") {
            std::thread::spawn(move || probe(address));
        }
        Ok(Server {
            address,
            control: stdout.address_after("Control http://"),
            store: (!on_spin()).then(|| Store::open(&self.state_dir)),
            next: AtomicUsize::new(0),
            ahead_millis: AtomicU64::new(0),
            setup: self,
            process: Mutex::new(Process { child, stdin }),
            stdout,
            stderr,
        })
    }

    /// Gives a command these variables and no others.
    fn variables_of(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SPIN_VARIABLE_") {
                command.env_remove(name);
            }
        }
        for (name, value) in &self.variables {
            command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
        }
    }

    fn local_runtime(&self) -> Command {
        let mut command = Command::new(built("WEBHOOKS_LOCAL_RUNTIME", "local-runtime"));
        command
            .arg("--manifest")
            .arg(&self.manifest)
            .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .arg("--stop-with-stdin")
            .args(&self.flags)
            .arg("--state-dir")
            .arg(&self.state_dir)
            .args(self.key_value_flags());
        if let Some(file) = &self.runtime_config {
            command.arg("--runtime-config-file").arg(file);
        }
        for resolved in &self.resolved {
            command.arg("--resolve").arg(resolved);
        }
        command
    }

    fn spin(&self, port: u16) -> Command {
        // Spin does not watch its stdin: the shell does, and takes the process group, which is
        // its own, down with it.
        const UNTIL_STDIN_CLOSES: &str = r#""$@" </dev/null & cat >/dev/null; kill -TERM 0"#;
        let mut command = Command::new("sh");
        command
            .args(["-c", UNTIL_STDIN_CLOSES, "sh", "spin", "up", "--from"])
            .arg(&self.manifest)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--state-dir")
            .arg(&self.state_dir)
            .args(self.key_value_flags());
        if let Some(file) = &self.runtime_config {
            command.arg("--runtime-config-file").arg(file);
        }
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    fn key_value_flags(&self) -> impl Iterator<Item = String> {
        let applications = self.applications.iter().map(|it| (it.key(), it.document()));
        applications
            .chain(self.documents.iter().cloned())
            .flat_map(|(key, value)| ["--key-value".to_owned(), format!("{key}={value}")])
    }
}

/// Asks the dispatcher every second whether it is ready, until nobody answers: what the local runtime
/// does by itself.
fn probe(address: SocketAddr) {
    let request =
        format!("GET /dispatcher/readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    while let Ok(mut stream) = std::net::TcpStream::connect(address) {
        let asked = stream.write_all(request.as_bytes());
        let _ = asked.and_then(|()| stream.read_to_end(&mut Vec::new()));
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// A server that ended instead of serving.
#[derive(Debug)]
pub struct Refusal {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub ok: bool,
    pub stdout: String,
}

/// A server that runs until it is dropped, or until the tests end.
pub struct Server {
    address: SocketAddr,
    control: Option<SocketAddr>,
    store: Option<Store>,
    setup: Setup,
    next: AtomicUsize,
    /// How far its clock is ahead of this machine's, in milliseconds.
    ahead_millis: AtomicU64,
    process: Mutex<Process>,
    stdout: Output,
    stderr: Output,
}

struct Process {
    child: Child,
    /// Its end is the server's end, so that none outlives the tests however they end.
    stdin: Option<ChildStdin>,
}

impl Server {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether several tests use it.
    pub fn is_shared(&self) -> bool {
        self.setup.is_shared
    }

    /// The base URL.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The control interface of the local runtime.
    pub fn control(&self) -> SocketAddr {
        self.control
            .expect("a test that needs the local runtime asks for it first")
    }

    /// The store, from the outside.
    pub fn store(&self) -> &Store {
        self.store
            .as_ref()
            .expect("a test that needs the local runtime asks for it first")
    }

    /// An application that no other test uses.
    pub fn application(&self) -> Application {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match (self.setup.applications.get(number), &self.store) {
            (Some(application), _) => application.clone(),
            (None, Some(store)) => {
                let application = Application::new();
                store.set(&application.key(), application.document().as_bytes());
                application
            }
            (None, None) => panic!("more than {number} applications: make more from the start"),
        }
    }

    /// How far its clock is ahead of this machine's.
    pub fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_millis.load(Ordering::SeqCst))
    }

    /// Notes how far its clock is ahead, for the tokens of its requests.
    pub(super) fn keep_ahead(&self, ahead: Duration) {
        let millis = ahead.as_millis() as u64;
        self.ahead_millis.fetch_max(millis, Ordering::SeqCst);
    }

    /// Whether its process has ended of itself.
    pub fn has_ended(&self) -> bool {
        let mut process = self.process.lock().unwrap_or_else(|e| e.into_inner());
        process.child.try_wait().expect("wait").is_some()
    }

    /// What the component and the runtime have printed so far.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// The lines that the component has written to its stdout so far, with the runtime's own.
    pub fn stdout_lines(&self) -> Vec<String> {
        // Spin passes a component's stdout on to its own stderr.
        let output = if on_spin() {
            &self.stderr
        } else {
            &self.stdout
        };
        output.text().lines().map(str::to_owned).collect()
    }

    /// Runs a command of `cargo xtask` for its operator, with its variables.
    pub async fn xtask(&self, arguments: &[&str]) -> Ended {
        let mut command = self.xtask_command(arguments);
        command.stderr(Stdio::inherit());
        let output = command.output().await.expect("run xtask");
        Ended {
            ok: output.status.success(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        }
    }

    /// A command of `cargo xtask` about this server, with its variables, that ends with the test.
    pub fn xtask_command(&self, arguments: &[&str]) -> tokio::process::Command {
        let program = built("WEBHOOKS_XTASK", "xtask");
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .args(["--url", &self.base()])
            .arg("--state-dir")
            .arg(&self.setup.state_dir)
            .kill_on_drop(true);
        self.setup.variables_of(command.as_std_mut());
        command.env("SPIN_VARIABLE_OPERATOR_TOKEN", OPERATOR_TOKEN);
        command
    }

    /// Kills it as `kill -9` does, and hands back what it was started with: the same store.
    pub fn kill(self) -> Setup {
        let mut process = self.process.lock().unwrap_or_else(|e| e.into_inner());
        process.child.kill().expect("kill");
        process.child.wait().expect("wait");
        self.setup.clone()
    }

    /// Ends it, and hands back what it was started with: the same store.
    pub fn stop(self) -> Setup {
        self.setup.clone()
    }

    /// Tells it to stop (SIGTERM), waits until it has ended, and hands back what it was started with.
    pub fn terminate(self) -> Setup {
        let mut process = self.process.lock().unwrap_or_else(|e| e.into_inner());
        if on_spin() {
            // The shell around it passes the signal on.
            process.stdin.take();
        } else {
            let pid = process.child.id().to_string();
            let told = Command::new("kill").args(["-TERM", &pid]).status();
            assert!(told.expect("kill").success());
        }
        process.child.wait().expect("wait");
        self.setup.clone()
    }

    /// Waits until it has died of itself, and hands back what it was started with.
    pub fn wait(self) -> Setup {
        let mut process = self.process.lock().unwrap_or_else(|e| e.into_inner());
        process.child.wait().expect("wait");
        self.setup.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(|e| e.into_inner());
        process.stdin.take();
        // It has nothing left to lose: give it a moment to end by itself, then end it.
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(5) {
            if !matches!(process.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = process.child.kill();
        let _ = process.child.wait();
    }
}

/// What a server prints, collected while it runs.
struct Output {
    text: Arc<Mutex<String>>,
    reader: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Output {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let writer = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let mut text = writer.lock().unwrap_or_else(|e| e.into_inner());
                text.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self {
            text,
            reader: Mutex::new(Some(reader)),
        }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// All of it, once the process has ended.
    fn rest(&self) -> String {
        let reader = self.reader.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(reader) = reader {
            reader.join().expect("read the output");
        }
        self.text()
    }

    fn address_after(&self, prefix: &str) -> Option<SocketAddr> {
        let text = self.text();
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(prefix))?;
        let address = line.split(['/', ' ']).next()?;
        Some(
            address
                .parse()
                .unwrap_or_else(|e| panic!("{prefix}{line}: {e}")),
        )
    }
}

/// Where this run keeps its state. What it leaves is there to look at until the next run.
fn run_dir() -> &'static Path {
    static RUN_DIR: LazyLock<PathBuf> = LazyLock::new(|| {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("http");
        for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
            let owner = Path::new("/proc").join(entry.file_name());
            if !owner.exists() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        parent.join(std::process::id().to_string())
    });
    &RUN_DIR
}

/// A directory of its own in [`run_dir`].
fn fresh_state_dir() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let state_dir = run_dir().join(number.to_string());
    std::fs::create_dir_all(&state_dir).unwrap_or_else(|e| panic!("{}: {e}", state_dir.display()));
    state_dir
}

/// A program of this project: where the variable says, or beside the tests.
fn built(variable: &str, name: &str) -> PathBuf {
    let program = std::env::var_os(variable).map_or_else(
        || target_dir().join(name),
        |program| Path::new(env!("CARGO_MANIFEST_DIR")).join(program),
    );
    assert!(
        program.exists(),
        "{} is missing: run `cargo xtask test`, which builds it",
        program.display()
    );
    program
}

/// The directory of this profile's programs: this test is in its `deps`.
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.ancestors()
        .nth(2)
        .expect("target/debug/deps/test")
        .to_owned()
}

/// A port that was free a moment ago. Only Spin needs it: it does not tell which it took.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
