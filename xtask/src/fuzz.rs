//! `cargo xtask fuzz`: libFuzzer on what strangers send, with the installed toolchain.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::project;

/// The programs of `fuzz/`, each with its seeds under `fuzz/seeds/`.
const TARGETS: [&str; 3] = ["token", "body", "url"];

/// Coverage as libFuzzer reads it: passes of the stable compiler. Address sanitizing would need a
/// nightly one, and guards what the component has none of: unsafe code.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

#[derive(clap::Args)]
pub struct Args {
    /// How long each target runs, each time with other inputs
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How many inputs each target gets instead, the same ones each time: for CI, where a change
    /// must not fail by what others' luck finds
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Only this target
    #[arg(long, value_parser = TARGETS)]
    target: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let directory = project::root().join("target/fuzz");
    let host = host()?;
    let mut build = project::cargo();
    build
        .args(["build", "--release", "--locked", "--bins"])
        // Named, so that build scripts and macros are not instrumented.
        .args(["--target", &host])
        .args(["--manifest-path", "fuzz/Cargo.toml"])
        .env("CARGO_TARGET_DIR", &directory)
        .env("RUSTFLAGS", RUSTFLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    project::run(
        &mut build,
        "building the fuzz targets (libFuzzer needs a C++ compiler)",
    )?;
    let chosen = |target: &&str| args.target.as_deref().is_none_or(|only| only == *target);
    for target in TARGETS.into_iter().filter(chosen) {
        let program = directory.join(&host).join("release").join(target);
        fuzz(target, &program, &directory, args)?;
    }
    Ok(())
}

/// One target, from its seeds and, unless the inputs are to be the same each time, from what earlier
/// runs covered.
fn fuzz(target: &str, program: &Path, directory: &Path, args: &Args) -> Result<()> {
    let (corpus, limits, extent) = match args.runs {
        Some(runs) => (
            emptied(directory.join("corpus-of-runs").join(target))?,
            vec![format!("-runs={runs}"), "-seed=1".to_owned()],
            format!("with {runs} inputs"),
        ),
        None => (
            folder(directory.join("corpus").join(target))?,
            vec![format!("-max_total_time={}", args.seconds)],
            format!("for {} s", args.seconds),
        ),
    };
    let found = folder(directory.join("found").join(target))?;
    let mut fuzzer = Command::new(program);
    fuzzer
        .current_dir(project::root())
        .arg(&corpus)
        .arg(project::root().join("fuzz/seeds").join(target))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(limits)
        // One slow input is a finding: requests have two seconds in all.
        .args(["-timeout=2", "-rss_limit_mb=1024", "-max_len=20000"])
        .args(["-print_final_stats=1", "-verbosity=0"]);
    let status = fuzzer
        .status()
        .with_context(|| format!("{} does not start", program.display()))?;
    if !status.success() {
        bail!(
            "fuzzing `{target}` found something: it is above, and its input in {}; \
             put that into fuzz/seeds/{target} when it is fixed",
            found.display()
        );
    }
    println!("Fuzzed `{target}` {extent}: nothing found");
    Ok(())
}

fn emptied(path: PathBuf) -> Result<PathBuf> {
    if path.exists() {
        std::fs::remove_dir_all(&path)
            .with_context(|| format!("{} cannot be removed", path.display()))?;
    }
    folder(path)
}

fn folder(path: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&path)
        .with_context(|| format!("{} cannot be created", path.display()))?;
    Ok(path)
}

/// The target that the compiler itself runs on.
fn host() -> Result<String> {
    let about = project::output_of(
        Command::new("rustc")
            .current_dir(project::root())
            .arg("-vV"),
    );
    about
        .as_deref()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("host: ")))
        .map(str::to_owned)
        .context("rustc does not tell its host")
}
