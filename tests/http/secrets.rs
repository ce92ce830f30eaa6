//! A signing secret is told once, and at rest nobody can read it.

use base64ct::{Base64, Base64Unpadded, Base64Url, Encoding};
use serde_json::Value;

use crate::support::receiver::Received;
use crate::support::server::{OPERATOR_TOKEN, SECRETS_KEY, dispatching_setup};
use crate::support::{
    Application, PATIENCE, Receiver, Server, Setup, local_runtime_only, poll, standard,
};

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[tokio::test]
async fn the_store_on_disk_does_not_have_the_secret_in_any_form() {
    local_runtime_only!();
    let api = Setup::new().start();
    let application = api.application();
    let webhook = api.create(&application).expect_created().await.webhook;
    poll("the webhook is on disk", crate::support::PATIENCE, || {
        contains(&api.store().bytes(), webhook.id.as_bytes()).then_some(())
    })
    .await;

    let disk = api.store().bytes();
    let encoded = webhook.signing_secret.trim_start_matches("whsec_");
    let bytes = Base64::decode_vec(encoded).expect("base64");
    let hex = base16ct::lower::encode_string(&bytes);
    for form in [
        webhook.signing_secret.as_bytes(),
        encoded.as_bytes(),
        &bytes,
        hex.as_bytes(),
        hex.to_uppercase().as_bytes(),
        Base64Url::encode_string(&bytes).as_bytes(),
        Base64::encode_string(webhook.signing_secret.as_bytes()).as_bytes(),
        Base64::encode_string(encoded.as_bytes()).as_bytes(),
        // Parts of it would be too much as well.
        &encoded.as_bytes()[..16],
        &bytes[..12],
    ] {
        assert!(!contains(&disk, form), "{}", String::from_utf8_lossy(form));
    }
    for key in [
        &SECRETS_KEY[..],
        Base64Unpadded::encode_string(&SECRETS_KEY).as_bytes(),
        application.token().as_bytes(),
    ] {
        assert!(!contains(&disk, key), "{}", String::from_utf8_lossy(key));
    }
}

#[tokio::test]
async fn equal_webhooks_are_sealed_differently_and_say_with_which_version() {
    local_runtime_only!();
    let api = standard();
    let application = api.application();
    let mut sealed = Vec::new();
    for _ in 0..4 {
        let webhook = api.create(&application).expect_created().await.webhook;
        let document = api
            .store()
            .webhook(&application, &webhook.id)
            .expect("stored");
        let text = document["secret"]["sealed"]
            .as_str()
            .expect("text")
            .to_owned();
        let bytes = Base64::decode_vec(&text)
            .or_else(|_| Base64Unpadded::decode_vec(&text))
            .or_else(|_| Base64Url::decode_vec(&text))
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        // A version, a nonce and a tag besides the secret.
        assert!(bytes.len() > 1 + 36 + 12 + 16 - 1, "{}", bytes.len());
        sealed.push(bytes);
    }
    for pair in sealed.windows(2) {
        assert_eq!(pair[0][0], pair[1][0], "the version comes first");
        assert_ne!(pair[0][1..13], pair[1][1..13], "a nonce twice");
        assert_ne!(pair[0], pair[1]);
    }
}

#[tokio::test]
async fn no_error_ever_tells_a_secret() {
    let api = standard();
    let application = api.application();
    let secret = api
        .create(&application)
        .expect_created()
        .await
        .webhook
        .signing_secret;
    let stranger = api.application();
    for request in [
        api.create(&application).body(""),
        api.create(&application).without_token(),
        api.create(&application).token(&stranger.token()),
        api.request("GET", &application.path()),
        api.request("DELETE", &application.path())
            .token(&application.token()),
    ] {
        let response = request.send().await;
        assert!(response.status >= 400, "{}", response.text);
        assert!(!response.text.contains(&secret), "{}", response.text);
        assert!(!response.text.contains("whsec_"), "{}", response.text);
        assert_eq!(response.json()["signingSecret"], Value::Null);
    }
}

/// Publishes an event, and returns its first attempt.
async fn delivered(api: &Server, application: &Application, receiver: &Receiver) -> Received {
    let published = api.publish(application).expect(202).await.json();
    let is_it = |sent: &Received| *sent.header("webhook-id") == published["id"];
    let find = || receiver.received().into_iter().find(is_it);
    poll("a delivery", PATIENCE, find).await
}

/// A webhook that was never rotated has one secret, in its own document, which is not written again.
#[tokio::test]
async fn a_first_secret_that_was_encrypted_anew_signs_on_and_can_be_rotated() {
    let keys = [1, 2].map(|byte| Base64::encode_string(&[byte; 32]));
    let receiver = Receiver::answering("200 OK", b"");
    let setup = dispatching_setup().variable("operator_token", OPERATOR_TOKEN);
    let api = setup.variable("secrets_key", &keys[0]).start();
    let application = api.application();
    let create = api.create(&application).url(&receiver.url());
    let webhook = create.expect_created().await.webhook;
    let old = &webhook.signing_secret;
    assert!(
        delivered(&api, &application, &receiver)
            .await
            .is_signed_with(old)
    );

    let setup = api.stop().variable("secrets_key", &keys[1]);
    let api = setup.variable("secrets_key_previous", &keys[0]).start();
    let reencrypt = api.request("POST", "/operator/v1/reencrypt");
    let reencrypt = reencrypt.token(OPERATOR_TOKEN).send_unchecked();
    let lines = reencrypt.await.expect("an answer").text;
    assert!(lines.contains(r#""repaired":1,"left":0"#), "{lines}");

    // A process that has the new key only.
    let api = api.stop().without("secrets_key_previous").start();
    let path = application.webhook_path(&webhook.id);
    let read = api.by(&application, "GET", &path).expect(200).await.json();
    assert_eq!(read["keyFingerprint"], webhook.key_fingerprint);
    let sent = delivered(&api, &application, &receiver).await;
    assert_eq!(sent.signatures(), 1);
    assert!(sent.is_signed_with(old));

    let rotate = api.by(&application, "POST", &format!("{path}/rotate"));
    let rotated = rotate.expect(200).await.json();
    let new = rotated["signingSecret"].as_str().expect("a secret");
    let sent = delivered(&api, &application, &receiver).await;
    assert_eq!(sent.signatures(), 2);
    assert!(sent.is_signed_with(new) && sent.is_signed_with(old));
}
