//! `spin.toml`: the part of Spin's manifest that the runtime needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

/// An application's manifest.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    spin_manifest_version: u8,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    trigger: Triggers,
    component: BTreeMap<String, ComponentTable>,
    #[serde(skip)]
    directory: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Variable {
    default: Option<String>,
    #[serde(default)]
    required: bool,
}

#[derive(Debug, Deserialize)]
struct Triggers {
    #[serde(default)]
    http: Vec<HttpTrigger>,
}

#[derive(Debug, Deserialize)]
struct HttpTrigger {
    route: Route,
    component: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Route {
    Path(String),
    /// Only other components would reach it, which the local runtime does not offer.
    Private {
        #[serde(rename = "private")]
        _private: bool,
    },
}

#[derive(Debug, Deserialize)]
struct ComponentTable {
    source: PathBuf,
    #[serde(default)]
    key_value_stores: Vec<String>,
    #[serde(default)]
    sqlite_databases: Vec<String>,
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// A component with its variables resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its id.
    pub id: String,
    /// The path of its wasm.
    pub source: PathBuf,
    /// The labels of the stores that it may open.
    pub key_value_stores: Vec<String>,
    /// The labels of the SQLite databases that it may open.
    pub sqlite_databases: Vec<String>,
    /// Where it may connect to.
    pub allowed_outbound_hosts: Vec<String>,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong and what to do about it.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the manifest {} (run in the project's folder, or name it with --manifest)",
                path.display()
            )
        })?;
        let mut manifest: Self = toml::from_str(&text).map_err(|error| {
            anyhow::anyhow!(
                "the manifest {} is malformed: {}",
                path.display(),
                error.message()
            )
        })?;
        if manifest.spin_manifest_version != 2 {
            bail!(
                "the manifest {} must have spin_manifest_version = 2",
                path.display()
            );
        }
        manifest.directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(manifest)
    }

    /// The name that a variable has in the environment.
    pub fn environment_name(variable: &str) -> String {
        format!("SPIN_VARIABLE_{}", variable.to_uppercase())
    }

    /// The routes, each with its component's id.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.trigger
            .http
            .iter()
            .filter_map(|trigger| match &trigger.route {
                Route::Path(route) => Some((route.as_str(), trigger.component.as_str())),
                Route::Private { .. } => None,
            })
    }

    /// The components that a route leads to, with what `provider` has for a variable's name over the
    /// manifest's defaults.
    ///
    /// # Errors
    ///
    /// A required variable that is not set, or a component or variable that is not there.
    pub fn components(
        &self,
        provider: &dyn Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Vec<Component>> {
        let mut application = BTreeMap::new();
        for (name, variable) in &self.variables {
            match provider(name).or_else(|| variable.default.clone()) {
                Some(value) => {
                    application.insert(name.as_str(), value);
                }
                None if variable.required => bail!(
                    "variable `{name}` is required and not set: set {} in the environment",
                    Self::environment_name(name)
                ),
                None => {}
            }
        }
        let mut components = Vec::new();
        let mut ids: Vec<_> = self.routes().map(|(_, id)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let table = self.component.get(id).with_context(|| {
                format!("the manifest has a route to `{id}` and no such component")
            })?;
            let resolve = |template: &String| resolve(template, &application);
            components.push(Component {
                id: id.to_owned(),
                source: self.directory.join(&table.source),
                key_value_stores: table.key_value_stores.clone(),
                sqlite_databases: table.sqlite_databases.clone(),
                allowed_outbound_hosts: hosts(&table.allowed_outbound_hosts, &application)?,
                variables: table
                    .variables
                    .iter()
                    .map(|(name, template)| Ok((name.clone(), resolve(template)?)))
                    .collect::<anyhow::Result<_>>()?,
            });
        }
        Ok(components)
    }
}

/// Fills the templates of hosts. As on Spin, one that its variables leave empty is skipped.
fn hosts(templates: &[String], variables: &BTreeMap<&str, String>) -> anyhow::Result<Vec<String>> {
    let mut hosts = Vec::new();
    for template in templates {
        let host = resolve(template, variables)?;
        let is_empty = matches!(host.as_str(), "" | "http://" | "https://");
        if !(is_empty && template.contains("{{")) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

/// Fills the `{{ name }}` of a template.
fn resolve(template: &str, variables: &BTreeMap<&str, String>) -> anyhow::Result<String> {
    let mut resolved = String::new();
    let mut rest = template;
    while let Some((before, from)) = rest.split_once("{{") {
        let (name, after) = from
            .split_once("}}")
            .with_context(|| format!("a template in the manifest lacks its `}}}}`: {template}"))?;
        let name = name.trim();
        let value = variables
            .get(name)
            .with_context(|| format!("the manifest uses variable `{name}`, which is not set"))?;
        resolved.push_str(before);
        resolved.push_str(value);
        rest = after;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "a"
        [variables]
        secret = { required = true, secret = true }
        mode = { default = "plain" }
        [[trigger.http]]
        route = "/..."
        component = "c"
        [component.c]
        source = "c.wasm"
        key_value_stores = ["default"]
        allowed_outbound_hosts = ["https://{{ mode }}.example.com"]
        [component.c.variables]
        all = "{{ mode }}:{{secret}}"
        [component.c.build]
        command = "make"
    "#;

    fn manifest() -> Manifest {
        toml::from_str(MANIFEST).unwrap()
    }

    #[test]
    fn a_provider_wins_over_defaults() {
        let components = manifest()
            .components(&|name| match name {
                "secret" => Some("s".to_owned()),
                "mode" => Some("fancy".to_owned()),
                _ => None,
            })
            .unwrap();
        assert_eq!(components[0].variables["all"], "fancy:s");
        assert_eq!(
            components[0].allowed_outbound_hosts,
            ["https://fancy.example.com"]
        );
    }

    #[test]
    fn a_host_that_a_variable_leaves_empty_is_skipped_and_an_empty_one_is_not() {
        let text = MANIFEST.replace(
            r#"["https://{{ mode }}.example.com"]"#,
            r#"["{{ mode }}", "https://{{ mode }}", "postgres://{{ mode }}", ""]"#,
        );
        let manifest: Manifest = toml::from_str(&text).unwrap();
        let hosts = |mode: &str| {
            let components = manifest.components(&|_| Some(mode.to_owned())).unwrap();
            components[0].allowed_outbound_hosts.clone()
        };
        // Spin refuses the two that stay, and so does the local runtime.
        assert_eq!(hosts(""), ["postgres://", ""]);
        assert_eq!(hosts("a"), ["a", "https://a", "postgres://a", ""]);
    }

    #[test]
    fn a_private_route_leads_nowhere() {
        let text = MANIFEST.replace(r#"route = "/...""#, "route = { private = true }");
        let manifest: Manifest = toml::from_str(&text).unwrap();
        assert_eq!(manifest.routes().count(), 0);
    }

    #[test]
    fn a_required_variable_that_is_not_set_is_named() {
        let error = manifest().components(&|_| None).unwrap_err().to_string();
        assert!(error.contains("SPIN_VARIABLE_SECRET"), "{error}");
    }

    #[test]
    fn an_unreadable_or_malformed_manifest_is_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spin.toml");
        for text in [None, Some("spin_manifest_version ="), Some("x = 1")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = format!("{:#}", Manifest::read(&path).unwrap_err());
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(error.contains("manifest"), "{error}");
        }
    }
}
