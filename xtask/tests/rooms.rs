//! The rooms of `src/` (ARCHITECTURE.md), read from its text: imports make no circles, neither of files
//! nor of rooms; `model` is pure; a long file says why it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many lines a file has that need no reason.
const SHORT: usize = 400;

/// What begins the reason of a longer file, in its first comment.
const REASON: &str = "Long because";

fn project() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("a workspace").to_owned()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file: without comments, and without what is compiled for tests or documents only.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if ["#[cfg(test)]", "#[cfg(doc)]"].contains(&trimmed) {
            let indent = line.len() - trimmed.len();
            // What follows, up to the end of its block or statement, is left out.
            for left_out in lines.by_ref() {
                let same_level = left_out.len() - left_out.trim_start().len() == indent;
                if same_level && (left_out.ends_with(';') || left_out.trim() == "}") {
                    break;
                }
            }
            continue;
        }
        if !trimmed.starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The modules that a file declares for tests only.
fn test_modules(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        loop {
            if lines.next()?.trim() != "#[cfg(test)]" {
                continue;
            }
            let declared = lines.next()?.trim();
            let declared = declared.trim_start_matches("pub ");
            if let Some(name) = declared.strip_prefix("mod ") {
                return Some(name.trim_end_matches([';', '{', ' ']));
            }
        }
    })
}

/// The files of `src/` by their modules, such as `store::index::set`, and their code. Those of tests
/// are left out: they may look at everything.
struct Source {
    modules: BTreeMap<String, String>,
}

impl Source {
    fn read() -> Self {
        let src = project().join("src");
        let mut files = Vec::new();
        rust_files(&src, &mut files);
        let mut texts = BTreeMap::new();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("UTF-8");
            let module = file.strip_prefix(&src).expect("within").with_extension("");
            let module = module.to_str().expect("UTF-8").replace('/', "::");
            let module = module.trim_end_matches("::mod").to_owned();
            texts.insert(module, text);
        }
        let of_tests: Vec<String> = texts
            .iter()
            .flat_map(|(module, text)| {
                test_modules(text).map(move |name| match module.as_str() {
                    "lib" => name.to_owned(),
                    parent => format!("{parent}::{name}"),
                })
            })
            .collect();
        texts.retain(|module, _| {
            !of_tests
                .iter()
                .any(|test| module == test || module.starts_with(&format!("{test}::")))
        });
        let modules = texts
            .iter()
            .map(|(module, text)| (module.clone(), code(text)));
        Self {
            modules: modules.collect(),
        }
    }

    /// The module whose file a path leads to.
    fn resolve(&self, path: &[&str]) -> Option<&str> {
        (1..=path.len()).rev().find_map(|length| {
            let module = path[..length].join("::");
            self.modules
                .get_key_value(&module)
                .map(|(module, _)| module.as_str())
        })
    }

    /// The modules that a module imports.
    fn imports<'a>(&'a self, module: &str) -> BTreeSet<&'a str> {
        let here: Vec<&str> = match module {
            "lib" => Vec::new(),
            module => module.split("::").collect(),
        };
        let paths = paths(&self.modules[module]);
        let imported = paths.iter().filter_map(|path| {
            let path: Vec<&str> = path.split("::").collect();
            let ups = path.iter().take_while(|part| **part == "super").count();
            let absolute = match path[0] {
                "crate" | "$crate" => path[1..].to_vec(),
                "super" => [&here[..here.len().saturating_sub(ups)], &path[ups..]].concat(),
                "self" => [&here[..], &path[1..]].concat(),
                _ => [&here[..], &path[..]].concat(),
            };
            self.resolve(&absolute)
        });
        imported.filter(|other| *other != module).collect()
    }

    fn graph(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let modules = self.modules.keys();
        modules
            .map(|module| (module.as_str(), self.imports(module)))
            .collect()
    }
}

/// The paths that a code names: of its `use` declarations, and those that begin with `crate`.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some((_, after)) = rest.split_once("use ") {
        let Some((tree, after)) = after.split_once(';') else {
            break;
        };
        let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", &tree, &mut paths);
        rest = after;
    }
    for (place, _) in code.match_indices("crate::") {
        let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let path: String = code[place..].chars().take_while(|c| is_path(*c)).collect();
        if let Some(path) = Some(path.trim_end_matches(':')).filter(|path| *path != "crate") {
            paths.push(path.to_owned());
        }
    }
    paths
}

/// The paths of a tree such as `a::{b, c::{self, d}}`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((before, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        let path = format!("{prefix}{path}");
        paths.push(path.trim_end_matches("::self").to_owned());
        return;
    };
    let inner = inner.trim_end().trim_end_matches('}');
    let prefix = format!("{prefix}{}", before.trim());
    let (mut depth, mut from) = (0, 0);
    for (place, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, inner[from..place].trim(), paths);
                from = place + 1;
            }
            _ => {}
        }
    }
    if !inner[from..].trim().is_empty() {
        expand(&prefix, inner[from..].trim(), paths);
    }
}

/// A circle in a graph, if there is one: each imports the next, and the last the first.
fn circle<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    fn visit<'a>(
        node: &'a str,
        graph: &BTreeMap<&'a str, BTreeSet<&'a str>>,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a str>> {
        if let Some(start) = way.iter().position(|known| *known == node) {
            return Some(way[start..].to_vec());
        }
        if done.contains(node) {
            return None;
        }
        way.push(node);
        let next = graph.get(node).into_iter().flatten();
        let found = next.copied().find_map(|next| visit(next, graph, way, done));
        way.pop();
        done.insert(node);
        found
    }

    let mut done = BTreeSet::new();
    let mut nodes = graph.keys().copied();
    nodes.find_map(|node| visit(node, graph, &mut Vec::new(), &mut done))
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

#[test]
fn files_import_each_other_in_no_circle() {
    let source = Source::read();
    assert_eq!(circle(&source.graph()), None);
}

#[test]
fn rooms_import_each_other_in_no_circle() {
    let source = Source::read();
    let mut rooms: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, imported) in source.graph() {
        let others = imported.into_iter().map(room);
        let others = others.filter(|other| *other != room(module));
        rooms.entry(room(module)).or_default().extend(others);
    }
    assert_eq!(circle(&rooms), None);
    // What fails below HTTP is a fault; what a client is told of it is said above.
    for (room, imported) in &rooms {
        let is_above = ["api", "auth", "lib", "openapi", "operator"].contains(room);
        assert!(
            is_above || !imported.contains("http"),
            "{room} imports http"
        );
    }
}

#[test]
fn the_model_is_pure() {
    let source = Source::read();
    let of_host = [
        "spin_sdk",
        "wasip2",
        "wasip3",
        "wit_bindgen",
        "futures",
        "tokio",
        "async ",
        ".await",
        "SystemTime",
        "Instant",
        "std::fs",
        "std::env",
        "std::thread",
    ];
    let modules = source
        .modules
        .iter()
        .filter(|(module, _)| room(module) == "model");
    let mut count = 0;
    for (module, code) in modules {
        count += 1;
        for imported in source.imports(module) {
            assert_eq!(room(imported), "model", "{module} imports {imported}");
        }
        for name in of_host {
            assert!(!code.contains(name), "{module} has {name}");
        }
    }
    assert!(count > 10, "{count} files of the model");
}

#[test]
fn a_long_file_says_why_it_is() {
    let project = project();
    let folders = [
        "src",
        "components",
        "reference",
        "bench",
        "fuzz/targets",
        "xtask",
        "tests",
        "local-runtime",
    ];
    let mut files = Vec::new();
    for folder in folders {
        rust_files(&project.join(folder), &mut files);
    }
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("UTF-8");
        let lines = text.lines().count();
        let comment = text.lines().take_while(|line| line.starts_with("//!"));
        let comment: String = comment
            .map(|line| line[3..].trim())
            .collect::<Vec<_>>()
            .join(" ");
        let name = file
            .strip_prefix(&project)
            .expect("within")
            .display()
            .to_string();
        if comment.is_empty() {
            wrong.push(format!("{name}: does not begin with what it holds"));
        }
        if lines > SHORT && !comment.contains(REASON) {
            wrong.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_read_from_text() {
    let text = "//! use crate::a;\nuse crate::{b::{self, C}, d};\nuse super::e::F as G;\n\
                #[cfg(test)]\nuse crate::h;\n#[cfg(doc)]\nuse super::i;\nuse j::K;\nfn f() { crate::l::m() }\n\
                #[cfg(test)]\nmod tests {\n    use crate::n;\n}\n";
    assert_eq!(
        paths(&code(text)),
        [
            "crate::b",
            "crate::b::C",
            "crate::d",
            "super::e::F",
            "j::K",
            "crate::l::m"
        ]
    );
    let circular = BTreeMap::from([
        ("a", BTreeSet::from(["b"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::from(["b"])),
    ]);
    assert_eq!(circle(&circular), Some(vec!["b", "c"]));
}
