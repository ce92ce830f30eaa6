//! Rotations: the new secret signs from then on, the old ones until their grace ends.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::contract::NOT_FOUND;
use crate::support::faults::Fault;
use crate::support::receiver::Received;
use crate::support::{
    Application, Created, Receiver, Response, Server, delivering, local_runtime_only, standard,
};

/// A webhook whose endpoint takes everything.
async fn webhook(api: &Server, receiver: &Receiver) -> (Application, Created) {
    let application = api.application();
    let created = api
        .create(&application)
        .url(&receiver.url())
        .expect_created()
        .await;
    (application, created)
}

async fn rotate(application: &Application, created: &Created, body: Value) -> Response {
    let path = format!("{}/rotate", application.webhook_path(&created.webhook.id));
    delivering()
        .by(application, "POST", &path)
        .json(&body)
        .expect(200)
        .await
}

fn secret(response: &Response) -> String {
    response.json()["signingSecret"]
        .as_str()
        .expect("a secret")
        .to_owned()
}

/// The delivery of a test that succeeds.
async fn delivery(application: &Application, created: &Created, receiver: &Receiver) -> Received {
    let path = format!("{}/test", application.webhook_path(&created.webhook.id));
    let result = delivering()
        .by(application, "POST", &path)
        .expect(200)
        .await;
    assert_eq!(result.json()["success"], true, "{}", result.text);
    receiver.last()
}

#[tokio::test]
async fn a_rotation_tells_the_ten_fields_and_the_secret_before_with_a_new_secret_once() {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = webhook(delivering(), &receiver).await;
    tokio::time::sleep(Duration::from_millis(3)).await;
    let rotated = rotate(&application, &created, json!({})).await;

    let new = secret(&rotated);
    assert_ne!(new, created.webhook.signing_secret);
    let mut expected = created.response.json();
    expected["signingSecret"] = json!(new);
    expected["keyFingerprint"] = json!(format!("whsec_****{}", &new[new.len() - 4..]));
    expected["updatedAt"] = rotated.json()["updatedAt"].clone();
    let first = &created.webhook.key_fingerprint;
    let ends = rotated.json()["previousSecrets"][0]["expiresAt"].clone();
    expected["previousSecrets"] = json!([{"fingerprint": first, "expiresAt": ends}]);
    expected["disabledAt"] = json!(null);
    expected["disabledReason"] = json!(null);
    assert_eq!(rotated.json(), expected);
    assert!(expected["updatedAt"].as_str() > Some(created.webhook.updated_at.as_str()));
    let path = application.webhook_path(&created.webhook.id);
    let read = delivering()
        .by(&application, "GET", &path)
        .expect(200)
        .await;
    expected
        .as_object_mut()
        .expect("an object")
        .remove("signingSecret");
    assert_eq!(read.json(), expected);
    assert_eq!(read.header("etag"), rotated.header("etag"));
}

#[tokio::test]
async fn the_standard_library_verifies_with_both_secrets_during_the_grace_and_then_the_new_one() {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = webhook(delivering(), &receiver).await;
    let first = created.webhook.signing_secret.clone();
    let before = delivery(&application, &created, &receiver).await;
    assert!(before.is_signed_with(&first));
    assert_eq!(before.signatures(), 1);

    let second = secret(&rotate(&application, &created, json!({})).await);
    let during = delivery(&application, &created, &receiver).await;
    assert!(during.is_signed_with(&first) && during.is_signed_with(&second));
    assert_eq!(during.signatures(), 2);
    assert!(
        !before.is_signed_with(&second),
        "a secret that was not there yet"
    );

    let third = secret(&rotate(&application, &created, json!({"gracePeriodSeconds": 1})).await);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let after = delivery(&application, &created, &receiver).await;
    assert!(after.is_signed_with(&third));
    assert!(!after.is_signed_with(&second), "its second is over");
    assert!(
        after.is_signed_with(&first),
        "its own day of grace is not over"
    );
}

/// Who rotates because of a leak believes every secret before dead.
#[tokio::test]
async fn a_rotation_without_grace_ends_all_earlier_secrets_at_once() {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = webhook(delivering(), &receiver).await;
    let first = created.webhook.signing_secret.clone();
    let second = secret(&rotate(&application, &created, json!({})).await);
    let rotated = rotate(&application, &created, json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(rotated.json()["previousSecrets"], json!([]));
    let third = secret(&rotated);
    let after = delivery(&application, &created, &receiver).await;
    assert!(after.is_signed_with(&third));
    assert!(!after.is_signed_with(&second) && !after.is_signed_with(&first));

    // What comes after it has a grace again.
    let fourth = secret(&rotate(&application, &created, json!({})).await);
    let later = delivery(&application, &created, &receiver).await;
    assert!(later.is_signed_with(&third) && later.is_signed_with(&fourth));
    assert_eq!(later.signatures(), 2);
}

#[tokio::test]
async fn the_secrets_before_are_shown_with_when_they_end_until_they_do() {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = webhook(delivering(), &receiver).await;
    let path = application.webhook_path(&created.webhook.id);
    let previous = async || {
        let read = delivering().by(&application, "GET", &path);
        read.expect(200).await.json()["previousSecrets"].clone()
    };
    assert_eq!(previous().await, json!([]));
    let second = rotate(&application, &created, json!({"gracePeriodSeconds": 600})).await;
    let third = rotate(&application, &created, json!({"gracePeriodSeconds": 1})).await;

    let shown = third.json()["previousSecrets"].clone();
    let fingerprints = [&shown[0]["fingerprint"], &shown[1]["fingerprint"]];
    let first = json!(created.webhook.key_fingerprint);
    assert_eq!(fingerprints, [&second.json()["keyFingerprint"], &first]);
    // Both graces are counted from their rotation.
    let rotated_at = |rotated: &Response| {
        let at = rotated.json()["updatedAt"].clone();
        at.as_str().expect("a time").to_owned()
    };
    let ends = |index: usize| {
        shown[index]["expiresAt"]
            .as_str()
            .expect("a time")
            .to_owned()
    };
    assert_eq!(ends(0)[19..], rotated_at(&third)[19..], "the milliseconds");
    assert!(ends(0) > rotated_at(&third) && ends(0) < ends(1));
    let patch = delivering().by(&application, "PATCH", &path);
    let patched = patch.json(&json!({"isActive": true})).expect(200).await;
    assert_eq!(patched.json()["previousSecrets"][1], shown[1]);

    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(previous().await, json!([shown[1]]));
    rotate(&application, &created, json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(previous().await, json!([]));
}

#[tokio::test]
async fn a_rotation_of_a_webhook_that_is_deleted_meanwhile_leaves_no_secret() {
    local_runtime_only!();
    let api = standard();
    let application = api.application();
    let id = api.create(&application).expect_created().await.webhook.id;
    let path = application.webhook_path(&id);
    let secrets = format!("webhook-secrets/{}/{id}", application.id);
    // The rotation has found the webhook, and writes its secret once that is deleted.
    let fault = Fault::delay("set", Duration::from_secs(3)).on(&secrets);
    let fault = fault.times(1).inject(api);
    let rotate = api.by(&application, "POST", &format!("{path}/rotate"));
    let rotate = tokio::spawn(rotate.send());
    while fault.hits() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    api.by(&application, "DELETE", &path).expect(204).await;
    assert!(!rotate.is_finished(), "the machine is too slow for this");
    let rotated = rotate.await.expect("an answer");
    assert_eq!((rotated.status, rotated.text.as_str()), (404, NOT_FOUND));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(api.store().get(&secrets), None);
}

#[tokio::test]
async fn an_old_secret_signs_no_more_when_its_grace_is_over() {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = webhook(delivering(), &receiver).await;
    let new = secret(&rotate(&application, &created, json!({"gracePeriodSeconds": 1})).await);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let after = delivery(&application, &created, &receiver).await;

    assert!(after.is_signed_with(&new));
    assert!(!after.is_signed_with(&created.webhook.signing_secret));
    assert_eq!(after.signatures(), 1);
}

#[tokio::test]
async fn what_was_changed_on_the_way_does_not_verify() {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = webhook(delivering(), &receiver).await;
    let sent = delivery(&application, &created, &receiver).await;
    let secret = &created.webhook.signing_secret;
    assert!(sent.is_signed_with(secret));

    let mut body = sent.clone();
    body.body.push(b' ');
    assert!(!body.is_signed_with(secret));
    let second_later = sent
        .header("webhook-timestamp")
        .parse::<i64>()
        .expect("seconds")
        + 1;
    for (name, value) in [
        ("webhook-id", "msg_other".to_owned()),
        ("webhook-timestamp", second_later.to_string()),
    ] {
        let mut changed = sent.clone();
        changed
            .headers
            .insert(name, value.parse().expect("a value"));
        assert!(!changed.is_signed_with(secret), "{name}");
    }
}

#[tokio::test]
async fn at_most_five_old_secrets_live_at_a_time() {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = webhook(delivering(), &receiver).await;
    let mut secrets = vec![created.webhook.signing_secret.clone()];
    for _ in 0..7 {
        secrets.push(secret(&rotate(&application, &created, json!({})).await));
    }
    let sent = delivery(&application, &created, &receiver).await;

    assert_eq!(sent.signatures(), 6);
    let live: Vec<bool> = secrets
        .iter()
        .map(|secret| sent.is_signed_with(secret))
        .collect();
    assert_eq!(live, [false, false, true, true, true, true, true, true]);
}

#[tokio::test]
async fn the_grace_period_has_limits() {
    let receiver = Receiver::answering("200 OK", b"");
    let (application, created) = webhook(delivering(), &receiver).await;
    rotate(
        &application,
        &created,
        json!({"gracePeriodSeconds": 604_800}),
    )
    .await;
    let path = format!("{}/rotate", application.webhook_path(&created.webhook.id));
    for grace in [
        json!(-1),
        json!(604_801),
        json!(1.5),
        json!("1"),
        json!(null),
    ] {
        let request = delivering().by(&application, "POST", &path);
        let request = request.json(&json!({ "gracePeriodSeconds": grace }));
        request.expect_bad_fields(&["gracePeriodSeconds"]).await;
    }
}
