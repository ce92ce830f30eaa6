//! What serves the component: Spin, or the local runtime.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{project, spin};

/// As the user chooses.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// Spin when a new enough one is on PATH, else the local runtime
    Auto,
    /// Spin
    Spin,
    /// The local runtime of this repository
    Local,
}

/// As it was found.
#[derive(Clone)]
pub enum Runtime {
    /// The program `spin`.
    Spin(PathBuf),
    /// The program `local-runtime`, built before it starts.
    Local(PathBuf),
}

impl Runtime {
    /// The runtime of that choice, if it is there.
    pub fn find(choice: Choice) -> Result<Self> {
        match choice {
            Choice::Local => Ok(Self::Local(project::local_runtime())),
            Choice::Spin => spin::find().map(Self::Spin),
            Choice::Auto if project::on_path("spin").is_none() => {
                Ok(Self::Local(project::local_runtime()))
            }
            Choice::Auto => Ok(match spin::find() {
                Ok(spin) => Self::Spin(spin),
                Err(why) => {
                    eprintln!("Using the local runtime: {why}");
                    Self::Local(project::local_runtime())
                }
            }),
        }
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Spin(_) => "Spin",
            Self::Local(_) => "the local runtime",
        }
    }

    /// The command that serves the manifest's component with this runtime config.
    pub fn serve(
        &self,
        manifest: &Path,
        listen: SocketAddr,
        state_dir: &Path,
        runtime_config: &Path,
        pairs: &[String],
    ) -> Command {
        let mut command = match self {
            Self::Spin(spin) => {
                let mut command = Command::new(spin);
                command.args(["up", "--from"]);
                command
            }
            Self::Local(program) => {
                let mut command = Command::new(program);
                // Its standard input ends with this process, however that ends.
                command.args(["--stop-with-stdin", "--manifest"]);
                command
            }
        };
        command
            .arg(manifest)
            .args(["--listen", &listen.to_string()])
            .arg("--state-dir")
            .arg(state_dir)
            .arg("--runtime-config-file")
            .arg(runtime_config)
            .current_dir(project::root());
        for pair in pairs {
            command.args(["--key-value", pair]);
        }
        command
    }
}

/// The runtime config that the project ships for one machine.
pub fn shipped_config() -> PathBuf {
    project::root().join("deploy/runtime-config.toml")
}

/// Reads `127.0.0.1:3000`, `localhost:3000`, or `3000` for the former.
pub fn address(text: &str) -> Result<SocketAddr, &'static str> {
    const PROBLEM: &str = "must be an address and a port, such as 127.0.0.1:3000, or a port";

    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }

    let mut addresses: Vec<_> = text.to_socket_addrs().map_err(|_| PROBLEM)?.collect();
    // `localhost` is both; most clients try IPv4 first or only.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().ok_or(PROBLEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("[::1]:80", "[::1]:80"),
            ("localhost:0", "127.0.0.1:0"),
            ("3458", "127.0.0.1:3458"),
            ("0", "127.0.0.1:0"),
        ] {
            assert_eq!(
                address(text).map(|a| a.to_string()),
                Ok(expected.to_owned())
            );
        }
        for text in ["", "70000", "-1", "127.0.0.1", "127.0.0.1:70000", ":::"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn both_runtimes_take_the_same_flags() {
        let arguments = |runtime: Runtime| {
            runtime
                .serve(
                    Path::new("/spin.toml"),
                    SocketAddr::from(([127, 0, 0, 1], 1)),
                    Path::new("/state"),
                    Path::new("/config.toml"),
                    &["a=b c".to_owned()],
                )
                .get_args()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        let spin = arguments(Runtime::Spin("spin".into()));
        let local = arguments(Runtime::Local("local-runtime".into()));
        assert_eq!(spin[..2], ["up", "--from"]);
        assert_eq!(spin[2..], local[2..]);
        assert_eq!(
            spin[3..],
            [
                "--listen",
                "127.0.0.1:1",
                "--state-dir",
                "/state",
                "--runtime-config-file",
                "/config.toml",
                "--key-value",
                "a=b c"
            ]
        );
    }
}
