//! A merchant's whole way through the API, from nothing back to nothing.

use serde_json::json;

use crate::support::{Application, Receiver, delivering};

#[tokio::test]
async fn tour() {
    let api = delivering();
    let receiver = Receiver::answering("200 OK", b"got it");
    let merchant = Application::new();
    let applications = "/api/v1/applications";
    let at_first = api.by(&merchant, "GET", applications).expect(200).await;
    assert_eq!(at_first.json()["totalItems"], 0);

    // An application.
    let shop = api
        .by(&merchant, "POST", applications)
        .json(&json!({"name": "Shop"}));
    let id = shop.expect(201).await.json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let shop = Application { id, ..merchant };
    let shop_path = format!("{applications}/{}", shop.id);

    // Two webhooks, a page each.
    let first = api
        .create(&shop)
        .url(&receiver.url())
        .expect_created()
        .await
        .webhook;
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let second = api.create(&shop).expect_created().await.webhook;
    for (page, id) in [(1, &second.id), (2, &first.id)] {
        let path = format!("{}?page={page}&limit=1", shop.path());
        let page = api.by(&shop, "GET", &path).expect(200).await.json();
        assert_eq!(page["items"][0]["id"], id.as_str());
        assert_eq!(
            (&page["totalItems"], &page["totalPages"]),
            (&json!(2), &json!(2))
        );
    }

    // A change, a rotation, a test that verifies with the old secret and the new one.
    let path = shop.webhook_path(&first.id);
    let patch = api
        .by(&shop, "PATCH", &path)
        .json(&json!({"subscribedEvents": ["session.expired"]}));
    patch.expect(200).await;
    let rotated = api
        .by(&shop, "POST", &format!("{path}/rotate"))
        .expect(200)
        .await
        .json();
    let tested = api
        .by(&shop, "POST", &format!("{path}/test"))
        .expect(200)
        .await
        .json();
    assert_eq!(
        (&tested["success"], &tested["responseBody"]),
        (&json!(true), &json!("got it"))
    );
    let sent = receiver.last();
    let new_secret = rotated["signingSecret"].as_str().expect("a secret");
    for secret in [first.signing_secret.as_str(), new_secret] {
        assert!(sent.is_signed_with(secret));
    }
    let read = api.by(&shop, "GET", &path).expect(200).await.json();
    assert_eq!(read["lastTestStatus"], "SUCCEEDED");
    assert_eq!(read["subscribedEvents"], json!(["session.expired"]));

    // Everything goes again.
    for path in [path, shop.webhook_path(&second.id), shop_path.clone()] {
        api.by(&shop, "DELETE", &path).expect(204).await;
        api.by(&shop, "GET", &path).expect(404).await;
    }
    let at_last = api.by(&shop, "GET", applications).expect(200).await;
    assert_eq!(at_last.text, at_first.text);
}
