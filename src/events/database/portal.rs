//! The codes that begin sessions of the portal: each is exchanged once.

use super::operation::Operation;
use crate::events::claim::ClaimToken;
use crate::model::ids::ApplicationId;
use crate::model::portal::{Capabilities, Generation, SessionId};
use crate::model::time::Timestamp;

/// A session that waits until its code is exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingSession {
    /// The application that it is good for.
    pub application_id: ApplicationId,
    /// What the log will name it by.
    pub session_id: SessionId,
    /// What it may do.
    pub capabilities: Capabilities,
    /// The generation that it was made in.
    pub generation: Option<Generation>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A code that is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCode {
    /// What is kept of it.
    pub hash: String,
    /// What it is exchanged for.
    pub session: WaitingSession,
    /// Now.
    pub created_at: Timestamp,
    /// Until when it can be exchanged.
    pub expires_at: Timestamp,
    /// Since when the application's codes are counted.
    pub counted_since: Timestamp,
    /// How many there may be, this one included.
    pub limit: u32,
}

/// The portal's codes in the database. As for [`Database`](super::Database), each operation can be repeated
/// after a failure, and fails as those do.
pub trait PortalCodes {
    /// Keeps a code, unless the application has had as many lately as it may. Repeated with the same hash,
    /// it changes nothing. Returns whether it is kept.
    fn keep_code<'a>(&'a self, code: &'a NewCode) -> Operation<'a, bool>;

    /// What a code can be exchanged for; `None`: it is unknown, was exchanged, or expired.
    fn find_code<'a>(
        &'a self,
        hash: &'a str,
        now: Timestamp,
    ) -> Operation<'a, Option<WaitingSession>>;

    /// Exchanges a code. Of all who try one does it: who repeats it with the same claim does it again.
    /// Returns whether it was this one.
    fn take_code<'a>(
        &'a self,
        hash: &'a str,
        claim: ClaimToken,
        now: Timestamp,
    ) -> Operation<'a, bool>;

    /// Deletes up to `limit` codes that were made before `before`. Returns how many; fewer than `limit`:
    /// there are no more.
    fn forget_codes(&self, before: Timestamp, limit: u32) -> Operation<'_, u32>;
}
