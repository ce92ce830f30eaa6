//! The documents: README's length, and that every link within the repository leads somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the workspace").to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The documents of the repository.
fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            // What is built, and what tools keep.
            if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.')
            {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                documents.push(path);
            }
        }
    }
    assert!(documents.len() >= 14, "{documents:?}");
    documents
}

/// The targets of links and pictures, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        // What stands between backticks is an example.
        let prose = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let mut rest = prose.as_str();
        while let Some((_, after)) = rest.split_once("](").filter(|_| !in_code) {
            let (target, after) = after.split_once(')').unwrap_or((after, ""));
            links.push(target.to_owned());
            rest = after;
        }
    }
    links
}

/// The anchors that GitHub gives to a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// Why a link of this document leads nowhere, if it does.
fn broken(document: &Path, link: &str) -> Option<String> {
    // Elsewhere, or a path of the service: tests/http/links.rs asks for those.
    if link.contains("://") || link.starts_with("mailto:") || link.starts_with('/') {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => document.to_owned(),
        path => document.parent().expect("a directory").join(path),
    };
    if !target.exists() {
        return Some(format!("{}: {link} does not exist", document.display()));
    }
    let known = anchor.is_empty() || anchors(&read(&target)).contains(anchor);
    (!known).then(|| format!("{}: {link} has no such heading", document.display()))
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let mut problems = Vec::new();
    for document in documents() {
        let links = links(&read(&document));
        problems.extend(links.iter().filter_map(|link| broken(&document, link)));
    }
    assert_eq!(problems, [""; 0], "{problems:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "[a](b.md) `[c](d)`\n```\n[e](f)\n```\n![g](h.png) [i](#j)";
    assert_eq!(links(text), ["b.md", "h.png", "#j"]);
    assert!(anchors("## The operator's routes\n").contains("the-operators-routes"));
    let document = root().join("README.md");
    for bad in ["docs/none.md", "docs/operations.md#none", "#none"] {
        assert!(broken(&document, bad).is_some(), "{bad}");
    }
    for good in [
        "docs/operations.md#stores",
        "/docs",
        "https://example.com/none",
        "LICENSE",
    ] {
        assert_eq!(broken(&document, good), None);
    }
}

#[test]
fn the_readme_is_short_and_has_the_two_commands() {
    let text = read(&root().join("README.md"));
    assert!(text.lines().count() < 120, "{}", text.lines().count());
    for command in ["cargo xtask up", "cargo xtask listen", "cargo xtask test"] {
        assert!(text.contains(command), "{command}");
    }
}
