//! The rules of deliveries, each as a table.

use super::*;

const SCHEDULE: &str = "0,5,300,1800";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn schedule() -> RetrySchedule {
    RetrySchedule::parse(SCHEDULE).expect("a schedule")
}

/// A delivery that was made at 0, on this step.
fn on_step(step: u32) -> Progress {
    Progress {
        step,
        give_up_at: at(5000),
        deliver_before: None,
        gone_at: None,
    }
}

fn failed(status: u16) -> Outcome {
    Outcome::Failed {
        http_status: Some(status),
        retry_after: None,
    }
}

const UNREACHABLE: Outcome = Outcome::Failed {
    http_status: None,
    retry_after: None,
};

fn after(progress: Progress, outcome: Outcome, seconds: i64) -> Verdict {
    progress.after_attempt(outcome, &schedule(), at(seconds), 0)
}

fn before(progress: Progress, standing: Standing, seconds: i64) -> Decision {
    progress.before_attempt(standing, true, &schedule(), at(seconds), 0)
}

/// The state's status, its reason, and when it is due, in seconds.
fn shown(state: State) -> (DeliveryStatus, Option<DeliveryReason>, Option<i64>) {
    let next = state.next_at.map(Timestamp::as_secs);
    assert_eq!(next.is_some(), state.status == DeliveryStatus::Pending);
    assert_eq!(next.is_some(), state.completed_at.is_none());
    (state.status, state.reason, next)
}

fn pending(seconds: i64) -> (DeliveryStatus, Option<DeliveryReason>, Option<i64>) {
    (DeliveryStatus::Pending, None, Some(seconds))
}

fn ended(
    status: DeliveryStatus,
    reason: DeliveryReason,
) -> (DeliveryStatus, Option<DeliveryReason>, Option<i64>) {
    (status, Some(reason), None)
}

const EXPIRED: (DeliveryStatus, Option<DeliveryReason>, Option<i64>) =
    (DeliveryStatus::Expired, None, None);

#[test]
fn a_success_completes_a_delivery_on_every_step() {
    for step in 1..=4 {
        let verdict = after(on_step(step), Outcome::Succeeded, 77);
        let state = verdict.state;
        assert_eq!(shown(state), (DeliveryStatus::Succeeded, None, None));
        assert_eq!(state.completed_at, Some(at(77)));
        assert!(!verdict.endpoint_gone);
    }
}

#[test]
fn a_failure_is_repeated_after_the_next_pause_until_the_schedule_ends() {
    let exhausted = ended(DeliveryStatus::Failed, DeliveryReason::Exhausted);
    for outcome in [
        UNREACHABLE,
        failed(500),
        failed(302),
        failed(404),
        failed(401),
    ] {
        for (step, expected) in [
            (1, pending(105)),
            (2, pending(400)),
            (3, pending(1900)),
            (4, exhausted),
            (5, exhausted),
        ] {
            let state = after(on_step(step), outcome, 100).state;
            assert_eq!(shown(state), expected, "{outcome:?} on step {step}");
            assert_eq!(state.step, step);
        }
    }
}

#[test]
fn jitter_is_added_to_the_pause() {
    let verdict = on_step(2).after_attempt(UNREACHABLE, &schedule(), at(0), u16::MAX);
    assert_eq!(shown(verdict.state), pending(330));
}

#[test]
fn retry_after_counts_on_429_and_503_and_only_when_it_is_the_later_one() {
    let mut long = on_step(1);
    long.give_up_at = at(1_000_000);
    for (status, seconds, expected) in [
        (429, 60, 60),
        (503, 60, 60),
        (429, 2, 5),
        (503, 0, 5),
        (500, 60, 5),
        (404, 60, 5),
        (429, 86_400, 86_400),
        (429, u32::MAX, 86_400),
    ] {
        let outcome = Outcome::Failed {
            http_status: Some(status),
            retry_after: Some(seconds),
        };
        let state = after(long, outcome, 0).state;
        assert_eq!(shown(state), pending(expected), "{status}, {seconds} s");
    }
}

#[test]
fn an_attempt_after_the_schedules_end_is_not_made() {
    let outcome = Outcome::Failed {
        http_status: Some(503),
        retry_after: Some(86_400),
    };
    let state = after(on_step(1), outcome, 0).state;
    let exhausted = ended(DeliveryStatus::Failed, DeliveryReason::Exhausted);
    assert_eq!(shown(state), exhausted);
}

#[test]
fn an_endpoint_is_gone_when_it_says_so_twice_five_minutes_apart() {
    let once = after(on_step(1), failed(410), 100);
    assert_eq!(shown(once.state), pending(105));
    assert_eq!(once.state.gone_at, Some(at(100)));
    assert!(!once.endpoint_gone);

    let again = |outcome, seconds| {
        let gone_at = once.state.gone_at;
        after(
            Progress {
                gone_at,
                ..on_step(2)
            },
            outcome,
            seconds,
        )
    };
    let gone = ended(DeliveryStatus::Failed, DeliveryReason::Gone);
    for (outcome, seconds, expected) in [
        (failed(410), 399, pending(699)),
        (failed(410), 400, gone),
        (failed(410), 9000, gone),
        (failed(500), 400, pending(700)),
        // A clock that went back proves nothing.
        (failed(410), -900, pending(-600)),
    ] {
        let verdict = again(outcome, seconds);
        assert_eq!(shown(verdict.state), expected, "{outcome:?} at {seconds}");
        assert_eq!(verdict.endpoint_gone, expected == gone);
        assert_eq!(verdict.state.gone_at, Some(at(100)));
    }
}

#[test]
fn a_due_delivery_is_attempted_while_its_webhook_is_active() {
    for step in 1..=4 {
        // Late, too: while the dispatcher was away nothing was lost.
        for seconds in [0, 1_000_000] {
            let decision = before(on_step(step), Standing::Active, seconds);
            assert_eq!(decision, Decision::Attempt);
        }
    }
}

#[test]
fn an_attempt_beyond_the_schedule_is_not_made() {
    let Decision::Skip(state) = before(on_step(5), Standing::Active, 10) else {
        panic!("it is made");
    };
    let exhausted = ended(DeliveryStatus::Failed, DeliveryReason::Exhausted);
    assert_eq!(shown(state), exhausted);
}

#[test]
fn a_step_of_an_inactive_webhook_is_skipped_and_the_schedules_end_suppresses() {
    let give_up_at = on_step(1).give_up_at.as_secs();
    for (standing, reason) in [
        (Standing::Inactive, DeliveryReason::WebhookInactive),
        (
            Standing::ApplicationDisabled,
            DeliveryReason::ApplicationDisabled,
        ),
    ] {
        let suppressed = ended(DeliveryStatus::Suppressed, reason);
        for (step, seconds, expected, steps) in [
            (1, 100, pending(105), 1),
            (2, 100, pending(400), 2),
            (3, 100, pending(1900), 3),
            // The last step waits for the end, and can still be taken there.
            (4, 100, pending(give_up_at), 3),
            (3, give_up_at - 1, pending(give_up_at), 3),
            (4, give_up_at, suppressed, 4),
            (1, give_up_at + 9, suppressed, 1),
        ] {
            let Decision::Skip(state) = before(on_step(step), standing, seconds) else {
                panic!("it is made");
            };
            assert_eq!(shown(state), expected, "step {step} at {seconds}");
            assert_eq!(state.step, steps);
        }
    }
}

#[test]
fn a_webhook_that_is_active_again_at_the_schedules_end_gets_one_attempt() {
    let end = on_step(4).give_up_at.as_secs();
    let decision = before(on_step(4), Standing::Active, end);
    assert_eq!(decision, Decision::Attempt);
}

#[test]
fn a_deleted_webhook_and_erased_data_end_a_delivery() {
    let erased = |standing| on_step(1).before_attempt(standing, false, &schedule(), at(1), 0);
    let deleted = ended(DeliveryStatus::Suppressed, DeliveryReason::WebhookDeleted);
    let no_data = ended(DeliveryStatus::Suppressed, DeliveryReason::DataErased);
    for (decision, expected) in [
        (before(on_step(1), Standing::Deleted, 1), deleted),
        (erased(Standing::Deleted), deleted),
        (erased(Standing::Active), no_data),
        (erased(Standing::Inactive), no_data),
    ] {
        let Decision::Skip(state) = decision else {
            panic!("it is made");
        };
        assert_eq!(shown(state), expected);
    }
}

#[test]
fn a_delivery_expires_when_its_event_is_not_worth_delivering_any_more() {
    let until = |seconds| Progress {
        deliver_before: Some(at(seconds)),
        ..on_step(1)
    };
    for standing in [Standing::Active, Standing::Inactive] {
        let Decision::Skip(state) = before(until(50), standing, 50) else {
            panic!("it is made");
        };
        assert_eq!(shown(state), EXPIRED);
    }
    assert_eq!(before(until(50), Standing::Active, 49), Decision::Attempt);
    // The next attempt would be at 105.
    assert_eq!(shown(after(until(105), UNREACHABLE, 100).state), EXPIRED);
    assert_eq!(
        shown(after(until(106), UNREACHABLE, 100).state),
        pending(105)
    );
    let success = after(until(90), Outcome::Succeeded, 100).state;
    assert_eq!(success.status, DeliveryStatus::Succeeded);
}
