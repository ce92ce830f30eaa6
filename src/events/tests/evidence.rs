//! What a proof states of a delivery.

use super::*;
use crate::events::database::Evidence;

on_both! {
    evidence_has_every_attempt_and_outlives_the_data,
    there_is_evidence_only_under_its_own_application_and_webhook,
}

async fn evidence(database: &SqlDatabase, id: EventId, number: u8) -> Option<Evidence> {
    let read = database.evidence(&shop(), id, hook(number)).await;
    read.expect("it is read")
}

async fn evidence_has_every_attempt_and_outlives_the_data(database: &SqlDatabase) {
    let event = event_for(0, &[1, 2]);
    let id = publish(database, &event).await;
    let pending = evidence(database, id, 1).await.expect("a delivery");
    assert_eq!(pending.attempts, []);
    assert_eq!(pending.delivery.status, DeliveryStatus::Pending);
    for (seconds, outcome) in [(1, FAILED), (10, Outcome::Succeeded)] {
        let mut claimed = claim(database, &claim_at(seconds)).await;
        claimed.retain(|claimed| claimed.held.key.webhook_id == hook(1));
        recorded(database, &claimed[0], outcome, seconds).await;
    }
    let before = evidence(database, id, 1).await.expect("a delivery");
    assert_eq!(before.event.id, id);
    assert_eq!(before.event.size_bytes as usize, event.body.len());
    assert_eq!(before.erased_at, None);
    assert_eq!(before.delivery.status, DeliveryStatus::Succeeded);
    assert_eq!(before.delivery.last_attempt, None);
    let attempts = database.delivery(id, hook(1)).await.expect("it is read");
    let attempts = attempts.expect("a delivery").attempts.expect("attempts");
    let stated: Vec<_> = before
        .attempts
        .iter()
        .map(|stated| stated.attempt.clone())
        .collect();
    assert_eq!(stated, attempts);
    assert_eq!(stated.len(), 2);
    let digest = Some("0".repeat(64));
    assert!(
        before
            .attempts
            .iter()
            .all(|stated| stated.response_sha256 == digest)
    );

    assert_eq!(database.erase(&shop(), id, at(20)).await, Ok(true));
    let mut after = evidence(database, id, 1).await.expect("a delivery");
    assert_eq!(after.erased_at, Some(at(20)));
    after.erased_at = None;
    for (after, before) in after.attempts.iter_mut().zip(&before.attempts) {
        assert_eq!(after.attempt.response_body, None);
        after
            .attempt
            .response_body
            .clone_from(&before.attempt.response_body);
    }
    assert_eq!(after, before);
}

async fn there_is_evidence_only_under_its_own_application_and_webhook(database: &SqlDatabase) {
    let id = publish(database, &event_for(0, &[1])).await;
    assert!(evidence(database, id, 1).await.is_some());
    assert_eq!(evidence(database, id, 2).await, None);
    let other = ApplicationId::parse("other").expect("an id");
    let read = database.evidence(&other, id, hook(1)).await;
    assert_eq!(read, Ok(None));
}
