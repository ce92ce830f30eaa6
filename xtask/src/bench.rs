//! `cargo xtask bench`: the service beside a component that does nothing but the same store
//! operations, on one runtime in one run, under one load.
//!
//! Which operations those are is recorded at the start: the local runtime tells what the service
//! does for each kind of request, and the other component replays it (`recording.rs`, `bench/`).
//!
//! Long because the cases, their load and the report of one run belong together.

mod seed;
mod tokens;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64ct::{Base64, Encoding};
use do_nothing::recording::Recording;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use self::seed::{FULL, LARGE, directory, fresh_store, id};
use self::tokens::{Tokens, forge, middle_of_signature};
use crate::profile::{self, Samples};
use crate::recording::{self, Exchange, Request};
use crate::runtime::{self, Choice, Runtime};
use crate::{build, project};

#[derive(clap::Args)]
pub struct Args {
    /// What serves both components
    #[arg(long, value_enum, default_value = "local")]
    runtime: Choice,
    /// Fewer and shorter runs: for a first look, not for numbers to quote
    #[arg(long)]
    quick: bool,
    /// Write docs/performance.md, or with Spin docs/performance-spin.md
    #[arg(long)]
    write: bool,
}

/// The component that replays what was recorded.
const DO_NOTHING: build::Component = build::Component {
    package: "do-nothing",
    max_bytes: u64::MAX,
};

/// How many applications without webhooks a store has, for creates and reads to be spread over.
const SMALL: usize = 1000;

/// The connections of the load generator.
const CONNECTIONS: usize = 32;

/// How often the first response of a fresh instance is timed.
const FIRST_RESPONSES: usize = 41;

/// How long both runtimes keep an instance without work, and a bit.
const IDLE: Duration = Duration::from_millis(1300);

pub fn run(args: &Args) -> Result<()> {
    project::manifest()?;
    fs::create_dir_all(directory())?;
    let runtime = Runtime::find(args.runtime)?;
    if project::on_path("wrk").is_none() {
        bail!("wrk, the load generator, is not on PATH: install it (Debian: apt-get install wrk)");
    }
    build_with_names()?;
    build::components()?;
    let bytes = build::check(&build::API)?;
    project::run(
        project::cargo().args(DO_NOTHING.cargo_args()),
        "building the do-nothing component",
    )?;
    project::build_local_runtime_for_measurements()?;

    let mut bench = Bench {
        runs: if args.quick { 3 } else { 5 },
        seconds: if args.quick { 1 } else { 2 },
        tokens: Tokens::sign()?,
        runtime,
        recordings: Vec::new(),
    };
    bench.record()?;
    let mut report = bench.introduction(bytes);
    let few = Pair::start(&bench, "few", SMALL)?;
    let (table, missed) = bench.main_table(&few)?;
    report += &table;
    report += &bench.first_responses(&few)?;
    report += &bench.memory(&few)?;
    report += &bench.webhooks(&few)?;
    drop(few);
    report += &bench.applications(if args.quick { 10_000 } else { 100_000 })?;
    report += &bench.profiles(&missed)?;
    report += &size_table()?;
    print!("\n{report}");
    if args.write {
        let name = match bench.runtime {
            Runtime::Local(_) => "performance.md",
            Runtime::Spin(_) => "performance-spin.md",
        };
        let path = project::root().join("docs").join(name);
        fs::create_dir_all(project::root().join("docs"))?;
        fs::write(&path, &report).with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nWritten to {}", path.display());
    }
    Ok(())
}

struct Bench {
    runtime: Runtime,
    runs: usize,
    seconds: u64,
    tokens: Tokens,
    /// By [`Case::kind`].
    recordings: Vec<(String, Recording)>,
}

/// One kind of request.
struct Case {
    name: String,
    method: &'static str,
    /// Below `/api/v1/applications/`, with Lua's `n` for a random number.
    path: String,
    /// How many applications the random number chooses among.
    among: usize,
    token: String,
    body: Option<&'static str>,
    status: u16,
    /// The throughput to reach, as a part of the baseline's.
    target: Option<f64>,
    /// Whether each request has another signature in its token, which cannot have been seen before.
    forged_anew: bool,
}

const BODY: &str = r#"{"url":"https://merchant.example.com/hooks/kadosei"}"#;

impl Case {
    /// What the service does for it does not depend on more than this.
    fn kind(&self) -> String {
        format!("{} {} {}", self.method, self.path, self.status)
    }

    /// The first of its applications, as its path names it, and the second.
    fn applications(&self) -> [String; 2] {
        let name = self.path.split('/').next().unwrap_or_default();
        ["0", "1"].map(|number| name.replace("%d", number))
    }
}

impl Bench {
    /// Records each kind of request of the benchmark, and checks that the replay is the same.
    fn record(&mut self) -> Result<()> {
        let local = Runtime::find(Choice::Local)?;
        let state = fresh_store("recorded", SMALL)?;
        let manifest = project::root().join("spin.toml");
        let service = Server::start(self, &local, &manifest, &state, &[])?;
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
            let recording = recorded.recording(&application)?;
            if recording.status != case.status {
                bail!("{} is answered {recording:?}", case.name);
            }
            self.recordings.push((case.kind(), recording));
        }
        drop(service);

        let state = fresh_store("replayed", SMALL)?;
        let nothing = Server::start(self, &local, &replaying(), &state, &[])?;
        for case in &cases {
            let (number, recording) = self.recorded(case)?;
            let [_, application] = case.applications();
            let prefix = format!("/replay/{number}");
            let replayed = self.exchange(case, &nothing, &application, &prefix)?;
            recording::check(recording, &replayed, &application)
                .with_context(|| format!("the replay of `{}`", case.name))?;
        }
        Ok(())
    }

    /// The recording of a case's kind, and its number.
    fn recorded(&self, case: &Case) -> Result<(usize, &Recording)> {
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

        let (_, below) = case.path.split_once('/').unwrap_or_default();
        let request = Request {
            method: case.method,
            path: &format!("{prefix}/api/v1/applications/{application}/{below}"),
            token: &case.token,
            body: case.body,
        };
        let control = server.control.context("only the local runtime records")?;
        let name = format!("recording-{}", SENT.fetch_add(1, Ordering::Relaxed));
        recording::exchange(server.address, control, &name, &request)
    }

    fn create(&self, algorithm: &str, path: &str, among: usize, target: Option<f64>) -> Case {
        Case {
            name: format!("create, {algorithm}"),
            method: "POST",
            path: path.to_owned(),
            among,
            token: self.tokens.of(algorithm).to_owned(),
            body: Some(BODY),
            status: 201,
            target,
            forged_anew: false,
        }
    }

    fn get(&self, name: &str, path: &str, among: usize) -> Case {
        Case {
            name: name.to_owned(),
            method: "GET",
            path: path.to_owned(),
            among,
            token: self.tokens.of("HS256").to_owned(),
            body: None,
            status: 200,
            target: None,
            forged_anew: false,
        }
    }

    fn cases(&self) -> Vec<Case> {
        let small = "small-%d/webhooks";
        let mut cases = vec![
            self.create("HS256", small, SMALL, Some(0.85)),
            self.create("EdDSA", small, SMALL, Some(0.75)),
            self.create("ES256", small, SMALL, Some(0.6)),
            self.create("RS256", small, SMALL, Some(0.6)),
            Case {
                name: format!("create in an application with {FULL} and more, HS256"),
                ..self.create("HS256", "large-%d/webhooks", LARGE, None)
            },
            self.get("read", &format!("large-%d/webhooks/{}", id(0)), LARGE),
            self.get("list of 50", "listed-%d/webhooks?limit=50", LARGE),
            Case {
                status: 400,
                body: Some(r#"{"url":"http://10.0.0.1/","subscribedEvents":[]}"#),
                name: "invalid body".to_owned(),
                ..self.create("HS256", small, SMALL, None)
            },
            Case {
                status: 401,
                token: "not.a.token".to_owned(),
                name: "refused: no JWT".to_owned(),
                target: Some(0.8),
                ..self.create("HS256", small, SMALL, None)
            },
        ];
        for algorithm in ["HS256", "EdDSA", "ES256", "RS256"] {
            for forged_anew in [false, true] {
                let mut token = self.tokens.of(algorithm).to_owned();
                forge(&mut token);
                let how = match forged_anew {
                    true => "another forged one each time",
                    false => "the same forged one",
                };
                cases.push(Case {
                    status: 401,
                    token,
                    name: format!("refused, {algorithm}: {how}"),
                    target: Some(0.8),
                    forged_anew,
                    ..self.create(algorithm, small, SMALL, None)
                });
            }
        }
        cases
    }

    fn introduction(&self, bytes: u64) -> String {
        format!(
            "# Performance\n\n\
             Made by `cargo xtask bench{}`. Both components are built as they are released and \
             served side by side by {}; `wrk` sends each the same requests over {CONNECTIONS} \
             connections, in turns, {} runs of {} s each. The do-nothing component (`bench/`) \
             replays the store operations that the local runtime recorded of the service at the \
             start, as many side by side and of the same sizes, checks nothing and answers the \
             same bytes; where it says *at once*, there were none. What stands here \
             are medians; a ratio is the median of the ratios of runs that followed each other. \
             Absolute numbers are of a machine with {} cores that the load generator shares, and \
             of a store on SQLite: only ratios carry over.\n\n\
             The component has {bytes} bytes (target: under {}: {}).\n\n",
            match self.runtime {
                Runtime::Spin(_) => " --runtime spin",
                Runtime::Local(_) => "",
            },
            self.runtime.name(),
            self.runs,
            self.seconds,
            std::thread::available_parallelism().map_or(1, usize::from),
            build::API.max_bytes,
            met(bytes < build::API.max_bytes),
        )
    }

    /// The table, and the cases that missed their target.
    fn main_table(&self, pair: &Pair) -> Result<(String, Vec<Case>)> {
        let mut missed = Vec::new();
        let mut text = String::from(
            "| request | requests/s | of the do-nothing one's | target | median | its median | \
             99 % | its 99 % |\n|---|---|---|---|---|---|---|---|\n",
        );
        for case in self.cases() {
            let compared = self.compare(&case, pair)?;
            let ms = |us: f64| format!("{:.1} ms", us / 1000.0);
            let _ = writeln!(
                text,
                "| {}{} | {:.0} | **{:.2}** | {} | {} | {} | {} | {} |",
                case.name,
                match self.recorded(&case)?.1.steps.is_empty() {
                    false => "",
                    true => " (*at once*)",
                },
                compared.service.per_second,
                compared.ratio,
                case.target.map_or_else(String::new, |target| {
                    format!("{target}: {}", met(compared.ratio >= target))
                }),
                ms(compared.service.median_us),
                ms(compared.nothing.median_us),
                ms(compared.service.p99_us),
                ms(compared.nothing.p99_us),
            );
            if case.target.is_some_and(|target| compared.ratio < target) {
                missed.push(case);
            }
        }
        text.push('\n');
        Ok((text, missed))
    }

    fn compare(&self, case: &Case, pair: &Pair) -> Result<Compared> {
        let mut service = Vec::new();
        let mut nothing = Vec::new();
        for _ in 0..self.runs {
            service.push(self.load(case, pair.service.address, true)?);
            nothing.push(self.load(case, pair.nothing.address, false)?);
        }
        let ratios = service.iter().zip(&nothing);
        let compared = Compared {
            ratio: median(ratios.map(|(s, n)| s.per_second / n.per_second)),
            service: Load::median(&service),
            nothing: Load::median(&nothing),
        };
        eprintln!("{}: {:.2}", case.name, compared.ratio);
        Ok(compared)
    }

    /// Runs the load generator once.
    fn load(&self, case: &Case, address: SocketAddr, service: bool) -> Result<Load> {
        let prefix = match service {
            true => String::new(),
            false => format!("/replay/{}", self.recorded(case)?.0),
        };
        let body = case
            .body
            .map_or("nil".to_owned(), |body| format!("[[{body}]]"));
        // Eight digits in the middle of the signature.
        let forge = if case.forged_anew {
            let middle = middle_of_signature(&case.token);
            let (before, after) = (&case.token[..middle], &case.token[middle + 8..]);
            format!(
                "headers[\"Authorization\"] = \"Bearer {before}\" .. string.format(\"%08d\", \
                 math.random(0, 99999999)) .. \"{after}\"\n  "
            )
        } else {
            String::new()
        };
        let script = format!(
            "math.randomseed(os.time())\n\
             local headers = {{[\"Authorization\"] = \"Bearer {}\", \
             [\"Content-Type\"] = \"application/json\"}}\n\
             request = function()\n  {forge}local path = string.format(\"{prefix}/api/v1/applications/{}\", \
             math.random(0, {}))\n  return wrk.format(\"{}\", path, headers, {body})\nend\n\
             done = function(s, l)\n  local e = s.errors\n  io.write(string.format(\
             \"RESULT %d %d %d %d %d %d\\n\", s.requests, s.duration, l:percentile(50), \
             l:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))\nend\n",
            case.token,
            case.path,
            case.among - 1,
            case.method,
        );
        let file = directory().join("load.lua");
        fs::write(&file, script)?;
        let output = project::output_of(
            Command::new("wrk")
                .args(["-t1", "-c", &CONNECTIONS.to_string()])
                .arg(format!("-d{}s", self.seconds))
                .arg("-s")
                .arg(&file)
                .arg(format!("http://{address}/")),
        )
        .context("wrk failed")?;
        let numbers: Vec<f64> = output
            .lines()
            .find_map(|line| line.strip_prefix("RESULT "))
            .context("wrk told no result")?
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let [requests, duration_us, median_us, p99_us, refused, broken] = numbers[..] else {
            bail!("wrk told {output}");
        };
        let expected = if case.status >= 400 { requests } else { 0.0 };
        if broken > 0.0 || requests < 1.0 || refused != expected {
            bail!(
                "{}: of {requests} requests {refused} were refused, and {expected} should have \
                 been; {broken} had no answer",
                case.name
            );
        }
        Ok(Load {
            per_second: requests / duration_us * 1e6,
            median_us,
            p99_us,
        })
    }

    fn first_responses(&self, pair: &Pair) -> Result<String> {
        let case = self.get("read", &format!("large-%d/webhooks/{}", id(0)), LARGE);
        let request = |prefix: &str| {
            format!(
                "GET {prefix}/api/v1/applications/large-0/webhooks/{} HTTP/1.1\r\nHost: bench\r\n\
                 Authorization: Bearer {}\r\nConnection: close\r\n\r\n",
                id(0),
                case.token
            )
        };
        let replay = request(&format!("/replay/{}", self.recorded(&case)?.0));
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
            "## A fresh instance\n\nThe first response of a fresh instance, a read with a new \
             token: {:.2} ms, the do-nothing component's {:.2} ms; **{:.2}** times as long \
             (target 1.5: {}).\n\n",
            service * 1e3,
            nothing * 1e3,
            service / nothing,
            met(service / nothing <= 1.5),
        ))
    }

    /// The memory of instances, as the growth of the runtime's while it has many.
    fn memory(&self, pair: &Pair) -> Result<String> {
        let case = self.get("read", &format!("large-%d/webhooks/{}", id(0)), LARGE);
        let mut grown = Vec::new();
        for (server, service) in [(&pair.service, true), (&pair.nothing, false)] {
            let Some(control) = server.control else {
                return Ok(String::new());
            };
            std::thread::sleep(IDLE);
            let before = server.resident_kib()?;
            let mut best = 0.0_f64;
            std::thread::scope(|scope| -> Result<()> {
                let load = scope.spawn(|| self.load(&case, server.address, service));
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
            "## Memory\n\nUnder load the runtime's memory grows by {:.0} KiB per instance at \
             most; with the do-nothing component by {:.0} KiB.\n\n",
            grown[0], grown[1]
        ))
    }

    /// A read and a list, each of an application with one webhook and of one with [`FULL`].
    fn cases_by_webhooks(&self) -> [[Case; 2]; 2] {
        [
            ("read", format!("webhooks/{}", id(0))),
            ("list", "webhooks?limit=50".to_owned()),
        ]
        .map(|(name, path)| {
            ["one", "listed"].map(|kind| {
                let path = format!("{kind}-%d/{path}");
                self.get(&format!("{name}, {kind}"), &path, LARGE)
            })
        })
    }

    /// A create and a read in one of `among` applications.
    fn cases_by_applications(&self, among: usize) -> [Case; 2] {
        [
            Case {
                name: format!("create, {among} applications"),
                ..self.create("HS256", "small-%d/webhooks", among, None)
            },
            self.get(
                &format!("read, {among} applications"),
                &format!("small-%d/webhooks/{}", id(0)),
                among,
            ),
        ]
    }

    fn webhooks(&self, pair: &Pair) -> Result<String> {
        let mut text = format!(
            "## From 1 to {FULL} webhooks in an application\n\n| request | with 1 | with {FULL} | \
             of the do-nothing one's, with 1 | with {FULL} |\n|---|---|---|---|---|\n"
        );
        for [one, full] in self.cases_by_webhooks() {
            let name = one.name.split(',').next().unwrap_or_default().to_owned();
            let (one, full) = (self.compare(&one, pair)?, self.compare(&full, pair)?);
            let _ = writeln!(
                text,
                "| {name} | {:.0}/s | {:.0}/s | {:.2} | {:.2} |",
                one.service.per_second, full.service.per_second, one.ratio, full.ratio
            );
        }
        text.push('\n');
        Ok(text)
    }

    /// Where the time goes of those that missed their target.
    fn profiles(&self, missed: &[Case]) -> Result<String> {
        let mut text = String::new();
        if missed.is_empty() || matches!(self.runtime, Runtime::Spin(_)) {
            return Ok(text);
        }
        text += "## Where the time goes that missed its target\n\n";
        if !Samples::can_be_taken() {
            text += "Not sampled: `perf` is not on PATH.\n\n";
            return Ok(text);
        }
        for case in missed {
            let state = fresh_store("profile", SMALL)?;
            let manifest = named_manifest();
            let server = Server::start(self, &self.runtime, &manifest, &state, &["--perf-map"])?;
            self.load(case, server.address, true)?;
            let file = directory().join("perf.data");
            let samples = Samples::begin(server.child.id(), &file)?;
            self.load(case, server.address, true)?;
            drop(server);
            let shares = samples.shares(&file)?;
            text += &profile::table(&format!("{}: where", case.name), shares, " %");
        }
        Ok(text)
    }

    fn applications(&self, many: usize) -> Result<String> {
        let few = Pair::start(self, "ten", 10)?;
        let lots = Pair::start(self, "many", many)?;
        let mut text = format!(
            "## From 10 to {many} applications\n\n| request | requests/s with 10 | with {many} | \
             ratio | the do-nothing one's ratio |\n|---|---|---|---|---|\n"
        );
        let (of_few, of_many) = (
            self.cases_by_applications(10),
            self.cases_by_applications(many),
        );
        for (a, b) in of_few.into_iter().zip(of_many) {
            let (mut service, mut nothing) = (Vec::new(), Vec::new());
            let (mut loads_few, mut loads_many) = (Vec::new(), Vec::new());
            for _ in 0..self.runs {
                let (x, y) = (
                    self.load(&a, few.service.address, true)?,
                    self.load(&b, lots.service.address, true)?,
                );
                service.push(y.per_second / x.per_second);
                loads_few.push(x);
                loads_many.push(y);
                let (x, y) = (
                    self.load(&a, few.nothing.address, false)?,
                    self.load(&b, lots.nothing.address, false)?,
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

fn build_with_names() -> Result<()> {
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

fn size_table() -> Result<String> {
    Ok(format!(
        "## Size\n\nThe functions of the component, by crate:\n\n{}",
        profile::table("crate", profile::sizes(&fs::read(named())?)?, " bytes")
    ))
}

/// What the load generator measured.
struct Load {
    per_second: f64,
    median_us: f64,
    p99_us: f64,
}

impl Load {
    fn median(loads: &[Self]) -> Self {
        Self {
            per_second: median(loads.iter().map(|load| load.per_second)),
            median_us: median(loads.iter().map(|load| load.median_us)),
            p99_us: median(loads.iter().map(|load| load.p99_us)),
        }
    }
}

/// What is said of a target.
fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

struct Compared {
    service: Load,
    nothing: Load,
    ratio: f64,
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// How long a request takes on a connection of its own, in seconds.
fn time(address: SocketAddr, request: &str) -> Result<f64> {
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

fn live_instances(control: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(control)?;
    stream.write_all(b"GET /stats HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no stats")?;
    let stats: Value = serde_json::from_str(body)?;
    stats["liveInstances"]
        .as_u64()
        .context("no count of instances")
}

/// The manifest of the component that replays.
fn replaying() -> PathBuf {
    project::root().join("bench/spin.toml")
}

/// The recordings as that component reads them.
fn lines(recordings: &[(String, Recording)]) -> Result<String> {
    let lines = recordings.iter().map(|(_, it)| serde_json::to_string(it));
    Ok(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
}

/// Both components, each with a store of its own with the same content.
struct Pair {
    service: Server,
    nothing: Server,
}

impl Pair {
    fn start(bench: &Bench, name: &str, applications: usize) -> Result<Self> {
        let start = |component: &str, manifest: PathBuf| {
            let state = fresh_store(&format!("{name}-{component}"), applications)?;
            Server::start(bench, &bench.runtime, &manifest, &state, &[])
        };
        Ok(Self {
            service: start("service", project::root().join("spin.toml"))?,
            nothing: start("nothing", replaying())?,
        })
    }
}

/// A component that is served. Ends when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    control: Option<SocketAddr>,
}

impl Server {
    fn start(
        bench: &Bench,
        runtime: &Runtime,
        manifest: &Path,
        state: &Path,
        options: &[&str],
    ) -> Result<Self> {
        let address = free_address()?;
        let mut command = runtime.serve(manifest, address, state, &runtime::shipped_config(), &[]);
        command.args(options);
        let control = match runtime {
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
            .env("SPIN_VARIABLE_SECRETS_KEY", Base64::encode_string(&[7; 32]))
            .env("SPIN_VARIABLE_MAX_WEBHOOKS_PER_APPLICATION", "10000")
            .env("SPIN_VARIABLE_MAX_CHANGES_PER_MINUTE", "0")
            .env("SPIN_VARIABLE_STORE_TIMEOUT_MS", "20000")
            .env("SPIN_VARIABLE_RECORDINGS", lines(&bench.recordings)?)
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

    fn resident_kib(&self) -> Result<f64> {
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

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
