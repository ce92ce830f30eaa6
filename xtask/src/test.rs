//! `cargo xtask test`: every test, and one line that says how many ran.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::runtime::{Choice, Runtime};
use crate::{build, project, tools};

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

    build::components()?;
    build::compile(&build::SQL_PROBE)?;
    project::build_local_runtime()?;

    let mut command = project::cargo();
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(&args.arguments)
        .env("WEBHOOKS_LOCAL_RUNTIME", project::local_runtime())
        .env("WEBHOOKS_XTASK", std::env::current_exe()?)
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
    if let Some(python) = clients() {
        command.env("WEBHOOKS_PYTHON", python);
    }
    // What stays missing is no failure here: the tests report it.
    tools::postgres();
    npm_package("oidc-provider", "9.13.3", "openid-provider");
    npm_package("standardwebhooks", "1.1.1", "standardwebhooks");
    npm_package("jose", "6.2.18", "jose");
    npm_package("playwright-core", "1.65.1", "playwright-core");
    npm_package("axe-core", "4.14.1", "axe-core");
    // The generator of the client works with this TypeScript, and not yet with its successor.
    npm_package("typescript", "5.9.3", "typescript-client");
    npm_package("@types/node", "20.19.0", "typescript-client");
    npm_package("openapi-typescript", "7.13.0", "typescript-client");
    npm_package("openapi-fetch", "0.17.0", "typescript-client");
    npm_package("@redocly/cli", "2.77.0", "redocly");
    // A test that cannot run here says so in a line of this file.
    let not_run = project::root().join("target/tools/not-run");
    if let Some(directory) = not_run.parent() {
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&not_run, ""))
            .with_context(|| format!("{} cannot be written", not_run.display()))?;
    }
    command.env("WEBHOOKS_NOT_RUN", &not_run);

    let mut cargo = command.spawn().context("cargo does not start")?;
    let mut sum = Sum::default();
    let output = cargo.stdout.take().context("cargo has no output")?;
    let mut out = std::io::stdout();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        sum.add(&String::from_utf8_lossy(&line));
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
    println!("{sum}");
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

/// What the tests use of Python's: each module, and its package.
const PYTHON_MODULES: [(&str, &str); 7] = [
    ("requests", "requests"),
    ("standardwebhooks", "standardwebhooks==1.1.0"),
    ("openapi_spec_validator", "openapi-spec-validator==0.9.0"),
    ("openapi_python_client", "openapi-python-client==0.29.1"),
    ("schemathesis", "schemathesis==4.32.5"),
    ("kubernetes_validate", "kubernetes-validate==1.37.0"),
    ("jwt", "PyJWT[crypto]==2.15.1"),
];

/// Prepares the languages of the reference page's examples as far as this
/// machine allows, and returns a Python that has [`PYTHON_MODULES`]. What stays missing
/// is no failure here: the tests report what they could not run.
fn clients() -> Option<PathBuf> {
    let missing: Vec<_> = [
        ("curl", "curl"),
        ("node", "nodejs"),
        ("go", "golang-go"),
        ("ruby", "ruby"),
        ("php", "php-cli"),
        ("javac", "default-jdk-headless"),
        ("mcs", "mono-mcs"),
        ("python3", "python3"),
        ("chromium", "chromium"),
    ]
    .into_iter()
    .filter(|(program, _)| project::on_path(program).is_none())
    .collect();
    if !missing.is_empty() {
        let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        if !tools::debian_packages(&packages) {
            eprintln!(
                "MISSING: {} for the tests with real clients: install them (Debian: apt-get \
                 install {}) to run these too",
                programs.join(", "),
                packages.join(" ")
            );
        }
    }

    let place = "target/tools/venv";
    let directory = project::root().join(place);
    let python = directory.join("bin/python");
    let import = format!(
        "import {}",
        PYTHON_MODULES.map(|(module, _)| module).join(", ")
    );
    let has_modules = || project::output_of(Command::new(&python).args(["-c", &import])).is_some();
    if !has_modules() && !virtual_environment(place) {
        // Debian has the module for it in a package of its own.
        tools::debian_packages(&["python3-venv"]);
        virtual_environment(place);
    }
    if has_modules() {
        return Some(python);
    }
    eprintln!(
        "MISSING: Python with {2}, for the tests with real clients: `python3 -m venv {0}` \
         and `{1} -m pip install {2}` show why",
        directory.display(),
        python.display(),
        PYTHON_MODULES.map(|(_, package)| package).join(" ")
    );
    None
}

/// Installs a package of npm's into `target/tools/{directory}`.
fn npm_package(name: &str, version: &str, directory: &str) {
    let place = format!("target/tools/{directory}");
    let directory = project::root().join(&place);
    if directory.join("node_modules").join(name).exists() {
        return;
    }
    let package = format!("{name}@{version}");
    let flags = [
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ];
    let mut npm = Command::new("npm");
    npm.args(flags).arg(&directory).arg(&package);
    if !tools::install(&[&package], &place, &mut npm) {
        eprintln!("MISSING: {package}, for the tests that use it: they need npm and Node.js");
    }
}

fn virtual_environment(place: &str) -> bool {
    let directory = project::root().join(place);
    let packages = PYTHON_MODULES.map(|(_, package)| package);
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ])
    .args(packages);
    tools::quietly(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&directory),
    ) && tools::install(&packages, place, &mut pip)
}

#[cfg(test)]
mod tests {
    use super::*;

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
