//! The links of what is served: pages, the document's descriptions, and the documents that name paths of the
//! service. Each leads to something, and to the heading that it names. Those within the repository are checked by
//! `xtask/tests/documents.rs`; of other hosts nothing is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::standard;

/// The values of an attribute in HTML.
fn attributes(html: &str, name: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = html;
    while let Some((_, after)) = rest.split_once(&format!(" {name}=\"")) {
        let (value, after) = after.split_once('"').expect("its end");
        values.push(value.to_owned());
        rest = after;
    }
    values
}

/// The targets of links in Markdown.
fn targets(markdown: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut rest = markdown;
    while let Some((_, after)) = rest.split_once("](") {
        let (target, after) = after.split_once(')').unwrap_or((after, ""));
        targets.push(target.to_owned());
        rest = after;
    }
    targets
}

/// All descriptions of a document.
fn descriptions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" => found.push(text),
                    member => descriptions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| descriptions(item, found)),
        _ => {}
    }
}

/// What is served under a path: its status and text, asked for once.
struct Served(BTreeMap<String, (u16, String)>);

impl Served {
    async fn get(&mut self, path: &str) -> &(u16, String) {
        if !self.0.contains_key(path) {
            let response = standard().request("GET", path).send_unchecked().await;
            let response = response.unwrap_or_else(|e| panic!("{path}: {e}"));
            self.0
                .insert(path.to_owned(), (response.status, response.text));
        }
        &self.0[path]
    }

    /// Why a link of a page leads nowhere, if it does.
    async fn broken(&mut self, page: &str, link: &str) -> Option<String> {
        if link.contains("://") || link.starts_with("data:") || link.starts_with("mailto:") {
            return None;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = if path.is_empty() { page } else { path };
        if !path.starts_with('/') {
            return Some(format!("{page}: {link} is relative to where it is read"));
        }
        let (status, text) = self.get(path).await;
        if *status != 200 {
            return Some(format!("{page}: {link} is answered {status}"));
        }
        let known = anchor.is_empty() || attributes(text, "id").iter().any(|id| id == anchor);
        (!known).then(|| format!("{page}: {link} has no such heading"))
    }
}

#[tokio::test]
async fn every_link_of_what_is_served_leads_somewhere() {
    let mut served = Served(BTreeMap::new());
    let mut links = Vec::new();
    for page in ["/docs", "/docs/receivers", "/docs/receiving"] {
        let (status, text) = served.get(page).await;
        assert_eq!(*status, 200, "{page}");
        for name in ["href", "src"] {
            links.extend(
                attributes(text, name)
                    .into_iter()
                    .map(|link| (page.to_owned(), link)),
            );
        }
        let ids = attributes(text, "id");
        assert_eq!(
            ids.iter().collect::<BTreeSet<_>>().len(),
            ids.len(),
            "{page}: {ids:?}"
        );
        for name in attributes(text, "aria-labelledby") {
            assert!(ids.contains(&name), "{page}: nothing is called {name}");
        }
    }
    let document: Value = serde_json::from_str(&served.get("/openapi.json").await.1).expect("JSON");
    let mut texts = Vec::new();
    descriptions(&document, &mut texts);
    for text in &texts {
        links.extend(
            targets(text)
                .into_iter()
                .map(|link| ("/openapi.json".to_owned(), link)),
        );
    }
    // The page adds these to the document's.
    let script = served.get("/docs/reference.js").await.1.clone();
    links.extend(
        targets(&script)
            .into_iter()
            .map(|link| ("/docs".to_owned(), link)),
    );
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in [
        "README.md",
        "docs/receiving.md",
        "docs/guide.md",
        "docs/api.md",
        "docs/operations.md",
    ] {
        let text = std::fs::read_to_string(repository.join(document)).expect("a document");
        let of_service = targets(&text)
            .into_iter()
            .filter(|link| link.starts_with('/'));
        links.extend(of_service.map(|link| (document.to_owned(), link)));
    }
    assert!(links.len() > 30, "{links:?}");
    let mut problems = Vec::new();
    for (page, link) in &links {
        problems.extend(served.broken(page, link).await);
    }
    assert_eq!(problems, [""; 0], "{problems:#?}");

    // What leads nowhere is found.
    for bad in ["/docs/none", "/docs/receivers#none", "#none", "receivers"] {
        assert!(
            served.broken("/docs/receivers", bad).await.is_some(),
            "{bad}"
        );
    }
    for good in ["/docs/receivers#php", "#vector", "https://example.com/none"] {
        assert_eq!(served.broken("/docs/receivers", good).await, None);
    }
}
