//! Bearer tokens: which are believed, and which are not.
//!
//! Long because each way in which a token can be wrong is a line of its tables.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::configuration::claims_for_custom;
use crate::support::contract::{
    EXPIRED, FORBIDDEN, INVALID_TOKEN, MALFORMED, NO_SUCH_KEY, NO_TOKEN, NOT_YET_VALID, TOO_LONG,
    UNAUTHORIZED,
};
use crate::support::tokens::{
    MERCHANT_OF_THE_FIXTURES, Signer, Token, hs256, now, of_another_implementation, public_jwk,
    public_pem, sign_parts,
};
use crate::support::{
    Application, PATIENCE, Server, Setup, custom, local_runtime_only, poll, standard,
};

/// The names of the configured keys that verify tokens.
const KEYS: [&str; 5] = ["hs256", "hs256_second", "rs256", "es256", "eddsa"];

async fn accepted(application: &Application, token: &str) {
    standard()
        .create(application)
        .token(token)
        .expect(201)
        .await;
}

async fn refused_by(api: &Server, application: &Application, token: &str, why: &str) {
    let response = api.create(application).token(token).send().await;
    assert_eq!(response.text, UNAUTHORIZED, "{why}");
    let challenge = response.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with(INVALID_TOKEN), "{why}: {challenge}");
}

/// The challenge is this one, to the character.
async fn refused_with(api: &Server, application: &Application, token: &str, challenge: &str) {
    let response = api.create(application).token(token).send().await;
    assert_eq!(response.text, UNAUTHORIZED, "{token}");
    let said = response.header("www-authenticate");
    assert_eq!(said, Some(challenge), "{token}");
}

async fn refused(application: &Application, token: &str, why: &str) {
    refused_by(standard(), application, token, why).await;
}

#[tokio::test]
async fn each_algorithm_is_accepted_from_its_key() {
    let application = standard().application();
    for key in KEYS {
        accepted(&application, &application.claims().sign(&Signer::of(key))).await;
    }
}

/// RFC 9864 §2.2: on an Ed25519 key both names mean one algorithm.
#[tokio::test]
async fn ed25519_is_another_name_of_eddsa() {
    let application = standard().application();
    let signer = || Signer::of("eddsa").calling_itself("Ed25519");
    accepted(&application, &application.claims().sign(&signer())).await;
    let without = signer().with_kid(None);
    accepted(&application, &application.claims().sign(&without)).await;
    let stranger = Signer::of("eddsa_stranger").calling_itself("Ed25519");
    refused_with(
        standard(),
        &application,
        &application.claims().sign(&stranger),
        INVALID_TOKEN,
    )
    .await;
}

/// RFC 6750 §3: what a client can act on, and nothing that tells who else has which tokens.
#[tokio::test]
async fn the_challenge_says_what_is_wrong_with_a_token_and_no_more() {
    let api = standard();
    let application = api.application();
    let claims = application.claims();
    let signed = |claims: Token| claims.sign(hs256());
    let unknown = Signer::of("hs256").with_kid(Some("unknown"));
    let other_algorithm = Signer::of("hs256").calling_itself("RS512");
    for (token, challenge) in [
        (signed(claims.clone().claim("exp", now() - 3600)), EXPIRED),
        (
            signed(claims.clone().claim("nbf", now() + 3600)),
            NOT_YET_VALID,
        ),
        (claims.sign(&unknown), NO_SUCH_KEY),
        (claims.sign(&other_algorithm), NO_SUCH_KEY),
        (claims.sign(&Signer::none()), NO_SUCH_KEY),
        ("garbage".to_owned(), MALFORMED),
        (signed(claims.clone().header("kid", 1)), MALFORMED),
        (signed(claims.clone().claim("exp", "tomorrow")), MALFORMED),
        ("x".repeat(16 * 1024 + 1), TOO_LONG),
        (claims.sign(&Signer::of("hs256_stranger")), INVALID_TOKEN),
        (signed(claims.clone().without("exp")), INVALID_TOKEN),
        (signed(claims.clone().without("sub")), INVALID_TOKEN),
        (
            signed(claims.clone().header("crit", json!(["b64"]))),
            INVALID_TOKEN,
        ),
    ] {
        refused_with(api, &application, &token, challenge).await;
    }
    let api = custom();
    let application = api.application();
    for (claim, value) in [("iss", "https://other.example.com/"), ("aud", "other")] {
        let token = claims_for_custom(&application).claim(claim, value);
        refused_with(api, &application, &token.sign(hs256()), INVALID_TOKEN).await;
    }
}

/// What signs most tokens of these tests is the library that verifies them; this is another.
#[tokio::test]
async fn tokens_of_another_implementation_are_accepted() {
    let api = Setup::new()
        .document(
            "application/of-the-fixtures",
            &json!({
                "merchantId": MERCHANT_OF_THE_FIXTURES
            })
            .to_string(),
        )
        .start();
    for alg in ["HS256", "RS256", "ES256", "EdDSA"] {
        let token = of_another_implementation(alg);
        api.create_at("/api/v1/applications/of-the-fixtures/webhooks")
            .token(token)
            .expect(201)
            .await;
        // Its signature is what counts.
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let flipped: String = signature
            .char_indices()
            .map(|(position, c)| match (position, c) {
                (10, 'A') => 'B',
                (10, _) => 'A',
                (_, c) => c,
            })
            .collect();
        let request = api.create_at("/api/v1/applications/of-the-fixtures/webhooks");
        request
            .token(&format!("{signed}.{flipped}"))
            .expect_error(UNAUTHORIZED)
            .await;
    }
}

#[tokio::test]
async fn kid_selects_the_key() {
    let application = standard().application();
    let claims = application.claims();
    for key in KEYS {
        // Without one, each key of the algorithm may be it.
        let without = Signer::of(key).with_kid(None);
        accepted(&application, &claims.sign(&without)).await;

        let unknown = Signer::of(key).with_kid(Some("unknown"));
        refused(&application, &claims.sign(&unknown), "unknown kid").await;
        let empty = Signer::of(key).with_kid(Some(""));
        refused(&application, &claims.sign(&empty), "empty kid").await;
    }
    let other = Signer::of("hs256").with_kid(Some("test-hs256-second"));
    refused(
        &application,
        &claims.sign(&other),
        "kid of another HMAC key",
    )
    .await;
    let other = Signer::of("hs256").with_kid(Some("test-rs256"));
    refused(
        &application,
        &claims.sign(&other),
        "kid of a key of another type",
    )
    .await;
    let injected = Signer::of("hs256").with_kid(Some("../../etc/passwd\0' OR 1=1 --"));
    refused(&application, &claims.sign(&injected), "kid as an attack").await;
    let token = claims.header("kid", 1).sign(hs256());
    refused(&application, &token, "kid is no string").await;
}

#[tokio::test]
async fn a_strangers_key_is_refused() {
    let application = standard().application();
    for key in [
        "hs256_stranger",
        "rs256_stranger",
        "es256_stranger",
        "eddsa_stranger",
    ] {
        let claims = application.claims();
        refused(&application, &claims.sign(&Signer::of(key)), key).await;
        refused(
            &application,
            &claims.sign(&Signer::of(key).with_kid(None)),
            key,
        )
        .await;
    }
}

#[tokio::test]
async fn a_key_for_another_use_verifies_nothing() {
    let application = standard().application();
    for key in ["hs256_for_encryption", "hs512"] {
        let claims = application.claims();
        refused(&application, &claims.sign(&Signer::of(key)), key).await;
        refused(
            &application,
            &claims.sign(&Signer::of(key).with_kid(None)),
            key,
        )
        .await;
    }
}

/// RFC 8725 §3.1: the key decides the algorithm, never the token.
#[tokio::test]
async fn the_token_does_not_choose_the_algorithm() {
    let application = standard().application();
    let names = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES256K",
        "EdDSA", "Ed25519", "Ed448", "none", "None", "NONE", "hs256", "", "HS256 ",
    ];
    for key in KEYS {
        let own: &[&str] = match key {
            "hs256" | "hs256_second" => &["HS256"],
            "rs256" => &["RS256"],
            "es256" => &["ES256"],
            _ => &["EdDSA", "Ed25519"],
        };
        for alg in names.into_iter().filter(|alg| !own.contains(alg)) {
            for kid in [true, false] {
                let signer = Signer::of(key).calling_itself(alg);
                let signer = if kid { signer } else { signer.with_kid(None) };
                let why = format!("signed with {key}, says {alg:?}, kid: {kid}");
                refused(&application, &application.claims().sign(&signer), &why).await;
            }
        }
    }
}

#[tokio::test]
async fn alg_none_is_refused() {
    let application = standard().application();
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS256", "RS256", "ES256", "EdDSA",
    ] {
        for kid in [None, Some("test-hs256"), Some("test-rs256")] {
            let signer = Signer::none().calling_itself(alg).with_kid(kid);
            let why = format!("{alg:?} without a signature, kid {kid:?}");
            refused(&application, &application.claims().sign(&signer), &why).await;
        }
    }
    let payload = json!({ "sub": application.merchant, "exp": now() + 60 }).to_string();
    for header in [
        "{}",
        r#"{"typ":"JWT"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        "null",
    ] {
        refused(
            &application,
            &sign_parts(header, &payload, &Signer::none()),
            header,
        )
        .await;
        refused(&application, &sign_parts(header, &payload, hs256()), header).await;
    }
}

/// The confusion of RFC 8725 §2.1: what everybody knows, used as the shared secret.
#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    let application = standard().application();
    for key in ["rs256", "es256", "eddsa"] {
        let jwk = public_jwk(key);
        let pem = public_pem(key);
        let decoded = |text: &str| {
            use base64ct::{Base64, Base64UrlUnpadded, Encoding};
            Base64UrlUnpadded::decode_vec(text)
                .or_else(|_| Base64::decode_vec(text))
                .unwrap_or_else(|e| panic!("{text}: {e}"))
        };
        let der = decoded(
            &pem.lines()
                .filter(|line| !line.starts_with('-'))
                .collect::<String>(),
        );
        let mut secrets = vec![
            pem.as_bytes().to_vec(),
            pem.trim_end().as_bytes().to_vec(),
            der,
            jwk.to_string().into_bytes(),
            Vec::new(),
        ];
        for part in ["n", "e", "x", "y"] {
            if let Some(text) = jwk[part].as_str() {
                secrets.push(text.as_bytes().to_vec());
                secrets.push(decoded(text));
            }
        }
        if key == "es256" {
            let point = |part: &str| decoded(jwk[part].as_str().unwrap_or_default());
            secrets.push([vec![4], point("x"), point("y")].concat());
        }
        for secret in &secrets {
            for kid in [None, jwk["kid"].as_str()] {
                let signer = Signer::hmac(secret).with_kid(kid);
                let token = application.claims().sign(&signer);
                refused(&application, &token, &format!("{key}, kid {kid:?}")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let application = standard().application();
    let other = standard().application();
    for key in KEYS {
        let signer = Signer::of(key);
        let token = application.claims().sign(&signer);
        let another = other.claims().sign(&signer);
        let part = |token: &str, index| token.split('.').nth(index).unwrap_or("").to_owned();
        let (header, claims, signature) = (part(&token, 0), part(&token, 1), part(&token, 2));
        for (changed, why) in [
            (
                format!("{header}.{}.{signature}", part(&another, 1)),
                "another's claims",
            ),
            (
                format!("{header}.{claims}.{}", part(&another, 2)),
                "another's signature",
            ),
            (format!("{header}.{claims}."), "no signature"),
            (format!("{header}.{claims}"), "two parts"),
            (
                format!("{header}.{claims}.{signature}.{signature}"),
                "four parts",
            ),
            (
                format!("{header}.{claims}.{signature}A"),
                "a longer signature",
            ),
            (
                format!("{header}.{claims}.{}", &signature[..signature.len() - 4]),
                "a shorter one",
            ),
            (format!("{header}.{claims}.{signature}=="), "padding"),
            (format!("{header}..{signature}"), "no claims"),
            (format!(".{claims}.{signature}"), "no header"),
            (
                format!("{header}.{claims}.{}", "A".repeat(signature.len())),
                "zeros",
            ),
        ] {
            refused(&application, &changed, &format!("{key}: {why}")).await;
        }
    }
}

#[tokio::test]
async fn exp_is_required_and_kept_with_60_seconds_of_leeway() {
    let application = standard().application();
    let claims = application.claims();
    let exp = |exp: i64| claims.clone().claim("exp", exp).sign(hs256());

    refused(
        &application,
        &claims.clone().without("exp").sign(hs256()),
        "no exp",
    )
    .await;
    refused(&application, &exp(now() - 3600), "expired an hour ago").await;
    refused(
        &application,
        &exp(now() - 62),
        "expired, and the leeway too",
    )
    .await;
    refused(&application, &exp(0), "expired in 1970").await;
    refused(&application, &exp(-1), "expired before 1970").await;
    accepted(&application, &exp(now() - 30)).await;
    accepted(&application, &exp(now() + 5)).await;
    accepted(&application, &exp(now() + 100 * 365 * 86_400)).await;
    for value in [
        json!(null),
        json!((now() + 3600).to_string()),
        json!([now() + 3600]),
        json!({}),
        json!(true),
    ] {
        let token = claims.clone().claim("exp", value.clone()).sign(hs256());
        refused(&application, &token, &format!("exp: {value}")).await;
    }
}

/// RFC 7519 §2: a NumericDate may have a fraction.
#[tokio::test]
async fn times_may_have_a_fraction_of_a_second() {
    let application = standard().application();
    for (claim, offset) in [("exp", 3600), ("nbf", -1), ("iat", -1)] {
        let time = (now() + offset) as f64 + 0.5;
        let token = application.claims().claim(claim, time).sign(hs256());
        accepted(&application, &token).await;
    }
    let expired = (now() - 3600) as f64 + 0.5;
    let expired = application.claims().claim("exp", expired).sign(hs256());
    refused(&application, &expired, "expired an hour ago and a bit").await;
}

#[tokio::test]
async fn nbf_is_kept_with_60_seconds_of_leeway() {
    let application = standard().application();
    let claims = application.claims();
    let nbf = |nbf: i64| claims.clone().claim("nbf", nbf).sign(hs256());

    accepted(&application, &nbf(0)).await;
    accepted(&application, &nbf(now())).await;
    accepted(&application, &nbf(now() + 30)).await;
    refused(&application, &nbf(now() + 120), "valid in two minutes").await;
    refused(&application, &nbf(now() + 86_400), "valid tomorrow").await;
    for value in [json!("0"), json!([0]), json!({})] {
        let token = claims.clone().claim("nbf", value.clone()).sign(hs256());
        refused(&application, &token, &format!("nbf: {value}")).await;
    }
}

/// Numbers at the edge of what a clock can hold are times, far away.
#[tokio::test]
async fn absurd_times_are_an_answer_too() {
    let application = standard().application();
    for (claim, far_future, far_past) in [
        ("exp", 201, 401),
        ("nbf", 401, 201),
        // Nothing follows from it.
        ("iat", 201, 201),
    ] {
        for (number, expected) in [
            ("1e300", far_future),
            ("-1e300", far_past),
            ("9223372036854775807", far_future),
            ("-9223372036854775808", far_past),
            // No number that JSON's readers agree on.
            ("1e999", 401),
        ] {
            let claims = json!({ "sub": application.merchant, "exp": now() + 60 }).to_string();
            let claims = match claim {
                "exp" => format!(r#"{{"sub":"{}","exp":{number}}}"#, application.merchant),
                _ => claims.replacen('{', &format!(r#"{{"{claim}":{number},"#), 1),
            };
            let token = sign_parts(r#"{"alg":"HS256","typ":"JWT"}"#, &claims, hs256());
            let response = standard().create(&application).token(&token).send().await;
            assert_eq!(response.status, expected, "{claims}: {}", response.text);
        }
    }
}

/// A merchant's token is verified once and remembered; not any longer than it is valid.
#[tokio::test]
async fn a_token_that_was_accepted_expires_all_the_same() {
    let application = standard().application();
    // Time enough for two requests on a machine that has others to do.
    let exp = now() + 10 - 60;
    let token = application.claims().claim("exp", exp).sign(hs256());
    // Both an instance that has seen it and one that has not.
    accepted(&application, &token).await;
    accepted(&application, &token).await;

    poll("the token and its leeway expire", PATIENCE, || {
        (now() > exp + 60).then_some(())
    })
    .await;
    for _ in 0..3 {
        refused(&application, &token, "expired meanwhile").await;
    }
}

/// And a refused one is verified once too: what it lacks may be time only.
#[tokio::test]
async fn a_token_that_came_too_early_is_accepted_later() {
    let application = standard().application();
    let nbf = now() + 10 + 60;
    let token = application.claims().claim("nbf", nbf).sign(hs256());
    for _ in 0..3 {
        refused(&application, &token, "not valid yet").await;
    }
    poll("its time comes", PATIENCE, || {
        (now() >= nbf - 60).then_some(())
    })
    .await;
    accepted(&application, &token).await;
}

/// More tokens than an instance remembers: none is taken for another.
#[tokio::test]
async fn many_refused_tokens_leave_the_valid_one_valid() {
    let application = standard().application();
    let valid = application.claims().sign(hs256());
    let (signed, _) = valid.rsplit_once('.').expect("a signature");
    accepted(&application, &valid).await;
    let forged = |number: usize| {
        let signature = Base64UrlUnpadded::encode_string(&Sha256::digest(number.to_be_bytes()));
        format!("{signed}.{signature}")
    };
    let all: Vec<String> = (0..1100).map(forged).collect();
    for some in all.chunks(32) {
        let refusals = some
            .iter()
            .map(|token| refused(&application, token, "forged"));
        futures::future::join_all(refusals).await;
    }
    refused(&application, &all[0], "forged").await;
    accepted(&application, &valid).await;
}

#[tokio::test]
async fn iss_must_be_the_configured_one() {
    let api = custom();
    let application = api.application();
    let claims = claims_for_custom(&application);
    api.create(&application)
        .token(&claims.sign(hs256()))
        .expect(201)
        .await;
    refused_by(
        api,
        &application,
        &claims.clone().without("iss").sign(hs256()),
        "no iss",
    )
    .await;
    for iss in [
        json!("https://issuer.example.com"),
        json!("https://issuer.example.com/x"),
        json!("HTTPS://issuer.example.com/"),
        json!(""),
        json!(null),
        json!(1),
        json!(["https://issuer.example.com/"]),
        json!({"iss": "https://issuer.example.com/"}),
    ] {
        let token = claims.clone().claim("iss", iss.clone()).sign(hs256());
        refused_by(api, &application, &token, &format!("iss: {iss}")).await;
    }
}

/// RFC 7519 §4.1.3: one audience or an array of them.
#[tokio::test]
async fn aud_must_name_the_configured_one() {
    let api = custom();
    let claims = |application: &Application, aud: &Value| {
        claims_for_custom(application)
            .claim("aud", aud.clone())
            .sign(hs256())
    };
    for aud in [
        json!("application-webhooks"),
        json!(["application-webhooks"]),
        json!(["other", "application-webhooks", "another"]),
    ] {
        let application = api.application();
        api.create(&application)
            .token(&claims(&application, &aud))
            .expect(201)
            .await;
    }
    let application = api.application();
    let without = claims_for_custom(&application).without("aud").sign(hs256());
    refused_by(api, &application, &without, "no aud").await;
    for aud in [
        json!("other"),
        json!("application-webhooks "),
        json!("Application-Webhooks"),
        json!("other application-webhooks"),
        json!(""),
        json!([]),
        json!(["other"]),
        json!([["application-webhooks"]]),
        json!({"application-webhooks": true}),
        json!(null),
        json!(1),
    ] {
        refused_by(
            api,
            &application,
            &claims(&application, &aud),
            &format!("aud: {aud}"),
        )
        .await;
    }
}

#[tokio::test]
async fn iss_and_aud_are_not_checked_where_they_are_not_configured() {
    let application = standard().application();
    for (claim, value) in [
        ("iss", json!("https://anyone.example.com/")),
        ("aud", json!("anything")),
        ("aud", json!(["a", "b"])),
    ] {
        accepted(
            &application,
            &application.claims().claim(claim, value).sign(hs256()),
        )
        .await;
    }
}

/// RFC 7515 §4.1.11: who does not understand an extension must refuse the token.
#[tokio::test]
async fn crit_is_refused() {
    let application = standard().application();
    for crit in [
        json!(["b64"]),
        json!(["exp"]),
        json!(["x"]),
        json!([]),
        json!("x"),
        json!({}),
        json!(1),
    ] {
        let token = application
            .claims()
            .header("crit", crit.clone())
            .header("b64", true);
        refused(&application, &token.sign(hs256()), &format!("crit: {crit}")).await;
    }
}

/// A token brings no key of its own (RFC 8725 §3.10).
#[tokio::test]
async fn keys_in_the_header_are_not_believed() {
    let application = standard().application();
    let stranger = Signer::of("rs256_stranger");
    for (field, value) in [
        ("jwk", public_jwk("rs256_stranger")),
        ("jku", json!("https://example.com/jwks.json")),
        ("x5u", json!("https://example.com/cert.pem")),
        ("x5c", json!(["MIIB"])),
    ] {
        let token = application.claims().header(field, value);
        refused(&application, &token.sign(&stranger), field).await;
    }
}

#[tokio::test]
async fn a_token_has_at_most_16_kib_and_a_longer_one_is_told_so() {
    let application = standard().application();
    let token = |length| application.claims().sign_to_length(hs256(), length);
    accepted(&application, &token(8 * 1024 + 1)).await;
    accepted(&application, &token(16 * 1024)).await;
    for long in [token(16 * 1024 + 1), token(32 * 1024), "x".repeat(20_000)] {
        refused_with(standard(), &application, &long, TOO_LONG).await;
    }
}

/// As an identity provider writes it that puts all of a user's groups into the token.
#[tokio::test]
async fn a_token_of_a_user_in_hundreds_of_groups_is_accepted() {
    let application = standard().application();
    let groups: Vec<String> = (0..250)
        .map(|number| format!("00000000-0000-4000-8000-{number:012}"))
        .collect();
    let token = application.claims().claim("groups", json!(groups));
    let token = token.sign(&Signer::of("rs256"));
    assert!(token.len() > 12 * 1024, "{}", token.len());
    accepted(&application, &token).await;
}

#[tokio::test]
async fn garbage_is_refused() {
    let application = standard().application();
    let claims = json!({ "sub": application.merchant, "exp": now() + 60 }).to_string();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let token = application.token();
    for garbage in [
        "x",
        ".",
        "..",
        "...",
        "a.b.c",
        "null",
        "undefined",
        "YOUR_API_TOKEN (JWT)",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJIUzI1NiJ9..",
        "\"quoted\"",
        "a b",
        "e\u{301}",
        &format!("{token} {token}"),
        &format!("Bearer {token}"),
        &format!("{token},"),
        &format!("token={token}"),
        &token.replace('.', "%2E"),
        &sign_parts("not json", &claims, hs256()),
        &sign_parts("[]", &claims, hs256()),
        &sign_parts(header, "", hs256()),
        &sign_parts(header, "not json", hs256()),
        &sign_parts(header, "[]", hs256()),
        &sign_parts(header, "null", hs256()),
        &sign_parts(header, "1", hs256()),
        &sign_parts(header, "\"text\"", hs256()),
        &sign_parts(header, "{}", hs256()),
        &sign_parts(header, &"[".repeat(3_000), hs256()),
        // The claims are there, the braces are not.
        &sign_parts(header, claims.trim_end_matches('}'), hs256()),
    ] {
        refused(&application, garbage, garbage).await;
    }
}

/// Spin answers such a header itself, with a bare 500.
#[tokio::test]
async fn a_token_that_is_not_text_is_401() {
    local_runtime_only!();
    let application = standard().application();
    let token = application.token();
    let bytes = [b"Bearer ".as_slice(), b"\xff\xfe\x80", token.as_bytes()].concat();
    let request = standard()
        .create(&application)
        .header("authorization", bytes);
    let response = request.expect_error(UNAUTHORIZED).await;
    assert_eq!(response.header("www-authenticate"), Some(MALFORMED));
}

#[tokio::test]
async fn without_a_bearer_token_the_challenge_has_no_error() {
    let api = standard();
    let application = api.application();
    let token = application.token();
    let create = api.create(&application).without_token();
    for other in [
        "".to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "bearer".to_owned(),
        "Basic dXNlcjpwYXNzd29yZA==".to_owned(),
        "Digest username=\"x\"".to_owned(),
        format!("Token {token}"),
        format!("JWT {token}"),
        format!("Basic {token}"),
        format!("DPoP {token}"),
        format!("Bearer2 {token}"),
        format!("NotBearer {token}"),
        format!("Bearer{token}"),
        token.clone(),
    ] {
        let response = create.clone().header("authorization", &other).send().await;
        assert_eq!(response.text, UNAUTHORIZED, "{other}");
        assert_eq!(
            response.header("www-authenticate"),
            Some(NO_TOKEN),
            "{other}"
        );
    }
    // Elsewhere it does not count (RFC 6750 §2.2 and §2.3 are not offered).
    let path = format!("{}?access_token={token}", application.path());
    let response = api.create_at(&path).expect_error(UNAUTHORIZED).await;
    assert_eq!(response.header("www-authenticate"), Some(NO_TOKEN));
    for header in [
        "x-api-key",
        "cookie",
        "proxy-authorization",
        "x-authorization",
    ] {
        create
            .clone()
            .header(header, format!("Bearer {token}"))
            .expect(401)
            .await;
    }
}

/// RFC 9110 §11.1: the scheme's case does not matter.
#[tokio::test]
async fn the_scheme_is_not_case_sensitive() {
    let api = standard();
    let application = api.application();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let authorization = format!("{scheme} {}", application.token());
        api.create(&application)
            .header("authorization", authorization)
            .expect(201)
            .await;
    }
}

#[tokio::test]
async fn the_merchant_is_a_string_that_is_not_empty() {
    let application = standard().application();
    let claims = application.claims();
    refused(
        &application,
        &claims.clone().without("sub").sign(hs256()),
        "no sub",
    )
    .await;
    for sub in [
        json!(""),
        json!(null),
        json!(1),
        json!(true),
        json!([application.merchant]),
        json!({"id": application.merchant}),
    ] {
        let token = claims.clone().claim("sub", sub.clone()).sign(hs256());
        refused(&application, &token, &format!("sub: {sub}")).await;
    }
}

#[tokio::test]
async fn the_configured_claim_names_the_merchant() {
    let api = custom();
    let application = api.application();
    let claims = claims_for_custom(&application);
    // `sub` is somebody, and not the one who is asked about.
    let token = claims.clone().claim("sub", "someone-else").sign(hs256());
    api.create(&application).token(&token).expect(201).await;

    let other = claims.clone().claim("merchant_id", "someone-else");
    let other = other
        .claim("sub", application.merchant.as_str())
        .sign(hs256());
    api.create(&application)
        .token(&other)
        .expect_error(FORBIDDEN)
        .await;

    let without = claims.clone().without("merchant_id");
    let without = without
        .claim("sub", application.merchant.as_str())
        .sign(hs256());
    refused_by(api, &application, &without, "only sub").await;
    for value in [
        json!(""),
        json!(null),
        json!(1),
        json!([application.merchant]),
    ] {
        let token = claims
            .clone()
            .claim("merchant_id", value.clone())
            .sign(hs256());
        refused_by(api, &application, &token, &format!("merchant_id: {value}")).await;
    }
}

/// RFC 7519 §4: of a claim that comes twice, the last counts or the token is refused. Never may
/// one part of a service believe the first and another the last.
#[tokio::test]
async fn a_claim_that_comes_twice_is_read_the_same_everywhere() {
    let api = standard();
    let (first, last) = (api.application(), api.application());
    let claims = format!(
        r#"{{"sub":"{}","exp":{},"sub":"{}"}}"#,
        first.merchant,
        now() + 60,
        last.merchant
    );
    let token = sign_parts(r#"{"alg":"HS256","typ":"JWT"}"#, &claims, hs256());
    let response = api.create(&first).token(&token).send().await;
    assert!([401, 403].contains(&response.status), "{}", response.text);
    let response = api.create(&last).token(&token).send().await;
    assert!([201, 401].contains(&response.status), "{}", response.text);
}

#[tokio::test]
async fn other_claims_and_header_fields_do_not_matter() {
    let application = standard().application();
    let token: Token = application
        .claims()
        .claim("jti", "1")
        .claim("scope", "webhooks:write")
        .claim("roles", json!(["a", {"b": [null]}]))
        .claim("e\u{301}\u{1f4a9}", "\u{202e}")
        .header("typ", "at+jwt")
        .header("x", json!({"y": [1]}));
    accepted(&application, &token.sign(hs256())).await;
}

/// RFC 7515 §4.1: of the header only `alg`, `kid` and `crit` decide anything here, of the claims
/// those that the configuration names. What is in the others cannot spoil a good token.
#[tokio::test]
async fn what_is_not_used_cannot_matter() {
    let application = standard().application();
    for (member, value) in [
        // Microsoft, ADFS and others: a digest of SHA-256, in hexadecimal, percent-encoded.
        ("x5t", json!("cCz4pMOAYy5GbxXpeUbCqZkDSPe8iZ1GzkUWjRMeSzw")),
        (
            "x5t",
            json!("65:AF:69:09:B1:B0:75:8E:06:C6:E0:48:C4:60:02:B5:C6:95:E3:6B"),
        ),
        ("x5t", json!("Y%2FbO%2BnDjEtA%3D")),
        ("x5t", json!("")),
        ("x5t", json!(1)),
        ("x5t#S256", json!("c2hvcnQ")),
        ("x5c", json!("no list")),
        ("x5u", json!(1)),
        ("jku", json!(null)),
        ("jwk", json!([])),
        ("cty", json!("JWT")),
        ("cty", json!("application/example")),
        ("cty", json!(["json"])),
        ("typ", json!("JOSE")),
        ("typ", json!(1)),
        ("zip", json!("DEF")),
    ] {
        let token = application.claims().header(member, value);
        for key in ["hs256", "es256"] {
            accepted(&application, &token.sign(&Signer::of(key))).await;
        }
    }
    for (claim, value) in [
        ("iat", json!("yesterday")),
        ("iat", json!(null)),
        ("iat", json!({})),
        ("jti", json!(1)),
        ("iss", json!([1])),
        ("aud", json!(7)),
        ("nbf", json!(null)),
    ] {
        let token = application.claims().claim(claim, value);
        accepted(&application, &token.sign(hs256())).await;
    }
}
