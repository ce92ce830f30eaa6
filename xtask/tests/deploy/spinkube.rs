//! The files for Kubernetes. The names come from the operator's `SpinApp` and `SpinAppExecutor` resources
//! (`core.spinkube.dev/v1alpha1`), whose schemas drop unknown fields silently.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{check_runtime_config, read, toml};

pub fn resources(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub fn resource(path: &str, kind: &str, name: &str) -> Value {
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
            has_only(
                "otel",
                &spec["deploymentConfig"]["otel"],
                &["exporter_otlp_endpoint"],
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
                "enableAutoscaling",
                "podLabels",
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
    // Then the operator refuses `replicas`, and the autoscaler has the number.
    assert_eq!(spec["enableAutoscaling"], true);
    assert!(spec.get("replicas").is_none());
    let scaler = resource(
        "deploy/spinkube/cluster.yaml",
        "HorizontalPodAutoscaler",
        NAME,
    );
    assert!(scaler["spec"]["minReplicas"].as_u64() >= Some(2));
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
