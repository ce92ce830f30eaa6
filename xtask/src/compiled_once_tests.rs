//! What the project's commands compile of other people's packages: each of them once, whichever command comes
//! first. It is read from Cargo's graph of what a command would compile (`--unit-graph`).
//!
//! Cargo compiles a package anew for other features, for another profile, and if it depends on what was compiled
//! anew. Where the profile has `lto = "off"`, it also does so for what only macros and build scripts need,
//! since that is never for link-time optimisation; the graph does not say so. `workspace-hack/` has what makes
//! all of this the same.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::{build, project, test};

#[derive(Deserialize)]
struct Graph {
    units: Vec<Unit>,
    roots: Vec<usize>,
}

#[derive(Deserialize)]
struct Unit {
    pkg_id: String,
    target: Target,
    profile: BTreeMap<String, Value>,
    platform: Option<String>,
    mode: String,
    features: Vec<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    index: usize,
}

impl Unit {
    fn runs_while_compiling(&self) -> bool {
        let kind = self.target.kind[0].as_str();
        ["custom-build", "proc-macro"].contains(&kind)
    }

    fn is_of_a_registry(&self) -> bool {
        self.pkg_id.starts_with("registry+")
    }
}

impl Graph {
    /// What the command would compile.
    fn of(mut command: Command) -> Self {
        command.args(["-Z", "unstable-options", "--unit-graph"]);
        command.env("RUSTC_BOOTSTRAP", "1");
        let output = command.output().expect("cargo");
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"))
    }

    /// The packages of `included` units, and of each what decides whether it is compiled anew.
    fn packages(&self, included: impl Fn(&Unit) -> bool) -> BTreeMap<String, BTreeSet<u64>> {
        let for_programs = self.for_programs();
        let mut known = vec![None; self.units.len()];
        let mut packages = BTreeMap::<_, BTreeSet<_>>::new();
        for (place, unit) in self.units.iter().enumerate() {
            if unit.is_of_a_registry() && unit.mode == "build" && included(unit) {
                let variant = self.variant(place, &for_programs, &mut known);
                let package = format!("{} ({})", unit.pkg_id, unit.target.kind[0]);
                packages.entry(package).or_default().insert(variant);
            }
        }
        packages
    }

    /// Which units what is built has in it, besides those that run while it is compiled.
    fn for_programs(&self) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut left = self.roots.clone();
        while let Some(place) = left.pop() {
            let unit = &self.units[place];
            if !unit.runs_while_compiling() && found.insert(place) {
                left.extend(unit.dependencies.iter().map(|dependency| dependency.index));
            }
        }
        found
    }

    fn variant(
        &self,
        place: usize,
        for_programs: &BTreeSet<usize>,
        known: &mut [Option<u64>],
    ) -> u64 {
        if let Some(known) = known[place] {
            return known;
        }
        let unit = &self.units[place];
        let dependencies = unit.dependencies.iter();
        let dependencies: BTreeSet<u64> = dependencies
            .map(|dependency| self.variant(dependency.index, for_programs, known))
            .collect();
        let mut hasher = DefaultHasher::new();
        // `test` inherits all from `dev`.
        let mut profile = unit.profile.clone();
        profile.remove("name");
        format!("{profile:?}").hash(&mut hasher);
        (&unit.pkg_id, &unit.target.kind, &unit.mode).hash(&mut hasher);
        (&unit.platform, &unit.features, dependencies).hash(&mut hasher);
        for_programs.contains(&place).hash(&mut hasher);
        let variant = hasher.finish();
        known[place] = Some(variant);
        variant
    }
}

/// What these commands, one after the other, compile again.
fn compiled_again(
    commands: impl IntoIterator<Item = Command>,
    included: impl Fn(&Unit) -> bool,
) -> BTreeSet<String> {
    let mut compiled = BTreeMap::<String, BTreeSet<u64>>::new();
    let mut again = BTreeSet::new();
    for command in commands {
        for (package, variants) in Graph::of(command).packages(&included) {
            let earlier = compiled.entry(package.clone()).or_default();
            if !earlier.is_empty() && !variants.is_subset(earlier) {
                again.insert(package);
            }
            earlier.extend(variants);
        }
    }
    assert!(compiled.len() > 10, "{compiled:?}");
    again
}

fn cargo(args: &[&str]) -> Command {
    let mut command = project::cargo();
    command.args(args);
    command
}

#[test]
fn what_runs_on_this_machine_shares_its_dependencies() {
    let mut tests = test::cargo_test();
    tests.arg("--no-run");
    let commands = [
        cargo(&["build", "--package", "xtask"]),
        cargo(&["build", "--package", "local-runtime"]),
        tests,
        cargo(&["test", "--lib", "--no-run"]),
        cargo(&["test", "--package", "xtask", "--no-run"]),
    ];
    assert_eq!(compiled_again(commands, |_| true), BTreeSet::new());
}

#[test]
fn components_share_their_macros() {
    let components = build::COMPONENTS.iter().chain([&build::SQL_PROBE]);
    let commands = components.map(|component| cargo(&component.cargo_args()));
    let macros = compiled_again(commands, |unit| unit.target.kind[0] == "proc-macro");
    assert_eq!(macros, BTreeSet::new());
}
