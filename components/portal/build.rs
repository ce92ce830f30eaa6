//! Embeds the page: every file of `page/`, under the name that it has there; and the reference's receivers, which
//! the page shows.

use std::path::Path;

use static_files::embed::Table;

/// Whole receivers, which the tests run.
const RECEIVERS: &str = "../../reference/receivers";

fn main() {
    for source in ["build.rs", "page", RECEIVERS] {
        println!("cargo::rerun-if-changed={source}");
    }
    let mut table = Table::new();
    // The page's own policy depends on variables: `src/lib.rs` puts it in the place of this one.
    table.add_directory(Path::new("page"), "/portal", |_| "static_files::NOTHING");
    for name in [
        "receiver.py",
        "receiver.mjs",
        "receiver.go",
        "receiver.rb",
        "receiver.php",
        "Receiver.java",
        "Receiver.cs",
    ] {
        let file = Path::new(RECEIVERS).join(name);
        let code = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let path = format!("/portal/receivers/{name}");
        // To be read, not to be run.
        let kind = "text/plain; charset=utf-8";
        table.add(&path, kind, "static_files::NOTHING", &code);
    }
    table.finish();
}
