//! What several documents say of one webhook.

use super::*;
use crate::model::condition::{Condition, Failing};
use crate::model::rotation::Rotation;

fn stored(name: &str) -> StoredSecret {
    serde_json::from_value(serde_json::json!({"fingerprint": name, "sealed": "x"})).unwrap()
}

fn webhook() -> Webhook {
    Webhook::new(WebhookRecord {
        is_tracked: true,
        v: WebhookRecord::VERSION,
        id: WebhookId::generate(),
        application_id: None,
        url: "https://example.com/".to_owned(),
        is_active: true,
        subscribed_events: SubscribedEvents::Every,
        secret: stored("0"),
        created_at: Timestamp::from_millis(0),
        is_repeatable: false,
    })
}

fn rotation(name: &str, at_secs: i64, grace: u32) -> Rotation {
    Rotation {
        id: WebhookId::generate(),
        secret: stored(name),
        rotated_at: Timestamp::from_millis(at_secs * 1000),
        grace_period_seconds: grace,
    }
}

fn live(webhook: &Webhook, at_secs: i64) -> Vec<&str> {
    webhook
        .live_secrets(Timestamp::from_millis(at_secs * 1000))
        .iter()
        .map(|secret| secret.fingerprint.as_str())
        .collect()
}

/// An earlier release wrote it into the settings.
#[test]
fn what_an_earlier_release_disabled_says_so_until_the_merchant_enables_it() {
    let earlier = r#"{"url":"https://example.com/","isActive":false,"subscribedEvents":["*"],
        "updatedAt":"2026-01-15T08:01:00.000Z","disabledAt":"2026-01-15T08:01:00.000Z",
        "disabledReason":"gone"}"#;
    let mut settings: WebhookSettings = serde_json::from_str(earlier).unwrap();
    let disabled_at = settings.updated_at;
    let mut webhook = webhook();
    webhook.settings = Some(settings.clone());
    assert!(!webhook.is_active());
    let disabled = webhook.disabled().expect("disabled");
    assert_eq!(
        (disabled.at, disabled.reason),
        (disabled_at, DisabledReason::Gone)
    );
    let now = disabled_at.plus_secs(60);
    settings.set_active(false, now);
    assert_eq!(settings.disabled_reason, Some(DisabledReason::Gone));
    settings.set_active(true, now);
    let document = serde_json::to_value(&settings).unwrap();
    assert_eq!(document.as_object().unwrap().len(), 5);
    assert_eq!(document["activatedAt"], "2026-01-15T08:02:00.000Z");
    webhook.settings = Some(settings);
    assert!(webhook.is_active() && webhook.disabled().is_none());
}

/// The service makes it inactive at that second, on what it read of its merchant's `settings` before.
fn disable(webhook: &mut Webhook, at_secs: i64, settings: &WebhookSettings) {
    let found = Condition {
        failing: None,
        disabled: Some(Disabled {
            at: Timestamp::from_millis(at_secs * 1000),
            reason: DisabledReason::Failing,
            activation: settings.activated_at,
        }),
    };
    webhook.rotations.condition.merge(&found);
}

#[test]
fn a_disabling_ends_the_activation_that_it_was_decided_on_and_no_later_one() {
    let second = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    let mut webhook = webhook();
    let first = WebhookSettings::from(webhook.settings());
    disable(&mut webhook, 10, &first);
    assert!(!webhook.is_active());
    assert_eq!(webhook.updated_at(), second(10));

    // A change of the URL, whenever it was decided on, leaves it so.
    let mut settings = WebhookSettings::from(webhook.settings());
    settings.set_url("https://other.example.com/", second(20));
    webhook.settings = Some(settings.clone());
    assert!(!webhook.is_active());
    assert_eq!(webhook.counts_since(), second(20));

    // Its merchant makes it active: by a clock that is late, too.
    settings.set_active(true, second(5));
    webhook.settings = Some(settings.clone());
    assert!(webhook.is_active() && webhook.disabled().is_none());

    // Who read it before that decides too late.
    disable(&mut webhook, 30, &first);
    assert!(webhook.is_active());
    disable(&mut webhook, 40, &settings);
    assert_eq!(webhook.disabled().map(|it| it.at), Some(second(40)));

    // Within the same millisecond, again.
    settings.set_active(true, second(5));
    webhook.settings = Some(settings.clone());
    assert!(webhook.is_active());

    // What its merchant has switched off is the merchant's doing.
    disable(&mut webhook, 50, &settings);
    settings.set_active(false, second(60));
    webhook.settings = Some(settings);
    assert!(!webhook.is_active() && webhook.disabled().is_none());
}

#[test]
fn failures_count_from_what_the_merchant_did_last_and_from_what_is_known() {
    let second = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    let mut webhook = webhook();
    assert_eq!(webhook.counts_since(), second(0));
    let found = |last_success: Option<i64>, since: i64| Failures {
        last_success: last_success.map(second),
        failing_since: Some(second(since)),
        attempts: 5,
        events: 2,
    };
    assert_eq!(webhook.failures(found(None, 50)), found(None, 50));
    // The attempts of second 30 are not kept any more.
    webhook.rotations.condition.failing = Some(Failing {
        since: second(30),
        recovered_at: None,
    });
    assert_eq!(webhook.failures(found(None, 50)), found(None, 30));
    assert_eq!(webhook.failures(found(Some(20), 50)), found(Some(20), 30));
    assert_eq!(webhook.failures(found(Some(40), 50)), found(Some(40), 50));
    let mut settings = WebhookSettings::from(webhook.settings());
    settings.set_url("https://other.example.com/", second(45));
    webhook.settings = Some(settings);
    assert_eq!(webhook.failures(found(None, 50)), found(None, 50));
}

#[test]
fn an_old_secret_lives_until_the_grace_period_that_replaced_it_ends() {
    let mut webhook = webhook();
    assert_eq!(live(&webhook, 5), ["0"]);
    webhook.rotations.add(rotation("1", 10, 100));
    assert_eq!(live(&webhook, 10), ["1", "0"]);
    assert_eq!(live(&webhook, 109), ["1", "0"]);
    assert_eq!(live(&webhook, 110), ["1"]);
}

#[test]
fn a_rotation_without_grace_ends_all_earlier_secrets_at_once() {
    let mut webhook = webhook();
    webhook.rotations.add(rotation("1", 10, 100));
    webhook.rotations.add(rotation("2", 20, 100));
    assert_eq!(live(&webhook, 20), ["2", "1", "0"]);
    webhook.rotations.add(rotation("3", 30, 0));
    assert_eq!(live(&webhook, 30), ["3"]);
    // Those after it have a grace of their own again.
    webhook.rotations.add(rotation("4", 40, 100));
    assert_eq!(live(&webhook, 40), ["4", "3"]);
    // Their secrets are not kept any longer.
    webhook.rotations.prune(Timestamp::from_millis(40_000));
    let kept = serde_json::to_string(&webhook.rotations).unwrap();
    assert!(!kept.contains(r#""fingerprint":"2""#), "{kept}");
    assert_eq!(live(&webhook, 40), ["4", "3"]);
}

#[test]
fn a_secret_that_has_ended_is_known_until_a_rotation_drops_it() {
    let mut webhook = webhook();
    let ended = |webhook: &Webhook, at_secs: i64| {
        let ended = webhook.ended_secrets(Timestamp::from_millis(at_secs * 1000));
        let ended = ended.iter().map(|secret| secret.fingerprint.clone());
        ended.collect::<Vec<_>>()
    };
    assert_eq!(ended(&webhook, 0), [""; 0]);
    webhook.rotations.add(rotation("1", 10, 100));
    assert_eq!(ended(&webhook, 10), [""; 0]);
    assert_eq!(ended(&webhook, 110), ["0"]);
    webhook.rotations.add(rotation("2", 200, 100));
    assert_eq!(ended(&webhook, 200), ["0"]);
    assert_eq!(ended(&webhook, 300), ["1", "0"]);
    webhook.rotations.prune(Timestamp::from_millis(300_000));
    assert_eq!(ended(&webhook, 300), [""; 0]);
}

#[test]
fn a_previous_secret_says_when_it_ends() {
    let mut webhook = webhook();
    assert_eq!(webhook.previous_secrets(Timestamp::from_millis(0)), []);
    webhook.rotations.add(rotation("1", 10, 100));
    webhook.rotations.add(rotation("2", 20, 5));
    let previous = |at_secs: i64| {
        let now = Timestamp::from_millis(at_secs * 1000);
        let previous = webhook.previous_secrets(now);
        let previous = previous.into_iter();
        previous
            .map(|(secret, until)| (secret.fingerprint.clone(), until.as_secs()))
            .collect::<Vec<_>>()
    };
    let (first, second) = (("0".to_owned(), 110), ("1".to_owned(), 25));
    assert_eq!(previous(20), [second, first.clone()]);
    assert_eq!(previous(25), [first]);
    assert_eq!(previous(110), []);
}

/// Also where the machine that made the one before has a clock that is ahead.
#[test]
fn a_rotation_comes_after_those_that_its_request_has_seen() {
    let mut rotations = Rotations::default();
    let now = Timestamp::from_millis(5_000);
    assert_eq!(rotations.next_at(now), now);
    for name in ["1", "2", "3"] {
        let mut next = rotation(name, 0, 0);
        next.rotated_at = rotations.next_at(now);
        let id = next.id;
        rotations.add(next);
        assert_eq!(rotations.newest().map(|newest| newest.id), Some(id));
    }
    rotations.add(rotation("4", 100, 0));
    assert!(rotations.next_at(now) > Timestamp::from_millis(100_000));
}

#[test]
fn pruning_changes_no_answer() {
    for now in [0, 10, 20, 25, 31, 60, 111, 500] {
        let mut webhook = webhook();
        for (name, at, grace) in [("1", 10, 100), ("2", 20, 5), ("3", 30, 0), ("4", 31, 90)] {
            if at <= now {
                webhook.rotations.add(rotation(name, at, grace));
            }
        }
        let before: Vec<String> = live(&webhook, now)
            .iter()
            .map(|s| (*s).to_owned())
            .collect();
        webhook.rotations.prune(Timestamp::from_millis(now * 1000));
        assert_eq!(live(&webhook, now), before, "at {now}");
        assert!(live(&webhook, 10_000).len() == 1);
    }
}

#[test]
fn at_most_five_old_secrets_live() {
    let mut webhook = webhook();
    for number in 1..=9 {
        webhook
            .rotations
            .add(rotation(&number.to_string(), number, 1000));
        webhook
            .rotations
            .prune(Timestamp::from_millis(number * 1000));
    }
    assert_eq!(live(&webhook, 10), ["9", "8", "7", "6", "5", "4"]);
}

#[test]
fn a_rotation_that_is_taken_back_leaves_the_secrets_as_they_were() {
    let mut webhook = webhook();
    for number in 1..=5 {
        webhook
            .rotations
            .add(rotation(&number.to_string(), number, 1000));
    }
    let before = webhook.rotations.clone();
    assert_eq!(live(&webhook, 10), ["5", "4", "3", "2", "1", "0"]);
    // Two fail one after the other; each drops the oldest secret.
    let failed = [rotation("x", 11, 0), rotation("y", 12, 0)];
    for rotation in &failed {
        webhook.rotations.add(rotation.clone());
        webhook.rotations.prune(Timestamp::from_millis(12_000));
    }
    assert_eq!(live(&webhook, 12)[0], "y");
    for rotation in &failed {
        webhook.rotations.remove_uncommitted(rotation.id, &before);
    }
    assert_eq!(webhook.rotations, before);
    assert_eq!(live(&webhook, 12), ["5", "4", "3", "2", "1", "0"]);
}

#[test]
fn rotations_merge_into_their_union_in_any_order() {
    let (a, b) = (rotation("a", 10, 60), rotation("b", 10, 60));
    let with = |list: &[&Rotation]| {
        let mut rotations = Rotations::default();
        for rotation in list {
            rotations.add((*rotation).clone());
        }
        rotations
    };
    let mut one = with(&[&a]);
    one.merge(&with(&[&b]));
    let mut two = with(&[&b, &a]);
    two.merge(&with(&[&a]));
    assert_eq!(one, two);
}
