//! Components that are served, and what is known of them from outside.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64ct::{Base64, Encoding};
use do_nothing::recording::Recording;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::Bench;
use super::seed::fresh_store;
use super::store::Filled;
use crate::project;
use crate::runtime::Runtime;

/// What encrypts the secrets in the benchmark's stores.
pub const SECRETS_KEY: [u8; 32] = [7; 32];

/// The manifest of the component that replays.
pub fn replaying() -> PathBuf {
    project::root().join("bench/spin.toml")
}

/// The recordings as that component reads them.
fn lines(recordings: &[(String, Recording)]) -> Result<String> {
    let lines = recordings.iter().map(|(_, it)| serde_json::to_string(it));
    Ok(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
}

/// Both components, each with a store of its own with the same content.
pub struct Pair {
    pub service: Server,
    pub nothing: Server,
}

impl Pair {
    pub fn start(bench: &Bench, name: &str, applications: usize) -> Result<Self> {
        let start = |component: &str, manifest: PathBuf| {
            let state = fresh_store(&format!("{name}-{component}"), applications)?;
            Server::start(bench, &manifest, &state, &[])
        };
        Ok(Self {
            service: start("service", project::root().join("spin.toml"))?,
            nothing: start("nothing", replaying())?,
        })
    }
}

/// A component that is served. Ends when this is dropped.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    pub control: Option<SocketAddr>,
    /// Its documents, where they end with it.
    _store: Filled,
}

impl Server {
    /// Serves what the manifest names. Its documents are in the state directory, as a SQLite file.
    pub fn start(bench: &Bench, manifest: &Path, state: &Path, options: &[&str]) -> Result<Self> {
        let store = bench.store.fill(state)?;
        let config = state.join("runtime-config.toml");
        fs::write(&config, toml::to_string(&store.config(&bench.config))?)?;
        let address = free_address()?;
        let mut command = bench.runtime.serve(manifest, address, state, &config, &[]);
        command.args(store.arguments()).args(options);
        let control = match bench.runtime {
            Runtime::Local(_) => Some(free_address()?),
            Runtime::Spin(_) => None,
        };
        if let Some(control) = control {
            command.args(["--control", &control.to_string()]);
        }
        // Both say on standard output that they serve, and then one line per request: into a file,
        // because who reads a pipe takes the processors' time.
        let (output, log) = (state.join("output"), state.join("log"));
        let child = command
            .env("SPIN_VARIABLE_JWKS", &bench.tokens.jwks)
            .env(
                "SPIN_VARIABLE_SECRETS_KEY",
                Base64::encode_string(&SECRETS_KEY),
            )
            .env("SPIN_VARIABLE_MAX_WEBHOOKS_PER_APPLICATION", "10000")
            .env("SPIN_VARIABLE_MAX_CHANGES_PER_MINUTE", "0")
            .env("SPIN_VARIABLE_STORE_TIMEOUT_MS", "20000")
            .env("SPIN_VARIABLE_RECORDINGS", lines(&bench.recordings)?)
            .envs(bench.environment.iter().cloned())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&output)?)
            .stderr(fs::File::create(&log)?)
            .spawn()
            .context("the runtime does not start")?;
        let mut server = Self {
            child,
            address,
            control,
            _store: store,
        };
        while !fs::read_to_string(&output)?.contains("Serving") {
            if server.child.try_wait()?.is_some() {
                bail!("the runtime ended: {}", fs::read_to_string(&log)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for _ in 0..100 {
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the runtime does not listen on {address}")
    }

    pub fn resident_kib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .context("no VmRSS")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // A group that is gone needs no signal.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// An address of the loopback that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// How long a request takes on a connection of its own, in seconds.
pub fn time(address: SocketAddr, request: &str) -> Result<f64> {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let took = started.elapsed().as_secs_f64();
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("a read was answered {answer}");
    }
    Ok(took)
}

pub fn live_instances(control: SocketAddr) -> Result<u64> {
    let stats = stats(control)?;
    stats["liveInstances"]
        .as_u64()
        .context("no count of instances")
}

/// What the local runtime has counted since it started.
pub fn stats(control: SocketAddr) -> Result<Value> {
    let mut stream = TcpStream::connect(control)?;
    stream.write_all(b"GET /stats HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no stats")?;
    Ok(serde_json::from_str(body)?)
}
