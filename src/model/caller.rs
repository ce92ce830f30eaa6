//! Whom a valid token names: a merchant, the platform itself, or a session of an application's portal.

use serde_json::Value;

use super::ids::MerchantId;
use super::portal::{Capability, PortalSession};

/// Whom a valid token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A merchant: its own applications, and nobody else's.
    Merchant(MerchantId),
    /// A system of the platform, which is no merchant: what its scopes allow, for any application.
    Platform(Scopes),
    /// A session of the portal: what its capabilities allow, for one application of a merchant.
    Portal(Box<PortalSession>),
}

impl Caller {
    /// The merchant, if it is one, or has opened one's portal.
    pub fn merchant(&self) -> Option<&MerchantId> {
        match self {
            Self::Merchant(merchant) => Some(merchant),
            Self::Platform(_) => None,
            Self::Portal(session) => Some(&session.merchant_id),
        }
    }

    /// The portal's session, if it is one.
    pub fn session(&self) -> Option<&PortalSession> {
        match self {
            Self::Portal(session) => Some(session),
            Self::Merchant(_) | Self::Platform(_) => None,
        }
    }

    /// Whether it may see what events happened to, and what endpoints answered.
    pub fn sees_payloads(&self) -> bool {
        sees_payloads(self.session())
    }

    /// Whether it may open the portal of any application.
    pub fn opens_portals(&self) -> bool {
        matches!(self, Self::Platform(scopes) if scopes.opens_portals)
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

/// Who reaches applications as their merchant does: the merchant, or, for one of them, a session of the
/// portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    merchant: MerchantId,
    session: Option<Box<PortalSession>>,
}

impl From<MerchantId> for Owner {
    fn from(merchant: MerchantId) -> Self {
        let session = None;
        Self { merchant, session }
    }
}

impl Owner {
    /// Who the caller is so; `None`: a system of the platform.
    pub fn of(caller: Caller) -> Option<Self> {
        match caller {
            Caller::Merchant(merchant) => Some(merchant.into()),
            Caller::Platform(_) => None,
            Caller::Portal(session) => Some(Self {
                merchant: session.merchant_id.clone(),
                session: Some(session),
            }),
        }
    }

    /// The merchant.
    pub fn merchant(&self) -> &MerchantId {
        &self.merchant
    }

    /// The portal's session, if it is one.
    pub fn session(&self) -> Option<&PortalSession> {
        self.session.as_deref()
    }

    /// As [`Caller::sees_payloads`].
    pub fn sees_payloads(&self) -> bool {
        sees_payloads(self.session())
    }
}

/// Who asks for an application.
pub trait Asks {
    /// The merchant, if it is one.
    fn asking_merchant(&self) -> Option<&MerchantId>;

    /// The portal's session, if it is one.
    fn asking_session(&self) -> Option<&PortalSession>;
}

impl Asks for Caller {
    fn asking_merchant(&self) -> Option<&MerchantId> {
        self.merchant()
    }

    fn asking_session(&self) -> Option<&PortalSession> {
        self.session()
    }
}

impl Asks for Owner {
    fn asking_merchant(&self) -> Option<&MerchantId> {
        Some(self.merchant())
    }

    fn asking_session(&self) -> Option<&PortalSession> {
        self.session()
    }
}

fn sees_payloads(session: Option<&PortalSession>) -> bool {
    session.is_none_or(|session| session.capabilities.has(Capability::ViewPayloads))
}

/// Which of the scopes that mean something here a token has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// It has the one of variable `publisher_scope`.
    pub publishes: bool,
    /// It has the one of variable `support_scope`.
    pub supports: bool,
    /// It has the one of variable `portal_scope`.
    pub opens_portals: bool,
}

impl Scopes {
    /// Reads the claim `scope`: names with spaces between them (RFC 8693 §4.2), or, as some
    /// identity providers write it, an array of names.
    pub fn of(claim: Option<&Value>, publisher: &str, support: &str, portal: &str) -> Self {
        let has = |name: &str| match claim {
            Some(Value::String(names)) => names.split(' ').any(|scope| scope == name),
            Some(Value::Array(names)) => names.iter().any(|scope| scope == name),
            _ => false,
        };
        Self {
            publishes: has(publisher),
            supports: has(support),
            opens_portals: has(portal),
        }
    }

    /// Whether it has any, and so is no merchant's.
    pub fn any(self) -> bool {
        self.publishes || self.supports || self.opens_portals
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
            let portal = "portal:create";
            let scopes = Scopes::of(Some(&claim), "events:publish", "events:read", portal);
            assert!(!scopes.opens_portals, "{claim}");
            assert_eq!(
                (scopes.publishes, scopes.supports),
                (publishes, supports),
                "{claim}"
            );
        }
        assert!(!Scopes::of(None, "a", "b", "c").any());
        let opens = Scopes::of(Some(&json!("c")), "a", "b", "c");
        assert!(opens.opens_portals && opens.any() && !opens.publishes && !opens.supports);
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
