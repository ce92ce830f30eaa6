//! Makes the files that the component serves: the OpenAPI document from the API's own code, and
//! each of them compressed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use application_webhooks::error::Error;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let document = serde_json::to_vec(&application_webhooks::openapi::document()).expect("JSON");

    let mut table = String::from("&[\n");
    add(&mut table, &out, "/openapi.json", "Json", &document);
    table.push_str("]\n");
    write(&out.join("files.rs"), table.as_bytes());

    for (name, error) in [
        ("not-found.json", Error::NotFound),
        ("method-not-allowed.json", Error::MethodNotAllowed),
    ] {
        let body = serde_json::to_vec(&error.body()).expect("JSON");
        write(&out.join(name), &body);
    }
}

/// Compresses a file, and adds its entry to the table of `src/lib.rs`.
fn add(table: &mut String, out: &Path, path: &str, kind: &str, content: &[u8]) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content).expect("memory");
    let name = format!("{}.gz", path.trim_start_matches('/').replace('/', "_"));
    write(&out.join(&name), &gzip.finish().expect("memory"));
    let digest = Sha256::digest(content);
    let tag: String = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let _ = writeln!(
        table,
        "File {{ path: {path:?}, kind: Kind::{kind}, tag: {tag:?}, length: {}, gzip: \
         include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\")) }},",
        content.len(),
    );
}

fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
