//! `cargo xtask up`: from a fresh clone to a service that answers.
//!
//! Long because it is one story, from the keys to the line that can be pasted.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use application_webhooks::model::application::{ApplicationName, ApplicationRecord};
use application_webhooks::model::ids::{ApplicationId, MerchantId};
use application_webhooks::model::time::Timestamp;
use application_webhooks::store::keys;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::keys::{FILE as KEYS_FILE, Keys};
use crate::runtime::{self, Choice, Runtime};
use crate::token::Issuer;
use crate::{build, operator, project, store};

const DEMO_APPLICATION: &str = "demo";
const DEMO_NAME: &str = "Demo";
const DEMO_MERCHANT: &str = "demo-merchant";

/// Long enough for a day's work with one curl line.
const TOKEN_VALID: Duration = Duration::from_secs(12 * 60 * 60);

#[derive(clap::Args)]
pub struct Args {
    /// Where to serve; port 0 takes a free one
    #[arg(
        long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000",
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

fn pair(text: &str) -> Result<String, &'static str> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("must be KEY=VALUE"),
    }
}

pub fn run(args: Args) -> Result<ExitCode> {
    let state_dir = project::state_dir(args.state_dir.as_deref())?;
    // What can be wrong is found before the long build.
    project::manifest()?;
    ensure_free(args.listen)?;
    let runtime = Runtime::find(args.runtime)?;
    let keys = Keys::ensure(&state_dir)?;

    build::components()?;
    if matches!(runtime, Runtime::Local(_)) {
        project::build_local_runtime()?;
    }

    let mut pairs = args.key_value;
    let merchant = demo(&state_dir, &mut pairs)?;

    let mut command = runtime.serve(
        &project::root().join("spin.toml"),
        args.listen,
        &state_dir,
        &runtime_config(&state_dir)?,
        &pairs,
    );
    let jwks = std::env::var("SPIN_VARIABLE_JWKS").ok();
    if jwks.is_none() {
        command.env("SPIN_VARIABLE_JWKS", keys.jwks());
    }
    if std::env::var_os("SPIN_VARIABLE_SECRETS_KEY").is_none() {
        command.env("SPIN_VARIABLE_SECRETS_KEY", &keys.secrets_key);
    }
    if std::env::var_os(operator::TOKEN_VARIABLE).is_none() {
        command.env(operator::TOKEN_VARIABLE, keys.operator_token()?);
    }
    // With other keys than ours, our tokens are worth nothing.
    let token = match jwks {
        Some(jwks) if !keys.are_in(&jwks) => None,
        _ => Some(Issuer::from_environment().token(&keys, &merchant, TOKEN_VALID)?),
    };
    let screen = |base: &str| {
        let state_dir = args.state_dir.as_deref().map(|_| state_dir.as_path());
        screen(base, runtime.name(), &merchant, token.as_deref(), state_dir)
    };

    eprintln!("Starting {}", runtime.name());
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(command, runtime.name(), &screen))
}

/// What to serve with: what the project ships, but that an operator who accepts private hosts reaches
/// them.
fn runtime_config(state_dir: &Path) -> Result<PathBuf> {
    if std::env::var("SPIN_VARIABLE_ALLOW_INSECURE_URLS").as_deref() != Ok("true") {
        return Ok(runtime::shipped_config());
    }
    let file = state_dir.join("runtime-config.toml");
    std::fs::write(&file, REACHING_PRIVATE_NETWORKS)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(file)
}

/// The runtime config for local development with endpoints on this machine.
const REACHING_PRIVATE_NETWORKS: &str = "\
# Made by `cargo xtask up`, because SPIN_VARIABLE_ALLOW_INSECURE_URLS is true.

[outbound_http]
connection_pooling = false
";

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

/// Adds the demo application to what is put into the store, as far as it is not there already, and
/// returns the merchant that owns it: the application with its name, and its place in the
/// merchant's list.
fn demo(state_dir: &Path, pairs: &mut Vec<String>) -> Result<String> {
    let id: ApplicationId = serde_json::from_value(json!(DEMO_APPLICATION))?;
    let key = keys::application(&id);
    let stored = match value(state_dir, pairs, &key) {
        Ok(stored) => stored,
        Err(error) => {
            eprintln!("The demo application is left as it is: the store cannot be read ({error})");
            return Ok(DEMO_MERCHANT.to_owned());
        }
    };
    let merchant = match &stored {
        Some(document) => serde_json::from_slice::<Value>(document)
            .ok()
            .and_then(|application| MerchantId::parse(application["merchantId"].as_str()?)),
        None => MerchantId::parse(DEMO_MERCHANT),
    };
    let Some(merchant) = merchant else {
        // Somebody's own, and not to be read.
        return Ok(DEMO_MERCHANT.to_owned());
    };
    if stored.is_none() {
        let name: ApplicationName = serde_json::from_value(json!(DEMO_NAME))?;
        let application: ApplicationRecord = serde_json::from_value(json!({
            "merchantId": merchant, "name": name, "createdAt": Timestamp::now(),
        }))?;
        pairs.push(pair_of(&keys::application_name(&merchant, &name), &id)?);
        pairs.push(pair_of(&key, &application)?);
    }
    let index = keys::applications(&merchant);
    let listed = match value(state_dir, pairs, &index)? {
        Some(document) => serde_json::from_slice::<Vec<Value>>(&document).ok(),
        None => Some(Vec::new()),
    };
    let is_listed = |entries: &[Value]| {
        let mut ids = entries.iter().filter_map(entry_id);
        ids.any(|listed| listed == DEMO_APPLICATION)
    };
    // One that cannot be read is for the doctor.
    if let Some(mut listed) = listed.filter(|entries| !is_listed(entries)) {
        // Without the time of creation: the first list adds it.
        listed.push(json!(id));
        pairs.push(pair_of(&index, &listed)?);
    }
    Ok(merchant.as_str().to_owned())
}

/// What a key will have when the service starts: the last of the pairs wins.
fn value(state_dir: &Path, pairs: &[String], key: &str) -> Result<Option<Vec<u8>>> {
    let mut given = pairs.iter().rev().filter_map(|pair| pair.split_once('='));
    match given.find(|(name, _)| *name == key) {
        Some((_, value)) => Ok(Some(value.as_bytes().to_vec())),
        None => store::get(state_dir, key),
    }
}

/// The id of an index's entry: the entry itself, as earlier releases wrote it, or its member.
fn entry_id(entry: &Value) -> Option<&str> {
    entry.as_str().or_else(|| entry["id"].as_str())
}

fn pair_of(key: &str, document: &impl Serialize) -> Result<String> {
    Ok(format!("{key}={}", serde_json::to_string(document)?))
}

/// What a newcomer needs to know, and to paste.
fn screen(
    base: &str,
    runtime: &str,
    merchant: &str,
    token: Option<&str>,
    state_dir: Option<&Path>,
) -> String {
    let data = state_dir.map_or_else(
        || ".spin".to_owned(),
        |directory| directory.display().to_string(),
    );
    let mut text = format!(
        "\n  application-webhooks on {runtime}\n\n  Address  {base}\n  Docs     {base}/docs \
         (the API reference, where requests can be tried)\n  Data     {data} (store: {}, \
         development keys: {})\n",
        store::FILE,
        KEYS_FILE
    );
    match token {
        Some(token) => {
            let flag = state_dir.map_or_else(String::new, |directory| {
                format!(" --state-dir {}", quoted(&directory.display().to_string()))
            });
            let _ = write!(
                text,
                "  Token    {token}\n           valid for {} hours as {merchant}; another: cargo \
                 xtask token --merchant {}{flag}\n",
                TOKEN_VALID.as_secs() / 3600,
                quoted(merchant),
            );
        }
        None => text.push_str(
            "  Token    put one of yours into $TOKEN: SPIN_VARIABLE_JWKS is set, and has not the \
             development key\n",
        ),
    }
    let _ = write!(
        text,
        "\nCreate a webhook:\n\n{}\n\nCtrl-C stops.\n\n",
        curl(base, token)
    );
    text
}

/// The line to paste.
fn curl(base: &str, token: Option<&str>) -> String {
    let authorization = token.map_or_else(
        || r#""Authorization: Bearer $TOKEN""#.to_owned(),
        |token| quoted(&format!("Authorization: Bearer {token}")),
    );
    format!(
        "curl -i -X POST {base}/api/v1/applications/{DEMO_APPLICATION}/webhooks \\\n  \
         -H {authorization} \\\n  \
         -H 'Content-Type: application/json' \\\n  \
         -d '{{\"url\": \"https://merchant.example.com/hooks/kadosei\"}}'"
    )
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Runs the runtime until it ends, and shows the screen once it serves.
///
/// It has a process group of its own, so that a signal reaches it once, from
/// here, whether a terminal or a supervisor sent it.
async fn serve(
    mut command: std::process::Command,
    name: &str,
    screen: &dyn Fn(&str) -> String,
) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;

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
        tokio::spawn(copy(stdout, std::io::stdout(), move |line| {
            let base = base_address(line);
            base.is_some_and(|base| serving.try_send(base).is_ok())
        }))
    });
    let errors = child.stderr.take().map(|stderr| {
        let spoke = spoke.clone();
        tokio::spawn(copy(stderr, std::io::stderr(), move |_| {
            spoke.store(true, Ordering::Relaxed);
            false
        }))
    });

    let mut shown = false;
    let mut asked = false;
    let status = loop {
        let signal = tokio::select! {
            status = child.wait() => break status?,
            Some(base) = served.recv(), if !shown => {
                shown = true;
                print(&screen(&reachable(&base)));
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

/// Copies line by line, without the lines that `taken` keeps for itself.
async fn copy(
    from: impl AsyncRead + Unpin,
    mut to: impl std::io::Write,
    taken: impl Fn(&[u8]) -> bool,
) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
        if !taken(&line) {
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
    fn the_curl_line_is_the_documented_request() {
        assert_eq!(
            curl("http://127.0.0.1:3000", Some("a.b.c")),
            "curl -i -X POST http://127.0.0.1:3000/api/v1/applications/demo/webhooks \\\n  \
             -H 'Authorization: Bearer a.b.c' \\\n  \
             -H 'Content-Type: application/json' \\\n  \
             -d '{\"url\": \"https://merchant.example.com/hooks/kadosei\"}'"
        );
        assert!(curl("http://[::1]:1", None).contains(r#"-H "Authorization: Bearer $TOKEN""#));
    }

    #[test]
    fn connections_are_not_kept_with_either_runtime_config() {
        for text in [
            REACHING_PRIVATE_NETWORKS.to_owned(),
            std::fs::read_to_string(runtime::shipped_config()).expect("shipped"),
        ] {
            let config: toml::Table = toml::from_str(&text).expect("TOML");
            let kept = config["outbound_http"]["connection_pooling"].as_bool();
            assert_eq!(kept, Some(false), "{text}");
        }
    }

    #[test]
    fn the_screen_names_what_is_not_the_default() {
        let text = screen(
            "http://127.0.0.1:1",
            "Spin",
            "it's me",
            Some("t"),
            Some(Path::new("/a b")),
        );
        assert!(
            text.contains(r"cargo xtask token --merchant 'it'\''s me' --state-dir '/a b'"),
            "{text}"
        );
        let text = screen("http://127.0.0.1:1", "Spin", "m", Some("t"), None);
        assert!(text.contains("--merchant m\n"), "{text}");
    }

    #[test]
    fn the_screen_prints_the_references_address() {
        let text = screen("http://127.0.0.1:1", "Spin", "m", Some("t"), None);
        assert!(text.contains("  http://127.0.0.1:1/docs "), "{text}");
    }

    /// Puts the pairs into a store, as the runtimes do with `--key-value`.
    fn start(name: &str, pairs: &[String]) -> PathBuf {
        let pairs: Vec<_> = pairs.iter().filter_map(|it| it.split_once('=')).collect();
        store::tests::filled(name, &pairs)
    }

    fn listed(state: &Path, merchant: &str) -> Value {
        let merchant = MerchantId::parse(merchant).expect("a merchant");
        let index = store::get(state, &keys::applications(&merchant)).expect("get");
        serde_json::from_slice(&index.expect("an index")).expect("JSON")
    }

    #[test]
    fn a_fresh_store_has_the_demo_application_by_name_in_its_list() {
        let mut pairs = vec!["a=b".to_owned()];
        let empty = crate::keys::tests::scratch("demo-empty");
        assert_eq!(demo(&empty, &mut pairs).expect("the demo"), "demo-merchant");
        assert_eq!(pairs[0], "a=b");
        let state = start("demo-fresh", &pairs);
        assert_eq!(listed(&state, "demo-merchant"), json!(["demo"]));
        let application = store::get(&state, "application/demo").expect("get");
        let application: Value =
            serde_json::from_slice(&application.expect("an application")).expect("JSON");
        assert_eq!(application["name"], "Demo");
        assert!(application["createdAt"].is_string(), "{application}");

        // And the next start changes nothing.
        let mut pairs = Vec::new();
        assert_eq!(demo(&state, &mut pairs).expect("the demo"), "demo-merchant");
        assert_eq!(pairs, [""; 0]);
    }

    #[test]
    fn a_demo_application_of_somebodys_own_is_only_listed() {
        // An earlier `up` made it without a name, and left it out of the list.
        for (name, others) in [("demo-alone", json!([])), ("demo-others", json!(["shop"]))] {
            let merchant = MerchantId::parse("by hand").expect("a merchant");
            let stored = [
                r#"application/demo={"merchantId":"by hand"}"#.to_owned(),
                format!("{}={others}", keys::applications(&merchant)),
            ];
            let state = start(name, &stored);
            let mut pairs = Vec::new();
            assert_eq!(demo(&state, &mut pairs).expect("the demo"), "by hand");
            let mut expected = others.as_array().cloned().expect("a list");
            expected.push(json!("demo"));
            let index = format!("{}={}", keys::applications(&merchant), json!(expected));
            assert_eq!(pairs, [index]);
        }
        // Given on the command line, it wins over the store and over ours.
        let state = crate::keys::tests::scratch("demo-given");
        let mut pairs = vec![r#"application/demo={"merchantId":"mine"}"#.to_owned()];
        assert_eq!(demo(&state, &mut pairs).expect("the demo"), "mine");
        assert_eq!(pairs.len(), 2);
        assert!(pairs[1].ends_with(r#"=["demo"]"#), "{pairs:?}");
    }

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
