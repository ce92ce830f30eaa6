//! Makes the files that the component serves: the OpenAPI document from the API's own code, the
//! pages with the receivers' samples in them, and each of them compressed.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use application_webhooks::http::error::Error;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

fn main() {
    for source in ["build.rs", "page", "receivers", "vendor", RECEIVING] {
        println!("cargo::rerun-if-changed={source}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let document = serde_json::to_vec(&application_webhooks::openapi::document()).expect("JSON");

    let mut table = String::from("&[\n");
    add(&mut table, &out, "/openapi.json", "Json", &document);
    for (path, kind, file) in [
        ("/docs", "Reference", "page/docs.html"),
        ("/docs/reference.js", "Script", "page/reference.js"),
        ("/docs/receivers.css", "Style", "page/receivers.css"),
    ] {
        add(&mut table, &out, path, kind, &read(file));
    }
    let gzip = read("vendor/scalar.js.gz");
    add_compressed(&mut table, &out, "/docs/scalar.js", "Script", &gzip);
    let receivers = receivers();
    add(
        &mut table,
        &out,
        "/docs/receivers",
        "Page",
        receivers.as_bytes(),
    );
    let receiving = receiving();
    add(
        &mut table,
        &out,
        "/docs/receiving",
        "Page",
        receiving.as_bytes(),
    );
    table.push_str("]\n");
    write(&out.join("files.rs"), table.as_bytes());

    for (name, error) in [
        ("not-found.json", Error::NotFound),
        (
            "method-not-allowed.json",
            Error::MethodNotAllowed(String::new()),
        ),
        ("precondition-failed.json", Error::PreconditionFailed),
    ] {
        let body = serde_json::to_vec(&error.body()).expect("JSON");
        write(&out.join(name), &body);
    }
}

/// The page for receivers, with each sample where the page names its file.
fn receivers() -> String {
    let mut page = text("page/receivers.html");
    for sample in ["receiver.py", "receiver.mjs", "receiver.go", "receiver.rb"] {
        let place = format!("{{{{{sample}}}}}");
        assert_eq!(page.matches(&place).count(), 1, "{sample}");
        let code = text(&format!("receivers/{sample}"))
            .trim_end()
            .replace('&', "&amp;")
            .replace('<', "&lt;");
        page = page.replace(&place, &code);
    }
    page
}

/// What a merchant's engineer reads, in the repository and here.
const RECEIVING: &str = "../docs/receiving.md";

/// The page of [`RECEIVING`].
fn receiving() -> String {
    let markdown = text(RECEIVING);
    let mut body = String::new();
    let parser = pulldown_cmark::Parser::new_ext(&markdown, pulldown_cmark::Options::ENABLE_TABLES);
    pulldown_cmark::html::push_html(&mut body, parser);
    // What scrolls can be reached by keyboard.
    let body = body.replace("<pre>", r#"<pre tabindex="0">"#);
    let (page, place) = (text("page/receiving.html"), "{{receiving.md}}");
    assert_eq!(page.matches(place).count(), 1);
    page.replace(place, &body)
}

/// Compresses a file, and adds it.
fn add(table: &mut String, out: &Path, path: &str, kind: &str, content: &[u8]) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content).expect("memory");
    let gzip = gzip.finish().expect("memory");
    add_compressed(table, out, path, kind, &gzip);
}

/// Adds a compressed file's entry to the table of `src/lib.rs`.
fn add_compressed(table: &mut String, out: &Path, path: &str, kind: &str, gzip: &[u8]) {
    let mut content = Vec::new();
    GzDecoder::new(gzip)
        .read_to_end(&mut content)
        .unwrap_or_else(|e| panic!("{path}: {e}"));
    let name = format!("{}.gz", path.trim_start_matches('/').replace('/', "_"));
    write(&out.join(&name), gzip);
    let digest = Sha256::digest(&content);
    let tag = base16ct::lower::encode_string(&digest[..16]);
    let _ = writeln!(
        table,
        "File {{ path: {path:?}, kind: Kind::{kind}, tag: {tag:?}, length: {}, gzip: \
         include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\")) }},",
        content.len(),
    );
}

fn text(path: &str) -> String {
    String::from_utf8(read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
