//! Embedding, for build scripts: files become a table of [`File`](super::File)s, and what they hold,
//! compressed, is written beside it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// A table that is being made.
pub struct Table {
    out: PathBuf,
    text: String,
}

impl Table {
    /// An empty one, in the directory of a build script's output.
    ///
    /// # Panics
    ///
    /// When it is no build script that asks.
    pub fn new() -> Self {
        let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
        Self {
            out: PathBuf::from(out),
            text: String::from("&[\n"),
        }
    }

    /// Compresses a file, and adds it: where it is served, and the expression that is its policy, such as
    /// the name of a constant.
    ///
    /// # Panics
    ///
    /// When it cannot be written, or its ending says no media type.
    pub fn add(&mut self, path: &str, media_type: &str, policy: &str, content: &[u8]) {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(content).expect("memory");
        let gzip = gzip.finish().expect("memory");
        self.add_compressed(path, media_type, policy, &gzip);
    }

    /// As [`Self::add`], of what is compressed already.
    ///
    /// # Panics
    ///
    /// As [`Self::add`], and when it is not gzip.
    pub fn add_compressed(&mut self, path: &str, media_type: &str, policy: &str, gzip: &[u8]) {
        let mut content = Vec::new();
        GzDecoder::new(gzip)
            .read_to_end(&mut content)
            .unwrap_or_else(|e| panic!("{path}: {e}"));
        let name = format!("{}.gz", path.trim_start_matches('/').replace('/', "_"));
        write(&self.out.join(&name), gzip);
        let digest = Sha256::digest(&content);
        let tag = base16ct::lower::encode_string(&digest[..16]);
        let _ = writeln!(
            self.text,
            "File {{ path: {path:?}, media_type: {media_type:?}, policy: {policy}, tag: {tag:?}, \
             length: {}, gzip: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\")) }},",
            content.len(),
        );
    }

    /// Adds every file of a directory and of those in it, in the order of their names: `index.html` is
    /// served at `path`, the others below it. Each has the policy that `policy` says for its media type.
    ///
    /// # Panics
    ///
    /// As [`Self::add`], when the directory cannot be read, and for a file whose ending has no
    /// [`media_type`].
    pub fn add_directory(&mut self, directory: &Path, path: &str, policy: impl Fn(&str) -> &str) {
        let mut files = Vec::new();
        list(directory, &mut files);
        files.sort();
        for file in files {
            let name = file.strip_prefix(directory).expect("it is in there");
            let name = name.to_str().expect("UTF-8").replace('\\', "/");
            let kind = media_type(&name)
                .unwrap_or_else(|| panic!("{}: its ending says no media type", file.display()));
            let served = match name.as_str() {
                "index.html" => path.to_owned(),
                name => format!("{path}/{name}"),
            };
            let content =
                std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            self.add(&served, kind, policy(kind), &content);
        }
    }

    /// Writes the table where `include!` finds it: `files.rs` in the output's directory.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn finish(mut self) {
        self.text.push_str("]\n");
        write(&self.out.join("files.rs"), self.text.as_bytes());
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

/// The `Content-Type` of a file, by the ending of its name; a name without one is plain text, such as
/// `LICENSE`.
pub fn media_type(name: &str) -> Option<&'static str> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let Some((_, ending)) = name.rsplit_once('.') else {
        return Some("text/plain; charset=utf-8");
    };
    Some(match ending {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "md" | "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        _ => return None,
    })
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory);
    for entry in entries.unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}

fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::media_type;

    #[test]
    fn the_ending_of_a_name_says_what_a_file_is() {
        for (name, expected) in [
            ("index.html", Some("text/html; charset=utf-8")),
            (
                "vendor/preact.min.mjs",
                Some("text/javascript; charset=utf-8"),
            ),
            ("vendor/LICENSE", Some("text/plain; charset=utf-8")),
            ("a.b/c", Some("text/plain; charset=utf-8")),
            ("page.exe", None),
        ] {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }
}
