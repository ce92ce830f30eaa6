//! What is published is stored, settled, erased and forgotten.

use super::*;
use crate::events::database::{DeliveryKey, Settlement, StoredEvent};
use crate::model::delivery::{DeliveryReason, DeliveryStatus, Summary};

on_both! {
    a_key_is_used_once_in_an_application,
    a_publish_can_be_repeated,
    an_event_is_stored_with_its_deliveries,
    erased_data_are_gone,
    a_second_fan_out_adds_what_the_first_one_missed,
    only_old_events_without_pending_deliveries_are_forgotten,
    an_applications_events_are_forgotten,
}

async fn stored(database: &SqlDatabase, id: EventId) -> StoredEvent {
    let stored = database.event(&shop(), id).await.expect("it is read");
    stored.expect("it is there")
}

async fn a_key_is_used_once_in_an_application(database: &SqlDatabase) {
    let first = with_key(event_for(0, &[1]), "key", "hash");
    publish(database, &first).await;
    for hash in ["hash", "other"] {
        let again = with_key(event_for(1, &[2]), "key", hash);
        let earlier = Published::Earlier {
            id: first.id,
            request_hash: "hash".to_owned(),
        };
        assert_eq!(database.publish(&again).await, Ok(earlier));
        assert!(database.event(&shop(), again.id).await.unwrap().is_none());
        assert_eq!(database.delivery(again.id, hook(2)).await, Ok(None));
    }
    let mut elsewhere = with_key(event_for(2, &[]), "key", "hash");
    elsewhere.application_id = ApplicationId::parse("other").unwrap();
    publish(database, &elsewhere).await;
    publish(database, &with_key(event_for(3, &[]), "KEY", "hash")).await;
    // Without a key every event is another one.
    publish(database, &event_for(4, &[])).await;
    publish(database, &event_for(4, &[])).await;
}

async fn a_publish_can_be_repeated(database: &SqlDatabase) {
    for event in [
        event_for(0, &[1, 2]),
        with_key(event_for(0, &[1, 2]), "key", "hash"),
    ] {
        publish(database, &event).await;
        publish(database, &event).await;
        assert_eq!(stored(database, event.id).await.deliveries.len(), 2);
    }
    assert_eq!(claim(database, &claim_at(0)).await.len(), 4);
}

async fn an_event_is_stored_with_its_deliveries(database: &SqlDatabase) {
    let token = ClaimToken::generate();
    let mut event = event_for(10, &[1, 2, 3]);
    event.deliver_before = Some(at(900));
    event.deliveries[1].beginning = Beginning::Claimed {
        token: token.clone(),
        due: at(10),
        until: at(70),
    };
    event.deliveries[2].beginning = Beginning::Suppressed(DeliveryReason::WebhookInactive);
    publish(database, &event).await;

    let found = stored(database, event.id).await;
    assert_eq!(found.body.as_ref(), Some(&event.body));
    let shown = found.event;
    assert_eq!((shown.id, shown.application_id), (event.id, shop()));
    assert_eq!(shown.r#type, event.event_type);
    assert_eq!((shown.occurred_at, shown.created_at), (at(9), at(10)));
    assert_eq!(shown.deliver_before, Some(at(900)));
    assert_eq!(shown.size_bytes as usize, event.body.len());
    assert_eq!(shown.sha256.len(), 64);
    let summary = Summary {
        pending: 2,
        suppressed: 1,
        ..Summary::default()
    };
    assert_eq!(shown.summary, summary);
    let [pending, claimed, suppressed] = &found.deliveries[..] else {
        panic!("{} deliveries", found.deliveries.len());
    };
    assert_eq!(pending.webhook_id, hook(1));
    assert_eq!(
        (pending.status, pending.attempt_count),
        (DeliveryStatus::Pending, 0)
    );
    assert_eq!(pending.next_attempt_at, Some(at(10)));
    assert_eq!(
        (pending.created_at, pending.give_up_at),
        (at(10), at(300_010))
    );
    assert_eq!(
        (claimed.status, claimed.attempt_count),
        (DeliveryStatus::Pending, 1)
    );
    assert_eq!(
        (claimed.next_attempt_at, claimed.completed_at),
        (None, None)
    );
    assert_eq!(suppressed.status, DeliveryStatus::Suppressed);
    assert_eq!(suppressed.reason, Some(DeliveryReason::WebhookInactive));
    assert_eq!(
        (suppressed.next_attempt_at, suppressed.completed_at),
        (None, Some(at(10)))
    );

    let other = ApplicationId::parse("other").unwrap();
    assert!(database.event(&other, event.id).await.unwrap().is_none());

    // Whoever published holds the second one, and records it without another claim.
    let only = claim_one(database, 10).await;
    assert_eq!(only.held.key.webhook_id, hook(1));
    let own = Held {
        key: DeliveryKey {
            event_id: event.id,
            webhook_id: hook(2),
        },
        token,
        number: 1,
    };
    let own = ClaimedDelivery { held: own, ..only };
    recorded(database, &own, Outcome::Succeeded, 11).await;
    assert_eq!(
        status(database, event.id, 2).await,
        DeliveryStatus::Succeeded
    );
}

async fn erased_data_are_gone(database: &SqlDatabase) {
    let event = event_for(0, &[1, 2, 3]);
    let id = publish(database, &event).await;
    let claimed = claim(database, &claim_at(0)).await;
    recorded(database, &claimed[0], Outcome::Succeeded, 1).await;
    recorded(database, &claimed[1], FAILED, 1).await;

    let other = ApplicationId::parse("other").unwrap();
    assert_eq!(database.erase(&other, id, at(2)).await, Ok(false));
    assert!(stored(database, id).await.body.is_some());
    for seconds in [2, 3] {
        assert_eq!(database.erase(&shop(), id, at(seconds)).await, Ok(true));
    }
    // The third one was under way, and its answer is not kept.
    recorded(database, &claimed[2], FAILED, 4).await;
    let found = stored(database, id).await;
    assert_eq!(found.body, None);
    assert_eq!(found.event.size_bytes as usize, event.body.len());
    let [done, ended, under_way] = &found.deliveries[..] else {
        panic!("{} deliveries", found.deliveries.len());
    };
    assert_eq!(done.status, DeliveryStatus::Succeeded);
    let suppressed = (DeliveryStatus::Suppressed, Some(DeliveryReason::DataErased));
    assert_eq!((ended.status, ended.reason), suppressed);
    assert_eq!(ended.completed_at, Some(at(2)));
    assert_eq!(under_way.status, DeliveryStatus::Pending);
    for delivery in &found.deliveries {
        let last = delivery.last_attempt.as_ref().expect("an attempt");
        assert_eq!(last.response_body, None);
        assert!(last.http_status_code.is_some());
    }
    assert!(claim_one(database, 9).await.body.is_none());
    let missing = EventId::generate(at(0));
    assert_eq!(database.erase(&shop(), missing, at(2)).await, Ok(false));
}

async fn a_second_fan_out_adds_what_the_first_one_missed(database: &SqlDatabase) {
    let event = event_for(0, &[1]);
    publish(database, &event).await;
    let claimed = claim_one(database, 0).await;
    let unsettled = database.claim_fan_outs(at(4), at(34), 10).await;
    assert_eq!(unsettled, Ok(Vec::new()));
    let unsettled = database.claim_fan_outs(at(5), at(35), 10).await.unwrap();
    assert_eq!(unsettled.len(), 1);
    assert_eq!(unsettled[0].event_id, event.id);
    assert_eq!(
        (&unsettled[0].application_id, unsettled[0].created_at),
        (&shop(), at(0))
    );
    assert_eq!(unsettled[0].event_type, event.event_type);
    assert_eq!(unsettled[0].recipients, [hook(1)]);
    // It is taken, and comes back when it is not settled.
    assert_eq!(
        database.claim_fan_outs(at(34), at(64), 10).await,
        Ok(Vec::new())
    );
    assert_eq!(
        database
            .claim_fan_outs(at(35), at(65), 10)
            .await
            .unwrap()
            .len(),
        1
    );
    let settlement = Settlement {
        event_id: event.id,
        deliveries: vec![due(1, 36), due(2, 36)],
        now: at(36),
    };
    let gone = Settlement {
        event_id: EventId::generate(at(0)),
        deliveries: vec![due(1, 36)],
        now: at(36),
    };
    let both = [settlement.clone(), gone];
    for _ in 0..2 {
        assert_eq!(database.settle(&both).await, Ok(()));
    }
    assert_eq!(
        database.claim_fan_outs(at(900), at(960), 10).await,
        Ok(Vec::new())
    );
    // The one that was there is still held.
    let added = claim_one(database, 36).await;
    assert_eq!(added.held.key.webhook_id, hook(2));
    assert_eq!(added.body, Some(event.body));
    recorded(database, &claimed, Outcome::Succeeded, 37).await;
    assert_eq!(stored(database, event.id).await.deliveries.len(), 2);
    assert_eq!(database.settle(&[]).await, Ok(()));
}

async fn only_old_events_without_pending_deliveries_are_forgotten(database: &SqlDatabase) {
    let pending = publish(database, &event_for(0, &[1])).await;
    let done = publish(database, &event_for(1, &[2])).await;
    let nobody = publish(database, &event_for(2, &[])).await;
    let young = publish(database, &event_for(100, &[])).await;
    let only = Claim {
        except: vec![hook(1)],
        ..claim_at(10)
    };
    let claimed = claim(database, &only).await;
    recorded(database, &claimed[0], Outcome::Succeeded, 10).await;
    assert_eq!(database.forget(at(100), 1).await, Ok(1));
    assert_eq!(database.forget(at(100), 10).await, Ok(1));
    assert_eq!(database.forget(at(100), 10).await, Ok(0));
    for (id, stays) in [
        (pending, true),
        (done, false),
        (nobody, false),
        (young, true),
    ] {
        assert_eq!(database.event(&shop(), id).await.unwrap().is_some(), stays);
    }
    assert_eq!(database.delivery(done, hook(2)).await, Ok(None));
    // A record that comes too late changes nothing.
    let late = database.record(&[record(&claimed[0], FAILED, 20)]).await;
    assert_eq!(late, Ok(Vec::new()));
    assert_eq!(database.delivery(done, hook(2)).await, Ok(None));
    // What was forgotten is not fanned out.
    let unsettled = database.claim_fan_outs(at(900), at(960), 10).await.unwrap();
    let mut ids: Vec<_> = unsettled.iter().map(|fan_out| fan_out.event_id).collect();
    ids.sort();
    assert_eq!(ids, [pending, young]);
    let recipients = |id| unsettled.iter().find(|event| event.event_id == id);
    assert_eq!(recipients(young).unwrap().recipients, []);
}

async fn an_applications_events_are_forgotten(database: &SqlDatabase) {
    let own = [event_for(0, &[1]), event_for(1, &[1, 2])];
    for event in &own {
        publish(database, event).await;
    }
    let mut other = event_for(2, &[3]);
    other.application_id = ApplicationId::parse("other").unwrap();
    publish(database, &other).await;
    let next = async |after: Option<&ApplicationId>| database.next_application(after).await;
    let all = (next(None).await, next(Some(&other.application_id)).await);
    assert_eq!(
        all,
        (Ok(Some(other.application_id.clone())), Ok(Some(shop())))
    );
    assert_eq!(next(Some(&shop())).await, Ok(None));
    let since = async |event: EventId| database.application_since(event).await;
    assert_eq!(since(own[1].id).await, Ok(Some(shop())));
    let after_own = EventId::first_at(own[1].created_at.next());
    assert_eq!(
        since(after_own).await,
        Ok(Some(other.application_id.clone()))
    );
    let after_all = EventId::first_at(other.created_at.next());
    assert_eq!(since(after_all).await, Ok(None));
    assert_eq!(database.forget_application(&shop(), 1).await, Ok(1));
    assert_eq!(database.forget_application(&shop(), 10).await, Ok(1));
    assert_eq!(database.forget_application(&shop(), 10).await, Ok(0));
    assert_eq!(next(Some(&other.application_id)).await, Ok(None));
    assert_eq!(claim_one(database, 10).await.held.key.event_id, other.id);
}
