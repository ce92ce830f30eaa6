//! The part of Spin's runtime config file that the runtime honours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// A runtime config file.
#[derive(Debug, Default, Deserialize)]
pub struct RuntimeConfig {
    /// More stores beside `default`, by label.
    #[serde(default)]
    pub key_value_store: BTreeMap<String, StoreTable>,
    /// Where variables come from before the environment.
    #[serde(default, alias = "config_provider")]
    pub variables_provider: Vec<VariablesProvider>,
    /// What may be connected to.
    #[serde(default)]
    pub outbound_networking: OutboundNetworking,
    /// How it is connected to.
    #[serde(default)]
    pub outbound_http: OutboundHttp,
    /// More SQLite databases beside `default`, by label.
    #[serde(default)]
    pub sqlite_database: BTreeMap<String, DatabaseTable>,
    /// How many connections there may be to PostgreSQL.
    #[serde(default)]
    pub outbound_pg: OutboundPg,
    /// Whom to trust.
    #[serde(default)]
    pub client_tls: Vec<ClientTls>,
    /// The file's folder, which its relative paths start from.
    #[serde(skip)]
    pub directory: PathBuf,
}

/// One `[key_value_store.LABEL]`.
#[derive(Debug, Deserialize)]
pub struct StoreTable {
    /// `spin` is the only one that there is here.
    pub r#type: String,
    /// The SQLite file.
    pub path: Option<PathBuf>,
}

/// One `[sqlite_database.LABEL]`.
#[derive(Debug, Deserialize)]
pub struct DatabaseTable {
    /// `spin` is the only one that there is here.
    pub r#type: String,
    /// The SQLite file; without one the database is in memory.
    pub path: Option<PathBuf>,
    /// Whether `ATTACH` may open other files.
    #[serde(default)]
    pub allow_attach_file: bool,
    /// What other types have.
    #[serde(flatten)]
    pub other: BTreeMap<String, toml::Value>,
}

/// `[outbound_pg]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundPg {
    /// At most so many connections of all components at a time; without it there is no limit.
    pub max_connections: Option<usize>,
}

/// One `[[variables_provider]]`.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum VariablesProvider {
    /// The values stand in the file. Spin has more types.
    Static {
        /// By the variable's name.
        values: BTreeMap<String, String>,
    },
}

/// `[outbound_networking]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundNetworking {
    /// Networks in CIDR form, or `private`.
    #[serde(default)]
    pub block_networks: Vec<String>,
}

/// `[outbound_http]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundHttp {
    /// Whether connections are kept for the next request. As on Spin, a table that does not say so
    /// turns it off, though it is on without a table.
    #[serde(default)]
    pub connection_pooling: bool,
}

impl Default for OutboundHttp {
    fn default() -> Self {
        Self {
            connection_pooling: true,
        }
    }
}

/// One `[[client_tls]]`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientTls {
    /// The components it is for.
    pub component_ids: Vec<String>,
    /// The hosts it is for; `*` is all.
    pub hosts: Vec<String>,
    /// A PEM file with the only roots to trust.
    pub ca_roots_file: Option<PathBuf>,
    /// Trust Mozilla's roots too.
    #[serde(default)]
    pub ca_use_webpki_roots: bool,
}

impl RuntimeConfig {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the runtime config {}", path.display()))?;
        let mut config: Self = toml::from_str(&text).map_err(|error| {
            anyhow::anyhow!(
                "the runtime config {} is malformed: {}",
                path.display(),
                error.message()
            )
        })?;
        config.directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(config)
    }

    /// What the file's own providers have for a variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables_provider
            .iter()
            .find_map(|VariablesProvider::Static { values }| values.get(name).cloned())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn config(text: &str) -> RuntimeConfig {
        toml::from_str(text).unwrap()
    }

    /// The runtime configs in `deploy/`, by their names.
    pub(crate) fn shipped() -> Vec<(String, RuntimeConfig)> {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        let shipped: Vec<_> = std::fs::read_dir(deploy)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "toml"))
            .map(|path| {
                let config = RuntimeConfig::read(&path).unwrap();
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    config,
                )
            })
            .collect();
        assert!(shipped.len() >= 4, "{shipped:?}");
        shipped
    }

    #[test]
    fn connections_are_kept_by_default_and_not_by_the_shipped_configs() {
        assert!(config("").outbound_http.connection_pooling);
        assert!(RuntimeConfig::default().outbound_http.connection_pooling);
        // A trap of Spin.
        assert!(!config("[outbound_http]").outbound_http.connection_pooling);
        let on = config("[outbound_http]\nconnection_pooling = true");
        assert!(on.outbound_http.connection_pooling);
        for (name, config) in shipped() {
            assert!(!config.outbound_http.connection_pooling, "{name}");
        }
    }

    #[test]
    fn the_shipped_configs_tell_the_service_that_they_block_private_networks() {
        for (name, config) in shipped() {
            let networks = config.variable("private_networks");
            assert_eq!(networks.as_deref(), Some("blocked"), "{name}");
            assert_eq!(config.variable("jwks"), None, "{name}");
        }
    }

    /// Spin does not start with it either.
    #[test]
    fn an_unknown_setting_of_outbound_traffic_is_refused() {
        for text in [
            "[outbound_http]\nconnection_pool = false",
            "[outbound_networking]\nblocked_networks = [\"private\"]",
            "[[variables_provider]]\ntype = \"nowhere\"",
            "[outbound_pg]\nmaximum = 4",
        ] {
            assert!(toml::from_str::<RuntimeConfig>(text).is_err(), "{text}");
        }
    }
}
