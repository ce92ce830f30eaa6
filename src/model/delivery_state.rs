//! What becomes of a delivery: the rules, as a state machine without a clock and without chance.

use std::time::Duration;

use super::delivery::{DeliveryReason, DeliveryStatus};
use super::retry_schedule::RetrySchedule;
use super::time::Timestamp;

/// How far apart two answers 410 must be for an endpoint to be gone.
const GONE_AFTER: Duration = Duration::from_secs(5 * 60);

/// What the next state of a delivery depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which step of the schedule the attempt is, from 1. Beyond the schedule's length, every step was
    /// taken, the last one without a record.
    pub step: u32,
    /// When no more attempts are scheduled.
    pub give_up_at: Timestamp,
    /// When the event stops being worth delivering.
    pub deliver_before: Option<Timestamp>,
    /// When the endpoint first returned 410.
    pub gone_at: Option<Timestamp>,
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Its status.
    pub status: DeliveryStatus,
    /// Why it failed or was suppressed.
    pub reason: Option<DeliveryReason>,
    /// How many steps of its schedule were taken.
    pub step: u32,
    /// When it is due; `None` unless it is pending.
    pub next_at: Option<Timestamp>,
    /// When the endpoint first returned 410.
    pub gone_at: Option<Timestamp>,
    /// When it got its status; `None` while it is pending.
    pub completed_at: Option<Timestamp>,
}

/// What the store says of the webhook, when a delivery for it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gets deliveries.
    Active,
    /// Its merchant made it inactive.
    Inactive,
    /// The service made it inactive.
    Disabled,
    /// Its application is disabled.
    ApplicationDisabled,
    /// It does not exist, or its application does not.
    Deleted,
}

/// What to do with a delivery that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make the attempt.
    Attempt,
    /// Make no request: this is its state.
    Skip(State),
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a status of 200 to 299.
    Succeeded,
    /// Otherwise.
    Failed {
        /// The status that the endpoint returned, if it returned one.
        http_status: Option<u16>,
        /// How many seconds the endpoint asked to wait.
        retry_after: Option<u32>,
    },
}

/// What an attempt leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The delivery's state.
    pub state: State,
    /// Whether the endpoint is gone, and the webhook is to be made inactive.
    pub endpoint_gone: bool,
}

impl Progress {
    /// What to do at `now` with a delivery that is due. `has_data`: its event was not erased.
    pub fn before_attempt(
        &self,
        standing: Standing,
        has_data: bool,
        schedule: &RetrySchedule,
        now: Timestamp,
        chance: u16,
    ) -> Decision {
        let suppressed = |reason| self.ended(DeliveryStatus::Suppressed, Some(reason), now);
        let state = match standing {
            Standing::Deleted => suppressed(DeliveryReason::WebhookDeleted),
            _ if !has_data => suppressed(DeliveryReason::DataErased),
            _ if self.is_too_late(now) => self.ended(DeliveryStatus::Expired, None, now),
            _ if self.step > schedule.attempts() => self.exhausted(now),
            Standing::Disabled => suppressed(DeliveryReason::WebhookInactive),
            Standing::Active => return Decision::Attempt,
            Standing::Inactive => {
                self.skipped(DeliveryReason::WebhookInactive, schedule, now, chance)
            }
            Standing::ApplicationDisabled => {
                self.skipped(DeliveryReason::ApplicationDisabled, schedule, now, chance)
            }
        };
        Decision::Skip(state)
    }

    /// What an attempt leads to that ended at `now`.
    pub fn after_attempt(
        &self,
        outcome: Outcome,
        schedule: &RetrySchedule,
        now: Timestamp,
        chance: u16,
    ) -> Verdict {
        let verdict = |state| Verdict {
            state,
            endpoint_gone: false,
        };
        let Outcome::Failed {
            http_status,
            retry_after,
        } = outcome
        else {
            return verdict(self.ended(DeliveryStatus::Succeeded, None, now));
        };
        let is_gone = http_status == Some(410);
        let gone_at = self.gone_at.or(is_gone.then_some(now));
        let first_gone = self.gone_at.filter(|first| is_gone && *first <= now);
        if first_gone.is_some_and(|first| first.distance(now) >= GONE_AFTER) {
            let reason = Some(DeliveryReason::Gone);
            return Verdict {
                state: self.ended(DeliveryStatus::Failed, reason, now),
                endpoint_gone: true,
            };
        }
        let Some(scheduled) = schedule.next_at(self.step, now, chance) else {
            return verdict(self.exhausted(now));
        };
        let asked = retry_after
            .filter(|_| matches!(http_status, Some(429 | 503)))
            .map(|seconds| RetrySchedule::retry_after(now, seconds));
        let state = self.pending(self.step, asked.unwrap_or(scheduled).max(scheduled), now);
        verdict(State { gone_at, ..state })
    }

    /// Due again at `next_at`, unless that is too late.
    fn pending(&self, step: u32, next_at: Timestamp, now: Timestamp) -> State {
        if self.is_too_late(next_at) {
            return self.ended(DeliveryStatus::Expired, None, now);
        }
        if next_at > self.give_up_at {
            return self.exhausted(now);
        }
        State {
            status: DeliveryStatus::Pending,
            reason: None,
            step,
            next_at: Some(next_at),
            gone_at: self.gone_at,
            completed_at: None,
        }
    }

    /// A step that passes without a request, because nobody is to get one now. The last step is not
    /// used up: it is taken when the schedule ends, if there is somebody by then.
    fn skipped(
        &self,
        reason: DeliveryReason,
        schedule: &RetrySchedule,
        now: Timestamp,
        chance: u16,
    ) -> State {
        if now >= self.give_up_at {
            return self.ended(DeliveryStatus::Suppressed, Some(reason), now);
        }
        let (step, next_at) = match schedule.next_at(self.step, now, chance) {
            Some(next_at) => (self.step, next_at.min(self.give_up_at)),
            None => (self.step - 1, self.give_up_at),
        };
        self.pending(step, next_at, now)
    }

    fn is_too_late(&self, moment: Timestamp) -> bool {
        self.deliver_before.is_some_and(|before| before <= moment)
    }

    fn exhausted(&self, now: Timestamp) -> State {
        let reason = Some(DeliveryReason::Exhausted);
        self.ended(DeliveryStatus::Failed, reason, now)
    }

    fn ended(
        &self,
        status: DeliveryStatus,
        reason: Option<DeliveryReason>,
        now: Timestamp,
    ) -> State {
        State {
            status,
            reason,
            step: self.step,
            next_at: None,
            gone_at: self.gone_at,
            completed_at: Some(now),
        }
    }
}

#[cfg(test)]
#[path = "delivery_state_tests.rs"]
mod tests;
