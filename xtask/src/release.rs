//! `cargo xtask release`: what is attached to a release, so that `spin up --from` is all that somebody
//! who has Spin needs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base16ct::lower::encode_string;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::build::{self, COMPONENTS};
use crate::project;

/// The file with the digests of all others.
const SUMS: &str = "SHA256SUMS";

/// What goes along as it is: the runtime configs, with which private networks are blocked, and what is to
/// be read.
const FILES: [&str; 8] = [
    "deploy/runtime-config.toml",
    "deploy/redis.toml",
    "deploy/dynamodb.toml",
    "deploy/cosmosdb.toml",
    "deploy/sqlite.toml",
    "deploy/postgres.env",
    "CHANGELOG.md",
    "LICENSE",
];

#[derive(clap::Args)]
pub struct Args {
    /// Where the files will be downloaded from: the manifest then names the components by URL and digest,
    /// and is all that somebody with Spin downloads
    #[arg(long, value_name = "URL", value_parser = base_url)]
    url: Option<String>,
}

fn base_url(text: &str) -> Result<String, &'static str> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !text.contains(['?', '#', ' ']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("must be a URL that begins with https:// or http:// and has no query"),
    }
}

pub fn run(args: &Args) -> Result<()> {
    let manifest = project::manifest()?;
    let version = version(&manifest)?;
    build::components()?;
    let components = COMPONENTS.map(|component| {
        let path = component.path();
        (component.package, path)
    });
    for component in &COMPONENTS {
        build::ensure_size(component, build::check(component)?)?;
    }
    let directory = project::root()
        .join("target")
        .join(format!("release-{version}"));
    assemble(&directory, manifest, &components, args.url.as_deref())?;

    let changes = fs::read_to_string(project::root().join("CHANGELOG.md"))?;
    if !changes.contains(&format!("## [{version}]")) {
        eprintln!(
            "warning: CHANGELOG.md has no section [{version}] yet: give [Unreleased] that name and a date"
        );
    }
    println!("{}", directory.display());
    print!("{}", fs::read_to_string(directory.join(SUMS))?);
    Ok(())
}

/// The version of the application, as the manifest has it.
fn version(manifest: &Table) -> Result<String> {
    let version = manifest.get("application").and_then(|it| it.get("version"));
    let version = version.and_then(Value::as_str);
    version
        .map(str::to_owned)
        .context("spin.toml has no version in [application]")
}

/// Puts the components, the manifest and the other files into a new directory.
fn assemble(
    directory: &Path,
    mut manifest: Table,
    components: &[(&str, PathBuf)],
    url: Option<&str>,
) -> Result<()> {
    // What an earlier run left is not part of this release.
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("{} cannot be removed", directory.display()))?;
    }
    fs::create_dir_all(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    let mut files = Vec::new();
    for (id, path) in components {
        let wasm = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let name = format!("{id}.wasm");
        let digest = digest(&wasm);
        let component = manifest
            .get_mut("component")
            .and_then(|all| all.get_mut(*id))
            .and_then(Value::as_table_mut)
            .with_context(|| format!("spin.toml has no component {id}"))?;
        // Nothing is built where there are no sources.
        component.remove("build");
        component.insert("source".to_owned(), source(&name, &digest, url));
        files.push((name, wasm));
    }
    if let Some((id, _)) = sources_of_others(&manifest, components) {
        bail!("spin.toml has a component {id}, and the release does not");
    }
    let text = format!(
        "# Made by `cargo xtask release`. Start it with a runtime config from beside it:\n#\n\
         #   spin up --from spin.toml --runtime-config-file runtime-config.toml\n\n{}",
        toml::to_string_pretty(&manifest)?
    );
    files.push(("spin.toml".to_owned(), text.into_bytes()));
    for file in FILES {
        let path = project::root().join(file);
        let content = fs::read(&path).with_context(|| format!("{file} cannot be read"))?;
        let name = path.file_name().context("a file has a name")?;
        files.push((name.to_string_lossy().into_owned(), content));
    }
    let mut sums = String::new();
    for (name, content) in &files {
        fs::write(directory.join(name), content)
            .with_context(|| format!("{name} cannot be written"))?;
        // As sha256sum writes and reads it.
        sums += &format!("{}  {name}\n", digest(content));
    }
    fs::write(directory.join(SUMS), sums).with_context(|| format!("{SUMS} cannot be written"))
}

/// Where Spin takes a component from: the file beside the manifest, or a download that it verifies.
fn source(name: &str, digest: &str, url: Option<&str>) -> Value {
    let Some(url) = url else {
        return Value::String(name.to_owned());
    };
    let mut source = Table::new();
    source.insert("url".to_owned(), Value::String(format!("{url}/{name}")));
    source.insert(
        "digest".to_owned(),
        Value::String(format!("sha256:{digest}")),
    );
    Value::Table(source)
}

/// A component of the manifest that is none of these.
fn sources_of_others<'a>(
    manifest: &'a Table,
    components: &[(&str, PathBuf)],
) -> Option<(&'a String, &'a Value)> {
    let all = manifest.get("component").and_then(Value::as_table)?;
    all.iter()
        .find(|(id, _)| components.iter().all(|(known, _)| known != id))
}

fn digest(content: &[u8]) -> String {
    encode_string(&Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::keys::tests::scratch;

    /// Small files in place of the components.
    fn components(directory: &Path) -> Vec<(&'static str, PathBuf)> {
        COMPONENTS
            .iter()
            .map(|component| {
                let path = directory.join(component.package);
                fs::write(&path, component.package).expect("write");
                (component.package, path)
            })
            .collect()
    }

    fn manifest() -> Table {
        project::manifest().unwrap_or_else(|error| panic!("{error:#}"))
    }

    #[test]
    fn all_files_are_there_with_digests_that_sha256sum_verifies() {
        let directory = scratch("release");
        let out = directory.join("release-0.0.0");
        fs::create_dir_all(out.join("of-an-earlier-run")).expect("create");
        assemble(&out, manifest(), &components(&directory), None).expect("assembled");
        let mut names: Vec<_> = fs::read_dir(&out)
            .expect("list")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "CHANGELOG.md",
                "LICENSE",
                "SHA256SUMS",
                "api-reference.wasm",
                "application-webhooks.wasm",
                "cosmosdb.toml",
                "dynamodb.toml",
                "event-dispatcher.wasm",
                "portal.wasm",
                "postgres.env",
                "redis.toml",
                "runtime-config.toml",
                "spin.toml",
                "sqlite.toml",
            ]
        );
        let verifies = || {
            let mut sums = Command::new("sha256sum");
            sums.args(["--check", "--strict", "--quiet", SUMS]);
            sums.current_dir(&out)
                .status()
                .expect("sha256sum")
                .success()
        };
        assert!(verifies());
        fs::write(out.join("event-dispatcher.wasm"), "tampered").expect("write");
        assert!(!verifies());
    }

    #[test]
    fn the_manifest_is_the_projects_but_for_where_the_components_are() {
        let directory = scratch("release-manifest");
        let out = directory.join("out");
        for url in [None, Some("https://example.com/v1")] {
            assemble(&out, manifest(), &components(&directory), url).expect("assembled");
            let text = fs::read_to_string(out.join("spin.toml")).expect("read");
            let mut made: Table = toml::from_str(&text).expect("TOML");
            let mut expected = manifest();
            for component in COMPONENTS {
                let (made, expected) = (
                    made["component"][component.package].as_table_mut(),
                    expected["component"][component.package].as_table_mut(),
                );
                let (made, expected) = (made.expect("a table"), expected.expect("a table"));
                let source = made.remove("source").expect("a source");
                let name = format!("{}.wasm", component.package);
                match url {
                    None => assert_eq!(source.as_str(), Some(name.as_str())),
                    Some(url) => {
                        assert_eq!(
                            source["url"].as_str(),
                            Some(format!("{url}/{name}").as_str())
                        );
                        let digest = digest(component.package.as_bytes());
                        let digest = format!("sha256:{digest}");
                        assert_eq!(source["digest"].as_str(), Some(digest.as_str()));
                    }
                }
                expected.remove("source");
                expected.remove("build");
            }
            assert_eq!(made, expected);
        }
    }

    #[test]
    fn a_component_that_the_release_lacks_is_an_error() {
        let directory = scratch("release-lacks");
        let some = &components(&directory)[..2];
        let refused = assemble(&directory.join("out"), manifest(), some, None);
        let error = refused.expect_err("one is missing").to_string();
        assert!(error.contains("has a component"), "{error}");
    }

    #[test]
    fn the_base_is_a_url_without_a_query() {
        assert_eq!(
            base_url("https://example.com/v1/").as_deref(),
            Ok("https://example.com/v1")
        );
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://a/?b",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    /// One version stands in all files that name it.
    #[test]
    fn the_version_is_the_same_everywhere() {
        let version = version(&manifest()).expect("a version");
        let read = |file: &str| fs::read_to_string(project::root().join(file)).expect(file);
        for file in [
            "Cargo.toml",
            "reference/Cargo.toml",
            "components/event-dispatcher/Cargo.toml",
        ] {
            let package: Table = toml::from_str(&read(file)).expect("TOML");
            assert_eq!(
                package["package"]["version"].as_str(),
                Some(version.as_str()),
                "{file}"
            );
        }
        let image = format!("/application-webhooks:{version}\n");
        assert!(read("deploy/spinkube/app.yaml").contains(&image), "{image}");
        let changes = read("CHANGELOG.md");
        let latest = changes.lines().find(|line| line.starts_with("## ["));
        let known = ["## [Unreleased]".to_owned(), format!("## [{version}]")];
        let latest = latest.expect("a section");
        assert!(
            known.iter().any(|known| latest.starts_with(known)),
            "{latest}"
        );
        assert!(
            read("SECURITY.md").contains(&format!("| {version} ")),
            "SECURITY.md"
        );
    }
}
