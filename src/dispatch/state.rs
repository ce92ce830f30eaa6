//! What an instance knows of dispatching that is under way.

use std::collections::BTreeSet;

use crate::events::database::Record;
use crate::model::ids::ApplicationId;
use crate::model::time::Timestamp;
use crate::runtime::Instant;

/// What an instance's pump does, and has done.
#[derive(Debug, Default)]
pub struct PumpState {
    /// Whether it runs.
    pub is_running: bool,
    /// Whether there may be something to claim that it does not know of.
    pub is_nudged: bool,
    /// When it last found nothing to do.
    pub idle_since: Option<Instant>,
    /// How often it claimed.
    pub claims: u32,
    /// When it last made fan-outs again.
    pub settled_at: Option<Instant>,
    /// When it last found no recovery to carry on.
    pub recovered_at: Option<Instant>,
    /// When it last did what is beside deliveries.
    pub kept_house_at: Option<Instant>,
}

/// An attempt that has ended and is not recorded yet.
pub struct Ended {
    /// What is to be recorded.
    pub record: Record,
    /// When its lease ends. Then somebody else makes the attempt again.
    pub until: Timestamp,
}

/// What an instance has looked at.
#[derive(Debug, Default)]
pub struct RetentionState {
    /// When it looks next.
    pub look_at: Option<Instant>,
    /// Those that were gone, and are looked at again.
    pub gone: BTreeSet<ApplicationId>,
}
