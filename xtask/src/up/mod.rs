//! `cargo xtask up`: from a fresh clone to a service that answers.
//!
//! Long because it is one story, from the keys to the line that can be pasted.

pub mod demo;
pub mod endpoints;
mod log_line;
mod probe;
mod screen;
mod variables;

use std::io::{IsTerminal, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use application_webhooks::model::application::ApplicationRecord;
use application_webhooks::store::keys::Named;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::keys::Keys;
use crate::runtime::{self, Choice, Runtime};
use crate::token::{self, Issuer};
use crate::up::endpoints::Endpoints;
use crate::up::screen::{Screen, Tokens};
use crate::up::variables::{Defaults, environment_name};
use crate::{build, portal, project};

/// Long enough for a day's work with one curl line.
const TOKEN_VALID: Duration = Duration::from_secs(12 * 60 * 60);

/// How long the screen waits for a link to the portal.
const LINK_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Args {
    /// Where to serve, an address and a port or a port of 127.0.0.1; port 0 takes a free one
    #[arg(
        long, value_name = "[ADDRESS:]PORT", default_value = "127.0.0.1:3000",
        value_parser = runtime::address
    )]
    listen: SocketAddr,
    /// Put a value into the store before serving; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    key_value: Vec<String>,
    /// Where the data and the development keys are kept [default: .spin]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
    /// What to serve with
    #[arg(long, value_enum, default_value = "auto")]
    runtime: Choice,
}

fn pair(text: &str) -> Result<String, String> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return Err("must be KEY=VALUE".to_owned());
    };
    match Named::parse(key) {
        Some(Named::Application(_)) => {
            let application = serde_json::from_str::<ApplicationRecord>(value);
            application.map_err(|error| {
                format!(
                    "must be JSON that names the application's merchant, such as \
                     {key}={{\"merchantId\":\"m1\"}} ({error})"
                )
            })?;
        }
        Some(Named::Misspelled) => {
            return Err(format!(
                "{key} begins like a key of the service, and is none: an application's is \
                 application/ and 1 to 128 letters, digits, `-`, `_`, `.` or `~`"
            ));
        }
        _ => {}
    }
    Ok(text.to_owned())
}

pub fn run(args: Args) -> Result<ExitCode> {
    let state_dir = project::state_dir(args.state_dir.as_deref())?;
    // What can be wrong is found before the long build.
    let manifest = project::manifest()?;
    ensure_free(args.listen)?;
    let runtime = Runtime::find(args.runtime)?;
    let keys = Keys::ensure(&state_dir)?;
    let environment = |name: &str| std::env::var(name).ok();
    let endpoints = Endpoints::of(args.listen, &environment);
    let defaults = Defaults(&manifest);
    let given = |variable: &str| environment(&environment_name(variable));
    let ours = ours(&keys, endpoints)?;
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    for warning in defaults.unknown(names) {
        eprintln!("warning: {warning}");
    }
    defaults.check(&given, &|variable| {
        let ours = ours.iter().find(|(name, _)| *name == variable);
        ours.map(|(_, value)| value.clone())
    })?;

    match runtime {
        Runtime::Local(_) => build::components_beside(&[], project::build_local_runtime)?,
        Runtime::Spin(_) => build::components()?,
    }

    let mut pairs = args.key_value;
    let merchant = demo::ensure(&state_dir, &mut pairs)?;
    let runtime_config = match endpoints {
        Endpoints::Public => runtime::shipped_config(),
        Endpoints::Local { .. } => endpoints::config_for_local_endpoints(&state_dir)?,
    };
    let mut command = runtime.serve(
        &project::root().join("spin.toml"),
        args.listen,
        &state_dir,
        &runtime_config,
        &pairs,
    );
    for (variable, value) in ours {
        if given(variable).is_none() {
            command.env(environment_name(variable), value);
        }
    }
    // With other keys than ours, our tokens are worth nothing.
    let tokens = match given("jwks") {
        Some(jwks) if !keys.are_in(&jwks) => None,
        _ => Some(tokens(&keys, &merchant)?),
    };
    let event_types =
        given("event_types").or_else(|| defaults.get("event_types").map(str::to_owned));
    let event_types = event_types.unwrap_or_default();
    let opener = tokens.as_ref().map(|_| portal::token(&keys)).transpose()?;
    let screen = |base: &str, portal: Option<&str>| {
        let screen = Screen {
            base,
            runtime: runtime.name(),
            merchant: &merchant,
            tokens: tokens.as_ref(),
            state_dir: args.state_dir.as_deref().map(|_| state_dir.as_path()),
            local_endpoints: endpoints != Endpoints::Public,
            event_type: event_types.split(',').next().unwrap_or_default().trim(),
            portal,
        };
        screen.to_string()
    };

    eprintln!("Starting {}", runtime.name());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(command, &runtime, opener.as_deref(), &screen))
}

/// The variables that are set here where the environment does not.
fn ours(keys: &Keys, endpoints: Endpoints) -> Result<Vec<(&'static str, String)>> {
    let mut ours = vec![
        ("jwks", keys.jwks()),
        ("secrets_key", keys.secrets_key.clone()),
        ("operator_token", keys.operator_token()?),
    ];
    if endpoints == (Endpoints::Local { asked: false }) {
        ours.push(("allow_insecure_urls", "true".to_owned()));
        ours.push(("delivery_scheme", "*".to_owned()));
    }
    Ok(ours)
}

fn tokens(keys: &Keys, merchant: &str) -> Result<Tokens> {
    let issuer = Issuer::from_environment();
    let scope = token::publisher_scope();
    Ok(Tokens {
        merchant: issuer.token(keys, merchant, TOKEN_VALID)?,
        publisher: issuer.scoped_token(keys, &scope, TOKEN_VALID)?,
    })
}

/// Says so when nobody can listen there, as far as that can be known before.
fn ensure_free(listen: SocketAddr) -> Result<()> {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};

    let Err(error) = TcpListener::bind(listen) else {
        return Ok(());
    };
    match error.kind() {
        AddrInUse => bail!(
            "{listen} is in use: stop what listens there, or choose another port with --listen {}",
            SocketAddr::new(listen.ip(), listen.port().checked_add(1).unwrap_or(3000))
        ),
        AddrNotAvailable => bail!(
            "{} is no address of this machine: choose one with --listen, such as 127.0.0.1:{}",
            listen.ip(),
            listen.port()
        ),
        PermissionDenied => bail!(
            "port {} needs privileges: choose one above 1023 with --listen",
            listen.port()
        ),
        _ => bail!("{listen} cannot be listened on ({error}): choose another with --listen"),
    }
}

/// Runs the runtime until it ends, and shows the screen once it serves.
///
/// It has a process group of its own, so that a signal reaches it once, from
/// here, whether a terminal or a supervisor sent it.
async fn serve(
    mut command: std::process::Command,
    runtime: &Runtime,
    opener: Option<&str>,
    screen: &dyn Fn(&str, Option<&str>) -> String,
) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;

    let name = runtime.name();
    let program = command.get_program().display().to_string();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;

    command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} does not start"))?;
    let group = Group::of(&child);
    // Held open as long as this process lives: see --stop-with-stdin.
    let _stdin = child.stdin.take();

    let spoke = Arc::new(AtomicBool::new(false));
    let (serving, mut served) = mpsc::channel(1);
    let output = child.stdout.take().map(|stdout| {
        let out = std::io::stdout();
        let readable = out.is_terminal();
        tokio::spawn(copy(stdout, out, readable, move |line| {
            let base = base_address(line);
            base.is_some_and(|base| serving.try_send(base).is_ok()) || probe::is_uneventful(line)
        }))
    });
    let errors = child.stderr.take().map(|stderr| {
        let spoke = spoke.clone();
        let out = std::io::stderr();
        let readable = out.is_terminal();
        // Spin passes the components' lines on here.
        tokio::spawn(copy(stderr, out, readable, move |line| {
            spoke.store(true, Ordering::Relaxed);
            probe::is_uneventful(line)
        }))
    });

    let mut shown = false;
    let mut asked = false;
    let status = loop {
        let signal = tokio::select! {
            status = child.wait() => break status?,
            Some(base) = served.recv(), if !shown => {
                shown = true;
                let base = reachable(&base);
                let link = match opener {
                    Some(token) => portal_link(&base, token).await,
                    None => None,
                };
                print(&screen(&base, link.as_deref()));
                // The local runtime asks itself.
                if matches!(runtime, Runtime::Spin(_)) {
                    tokio::spawn(probe::run(base));
                }
                continue;
            }
            _ = interrupts.recv() => Signal::INT,
            _ = terminations.recv() => Signal::TERM,
            _ = hangups.recv() => Signal::TERM,
        };
        // Who asks twice does not want to wait.
        group.signal(if asked { Signal::KILL } else { signal });
        asked = true;
    };
    // What Spin leaves behind when it is killed.
    group.signal(Signal::KILL);
    for task in [output, errors].into_iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_secs(1), task).await;
    }

    if !shown && !asked && !spoke.load(Ordering::Relaxed) {
        bail!("{name} ended before it served ({status}), and did not say why: {program}");
    }
    if shown && !asked {
        eprintln!("error: {name} ended by itself ({status}); its own messages are above");
    }
    Ok(exit_code(status))
}

/// A link to the demo application's portal. Without one the screen says how to make it.
async fn portal_link(base: &str, token: &str) -> Option<String> {
    let capabilities: Vec<&str> = portal::CAPABILITIES.split(',').collect();
    let link = portal::link(base, token, demo::APPLICATION, &capabilities);
    let link = tokio::time::timeout(LINK_TIMEOUT, link).await;
    match link.ok()? {
        Ok(link) => Some(link),
        Err(error) => {
            eprintln!("warning: no link to the portal: {error:#}");
            None
        }
    }
}

/// The process group of a child.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(pid.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // A group that is gone needs no signal.
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// Copies line by line, without the lines that `taken` keeps for itself. Where people read them, those
/// of the log are `readable`; programs get them as they are, in JSON.
async fn copy(
    from: impl AsyncRead + Unpin,
    mut to: impl std::io::Write,
    readable: bool,
    taken: impl Fn(&[u8]) -> bool,
) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
        if !taken(&line) {
            if let Some(text) = log_line::readable(&line).filter(|_| readable) {
                line = text.into_bytes();
            }
            // When nobody reads us, the service goes on all the same.
            let _ = to.write_all(&line).and_then(|()| to.flush());
        }
        line.clear();
    }
}

fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Both runtimes say `Serving http://127.0.0.1:3000` once they do.
fn base_address(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let address = line.split("Serving").nth(1)?.split("http://").nth(1)?;
    let address = address.split_whitespace().next()?;
    address
        .parse::<SocketAddr>()
        .ok()
        .map(|address| format!("http://{address}"))
}

/// The address to connect to: for a socket that listens everywhere, this machine.
fn reachable(base: &str) -> String {
    let Some(address) = base
        .strip_prefix("http://")
        .and_then(|address| address.parse::<SocketAddr>().ok())
        .filter(|address| address.ip().is_unspecified())
    else {
        return base.to_owned();
    };
    let ip = match address.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The child's own status, as a shell would pass it on.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_either_runtime() {
        for (line, expected) in [
            (
                "Serving http://127.0.0.1:3000\n",
                Some("http://127.0.0.1:3000"),
            ),
            (
                "\u{1b}[1mServing\u{1b}[0m http://[::1]:80\n",
                Some("http://[::1]:80"),
            ),
            ("Control http://127.0.0.1:3001\n", None),
            ("Serving soon\n", None),
            ("{\"path\":\"http://127.0.0.1:1\"}", None),
        ] {
            assert_eq!(base_address(line.as_bytes()).as_deref(), expected, "{line}");
        }
        assert_eq!(reachable("http://0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(reachable("http://[::]:80"), "http://[::1]:80");
        assert_eq!(reachable("http://10.0.0.1:80"), "http://10.0.0.1:80");
    }

    #[tokio::test]
    async fn people_get_readable_lines_and_programs_get_json() {
        let log = concat!(
            r#"{"time":"2026-11-26T21:26:41.350Z","level":"warn","error":"open"}"#,
            "\nplain\ntaken\n"
        );
        for (readable, expected) in [
            (true, "21:26:41.350Z  warn: open\nplain\n"),
            (false, log.trim_end_matches("taken\n")),
        ] {
            let mut copied = Vec::new();
            copy(log.as_bytes(), &mut copied, readable, |line| {
                line == b"taken\n"
            })
            .await;
            assert_eq!(String::from_utf8(copied).expect("UTF-8"), expected);
        }
    }

    #[test]
    fn an_application_that_is_put_into_the_store_has_a_merchant() {
        for good in [
            r#"application/x={"merchantId":"m"}"#,
            "a=b",
            "of-others/x=",
            r#"webhook-settings/x/6f0e7b1e-4f5b-4c3d-8a2b-1c2d3e4f5a6b={"any":"thing"}"#,
        ] {
            assert_eq!(pair(good).as_deref(), Ok(good));
        }
        for (bad, expected) in [
            (
                "application/x=",
                r#"such as application/x={"merchantId":"m1"}"#,
            ),
            ("application/x=m1", "must be JSON"),
            ("application/x={}", "missing field `merchantId`"),
            (r#"application/x={"merchantId":""}"#, "must be JSON"),
            (r#"application/x y={"merchantId":"m"}"#, "is none"),
            ("application/=", "is none"),
            ("=", "must be KEY=VALUE"),
        ] {
            let refused = pair(bad).expect_err(bad);
            assert!(refused.contains(expected), "{bad}: {refused}");
        }
    }

    #[test]
    fn a_busy_port_is_one_line_with_the_mend() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = holder.local_addr().expect("address");
        let error = ensure_free(address).expect_err("busy").to_string();
        assert!(
            error.contains("is in use") && error.contains("--listen"),
            "{error}"
        );
        drop(holder);
        ensure_free(address).expect("free again");
    }
}
