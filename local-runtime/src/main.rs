//! The command: serves `spin.toml` on this machine, for development and tests.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use application_webhooks::config::Config;
use clap::Parser;
use local_runtime::control;
use local_runtime::faults::Faults;
use local_runtime::key_value::{Database, KeyValue, Stores};
use local_runtime::manifest::{Component, Manifest};
use local_runtime::outbound::Outbound;
use local_runtime::runtime_config::RuntimeConfig;
use local_runtime::server::{Server, Template, engine};
use local_runtime::stats::Stats;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use wasmtime_wasi_http::handler::ProxyHandler;

/// Serves a Spin application on this machine. A development tool: production is Spin.
#[derive(Parser)]
struct Arguments {
    /// The application's manifest
    #[arg(long, default_value = "spin.toml")]
    manifest: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where the data is kept
    #[arg(long, default_value = ".spin")]
    state_dir: PathBuf,
    /// Writes a value into the store `default` first
    #[arg(long, value_name = "KEY=VALUE")]
    key_value: Vec<String>,
    /// Spin's runtime config file
    #[arg(long)]
    runtime_config_file: Option<PathBuf>,
    /// Resolves a host name to this address, for tests
    #[arg(long, value_name = "HOST=IP")]
    resolve: Vec<String>,
    /// Where to serve the control API of tests
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Tells `perf` where each function of the component is
    #[arg(long)]
    perf_map: bool,
    /// Stops when standard input ends
    #[arg(long)]
    stop_with_stdin: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        // A read of standard input may still be pending, and would hold an orderly return up.
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let manifest = Manifest::read(&arguments.manifest)?;
    let config = match &arguments.runtime_config_file {
        Some(path) => RuntimeConfig::read(path)?,
        None => RuntimeConfig::default(),
    };
    let components = manifest.components(&|variable| {
        let environment = || std::env::var(Manifest::environment_name(variable)).ok();
        config.variable(variable).or_else(environment)
    })?;
    for component in &components {
        check_config(component)?;
    }
    let listener = bind(arguments.listen).await?;
    let faults = Arc::new(Faults::default());
    let stats = Arc::new(Stats::default());
    let stores = Arc::new(stores(&arguments, &config)?);
    let resolve = resolve(&arguments.resolve)?;

    let engine = engine(arguments.perf_map)?;
    let mut handlers = HashMap::new();
    for component in &components {
        let key_value = KeyValue {
            allowed: Arc::new(component.key_value_stores.iter().cloned().collect()),
            stores: stores.clone(),
            faults: faults.clone(),
            stats: stats.clone(),
            open: 0,
        };
        let outbound = Outbound::new(
            component,
            &config,
            resolve.clone(),
            listener.local_addr()?,
            faults.clone(),
            stats.clone(),
        )?;
        let template = Template::new(
            &engine,
            &component.source,
            key_value,
            component.variables.clone(),
            Arc::new(outbound),
        )?;
        handlers.insert(component.id.as_str(), ProxyHandler::new(template));
    }
    let routes = manifest
        .routes()
        .map(|(route, id)| (route.to_owned(), handlers[id].clone()))
        .collect();

    if let Some(address) = arguments.control {
        let control = bind(address).await?;
        say(&format!("Control http://{}", control.local_addr()?));
        tokio::spawn(control::serve(control, faults, stats.clone()));
    }
    say(&format!("Serving http://{}", listener.local_addr()?));
    Arc::new(Server::new(routes, stats))
        .serve(listener, stop(arguments.stop_with_stdin)?)
        .await;
    Ok(())
}

/// What Spin would find out with the first request, told at the start.
fn check_config(component: &Component) -> anyhow::Result<()> {
    if component.id == "application-webhooks" {
        let config = Config::parse(&|name| component.variables.get(name).cloned())?;
        for warning in config.warnings() {
            eprintln!("warning: {warning}");
        }
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (choose another address with --listen)")
    })
}

fn stores(arguments: &Arguments, config: &RuntimeConfig) -> anyhow::Result<Stores> {
    let mut stores = Stores::new();
    for (label, table) in &config.key_value_store {
        if table.r#type != "spin" {
            bail!(
                "the runtime config has a `{}` store; the local runtime has only SQLite, so use Spin for it",
                table.r#type
            );
        }
        let path = match &table.path {
            Some(path) => config.directory.join(path),
            None => arguments.state_dir.join(format!("{label}.db")),
        };
        stores.insert(label.clone(), Database::open(&path)?);
    }
    if !stores.contains_key("default") {
        let path = arguments.state_dir.join("sqlite_key_value.db");
        stores.insert("default".to_owned(), Database::open(&path)?);
    }
    for pair in &arguments.key_value {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("--key-value {pair}: must be KEY=VALUE"))?;
        stores["default"].seed("default", key, value.as_bytes())?;
    }
    Ok(stores)
}

fn resolve(pairs: &[String]) -> anyhow::Result<HashMap<String, IpAddr>> {
    pairs
        .iter()
        .map(|pair| {
            let malformed = || format!("--resolve {pair}: must be HOST=IP");
            let (host, address) = pair.split_once('=').with_context(malformed)?;
            Ok((host.to_owned(), address.parse().with_context(malformed)?))
        })
        .collect()
}

/// Ready on SIGINT, on SIGTERM and, if asked for, at the end of standard input.
fn stop(with_stdin: bool) -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let stdin_ended = async {
            if !with_stdin {
                return std::future::pending().await;
            }
            let mut stdin = tokio::io::stdin();
            let mut buffer = [0; 64];
            while stdin.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stdin_ended => std::process::exit(0),
        }
    })
}

/// One line on standard output, at once: whoever started us may wait for it.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be listening any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
