//! What is nobody's request's fault: a dependency failed, or we did. The store, the database, the identity
//! provider and the configuration fail with it; `http/error.rs` says what a client receives for it.

/// Why the service could not do its part. Its text is for the log: it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub enum Fault {
    /// A dependency failed, or answered what cannot be understood.
    Dependency(String),
    /// A document in the store is not what we write there.
    Unreadable(String),
    /// A dependency did not answer in time. What it was asked for may still take effect.
    Timeout(String),
    /// Our own fault, or the operator's.
    Internal(String),
}

impl Fault {
    /// Whether what was asked for may still take effect.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}
