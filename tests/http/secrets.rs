//! A signing secret is told once, and at rest nobody can read it.

use base64ct::{Base64, Base64Unpadded, Base64Url, Encoding};
use serde_json::Value;

use crate::support::server::SECRETS_KEY;
use crate::support::{Setup, local_runtime_only, poll, standard};

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
