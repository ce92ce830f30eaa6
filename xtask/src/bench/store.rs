//! Where the components under load keep their documents: which stores there are on which runtime, and what a
//! runtime config says of it.
//!
//! What is in a store when its component starts is made as a SQLite file in the state directory (`seed.rs`). On
//! SQLite that file is the store; a store in memory and Redis are filled from it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use super::redis::{Database, Redis};
use crate::runtime::Runtime;
use crate::store;

/// The label of the service's store.
const LABEL: &str = "default";

/// As the user chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// Spin's default store
    Sqlite,
    /// A map of the local runtime, for what the runtime and the service cost without a database
    Memory,
    /// With Spin: one that the benchmark starts, or the one that the runtime config names
    Redis,
}

impl Choice {
    /// All that the runtime is measured on.
    pub fn all(runtime: &Runtime) -> [Self; 2] {
        match runtime {
            Runtime::Local(_) => [Self::Sqlite, Self::Memory],
            Runtime::Spin(_) => [Self::Sqlite, Self::Redis],
        }
    }

    /// The one that was given, if the runtime has it, or else the runtime config's.
    ///
    /// # Errors
    ///
    /// When the runtime lacks it.
    pub fn find(given: Option<Self>, runtime: &Runtime, config: &Config) -> Result<Self> {
        let chosen = given.unwrap_or(match config.redis {
            Some(_) => Self::Redis,
            None => Self::Sqlite,
        });
        match (chosen, runtime) {
            (Self::Memory, Runtime::Spin(_)) => {
                bail!("--store memory is the local runtime's: leave --runtime spin out")
            }
            (Self::Redis, Runtime::Local(_)) => {
                bail!("--store redis is for Spin: add --runtime spin")
            }
            _ => Ok(chosen),
        }
    }

    /// The store, ready to be filled.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached.
    pub fn open(self, config: &Config) -> Result<Store> {
        Ok(match (self, &config.redis) {
            (Self::Sqlite, _) => Store::Sqlite,
            (Self::Memory, _) => Store::Memory,
            (Self::Redis, Some(url)) => Store::Redis(Arc::new(Redis::at(url)?)),
            (Self::Redis, None) => Store::Redis(Arc::new(Redis::start()?)),
        })
    }
}

/// Where documents are kept.
#[derive(Clone)]
pub enum Store {
    /// The file in the state directory.
    Sqlite,
    /// A map that is filled from that file.
    Memory,
    /// A database of its own for each component, filled from that file.
    Redis(Arc<Redis>),
}

impl Store {
    /// What the report calls it, after "on".
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Memory => "a map in memory",
            Self::Redis(_) => "Redis",
        }
    }

    /// Prepares the store of a component whose documents are in the state directory's file.
    ///
    /// # Errors
    ///
    /// When they cannot be brought to Redis.
    pub fn fill(&self, state: &Path) -> Result<Filled> {
        Ok(match self {
            Self::Sqlite => Filled::Sqlite,
            Self::Memory => Filled::Memory,
            Self::Redis(redis) => Filled::Redis(redis.fill(&state.join(store::FILE))?),
        })
    }
}

/// The store of one component.
pub enum Filled {
    /// The file in its state directory.
    Sqlite,
    /// A map that the local runtime fills.
    Memory,
    /// Its database, which is emptied with this.
    Redis(Database),
}

impl Filled {
    /// The runtime config of who serves on it.
    pub fn config(&self, base: &Table) -> Table {
        match self {
            Self::Sqlite | Self::Memory => base.clone(),
            Self::Redis(database) => on_redis(base, database.url()),
        }
    }

    /// What the runtime is given beside it.
    pub fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Memory => &["--key-value-store", "memory"],
            Self::Sqlite | Self::Redis(_) => &[],
        }
    }
}

/// The config with the service's store on Redis.
fn on_redis(base: &Table, url: String) -> Table {
    let mut config = base.clone();
    let mut store = Table::new();
    store.insert("type".to_owned(), "redis".into());
    store.insert("url".to_owned(), url.into());
    let stores = config.entry("key_value_store");
    if let Value::Table(stores) = stores.or_insert(Table::new().into()) {
        stores.insert(LABEL.to_owned(), store.into());
    }
    config
}

/// A runtime config, and where it keeps the service's documents.
#[derive(Debug)]
pub struct Config {
    /// Without that store.
    pub rest: Table,
    /// The Redis that it names, as `redis://…/DATABASE`.
    redis: Option<String>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it names a store that the benchmark cannot fill.
    pub fn read(file: &Path) -> Result<Self> {
        fs::read_to_string(file)
            .map_err(anyhow::Error::from)
            .and_then(|text| Self::parse(&text))
            .with_context(|| format!("--runtime-config {}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut rest: Table = toml::from_str(text).context("it is not TOML")?;
        if rest.contains_key("sqlite_database") {
            bail!("the benchmark keeps events in its state directories: remove `sqlite_database`");
        }
        let stores = rest.get_mut("key_value_store");
        let store = stores.and_then(|it| it.as_table_mut()?.remove(LABEL));
        let Some(store) = store else {
            return Ok(Self { rest, redis: None });
        };
        let text = |name: &str| store.get(name).and_then(Value::as_str);
        match (text("type"), text("url")) {
            (Some("redis"), Some(url)) => Ok(Self {
                rest,
                redis: Some(url.to_owned()),
            }),
            (kind, _) => bail!(
                "the benchmark can fill Redis, and SQLite in its state directories, but not the \
                 store `{LABEL}` of type `{}`",
                kind.unwrap_or_default()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(name: &str) -> Config {
        let deploy = crate::project::root().join("deploy");
        Config::read(&deploy.join(name)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    #[test]
    fn a_config_names_redis_or_leaves_the_store_to_the_benchmark() {
        let (redis, one_machine) = (shipped("redis.toml"), shipped("runtime-config.toml"));
        assert_eq!(redis.redis.as_deref(), Some("redis://127.0.0.1:6379/0"));
        assert_eq!(one_machine.redis, None);
        // The store aside they are the same.
        let outbound = "outbound_networking";
        assert_eq!(redis.rest[outbound], one_machine.rest[outbound]);
        for (text, expected) in [
            (
                "[key_value_store.default]\ntype = \"azure_cosmos\"",
                "azure_cosmos",
            ),
            (
                "[key_value_store.default]\ntype = \"spin\"\npath = \"a\"",
                "spin",
            ),
            ("[key_value_store.default]\ntype = \"redis\"", "redis"),
            (
                "[sqlite_database.default]\ntype = \"spin\"",
                "sqlite_database",
            ),
            ("= 1", "TOML"),
        ] {
            let refused = format!("{:#}", Config::parse(text).expect_err(text));
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn a_store_is_chosen_for_the_runtime_that_has_it() {
        let local = Runtime::Local("local-runtime".into());
        let spin = Runtime::Spin("spin".into());
        let (named, none) = (shipped("redis.toml"), shipped("runtime-config.toml"));
        use Choice::{Memory, Redis, Sqlite};
        for (given, runtime, config, expected) in [
            (None, &local, &none, Some(Sqlite)),
            (None, &spin, &none, Some(Sqlite)),
            (None, &spin, &named, Some(Redis)),
            (Some(Sqlite), &spin, &named, Some(Sqlite)),
            (Some(Redis), &spin, &none, Some(Redis)),
            (Some(Memory), &local, &none, Some(Memory)),
            (Some(Memory), &spin, &none, None),
            (Some(Redis), &local, &none, None),
        ] {
            let found = Choice::find(given, runtime, config).ok();
            assert_eq!(found, expected, "{given:?}");
        }
        for runtime in [&local, &spin] {
            for choice in Choice::all(runtime) {
                Choice::find(Some(choice), runtime, &none).expect("it has it");
            }
        }
    }

    #[test]
    fn only_memory_and_redis_need_anything_of_the_runtime() {
        let base = shipped("runtime-config.toml").rest;
        assert_eq!(Filled::Sqlite.config(&base), base);
        assert_eq!(Filled::Sqlite.arguments(), [""; 0]);
        assert_eq!(Filled::Memory.config(&base), base);
        assert_eq!(Filled::Memory.arguments(), ["--key-value-store", "memory"]);
        let config = on_redis(&base, "redis://127.0.0.1:1/2".to_owned());
        let text = toml::to_string(&config).expect("TOML");
        let config = Config::parse(&text).expect("a config");
        assert_eq!(config.redis.as_deref(), Some("redis://127.0.0.1:1/2"));
        // The table of stores is left, and empty.
        let stores = config.rest["key_value_store"].as_table();
        assert!(stores.is_some_and(Table::is_empty));
        assert_eq!(config.rest["outbound_http"], base["outbound_http"]);
    }
}
