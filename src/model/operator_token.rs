//! The token that the operator's requests carry.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Shortest token, in characters.
const MIN_LENGTH: usize = 32;

/// Longest token, in characters.
const MAX_LENGTH: usize = 4096;

/// What the operator's requests are known by: variable `operator_token`. It holds the SHA-256 of the
/// token only, and has no `Debug`.
pub struct OperatorToken([u8; 32]);

impl OperatorToken {
    /// Reads a token of 32 to 4,096 characters that a bearer token can have (RFC 6750 §2.1).
    ///
    /// # Errors
    ///
    /// What the token must be; never the token.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&text.len()) || !text.bytes().all(allowed) {
            return Err("must be 32 to 4096 letters, digits, `-`, `.`, `_`, `~`, `+`, `/` or `=`");
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    /// Whether `sent` is the token. How long that takes tells nothing about the token: two hashes
    /// are compared, each bit of them.
    pub fn is(&self, sent: &str) -> bool {
        let sent: [u8; 32] = Sha256::digest(sent).into();
        self.0.ct_eq(&sent).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_like_it() {
        let text = "0123456789abcdefghijklmnopqrstu-";
        let token = OperatorToken::parse(text).unwrap_or_else(|e| panic!("{e}"));
        assert!(token.is(text));
        for other in [
            "",
            &text[1..],
            &text[..31],
            &format!("{text}x"),
            &text.to_uppercase(),
            &format!("{text} "),
        ] {
            assert!(!token.is(other), "{other:?}");
        }
    }

    #[test]
    fn a_token_has_32_characters_of_a_bearer_token_or_more() {
        for good in ["x".repeat(32), "/+=~._-0".repeat(512)] {
            assert!(OperatorToken::parse(&good).is_ok(), "{good}");
        }
        for bad in [
            "x".repeat(31),
            "x".repeat(4097),
            format!("{} y", "x".repeat(32)),
            format!("{}\"", "x".repeat(32)),
            "é".repeat(32),
        ] {
            assert!(OperatorToken::parse(&bad).is_err(), "{bad}");
        }
    }
}
