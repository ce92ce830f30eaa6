//! `cors_allowed_origins`: which pages may call the API from a browser.

use serde_json::json;

use crate::support::{Setup, standard};

const ORIGIN: &str = "https://docs.example.com";

fn cors() -> Setup {
    Setup::new().variable("store_timeout_ms", "20000").variable(
        "cors_allowed_origins",
        "https://docs.example.com, http://localhost:8080",
    )
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_the_api_without_the_browsers_credentials() {
    let api = cors().start();
    let application = api.application();
    for origin in [ORIGIN, "http://localhost:8080"] {
        let preflight = api
            .request("OPTIONS", &application.path())
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            )
            .send_unchecked()
            .await
            .expect("an answer");
        assert_eq!(preflight.status, 200);
        assert_eq!(
            preflight.header("access-control-allow-origin"),
            Some(origin)
        );
        for (name, expected) in [
            ("access-control-allow-methods", "GET,POST,PATCH,DELETE"),
            (
                "access-control-allow-headers",
                "authorization,content-type,idempotency-key,if-match,if-none-match",
            ),
            ("access-control-max-age", "7200"),
        ] {
            assert_eq!(preflight.header(name), Some(expected), "{name}");
        }
        assert_eq!(preflight.header("access-control-allow-credentials"), None);
        assert!(
            preflight
                .header("vary")
                .is_some_and(|vary| vary.contains("origin"))
        );
        assert_eq!(preflight.text, "");
    }
    for (token, status) in [(application.token(), 201), ("wrong".to_owned(), 401)] {
        let answer = api
            .create(&application)
            .token(&token)
            .header("origin", ORIGIN)
            .expect(status)
            .await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let exposed = answer.header("access-control-expose-headers").unwrap_or("");
        for name in [
            "etag",
            "idempotency-replayed",
            "location",
            "retry-after",
            "x-request-id",
        ] {
            assert!(exposed.contains(name), "{name} in {exposed}");
        }
    }
}

#[tokio::test]
async fn no_other_origin_is_told_that_it_may() {
    let api = cors().start();
    let application = api.application();
    for origin in [
        "https://evil.example.com",
        "http://docs.example.com",
        "https://docs.example.com:8443",
        "https://docs.example.com.evil.example",
        "null",
    ] {
        for method in ["OPTIONS", "POST"] {
            let answer = api
                .request(method, &application.path())
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .send_unchecked()
                .await
                .expect("an answer");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{origin}"
            );
        }
    }
}

#[tokio::test]
async fn without_configured_origins_nothing_is_said_of_them() {
    let api = standard();
    let application = api.application();
    let preflight = api
        .request("OPTIONS", &application.path())
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .expect(405)
        .await;
    assert_eq!(preflight.json()["code"], json!(405));
    let answer = api
        .create(&application)
        .header("origin", ORIGIN)
        .expect(201)
        .await;
    for answer in [preflight, answer] {
        assert!(
            answer
                .headers
                .keys()
                .all(|name| !name.as_str().starts_with("access-control"))
        );
        assert_eq!(answer.header("vary"), None);
    }
}
