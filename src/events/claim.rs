//! Who holds a delivery.

use crate::model::random;

/// The identity of a claim: 32 random hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimToken(String);

impl ClaimToken {
    /// A new token.
    pub fn generate() -> Self {
        Self(base16ct::lower::encode_string(&random::bytes::<16>()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_the_same() {
        let (one, other) = (ClaimToken::generate(), ClaimToken::generate());
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one, other);
    }
}
