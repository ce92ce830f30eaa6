//! Makes the files that the component serves: the OpenAPI document from the API's own code, the
//! pages with the receivers' samples in them, and each of them compressed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use application_webhooks::fault::Fault;
use application_webhooks::http::error::Error;
use flate2::Compression;
use flate2::write::GzEncoder;
use static_files::embed::{Table, media_type};

fn main() {
    for source in ["build.rs", "page", "receivers", "vendor", RECEIVING] {
        println!("cargo::rerun-if-changed={source}");
    }
    let document = serde_json::to_vec(&application_webhooks::openapi::document()).expect("JSON");

    let base = serde_json::to_vec(&application_webhooks::openapi::base()).expect("JSON");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&base).expect("memory");
    write(&out.join("base.json.gz"), &gzip.finish().expect("memory"));
    let dependency = Error::Fault(Fault::Dependency(String::new()));
    let dependency = serde_json::to_vec(&dependency.body()).expect("JSON");
    write(&out.join("dependency.json"), &dependency);

    let mut table = Table::new();
    let [json, html, script, style] =
        ["a.json", "a.html", "a.js", "a.css"].map(|name| media_type(name).expect("a type"));
    table.add("/openapi.json", json, "NOTHING", &document);
    table.add("/docs", html, "REFERENCE", &read("page/docs.html"));
    for (path, kind, file) in [
        ("/docs/reference.js", script, "page/reference.js"),
        ("/docs/carry.js", script, "page/carry.js"),
        ("/docs/receivers.css", style, "page/receivers.css"),
        ("/docs/copy.js", script, "page/copy.js"),
    ] {
        table.add(path, kind, "NOTHING", &read(file));
    }
    let gzip = read("vendor/scalar.js.gz");
    table.add_compressed("/docs/scalar.js", script, "NOTHING", &gzip);
    table.add("/docs/receivers", html, "PAGE", receivers().as_bytes());
    table.add("/docs/receiving", html, "PAGE", receiving().as_bytes());
    table.finish();

    for (said, error) in [
        (static_files::NOT_FOUND, Error::NotFound),
        (
            static_files::METHOD_NOT_ALLOWED,
            Error::MethodNotAllowed(String::new()),
        ),
        (static_files::PRECONDITION_FAILED, Error::PreconditionFailed),
        (
            static_files::INTERNAL,
            Error::Fault(Fault::Internal(String::new())),
        ),
    ] {
        assert_eq!(said, serde_json::to_string(&error.body()).expect("JSON"));
    }
}

/// The page for receivers, with each sample where the page names its file.
fn receivers() -> String {
    let mut page = text("page/receivers.html");
    for sample in [
        "receiver.py",
        "receiver.mjs",
        "receiver.go",
        "receiver.rb",
        "receiver.php",
        "Receiver.java",
        "Receiver.cs",
    ] {
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

fn text(path: &str) -> String {
    String::from_utf8(read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
