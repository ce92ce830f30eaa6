//! The log's pages.

use super::*;
use crate::events::database::{DeliveriesPage, EventsPage, Failures, LogRange};
use crate::model::delivery::{DeliveryReason, DeliveryStatus};

on_both! {
    events_come_in_pages_the_newest_first,
    events_are_found_by_type_and_by_key,
    deliveries_come_in_pages_the_newest_first,
    deliveries_are_found_by_status_and_by_type,
    a_page_stays_the_same_while_events_arrive,
    a_webhook_has_the_application_of_its_deliveries,
    hashes_come_by_id_and_go_on_where_they_ended,
    failures_are_counted_since_the_last_success,
}

fn range(limit: u32) -> LogRange {
    LogRange {
        limit,
        ..LogRange::default()
    }
}

/// The ids of all pages, and how many pages there are.
async fn all_events(database: &SqlDatabase, first: EventsPage) -> (Vec<EventId>, usize) {
    let (mut ids, mut pages, mut page) = (Vec::new(), 0, first);
    loop {
        let listed = database.events(&shop(), &page).await.expect("a page");
        assert!(listed.items.len() <= page.range.limit as usize);
        ids.extend(listed.items.iter().map(|event| event.id));
        pages += 1;
        page.range.cursor = listed.next;
        if listed.next.is_none() {
            return (ids, pages);
        }
    }
}

async fn all_deliveries(
    database: &SqlDatabase,
    hook: WebhookId,
    first: DeliveriesPage,
) -> Vec<EventId> {
    let (mut ids, mut page) = (Vec::new(), first);
    loop {
        let listed = database.deliveries(hook, &page).await.expect("a page");
        ids.extend(listed.items.iter().map(|delivery| delivery.event_id));
        page.range.cursor = listed.next;
        if listed.next.is_none() {
            return ids;
        }
    }
}

/// Events at the seconds 0 to 9, the newest first.
async fn ten_events(database: &SqlDatabase) -> Vec<EventId> {
    let mut ids = Vec::new();
    for seconds in 0..10 {
        let mut event = event_for(seconds, &[1, 2]);
        if seconds % 3 == 0 {
            event.event_type = event_type("session.expired");
        }
        let event = with_key(event, &format!("key-{seconds}"), "hash");
        ids.insert(0, publish(database, &event).await);
    }
    let mut other = event_for(5, &[3]);
    other.application_id = ApplicationId::parse("other").unwrap();
    publish(database, &other).await;
    ids
}

async fn events_come_in_pages_the_newest_first(database: &SqlDatabase) {
    let ids = ten_events(database).await;
    for (limit, pages) in [(1, 10), (3, 4), (5, 2), (9, 2), (10, 1), (100, 1)] {
        let page = EventsPage {
            range: range(limit),
            ..EventsPage::default()
        };
        assert_eq!(all_events(database, page).await, (ids.clone(), pages));
    }
    for (after, before, expected) in [
        (Some(3), None, &ids[..7]),
        (None, Some(3), &ids[7..]),
        (Some(3), Some(6), &ids[4..7]),
        (Some(6), Some(6), &[][..]),
    ] {
        let range = LogRange {
            after: after.map(at),
            before: before.map(at),
            ..range(2)
        };
        let page = EventsPage {
            range,
            ..EventsPage::default()
        };
        assert_eq!(all_events(database, page).await.0, expected);
    }
    let page = EventsPage {
        range: range(1),
        ..EventsPage::default()
    };
    let listed = database.events(&shop(), &page).await.unwrap();
    assert_eq!(listed.items[0].summary.pending, 2);
}

async fn events_are_found_by_type_and_by_key(database: &SqlDatabase) {
    let ids = ten_events(database).await;
    let expired: Vec<_> = [0, 3, 6, 9].map(|index| ids[index]).to_vec();
    for limit in [1, 2, 3, 4, 5] {
        let page = EventsPage {
            range: range(limit),
            event_type: Some(event_type("session.expired")),
            idempotency_key: None,
        };
        assert_eq!(all_events(database, page).await.0, expired);
    }
    for (key, event_type, expected) in [
        ("key-3", None, vec![ids[6]]),
        ("key-3", Some(event_type("session.expired")), vec![ids[6]]),
        ("key-3", Some(event_type("session.completed")), vec![]),
        ("key-33", None, vec![]),
    ] {
        let page = EventsPage {
            range: range(10),
            event_type,
            idempotency_key: Some(key.to_owned()),
        };
        assert_eq!(all_events(database, page).await, (expected, 1));
    }
}

async fn deliveries_come_in_pages_the_newest_first(database: &SqlDatabase) {
    let ids = ten_events(database).await;
    for limit in [1, 3, 10, 11] {
        let page = DeliveriesPage {
            range: range(limit),
            ..DeliveriesPage::default()
        };
        assert_eq!(all_deliveries(database, hook(1), page).await, ids);
    }
    let page = DeliveriesPage {
        range: LogRange {
            after: Some(at(2)),
            before: Some(at(5)),
            ..range(2)
        },
        ..DeliveriesPage::default()
    };
    assert_eq!(
        all_deliveries(database, hook(2), page.clone()).await,
        ids[5..8]
    );
    assert_eq!(all_deliveries(database, hook(4), page).await, []);
}

async fn deliveries_are_found_by_status_and_by_type(database: &SqlDatabase) {
    let ids = ten_events(database).await;
    let mut claimed = claim(
        database,
        &Claim {
            except: vec![hook(2), hook(3)],
            ..claim_at(10)
        },
    )
    .await;
    claimed.reverse();
    for one in &claimed[..4] {
        recorded(database, one, Outcome::Succeeded, 10).await;
    }
    for one in &claimed[4..6] {
        recorded(database, one, FAILED, 10).await;
    }
    database
        .release(&held(&claimed[6..]), at(11))
        .await
        .unwrap();
    let inactive = DeliveryReason::WebhookInactive;
    assert_eq!(
        database
            .suppress(hook(1), inactive, at(12), at(12), 3)
            .await,
        Ok(3)
    );
    for (status, event_type, expected) in [
        (Some(DeliveryStatus::Succeeded), None, &ids[..4]),
        (Some(DeliveryStatus::Pending), None, &ids[4..7]),
        (Some(DeliveryStatus::Suppressed), None, &ids[7..]),
        (Some(DeliveryStatus::Failed), None, &[]),
        (
            Some(DeliveryStatus::Succeeded),
            Some("session.expired"),
            &[ids[0], ids[3]],
        ),
        (
            Some(DeliveryStatus::Pending),
            Some("session.expired"),
            &[ids[6]],
        ),
        (
            Some(DeliveryStatus::Suppressed),
            Some("session.expired"),
            &[ids[9]],
        ),
        (
            None,
            Some("session.expired"),
            &[ids[0], ids[3], ids[6], ids[9]],
        ),
        (None, Some("unknown"), &[]),
    ] {
        for limit in [1, 2, 3, 10] {
            let page = DeliveriesPage {
                range: range(limit),
                status,
                event_type: event_type.map(super::event_type),
            };
            let found = all_deliveries(database, hook(1), page).await;
            assert_eq!(found, expected, "{status:?} {event_type:?} {limit}");
        }
    }
}

async fn a_page_stays_the_same_while_events_arrive(database: &SqlDatabase) {
    let ids = ten_events(database).await;
    let first = EventsPage {
        range: range(4),
        ..EventsPage::default()
    };
    let before = database.events(&shop(), &first).await.unwrap();
    publish(database, &event_for(20, &[1])).await;
    let second = EventsPage {
        range: LogRange {
            cursor: before.next,
            ..range(4)
        },
        ..EventsPage::default()
    };
    let listed = database.events(&shop(), &second).await.unwrap();
    let found: Vec<_> = listed.items.iter().map(|event| event.id).collect();
    assert_eq!(found, ids[4..8]);
}

async fn a_webhook_has_the_application_of_its_deliveries(database: &SqlDatabase) {
    ten_events(database).await;
    assert_eq!(database.application_of(hook(1)).await, Ok(Some(shop())));
    let other = ApplicationId::parse("other").unwrap();
    assert_eq!(database.application_of(hook(3)).await, Ok(Some(other)));
    assert_eq!(database.application_of(hook(4)).await, Ok(None));
}

async fn hashes_come_by_id_and_go_on_where_they_ended(database: &SqlDatabase) {
    let ids = ten_events(database).await;
    let end = EventId::first_at(at(8));
    let (mut after, mut found) = (EventId::last_before(at(2)), Vec::new());
    for expected in [4, 2, 0] {
        let hashes = database.hashes(&shop(), after, end, 4).await.unwrap();
        let count: u32 = hashes.iter().map(|of_type| of_type.count).sum();
        assert_eq!(count, expected);
        after = hashes.iter().map(|it| it.last).max().unwrap_or(after);
        found.extend(hashes);
    }
    let mut lines = std::collections::BTreeMap::<_, String>::new();
    for of_type in found {
        assert_eq!(of_type.lines.lines().count(), of_type.count as usize);
        let name = of_type.event_type.as_str().to_owned();
        lines.entry(name).or_default().push_str(&of_type.lines);
    }
    let mut expected = std::collections::BTreeMap::<_, String>::new();
    for id in ids[2..8].iter().rev() {
        let stored = database.event(&shop(), *id).await.unwrap().unwrap();
        let name = stored.event.r#type.as_str().to_owned();
        let line = format!("{id} {}\n", stored.event.sha256);
        expected.entry(name).or_default().push_str(&line);
    }
    assert_eq!(lines.len(), 2);
    assert_eq!(lines, expected);
}

async fn failures_are_counted_since_the_last_success(database: &SqlDatabase) {
    assert_eq!(
        database.failures(hook(1), at(0)).await,
        Ok(Failures::default())
    );
    for (seconds, outcome) in [
        (10, FAILED),
        (20, Outcome::Succeeded),
        (30, FAILED),
        (40, FAILED),
    ] {
        publish(database, &event_for(seconds, &[1])).await;
        for claimed in claim(database, &claim_at(seconds)).await {
            recorded(database, &claimed, outcome, seconds).await;
        }
    }
    let failures = |since: i64, attempts, events| Failures {
        last_success: Some(at(20)),
        failing_since: Some(at(since)),
        attempts,
        events,
    };
    // At 40 the delivery of 30 was due again.
    assert_eq!(
        database.failures(hook(1), at(0)).await,
        Ok(failures(30, 3, 2))
    );
    assert_eq!(
        database.failures(hook(1), at(30)).await,
        Ok(failures(40, 2, 2))
    );
    let later = database.failures(hook(1), at(40)).await.unwrap();
    assert_eq!((later.failing_since, later.attempts), (None, 0));
    assert_eq!(
        database.failures(hook(2), at(0)).await,
        Ok(Failures::default())
    );
}
