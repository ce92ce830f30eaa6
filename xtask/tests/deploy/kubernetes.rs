//! What is Kubernetes' own in the files: disruption budgets, autoscalers, network policies, and the Deployment
//! for clusters without SpinKube's operator. `kubernetes-validate` (PyPI) has the schemas of Kubernetes.

use std::process::Command;

use serde_json::{Value, json};

use super::spinkube::{resource, resources};
use super::{read, root, toml};

const NAME: &str = "application-webhooks";
const DEPLOYMENT: &str = "deploy/kubernetes/app.yaml";
const DIRECTORIES: [&str; 2] = ["deploy/spinkube", "deploy/kubernetes"];

fn container() -> Value {
    let deployment = resource(DEPLOYMENT, "Deployment", NAME);
    deployment["spec"]["template"]["spec"]["containers"][0].clone()
}

/// A release of Kubernetes whose schemas the package has.
const VERSION: &str = "1.33";

#[test]
fn kubernetes_own_schemas_accept_the_files() {
    let python = std::env::var("WEBHOOKS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let installed = Command::new(&python)
        .args(["-c", "import kubernetes_validate"])
        .output();
    if !installed.is_ok_and(|output| output.status.success()) {
        let what = "Kubernetes' schemas for deploy/ (PyPI's kubernetes-validate is not installed)";
        match std::env::var_os("WEBHOOKS_NOT_RUN") {
            Some(file) => {
                use std::io::Write;
                let file = std::fs::File::options()
                    .append(true)
                    .create(true)
                    .open(file);
                writeln!(file.expect("a file"), "{what}").expect("written");
            }
            None => println!("NOT RUN: {what}"),
        }
        return;
    }
    let validate = |file: &std::path::Path| {
        let mut command = Command::new(&python);
        command
            .args(["-m", "kubernetes_validate", "--strict"])
            .args(["--kubernetes-version", VERSION])
            .arg(file);
        let output = command.output().expect("it runs");
        let said =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        (output.status.success(), said.concat())
    };
    for file in [
        DEPLOYMENT,
        "deploy/kubernetes/cluster.yaml",
        "deploy/spinkube/cluster.yaml",
        "deploy/spinkube/secrets.yaml",
    ] {
        let (valid, said) = validate(&root().join(file));
        assert!(valid, "{file}: {said}");
    }
    // And it would find something.
    let broken = read(DEPLOYMENT).replace("maxSkew: 1", "maxSkew: one");
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken.yaml");
    std::fs::write(&file, broken).expect("write");
    let (valid, said) = validate(&file);
    assert!(!valid, "{said}");
}

#[test]
fn budget_autoscaler_and_network_policy_are_about_the_services_pods() {
    for directory in DIRECTORIES {
        let cluster = format!("{directory}/cluster.yaml");
        let app = format!("{directory}/app.yaml");
        let labels = match directory {
            "deploy/spinkube" => resource(&app, "SpinApp", NAME)["spec"]["podLabels"].clone(),
            _ => {
                resource(&app, "Deployment", NAME)["spec"]["template"]["metadata"]["labels"].clone()
            }
        };
        let budget = resource(&cluster, "PodDisruptionBudget", NAME);
        assert_eq!(budget["spec"]["selector"]["matchLabels"], labels);
        let policy = resource(&cluster, "NetworkPolicy", NAME);
        assert_eq!(policy["spec"]["podSelector"]["matchLabels"], labels);
        let scaler = resource(&cluster, "HorizontalPodAutoscaler", NAME);
        let target = &scaler["spec"]["scaleTargetRef"];
        assert_eq!(
            (&target["kind"], &target["name"]),
            (&json!("Deployment"), &json!(NAME))
        );
        // One may go at any time, and one is left.
        assert!(scaler["spec"]["minReplicas"].as_u64() >= Some(2));
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
    }
}

/// Nothing of the cluster's can be reached as an endpoint of a webhook.
#[test]
fn the_network_policies_leave_out_every_private_network_of_ipv4() {
    for directory in DIRECTORIES {
        let policy = resource(&format!("{directory}/cluster.yaml"), "NetworkPolicy", NAME);
        let egress = policy["spec"]["egress"].as_array().expect("egress");
        let blocks = egress
            .iter()
            .flat_map(|rule| rule["to"].as_array().into_iter().flatten());
        let blocks: Vec<_> = blocks.filter_map(|to| to.get("ipBlock")).collect();
        let [block] = blocks[..] else {
            panic!("{directory}: one block of addresses");
        };
        for private in [
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "168.63.129.16/32",
        ] {
            let left_out = block["except"].as_array().expect("except");
            assert!(left_out.contains(&json!(private)), "{directory}: {private}");
        }
    }
}

#[test]
fn the_deployment_is_restricted_spread_probed_and_set_up() {
    let deployment = resource(DEPLOYMENT, "Deployment", NAME);
    let pod = &deployment["spec"]["template"]["spec"];
    let container = container();
    // Pod Security Standards, "restricted".
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
    let keys = pod["topologySpreadConstraints"]
        .as_array()
        .expect("spread")
        .iter();
    let keys: Vec<_> = keys
        .map(|it| it["topologyKey"].as_str().expect("a key"))
        .collect();
    assert_eq!(
        keys,
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    );

    // As docs/operations.md says: liveness is not readiness, and readiness is the clock.
    for (probe, path) in [
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/dispatcher/readyz"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
    }
    assert!(container["readinessProbe"]["timeoutSeconds"].as_u64() > Some(2));

    // Every variable is the manifest's, and those without which nothing starts are there.
    let manifest = toml("spin.toml", &read("spin.toml"));
    let known = manifest["variables"].as_table().expect("variables");
    let mut set = Vec::new();
    for variable in container["env"].as_array().expect("env") {
        let name = variable["name"].as_str().expect("a name");
        if let Some(name) = name.strip_prefix("SPIN_VARIABLE_") {
            let name = name.to_lowercase();
            let secret = known
                .get(&name)
                .unwrap_or_else(|| panic!("no variable {name}"));
            let secret = secret.get("secret").and_then(toml::Value::as_bool) == Some(true);
            assert_eq!(secret, variable.get("valueFrom").is_some(), "{name}");
            set.push(name);
        }
    }
    for name in [
        "jwks_url",
        "jwt_audience",
        "secrets_key",
        "events_database",
        "events_database_host",
    ] {
        assert!(set.iter().any(|set| set == name), "{name}");
    }

    // The secrets that it mounts and reads are those of the template.
    let volume = &pod["volumes"][0]["secret"]["secretName"];
    let secrets = resources("deploy/spinkube/secrets.yaml");
    assert!(
        secrets
            .iter()
            .any(|secret| secret["metadata"]["name"] == *volume),
        "{volume}"
    );
    // Its port is the service's and the network policy's.
    let policy = resource("deploy/kubernetes/cluster.yaml", "NetworkPolicy", NAME);
    assert_eq!(
        container["ports"][0]["containerPort"],
        policy["spec"]["ingress"][0]["ports"][0]["port"]
    );
}
