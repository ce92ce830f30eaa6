//! `cargo xtask bench`: the service beside a component that does nothing but the same store operations,
//! statements and outbound requests, on one runtime in one run, under one load.
//!
//! Which those are is recorded at the start: the local runtime reports what the service does for each
//! kind of request, and the other component replays it (`recording.rs`, `bench/`).

mod bounds;
mod cases;
mod events;
mod load;
mod redis;
mod sections;
mod seed;
mod server;
mod store;
mod tokens;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use do_nothing::recording::{Mode, Recording};

use self::cases::Case;
use self::sections::{build_with_names, size_table};
use self::seed::{SMALL, directory, fresh_store};
use self::server::{Pair, Server, replaying};
use self::store::{Config, Store};
use self::tokens::Tokens;
use crate::recording::{self, Exchange, Request};
use crate::runtime::{self, Choice, Runtime};
use crate::{build, project, tools};

#[derive(clap::Args)]
pub struct Args {
    /// What serves both components
    #[arg(long, value_enum, default_value = "local")]
    runtime: Choice,
    /// For Spin: a runtime config. Where it names Redis for the documents, that one is used: its
    /// databases from the named one on, which must be empty
    #[arg(long, value_name = "FILE")]
    runtime_config: Option<PathBuf>,
    /// Where documents are kept; without it where the runtime config says, or on SQLite
    #[arg(long, value_enum)]
    store: Option<store::Choice>,
    /// What is measured
    #[arg(long, value_enum, default_value = "all")]
    of: Part,
    /// Fewer and shorter runs: for a first look, not for numbers to quote
    #[arg(long)]
    quick: bool,
    /// Write docs/performance.md, or with Spin docs/performance-spin.md, of all stores in turn
    #[arg(long)]
    write: bool,
}

/// Which part of the report is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// All of it
    All,
    /// Webhooks, which keep nothing but documents in the store
    Webhooks,
    /// Events, on SQLite and on PostgreSQL
    Events,
}

/// The component that replays what was recorded.
const DO_NOTHING: build::Component = build::Component {
    package: "do-nothing",
    max_bytes: u64::MAX,
};

pub fn run(args: &Args) -> Result<()> {
    if args.write && (args.of != Part::All || args.store.is_some()) {
        bail!("--write is for the whole report: leave --of and --store out");
    }
    project::manifest()?;
    fs::create_dir_all(directory())?;
    let runtime = Runtime::find(args.runtime)?;
    let config = match &args.runtime_config {
        Some(_) if matches!(runtime, Runtime::Local(_)) => {
            bail!("--runtime-config is for Spin: add --runtime spin, or leave it out")
        }
        Some(file) => Config::read(file)?,
        None => Config::read(&runtime::shipped_config())?,
    };
    let choices = match args.write {
        true => store::Choice::all(&runtime).to_vec(),
        false => vec![store::Choice::find(args.store, &runtime, &config)?],
    };
    let stores = choices.iter().map(|choice| choice.open(&config));
    let stores: Vec<Store> = stores.collect::<Result<_>>()?;
    if project::on_path("wrk").is_none() && !tools::debian_packages(&["wrk"]) {
        bail!("wrk, the load generator, is not on PATH: install it (Debian: apt-get install wrk)");
    }
    if args.of != Part::Events {
        build_with_names()?;
    }
    build::components()?;
    project::run(
        project::cargo().args(DO_NOTHING.cargo_args()),
        "building the do-nothing component",
    )?;
    project::build_local_runtime_for_measurements()?;

    let mut bench = Bench {
        runs: if args.quick { 3 } else { 5 },
        seconds: if args.quick { 1 } else { 2 },
        quick: args.quick,
        tokens: Tokens::sign()?,
        runtime,
        store: Store::Sqlite,
        config: config.rest,
        environment: Vec::new(),
        recordings: Vec::new(),
    };
    let mut report = bench.introduction(&stores);
    // What is done is kept where a later part fails.
    let keep = |report: &str| fs::write(directory().join("report.md"), report);
    if args.of != Part::Events {
        bench.record()?;
        for store in &stores {
            bench.store = store.clone();
            report += &bench.of_webhooks()?;
            keep(&report)?;
        }
    }
    if args.of != Part::Webhooks {
        bench.store = stores[0].clone();
        report += &events::section(&bench)?;
        keep(&report)?;
    }
    if args.of != Part::Events {
        report += &size_table()?;
    }
    print!("\n{report}");
    if args.write {
        write(&bench.runtime, &report)?;
    }
    Ok(())
}

fn write(runtime: &Runtime, report: &str) -> Result<()> {
    let name = match runtime {
        Runtime::Local(_) => "performance.md",
        Runtime::Spin(_) => "performance-spin.md",
    };
    let path = project::root().join("docs").join(name);
    fs::write(&path, report).with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nWritten to {}", path.display());
    Ok(())
}

/// How all of it is measured.
#[derive(Clone)]
pub struct Bench {
    runtime: Runtime,
    store: Store,
    /// The runtime config, without the store.
    config: toml::Table,
    /// Variables beside those that every server has.
    environment: Vec<(String, String)>,
    runs: usize,
    seconds: u64,
    quick: bool,
    tokens: Tokens,
    /// By [`Case::kind`].
    recordings: Vec<(String, Recording)>,
}

impl Bench {
    /// The sections on webhooks, on one store.
    fn of_webhooks(&self) -> Result<String> {
        let mut report = format!(
            "## Webhooks on {}, served by {}\n\n",
            self.store.name(),
            self.runtime.name()
        );
        let few = Pair::start(self, "few", SMALL)?;
        let (table, missed) = self.main_table(&few)?;
        report += &table;
        report += &self.first_responses(&few)?;
        report += &self.memory(&few)?;
        report += &self.webhooks(&few)?;
        drop(few);
        report += &self.applications(if self.quick { 10_000 } else { 100_000 })?;
        report += &self.profiles(&missed)?;
        Ok(report)
    }

    /// As it records: on the local runtime, which reports operations, and its SQLite.
    fn locally(&self) -> Result<Self> {
        Ok(Self {
            runtime: Runtime::find(Choice::Local)?,
            store: Store::Sqlite,
            ..self.clone()
        })
    }

    /// Records each kind of request of the benchmark, and checks that the replay is the same.
    fn record(&mut self) -> Result<()> {
        let state = fresh_store("recorded", SMALL)?;
        let manifest = project::root().join("spin.toml");
        let service = Server::start(&self.locally()?, &manifest, &state, &[])?;
        let mut cases = self.cases();
        cases.extend(self.cases_by_webhooks().into_iter().flatten());
        cases.extend(self.cases_by_applications(SMALL));
        for case in &cases {
            if self.recorded(case).is_ok() {
                continue;
            }
            let [application, _] = case.applications();
            // What an instance does once is over then.
            self.exchange(case, &service, &application, "")?;
            let recorded = self.exchange(case, &service, &application, "")?;
            let mut recording = recorded.recording(&application)?;
            if recording.status != case.status {
                bail!("{} is answered {recording:?}", case.name);
            }
            if let Some(bounds) = case.bounds {
                recording.fewest = bounds.steps(&recording)?;
            }
            self.recordings.push((case.kind(), recording));
        }
        drop(service);

        let state = fresh_store("replayed", SMALL)?;
        let nothing = Server::start(&self.locally()?, &replaying(), &state, &[])?;
        for case in &cases {
            for mode in case.modes() {
                let recording = self.recorded(case)?.1.clone().replayed(*mode);
                let [_, application] = case.applications();
                let prefix = self.replay(case, *mode)?;
                let replayed = self.exchange(case, &nothing, &application, &prefix)?;
                recording::check(&recording, &replayed, &application)
                    .with_context(|| format!("the replay of `{}` ({mode:?})", case.name))?;
            }
        }
        Ok(())
    }

    /// What paths begin with where a case is replayed in that mode.
    pub fn replay(&self, case: &Case, mode: Mode) -> Result<String> {
        Ok(format!("/{}/{}", mode.name(), self.recorded(case)?.0))
    }

    /// The recording of a case's kind, and its number.
    pub fn recorded(&self, case: &Case) -> Result<(usize, &Recording)> {
        let kind = case.kind();
        let mut known = self.recordings.iter().enumerate();
        let found = known.find_map(|(number, (known, recording))| {
            (*known == kind).then_some((number, recording))
        });
        found.with_context(|| format!("`{}` was not recorded", case.name))
    }

    fn exchange(
        &self,
        case: &Case,
        server: &Server,
        application: &str,
        prefix: &str,
    ) -> Result<Exchange> {
        static SENT: AtomicUsize = AtomicUsize::new(0);

        let name = format!("recording-{}", SENT.fetch_add(1, Ordering::Relaxed));
        self.exchange_as(&name, case, server, application, prefix)
    }

    /// As [`Self::exchange`], under a name that URLs of outbound requests contain.
    pub fn exchange_as(
        &self,
        name: &str,
        case: &Case,
        server: &Server,
        application: &str,
        prefix: &str,
    ) -> Result<Exchange> {
        let (_, below) = case.path.split_once('/').unwrap_or_default();
        let request = Request {
            method: case.method,
            path: &format!("{prefix}/api/v1/applications/{application}/{below}"),
            token: &case.token,
            body: case.body,
        };
        let control = server.control.context("only the local runtime records")?;
        recording::exchange(server.address, control, name, &request)
    }
}
