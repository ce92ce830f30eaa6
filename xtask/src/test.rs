//! `cargo xtask test`: every test, and one line that says how many ran.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::runtime::{Choice, Runtime};
use crate::slowest::Slowest;
use crate::{build, project, test_tools};

/// How many tests run at a time, for libtest.
const THREADS: &str = "RUST_TEST_THREADS";

/// How many schedules a test of interleavings tries.
const SCHEDULES: &str = "WEBHOOKS_SCHEDULES";

/// How many tests run per core. Most wait, for a server, a lease or a deadline, and with two per core all take
/// two thirds of the time; but then what else the machine does leaves some without room.
const TESTS_PER_CORE: usize = 1;

/// What has no tests, and would be compiled for this machine all the same.
const WITHOUT_TESTS: [&str; 2] = ["event-dispatcher", "sql-probe"];

#[derive(clap::Args)]
pub struct Args {
    /// What the HTTP tests run against
    #[arg(long, value_enum, default_value = "local")]
    runtime: Choice,
    /// A runtime config for Spin, such as one that chooses another store
    #[arg(long, value_name = "FILE")]
    runtime_config: Option<PathBuf>,
    /// For `cargo test`: a filter, `--test http`, `-- --nocapture`
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    project::manifest()?;
    let runtime_config = args.runtime_config.as_deref().map(readable).transpose()?;
    let runtime = Runtime::find(args.runtime)?;
    if runtime_config.is_some() && matches!(runtime, Runtime::Local(_)) {
        bail!("--runtime-config is for Spin: add --runtime spin, or leave it out");
    }

    // The build of the tests may replace this program's file: afterwards it would be "(deleted)".
    let this = std::env::current_exe()?;
    let mut python = None;
    std::thread::scope(|scope| {
        // Most of it is waiting for the network.
        let tools = scope.spawn(test_tools::install);
        let built = build::components_beside(&[build::SQL_PROBE], || {
            project::build_local_runtime()?;
            build::stage("tests", || {
                let mut command = cargo_test();
                // Its standard output is that of the tests.
                command.arg("--no-run").args(&args.arguments);
                command.env("CARGO_TERM_PROGRESS_WHEN", "never");
                project::run(&mut command, "building the tests")
            })
        });
        python = tools.join().unwrap_or_default();
        built
    })?;

    let threads = threads(&args.arguments);
    let mut command = cargo_test();
    command
        .arg("--no-fail-fast")
        .args(&args.arguments)
        .env(THREADS, threads.to_string())
        .env("WEBHOOKS_LOCAL_RUNTIME", project::local_runtime())
        .env("WEBHOOKS_XTASK", this)
        .env("WEBHOOKS_SQL_PROBE", build::SQL_PROBE.path())
        .env(
            "WEBHOOKS_RUNTIME",
            match runtime {
                Runtime::Spin(_) => "spin",
                Runtime::Local(_) => "local",
            },
        )
        .stdout(Stdio::piped());
    if let Some(file) = runtime_config {
        command.env("WEBHOOKS_RUNTIME_CONFIG", file);
    }
    if let Some(python) = python {
        command.env("WEBHOOKS_PYTHON", python);
    }
    // A test that cannot run here says so in a line of this file.
    let not_run = project::root().join("target/tools/not-run");
    if let Some(directory) = not_run.parent() {
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&not_run, ""))
            .with_context(|| format!("{} cannot be written", not_run.display()))?;
    }
    command.env("WEBHOOKS_NOT_RUN", &not_run);

    let since = Instant::now();
    let mut cargo = command.spawn().context("cargo does not start")?;
    let (mut sum, mut slowest) = (Sum::default(), Slowest::new(threads));
    let output = cargo.stdout.take().context("cargo has no output")?;
    let mut out = std::io::stdout();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        sum.add(&text);
        slowest.add(&text, since.elapsed());
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    let status = cargo.wait()?;
    if !status.success() && sum.failed == 0 {
        eprintln!("error: a test did not compile, or its process died; see above");
        sum.failed += 1;
    }
    for line in std::fs::read_to_string(&not_run)
        .unwrap_or_default()
        .lines()
    {
        eprintln!("NOT RUN: {line}");
        sum.skipped += 1;
    }
    if sum.passed == 0 && sum.failed == 0 {
        eprintln!(
            "error: no test ran: no name matches {}",
            args.arguments.join(" ")
        );
        sum.failed += 1;
    }
    print!("{slowest}");
    println!(
        "{} s, {threads} at a time: {} s of tests",
        since.elapsed().as_secs(),
        slowest.sum().as_secs()
    );
    println!("{sum}");
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `cargo test` of what has tests, or of the part that the arguments name.
pub fn cargo_test() -> Command {
    let mut command = project::cargo();
    command.args(["test", "--workspace"]);
    if std::env::var_os(SCHEDULES).is_none() {
        command.env(SCHEDULES, "64");
    }
    for package in WITHOUT_TESTS {
        command.args(["--exclude", package]);
    }
    command
}

/// How many tests run at a time: as the arguments say or the environment, if one does.
fn threads(arguments: &[String]) -> usize {
    let given = given_threads(arguments).or_else(|| std::env::var(THREADS).ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    given
        .and_then(|given| given.parse().ok())
        .unwrap_or(cores * TESTS_PER_CORE)
}

/// The value of libtest's flag.
fn given_threads(arguments: &[String]) -> Option<String> {
    let mut arguments = arguments.iter();
    let flag = arguments.find(|argument| argument.starts_with("--test-threads"))?;
    match flag.split_once('=') {
        Some((_, value)) => Some(value.to_owned()),
        None => arguments.next().cloned(),
    }
}

fn readable(file: &Path) -> Result<PathBuf> {
    std::fs::File::open(file)
        .and_then(|_| file.canonicalize())
        .with_context(|| format!("--runtime-config {} cannot be read", file.display()))
}

/// The results of all test programs together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Sum {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|result| result.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            let Some((number, what)) = count.trim().split_once(' ') else {
                continue;
            };
            let number = number.parse::<u64>().unwrap_or_default();
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_tested_has_no_tests() {
        let metadata = project::cargo()
            .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
            .output()
            .expect("cargo");
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
        let packages = metadata["packages"].as_array().expect("packages");
        for name in WITHOUT_TESTS {
            let package = packages.iter().find(|package| package["name"] == name);
            let package = package.unwrap_or_else(|| panic!("no package {name}"));
            let targets = package["targets"].as_array().expect("targets");
            // The dispatcher's build script is the root's.
            for target in targets
                .iter()
                .filter(|target| target["kind"][0] != "custom-build")
            {
                let file = target["src_path"].as_str().expect("a path");
                let source = Path::new(file).parent().expect("a directory");
                let found = Command::new("grep")
                    .args(["-rlE", "--include=*.rs", r"#\[(tokio::)?test|cfg\(test"])
                    .arg(source)
                    .output()
                    .expect("grep");
                let found = String::from_utf8_lossy(&found.stdout);
                assert_eq!(found, "", "{name} has tests");
            }
        }
    }

    #[test]
    fn the_arguments_say_how_many_tests_run_at_a_time() {
        for (arguments, expected) in [
            (&["--test", "http", "--", "--test-threads=4"][..], Some("4")),
            (&["--", "--test-threads", "12", "--nocapture"], Some("12")),
            (&["a_test"], None),
        ] {
            let arguments: Vec<_> = arguments.iter().map(|&it| it.to_owned()).collect();
            assert_eq!(given_threads(&arguments).as_deref(), expected);
        }
    }

    #[test]
    fn results_are_summed() {
        let mut sum = Sum::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.1s",
            "test a::b ... ok",
            "test result: FAILED. 40 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1s",
            "the log says test result: ok. 9 passed; 0 failed",
        ] {
            sum.add(line);
        }
        assert_eq!(sum.to_string(), "43 passed, 2 failed, 1 skipped");
        assert_eq!(Sum::default().to_string(), "0 passed, 0 failed");
    }
}
