//! Servers under load, by turns: what is published and what arrives in how much time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::place::Kept;
use super::{Events, WEBHOOKS};
use crate::bench::Bench;
use crate::bench::cases::Case;
use crate::bench::load::median;
use crate::bench::server::{Server, replaying, stats};
use crate::project;
use crate::runtime::Runtime;

/// How long the deliveries of a run may take to arrive, and a server to be ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked for arrivals.
const POLL: Duration = Duration::from_millis(2);

/// How long a sustained load is, and which part of it counts, at its end.
pub fn sustained(bench: &Bench) -> (Duration, Duration) {
    let (all, counted) = if bench.quick { (22, 5) } else { (50, 30) };
    (Duration::from_secs(all), Duration::from_secs(counted))
}

/// Who is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Service,
    StandIn,
}

/// A server with its place.
pub struct Served {
    pub server: Server,
    which: Which,
    kept: Kept,
    _probe: Option<Probe>,
}

impl Served {
    /// What its paths begin with.
    pub fn prefix(&self) -> &'static str {
        match self.which {
            Which::Service => "",
            Which::StandIn => "/replay/0",
        }
    }
}

/// What one run measured, in events and deliveries a second.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Until the load ended.
    pub published: f64,
    /// Until the last delivery came.
    pub delivered: f64,
}

/// Medians of runs by turns.
pub struct Compared {
    pub service: Measured,
    pub publish_ratio: f64,
    pub delivery_ratio: f64,
}

impl Events<'_> {
    /// A place whose tables were made by the service, which runs no more.
    pub fn prepared(&self, name: &str, receiver: &str) -> Result<Kept> {
        let kept = self.place.fresh(name, receiver)?;
        Ok(self.serve(Which::Service, &kept)?.end(kept))
    }

    /// Serves what is kept there, and waits until the database is ready.
    pub fn serve(&self, which: Which, kept: &Kept) -> Result<Served> {
        let bench = Bench {
            environment: kept.environment(),
            ..self.bench.clone()
        };
        let manifest = match which {
            Which::Service => project::root().join("spin.toml"),
            Which::StandIn => replaying(),
        };
        let server = Server::start(&bench, &manifest, &kept.state, &[])?;
        let mut probe = None;
        if which == Which::Service {
            wait_until_ready(server.address)?;
            // The local runtime asks by itself.
            if matches!(bench.runtime, Runtime::Spin(_)) {
                probe = Some(Probe::start(server.address));
            }
        }
        Ok(Served {
            server,
            which,
            kept: kept.clone(),
            _probe: probe,
        })
    }

    /// Both by turns.
    pub fn compare(&self, case: &Case, service: &Served, stand_in: &Served) -> Result<Compared> {
        let (mut ours, mut its) = (Vec::new(), Vec::new());
        for _ in 0..self.bench.runs {
            ours.push(self.load(case, service)?);
            its.push(self.load(case, stand_in)?);
        }
        let ratio = |of: fn(&Measured) -> f64| {
            median(ours.iter().zip(&its).map(|(ours, its)| of(ours) / of(its)))
        };
        Ok(Compared {
            service: Measured {
                published: median(ours.iter().map(|it| it.published)),
                delivered: median(ours.iter().map(|it| it.delivered)),
            },
            publish_ratio: ratio(|it| it.published),
            delivery_ratio: ratio(|it| it.delivered),
        })
    }

    /// One run, and all that it leaves to be done.
    pub fn load(&self, case: &Case, served: &Served) -> Result<Measured> {
        let before = self.receiver.count();
        let begin = Instant::now();
        let address = served.server.address;
        let load = self.bench.load(case, address, served.prefix())?;
        let wanted = (load.requests as u64) * WEBHOOKS;
        loop {
            let arrived = self.receiver.count() - before;
            if arrived >= wanted {
                break;
            }
            if begin.elapsed() > PATIENCE {
                bail!("of {wanted} deliveries {arrived} came");
            }
            sleep(POLL);
        }
        let delivered = wanted as f64 / begin.elapsed().as_secs_f64();
        self.finish(served)?;
        Ok(Measured {
            published: load.per_second,
            delivered,
        })
    }

    /// How many events a second are published and delivered, when that goes on for long.
    pub fn sustain(&self, served: &Served) -> Result<f64> {
        let (all, counted) = sustained(&self.bench);
        let bench = Bench {
            seconds: all.as_secs(),
            ..self.bench.clone()
        };
        let case = self.publish(false);
        let address = served.server.address;
        let delivered = std::thread::scope(|scope| -> Result<f64> {
            let load = scope.spawn(|| bench.load(&case, address, served.prefix()));
            sleep(all.saturating_sub(counted + Duration::from_secs(1)));
            let (before, since) = (self.receiver.count(), Instant::now());
            sleep(counted);
            let arrived = self.receiver.count() - before;
            let seconds = since.elapsed().as_secs_f64();
            load.join()
                .map_err(|_| anyhow::anyhow!("the load panicked"))??;
            Ok(arrived as f64 / WEBHOOKS as f64 / seconds)
        })?;
        self.finish(served)?;
        Ok(delivered)
    }

    /// Waits until the server has nothing left to do.
    pub fn finish(&self, served: &Served) -> Result<()> {
        match served.which {
            Which::Service => self.place.wait_until_finished(&served.kept)?,
            Which::StandIn => {
                let mut count = 0;
                while self.receiver.count() != count {
                    count = self.receiver.count();
                    sleep(Duration::from_millis(200));
                }
            }
        }
        Ok(())
    }

    /// What the local runtime has counted so far; `None` on Spin.
    pub fn counts(&self, served: &Served) -> Result<Option<BTreeMap<String, u64>>> {
        let Some(control) = served.server.control else {
            return Ok(None);
        };
        let stats = stats(control)?;
        let mut counts = BTreeMap::new();
        for kind in ["operations", "statements"] {
            for (name, count) in stats[kind].as_object().into_iter().flatten() {
                let name = match kind {
                    "statements" => format!("sql {name}"),
                    _ => name.clone(),
                };
                counts.insert(name, count.as_u64().unwrap_or_default());
            }
        }
        Ok(Some(counts))
    }

    /// What the host was asked for since then, for each event.
    pub fn operations(&self, before: &BTreeMap<String, u64>, served: &Served) -> Result<String> {
        let after = self.counts(served)?.unwrap_or_default();
        let since = |name: &str| {
            let before = before.get(name).copied().unwrap_or_default();
            after.get(name).copied().unwrap_or_default() - before
        };
        let events = since("sql publish").max(1);
        let mut text = format!("for each of {events} events:");
        for name in after.keys() {
            let each = since(name) as f64 / events as f64;
            if each >= 0.005 {
                let _ = write!(text, " {name} {each:.2},");
            }
        }
        Ok(text.trim_end_matches(',').to_owned())
    }
}

impl Served {
    /// Ends the server.
    fn end(self, kept: Kept) -> Kept {
        drop(self);
        kept
    }
}

/// Asks the dispatcher every second whether it is ready, as a load balancer does.
struct Probe(Arc<AtomicBool>);

impl Probe {
    fn start(address: SocketAddr) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let probe = Self(ended.clone());
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // Whether it is ready is not asked for its own sake.
                let _ = ready(address);
                sleep(Duration::from_secs(1));
            }
        });
        probe
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The first line and the rest of what the dispatcher's probe returns.
fn ready(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = "GET /dispatcher/readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait_until_ready(address: SocketAddr) -> Result<()> {
    let since = Instant::now();
    loop {
        let answer = ready(address)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            bail!("the dispatcher is not ready: {body}");
        }
        sleep(Duration::from_millis(200));
    }
}
