//! `cargo xtask build`: the component as it is released.

use anyhow::{Context, Result, bail};

use crate::{imports, project};

/// What `spin build` runs too, by `spin.toml`.
pub const CARGO_ARGS: [&str; 6] = [
    "build",
    "--release",
    "--target",
    project::WASM_TARGET,
    "--package",
    "application-webhooks",
];

/// Every instance's start and every deployment pays for the component's size.
const MAX_BYTES: u64 = 1_350_000;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<()> {
    project::manifest()?;
    component()?;
    let bytes = check()?;
    println!("{}: {}", project::component().display(), size(bytes));
    Ok(())
}

/// Builds the component, with cargo's progress visible.
pub fn component() -> Result<()> {
    project::ensure_wasm_target()?;
    project::run(project::cargo().args(CARGO_ARGS), "building the component")
}

/// Checks what must hold for every released component, and returns its size.
pub fn check() -> Result<u64> {
    let path = project::component();
    let wasm = std::fs::read(&path)
        .with_context(|| format!("{} cannot be read: build it first", path.display()))?;
    let imports = imports::of(&wasm)?;
    let foreign = imports::foreign(&imports);
    if !foreign.is_empty() {
        bail!(
            "the component imports what Spin 4.1 does not provide, or what may block it: {}; \
             find the dependency that brings it, or extend the list in xtask/src/imports.rs",
            foreign.join(", ")
        );
    }
    let bytes = wasm.len() as u64;
    if bytes > MAX_BYTES {
        bail!(
            "the component has {}, and may have {}: `cargo tree` shows what it is made of",
            size(bytes),
            size(MAX_BYTES)
        );
    }
    Ok(bytes)
}

fn size(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_in_megabytes() {
        assert_eq!(super::size(1_500_000), "1.50 MB");
        assert_eq!(super::size(905_999), "0.90 MB");
    }
}
