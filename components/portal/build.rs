//! Embeds the page: every file of `page/`, under the name that it has there.

use std::path::Path;

use static_files::embed::Table;

fn main() {
    for source in ["build.rs", "page"] {
        println!("cargo::rerun-if-changed={source}");
    }
    let mut table = Table::new();
    // The page's own policy depends on variables: `src/lib.rs` puts it in the place of this one.
    table.add_directory(Path::new("page"), "/portal", |_| "static_files::NOTHING");
    table.finish();
}
