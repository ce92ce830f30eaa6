//! The operator's commands on a store that is served meanwhile.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use futures::future::{Either, select};
use serde_json::json;

use crate::support::faults::instances_end;
use crate::support::{PATIENCE, Server, Setup, local_runtime_only, poll};

/// A webhook that there is not.
const NONE: &str = "33333333-3333-4333-8333-333333333333";

fn roomy() -> Setup {
    Setup::new()
        .variable("store_timeout_ms", "20000")
        .variable("max_webhooks_per_application", "10000")
}

/// Runs commands while another merchant goes on creating webhooks, of which none is lost over it.
async fn under_load(api: &Server, commands: impl Future<Output = ()>) {
    let application = api.application();
    let told = RefCell::new(BTreeSet::new());
    let load = async {
        loop {
            let created = api.create(&application).expect_created().await;
            told.borrow_mut().insert(created.webhook.id);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let more = async || {
        let before = told.borrow().len();
        poll("load", PATIENCE, || {
            (told.borrow().len() > before + 2).then_some(())
        })
        .await;
    };
    let commands = async {
        more().await;
        commands.await;
        more().await;
    };
    match select(Box::pin(load), Box::pin(commands)).await {
        Either::Left((never, _)) => never,
        // The create that was under way is cut off, and may or may not take effect.
        Either::Right(((), load)) => drop(load),
    }
    let told = told.into_inner();
    poll("the index has every webhook", PATIENCE, || {
        let listed: BTreeSet<String> = api.store().index(&application).into_iter().collect();
        told.is_subset(&listed).then_some(())
    })
    .await;
    let there: BTreeSet<String> = api.store().webhooks(&application).into_iter().collect();
    let lost: Vec<_> = told.difference(&there).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn reindex_and_doctor_put_a_damaged_store_right_while_it_is_served() {
    local_runtime_only!();
    let api = roomy().start();
    let application = api.application();
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        ids.insert(api.create(&application).expect_created().await.webhook.id);
    }
    // Until then, the creates look after their ids in the index, and would write them back.
    instances_end(&api).await;
    let left = format!("webhook-settings/{}/{NONE}", application.id);
    api.store().set(&left, b"{}");
    let damaged = json!([ids.first(), NONE]).to_string();
    api.store()
        .set(&application.index_key(), damaged.as_bytes());

    let indexed = || api.store().index(&application).into_iter().collect();
    under_load(&api, async {
        let seen = api.xtask(&["doctor"]).await;
        assert!(!seen.ok, "{seen:?}");
        let index = format!(
            "{}: 2 ids lack, 1 are without a document",
            application.index_key()
        );
        assert!(seen.stdout.contains(&index), "{seen:?}");
        let rest = format!("{left}: is left of a webhook that is not there");
        assert!(seen.stdout.contains(&rest), "{seen:?}");

        let repaired = api.xtask(&["reindex"]).await;
        assert!(repaired.ok, "{repaired:?}");
        assert_eq!(ids, indexed());
        assert!(api.store().get(&left).is_some(), "it is not an index");

        let repaired = api.xtask(&["doctor", "--fix"]).await;
        assert!(repaired.ok, "{repaired:?}");
        assert_eq!(api.store().get(&left), None);
        let sound = api.xtask(&["doctor"]).await;
        assert_eq!(sound.stdout, "0 found, 0 repaired\n", "{sound:?}");
    })
    .await;

    let page = api
        .by(&application, "GET", &application.path())
        .expect(200)
        .await
        .json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(3), "{page}");
}

#[tokio::test]
async fn after_reencrypt_the_previous_secrets_key_is_needed_no_more() {
    local_runtime_only!();
    let (old, new) = (
        Base64::encode_string(&[1; 32]),
        Base64::encode_string(&[2; 32]),
    );
    let api = roomy().variable("secrets_key", &old).start();
    let application = api.application();
    let create = |api: &Server| {
        api.create(&application)
            .header("idempotency-key", "before-the-change")
    };
    let created = create(&api).expect_created().await;
    let path = application.webhook_path(&created.webhook.id);
    let rotate = |api: &Server| {
        api.by(&application, "POST", &format!("{path}/rotate"))
            .header("idempotency-key", "the-rotation")
    };
    let rotated = rotate(&api).expect(200).await;

    let setup = api.kill().variable("secrets_key", &new);
    let api = setup.variable("secrets_key_previous", &old).start();
    under_load(&api, async {
        let renewed = api.xtask(&["reencrypt"]).await;
        // The webhook, its rotation, and what both requests were answered.
        let told = "4 documents renewed, 0 can be read with neither key\n";
        assert_eq!(renewed.stdout, told, "{renewed:?}");
        assert!(renewed.ok, "{renewed:?}");
    })
    .await;

    let api = api.kill().without("secrets_key_previous").start();
    let again = create(&api).expect_created().await;
    assert_eq!(again.response.text, created.response.text);
    assert_eq!(rotate(&api).expect(200).await.text, rotated.text);
    // Nobody listens there; what counts is that both secrets could be decrypted to sign with.
    let test = api.by(&application, "POST", &format!("{path}/test"));
    assert_eq!(test.expect(200).await.json()["success"], false);
}
