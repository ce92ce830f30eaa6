//! What an instance knows of dispatching that is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::events::database::Record;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;
use crate::runtime::Instant;

/// How long a look that has begun lets no other one begin in this instance.
pub const LOOKING: Duration = Duration::from_secs(60);

/// Of how many webhooks an instance remembers something.
const MAX_REMEMBERED: usize = 4096;

/// What an instance's pump does, and has done.
#[derive(Debug, Default)]
pub struct PumpState {
    /// Whether it runs.
    pub is_running: bool,
    /// Whether there may be something to claim that it does not know of.
    pub is_nudged: bool,
    /// When a request last asked for it.
    pub asked_at: Option<Instant>,
    /// When it last found nothing to do.
    pub idle_since: Option<Instant>,
    /// How often it claimed.
    pub claims: u32,
    /// When it last made fan-outs again.
    pub settled_at: Option<Instant>,
    /// When a recovery is due, by the database's last answer.
    pub recovery_due: Option<Timestamp>,
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

/// What an instance remembers of webhooks.
#[derive(Debug, Default)]
pub struct WatchState {
    /// From when on a failed attempt is a reason to look.
    look_at: BTreeMap<WebhookId, Timestamp>,
    /// In which hour a delivery last failed at the end of its schedule.
    exhausted: BTreeMap<WebhookId, i64>,
    /// What this instance is seeing to, or has.
    seen_to: BTreeSet<(WebhookId, Timestamp)>,
}

impl WatchState {
    /// Whether it is time to look at a webhook that fails; then nobody else of this instance does now.
    pub fn is_time(&mut self, webhook: WebhookId, now: Timestamp) -> bool {
        let is_time = self.look_at.get(&webhook).is_none_or(|at| *at <= now);
        if is_time {
            self.look_again(webhook, now.plus(LOOKING));
        }
        is_time
    }

    /// A failed attempt is a reason to look from then on.
    pub fn look_again(&mut self, webhook: WebhookId, at: Timestamp) {
        if self.look_at.len() >= MAX_REMEMBERED {
            self.look_at.clear();
        }
        self.look_at.insert(webhook, at);
    }

    /// Whether no other delivery was exhausted in that hour.
    pub fn is_first_of_hour(&mut self, webhook: WebhookId, hour: i64) -> bool {
        if self.exhausted.len() >= MAX_REMEMBERED {
            self.exhausted.clear();
        }
        self.exhausted.insert(webhook, hour) != Some(hour)
    }

    /// That a delivery was exhausted is not known after all.
    pub fn forget_exhausted(&mut self, webhook: WebhookId) {
        self.exhausted.remove(&webhook);
    }

    /// It is to be begun again.
    pub fn forget(&mut self, what: &(WebhookId, Timestamp)) {
        self.seen_to.remove(what);
    }

    /// Whether nobody of this instance sees to it, or has.
    pub fn begin(&mut self, what: (WebhookId, Timestamp)) -> bool {
        if self.seen_to.len() >= MAX_REMEMBERED {
            self.seen_to.clear();
        }
        self.seen_to.insert(what)
    }
}
