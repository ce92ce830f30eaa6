//! Events: published, delivered and recorded, beside a stand-in that runs the same statements and makes
//! the same requests, on SQLite and on PostgreSQL.
//!
//! Between two runs everything is delivered and decided about a second time, so that no run pays for
//! another's events. What a second decision costs is in the figure of the sustained load.

mod latency;
mod measure;
mod place;
mod reads;
mod receiver;
mod recorded;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

pub use self::place::{APPLICATIONS, application};

use self::latency::Times;
use self::measure::{Measured, Which};
use self::place::{APPLICATION, Place};
use self::receiver::Receiver;
use super::Bench;
use super::cases::Case;
use super::load::{median, met};
use crate::postgres::Postgres;
use crate::runtime::Runtime;
use crate::tools;

/// What is published: it has the marker by which an arrival is known.
pub const BODY: &str =
    r#"{"type":"session.completed","data":{"marker":"bench-000000000000","amount":1250}}"#;

/// How many webhooks each application has.
const WEBHOOKS: u64 = 2;

/// The targets: parts of the stand-in's throughput, milliseconds, and events a second with everything
/// delivered meanwhile, on Spin with PostgreSQL.
const PUBLISH: f64 = 0.85;
const DELIVERIES: f64 = 0.8;
const P50_MS: f64 = 10.0;
const SUSTAINED: f64 = 885.0;

/// The part of a figure at a thousand events that must be left at a million, unless the stand-in's falls
/// as far.
const GROWTH: f64 = 0.9;

/// The report on events.
///
/// # Errors
///
/// When something cannot be measured.
pub fn section(bench: &Bench) -> Result<String> {
    tools::postgres();
    let server = Postgres::start_durable();
    let server =
        server.context("PostgreSQL's server is missing (Debian: apt-get install postgresql)")?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let receiver = tokio.block_on(Receiver::start())?;
    let mut text = introduction(bench);
    for place in [Place::Sqlite, Place::Postgres(&server)] {
        let mut events = Events {
            bench: Bench {
                config: without_blocked_networks(bench.config.clone()),
                recordings: Vec::new(),
                ..bench.clone()
            },
            place,
            receiver: receiver.clone(),
            tokio: &tokio,
        };
        events.record()?;
        text += &events.figures()?;
        text += &events.growth()?;
    }
    Ok(text)
}

/// The runtime config, but for the networks that it blocks: the endpoints are on this machine.
fn without_blocked_networks(mut config: toml::Table) -> toml::Table {
    let networking = config.get_mut("outbound_networking");
    if let Some(networking) = networking.and_then(toml::Value::as_table_mut) {
        networking.remove("block_networks");
    }
    let providers = config.get_mut("variables_provider");
    for provider in providers
        .and_then(toml::Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let values = provider.get_mut("values");
        if let Some(networks) = values.and_then(|it| it.get_mut("private_networks")) {
            *networks = "open".into();
        }
    }
    config
}

fn introduction(bench: &Bench) -> String {
    format!(
        "## Events, with documents on {}\n\nAn event goes to two webhooks, whose endpoint is a process of the benchmark that \
         answers at once. {APPLICATIONS} applications take turns, unless it says *one application*, \
         whose endpoints have no more than 4 attempts in flight each. PostgreSQL flushes its commits. \
         Deliveries are counted until the last one has come, {} s of load at a time, and between two \
         runs everything is finished. *Sustained* is a load of {} s, of which the last {} s count: by \
         then each publish comes with the second decision about an earlier event. The stand-in makes \
         none, and does not claim what the service leaves to its pump.\n\n",
        bench.store.name(),
        bench.seconds,
        measure::sustained(bench).0.as_secs(),
        measure::sustained(bench).1.as_secs(),
    )
}

/// What is measured on one database.
struct Events<'a> {
    bench: Bench,
    place: Place<'a>,
    receiver: Arc<Receiver>,
    tokio: &'a tokio::runtime::Runtime,
}

impl Events<'_> {
    /// A publish for any application, or always for the same.
    fn publish(&self, one: bool) -> Case {
        let path = match one {
            true => format!("{}/events", application(1)),
            false => format!("{APPLICATION}/events"),
        };
        Case {
            name: match one {
                true => "one application".to_owned(),
                false => format!("{APPLICATIONS} applications"),
            },
            method: "POST",
            path,
            among: APPLICATIONS,
            token: self.bench.tokens.publisher.clone(),
            body: Some(BODY),
            status: 202,
            target: None,
            forged_anew: false,
            bounds: None,
        }
    }

    fn receiver_url(&self) -> String {
        format!("http://{}", self.receiver.address)
    }

    /// The figures of one database, and whether they meet their targets.
    fn figures(&self) -> Result<String> {
        let at = self.receiver_url();
        let service = self.prepared("service", &at)?;
        let service = self.serve(Which::Service, &service)?;
        let stand_in = self.prepared("nothing", &at)?;
        let stand_in = self.serve(Which::StandIn, &stand_in)?;
        let name = self.place.name();
        let mut text = format!(
            "### On {name}\n\n| load | publishes/s | of the stand-in's | target | deliveries/s | of \
             the stand-in's | target |\n|---|---|---|---|---|---|---|\n"
        );
        let mut half = f64::NAN;
        let mut operations = String::new();
        for one in [false, true] {
            let before = self.counts(&service)?;
            let case = self.publish(one);
            let compared = self.compare(&case, &service, &stand_in)?;
            if !one {
                half = compared.service.published / 2.0;
            }
            let target = |target: f64, ratio: f64| match one {
                true => String::new(),
                false => format!("{target}: {}", met(ratio >= target)),
            };
            let _ = writeln!(
                text,
                "| {} | {:.0} | **{:.2}** | {} | {:.0} | **{:.2}** | {} |",
                case.name,
                compared.service.published,
                compared.publish_ratio,
                target(PUBLISH, compared.publish_ratio),
                compared.service.delivered,
                compared.delivery_ratio,
                target(DELIVERIES, compared.delivery_ratio),
            );
            eprintln!(
                "events on {name}, {}: {:.2} and {:.2}",
                case.name, compared.publish_ratio, compared.delivery_ratio
            );
            if let Some(before) = before.filter(|_| !one) {
                let asked = self.operations(&before, &service)?;
                operations = format!("\nThe service asked the host, {asked}.\n");
            }
        }
        text += &operations;
        let sustained = self.sustain(&service)?;
        let on_spin = matches!(self.bench.runtime, Runtime::Spin(_));
        let target = match (on_spin, self.place) {
            (true, Place::Postgres(_)) => {
                format!(" (target {SUSTAINED:.0}: {})", met(sustained >= SUSTAINED))
            }
            _ => String::new(),
        };
        let ours = self.times(&service, half)?;
        let its = self.times(&stand_in, half)?;
        let _ = writeln!(
            text,
            "\nSustained: **{sustained:.0}** events/s, everything delivered meanwhile{target}.\n\n\
             From a publish to an arrival, at {half:.0} events/s: median **{:.1} ms** (target under \
             {P50_MS:.0}: {}), 99 % {:.1} ms; the stand-in's {:.1} ms and {:.1} ms.\n",
            ours.p50_ms,
            met(ours.p50_ms < P50_MS),
            ours.p99_ms,
            its.p50_ms,
            its.p99_ms,
        );
        Ok(text)
    }

    /// The same figures with few and with many events stored.
    fn growth(&self) -> Result<String> {
        let many = if self.bench.quick { 50_000 } else { 1_000_000 };
        let at = self.receiver_url();
        let mut sizes = Vec::new();
        for count in [1_000, many] {
            let base = self.prepared("base", &at)?;
            self.place.fill(&base, count)?;
            let copy = |name: &str| self.place.copy(&base, &format!("{name}-{count}"));
            sizes.push((
                self.serve(Which::Service, &copy("service")?)?,
                self.serve(Which::StandIn, &copy("nothing")?)?,
            ));
        }
        let case = self.publish(false);
        let mut of_service: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
        let mut of_stand_in: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..self.bench.runs {
            for (number, (service, stand_in)) in sizes.iter().enumerate() {
                of_service[number].push(self.load(&case, service)?);
                of_stand_in[number].push(self.load(&case, stand_in)?);
            }
        }
        let slow = of_service[0].iter().map(|it| it.published);
        let rate = median(slow) / 2.0;
        let times = [&sizes[0].0, &sizes[1].0].map(|service| self.times(service, rate));
        let [few, lots] = times;
        let (few, lots): (Times, Times) = (few?, lots?);
        let mut text = format!(
            "From 1000 to {many} stored events:\n\n| figure | with 1000 | with {many} | ratio | the \
             stand-in's ratio | |\n|---|---|---|---|---|---|\n"
        );
        for (name, of) in [
            (
                "publishes/s",
                (|it: &Measured| it.published) as fn(&Measured) -> f64,
            ),
            ("deliveries/s", |it| it.delivered),
        ] {
            let of_both = |runs: &[Vec<Measured>; 2]| {
                let pairs = runs[0].iter().zip(&runs[1]);
                median(pairs.map(|(few, many)| of(many) / of(few)))
            };
            let [few, lots] = [0, 1].map(|size| median(of_service[size].iter().map(of)));
            let (ratio, its) = (of_both(&of_service), of_both(&of_stand_in));
            let holds = ratio >= GROWTH || ratio >= GROWTH * its;
            let _ = writeln!(
                text,
                "| {name} | {few:.0} | {lots:.0} | **{ratio:.2}** | {its:.2} | {} |",
                met(holds)
            );
        }
        let name = format!("from publish to arrival, median, at {rate:.0} events/s");
        for (name, few, lots) in [
            (name.as_str(), few.p50_ms, lots.p50_ms),
            ("99 %", few.p99_ms, lots.p99_ms),
        ] {
            let _ = writeln!(
                text,
                "| {name} | {few:.1} ms | {lots:.1} ms | {:.2} | | |",
                lots / few
            );
        }
        text.push('\n');
        text += &self.reads([&sizes[0].0, &sizes[1].0], many)?;
        Ok(text)
    }

    fn times(&self, served: &measure::Served, per_second: f64) -> Result<Times> {
        let rate = latency::Rate {
            address: served.server.address,
            prefix: served.prefix().to_owned(),
            token: self.bench.tokens.publisher.clone(),
            body: BODY,
            per_second,
            duration: Duration::from_secs(if self.bench.quick { 4 } else { 15 }),
        };
        let times = self
            .tokio
            .block_on(latency::measure(rate, &self.receiver))?;
        self.finish(served)?;
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use do_nothing::recording::{MARKER, marker};

    use super::*;

    #[test]
    fn what_is_published_has_the_marker() {
        assert_eq!(marker(BODY), Some(MARKER));
    }

    #[test]
    fn the_config_of_events_blocks_nothing_and_is_the_shipped_one_otherwise() {
        let shipped = crate::bench::Config::read(&crate::runtime::shipped_config());
        let open = without_blocked_networks(shipped.expect("shipped").rest);
        assert!(open["outbound_networking"].get("block_networks").is_none());
        assert_eq!(
            open["outbound_http"]["connection_pooling"].as_bool(),
            Some(false)
        );
        let provider = &open["variables_provider"][0]["values"];
        assert_eq!(provider["private_networks"].as_str(), Some("open"));
    }
}
