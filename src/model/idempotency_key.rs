//! What the header `Idempotency-Key` names.

/// What the header names: 1 to 255 printable ASCII characters.
#[derive(Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key, bare or as a string of RFC 8941 §3.3.3, which the header's draft asks for: both
    /// name the same.
    pub fn parse(value: &str) -> Option<Self> {
        let key = match value.strip_prefix('"') {
            Some(rest) => unquoted(rest)?,
            None => value.to_owned(),
        };
        let printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (printable && (1..=255).contains(&key.len())).then_some(Self(key))
    }

    /// The key, without quotation marks around it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a string of RFC 8941 says, given all but its first quotation mark.
fn unquoted(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(text),
            '\\' => text.push(
                characters
                    .next()
                    .filter(|escaped| r#""\"#.contains(*escaped))?,
            ),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_quotation_marks_and_the_bare_one_are_the_same() {
        for (value, expected) in [
            ("8e03", Some("8e03")),
            ("\"8e03\"", Some("8e03")),
            ("~", Some("~")),
            ("a\"b", Some("a\"b")),
            (r#""a \"b\" \\""#, Some(r#"a "b" \"#)),
            ("", None),
            ("\"\"", None),
            ("\"8e03", None),
            ("\"8e03\"x", None),
            ("\"8e03\";a=1", None),
            (r#""8\e03""#, None),
            (r#""8e03\""#, None),
            ("8e\t03", None),
        ] {
            let parsed = IdempotencyKey::parse(value).map(|key| key.0);
            assert_eq!(parsed.as_deref(), expected, "{value}");
        }
        let longest = "k".repeat(255);
        assert!(IdempotencyKey::parse(&longest).is_some());
        assert!(IdempotencyKey::parse(&format!("\"{longest}\"")).is_some());
        assert!(IdempotencyKey::parse(&format!("\"{longest}k\"")).is_none());
    }
}
