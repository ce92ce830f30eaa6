//! The variables: what a server refuses to start with, and that it never tells their values.

use crate::support::contract::INTERNAL_SERVER_ERROR;
use crate::support::server::on_spin;
use crate::support::tokens::{self, Token, hs256};
use crate::support::{Application, Setup, local_runtime_only};

/// The claims that the server of [`crate::support::custom`] asks for.
pub fn claims_for_custom(application: &Application) -> Token {
    Token::of_merchant("nobody")
        .without("sub")
        .claim("merchant_id", application.merchant.as_str())
        .claim("iss", "https://issuer.example.com/")
        .claim("aud", "application-webhooks")
}

pub fn token_for_custom(application: &Application) -> String {
    claims_for_custom(application).sign(hs256())
}

/// Variables with values that no server may start with. `sesame` is in all that have a text, in
/// one form or another: nobody may read it in an error.
fn malformed() -> Vec<(&'static str, String)> {
    let jwks = |keys: &str| ("jwks", format!(r#"{{"keys":[{keys}]}}"#));
    let weak_rsa = tokens::public_jwk("rsa_2047_bits").to_string();
    let text = |variable, value: &str| (variable, value.to_owned());
    vec![
        text("jwks", ""),
        text("jwks", "sesame"),
        text("jwks", "https://sesame.example.com/.well-known/jwks.json"),
        text("jwks", "{}"),
        text("jwks", "[]"),
        text("jwks", r#"{"keys":"sesame"}"#),
        jwks(""),
        jwks(r#"{"kty":"oct","kid":"sesame"}"#),
        // 31 bytes, with "sesame" in them.
        jwks(r#"{"kty":"oct","k":"c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1lc2VzYW0"}"#),
        jwks(&weak_rsa),
        text("jwks_url", "sesame"),
        text("jwks_url", "http://sesame.example.com/jwks"),
        text("jwks_url", "http://127.0.0.1/sesame"),
        text("jwks_url", "https://sesame:sesame@example.com/"),
        text("jwks_cache_seconds", "sesame"),
        text("jwks_cache_seconds", "0"),
        text("jwks_cache_seconds", "86401"),
        text("secrets_key", ""),
        text("secrets_key", "sesame"),
        text("secrets_key", "*** sesame ***"),
        // 31 and 33 bytes.
        text("secrets_key", "c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1lc2VzYW0="),
        text(
            "secrets_key",
            "c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1lc2Vz",
        ),
        text("event_types", "sesame,,sesame.open"),
        text("event_types", ",sesame"),
        text("event_type_details", "sesame"),
        text("event_type_details", r#"{"sesame": {"title": "Sesame"}}"#),
        text(
            "event_type_details",
            r#"{"session.expired": {"title": "sesame", "data": "sesame"}}"#,
        ),
        text("max_webhooks_per_application", "sesame"),
        text("max_webhooks_per_application", "0"),
        text("max_webhooks_per_application", "-5"),
        text("max_webhooks_per_application", "5.5"),
        text("max_webhooks_per_application", "99999999999999999999999"),
        text("max_changes_per_minute", "sesame"),
        text("max_changes_per_minute", "-1"),
        text("max_changes_per_minute", "1000001"),
        text("store_timeout_ms", "sesame"),
        text("store_timeout_ms", "0"),
        text("store_timeout_ms", "-1"),
        text("store_timeout_ms", "2s"),
        text("store_timeout_ms", "99999999999999999999999"),
        text("store_key_separator", "sesame"),
        text("store_key_separator", "//"),
        text("secrets_key_previous", "sesame"),
        // A good one, and one of 31 bytes.
        text(
            "secrets_key_previous",
            "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=,c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1lc2VzYW0=",
        ),
        text("operator_token", "sesame"),
        text("operator_token", "sesame sesame sesame sesame sesame"),
        text("allow_insecure_urls", "sesame"),
        text("allow_insecure_urls", "1"),
        text("allow_insecure_urls", "yes"),
        text("cors_allowed_origins", "sesame"),
        text("cors_allowed_origins", "*"),
        text("cors_allowed_origins", "https://sesame.example.com/"),
        text("cors_allowed_origins", "https://SESAME.example.com"),
        text("cors_allowed_origins", "ftp://sesame.example.com"),
        text(
            "cors_allowed_origins",
            "https://sesame.example.com https://other.example.com",
        ),
    ]
}

/// Whether a text tells a value: as it is, or the part of it that nothing else would say.
fn tells(text: &str, value: &str) -> bool {
    let telling = ["sesame", "c2VzYW1l", "9999999999"];
    telling.iter().any(|part| text.contains(part)) || (value.len() > 8 && text.contains(value))
}

#[tokio::test]
async fn a_server_does_not_start_with_a_malformed_variable_and_names_it() {
    local_runtime_only!();
    for (variable, value) in malformed() {
        let refusal = match Setup::new().variable(variable, &value).try_start() {
            Ok(_) => panic!("started with {variable} = {value:?}"),
            Err(refusal) => refusal,
        };
        assert_refused(&refusal, variable, &value);
    }
}

/// The provider issues tokens for other services too: which are for this one has to be said.
#[tokio::test]
async fn a_server_does_not_start_with_jwks_url_and_without_jwt_audience() {
    local_runtime_only!();
    let setup = Setup::new().variable("jwks_url", "https://issuer.example.com/jwks?sesame");
    for missing in [setup.clone(), setup.clone().variable("jwt_audience", " ")] {
        let refusal = match missing.try_start() {
            Ok(_) => panic!("started"),
            Err(refusal) => refusal,
        };
        assert_refused(&refusal, "jwt_audience", "");
    }
    for said in ["*", "application-webhooks"] {
        let started = setup.clone().variable("jwt_audience", said).try_start();
        assert!(started.is_ok(), "{said}");
    }
}

#[tokio::test]
async fn a_server_does_not_start_without_a_required_variable_and_names_it() {
    local_runtime_only!();
    for variable in ["jwks", "secrets_key"] {
        let refusal = match Setup::new().without(variable).try_start() {
            Ok(_) => panic!("started without {variable}"),
            Err(refusal) => refusal,
        };
        assert_refused(&refusal, variable, "");
    }
}

fn assert_refused(refusal: &crate::support::server::Refusal, variable: &str, value: &str) {
    assert_eq!(
        refusal.status.code(),
        Some(2),
        "{variable} = {value:?}: {refusal:?}"
    );
    let lines: Vec<&str> = refusal
        .stderr
        .lines()
        .filter(|line| !line.is_empty())
        .collect();
    let [line] = lines[..] else {
        panic!("{variable} = {value:?}: not one line: {refusal:?}");
    };
    assert!(line.contains(variable), "{variable} = {value:?}: {line}");
    assert!(
        !refusal.stdout.contains("Serving"),
        "{variable} = {value:?}: {refusal:?}"
    );
    let told = format!("{}{}", refusal.stdout, refusal.stderr);
    assert!(!tells(&told, value), "{variable} = {value:?}: {told}");
}

/// Spin does not know what a variable means, so there the component finds out, request by
/// request. The local runtime does the same for a component that it has no name for.
#[tokio::test]
async fn the_component_itself_answers_500_and_logs_the_variables_name() {
    let project = env!("CARGO_MANIFEST_DIR");
    let manifest = std::fs::read_to_string(format!("{project}/spin.toml")).expect("spin.toml");
    let mut manifest = manifest.replace("source = \"", &format!("source = \"{project}/"));
    for name in ["application-webhooks", "event-dispatcher"] {
        manifest = manifest
            .replace(
                &format!("[component.{name}"),
                &format!("[component.another-{name}"),
            )
            .replace(
                &format!("component = \"{name}\""),
                &format!("component = \"another-{name}\""),
            );
    }
    for (variable, value) in [
        ("jwks", r#"{"keys":"sesame"}"#),
        ("secrets_key", "sesame"),
        ("store_timeout_ms", "sesame"),
    ] {
        let setup = Setup::new().variable(variable, value);
        let api = if on_spin() {
            setup
        } else {
            setup.manifest(&manifest)
        }
        .start();

        let application = api.application();
        for _ in 0..2 {
            let response = api
                .create(&application)
                .expect_error(INTERNAL_SERVER_ERROR)
                .await;
            let log = crate::logs::line_of(&api, response.request_id()).await;
            assert!(log.contains(variable), "{log}");
        }
        let told = api.output();
        assert!(!tells(&told, value), "{told}");
    }
}
