//! Figures of all deliveries together.

use std::time::Duration;

use super::*;
use crate::events::database::{Gauges, Lag, MAX_COUNTED, MAX_RECENT};
use crate::model::delivery::Summary;

on_both! {
    a_database_without_events_has_figures,
    pending_deliveries_are_counted_by_attempt_and_by_whether_they_are_due,
    what_became_of_recent_deliveries_is_counted_and_older_ones_are_not,
    the_operators_events_of_the_last_day_are_counted_by_type,
}

async fn gauges(database: &SqlDatabase, seconds: i64) -> Gauges {
    database.gauges(at(seconds), None).await.expect("figures")
}

async fn a_database_without_events_has_figures(database: &SqlDatabase) {
    assert_eq!(gauges(database, 0).await, Gauges::default());
}

async fn pending_deliveries_are_counted_by_attempt_and_by_whether_they_are_due(
    database: &SqlDatabase,
) {
    publish(database, &event_for(0, &[1, 2, 3])).await;
    publish(database, &event_for(20, &[1])).await;
    let found = gauges(database, 10).await;
    assert_eq!((found.pending_first, found.pending_retries), (4, 0));
    assert_eq!((found.due_first, found.due_retries), (3, 0));
    assert_eq!(found.oldest_due, Duration::from_secs(10));
    // What is under way waits for nothing, until its lease ends.
    let claimed = claim(database, &claim_at(10)).await;
    assert_eq!(claimed.len(), 3);
    let found = gauges(database, 11).await;
    assert_eq!((found.pending_first, found.pending_retries), (1, 3));
    assert_eq!((found.due_first, found.due_retries), (0, 0));
    assert_eq!(found.oldest_due, Duration::ZERO);
    let found = gauges(database, 75).await;
    assert_eq!((found.due_first, found.due_retries), (1, 3));
    assert_eq!(found.oldest_due, Duration::from_secs(55));
}

async fn what_became_of_recent_deliveries_is_counted_and_older_ones_are_not(
    database: &SqlDatabase,
) {
    publish(database, &event_for(0, &[9])).await;
    let old = claim_one(database, 1).await;
    recorded(database, &old, FAILED, 1).await;
    publish(database, &event_for(400, &[1, 2, 3])).await;
    let mut claimed = claim(database, &claim_at(402)).await;
    claimed.retain(|claimed| claimed.held.key.webhook_id != hook(9));
    recorded(database, &claimed[0], Outcome::Succeeded, 402).await;
    recorded(database, &claimed[1], FAILED, 404).await;
    let found = gauges(database, 410).await;
    let recent = Summary {
        pending: 2,
        succeeded: 1,
        ..Summary::default()
    };
    assert_eq!(found.recent, recent);
    let mut attempts = found.recent_attempts;
    attempts.sort_unstable();
    assert_eq!(attempts, [(None, 1), (Some(AttemptError::HttpStatus), 1)]);
    let lag = Lag {
        mean: Duration::from_secs(3),
        max: Duration::from_secs(4),
    };
    assert_eq!(found.first_attempt_lag, Some(lag));
    // A second attempt is late on purpose.
    let again = claim(database, &claim_at(480)).await;
    let again = again
        .iter()
        .find(|claimed| claimed.held.number == 2 && claimed.held.key.webhook_id == hook(2));
    recorded(database, again.expect("a retry"), Outcome::Succeeded, 480).await;
    let found = gauges(database, 490).await;
    assert_eq!(found.first_attempt_lag, Some(lag));
    assert_eq!(found.recent.succeeded, 2);
    // Later nothing of it is recent.
    let found = gauges(database, 701).await;
    assert_eq!(found.recent, Summary::default());
    assert_eq!(
        (found.recent_attempts, found.first_attempt_lag),
        (Vec::new(), None)
    );
}

async fn the_operators_events_of_the_last_day_are_counted_by_type(database: &SqlDatabase) {
    const DAY: i64 = 86_400;
    let of_type = |seconds: i64, kind: &str| NewEvent {
        event_type: event_type(kind),
        ..event_for(seconds, &[])
    };
    for event in [
        of_type(0, "webhook.disabled"),
        of_type(60, "webhook.disabled"),
        of_type(61, "delivery.exhausted"),
        of_type(62, "delivery.exhausted"),
        // Its own, and what happened elsewhere.
        of_type(63, "session.completed"),
        NewEvent {
            application_id: ApplicationId::parse("other").expect("an id"),
            ..of_type(64, "webhook.disabled")
        },
    ] {
        publish(database, &event).await;
    }
    let shop = shop();
    let counts = async |seconds: i64| {
        let found = database.gauges(at(seconds), Some(&shop)).await;
        found.expect("figures").operational
    };
    // Failing, disabled, recovered, exhausted.
    assert_eq!(counts(100).await, Some([0, 2, 0, 2]));
    assert_eq!(counts(DAY + 30).await, Some([0, 1, 0, 2]));
    assert_eq!(counts(DAY + 90).await, Some([0; 4]));
    assert_eq!(gauges(database, 100).await.operational, None);
}

/// However much there is, so much is looked at.
#[test]
fn counts_end_somewhere() {
    let memory = Memory::default();
    let database = memory.scheduled(Vec::new());
    simulation::run(async {
        database.prepare().await.expect("the tables");
        let number = MAX_COUNTED + 5;
        // Ids of as many moments after the same one, a millisecond each.
        let id = "printf('evt_0190%08x70008000000000000000', n)";
        for sql in [
            format!(
                "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, attempts,
                   step, retry, give_up_at, created_at, next_at)
                 SELECT {id}, '{}', 'shop', 'a', 'pending', 1, 1, 0, 0, 0, 0 FROM n",
                hook(1)
            ),
            format!(
                "INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms,
                   url, secret_fingerprints, response_truncated)
                 SELECT {id}, '{}', 1, 'schedule', 7, 1, '', '[]', 0 FROM n WHERE n <= {MAX_RECENT} + 5",
                hook(1)
            ),
        ] {
            memory.rows(&format!(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {number}) {sql}"
            ));
        }
        let now = Timestamp::from_millis(0x0190_0000_0000);
        let found = database.gauges(now, None).await.expect("figures");
        assert_eq!(found.pending_first, MAX_COUNTED);
        assert_eq!(found.due_first, MAX_COUNTED);
        assert_eq!(found.recent.pending, MAX_RECENT);
        assert_eq!(found.recent_attempts, [(None, MAX_RECENT)]);
    });
}
