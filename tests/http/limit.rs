//! `max_webhooks_per_application`: over it, 400.

use crate::configuration::token_for_custom;
use crate::support::{custom, local_runtime_only, standard};

#[tokio::test]
async fn the_fifty_first_webhook_is_400_when_requests_follow_each_other() {
    let api = standard();
    let application = api.application();
    for _ in 0..50 {
        api.create(&application).expect(201).await;
    }
    for _ in 0..3 {
        api.create(&application)
            .expect_bad_request(&[(
                "applicationId",
                "The application already has the maximum of 50 webhooks",
            )])
            .await;
    }
    // It is this application's, nobody else's.
    api.create(&api.application()).expect(201).await;
    if !crate::support::server::on_spin() {
        assert_eq!(api.store().webhooks(&application).len(), 50);
    }
}

#[tokio::test]
async fn the_maximum_comes_from_the_configuration() {
    let api = custom();
    let application = api.application();
    let create = api
        .create(&application)
        .token(&token_for_custom(&application));
    for _ in 0..3 {
        create.clone().expect(201).await;
    }
    let message = "The application already has the maximum of 3 webhooks";
    create
        .expect_bad_request(&[("applicationId", message)])
        .await;
}

/// Who is not allowed to know how many there are is not told that there are too many.
#[tokio::test]
async fn another_merchant_is_403_at_the_maximum_too() {
    let api = custom();
    let (full, other) = (api.application(), api.application());
    for _ in 0..3 {
        api.create(&full)
            .token(&token_for_custom(&full))
            .expect(201)
            .await;
    }
    api.create(&full)
        .token(&token_for_custom(&other))
        .expect(403)
        .await;
}

/// "An id without a webhook is ignored and pruned."
#[tokio::test]
async fn ids_without_a_webhook_do_not_count() {
    local_runtime_only!();
    let api = standard();
    let application = api.application();
    let ghosts: Vec<String> = (0..60).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    let index = serde_json::json!(ghosts).to_string();
    api.store().set(&application.index_key(), index.as_bytes());

    let webhook = api.create(&application).expect_created().await.webhook;
    assert!(api.store().index(&application).contains(&webhook.id));
    crate::support::poll(
        "ids without a webhook are pruned",
        crate::support::PATIENCE,
        || (api.store().index(&application) == [webhook.id.as_str()]).then_some(()),
    )
    .await;
}
