//! The sections of the report on webhooks.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use do_nothing::recording::Mode;

use super::Bench;
use super::bounds;
use super::cases::Case;
use super::load::{CONNECTIONS, Load, median, met};
use super::seed::{FULL, LARGE, SMALL, directory, fresh_store, id};
use super::server::{Pair, Server, live_instances, time};
use super::store::Store;
use crate::profile::{self, Samples};
use crate::runtime::Runtime;
use crate::{build, project};

/// How often the first response of a fresh instance is timed.
const FIRST_RESPONSES: usize = 41;

/// How long both runtimes keep an instance without work, and a bit.
const IDLE: Duration = Duration::from_millis(1300);

impl Bench {
    /// What all of the report is of, measured on these stores.
    pub fn introduction(&self, stores: &[Store]) -> String {
        let names: Vec<_> = stores.iter().map(Store::name).collect();
        let redis = stores.iter().find_map(|store| match store {
            Store::Redis(redis) => Some(redis.is_own()),
            Store::Sqlite | Store::Memory => None,
        });
        format!(
            "# Performance\n\n\
             Made by `cargo xtask bench{}`. Both components are built as they are released and \
             served side by side by {}, with their documents on {}.{} `wrk` sends each the same \
             requests over {CONNECTIONS} connections, in turns, {} runs of {} s each. The \
             do-nothing component (`bench/`) \
             replays the store operations, statements and outbound requests that the local runtime \
             recorded of the service at the start, as many side by side and of the same sizes, \
             checks nothing and answers the same bytes; where it says *at once*, there were none. \
             What stands here are medians; a ratio is the median of the ratios of runs that \
             followed each other. Absolute numbers are of a machine with {} cores that the load \
             generator and the store share: only ratios carry over.\n\n{}\n",
            match self.runtime {
                Runtime::Spin(_) => " --runtime spin",
                Runtime::Local(_) => "",
            },
            self.runtime.name(),
            names.join(", then on "),
            match redis {
                Some(true) =>
                    " Redis is the benchmark's own, on this machine, with `appendonly yes`.",
                Some(false) => " Redis is the one that the runtime config names.",
                None => "",
            },
            self.runs,
            self.seconds,
            std::thread::available_parallelism().map_or(1, usize::from),
            sizes(),
        )
    }

    /// The table and what is possible, and the cases that missed their target.
    pub fn main_table(&self, pair: &Pair) -> Result<(String, Vec<Case>)> {
        let mut missed = Vec::new();
        let mut possible = String::from(bounds::HEAD);
        let on_redis = matches!(self.store, Store::Redis(_));
        let has_targets = on_redis && matches!(self.runtime, Runtime::Spin(_));
        let mut text = String::from(
            "| request | requests/s | of the do-nothing one's | target | median | its median | \
             99 % | its 99 % |\n|---|---|---|---|---|---|---|---|\n",
        );
        for case in self.cases() {
            let compared = self.compare(&case, pair)?;
            let (nothing, ratio) = (&compared.nothing.load, compared.nothing.ratio);
            let at_once = self.recorded(&case)?.1.steps.is_empty();
            let on_sqlite = matches!(self.store, Store::Sqlite);
            let target = case.target.filter(|_| at_once || on_sqlite);
            let ms = |us: f64| format!("{:.1} ms", us / 1000.0);
            let _ = writeln!(
                text,
                "| {}{} | {:.0} | **{:.2}** | {} | {} | {} | {} | {} |",
                case.name,
                if at_once { " (*at once*)" } else { "" },
                compared.service.per_second,
                ratio,
                target.map_or_else(String::new, |target| {
                    format!("{target}: {}", met(ratio >= target))
                }),
                ms(compared.service.median_us),
                ms(nothing.median_us),
                ms(compared.service.p99_us),
                ms(nothing.p99_us),
            );
            possible += &bounds::row(&case, &compared, has_targets).unwrap_or_default();
            if target.is_some_and(|target| ratio < target) {
                missed.push(case);
            }
        }
        Ok((format!("{text}\n{possible}\n"), missed))
    }

    pub fn first_responses(&self, pair: &Pair) -> Result<String> {
        let case = self.get("read", &format!("large-%d/webhooks/{}", id(0)), LARGE);
        let request = |prefix: &str| {
            format!(
                "GET {prefix}/api/v1/applications/large-0/webhooks/{} HTTP/1.1\r\nHost: bench\r\n\
                 Authorization: Bearer {}\r\nConnection: close\r\n\r\n",
                id(0),
                case.token
            )
        };
        let replay = request(&self.replay(&case, Mode::Same)?);
        let request = request("");
        let mut service = Vec::new();
        let mut nothing = Vec::new();
        let count = if self.runs < 5 { 11 } else { FIRST_RESPONSES };
        for number in 0..count {
            let mut turns = [
                (pair.service.address, &request, &mut service),
                (pair.nothing.address, &replay, &mut nothing),
            ];
            // The first of the two finds a machine that has slept.
            turns.rotate_left(number % 2);
            std::thread::sleep(IDLE);
            for (address, request, times) in turns {
                times.push(time(address, request)?);
            }
        }
        let (service, nothing) = (median(service), median(nothing));
        Ok(format!(
            "### A fresh instance\n\nThe first response of a fresh instance, a read with a new \
             token: {:.2} ms, the do-nothing component's {:.2} ms; **{:.2}** times as long \
             (target 1.5: {}).\n\n",
            service * 1e3,
            nothing * 1e3,
            service / nothing,
            met(service / nothing <= 1.5),
        ))
    }

    /// The memory of instances, as the growth of the runtime's while it has many.
    pub fn memory(&self, pair: &Pair) -> Result<String> {
        let case = self.get("read", &format!("large-%d/webhooks/{}", id(0)), LARGE);
        let mut grown = Vec::new();
        let replay = self.replay(&case, Mode::Same)?;
        for (server, prefix) in [(&pair.service, ""), (&pair.nothing, replay.as_str())] {
            let Some(control) = server.control else {
                return Ok(String::new());
            };
            std::thread::sleep(IDLE);
            let before = server.resident_kib()?;
            let mut best = 0.0_f64;
            std::thread::scope(|scope| -> Result<()> {
                let load = scope.spawn(|| self.load(&case, server.address, prefix));
                while !load.is_finished() {
                    std::thread::sleep(Duration::from_millis(100));
                    let live = live_instances(control)?;
                    if live > 0 {
                        let each = (server.resident_kib()? - before) / live as f64;
                        best = best.max(each);
                    }
                }
                load.join()
                    .map_err(|_| anyhow::anyhow!("the load panicked"))?
                    .map(drop)
            })?;
            grown.push(best);
        }
        Ok(format!(
            "### Memory of instances\n\nUnder load the runtime's memory grows by {:.0} KiB per instance at \
             most; with the do-nothing component by {:.0} KiB.\n\n",
            grown[0], grown[1]
        ))
    }

    pub fn webhooks(&self, pair: &Pair) -> Result<String> {
        let mut text = format!(
            "### From 1 to {FULL} webhooks in an application\n\n| request | with 1 | with {FULL} | \
             of the do-nothing one's, with 1 | with {FULL} |\n|---|---|---|---|---|\n"
        );
        for [one, full] in self.cases_by_webhooks() {
            let name = one.name.split(',').next().unwrap_or_default().to_owned();
            let (one, full) = (self.compare(&one, pair)?, self.compare(&full, pair)?);
            let _ = writeln!(
                text,
                "| {name} | {:.0}/s | {:.0}/s | {:.2} | {:.2} |",
                one.service.per_second,
                full.service.per_second,
                one.nothing.ratio,
                full.nothing.ratio
            );
        }
        text.push('\n');
        Ok(text)
    }

    /// Where the time goes of those that missed their target.
    pub fn profiles(&self, missed: &[Case]) -> Result<String> {
        let mut text = String::new();
        if missed.is_empty() || matches!(self.runtime, Runtime::Spin(_)) {
            return Ok(text);
        }
        text += "### Where the time goes that missed its target\n\n";
        if !Samples::can_be_taken() {
            text += "Not sampled: `perf` is not on PATH.\n\n";
            return Ok(text);
        }
        for case in missed {
            let state = fresh_store("profile", SMALL)?;
            let manifest = named_manifest();
            let server = Server::start(self, &manifest, &state, &["--perf-map"])?;
            self.load(case, server.address, "")?;
            let file = directory().join("perf.data");
            let samples = Samples::begin(server.child.id(), &file)?;
            self.load(case, server.address, "")?;
            drop(server);
            let shares = samples.shares(&file)?;
            text += &profile::table(&format!("{}: where", case.name), shares, " %");
        }
        Ok(text)
    }

    pub fn applications(&self, many: usize) -> Result<String> {
        let few = Pair::start(self, "ten", 10)?;
        let lots = Pair::start(self, "many", many)?;
        let mut text = format!(
            "### From 10 to {many} applications\n\n| request | requests/s with 10 | with {many} | \
             ratio | the do-nothing one's ratio |\n|---|---|---|---|---|\n"
        );
        let (of_few, of_many) = (
            self.cases_by_applications(10),
            self.cases_by_applications(many),
        );
        for (a, b) in of_few.into_iter().zip(of_many) {
            let [replay_a, replay_b] = [&a, &b].map(|case| self.replay(case, Mode::Same));
            let (replay_a, replay_b) = (replay_a?, replay_b?);
            let (mut service, mut nothing) = (Vec::new(), Vec::new());
            let (mut loads_few, mut loads_many) = (Vec::new(), Vec::new());
            for _ in 0..self.runs {
                let (x, y) = (
                    self.load(&a, few.service.address, "")?,
                    self.load(&b, lots.service.address, "")?,
                );
                service.push(y.per_second / x.per_second);
                loads_few.push(x);
                loads_many.push(y);
                let (x, y) = (
                    self.load(&a, few.nothing.address, &replay_a)?,
                    self.load(&b, lots.nothing.address, &replay_b)?,
                );
                nothing.push(y.per_second / x.per_second);
            }
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.0} | {:.2} | {:.2} |",
                a.name.split(',').next().unwrap_or_default(),
                Load::median(&loads_few).per_second,
                Load::median(&loads_many).per_second,
                median(service),
                median(nothing),
            );
        }
        text.push('\n');
        Ok(text)
    }
}

/// The API component with the names of its functions, for profiles.
fn named() -> PathBuf {
    directory().join("named.wasm")
}

/// The manifest that serves it.
fn named_manifest() -> PathBuf {
    directory().join("named.toml")
}

pub fn build_with_names() -> Result<()> {
    project::run(
        project::cargo()
            .args(build::API.cargo_args())
            .arg("--config=profile.release.strip='debuginfo'"),
        "building the component with the names of its functions",
    )?;
    fs::copy(build::API.path(), named())?;
    let manifest = fs::read_to_string(project::root().join("spin.toml"))?;
    let root = project::root().display().to_string();
    let manifest = manifest
        .replace(
            "target/wasm32-wasip2/release/application_webhooks.wasm",
            &named().display().to_string(),
        )
        .replace("\"target/", &format!("\"{root}/target/"));
    fs::write(named_manifest(), manifest)?;
    Ok(())
}

pub fn size_table() -> Result<String> {
    Ok(format!(
        "## Size\n\nThe functions of the component, by crate:\n\n{}",
        profile::table("crate", profile::sizes(&fs::read(named())?)?, " bytes")
    ))
}

/// The sizes of the components that answer requests.
fn sizes() -> String {
    let mut text = String::from("| component | bytes | target |\n|---|---|---|\n");
    for component in [build::API, build::DISPATCHER] {
        let bytes = fs::metadata(component.path()).map_or(0, |file| file.len());
        let _ = writeln!(
            text,
            "| {} | {bytes} | under {}: {} |",
            component.package,
            component.max_bytes,
            met(bytes > 0 && bytes < component.max_bytes),
        );
    }
    text
}
