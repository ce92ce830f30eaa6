//! What the service finds out about a webhook, beside what its merchant does at the same moment.

use super::*;
use crate::fault::Fault;
use crate::model::condition::{Condition, Disabled, DisabledReason};
use crate::store::recipients::{self, Recipient};

/// Makes a webhook inactive as the dispatcher does: it reads the webhook, decides on the facts of so many
/// milliseconds, and writes what it found, once more after two seconds. Returns what it wrote, if anything.
async fn disable(
    store: &Store,
    id: WebhookId,
    decides_for: u64,
) -> Result<Option<Disabled>, Fault> {
    let Recipient::Webhook(webhook) = recipients::recipient(store, &shop(), id).await? else {
        return Ok(None);
    };
    if !webhook.is_active() {
        return Ok(None);
    }
    sleep(Duration::from_millis(decides_for)).await;
    let disabled = Disabled {
        at: Timestamp::now(),
        reason: DisabledReason::Failing,
        activation: webhook.settings().activated_at,
    };
    let condition = Condition {
        failing: None,
        disabled: Some(disabled),
    };
    for pause in [0, 2] {
        sleep(Duration::from_secs(pause)).await;
        let deadline = Deadline::with_timeout(CONFIG.store_timeout);
        recipients::note(store, &shop(), id, condition, &deadline).await?;
    }
    Ok(Some(disabled))
}

/// When the webhook was last made active by its merchant.
async fn activation(memory: &Memory, id: WebhookId) -> Option<Timestamp> {
    match recipients::recipient(&calm(memory), &shop(), id).await {
        Ok(Recipient::Webhook(webhook)) => webhook.settings().activated_at,
        _ => None,
    }
}

async fn read(memory: &Memory, path: &str) -> Value {
    send(&calm(memory), "GET", path, Value::Null, None)
        .await
        .body
}

proptest! {
    #![proptest_config(schedules())]

    /// A change of the URL, a rotation and the service at the same moment: each has done what it said, and
    /// only the merchant's own `isActive` ends what the service decided.
    #[test]
    fn what_the_service_and_the_merchant_decide_at_once_undoes_nothing(
        fates in delays(4, 30),
        starts in prop::collection::vec(0..120_u64, 4),
        decides_for in 0..60_u64,
    ) {
        let memory = memory();
        let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let created = create_webhook(&calm(&memory), None).await;
            let id = WebhookId::parse(&created.id()).expect("an id");
            let path = format!("{WEBHOOKS}/{id}");
            let rotate = format!("{path}/rotate");
            let after = |number: usize| sleep(Duration::from_millis(starts[number]));
            let one = async {
                after(0).await;
                disable(&stores[0], id, decides_for).await
            };
            let other = async {
                after(1).await;
                disable(&stores[1], id, decides_for).await
            };
            let change = async {
                after(2).await;
                let body = json!({"url": "https://other.example.com/"});
                send(&stores[2], "PATCH", &path, body, None).await
            };
            let rotation = async {
                after(3).await;
                send(&stores[3], "POST", &rotate, json!({}), None).await
            };
            let (one, other, changed, rotated) = futures::join!(one, other, change, rotation);
            prop_assert!(one.is_ok() && other.is_ok());
            prop_assert_eq!((changed.status, rotated.status), (200, 200));
            sleep(SETTLED).await;
            let shown = read(&memory, &path).await;
            prop_assert_eq!(&shown["url"], "https://other.example.com/");
            prop_assert_eq!(&shown["isActive"], &json!(false));
            prop_assert_eq!(&shown["disabledReason"], "failing");
            prop_assert!(shown["disabledAt"].is_string());
            let secret = rotated.body["signingSecret"].as_str().expect("a secret");
            prop_assert!(signing_secrets(&memory, &created.id()).await.contains(secret));

            let active = send(&calm(&memory), "PATCH", &path, json!({"isActive": true}), None).await;
            prop_assert_eq!(active.status, 200);
            let shown = read(&memory, &path).await;
            prop_assert_eq!(&shown["isActive"], &json!(true));
            prop_assert_eq!(&shown["disabledReason"], &Value::Null);
            Ok(())
        })?;
    }

    /// Its merchant makes a webhook active that the service made inactive, while another process decides
    /// that, or goes on confirming it, on what it read before.
    #[test]
    fn a_merchant_who_makes_it_active_is_not_overruled_on_older_facts(
        fates in delays(3, 30),
        start in 0..300_u64,
        decides_for in 0..200_u64,
        by_switching in any::<bool>(),
    ) {
        let memory = memory();
        let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let created = create_webhook(&calm(&memory), None).await;
            let id = WebhookId::parse(&created.id()).expect("an id");
            let path = format!("{WEBHOOKS}/{id}");
            let first = disable(&stores[0], id, 0);
            let late = disable(&stores[1], id, decides_for);
            let merchant = async {
                sleep(Duration::from_millis(start)).await;
                if by_switching {
                    let off = json!({"isActive": false});
                    send(&stores[2], "PATCH", &path, off, None).await;
                }
                send(&stores[2], "PATCH", &path, json!({"isActive": true}), None).await
            };
            let before = async {
                // Whether it saw the webhook inactive, so that its request was a change.
                sleep(Duration::from_millis(start)).await;
                read(&memory, &path).await
            };
            let (first, late, active, before) = futures::join!(first, late, merchant, before);
            prop_assert!(first.is_ok() && late.is_ok());
            prop_assert_eq!(active.status, 200);
            sleep(SETTLED).await;
            let shown = read(&memory, &path).await;
            let was_change = by_switching || before["isActive"] == json!(false);
            // Who read it only after the merchant's change decided on newer facts, which hold.
            let newest = activation(&memory, id).await;
            let on_newer_facts = [first, late]
                .into_iter()
                .filter_map(|decided| decided.ok().flatten())
                .any(|disabled| newest.is_some() && disabled.activation == newest);
            if was_change && !on_newer_facts {
                prop_assert_eq!(&shown["isActive"], &json!(true), "{}", shown);
                prop_assert_eq!(&shown["disabledAt"], &Value::Null);
            }
            Ok(())
        })?;
    }

    /// A delete leaves nothing of what the service finds out at the same moment, whatever fails or is late.
    #[test]
    fn a_webhook_deleted_while_it_is_made_inactive_leaves_nothing_behind(
        disabling in prop::collection::vec(Fate::any(3000), 0..16),
        delete in prop::collection::vec(Fate::any(1500), 0..20),
        start in 0..60_u64,
        whole_application in any::<bool>(),
    ) {
        let memory = memory();
        let (disabling, delete) = (memory.scheduled(disabling), memory.scheduled(delete));
        let deleted = simulation::run(async {
            let created = create_webhook(&calm(&memory), None).await;
            let id = WebhookId::parse(&created.id()).expect("an id");
            let path = match whole_application {
                true => SHOP.to_owned(),
                false => format!("{WEBHOOKS}/{id}"),
            };
            let delete = async {
                sleep(Duration::from_millis(start)).await;
                send(&delete, "DELETE", &path, Value::Null, None).await
            };
            let (_, deleted) = futures::join!(disable(&disabling, id, 0), delete);
            // What is repeated afterwards, and the latest of its writes.
            sleep(Duration::from_secs(120)).await;
            deleted.status
        });
        // A delete that failed may be repeated, and clears up then.
        if deleted == 204 {
            prop_assert_eq!(memory.keys("webhook-secrets/"), Vec::<String>::new());
        }
    }
}

/// What is sent back as it was read changes nothing, also while the service has made it inactive.
#[test]
fn a_webhook_that_the_service_made_inactive_can_be_sent_back_and_has_another_tag() {
    let memory = memory();
    simulation::run(async {
        let store = calm(&memory);
        let created = create_webhook(&store, None).await;
        let id = WebhookId::parse(&created.id()).expect("an id");
        let path = format!("{WEBHOOKS}/{id}");
        let before = read(&memory, &path).await;
        disable(&store, id, 0).await.expect("disabled");
        let mut shown = read(&memory, &path).await;
        assert_eq!(shown["disabledReason"], "failing");
        assert_ne!(shown["updatedAt"], before["updatedAt"]);
        let sent_back = send(&store, "PATCH", &path, shown.clone(), None).await;
        assert_eq!((sent_back.status, &sent_back.body), (200, &shown));
        let list = send(&store, "GET", WEBHOOKS, Value::Null, None).await;
        assert_eq!(list.body["items"], json!([shown]));
        // As it was read before, it would be another change of read-only members.
        let old = send(&store, "PATCH", &path, before, None).await;
        assert_eq!(old.status, 400, "{old:?}");
        shown["isActive"] = json!(true);
        let active = send(&store, "PATCH", &path, shown, None).await;
        assert_eq!(
            (active.status, &active.body["isActive"]),
            (200, &json!(true))
        );
    });
}
