//! Where `up` lets the endpoints of webhooks be, and the runtime config that lets deliveries go there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The variable that lets webhooks have http URLs and private hosts.
pub const ALLOW_INSECURE_URLS: &str = "SPIN_VARIABLE_ALLOW_INSECURE_URLS";

/// The variable that lets deliveries out over http.
pub const DELIVERY_SCHEME: &str = "SPIN_VARIABLE_DELIVERY_SCHEME";

/// Where the endpoints of webhooks may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// On the public network, over https.
    Public,
    /// On this machine and in private networks too.
    Local {
        /// The environment says so; else it is because nobody but this machine reaches the service.
        asked: bool,
    },
}

impl Endpoints {
    /// Where they may be for a service at `listen`, with these environment variables.
    pub fn of(listen: SocketAddr, environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let (urls, scheme) = (
            environment(ALLOW_INSECURE_URLS),
            environment(DELIVERY_SCHEME),
        );
        match urls.as_deref() {
            Some("true") => Self::Local { asked: true },
            None if scheme.is_none() && listen.ip().is_loopback() => Self::Local { asked: false },
            _ => Self::Public,
        }
    }
}

/// Writes the runtime config with which endpoints on this machine are reached.
pub fn config_for_local_endpoints(state_dir: &Path) -> Result<PathBuf> {
    let file = state_dir.join("runtime-config.toml");
    std::fs::write(&file, REACHING_PRIVATE_NETWORKS)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(file)
}

/// The runtime config for local development with endpoints on this machine.
const REACHING_PRIVATE_NETWORKS: &str = "\
# Made by `cargo xtask`, for local development: webhooks' endpoints may be on this machine.

[outbound_http]
connection_pooling = false
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;

    #[test]
    fn a_service_on_the_loopback_reaches_endpoints_there_unless_the_environment_decides() {
        use Endpoints::{Local, Public};

        for (listen, urls, scheme, expected) in [
            ("127.0.0.1:3000", None, None, Local { asked: false }),
            ("[::1]:0", None, None, Local { asked: false }),
            ("0.0.0.0:3000", None, None, Public),
            ("192.0.2.1:3000", None, None, Public),
            ("127.0.0.1:3000", Some("false"), None, Public),
            ("127.0.0.1:3000", None, Some("https"), Public),
            ("0.0.0.0:3000", Some("true"), None, Local { asked: true }),
            (
                "127.0.0.1:3000",
                Some("true"),
                Some("*"),
                Local { asked: true },
            ),
        ] {
            let environment = |name: &str| {
                let value = if name == ALLOW_INSECURE_URLS {
                    urls
                } else {
                    scheme
                };
                value.map(str::to_owned)
            };
            let listen = listen.parse().expect("an address");
            let found = Endpoints::of(listen, &environment);
            assert_eq!(found, expected, "{listen} {urls:?} {scheme:?}");
        }
    }

    #[test]
    fn connections_are_not_kept_with_either_runtime_config() {
        for text in [
            REACHING_PRIVATE_NETWORKS.to_owned(),
            std::fs::read_to_string(runtime::shipped_config()).expect("shipped"),
        ] {
            let config: toml::Table = toml::from_str(&text).expect("TOML");
            let kept = config["outbound_http"]["connection_pooling"].as_bool();
            assert_eq!(kept, Some(false), "{text}");
        }
    }
}
