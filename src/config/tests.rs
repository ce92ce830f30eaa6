//! Which variables are accepted, and what is said of the others.

use base64ct::Encoding;

use super::*;

const JWKS: &str = r#"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"}]}"#;
const SECRETS_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn parse_with(variable: &str, value: Option<&str>) -> Result<Config, ConfigError> {
    Config::parse(&|name| {
        if name == variable {
            return value.map(str::to_owned);
        }
        match name {
            "jwks" => Some(JWKS.to_owned()),
            "secrets_key" => Some(SECRETS_KEY.to_owned()),
            _ => None,
        }
    })
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = parse_with("", None).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.issuer, None);
    assert_eq!(config.audience, None);
    assert_eq!(config.merchant_claim, "sub");
    assert_eq!(
        config
            .event_types
            .iter()
            .map(EventType::as_str)
            .collect::<Vec<_>>(),
        ["session.completed", "session.expired"]
    );
    assert_eq!(config.max_applications, 1000);
    assert_eq!(config.max_webhooks, 50);
    assert_eq!(config.max_changes_per_minute, NonZeroU32::new(120));
    assert_eq!(config.store_timeout, Duration::from_millis(2000));
    assert_eq!(config.store_key_separator, '/');
    assert!(!config.allow_insecure_urls);
    assert!(config.cors_allowed_origins.is_empty());
    assert!(!config.plain_http);
    assert!(!config.private_networks_blocked);
    assert!(config.operator_token.is_none());
}

#[test]
fn the_three_scopes_are_names_and_differ() {
    let config = parse_with("", None).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.portal_scope, "portal:create");
    let config = parse_with("portal_scope", Some("dashboards")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.portal_scope, "dashboards");
    for wrong in ["a b", "events:publish", "events:read"] {
        let Err(error) = parse_with("portal_scope", Some(wrong)) else {
            panic!("{wrong} was accepted");
        };
        assert_eq!(error.variable, "portal_scope");
    }
}

fn parse(variables: &[(&str, &str)]) -> Config {
    let config = Config::parse(&|name| {
        let mut all = variables
            .iter()
            .chain(&[("jwks", JWKS), ("secrets_key", SECRETS_KEY)]);
        all.find(|(variable, _)| *variable == name)
            .map(|(_, value)| (*value).to_owned())
    });
    config.unwrap_or_else(|e| panic!("{variables:?}: {e}"))
}

#[test]
fn private_networks_that_are_not_blocked_are_warned_of() {
    let open = [PRIVATE_NETWORKS_OPEN];
    assert_eq!(parse(&[]).warnings(), open);
    assert_eq!(parse(&[("private_networks", "open")]).warnings(), open);
    assert!(
        parse(&[("private_networks", "blocked")])
            .warnings()
            .is_empty()
    );
    // Where private hosts are accepted they are meant to be reached.
    let local = [("allow_insecure_urls", "true"), ("delivery_scheme", "*")];
    assert!(parse(&local).warnings().is_empty());
}

#[test]
fn http_urls_that_can_never_be_reached_are_warned_of() {
    let blocked = ("private_networks", "blocked");
    let insecure = ("allow_insecure_urls", "true");
    let keys = ("jwks_url", "http://127.0.0.1/keys");
    let audience = ("jwt_audience", "*");
    let any = ("delivery_scheme", "*");
    let [warning] = parse(&[blocked, insecure]).warnings()[..] else {
        panic!("one warning");
    };
    assert!(warning.contains("allow_insecure_urls"), "{warning}");
    assert!(warning.contains("delivery_scheme"), "{warning}");
    let [_, warning] = parse(&[blocked, insecure, keys, audience]).warnings()[..] else {
        panic!("two warnings");
    };
    assert!(warning.contains("jwks_url"), "{warning}");
    assert!(
        parse(&[blocked, insecure, keys, audience, any])
            .warnings()
            .is_empty()
    );
    assert!(parse(&[blocked, any]).warnings().is_empty());
}

#[test]
fn jwks_url_needs_jwt_audience_or_the_word_that_any_will_do() {
    let parse = |jwks_url: bool, audience: Option<&'static str>| {
        Config::parse(&|name| match name {
            "jwks" => Some(JWKS.to_owned()),
            "jwks_url" if jwks_url => Some("https://issuer.example.com/jwks".to_owned()),
            "jwt_audience" => audience.map(str::to_owned),
            "secrets_key" => Some(SECRETS_KEY.to_owned()),
            _ => None,
        })
    };
    for missing in [None, Some(""), Some(" ")] {
        let Err(error) = parse(true, missing) else {
            panic!("{missing:?} was accepted");
        };
        assert_eq!(error.variable, "jwt_audience");
        let config = parse(false, missing).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.audience, None);
    }
    for jwks_url in [true, false] {
        for (said, expected) in [("*", None), (" * ", None), ("webhooks", Some("webhooks"))] {
            let config = parse(jwks_url, Some(said)).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(config.audience.as_deref(), expected, "{said}");
        }
    }
}

#[test]
fn several_previous_keys_are_separated_by_commas() {
    let key = |byte: u8| base64ct::Base64::encode_string(&[byte; 32]);
    for (list, count) in [
        (key(1), 1),
        (format!("{}, {}", key(1), key(2)), 2),
        (format!("{},{},{SECRETS_KEY}", key(1), key(2)), 3),
    ] {
        assert_eq!(
            previous_secrets_keys(&list).map(|keys| keys.len()),
            Ok(count)
        );
    }
    for list in [
        format!("{},", key(1)),
        format!(",{}", key(1)),
        key(1) + &key(2),
    ] {
        assert!(previous_secrets_keys(&list).is_err(), "{list}");
    }
}

#[test]
fn a_wrong_variable_is_named_and_its_value_is_not_shown() {
    for (variable, value) in [
        ("jwks", None),
        ("jwks", Some("")),
        ("jwks", Some("sesame")),
        ("jwks", Some(r#"{"keys":[]}"#)),
        ("jwks", Some(r#"{"keys":[{"kty":"oct","k":"c2VzYW1l"}]}"#)),
        ("jwks_url", Some("sesame")),
        ("jwks_url", Some("http://sesame.example.com/")),
        ("jwks_cache_seconds", Some("9")),
        ("jwks_cache_seconds", Some("86401")),
        ("secrets_key", None),
        ("secrets_key", Some("sesame")),
        ("secrets_key", Some("c2VzYW1l")),
        ("secrets_key_previous", Some("sesame")),
        ("secrets_key_previous", Some("c2VzYW1l")),
        ("event_types", Some("a,,b")),
        ("event_types", Some("a,a")),
        ("event_types", Some("sesame!")),
        ("event_type_details", Some("sesame")),
        ("event_type_details", Some(r#"{"sesame":{}}"#)),
        (
            "event_type_details",
            Some(r#"{"session.expired":{"sesame":1}}"#),
        ),
        ("max_applications_per_merchant", Some("10001")),
        ("max_webhooks_per_application", Some("0")),
        ("max_webhooks_per_application", Some("sesame")),
        ("max_changes_per_minute", Some("sesame")),
        ("max_changes_per_minute", Some("1000001")),
        ("store_timeout_ms", Some("0")),
        ("store_timeout_ms", Some("-1")),
        ("store_timeout_ms", Some("60001")),
        ("store_key_separator", Some("sesame")),
        ("store_key_separator", Some("::")),
        ("allow_insecure_urls", Some("sesame")),
        ("delivery_scheme", Some("sesame")),
        ("delivery_scheme", Some("http")),
        ("private_networks", Some("sesame")),
        ("jwks_url", Some("https://[2606:4700:4700::5e5a]/sesame")),
        ("publisher_scope", Some("open sesame")),
        ("support_scope", Some("\"sesame\"")),
        ("support_scope", Some("events:publish")),
        ("operator_token", Some("sesame")),
        ("operator_token", Some("a sesame that is no bearer token")),
        ("cors_allowed_origins", Some("sesame")),
        ("cors_allowed_origins", Some("*")),
        ("cors_allowed_origins", Some("https://sesame.example.com/")),
        ("cors_allowed_origins", Some("https://SESAME.example.com")),
        ("cors_allowed_origins", Some("https://sesame.example.com,")),
    ] {
        let Err(error) = parse_with(variable, value) else {
            panic!("{variable} = {value:?} was accepted");
        };
        assert_eq!(error.variable, variable, "{value:?}");
        let text = error.to_string();
        assert!(text.contains(variable), "{text}");
        assert!(!text.contains("sesame"), "{text}");
    }
}
