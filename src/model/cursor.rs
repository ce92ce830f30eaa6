//! Where a page of a log begins, as clients hand it back.

use base64ct::{Base64UrlUnpadded, Encoding};

use super::ids::EventId;

/// The place after an event in a log.
///
/// Its text is opaque: base64url of a version byte and the event's id. It names a place and no filter,
/// so a client can change its filter in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub EventId);

impl Cursor {
    const VERSION: u8 = 1;

    /// The cursor that `text` is.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 17];
        let decoded = Base64UrlUnpadded::decode(text, &mut bytes).ok()?;
        let (version, id) = decoded.split_first()?;
        let id = EventId::from_bytes(id.try_into().ok()?)?;
        (*version == Self::VERSION).then_some(Self(id))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = [Self::VERSION; 17];
        bytes[1..].copy_from_slice(self.0.as_bytes());
        f.write_str(&Base64UrlUnpadded::encode_string(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Timestamp;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        let cursor = Cursor(EventId::generate(Timestamp::from_millis(1_768_464_000_000)));
        let text = cursor.to_string();
        assert_eq!(text.len(), 23);
        assert_eq!(Cursor::parse(&text), Some(cursor));
        let mut other_version = [2; 17];
        other_version[1..].copy_from_slice(cursor.0.as_bytes());
        for bad in [
            "",
            "x",
            &text[1..],
            &format!("{text}A"),
            &format!("{text}="),
            &cursor.0.to_string(),
            &Base64UrlUnpadded::encode_string(&other_version),
            &Base64UrlUnpadded::encode_string(&[1; 17]),
            &"A".repeat(1000),
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
