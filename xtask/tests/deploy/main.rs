//! The files in `deploy/`: what Spin 4.1 and SpinKube's operator would refuse or ignore in them is
//! found here, as far as that can be known without a cluster or a cloud.
//!
//! The names come from Spin's source (`crates/runtime-config`, `crates/key-value-*`,
//! `crates/factor-outbound-networking`).

mod kubernetes;
mod monitoring;
mod spinkube;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use application_webhooks::model::database_address::DatabaseAddress;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn toml(what: &str, text: &str) -> toml::Table {
    toml::from_str(text).unwrap_or_else(|e| panic!("{what}: {e}"))
}

/// What the store of a type must and may have, beside `type`.
fn store_keys(store_type: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match store_type {
        "spin" => (&[], &["path"]),
        "redis" => (&["url"], &[]),
        "aws_dynamo" => (
            &["region", "table"],
            &["access_key", "secret_key", "token", "consistent_read"],
        ),
        "azure_cosmos" => (&["account", "database", "container"], &["key"]),
        other => panic!("Spin has no store of type {other}"),
    }
}

/// Spin ends at the start over an unknown table, and over an unknown key of
/// `[outbound_networking]` and `[outbound_http]`. An unknown key of a store it ignores. Which
/// networks the files block is tested where a runtime reads them (`local-runtime`); here, that all
/// block the same.
fn check_runtime_config(what: &str, config: &toml::Table) {
    for table in config.keys() {
        assert!(
            [
                "key_value_store",
                "outbound_http",
                "outbound_networking",
                "sqlite_database",
                "variables_provider"
            ]
            .contains(&table.as_str()),
            "{what}: [{table}]"
        );
    }
    let reference = toml(
        "deploy/runtime-config.toml",
        &read("deploy/runtime-config.toml"),
    );
    let networking = config["outbound_networking"].as_table().expect("a table");
    assert_eq!(networking.keys().collect::<Vec<_>>(), ["block_networks"]);
    assert_eq!(
        networking["block_networks"], reference["outbound_networking"]["block_networks"],
        "{what}"
    );
    assert_eq!(
        config["outbound_http"].to_string(),
        "{ connection_pooling = false }",
        "{what}"
    );
    assert_eq!(
        config["variables_provider"].to_string(),
        r#"[{ type = "static", values = { private_networks = "blocked" } }]"#,
        "{what}"
    );
    if let Some(databases) = config.get("sqlite_database") {
        let databases = databases.as_table().expect("a table of databases");
        let labels: Vec<_> = databases.keys().collect();
        assert_eq!(labels, ["default"], "{what}: no component opens another");
        let database = databases["default"].as_table().expect("a database");
        let keys: Vec<_> = database.keys().collect();
        // Spin takes `allow_attach_file` too, which nothing here needs.
        assert_eq!(keys, ["path", "type"], "{what}");
        assert_eq!(database["type"].as_str(), Some("spin"), "{what}");
    }
    let Some(stores) = config.get("key_value_store") else {
        return;
    };
    let stores = stores.as_table().expect("a table of stores");
    assert_eq!(
        stores.keys().collect::<Vec<_>>(),
        ["default"],
        "{what}: the component opens no other store"
    );
    let store = stores["default"].as_table().expect("a store");
    let store_type = store["type"].as_str().expect("a type");
    let (required, optional) = store_keys(store_type);
    for key in required {
        assert!(store.contains_key(*key), "{what}: {store_type} needs {key}");
    }
    for key in store.keys().filter(|key| *key != "type") {
        assert!(
            required.contains(&key.as_str()) || optional.contains(&key.as_str()),
            "{what}: {store_type} does not know {key}"
        );
    }
}

#[test]
fn every_runtime_config_has_what_spin_reads_and_blocks_the_same_networks() {
    let mut types = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("deploy")).expect("deploy/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let what = path.display().to_string();
        let text = std::fs::read_to_string(&path).expect("a text");
        let config = toml(&what, &text);
        check_runtime_config(&what, &config);
        if let Some(store) = config.get("key_value_store") {
            types.insert(
                store["default"]["type"]
                    .as_str()
                    .expect("a type")
                    .to_owned(),
            );
        }
    }
    assert_eq!(
        types.into_iter().collect::<Vec<_>>(),
        ["aws_dynamo", "azure_cosmos", "redis", "spin"]
    );
}

/// From a registry Spin has no state directory, and what has no path is in memory.
#[test]
fn both_files_of_sqlite_are_on_disk_wherever_spin_is_started() {
    let config = toml("sqlite.toml", &read("deploy/sqlite.toml"));
    let mut directories = BTreeSet::new();
    for (table, file) in [
        ("key_value_store", "sqlite_key_value.db"),
        ("sqlite_database", "sqlite_db.db"),
    ] {
        let path = config[table]["default"]["path"].as_str().expect("a path");
        let path = Path::new(path);
        assert!(path.is_absolute(), "{table}");
        // As in a state directory, which can take its place.
        assert_eq!(path.file_name(), Some(file.as_ref()), "{table}");
        directories.insert(path.parent().expect("a directory").to_owned());
    }
    assert_eq!(directories.len(), 1);
}

#[test]
fn the_environment_for_postgres_names_one_server_twice() {
    let manifest = toml("spin.toml", &read("spin.toml"));
    let text = read("deploy/postgres.env");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values: BTreeMap<String, &str> = lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| {
            let variable = name.strip_prefix("SPIN_VARIABLE_").expect("a variable");
            let variable = variable.to_lowercase();
            assert!(manifest["variables"].get(&variable).is_some(), "{variable}");
            (variable, value)
        })
        .collect();
    let address = values["events_database"];
    assert!(address.contains(":PASSWORD@"), "{address}");
    assert!(address.ends_with("?sslmode=require"), "{address}");
    let parsed = DatabaseAddress::parse(address, Duration::from_secs(2));
    let Ok(DatabaseAddress::Postgres(parsed)) = parsed else {
        panic!("{address} is none of PostgreSQL");
    };
    assert_eq!(values["events_database_host"], parsed.outbound_host());
}

#[test]
fn dynamodb_is_read_consistently() {
    let config = toml("dynamodb.toml", &read("deploy/dynamodb.toml"));
    let store = &config["key_value_store"]["default"];
    assert_eq!(store["consistent_read"].as_bool(), Some(true));
}

/// The mark is for whoever runs the service: which values belong into a secret.
#[test]
fn variables_that_may_hold_a_secret_are_secret_in_the_manifest() {
    let manifest = toml("spin.toml", &read("spin.toml"));
    // A URL may have a password in its query.
    for name in [
        "jwks",
        "jwks_url",
        "secrets_key",
        "secrets_key_previous",
        "events_database",
        "proof_key",
    ] {
        let secret = manifest["variables"][name].get("secret");
        assert_eq!(secret.and_then(toml::Value::as_bool), Some(true), "{name}");
    }
}
