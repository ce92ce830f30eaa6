//! What the service finds out about a webhook's endpoint by itself, and when it makes the webhook
//! inactive: the rule, without a clock.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// How many attempts must have failed before a webhook is made inactive: fewer can be one bad deploy.
pub const MIN_FAILED_ATTEMPTS: u32 = 20;

/// Of how many events: one that its endpoint never takes says nothing of the others.
pub const MIN_FAILED_EVENTS: u32 = 3;

/// After how long without a success the operator is informed.
pub const NOTICE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How soon a webhook that fails is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The failed attempts of a webhook since its last success. Those that failed by this service's own
/// fault are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// When its last attempt began that succeeded.
    pub last_success: Option<Timestamp>,
    /// When the first of them began; `None`: there are none.
    pub failing_since: Option<Timestamp>,
    /// How many there are, 1,000 at most.
    pub attempts: u32,
    /// Of how many events they are.
    pub events: u32,
}

/// Why the service made a webhook inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DisabledReason {
    /// Its endpoint returned 410 twice to the same event, at least five minutes apart.
    Gone,
    /// No attempt succeeded for as long as the platform waits.
    Failing,
}

impl DisabledReason {
    /// The name, in responses, events and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// A time without success that the operator was informed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failing {
    /// When its first failed attempt began.
    pub since: Timestamp,
    /// When an attempt succeeded that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_at: Option<Timestamp>,
}

/// That the service made the webhook inactive.
///
/// It ends one activation, the one that it names, and means nothing for later ones. So a merchant who
/// makes the webhook active is not overruled by a process that decided on what it read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disabled {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: DisabledReason,
    /// Which activation it ends: when the merchant last made the webhook active; `None`: it has been
    /// since its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Timestamp>,
}

/// What the service found out. Two of these merge, in whichever order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The last time without success that the operator was informed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
    /// The last time that the service made the webhook inactive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
}

impl Condition {
    /// Whether nothing was found out yet.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Takes over what is later in `other`. Of two that disabled one activation the first one counts.
    pub fn merge(&mut self, other: &Self) {
        self.failing = self.failing.max(other.failing);
        let order = |disabled: &Disabled| (disabled.activation, Reverse(disabled.at));
        let (own, others) = (self.disabled, other.disabled);
        self.disabled = own.into_iter().chain(others).max_by_key(order);
    }

    /// Since when nothing has succeeded, where the operator knows and no success was seen since.
    pub fn failing_since(&self) -> Option<Timestamp> {
        let failing = self.failing.filter(|it| it.recovered_at.is_none());
        failing.map(|failing| failing.since)
    }
}

/// When webhooks that fail are made inactive: variable `disable_after_hours`; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisableRule(pub Option<Duration>);

impl DisableRule {
    /// Whether the webhook is made inactive now. All must hold: nothing has succeeded for that long,
    /// [`MIN_FAILED_ATTEMPTS`] failed, of [`MIN_FAILED_EVENTS`].
    pub fn disables(self, failures: &Failures, now: Timestamp) -> bool {
        failures.attempts >= MIN_FAILED_ATTEMPTS
            && failures.events >= MIN_FAILED_EVENTS
            && self.will_disable_at(failures).is_some_and(|at| at <= now)
    }

    /// The earliest moment at which a failed attempt makes the webhook inactive; `None`: it does not
    /// fail, or none ever does.
    pub fn will_disable_at(self, failures: &Failures) -> Option<Timestamp> {
        Some(failures.failing_since?.plus(self.0?))
    }

    /// Whether the operator is informed: nothing has succeeded for [`NOTICE_AFTER`].
    pub fn is_noticed(failures: &Failures, now: Timestamp) -> bool {
        let since = failures.failing_since;
        since.is_some_and(|since| since.plus(NOTICE_AFTER) <= now)
    }

    /// From when on a failed attempt can change anything, so that not each one is a question to the
    /// database: the next of the moments above, and a minute later at the earliest.
    pub fn look_again_at(self, failures: &Failures, now: Timestamp) -> Timestamp {
        let notice = failures.failing_since.map(|it| it.plus(NOTICE_AFTER));
        let notice = notice.filter(|notice| *notice > now);
        let disable = self.will_disable_at(failures);
        let next = notice.into_iter().chain(disable).min();
        next.unwrap_or(now).max(now.plus(LOOK_AGAIN))
    }

    /// As [`Self::look_again_at`], after an attempt that succeeded at `now`.
    pub fn look_after_success_at(self, now: Timestamp) -> Timestamp {
        now.plus(self.0.unwrap_or(NOTICE_AFTER).min(NOTICE_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn hours(hours: u64) -> Timestamp {
        Timestamp::from_millis(1_768_464_000_000).plus(Duration::from_secs(hours * HOUR))
    }

    fn failures(attempts: u32, events: u32) -> Failures {
        Failures {
            last_success: None,
            failing_since: Some(hours(0)),
            attempts,
            events,
        }
    }

    fn rule(after_hours: u64) -> DisableRule {
        let after = (after_hours > 0).then(|| Duration::from_secs(after_hours * HOUR));
        DisableRule(after)
    }

    /// The rule as a table: how it has gone, for how many hours, attempts and events that failed, and
    /// whether the webhook is made inactive now.
    #[test]
    fn a_webhook_is_disabled_when_all_hold_and_never_before() {
        for (case, for_hours, attempts, events, is_disabled) in [
            ("nothing has failed", 0, 0, 0, false),
            ("one failure, just now", 0, 1, 1, false),
            (
                "one failure of a week ago, and nothing since",
                168,
                1,
                1,
                false,
            ),
            (
                "an event a week: one has failed for three days",
                75,
                10,
                1,
                false,
            ),
            ("an event a week: the second one fails", 168, 11, 2, false),
            (
                "an event a week: the second one has failed for three days",
                243,
                20,
                2,
                false,
            ),
            ("an event a week: the third one fails", 336, 21, 3, true),
            (
                "an event a day: the fifth day is not over",
                119,
                46,
                5,
                false,
            ),
            ("an event a day: the fifth day is over", 120, 46, 6, true),
            ("an event a minute, for a day", 24, 1000, 1000, false),
            ("an event a minute, for five days", 120, 1000, 1000, true),
            ("all but the attempts", 500, 19, 3, false),
            ("all but the events", 500, 1000, 2, false),
            ("all of it, and no more", 120, 20, 3, true),
        ] {
            let mut failures = failures(attempts, events);
            failures.failing_since = failures.failing_since.filter(|_| attempts > 0);
            let now = hours(for_hours);
            assert_eq!(rule(120).disables(&failures, now), is_disabled, "{case}");
            assert!(
                !rule(0).disables(&failures, now),
                "{case}, and none ever is"
            );
        }
    }

    #[test]
    fn it_is_known_before_when_that_is() {
        let will = |hours, failures: &Failures| rule(hours).will_disable_at(failures);
        assert_eq!(will(120, &failures(1, 1)), Some(hours(120)));
        assert_eq!(will(6, &failures(20, 3)), Some(hours(6)));
        assert_eq!(will(0, &failures(20, 3)), None);
        assert_eq!(will(120, &Failures::default()), None);
    }

    #[test]
    fn the_operator_is_informed_after_a_day() {
        let failures = failures(1, 1);
        let almost = Timestamp::from_millis(hours(24).as_millis() - 1);
        assert!(!DisableRule::is_noticed(&failures, almost));
        assert!(DisableRule::is_noticed(&failures, hours(24)));
        assert!(!DisableRule::is_noticed(&Failures::default(), hours(24)));
    }

    #[test]
    fn nobody_looks_before_something_can_have_changed() {
        let look = |hours, failures: &Failures, now| rule(hours).look_again_at(failures, now);
        let minute = |now: Timestamp| now.plus(LOOK_AGAIN);
        let many = failures(1000, 1000);
        assert_eq!(look(120, &many, hours(1)), hours(24));
        assert_eq!(look(6, &many, hours(1)), hours(6));
        assert_eq!(look(0, &many, hours(1)), hours(24));
        assert_eq!(look(120, &many, hours(30)), hours(120));
        assert_eq!(look(0, &many, hours(30)), minute(hours(30)));
        // What lacks are attempts: the next one can be the last.
        assert_eq!(look(120, &failures(3, 3), hours(121)), minute(hours(121)));
        let none = Failures::default();
        assert_eq!(look(120, &none, hours(1)), minute(hours(1)));
        assert_eq!(rule(120).look_after_success_at(hours(1)), hours(25));
        assert_eq!(rule(6).look_after_success_at(hours(1)), hours(7));
        assert_eq!(rule(0).look_after_success_at(hours(1)), hours(25));
    }

    fn disabled(activation: Option<u64>, at: u64) -> Condition {
        Condition {
            failing: None,
            disabled: Some(Disabled {
                at: hours(at),
                reason: DisabledReason::Failing,
                activation: activation.map(hours),
            }),
        }
    }

    fn failing(since: u64, recovered_at: Option<u64>) -> Condition {
        Condition {
            failing: Some(Failing {
                since: hours(since),
                recovered_at: recovered_at.map(hours),
            }),
            disabled: None,
        }
    }

    #[test]
    fn what_was_found_out_merges_in_any_order() {
        for (one, other, merged) in [
            (disabled(None, 5), disabled(None, 6), disabled(None, 5)),
            (
                disabled(None, 9),
                disabled(Some(7), 8),
                disabled(Some(7), 8),
            ),
            (failing(1, None), failing(1, Some(3)), failing(1, Some(3))),
            (failing(1, Some(3)), failing(2, None), failing(2, None)),
            (disabled(None, 5), Condition::default(), disabled(None, 5)),
        ] {
            for (mut first, second) in [(one, other), (other, one), (merged, one), (merged, other)]
            {
                first.merge(&second);
                assert_eq!(first, merged);
            }
        }
        assert_eq!(failing(1, None).failing_since(), Some(hours(1)));
        assert_eq!(failing(1, Some(3)).failing_since(), None);
    }

    #[test]
    fn a_document_has_what_was_found_out_and_nothing_else() {
        let mut condition = disabled(Some(1), 2);
        condition.merge(&failing(0, Some(3)));
        let document = serde_json::to_value(condition).unwrap();
        let expected = serde_json::json!({
            "failing": {
                "since": "2026-01-15T08:00:00.000Z", "recoveredAt": "2026-01-15T11:00:00.000Z",
            },
            "disabled": {
                "at": "2026-01-15T10:00:00.000Z", "reason": "failing",
                "activation": "2026-01-15T09:00:00.000Z",
            },
        });
        assert_eq!(document, expected);
        let read: Condition = serde_json::from_value(document).unwrap();
        assert_eq!(read, condition);
        assert_eq!(serde_json::to_string(&Condition::default()).unwrap(), "{}");
    }
}
