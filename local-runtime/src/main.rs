//! The command: serves `spin.toml` on this machine, for development and tests.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use application_webhooks::config::Config;
use application_webhooks::config::events::EventsConfig;
use clap::Parser;
use local_runtime::allowed_hosts::AllowedHosts;
use local_runtime::engine::engine;
use local_runtime::instance::{Imports, Template};
use local_runtime::instruments::Instruments;
use local_runtime::key_value::{self, KeyValue, Stores};
use local_runtime::manifest::{Component, Manifest};
use local_runtime::outbound::Outbound;
use local_runtime::postgres::Postgres;
use local_runtime::postgres::pool::Limit;
use local_runtime::routes::Routes;
use local_runtime::runtime_config::RuntimeConfig;
use local_runtime::server::Server;
use local_runtime::sqlite::{Databases, Sqlite, databases};
use local_runtime::variables::Variables;
use local_runtime::{control, probe};
use portal::config::PortalConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use wasmtime::Engine;
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
    /// Where the data is kept; `--state-dir ""` keeps it in memory
    #[arg(long, default_value = ".spin")]
    state_dir: OsString,
    /// Writes a value into the store `default` first
    #[arg(long, value_name = "KEY=VALUE")]
    key_value: Vec<String>,
    /// What the stores are kept in
    #[arg(long, value_enum, default_value = "sqlite")]
    key_value_store: key_value::Kind,
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
    /// On SIGINT or SIGTERM, cuts off what is running, as Spin does
    #[arg(long)]
    no_drain: bool,
    /// Does not ask the dispatcher every second whether it is ready
    #[arg(long)]
    no_probe: bool,
}

/// How long SQLite's statements may take to end when the command ends.
const LAST_STATEMENTS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match serve(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let served = runtime.block_on(run(arguments));
    // As on Spin: statements of SQLite that are running come to their end, all else is cut off.
    runtime.shutdown_timeout(LAST_STATEMENTS);
    served
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
    let address = listener.local_addr()?;
    let state_dir = Some(Path::new(&arguments.state_dir)).filter(|path| *path != Path::new(""));
    let host = Host {
        engine: engine(arguments.perf_map)?,
        stores: Arc::new(stores(&arguments, state_dir, &config)?),
        databases: Arc::new(databases(&config, state_dir)?),
        limit: Limit::new(config.outbound_pg.max_connections),
        resolve: resolve(&arguments.resolve)?,
        config,
        address,
        instruments: Instruments::default(),
    };
    let mut handlers = HashMap::new();
    for component in &components {
        let template = host.template(component)?;
        handlers.insert(component.id.as_str(), ProxyHandler::new(template));
    }
    let routes = manifest
        .routes()
        .map(|(route, id)| (route.to_owned(), handlers[id].clone()));
    let routes = Routes::new(routes)?;

    let stats = host.instruments.stats.clone();
    if let Some(address) = arguments.control {
        let control = bind(address).await?;
        say(&format!("Control http://{}", control.local_addr()?));
        tokio::spawn(control::serve(control, host.instruments.clone()));
    }
    let stop = stop(arguments.stop_with_stdin)?;
    say(&format!("Serving http://{address}"));
    let probed = probe::applies(manifest.routes().map(|(route, _)| route));
    let probe = (probed && !arguments.no_probe).then(|| tokio::spawn(probe::run(address)));
    let server = Arc::new(Server::new(routes, stats));
    server.clone().serve(listener, stop).await;
    if let Some(probe) = probe {
        probe.abort();
    }
    if !arguments.no_drain {
        server.drain().await;
    }
    Ok(())
}

/// What all components share.
struct Host {
    engine: Engine,
    config: RuntimeConfig,
    stores: Arc<Stores>,
    databases: Arc<Databases>,
    limit: Limit,
    resolve: HashMap<String, IpAddr>,
    address: SocketAddr,
    instruments: Instruments,
}

impl Host {
    /// The component as its instances start, with what the manifest lets it use.
    fn template(&self, component: &Component) -> anyhow::Result<Template> {
        let allowed = Arc::new(AllowedHosts::parse(&component.allowed_outbound_hosts)?);
        let imports = Imports {
            key_value: KeyValue {
                allowed: Arc::new(component.key_value_stores.iter().cloned().collect()),
                stores: self.stores.clone(),
                instruments: self.instruments.clone(),
                open: 0,
            },
            postgres: Postgres::new(
                allowed.clone(),
                self.limit.clone(),
                self.instruments.clone(),
            ),
            sqlite: Sqlite::new(
                &component.id,
                &component.sqlite_databases,
                self.databases.clone(),
                self.instruments.clone(),
            )?,
            variables: Variables {
                values: Arc::new(component.variables.clone()),
                stats: self.instruments.stats.clone(),
            },
        };
        let outbound = Outbound::new(
            component,
            allowed,
            &self.config,
            self.resolve.clone(),
            self.address,
            self.instruments.clone(),
        )?;
        Template::new(
            &self.engine,
            &component.source,
            imports,
            Arc::new(outbound),
            self.instruments.clone(),
        )
    }
}

/// What Spin would find out with the first request, reported at the start.
fn check_config(component: &Component) -> anyhow::Result<()> {
    let variable = |name: &str| component.variables.get(name).cloned();
    match component.id.as_str() {
        "application-webhooks" => {
            for warning in Config::parse(&variable)?.warnings() {
                eprintln!("warning: {warning}");
            }
        }
        "event-dispatcher" => {
            let store_timeout = Config::parse(&variable)?.store_timeout;
            EventsConfig::parse(&variable, store_timeout)?;
        }
        "portal" => {
            PortalConfig::parse(&variable)?;
        }
        _ => {}
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (choose another address with --listen)")
    })
}

/// The stores, with what the command line writes into `default`.
fn stores(
    arguments: &Arguments,
    state_dir: Option<&Path>,
    config: &RuntimeConfig,
) -> anyhow::Result<Stores> {
    let stores = key_value::stores(config, state_dir, arguments.key_value_store)?;
    for pair in &arguments.key_value {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("--key-value {pair}: must be KEY=VALUE"))?;
        stores["default"].seed(key, value.as_bytes())?;
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

/// Ready on SIGINT and on SIGTERM. With `stdin` the process also ends at once where that ends.
fn stop(stdin: bool) -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    if stdin {
        // A thread of its own: Tokio would wait for its read before the runtime can end.
        std::thread::spawn(|| {
            let mut buffer = [0; 64];
            while std::io::stdin()
                .read(&mut buffer)
                .is_ok_and(|read| read > 0)
            {}
            std::process::exit(0);
        });
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// One line on standard output, at once: whoever started us may wait for it.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be listening any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
