//! Why a bearer token is refused, and the challenge that says so (RFC 6750).

use http::HeaderValue;

/// Why a bearer token is refused: a few things that the response says (RFC 6750 §3), and for the
/// rest what is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// It is past its `exp` (RFC 7519 §4.1.4).
    Expired,
    /// It is before its `nbf` (RFC 7519 §4.1.5).
    NotYetValid,
    /// There is no key with its `kid` and `alg`.
    NoSuchKey,
    /// It has not the form of a token, and what is wrong with it.
    Malformed(&'static str),
    /// It is longer than the longest that is looked at.
    TooLong,
    /// Anything else, which the response does not say.
    Refused(&'static str),
}

impl TokenProblem {
    /// The `error_description` of the challenge: printable ASCII without quotation marks and
    /// backslashes (RFC 6750 §3).
    pub fn description(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("The token expired"),
            Self::NotYetValid => Some("The token is not valid yet"),
            Self::NoSuchKey => Some("No such key: none has the token's kid and alg"),
            Self::Malformed(_) => Some("The token is malformed"),
            Self::TooLong => Some("The token is longer than 16384 bytes"),
            Self::Refused(_) => None,
        }
    }

    /// What the log says of it.
    pub fn log_detail(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not valid yet",
            Self::NoSuchKey => "no key has its kid and alg",
            Self::TooLong => "longer than 16384 bytes",
            Self::Malformed(why) | Self::Refused(why) => why,
        }
    }

    /// The header `WWW-Authenticate` (RFC 6750 §3 and §3.1).
    pub fn challenge(self) -> HeaderValue {
        let challenge = match self.description() {
            Some(text) => format!(r#"Bearer error="invalid_token", error_description="{text}""#),
            None => r#"Bearer error="invalid_token""#.to_owned(),
        };
        HeaderValue::from_str(&challenge).expect("descriptions are printable ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_needs_no_escapes() {
        for problem in [
            TokenProblem::Expired,
            TokenProblem::NotYetValid,
            TokenProblem::NoSuchKey,
            TokenProblem::Malformed("\"secret\""),
            TokenProblem::TooLong,
        ] {
            let description = problem.description().unwrap();
            // RFC 6750 §3.
            let legal = |byte| matches!(byte, b' '..=b'!' | b'#'..=b'[' | b']'..=b'~');
            assert!(description.bytes().all(legal), "{description}");
            assert_eq!(
                problem.challenge(),
                format!(r#"Bearer error="invalid_token", error_description="{description}""#)
            );
        }
        let other = TokenProblem::Refused("wrong aud").challenge();
        assert_eq!(other, r#"Bearer error="invalid_token""#);
    }
}
