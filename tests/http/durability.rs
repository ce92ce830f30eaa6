//! What was acknowledged survives `kill -9`.

use std::collections::BTreeSet;

use crate::support::faults::Fault;
use crate::support::{PATIENCE, Setup, local_runtime_only, poll};

#[tokio::test]
async fn every_201_survives_kill_9() {
    local_runtime_only!();
    let _busy = crate::support::busy().await;
    let api = Setup::new().variable("store_timeout_ms", "20000").start();
    let applications: Vec<_> = (0..3).map(|_| api.application()).collect();
    let mut created = BTreeSet::new();
    for round in 0..12 {
        let application = &applications[round % 3];
        let webhook = api.create(application).expect_created().await.webhook;
        created.insert((application.id.clone(), webhook.id, webhook.key_fingerprint));
    }
    // Right after the last answer, with whatever it still had in hand.
    let api = api.kill().start();

    for (application, id, fingerprint) in &created {
        let application = applications
            .iter()
            .find(|it| it.id == *application)
            .expect("one");
        let document = api
            .store()
            .webhook(application, id)
            .expect("it was acknowledged");
        assert_eq!(
            document["secret"]["fingerprint"],
            serde_json::json!(fingerprint)
        );
    }
    for application in &applications {
        assert_eq!(api.store().webhooks(application).len(), 4);
        assert_eq!(api.store().index(application).len(), 4);
        // And life goes on.
        let webhook = api.create(application).expect_created().await.webhook;
        assert!(api.store().index(application).contains(&webhook.id));
    }
}

/// Again and again: load, `kill -9` in the middle of it, a new start on the same store.
#[tokio::test]
async fn every_201_survives_kill_9_in_a_loop_under_load() {
    let _busy = crate::support::busy().await;
    const ROUNDS: usize = 6;

    local_runtime_only!();
    let mut setup = Setup::new()
        .variable("store_timeout_ms", "20000")
        .variable("max_changes_per_minute", "0")
        .variable("max_webhooks_per_application", "1000");
    let mut application = None;
    let mut told = BTreeSet::new();
    for round in 1..=ROUNDS {
        let api = setup.start();
        let application = application.get_or_insert_with(|| api.application()).clone();
        let before = api.store().webhooks(&application).len();
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let request = api.create(&application);
                tokio::spawn(async move {
                    let mut told = Vec::new();
                    // Until the server is gone.
                    while let Ok(response) = request.clone().send_unchecked().await {
                        assert_eq!(response.status, 201, "{}", response.text);
                        let id = &response.json()["id"];
                        told.push(id.as_str().expect("an id").to_owned());
                    }
                    told
                })
            })
            .collect();
        poll("some creates", PATIENCE, || {
            (api.store().webhooks(&application).len() >= before + 30).then_some(())
        })
        .await;
        setup = api.kill();
        let told_before = told.len();
        for client in clients {
            told.extend(client.await.expect("a client"));
        }
        let new = told.len() - told_before;
        assert!(new >= 20, "round {round}: {new} were told");
    }

    let api = setup.start();
    let application = application.expect("a round");
    let stored: BTreeSet<String> = api.store().webhooks(&application).into_iter().collect();
    let lost: Vec<&String> = told.difference(&stored).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    for key in api.store().keys("") {
        let document = api.store().get(&key).expect("it was listed");
        let read: Result<serde_json::Value, _> = serde_json::from_slice(&document);
        assert!(
            read.is_ok(),
            "{key}: {}",
            String::from_utf8_lossy(&document)
        );
    }
    for id in &stored {
        api.request("GET", &format!("{}/{id}", application.path()))
            .token(&application.token())
            .expect(200)
            .await;
    }
    api.create(&application).expect(201).await;
}

/// Dying between two operations of a create is an error for its client and for nobody else.
#[tokio::test]
async fn a_crash_in_the_middle_of_a_create_leaves_the_application_in_order() {
    local_runtime_only!();
    let _busy = crate::support::busy().await;
    let mut setup = Setup::new().variable("store_timeout_ms", "20000");
    for when in ["before", "after"] {
        let api = setup.start();
        let application = api.application();
        let first = api.create(&application).expect_created().await.webhook;

        let fault = Fault::crash("set").on(application.webhook_prefix());
        let fault = if when == "after" {
            fault.after()
        } else {
            fault
        };
        let fault = fault.inject(&api);
        let answer = api.create(&application).send_unchecked().await;
        assert!(answer.is_err(), "{answer:?}");
        // The server it was injected into is no more.
        std::mem::forget(fault);
        let api = api.wait().start();

        assert!(api.store().webhook(&application, &first.id).is_some());
        let second = api.create(&application).expect_created().await.webhook;
        let index = api.store().index(&application);
        assert!(
            index.contains(&first.id) && index.contains(&second.id),
            "{index:?}"
        );
        setup = api.kill();
    }
}
