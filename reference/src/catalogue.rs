//! The OpenAPI document with the operator's event types, which are known when the component runs.

use std::io::{Read as _, Write as _};
use std::sync::OnceLock;

use application_webhooks::fault::Fault;
use application_webhooks::model::event_catalogue::EventCatalogue;
use application_webhooks::{config, log, reference};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Response, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use flate2::read::GzDecoder;
use static_files::{File, INTERNAL, NOTHING, error};

/// Where the document is served.
pub const PATH: &str = "/openapi.json";

/// The document as the handlers make it: the build has made it, and completed it with the defaults.
const BASE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/base.json.gz"));

const DEPENDENCY: &str = include_str!(concat!(env!("OUT_DIR"), "/dependency.json"));

/// The document of this instance; `None`: the one that was built, since the types are the defaults.
///
/// # Errors
///
/// As [`config::event_catalogue`].
pub async fn document() -> Result<Option<&'static [File]>, Fault> {
    static DOCUMENT: OnceLock<Option<[File; 1]>> = OnceLock::new();

    if let Some(document) = DOCUMENT.get() {
        return Ok(document.as_ref().map(<[File; 1]>::as_slice));
    }
    let catalogue = config::event_catalogue().await?;
    let document = DOCUMENT.get_or_init(|| {
        let built = catalogue == EventCatalogue::default();
        (!built).then(|| [completed(&catalogue)])
    });
    Ok(document.as_ref().map(<[File; 1]>::as_slice))
}

/// The document with these types, which stays for as long as the instance does.
pub fn completed(catalogue: &EventCatalogue) -> File {
    let mut base = Vec::new();
    let unpacked = GzDecoder::new(BASE).read_to_end(&mut base);
    unpacked.expect("what the build compressed");
    let mut document: Value = serde_json::from_slice(&base).expect("what the build wrote");
    reference::complete(&mut document, catalogue);
    let content = document.to_string().into_bytes();
    // An instance compresses it once, and serves few requests: a fast level.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&content).expect("memory");
    let digest = Sha256::digest(&content);
    File {
        path: PATH,
        media_type: "application/json",
        policy: NOTHING,
        tag: base16ct::lower::encode_string(&digest[..16]).leak(),
        length: content.len(),
        gzip: gzip.finish().expect("memory").leak(),
    }
}

/// The response where the variables cannot be read, or are malformed. The log has the reason.
pub fn failed(fault: &Fault) -> Response<Bytes> {
    log::task("the OpenAPI document cannot be made", fault);
    match fault {
        Fault::Internal(_) => error(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
        Fault::Dependency(_) | Fault::Timeout(_) | Fault::Unreadable(_) => {
            error(StatusCode::BAD_GATEWAY, DEPENDENCY)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FILES;

    fn text(file: &File) -> String {
        let mut text = String::new();
        let unpacked = GzDecoder::new(file.gzip).read_to_string(&mut text);
        unpacked.expect("UTF-8");
        text
    }

    #[test]
    fn what_is_completed_here_is_what_the_build_makes() {
        let built = FILES.iter().find(|file| file.path == PATH).expect("a file");
        let made = completed(&EventCatalogue::default());
        assert_eq!(text(&made), text(built));
        assert_eq!((made.tag, made.length), (built.tag, built.length));
    }

    #[test]
    fn other_types_make_another_document_with_a_tag_of_its_own() {
        let of = |names| completed(&EventCatalogue::parse(Some(names), None).expect("a catalogue"));
        let (one, other) = (of("payment.created"), of("payment.failed"));
        assert_ne!(one.tag, other.tag);
        let document = text(&one);
        assert!(!document.contains("session.completed") && document.contains("payment.created"));
        assert_eq!(document.len(), one.length);
        assert_eq!(of("payment.created").tag, one.tag);
    }
}
