//! `jwks_url`: tokens of an identity provider that publishes its keys, changes them, and fails.
//!
//! Long because a provider can fail in many ways, and each is a test of its own.

use std::time::{Duration, Instant};

use application_webhooks::model::encryption::SecretsKey;
use application_webhooks::model::time::Timestamp;
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use crate::support::contract::{
    DEPENDENCY_FAILED, DEPENDENCY_LATE, EXPIRED, KEY_NOT_KNOWN_YET, NO_SUCH_KEY, UNAUTHORIZED,
};
use crate::support::faults::{Fault, instances_end, stats};
use crate::support::provider::{Answer, FakeProvider, OpenIdProvider};
use crate::support::server::SECRETS_KEY;
use crate::support::tokens::{Signer, configured_key_set, key_set, now, public_jwk};
use crate::support::{
    Application, PATIENCE, Response, Server, Setup, local_runtime_only, poll, report, unique,
};

/// A provider that answers with these keys.
fn provider_of(keys: &[&str]) -> FakeProvider {
    FakeProvider::start(Answer::Keys(key_set(keys)))
}

fn token_by(application: &Application, key: &str) -> String {
    application.claims().sign(&Signer::of(key))
}

/// Lists the application's webhooks with a token of this key.
async fn ask(api: &Server, application: &Application, key: &str) -> Response {
    let token = token_by(application, key);
    let list = api.request("GET", &application.path());
    list.token(&token).send().await
}

async fn expect(api: &Server, application: &Application, key: &str, status: u16) {
    let response = ask(api, application, key).await;
    assert_eq!(response.status, status, "{key}: {}", response.text);
}

/// How often the store was read.
fn reads(api: &Server) -> u64 {
    stats(api)["operations"]["get"].as_u64().unwrap_or_default()
}

/// The key of the document that holds the keys.
fn cached(api: &Server) -> Option<String> {
    api.store().keys("jwks/").pop()
}

/// In how many seconds a 503 says that it is worth to come again.
fn retry_after(response: &Response) -> u64 {
    assert_eq!(response.text, KEY_NOT_KNOWN_YET);
    let seconds = response.header("retry-after").expect("Retry-After");
    let seconds = seconds.parse().expect("a number");
    assert!((1..=10).contains(&seconds), "{seconds}");
    seconds
}

/// A set with one key that must not be believed beside one that may.
fn published_with(suspicious: Value) -> String {
    json!({ "keys": [suspicious, public_jwk("es256")] }).to_string()
}

#[tokio::test]
async fn published_keys_verify_tokens_and_so_do_the_configured_ones() {
    let provider = provider_of(&["p384", "rs256", "es256", "eddsa"]);
    let api = Setup::new()
        .jwks_url(&provider.url())
        .variable("jwks", &key_set(&["hs256"]))
        .start();
    let application = api.application();
    // The configured ones need no provider.
    expect(&api, &application, "hs256", 200).await;
    assert_eq!(provider.hits(), 0);
    for key in ["rs256", "es256", "eddsa", "hs256"] {
        expect(&api, &application, key, 200).await;
        let without = application.claims().sign(&Signer::of(key).with_kid(None));
        api.create(&application).token(&without).expect(201).await;
    }
    assert_eq!(provider.hits(), 1, "fetched once, then cached");
    for key in [
        "rs256_stranger",
        "es256_stranger",
        "hs256_second",
        "hs256_stranger",
    ] {
        expect(&api, &application, key, 401).await;
    }
}

/// What everybody can read proves nothing, and what is too weak or for something else neither.
#[tokio::test]
async fn unsuitable_published_keys_are_skipped() {
    local_runtime_only!();
    let with_private_part = {
        let mut jwk = public_jwk("eddsa");
        jwk["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        jwk
    };
    let rsa_for_encryption = {
        let mut jwk = public_jwk("rs256");
        jwk["use"] = json!("enc");
        jwk
    };
    let provider = provider_of(&["es256"]);
    let api = Setup::new().jwks_url(&provider.url()).start();
    let application = api.application();
    let many: Vec<Value> = (0..64)
        .map(|number| json!({"kty": "oct", "kid": number.to_string()}))
        .chain([public_jwk("eddsa")])
        .collect();
    for (set, signed_with) in [
        (published_with(public_jwk("hs256")), "hs256"),
        (published_with(with_private_part), "eddsa"),
        (published_with(rsa_for_encryption), "rs256"),
        (
            published_with(json!({"kty": "quantum", "kid": "x"})),
            "eddsa",
        ),
        (published_with(json!("no object")), "eddsa"),
        (
            published_with(json!({"kty": "RSA", "n": "!", "e": 1})),
            "rs256",
        ),
    ] {
        provider.answer(Answer::Keys(set));
        instances_end(&api).await;
        api.store().delete_all("jwks");
        expect(&api, &application, signed_with, 401).await;
        let without = Signer::of(signed_with).with_kid(None);
        let token = application.claims().sign(&without);
        api.create(&application).token(&token).expect(401).await;
        expect(&api, &application, "es256", 200).await;
    }
    // 64 are read, whatever they are.
    provider.answer(Answer::Keys(json!({ "keys": many }).to_string()));
    api.store().delete_all("jwks");
    instances_end(&api).await;
    expect(&api, &application, "eddsa", 502).await;
}

#[tokio::test]
async fn without_keys_a_provider_that_fails_is_502_one_that_is_late_504_and_then_it_recovers() {
    const DEADLINE: Duration = Duration::from_secs(5);
    /// How long a failure is remembered.
    const REMEMBERED: Duration = Duration::from_secs(1);

    local_runtime_only!();
    let good = key_set(&["es256"]);
    let provider = FakeProvider::start(Answer::Hang);
    let api = Setup::new()
        .jwks_url(&provider.url())
        .variable("store_timeout_ms", &DEADLINE.as_millis().to_string())
        .start();
    let application = api.application();
    let long = json!({"keys": [public_jwk("es256")], "padding": "x".repeat(64 * 1024)});
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffff\r\n".to_vec();
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n{good}").into_bytes();
    let endless = [chunked, b"x".repeat(0x00ff_ffff)].concat();
    for (what, answer, expected) in [
        ("500", Answer::Status(500, good.clone()), DEPENDENCY_FAILED),
        ("404", Answer::Status(404, good.clone()), DEPENDENCY_FAILED),
        (
            "a redirect",
            Answer::Status(302, good.clone()),
            DEPENDENCY_FAILED,
        ),
        (
            "another success",
            Answer::Status(201, good.clone()),
            DEPENDENCY_FAILED,
        ),
        (
            "no JSON",
            Answer::Keys("<html>".to_owned()),
            DEPENDENCY_FAILED,
        ),
        ("no set", Answer::Keys("[]".to_owned()), DEPENDENCY_FAILED),
        (
            "no key",
            Answer::Keys(r#"{"keys":[]}"#.to_owned()),
            DEPENDENCY_FAILED,
        ),
        (
            "no usable key",
            Answer::Keys(key_set(&["p384", "hs256"])),
            DEPENDENCY_FAILED,
        ),
        (
            "no UTF-8",
            Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xff".to_vec()),
            DEPENDENCY_FAILED,
        ),
        (
            "over 64 KiB",
            Answer::Keys(long.to_string()),
            DEPENDENCY_FAILED,
        ),
        ("without end", Answer::Raw(endless), DEPENDENCY_FAILED),
        ("cut off", Answer::Raw(cut), DEPENDENCY_FAILED),
        (
            "no HTTP",
            Answer::Raw(b"SSH-2.0\r\n\r\n".to_vec()),
            DEPENDENCY_FAILED,
        ),
        ("closed at once", Answer::Raw(Vec::new()), DEPENDENCY_FAILED),
        ("nothing", Answer::Hang, DEPENDENCY_LATE),
    ] {
        provider.answer(answer);
        let begun = Instant::now();
        let response = loop {
            // The last failure is forgotten.
            tokio::time::sleep(REMEMBERED + Duration::from_millis(100)).await;
            let hits = provider.hits();
            let mut failed = Instant::now();
            let response = ask(&api, &application, "es256").await;
            assert_eq!(response.text, expected, "{what}");
            assert_eq!(provider.hits(), hits + 1, "{what}");
            if expected == DEPENDENCY_LATE {
                failed += DEADLINE;
            }
            let again = ask(&api, &application, "es256").await;
            assert_eq!(again.text, expected, "{what}");
            // `failed` is no later than the failure, so on a fast machine this one is remembered.
            if failed.elapsed() < REMEMBERED {
                assert_eq!(provider.hits(), hits + 1, "{what}: asked again so soon");
                break response;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: too slow to tell");
        };
        let log = crate::logs::line_of(&api, response.request_id()).await;
        assert!(log.contains("jwks_url"), "{what}: {log}");
    }
    assert!(cached(&api).is_none());
    provider.answer(Answer::Keys(good));
    tokio::time::sleep(REMEMBERED + Duration::from_millis(100)).await;
    expect(&api, &application, "es256", 200).await;
    assert!(!api.output().contains("sesame"), "the URL is told");
}

#[tokio::test]
async fn a_token_with_an_unknown_kid_brings_the_new_keys_at_once() {
    let provider = provider_of(&["es256"]);
    let api = Setup::new().jwks_url(&provider.url()).start();
    let application = api.application();
    expect(&api, &application, "es256", 200).await;
    let without_kid = application
        .claims()
        .sign(&Signer::of("eddsa").with_kid(None));
    let create = api.create(&application).token(&without_kid);
    create.clone().expect_error(UNAUTHORIZED).await;
    provider.answer(Answer::Keys(key_set(&["eddsa"])));
    expect(&api, &application, "eddsa", 200).await;
    // The old one was accepted and remembered, but its key is gone; the other was refused and
    // remembered, and its key is there.
    expect(&api, &application, "es256", 503).await;
    create.expect(201).await;
    assert_eq!(provider.hits(), 2);
}

/// Clients take 401 for final: it must not come where the provider may have published the key since
/// it was asked.
#[tokio::test]
async fn an_unknown_kid_just_after_a_look_is_503_with_retry_after_and_not_401() {
    let provider = provider_of(&["es256"]);
    let api = Setup::new().jwks_url(&provider.url()).start();
    let application = api.application();
    expect(&api, &application, "es256", 200).await;
    // The provider says that there is no such key.
    let stranger = Signer::of("es256_stranger").with_kid(Some("unknown"));
    let noise = application.claims().sign(&stranger);
    let request = api.create(&application).token(&noise);
    let since = Instant::now();
    let refused = request.expect_error(UNAUTHORIZED).await;
    assert_eq!(refused.header("www-authenticate"), Some(NO_SUCH_KEY));
    assert_eq!(provider.hits(), 2);

    // Then there is one, and the next look is 10 s away.
    provider.answer(Answer::Keys(key_set(&["es256", "eddsa"])));
    let response = ask(&api, &application, "eddsa").await;
    let wait = retry_after(&response);
    let log = crate::logs::line_of(&api, response.request_id()).await;
    assert!(log.contains("the token's key is unknown"), "{log}");
    expect(&api, &application, "es256", 200).await;
    // What no key could make good is refused at once, and so is what a key signed that the provider
    // must have published before it was asked.
    let signer = Signer::of("eddsa");
    for (token, challenge) in [
        (application.claims().claim("exp", now() - 3600), EXPIRED),
        (application.claims().claim("iat", now() - 600), NO_SUCH_KEY),
    ] {
        let request = api.create(&application).token(&token.sign(&signer));
        let refused = request.expect_error(UNAUTHORIZED).await;
        assert_eq!(refused.header("www-authenticate"), Some(challenge));
    }
    let without_iat = application.claims().without("iat").sign(&signer);
    let request = api.create(&application).token(&without_iat);
    retry_after(&request.expect(503).await);
    assert!(since.elapsed() < Duration::from_secs(9), "too slow to tell");
    assert_eq!(provider.hits(), 2);

    tokio::time::sleep(Duration::from_secs(wait)).await;
    expect(&api, &application, "eddsa", 200).await;
    assert_eq!(provider.hits(), 3);
}

/// One instance's newer set does not answer for the provider: the key may be newer still.
#[tokio::test]
async fn a_newer_set_in_the_store_that_lacks_the_key_is_not_the_last_word() {
    local_runtime_only!();
    let provider = provider_of(&["es256"]);
    let setup = Setup::new()
        .jwks_url(&provider.url())
        .variable("jwks_cache_seconds", "86400");
    let one = setup.clone().start();
    let two = setup.start();
    let application = one.application();
    expect(&one, &application, "es256", 200).await;
    expect(&two, &application, "es256", 200).await;
    provider.answer(Answer::Keys(key_set(&["es256", "rs256"])));
    expect(&one, &application, "rs256", 200).await;
    // The newer set is written before the note of the look. Meanwhile the instance that knows the
    // older one must not end.
    let since = Instant::now();
    while one.store().keys("jwks-attempt/").is_empty() {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "no look is noted"
        );
        expect(&two, &application, "es256", 200).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // As if that look were long over.
    one.store().delete_all("jwks-attempt/");
    provider.answer(Answer::Keys(key_set(&["es256", "rs256", "eddsa"])));
    expect(&two, &application, "eddsa", 200).await;
}

#[tokio::test]
async fn a_key_set_without_kids_verifies_tokens_that_have_one() {
    let nameless = |name: &str| {
        let mut jwk = public_jwk(name);
        jwk.as_object_mut().expect("an object").remove("kid");
        jwk
    };
    let keys = json!({"keys": [nameless("es256"), nameless("eddsa")]}).to_string();
    let provider = FakeProvider::start(Answer::Keys(keys.clone()));
    for setup in [
        Setup::new().jwks_url(&provider.url()),
        Setup::new().variable("jwks", &keys),
    ] {
        let api = setup.start();
        let application = api.application();
        for key in ["es256", "eddsa"] {
            expect(&api, &application, key, 200).await;
            let signer = Signer::of(key).with_kid(Some("of the provider"));
            let token = application.claims().sign(&signer);
            api.create(&application).token(&token).expect(201).await;
        }
        for key in ["es256_stranger", "eddsa_stranger", "rs256"] {
            expect(&api, &application, key, 401).await;
        }
    }
    assert_eq!(provider.hits(), 1, "the kid says nothing, so nobody looks");
}

#[tokio::test]
async fn the_fetch_says_who_asks() {
    let provider = provider_of(&["es256"]);
    let api = Setup::new().jwks_url(&provider.url()).start();
    expect(&api, &api.application(), "es256", 200).await;
    let head = provider.last_head().to_lowercase();
    let agent = concat!(
        "\r\nuser-agent: application-webhooks/",
        env!("CARGO_PKG_VERSION"),
        "\r\n"
    );
    assert!(head.contains(agent), "{head}");
    assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
}

#[tokio::test]
async fn skipped_keys_are_named_in_the_log_once_with_the_reason() {
    local_runtime_only!();
    let set = |more: &[Value]| {
        let mut weak = public_jwk("rsa_2047_bits");
        weak["kid"] = json!("weak");
        let mut keys = vec![
            public_jwk("es256"),
            weak,
            json!({"kty": "quantum", "kid": "odd\nname"}),
            json!({"kty": "RSA", "n": "!", "e": "AQAB"}),
            public_jwk("p384"),
        ];
        keys.extend_from_slice(more);
        Answer::Keys(json!({ "keys": keys }).to_string())
    };
    let provider = FakeProvider::start(set(&[]));
    let api = Setup::new()
        .jwks_url(&provider.url())
        .variable("jwks_cache_seconds", SHORT)
        .start();
    let application = api.application();
    let warnings = || -> Vec<String> {
        let lines = api.stdout_lines();
        let of_keys = lines.into_iter().filter(|line| line.contains("not used"));
        of_keys.collect()
    };
    expect(&api, &application, "es256", 200).await;
    let first = poll("a warning", Duration::from_secs(10), || warnings().pop()).await;
    let line: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(line["level"], "warn");
    assert_eq!(
        line["error"],
        r#"keys of jwks_url not used: "weak" is an RSA key of under 2,048 bits, "odd\nname" has another kty, number 4 cannot be read, "test-p384" has another crv"#
    );
    // Not with every fetch, and in the next set only what is new.
    let hits = provider.hits();
    let since = Instant::now();
    while provider.hits() < hits + 1 {
        assert!(since.elapsed() < Duration::from_secs(30), "no refresh");
        expect(&api, &application, "es256", 200).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let encrypts = json!({"kty": "RSA", "use": "enc", "kid": "new", "n": "AQAB", "e": "AQAB"});
    provider.answer(set(&[encrypts]));
    expect(&api, &application, "eddsa", 401).await;
    let second = poll("another warning", Duration::from_secs(10), || {
        warnings().get(1).cloned()
    })
    .await;
    assert!(second.contains("has another use than sig"), "{second}");
    assert!(!second.contains("weak"), "{second}");
    assert_eq!(warnings().len(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_kids_reaches_neither_the_provider_nor_the_store() {
    local_runtime_only!();
    const REQUESTS: u64 = 400;
    const AT_ONCE: u64 = 16;
    let stranger = |application: &Application| {
        let kid = unique("kid");
        let signer = Signer::of("es256_stranger").with_kid(Some(&kid));
        application.claims().sign(&signer)
    };
    let provider = provider_of(&["es256"]);
    let api = Setup::new().jwks_url(&provider.url()).start();
    let application = api.application();
    expect(&api, &application, "es256", 200).await;
    let since = Instant::now();
    let first = api.create(&application).token(&stranger(&application));
    first.expect_error(UNAUTHORIZED).await;
    assert_eq!(provider.hits(), 2);
    poll("the look is noted", Duration::from_secs(10), || {
        api.store().keys("jwks-attempt/").pop()
    })
    .await;
    let (hits, before) = (provider.hits(), reads(&api));
    for _ in 0..REQUESTS / AT_ONCE {
        let flood = (0..AT_ONCE).map(|_| async {
            let request = api.create(&application).token(&stranger(&application));
            let response = request.send().await;
            // One in 10 s asks the provider; the others come too soon after it.
            match response.status {
                401 => assert_eq!(response.text, UNAUTHORIZED),
                _ => assert!(retry_after(&response) > 0),
            }
        });
        futures::future::join_all(flood).await;
    }
    // Each instance that knows of no look within 10 s takes one, and reads two documents before.
    let instances = stats(&api)["instances"].as_u64().expect("a number");
    let windows = since.elapsed().as_secs() / 10;
    let asked = (provider.hits() - hits) as u64;
    assert!(asked <= windows * instances, "{asked} in {windows} windows");
    let read = reads(&api) - before;
    assert!(read <= 2 * instances * (windows + 1), "{read} reads");
    // A request that looked itself would read two. The slower the machine, the more instances there are.
    assert!(read < REQUESTS, "{read} reads by {instances} instances");
}

#[tokio::test]
async fn a_new_instance_starts_with_the_cached_keys_while_the_provider_is_down() {
    local_runtime_only!();
    let provider = provider_of(&["es256"]);
    let api = Setup::new().jwks_url(&provider.url()).start();
    let application = api.application();
    expect(&api, &application, "es256", 200).await;
    poll("the keys are cached", Duration::from_secs(10), || {
        cached(&api)
    })
    .await;
    provider.answer(Answer::Hang);
    let before = stats(&api)["instances"].clone();
    instances_end(&api).await;
    let since = Instant::now();
    expect(&api, &application, "es256", 200).await;
    assert!(since.elapsed() < Duration::from_secs(10));
    assert_ne!(stats(&api)["instances"], before);
    assert_eq!(provider.hits(), 1);
}

/// A key that was changed because it leaked must not help who can write into the store.
#[tokio::test]
async fn cached_keys_under_the_previous_secrets_key_are_not_believed() {
    local_runtime_only!();
    let previous = [7; 32];
    let provider = provider_of(&["es256"]);
    let api = Setup::new()
        .jwks_url(&provider.url())
        .variable("secrets_key_previous", &Base64::encode_string(&previous))
        .start();
    let application = api.application();
    expect(&api, &application, "es256", 200).await;
    let document = poll("the keys are cached", Duration::from_secs(10), || {
        cached(&api)
    })
    .await;
    let fetched_at = Timestamp::now();
    let forged = json!({"fetchedAt": fetched_at, "set": key_set(&["es256_stranger"])}).to_string();
    for (key, believed) in [(previous, false), (SECRETS_KEY, true)] {
        let key = SecretsKey::parse(&Base64::encode_string(&key)).expect("a key");
        let sealed = key.seal(&document, forged.as_bytes());
        let sealed = serde_json::to_vec(&sealed).expect("JSON");
        instances_end(&api).await;
        api.store().set(&document, &sealed);
        let hits = provider.hits();
        let response = ask(&api, &application, "es256_stranger").await;
        // That the current key is believed shows that the forgery is one.
        assert_eq!(response.status, if believed { 200 } else { 401 });
        assert_eq!(provider.hits() > hits, !believed, "fetched anew");
    }
}

/// Whoever can write into the store must not be able to make keys of their own count.
#[tokio::test]
async fn keys_that_others_put_into_the_store_are_not_believed() {
    local_runtime_only!();
    let provider = provider_of(&["es256"]);
    let api = Setup::new().jwks_url(&provider.url()).start();
    let application = api.application();
    expect(&api, &application, "es256", 200).await;
    let document = poll("the keys are cached", Duration::from_secs(10), || {
        cached(&api)
    })
    .await;
    let sealed = api.store().get(&document).expect("there");
    // With its quotation marks, which Base64 has none of: without them it is there by chance at times.
    let text = String::from_utf8_lossy(&sealed);
    assert!(!text.contains(r#""kty""#) && !text.contains(r#"\"kty\""#));
    let stranger = key_set(&["es256_stranger"]);
    let forged = json!({"fetchedAt": "2099-01-01T00:00:00.000Z", "set": stranger});
    let mut flipped = sealed.clone();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    for forged in [
        forged.to_string().into_bytes(),
        json!(forged.to_string()).to_string().into_bytes(),
        flipped,
        b"\xff".to_vec(),
        Vec::new(),
    ] {
        let hits = provider.hits();
        api.store().set(&document, &forged);
        instances_end(&api).await;
        expect(&api, &application, "es256_stranger", 401).await;
        expect(&api, &application, "es256", 200).await;
        assert!(provider.hits() > hits, "fetched anew");
    }
}

#[tokio::test]
async fn two_processes_on_one_store_share_what_they_fetched() {
    local_runtime_only!();
    let provider = provider_of(&["es256"]);
    let setup = Setup::new().jwks_url(&provider.url());
    let one = setup.clone().start();
    let application = one.application();
    expect(&one, &application, "es256", 200).await;
    poll("the keys are cached", Duration::from_secs(10), || {
        cached(&one)
    })
    .await;
    let two = setup.start();
    expect(&two, &application, "es256", 200).await;
    assert_eq!(provider.hits(), 1, "the second found the first one's keys");

    provider.answer(Answer::Keys(key_set(&["eddsa"])));
    expect(&one, &application, "eddsa", 200).await;
    assert_eq!(provider.hits(), 2);
    poll("the look is noted", Duration::from_secs(10), || {
        one.store().keys("jwks-attempt/").pop()
    })
    .await;
    expect(&two, &application, "eddsa", 200).await;
    expect(&two, &application, "es256", 503).await;
    assert_eq!(
        provider.hits(),
        2,
        "the second found the first one's new keys"
    );
}

/// The least lifetime: keys are refreshed at 5 to 7.5 s and expire at 10 s.
const SHORT: &str = "10";

#[tokio::test]
async fn a_withdrawn_key_is_believed_no_longer_than_it_is_cached() {
    let provider = provider_of(&["es256", "eddsa"]);
    let api = Setup::new()
        .jwks_url(&provider.url())
        .variable("jwks_cache_seconds", SHORT)
        .start();
    let application = api.application();
    expect(&api, &application, "es256", 200).await;
    provider.answer(Answer::Keys(key_set(&["eddsa"])));
    let since = Instant::now();
    loop {
        let asked_at = since.elapsed();
        let response = ask(&api, &application, "es256").await;
        if response.status == 401 {
            break;
        }
        assert_eq!(response.status, 200, "{}", response.text);
        assert!(
            asked_at < Duration::from_secs(10),
            "believed at {asked_at:?}"
        );
        expect(&api, &application, "eddsa", 200).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    expect(&api, &application, "eddsa", 200).await;
    // Fetched, refreshed, and looked at for the key that is not there any more.
    assert_eq!(provider.hits(), 3);
}

/// Keys that are due are refreshed behind the requests; once they have expired, one round of
/// requests finds out that the provider fails, and the old keys go on.
#[tokio::test]
async fn a_provider_that_hangs_holds_no_request_and_its_keys_serve_on() {
    let provider = provider_of(&["es256"]);
    let api = Setup::new()
        .jwks_url(&provider.url())
        .variable("jwks_cache_seconds", SHORT)
        .variable("store_timeout_ms", "4000")
        .start();
    let application = api.application();
    expect(&api, &application, "es256", 200).await;
    let fetched = Instant::now();
    provider.answer(Answer::Hang);
    let mut slowest = Duration::ZERO;
    while fetched.elapsed() < Duration::from_secs(25) {
        let asked = Instant::now();
        expect(&api, &application, "es256", 200).await;
        if fetched.elapsed() < Duration::from_secs(9) {
            slowest = slowest.max(asked.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(provider.hits() >= 3, "{} fetches", provider.hits());
    assert!(
        slowest < Duration::from_secs(3),
        "a request took {slowest:?}"
    );
    // And when the provider is back, so are its new keys.
    provider.answer(Answer::Keys(key_set(&["eddsa"])));
    let since = Instant::now();
    while ask(&api, &application, "eddsa").await.status != 200 {
        assert!(since.elapsed() < PATIENCE, "no recovery");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn requests_at_a_cold_start_share_a_fetch() {
    local_runtime_only!();
    let slow = Answer::Slow(Duration::from_millis(500), key_set(&["es256"]));
    let provider = FakeProvider::start(slow);
    let api = Setup::new()
        .jwks_url(&provider.url())
        .variable("jwks", &key_set(&["hs256"]))
        .start();
    let application = api.application();
    // An instance is there, and takes 16 requests at a time.
    expect(&api, &application, "hs256", 200).await;
    let requests = (0..12).map(|_| expect(&api, &application, "es256", 200));
    futures::future::join_all(requests).await;
    let instances = stats(&api)["instances"].as_u64().expect("a number");
    let hits = provider.hits() as u64;
    assert!(hits <= instances, "{hits} fetches by {instances} instances");
    assert!(hits < 12, "{hits} fetches by {instances} instances");
}

#[tokio::test]
async fn a_store_that_cannot_keep_the_keys_does_not_matter() {
    local_runtime_only!();
    let provider = provider_of(&["es256"]);
    let api = Setup::new().jwks_url(&provider.url()).start();
    let application = api.application();
    let unread = Fault::error("get").on("jwks").inject(&api);
    let unwritten = Fault::error("set").on("jwks").inject(&api);
    expect(&api, &application, "es256", 200).await;
    assert!(unread.hits() > 0);
    poll("a write is tried", Duration::from_secs(10), || {
        (unwritten.hits() > 0).then_some(())
    })
    .await;
    drop((unread, unwritten));
    expect(&api, &application, "es256", 200).await;
}

/// The real thing: npm's `oidc-provider`, its `jwks_uri`, the tokens it issues.
#[tokio::test]
async fn an_openid_provider_changes_its_keys_and_no_valid_token_is_refused() {
    let application = Application::new();
    let Some(mut provider) = OpenIdProvider::start(&[&application]) else {
        report::not_run(
            "tokens of a real OpenID provider",
            "npm or its package oidc-provider is missing",
        );
        return;
    };
    let api = Setup::new()
        .jwks_url(&provider.url())
        .variable("jwks", &configured_key_set())
        .variable("jwks_cache_seconds", SHORT)
        .variable("jwt_issuer", &provider.issuer())
        .variable("jwt_audience", "https://api.example.com")
        .variable("max_webhooks_per_application", "10000")
        .document(&application.key(), &application.document())
        .start();

    let accepted = async |token: &str| {
        let list = api.request("GET", &application.path()).token(token);
        list.expect(200).await;
    };
    let first = provider.token(&application).await;
    api.create(&application).token(&first).expect(201).await;
    for _ in 0..2 {
        // Both keys are published: the old token stays valid, and so is the new one at once.
        let old = provider.token(&application).await;
        accepted(&old).await;
        provider.rotate("overlap");
        let new = provider.token(&application).await;
        assert_ne!(header(&old)["kid"], header(&new)["kid"]);
        accepted(&new).await;
        // From the look for the new key on: the next one is 10 s away.
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(11) {
            let fresh = provider.token(&application).await;
            let requests = [&old, &new, &fresh].map(|token| accepted(token));
            futures::future::join_all(requests).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // All keys are new at once: the first token that names one brings it.
    let withdrawn = provider.token(&application).await;
    provider.rotate("replace");
    let new = provider.token(&application).await;
    accepted(&new).await;
    // Keys that are not published any more. Not before: an unknown key takes the next look. An
    // instance that had the keys before believes them until they expire, and one that has just looked
    // does not say yet that there is no such key.
    let refused = api.create(&application).token(&withdrawn);
    let since = Instant::now();
    let response = loop {
        let response = refused.clone().send().await;
        match response.status {
            201 => tokio::time::sleep(Duration::from_millis(200)).await,
            503 => tokio::time::sleep(Duration::from_secs(retry_after(&response))).await,
            _ => break response,
        }
        assert!(since.elapsed() < PATIENCE, "{}", response.text);
    };
    assert_eq!(response.status, 401, "{}", response.text);
    assert_eq!(response.text, UNAUTHORIZED);
    // A token of the right key with another signature.
    let token = provider.token(&application).await;
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let other = first.rsplit_once('.').expect("three parts").1;
    assert_ne!(signature, other);
    let forged = api.create(&application).token(&format!("{signed}.{other}"));
    forged.expect_error(UNAUTHORIZED).await;
}

fn header(token: &str) -> Value {
    use base64ct::Base64UrlUnpadded;
    let part = token.split('.').next().unwrap_or_default();
    let json = Base64UrlUnpadded::decode_vec(part).expect("base64");
    serde_json::from_slice(&json).expect("JSON")
}
