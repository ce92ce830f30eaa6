//! Where things are, and how other programs are run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What Spin runs: the target that the component is compiled for.
pub const WASM_TARGET: &str = "wasm32-wasip2";

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// The state directory: as given, or `.spin` beside the manifest as for `spin up`.
pub fn state_dir(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(path) => std::path::absolute(path)
            .with_context(|| format!("--state-dir {} is not a path", path.display())),
        None => Ok(root().join(".spin")),
    }
}

/// Where the built components are.
pub fn wasm_dir() -> PathBuf {
    root().join("target").join(WASM_TARGET).join("release")
}

/// The built local runtime.
pub fn local_runtime() -> PathBuf {
    root().join("target/debug/local-runtime")
}

/// Cargo at the root. Its output goes where `spin.toml` expects it, whatever
/// the user's settings are.
pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .env("CARGO_TARGET_DIR", root().join("target"))
        .env_remove("CARGO_BUILD_TARGET");
    command
}

/// Runs a command that reports by itself; `what` is said when it fails.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command
        .status()
        .with_context(|| format!("{what}: {program} does not start"))?;
    if !status.success() {
        bail!("{what} failed ({program}: {status}); its own message is above");
    }
    Ok(())
}

/// Runs a command and returns its standard output, if it ends well.
pub fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The program of that name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    find_in(&std::env::var_os("PATH")?, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;

    std::env::split_paths(path)
        .map(|directory| directory.join(name))
        .find(|file| {
            file.metadata()
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        })
}

/// Installs the component's target when it is missing.
pub fn ensure_wasm_target() -> Result<()> {
    let libraries = output_of(Command::new("rustc").current_dir(root()).args([
        "--print",
        "target-libdir",
        "--target",
        WASM_TARGET,
    ]));
    if libraries.is_some_and(|directory| Path::new(directory.trim()).is_dir()) {
        return Ok(());
    }
    if on_path("rustup").is_none() {
        bail!(
            "the Rust target {WASM_TARGET} is missing, and rustup, which could add it, is not on \
             PATH: install Rust with https://rustup.rs, or add the target as your system does"
        );
    }
    eprintln!("Adding the Rust target {WASM_TARGET}");
    run(
        Command::new("rustup")
            .current_dir(root())
            .args(["target", "add", WASM_TARGET]),
        &format!("adding the Rust target {WASM_TARGET}"),
    )
}

/// Builds the local runtime, while other things are built too.
pub fn build_local_runtime() -> Result<()> {
    crate::build::stage("local runtime", || {
        run(
            cargo()
                .args(["build", "--package", "local-runtime"])
                .env("CARGO_TERM_PROGRESS_WHEN", "never"),
            "building the local runtime",
        )
    })
}

/// Builds the local runtime for measurements: optimised itself too.
pub fn build_local_runtime_for_measurements() -> Result<()> {
    run(
        cargo().args([
            "build",
            "--package=local-runtime",
            "--config=profile.dev.package.local-runtime.opt-level=2",
        ]),
        "building the local runtime for measurements",
    )
}

/// Reads `spin.toml`, so that what is wrong with it shows before a long build.
pub fn manifest() -> Result<toml::Table> {
    let path = root().join("spin.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        anyhow::anyhow!(
            "{} cannot be read ({error}): restore it with `git checkout spin.toml`",
            path.display()
        )
    })?;
    parse_manifest(&text)
        .map_err(|problem| anyhow::anyhow!("{} {problem}: correct it there", path.display()))
}

fn parse_manifest(text: &str) -> Result<toml::Table, String> {
    let manifest: toml::Table = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text[..span.start.min(text.len())].matches('\n').count() + 1
        });
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        format!("is not TOML (line {line}: {message})")
    })?;
    if manifest
        .get("spin_manifest_version")
        .and_then(toml::Value::as_integer)
        != Some(2)
    {
        return Err("is not a Spin manifest (spin_manifest_version is not 2)".to_owned());
    }
    if manifest
        .get("component")
        .and_then(|components| components.get("application-webhooks"))
        .is_none()
    {
        return Err("has no [component.application-webhooks]".to_owned());
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_manifest_says_where() {
        for (text, expected) in [
            ("a = 1\nb = = 2\n", "is not TOML (line 2"),
            ("a = 1", "is not a Spin manifest"),
            (
                "spin_manifest_version = 2",
                "has no [component.application-webhooks]",
            ),
        ] {
            let problem = parse_manifest(text).expect_err(text);
            assert!(problem.contains(expected), "{problem}");
            assert!(!problem.contains('\n'), "{problem}");
        }
    }

    #[test]
    fn the_manifest_builds_and_serves_what_the_commands_build() {
        let manifest = manifest().unwrap_or_else(|error| panic!("{error:#}"));
        let components = manifest["component"].as_table().expect("components");
        assert_eq!(components.len(), crate::build::COMPONENTS.len());
        for built in crate::build::COMPONENTS {
            let component = &components[built.package];
            assert_eq!(
                root().join(component["source"].as_str().unwrap_or_default()),
                built.path()
            );
            assert_eq!(
                component["build"]["command"].as_str(),
                Some(format!("cargo {}", built.cargo_args().join(" ")).as_str())
            );
        }
    }

    #[test]
    fn every_variable_reaches_a_component() {
        let manifest = manifest().unwrap_or_else(|error| panic!("{error:#}"));
        let table = |value: &toml::Value| value.as_table().cloned().unwrap_or_default();
        let mut passed = toml::Table::new();
        let mut hosts = String::new();
        for (_, component) in table(&manifest["component"]) {
            if let Some(variables) = component.get("variables") {
                passed.extend(table(variables));
            }
            if let Some(allowed) = component.get("allowed_outbound_hosts") {
                hosts.push_str(&allowed.to_string());
            }
        }
        for name in table(&manifest["variables"]).keys() {
            let decides_hosts = hosts.contains(&format!("{{{{ {name} }}}}"));
            assert!(passed.contains_key(name) || decides_hosts, "{name}");
        }
        for (name, value) in &passed {
            assert_eq!(value.as_str(), Some(format!("{{{{ {name} }}}}").as_str()));
        }
    }

    /// The API's component has no database and not its password, and not the operator's token.
    #[test]
    fn a_component_has_no_more_than_it_needs() {
        let manifest = manifest().unwrap_or_else(|error| panic!("{error:#}"));
        let (api, dispatcher) = (
            &manifest["component"]["application-webhooks"],
            &manifest["component"]["event-dispatcher"],
        );
        assert!(api.get("sqlite_databases").is_none());
        assert_eq!(
            api["allowed_outbound_hosts"].as_array().map(Vec::len),
            Some(1)
        );
        for absent in ["events_database", "operator_token", "retry_schedule"] {
            assert!(api["variables"].get(absent).is_none(), "{absent}");
        }
        assert!(dispatcher.get("sqlite_databases").is_some());
    }

    #[test]
    fn only_executable_files_are_programs() {
        use std::os::unix::fs::PermissionsExt;

        let directory = crate::keys::tests::scratch("on-path");
        let file = directory.join("tool");
        let path = directory.as_os_str();
        assert_eq!(find_in(path, "tool"), None);
        std::fs::write(&file, "").expect("write");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("chmod");
        assert_eq!(find_in(path, "tool"), None);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("chmod");
        assert_eq!(find_in(path, "tool"), Some(file));
    }
}
