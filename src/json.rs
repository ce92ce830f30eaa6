//! JSON as we write it: bodies, documents, what tags and digests are made of.

use std::io;

use serde::Serialize;

use crate::fault::Fault;

/// The value as JSON.
///
/// # Errors
///
/// [`Fault::Internal`]: what cannot be written is our own fault, everywhere. An empty text in its
/// place would be one `ETag` for all resources, or an empty response for a repeat.
pub fn write(value: &impl Serialize) -> Result<String, Fault> {
    let mut text = Text(Vec::with_capacity(512));
    let written = serde_json::to_writer(&mut text, value).ok();
    let text = written.and_then(|()| String::from_utf8(text.0).ok());
    text.ok_or_else(|| {
        // serde's text may quote the value.
        let name = std::any::type_name_of_val(value);
        Fault::Internal(format!("a value cannot be written as JSON: {name}"))
    })
}

/// What is written so far. Every second piece of JSON is a single byte, and a copy is a call of the runtime.
struct Text(Vec<u8>);

impl io::Write for Text {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece)?;
        Ok(piece.len())
    }

    #[inline(always)]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        match piece {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(piece),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For tests: what cannot be written as JSON.
#[cfg(test)]
pub(crate) struct Unwritable;

#[cfg(test)]
impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("on purpose"))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::http::{etag::EntityTag, response};
    use crate::store::stored_response::StoredResponse;

    /// One policy, wherever something is written.
    #[test]
    fn what_cannot_be_written_as_json_is_an_internal_error_everywhere() {
        let ok = http::StatusCode::OK;
        let errors = [
            write(&Unwritable).err(),
            EntityTag::of(&Unwritable).err(),
            response::json(ok, &Unwritable).err(),
            StoredResponse::new(200, None, "", &Unwritable, None).err(),
            crate::store::memory::Memory::default()
                .scheduled(Vec::new())
                .set_document("key", &Unwritable)
                .now_or_never()
                .expect("nothing is written")
                .err(),
        ];
        for error in errors {
            assert!(matches!(error, Some(Fault::Internal(_))), "{error:?}");
        }
    }
}
