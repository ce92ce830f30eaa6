//! `max_webhooks_per_application`: over it, 400. `max_applications_per_merchant`: over it, 409.

use crate::configuration::token_for_custom;
use serde_json::{Value, json};

use crate::support::faults::trace;
use crate::support::{Application, Setup, custom, local_runtime_only, standard, unique};

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

const TOO_MANY_APPLICATIONS: &str = "The merchant already has the maximum number of applications";

#[tokio::test]
async fn a_merchant_has_as_many_applications_as_allowed_and_one_more_is_409() {
    let api = Setup::new()
        .variable("max_applications_per_merchant", "3")
        .start();
    let merchant = Application::new();
    let path = "/api/v1/applications";
    let create = |name: &str| {
        api.by(&merchant, "POST", path)
            .json(&json!({ "name": name }))
    };
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let created = create(name).expect(201).await.json();
        ids.push(created["id"].as_str().expect("an id").to_owned());
    }
    for _ in 0..2 {
        let refused = create("d").expect(409).await.json();
        assert_eq!(refused["message"], TOO_MANY_APPLICATIONS);
    }
    // It is this merchant's limit, nobody else's.
    let others = api.by(&Application::new(), "POST", path);
    others.json(&json!({"name": "d"})).expect(201).await;
    let list = api.by(&merchant, "GET", path).expect(200).await.json();
    assert_eq!(list["totalItems"], 3);
    // What is deleted makes room.
    let first = format!("{path}/{}", ids[0]);
    api.by(&merchant, "DELETE", &first).expect(204).await;
    create("d").expect(201).await;
}

/// A list of any length is the same work: the index says what a page has.
#[tokio::test]
async fn a_page_reads_only_its_own_documents() {
    local_runtime_only!();
    let api = Setup::new().variable("max_changes_per_minute", "0").start();
    let merchant = Application::new();
    let applications = "/api/v1/applications";
    let mut id = String::new();
    for number in 0..30 {
        let create = api.by(&merchant, "POST", applications);
        let created = create.json(&json!({ "name": format!("{number}") }));
        let created: Value = created.expect(201).await.json();
        id = created["id"].as_str().expect("an id").to_owned();
    }
    let application = Application {
        id,
        merchant: merchant.merchant.clone(),
    };
    for _ in 0..30 {
        api.create(&application).expect(201).await;
    }
    for (path, documents) in [
        // An application is two documents, a webhook four.
        (applications.to_owned(), 2),
        (application.path(), 4),
    ] {
        for page in ["page=1&limit=5", "page=6&limit=5", "page=1&limit=1"] {
            let name = unique("list");
            let list = api.by(&application, "GET", &format!("{path}?{page}"));
            let list = list.header("x-local-runtime-request", &name);
            let list = list.expect(200).await.json();
            assert_eq!(list["totalItems"], 30, "{list}");
            let items = list["items"].as_array().expect("items").len();
            let gets = trace(&api, &name);
            let gets = gets
                .iter()
                .filter(|operation| operation.op == "get")
                .count();
            // Beside them the index, and of webhooks the application.
            let most = 1 + items * documents + if documents == 4 { 2 } else { 0 };
            assert!(
                gets <= most,
                "{path}?{page}: {gets} reads for {items} items"
            );
        }
    }
}
