//! Whom a valid token names: a merchant, or the platform itself.

use serde_json::Value;

use super::ids::MerchantId;

/// Whom a valid token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A merchant: its own applications, and nobody else's.
    Merchant(MerchantId),
    /// A system of the platform, which is no merchant: what its scopes allow, for any application.
    Platform(Scopes),
}

impl Caller {
    /// The merchant, if it is one.
    pub fn merchant(&self) -> Option<&MerchantId> {
        match self {
            Self::Merchant(merchant) => Some(merchant),
            Self::Platform(_) => None,
        }
    }

    /// Whether it may publish events.
    pub fn publishes(&self) -> bool {
        matches!(self, Self::Platform(scopes) if scopes.publishes)
    }

    /// Whether it may read the events of any application.
    pub fn supports(&self) -> bool {
        matches!(self, Self::Platform(scopes) if scopes.supports)
    }
}

/// Which of the scopes that mean something here a token has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// It has the one of variable `publisher_scope`.
    pub publishes: bool,
    /// It has the one of variable `support_scope`.
    pub supports: bool,
}

impl Scopes {
    /// Reads the claim `scope`: names with spaces between them (RFC 8693 §4.2), or, as some
    /// identity providers write it, an array of names.
    pub fn of(claim: Option<&Value>, publisher: &str, support: &str) -> Self {
        let has = |name: &str| match claim {
            Some(Value::String(names)) => names.split(' ').any(|scope| scope == name),
            Some(Value::Array(names)) => names.iter().any(|scope| scope == name),
            _ => false,
        };
        Self {
            publishes: has(publisher),
            supports: has(support),
        }
    }

    /// Whether it has any, and so is no merchant's.
    pub fn any(self) -> bool {
        self.publishes || self.supports
    }
}

/// Whether `text` can be the name of a scope (RFC 6749 §3.3).
pub fn is_scope(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scopes_are_names_in_a_string_or_an_array() {
        for (claim, publishes, supports) in [
            (json!("events:publish"), true, false),
            (json!("openid events:publish events:read"), true, true),
            (json!(["openid", "events:read"]), false, true),
            (json!("events:publisher"), false, false),
            (json!("Events:Publish"), false, false),
            (json!(["events:publish events:read"]), false, false),
            (json!([["events:publish"]]), false, false),
            (json!({"events:publish": true}), false, false),
            (json!(null), false, false),
        ] {
            let scopes = Scopes::of(Some(&claim), "events:publish", "events:read");
            assert_eq!(
                (scopes.publishes, scopes.supports),
                (publishes, supports),
                "{claim}"
            );
        }
        assert!(!Scopes::of(None, "a", "b").any());
    }

    #[test]
    fn a_scope_has_no_space_and_no_quotation_mark() {
        for good in ["events:publish", "https://example.com/publish", "!"] {
            assert!(is_scope(good), "{good}");
        }
        for bad in ["", "a b", "a\"", "a\\", "é"] {
            assert!(!is_scope(bad), "{bad}");
        }
    }
}
