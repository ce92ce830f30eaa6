//! The portal's page as it is served: its headers, its files, and what variables change of it.

use serde_json::json;

use crate::support::{Setup, standard};

/// What a browser may load for the page where no variable says more.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[tokio::test]
async fn the_page_is_served_to_anybody_with_a_strict_policy() {
    let api = standard();
    let page = api.request("GET", "/portal").send_unchecked().await;
    let page = page.expect("an answer");
    assert_eq!(page.status, 200);
    assert!(page.text.starts_with("<!doctype html>"), "{}", page.text);
    for (header, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-cache"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(page.header(header), Some(value), "{header}");
    }
    let permissions = page.header("permissions-policy").expect("a policy");
    assert!(permissions.contains("camera=()") && permissions.contains("clipboard-write=(self)"));

    let tag = page.header("etag").expect("a tag");
    let again = api.request("GET", "/portal").header("if-none-match", tag);
    let again = again.send_unchecked().await.expect("an answer");
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    assert_eq!(again.header("content-security-policy"), Some(POLICY));
    // Without its body, which is no text then.
    let packed = api
        .request("HEAD", "/portal")
        .header("accept-encoding", "gzip, br");
    let packed = packed.send_unchecked().await.expect("an answer");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_ne!(packed.header("etag"), Some(tag));

    let moved = api.request("GET", "/portal/").send_unchecked().await;
    let moved = moved.expect("an answer");
    assert_eq!(
        (moved.status, moved.header("location")),
        (308, Some("/portal"))
    );
    for (method, path, status) in [
        ("POST", "/portal", 405),
        ("GET", "/portal/missing.js", 404),
        ("GET", "/portal/../spin.toml", 404),
        ("HEAD", "/portal", 200),
    ] {
        let answer = api.request(method, path).send_unchecked().await;
        assert_eq!(answer.expect("an answer").status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn the_page_is_told_of_the_platform_by_variables() {
    let config = async |api: &crate::support::Server| {
        let answer = api
            .request("GET", "/portal/config.json")
            .send_unchecked()
            .await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        (answer.status, answer.json())
    };
    let unset = json!({"name": "Webhooks", "logoUrl": null, "accent": null, "refreshUrl": null});
    assert_eq!(config(standard()).await, (200, unset));

    let api = Setup::new()
        .variable("portal_name", "Kadosei Webhooks")
        .variable("portal_logo_url", "https://cdn.example.com/logo.svg")
        .variable("portal_accent", "#1a5fb4")
        .variable(
            "portal_refresh_url",
            "https://dashboard.example.com/webhooks",
        )
        .variable(
            "portal_frame_ancestors",
            "https://dashboard.example.com 'self'",
        )
        .start();
    let set = json!({
        "name": "Kadosei Webhooks", "logoUrl": "https://cdn.example.com/logo.svg",
        "accent": "#1a5fb4", "refreshUrl": "https://dashboard.example.com/webhooks",
    });
    assert_eq!(config(&api).await, (200, set));
    let page = api.request("GET", "/portal").send_unchecked().await;
    let expected = POLICY
        .replace("img-src 'self'", "img-src 'self' https://cdn.example.com")
        .replace(
            "frame-ancestors 'none'",
            "frame-ancestors https://dashboard.example.com 'self'",
        );
    let page = page.expect("an answer");
    assert_eq!(
        page.header("content-security-policy"),
        Some(expected.as_str())
    );
}
