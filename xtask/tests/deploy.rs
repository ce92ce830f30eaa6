//! The files in `deploy/`: what Spin 4.1 and SpinKube's operator would refuse or ignore in them is
//! found here, as far as that can be known without a cluster or a cloud.
//!
//! The names come from Spin's source (`crates/runtime-config`, `crates/key-value-*`,
//! `crates/factor-outbound-networking`) and from the operator's `SpinApp` and `SpinAppExecutor`
//! resources (`core.spinkube.dev/v1alpha1`), whose schemas drop unknown fields silently.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use application_webhooks::model::database_address::DatabaseAddress;
use serde_json::Value;

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

fn resources(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn resource(path: &str, kind: &str, name: &str) -> Value {
    resources(path)
        .into_iter()
        .find(|it| it["kind"] == kind && it["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("{path}: no {kind} {name}"))
}

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("{value}"));
    object.keys().map(String::as_str).collect()
}

/// `value` has no other members than these.
fn has_only(what: &str, value: &Value, known: &[&str]) {
    let known: BTreeSet<&str> = known.iter().copied().collect();
    let unknown: Vec<_> = keys(value).difference(&known).copied().collect();
    assert!(unknown.is_empty(), "{what} does not know {unknown:?}");
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

const APP: &str = "deploy/spinkube/app.yaml";
const SECRETS: &str = "deploy/spinkube/secrets.yaml";
const NAME: &str = "application-webhooks";

#[test]
fn the_spin_app_has_only_fields_that_the_operator_knows() {
    for resource in resources(APP) {
        assert_eq!(resource["apiVersion"], "core.spinkube.dev/v1alpha1");
        has_only(
            "a resource",
            &resource,
            &["apiVersion", "kind", "metadata", "spec"],
        );
        let spec = &resource["spec"];
        if resource["kind"] == "SpinAppExecutor" {
            has_only(
                "SpinAppExecutor",
                spec,
                &["createDeployment", "deploymentConfig"],
            );
            has_only(
                "deploymentConfig",
                &spec["deploymentConfig"],
                &["spinImage", "installDefaultCACerts", "caCertSecret", "otel"],
            );
            continue;
        }
        assert_eq!(resource["kind"], "SpinApp");
        has_only(
            "SpinApp",
            spec,
            &[
                "executor",
                "image",
                "imagePullSecrets",
                "checks",
                "replicas",
                "runtimeConfig",
                "variables",
                "resources",
                "serviceAccountName",
            ],
        );
        has_only("runtimeConfig", &spec["runtimeConfig"], &["loadFromSecret"]);
        has_only("resources", &spec["resources"], &["requests", "limits"]);
        has_only("checks", &spec["checks"], &["liveness", "readiness"]);
        for probe in ["liveness", "readiness"] {
            let probe = &spec["checks"][probe];
            has_only(
                "a probe",
                probe,
                &[
                    "httpGet",
                    "initialDelaySeconds",
                    "timeoutSeconds",
                    "periodSeconds",
                    "successThreshold",
                    "failureThreshold",
                ],
            );
            has_only("httpGet", &probe["httpGet"], &["path"]);
        }
        for variable in spec["variables"].as_array().expect("variables") {
            has_only("a variable", variable, &["name", "value", "valueFrom"]);
            if let Some(from) = variable.get("valueFrom") {
                has_only("valueFrom", from, &["secretKeyRef"]);
                has_only(
                    "secretKeyRef",
                    &from["secretKeyRef"],
                    &["name", "key", "optional"],
                );
            }
        }
    }
}

#[test]
fn the_spin_app_runs_with_more_than_one_replica_on_an_executor_that_is_there() {
    let spec = &resource(APP, "SpinApp", NAME)["spec"];
    assert!(spec["replicas"].as_u64() >= Some(2));
    let executor = spec["executor"].as_str().expect("an executor");
    let executor = resource(APP, "SpinAppExecutor", executor);
    let image = executor["spec"]["deploymentConfig"]["spinImage"]
        .as_str()
        .expect("an image");
    // What the component imports came with 4.1.
    let (_, version) = image.rsplit_once(":v").expect("a version");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>());
    let mut next = || numbers.next().expect("a number").expect("a number");
    assert!((next(), next()) >= (4, 1), "{image}");
}

#[test]
fn the_probes_ask_what_the_service_answers_and_wait_longer_than_the_store() {
    let spec = &resource(APP, "SpinApp", NAME)["spec"];
    let checks = &spec["checks"];
    assert_eq!(checks["liveness"]["httpGet"]["path"], "/healthz");
    // The dispatcher's, which is its clock.
    assert_eq!(checks["readiness"]["httpGet"]["path"], "/dispatcher/readyz");
    let seconds = checks["readiness"]["timeoutSeconds"]
        .as_u64()
        .expect("seconds");
    let variables = spec["variables"].as_array().expect("variables");
    let timeout = variables
        .iter()
        .find(|variable| variable["name"] == "store_timeout_ms")
        .expect("store_timeout_ms");
    let millis: u64 = timeout["value"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("milliseconds");
    assert!(seconds * 1000 > millis, "{seconds} s, {millis} ms");
}

#[test]
fn the_spin_app_sets_variables_of_the_manifest_and_secret_ones_from_secrets() {
    let manifest = toml("spin.toml", &read("spin.toml"));
    let manifest = manifest["variables"].as_table().expect("variables");
    let spec = &resource(APP, "SpinApp", NAME)["spec"];
    let mut set = BTreeSet::new();
    for variable in spec["variables"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name");
        assert!(set.insert(name.to_owned()), "{name} twice");
        let known = manifest
            .get(name)
            .unwrap_or_else(|| panic!("spin.toml has no variable {name}"));
        let secret = known.get("secret").and_then(toml::Value::as_bool) == Some(true);
        assert_eq!(secret, variable.get("valueFrom").is_some(), "{name}");
        if !secret {
            // The manifest shows the default, so that changing it is changing one word.
            assert_eq!(
                variable["value"].as_str(),
                known["default"].as_str(),
                "{name}"
            );
            continue;
        }
        let from = &variable["valueFrom"]["secretKeyRef"];
        let held = resource(SECRETS, "Secret", from["name"].as_str().expect("a name"));
        let key = from["key"].as_str().expect("a key");
        assert_eq!(key, name);
        if from.get("optional") != Some(&Value::Bool(true)) {
            // A template: nobody's secret is in it, and nothing works until it is filled in.
            assert_eq!(held["stringData"][key], "REPLACE", "{name}");
        }
    }
    // More than one replica needs a database that they share.
    for name in ["events_database", "events_database_host"] {
        assert!(set.contains(name), "{name}");
    }
    for (name, variable) in manifest {
        let required = variable.get("required").and_then(toml::Value::as_bool) == Some(true);
        assert!(!required || set.contains(name), "{name} is required");
    }
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
    ] {
        let secret = manifest["variables"][name].get("secret");
        assert_eq!(secret.and_then(toml::Value::as_bool), Some(true), "{name}");
    }
}

#[test]
fn the_runtime_config_secret_holds_what_spin_reads_and_no_password() {
    let spec = &resource(APP, "SpinApp", NAME)["spec"];
    let name = spec["runtimeConfig"]["loadFromSecret"]
        .as_str()
        .expect("a secret");
    let secret = resource(SECRETS, "Secret", name);
    assert_eq!(
        keys(&secret["stringData"]).into_iter().collect::<Vec<_>>(),
        ["runtime-config.toml"],
        "the key that the operator mounts"
    );
    let text = secret["stringData"]["runtime-config.toml"]
        .as_str()
        .expect("a text");
    let config = toml("the runtime config secret", text);
    check_runtime_config("the runtime config secret", &config);
    let url = config["key_value_store"]["default"]["url"]
        .as_str()
        .expect("a URL");
    assert!(url.starts_with("rediss://USER:PASSWORD@"), "{url}");
}
