//! `cargo xtask soak`: load, faults and checks together, for as long as is asked.
//!
//! Clients create, change, rotate, delete and read webhooks, each its own, and remember what the service
//! acknowledged (`webhooks.rs`). Publishers publish events, which endpoints receive, and some fail
//! (`publisher.rs`, `endpoints.rs`). Meanwhile the store or a statement fails, is late or hangs,
//! PostgreSQL is stopped, and processes are killed and started on the same state (`faults.rs`,
//! `service.rs`). A failure is explained when a fault that was on while the request ran has that status
//! by the documentation; everything else is not (`tally.rs`). Then `doctor --fix` runs under load and at
//! rest, and all that was acknowledged is read back; `judge.rs` says what became of events.

mod client;
mod endpoints;
mod faults;
mod judge;
mod publisher;
mod service;
mod tally;
mod webhooks;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use hyper::Uri;
use serde_json::Value;
use tokio::task::block_in_place;
use tokio::time::sleep;

use self::client::{Client, control};
use self::endpoints::Endpoints;
use self::faults::{FAULTS, Fault};
use self::publisher::Publisher;
use self::service::{EventsDatabase, Service};
use self::tally::{CHANGED_APPLICATIONS, EVENT_APPLICATIONS, Origin, Scope, Tally};
use self::webhooks::Worker;
use crate::keys::Keys;
use crate::token::{Issuer, publisher_scope};
use crate::{build, operator, project, tools};

/// How many clients change webhooks at the same time, all at the first process; four share an
/// application.
const WORKERS: usize = 16;

/// How many publish events, by turns at each process; two share an application.
const PUBLISHERS: usize = 8;

/// How long a fault is on, and how long none is after it.
const FAULT: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_secs(2);

/// How long deliveries may take after the last event: two leases of processes that died, and the
/// schedule in between.
const LAST_DELIVERIES: Duration = Duration::from_secs(240);

#[derive(clap::Args)]
pub struct Args {
    /// How long load and faults go on; the last round of faults is finished
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: u64,
    /// Where events are kept
    #[arg(long, value_enum, default_value = "sqlite")]
    events_database: EventsDatabase,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    build::components_beside(&[], project::build_local_runtime)?;
    if args.events_database == EventsDatabase::Postgres {
        tools::postgres();
    }
    let state_dir = project::root().join(format!("target/soak/{}", std::process::id()));
    let soaked = soak(&state_dir, args);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(soaked);
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
async fn soak(state_dir: &Path, args: &Args) -> Result<bool> {
    let keys = Keys::ensure(state_dir)?;
    let service = block_in_place(|| Service::start(state_dir, keys, args.events_database))?;
    let mut soak = Soak::new(service).await?;
    let duration = Duration::from_secs(args.minutes * 60);
    let clients = Clients::new(&soak, duration)?;
    let (workers, publishers) = clients.start(&soak).await?;
    while soak.begin.elapsed() < duration {
        soak.round().await?;
    }
    soak.announce("doctor --fix under load");
    // What the load changes all the time may not come to rest under it; nothing may be lost.
    soak.repair().await?;
    soak.tally.stop();
    let mut kept = Vec::new();
    for worker in workers {
        kept.push(worker.await?);
    }
    let mut published = Vec::new();
    for publisher in publishers {
        published.push(publisher.await?);
    }
    soak.announce("doctor --fix at rest");
    let sound = soak.repair().await?;
    soak.announce("reading back");
    for worker in &mut kept {
        worker.read_back().await;
    }
    soak.announce("waiting for the last deliveries");
    let left = soak.last_deliveries().await;
    let readers = published
        .into_iter()
        .map(|mut publisher| tokio::spawn(async move { publisher.read_back(left).await }));
    for reader in readers.collect::<Vec<_>>() {
        reader.await?;
    }
    let verdict = soak.endpoints.judge().verdict();
    verdict.describe();
    println!("{}", soak.tally.summary());
    println!("{}", verdict.summary());
    Ok(sound && soak.tally.is_clean() && verdict.is_good())
}

/// A soak under way.
struct Soak {
    service: Service,
    tally: Arc<Tally>,
    endpoints: Arc<Endpoints>,
    begin: Instant,
    /// How many faults there were.
    number: usize,
}

impl Soak {
    async fn new(service: Service) -> Result<Self> {
        let addresses = service.processes.iter().map(|process| process.address);
        Ok(Self {
            tally: Arc::new(Tally::new(addresses.collect())),
            endpoints: Endpoints::start().await?,
            service,
            begin: Instant::now(),
            number: 0,
        })
    }

    fn announce(&self, what: &str) {
        eprintln!("{:>5} s: {what}", self.begin.elapsed().as_secs());
    }

    /// Every fault once.
    async fn round(&mut self) -> Result<()> {
        for (row, fault) in FAULTS.iter().enumerate() {
            if fault.stops_postgres() && self.service.postgres.is_none() {
                continue;
            }
            // By turns for all and for one application, whose neighbours must not notice; by turns it
            // ends by itself and with a process, of which each dies in its turn.
            let only = (self.number % 2 == 1 && fault.can_be_for_one())
                .then_some(row % CHANGED_APPLICATIONS);
            let killed =
                (self.number % 4 >= 2).then_some(self.number % self.service.processes.len());
            self.number += 1;
            self.announce(&format!(
                "{}{}{}",
                fault.what,
                only.map_or("", |_| " (one application)"),
                killed.map_or_else(String::new, |it| format!(", then kill -9 of process {it}")),
            ));
            self.disturb(fault, only, killed).await?;
        }
        Ok(())
    }

    /// A fault, what ends it, and a calm after it.
    async fn disturb(
        &mut self,
        fault: &Fault,
        only: Option<usize>,
        killed: Option<usize>,
    ) -> Result<()> {
        let scope = fault.scope(only);
        for status in fault.statuses {
            self.tally.explain(scope, Some(*status));
        }
        let application = only.map(|application| Origin {
            application,
            process: 0,
        });
        let keys = application.map_or_else(|| "/".to_owned(), Origin::id);
        let body = fault.body(&keys);
        for process in &self.service.processes {
            if let Some(body) = &body {
                control(process.control, "POST", body).await?;
            }
        }
        let stopped = self.service.postgres.as_ref();
        let stopped = stopped.filter(|_| fault.stops_postgres());
        if let Some(postgres) = stopped {
            block_in_place(|| postgres.stop());
        }
        sleep(FAULT).await;
        if let Some(killed) = killed {
            self.tally.explain(Scope::Process(killed), None);
            let process = self.service.kill(killed)?;
            self.endpoints.judge().died(process, Instant::now());
        }
        if let Some(postgres) = self
            .service
            .postgres
            .as_ref()
            .filter(|_| fault.stops_postgres())
        {
            block_in_place(|| postgres.start_again());
        }
        if let Some(killed) = killed {
            block_in_place(|| self.service.start_again(killed))?;
            let address = self.service.processes[killed].address;
            self.tally.moved(killed, address);
        }
        for process in &self.service.processes {
            control(process.control, "DELETE", &Value::Null).await?;
        }
        self.tally.calm();
        sleep(CALM).await;
        Ok(())
    }

    /// Whether nothing is left to repair.
    async fn repair(&self) -> Result<bool> {
        let token = self.service.keys().operator_token()?;
        let address = self.service.processes[0].address;
        let doctor: Uri = format!("http://{address}/operator/v1/doctor?fix=true").parse()?;
        let last = operator::stream(&doctor, &token, &mut std::io::stdout()).await?;
        Ok(operator::is_sound(&last))
    }

    /// Waits until every delivery has arrived. Returns how much of the time is left.
    async fn last_deliveries(&self) -> Duration {
        let since = Instant::now();
        loop {
            let missing = self.endpoints.judge().missing();
            let left = LAST_DELIVERIES.saturating_sub(since.elapsed());
            if missing == 0 || left.is_zero() {
                return left;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// All who ask the service.
struct Clients {
    workers: Vec<Worker>,
    publishers: Vec<Publisher>,
}

type Tasks<T> = Vec<tokio::task::JoinHandle<T>>;

impl Clients {
    /// With tokens that are valid for `duration`, and a day.
    fn new(soak: &Soak, duration: Duration) -> Result<Self> {
        let valid = duration + Duration::from_secs(24 * 60 * 60);
        let (issuer, keys) = (Issuer::from_environment(), soak.service.keys());
        let owner = |origin: Origin| {
            let token = issuer.token(keys, &origin.merchant(), valid)?;
            anyhow::Ok(Client::new(soak.tally.clone(), origin, &token))
        };
        let workers = (0..WORKERS).map(|number| {
            let origin = Origin {
                application: number % CHANGED_APPLICATIONS,
                process: 0,
            };
            Ok(Worker::new(owner(origin)?))
        });
        let scope = publisher_scope();
        let processes = soak.service.processes.len();
        let publishers = (0..PUBLISHERS).map(|number| {
            let origin = Origin {
                application: CHANGED_APPLICATIONS + number / 2 % EVENT_APPLICATIONS,
                process: number % processes,
            };
            let token = issuer.scoped_token(keys, &scope, valid)?;
            let client = Client::new(soak.tally.clone(), origin, &token);
            Ok(Publisher::new(
                client,
                owner(origin)?,
                soak.endpoints.clone(),
            ))
        });
        Ok(Self {
            workers: workers.collect::<Result<_>>()?,
            publishers: publishers.collect::<Result<_>>()?,
        })
    }

    /// Registers the endpoints, and begins.
    async fn start(mut self, soak: &Soak) -> Result<(Tasks<Worker>, Tasks<Publisher>)> {
        for publisher in self.publishers.iter_mut().step_by(2) {
            publisher::register(&mut publisher.reader, &soak.endpoints).await?;
        }
        let workers = self.workers.into_iter();
        let publishers = self.publishers.into_iter();
        Ok((
            workers.map(|worker| tokio::spawn(worker.work())).collect(),
            publishers.map(|it| tokio::spawn(it.work())).collect(),
        ))
    }
}
