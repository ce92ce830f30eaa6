//! How a webhook has been doing.

use super::*;
use crate::events::database::{
    Failures, MAX_SAMPLED, Outcomes, Pending, SampledAttempts, WebhookFigures,
};
use crate::model::delivery::{DeliveryReason, Summary};

on_both! {
    a_webhook_of_which_nothing_is_known_has_no_figures,
    figures_count_deliveries_and_attempts_of_the_hours_that_were_asked_for,
    percentiles_are_of_attempts_that_were_made,
    failures_of_our_own_count_for_nothing,
    what_was_published_later_is_not_suppressed,
}

async fn figures(database: &SqlDatabase, since: i64) -> WebhookFigures {
    let figures = database.figures(hook(1), at(since), at(0)).await;
    figures.expect("figures")
}

async fn a_webhook_of_which_nothing_is_known_has_no_figures(database: &SqlDatabase) {
    assert_eq!(figures(database, 0).await, WebhookFigures::default());
}

/// One that succeeds, one that fails, one that waits, and one of another webhook, ten seconds apart.
async fn figures_count_deliveries_and_attempts_of_the_hours_that_were_asked_for(
    database: &SqlDatabase,
) {
    for (seconds, outcome) in [(10, Outcome::Succeeded), (20, FAILED)] {
        publish(database, &event_for(seconds, &[1])).await;
        let claimed = claim_one(database, seconds).await;
        recorded(database, &claimed, outcome, seconds).await;
    }
    // The one that failed is due again at 25.
    publish(database, &event_for(30, &[1, 2])).await;
    let all = figures(database, 0).await;
    let by_status = Summary {
        pending: 2,
        succeeded: 1,
        ..Summary::default()
    };
    assert_eq!(all.deliveries.by_status, by_status);
    assert_eq!(all.deliveries.oldest, Some(at(10)));
    let mut outcomes = all.attempts.outcomes.clone();
    outcomes.sort_by_key(|outcomes| outcomes.http_status_code);
    let outcome = |http_status_code, error| Outcomes {
        http_status_code: Some(http_status_code),
        error,
        count: 1,
    };
    let failed = outcome(500, Some(AttemptError::HttpStatus));
    assert_eq!(outcomes, [outcome(200, None), failed]);
    assert_eq!(all.attempts.oldest, Some(at(10)));
    let pending = Pending {
        count: 2,
        oldest_due_at: Some(at(25)),
    };
    assert_eq!(all.pending, pending);
    let failures = Failures {
        last_success: Some(at(10)),
        failing_since: Some(at(20)),
        attempts: 1,
        events: 1,
    };
    assert_eq!(all.failures, failures);

    let later = figures(database, 20).await;
    assert_eq!(later.deliveries.by_status.total(), 2);
    assert_eq!(later.deliveries.oldest, Some(at(20)));
    assert_eq!(later.attempts.outcomes, [failed]);
    assert_eq!(later.attempts.oldest, Some(at(20)));
    assert_eq!((later.pending, later.failures), (pending, failures));
}

async fn percentiles_are_of_attempts_that_were_made(database: &SqlDatabase) {
    // 1 to 200 ms, in another order.
    for number in 0..200_u32 {
        let seconds = i64::from(number);
        publish(database, &event_for(seconds, &[1])).await;
        let claimed = claim_one(database, seconds).await;
        let mut record = record(&claimed, Outcome::Succeeded, seconds);
        let attempt = record.attempt.as_mut().expect("an attempt");
        attempt.duration_ms = number * 7 % 200 + 1;
        assert_eq!(database.record(&[record]).await, Ok(Vec::new()));
        let SampledAttempts {
            p50_ms,
            p95_ms,
            p99_ms,
            ..
        } = match number {
            0 | 199 => figures(database, 0).await.attempts,
            _ => continue,
        };
        let expected = match number {
            0 => [1, 1, 1],
            _ => [100, 190, 198],
        };
        assert_eq!([p50_ms, p95_ms, p99_ms], expected.map(Some));
    }
}

async fn failures_of_our_own_count_for_nothing(database: &SqlDatabase) {
    for (seconds, error) in [
        (10, AttemptError::Internal),
        (20, AttemptError::Connect),
        (30, AttemptError::Internal),
    ] {
        publish(database, &event_for(seconds, &[1])).await;
        // Those of before are due again, too.
        for claimed in claim(database, &claim_at(seconds)).await {
            let mut record = record(&claimed, FAILED, seconds);
            record.attempt = Some(attempt(claimed.trigger, seconds, Some(error)));
            assert_eq!(database.record(&[record]).await, Ok(Vec::new()));
        }
    }
    let failures = Failures {
        last_success: None,
        failing_since: Some(at(20)),
        attempts: 2,
        events: 2,
    };
    assert_eq!(database.failures(hook(1), at(0)).await, Ok(failures));
    let errors = figures(database, 0).await.attempts.outcomes;
    let internal = errors
        .iter()
        .filter(|it| it.error == Some(AttemptError::Internal));
    assert_eq!(internal.map(|it| it.count).sum::<u32>(), 3);
}

async fn what_was_published_later_is_not_suppressed(database: &SqlDatabase) {
    let ids: Vec<_> = (1..=3).map(|seconds| event_for(seconds, &[1])).collect();
    for event in &ids {
        publish(database, event).await;
    }
    let reason = DeliveryReason::WebhookInactive;
    let suppressed = database.suppress(hook(1), reason, at(2), at(9), 10).await;
    assert_eq!(suppressed, Ok(2));
    let statuses = [
        DeliveryStatus::Suppressed,
        DeliveryStatus::Suppressed,
        DeliveryStatus::Pending,
    ];
    for (event, expected) in ids.iter().zip(statuses) {
        assert_eq!(status(database, event.id, 1).await, expected);
    }
}

/// Of a webhook that gets more, the newest are counted, and when the oldest of these was is known.
#[test]
fn no_more_than_so_many_rows_are_looked_at() {
    let memory = Memory::default();
    let database = memory.scheduled(Vec::new());
    simulation::run(async {
        database.prepare().await.expect("the tables");
        let (count, webhook) = (MAX_SAMPLED + 5, hook(1));
        memory.rows(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
             INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, attempts,
               step, retry, give_up_at, created_at, next_at, due_at)
             SELECT printf('evt_0190%08x70008000000000000000', n), '{webhook}', 'shop', 't', 'pending',
               1, 1, 1, 0, 0, n, n FROM n"
        ));
        memory.rows(
            "INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms, url,
               secret_fingerprints, http_status, error, response_truncated)
             SELECT event_id, webhook_id, 1, 'schedule', next_at, 5, '', '[]', 500,
               CASE next_at % 2 WHEN 0 THEN 'httpStatus' END, 0 FROM deliveries",
        );
        let begin = Timestamp::from_millis(0);
        let figures = database.figures(webhook, begin, begin).await.unwrap();
        assert_eq!(figures.deliveries.by_status.total(), MAX_SAMPLED);
        let sixth = EventId::parse(&format!("evt_0190{:08x}70008000000000000000", 6));
        let sixth = sixth.expect("an id").published_at();
        assert_eq!(figures.deliveries.oldest, Some(sixth));
        let outcomes = figures.attempts.outcomes.iter();
        assert_eq!(outcomes.map(|it| it.count).sum::<u32>(), MAX_SAMPLED);
        assert_eq!(figures.attempts.oldest, Some(Timestamp::from_millis(6)));
        assert_eq!(figures.pending.count, MAX_SAMPLED);
        assert_eq!(
            figures.pending.oldest_due_at,
            Some(Timestamp::from_millis(1))
        );
    });
}
