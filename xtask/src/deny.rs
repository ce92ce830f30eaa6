//! `cargo xtask deny`: what the dependencies may be, by `deny.toml`.

use std::process::Command;

use anyhow::Result;

use crate::{project, tools};

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<()> {
    let program = tools::cargo_subcommand("cargo-deny", "0.20.2")?;
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command
            .current_dir(project::root())
            .args(["--locked", "--workspace"])
            .args(arguments);
        command
    };
    project::run(
        &mut deny(&[
            "check",
            "--hide-inclusion-graph",
            "licenses",
            "bans",
            "sources",
        ]),
        "checking licences, versions and sources",
    )?;
    // The database is a git repository, and not everybody reaches it.
    if !deny(&["--log-level", "off", "fetch", "db"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!(
            "NOT RUN: security advisories of the dependencies (the RustSec database cannot be \
             fetched from here); run `cargo xtask deny` where it can"
        );
        return Ok(());
    }
    project::run(
        &mut deny(&["check", "--disable-fetch", "advisories"]),
        "checking security advisories",
    )
}
