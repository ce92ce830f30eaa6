//! `cargo xtask build`: the components as they are released.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{imports, project};

/// A component of `spin.toml`, by the name of its package.
pub struct Component {
    /// Its id in `spin.toml`, and its package.
    pub package: &'static str,
    /// Every instance's start and every deployment pays for the component's size. What is larger is
    /// served all the same: another compiler's code has other sizes.
    pub max_bytes: u64,
}

/// The API.
pub const API: Component = Component {
    package: "application-webhooks",
    max_bytes: 1_500_000,
};

/// The API reference: 1.3 MB are Scalar's bundle, and a quarter what completes the document with the
/// operator's event types.
pub const REFERENCE: Component = Component {
    package: "api-reference",
    max_bytes: 1_900_000,
};

/// What publishes and delivers events.
pub const DISPATCHER: Component = Component {
    package: "event-dispatcher",
    max_bytes: 2_000_000,
};

/// The page for merchants.
pub const PORTAL: Component = Component {
    package: "portal",
    max_bytes: 800_000,
};

/// What tests see of Spin's databases through. No release has it.
pub const SQL_PROBE: Component = Component {
    package: "sql-probe",
    max_bytes: 1_000_000,
};

/// All components of `spin.toml`.
pub const COMPONENTS: [Component; 4] = [API, DISPATCHER, REFERENCE, PORTAL];

impl Component {
    /// What `spin build` runs too, by `spin.toml`.
    pub fn cargo_args(&self) -> [&'static str; 9] {
        let (target, package) = (project::WASM_TARGET, self.package);
        [
            "rustc",
            "--release",
            "--target",
            target,
            "--package",
            package,
            "--lib",
            "--crate-type",
            "cdylib",
        ]
    }

    /// Where it is when it is built.
    pub fn path(&self) -> PathBuf {
        let file = format!("{}.wasm", self.package.replace('-', "_"));
        project::wasm_dir().join(file)
    }
}

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<()> {
    project::manifest()?;
    components()?;
    for component in &COMPONENTS {
        let bytes = check(component)?;
        println!("{}: {}", component.path().display(), size(bytes));
        ensure_size(component, bytes)?;
    }
    Ok(())
}

/// Fails when a component has more bytes than it may have.
pub fn ensure_size(component: &Component, bytes: u64) -> Result<()> {
    if bytes > component.max_bytes {
        bail!(
            "{} may have {}: `cargo xtask bench` shows what it is made of",
            component.package,
            size(component.max_bytes)
        );
    }
    Ok(())
}

/// Builds the components, with cargo's progress visible, and checks them.
pub fn components() -> Result<()> {
    project::ensure_wasm_target()?;
    for component in &COMPONENTS {
        compile(component)?;
        check(component)?;
    }
    Ok(())
}

/// Compiles one component, with cargo's progress visible.
pub fn compile(component: &Component) -> Result<()> {
    compile_by(project::cargo(), component)
}

fn compile_by(mut cargo: Command, component: &Component) -> Result<()> {
    let package = component.package;
    stage(package, || {
        project::run(
            cargo.args(component.cargo_args()),
            &format!("building {package}"),
        )
    })
}

/// Builds the components and `more` while `native` builds what runs on this machine. Most of a
/// component's time is the last step of its compiler, which has one thread; so the other cores are not idle
/// meanwhile, and nothing waits for a lock, since the two have directories of their own.
pub fn components_beside(
    more: &[Component],
    native: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    project::ensure_wasm_target()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cargo = || {
        let mut cargo = project::cargo();
        // With one job the components would still be at it when all else is done, with a core idle.
        cargo.env("CARGO_BUILD_JOBS", (cores / 2).max(2).to_string());
        // Two progress bars would write over each other.
        cargo.env("CARGO_TERM_PROGRESS_WHEN", "never");
        cargo
    };
    std::thread::scope(|scope| {
        let native = scope.spawn(native);
        let released = COMPONENTS.iter().try_for_each(|component| {
            compile_by(cargo(), component)?;
            check(component).map(|_| ())
        });
        // What no release has may import what it is about.
        let built = released.and_then(|()| {
            more.iter()
                .try_for_each(|component| compile_by(cargo(), component))
        });
        if let Err(error) = &built {
            // It is seen now, and again when the other is through.
            eprintln!("error: {error:#}");
        }
        let native = native.join().unwrap_or_else(|_| bail!("a build panicked"));
        built.and(native)
    })
}

/// Does a part of a build, and says how long it took, if anybody had to wait.
pub fn stage(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let since = Instant::now();
    work()?;
    if let Some(line) = stage_line(name, since.elapsed()) {
        eprintln!("{line}");
    }
    Ok(())
}

fn stage_line(name: &str, took: Duration) -> Option<String> {
    (took >= Duration::from_secs(2)).then(|| format!("       Stage {name}: {} s", took.as_secs()))
}

/// Checks what must hold for every released component, and returns its size.
pub fn check(component: &Component) -> Result<u64> {
    let path = component.path();
    let wasm = std::fs::read(&path)
        .with_context(|| format!("{} cannot be read: build it first", path.display()))?;
    let imports = imports::of(&wasm)?;
    let foreign = imports::foreign(component.package, &imports);
    if !foreign.is_empty() {
        bail!(
            "{} imports what Spin 4.1 does not provide, or what may block it: {}; \
             find the dependency that brings it, or extend the list in xtask/src/imports.rs",
            component.package,
            foreign.join(", ")
        );
    }
    let blocking = imports::blocking(&wasm)?;
    if !blocking.is_empty() {
        bail!(
            "{} imports what stops the whole instance while it runs: {}; use the asynchronous function",
            component.package,
            blocking.join(", ")
        );
    }
    Ok(wasm.len() as u64)
}

fn size(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_stage_that_took_a_while_is_a_line() {
        let line = |millis| super::stage_line("a-component", Duration::from_millis(millis));
        assert_eq!(
            line(63_900).as_deref(),
            Some("       Stage a-component: 63 s")
        );
        assert_eq!(line(1_999), None);
    }

    #[test]
    fn sizes_are_in_megabytes() {
        assert_eq!(super::size(1_500_000), "1.50 MB");
        assert_eq!(super::size(905_999), "0.90 MB");
    }
}
