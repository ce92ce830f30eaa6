//! The application's id in the path, and paths that try to be something else.

use serde_json::json;

use crate::support::application::webhooks_path;
use crate::support::contract::{NOT_FOUND, details};
use crate::support::tokens::publisher;
use crate::support::{Server, Setup, standard};

/// A server with these applications, all of one merchant.
fn server_with(ids: &[&str]) -> Server {
    ids.iter()
        .fold(Setup::new(), |setup, id| {
            let document = json!({ "merchantId": MERCHANT }).to_string();
            setup.document(&format!("application/{id}"), &document)
        })
        .start()
}

const MERCHANT: &str = "merchant-of-odd-ids";

fn token() -> String {
    crate::support::tokens::Token::of_merchant(MERCHANT).sign(crate::support::tokens::hs256())
}

#[tokio::test]
async fn an_application_id_is_1_to_128_unreserved_characters() {
    let longest = "x".repeat(128);
    let ids = ["a", "Aa0-_.~", "..a", "example_string", "-", "~", &longest];
    let api = server_with(&ids);
    for id in ids {
        let created = api
            .create_at(&webhooks_path(id))
            .token(&token())
            .expect_created()
            .await;
        let location = format!("/api/v1/applications/{id}/webhooks/{}", created.webhook.id);
        assert_eq!(created.response.header("location"), Some(location.as_str()));
    }

    // The same id, percent-encoded: RFC 3986 §6.2.2.2.
    for spelling in [
        "%61",
        "%41%61%30%2D%5F%2E%7E",
        "%2e%2E%61",
        "example%5fstring",
    ] {
        let path = webhooks_path(spelling);
        let created = api.create_at(&path).token(&token()).expect_created().await;
        let location = created.response.header("location").expect("checked");
        assert!(!location.contains('%'), "{location}");
    }
    // Case matters: this is another application, which nobody has.
    api.create_at(&webhooks_path("A"))
        .token(&token())
        .expect_error(NOT_FOUND)
        .await;
}

#[tokio::test]
async fn any_other_application_id_is_400_and_named() {
    let api = standard();
    let token = api.application().token();
    let too_long = "x".repeat(129);
    let far_too_long = "x".repeat(4000);
    for id in [
        too_long.as_str(),
        far_too_long.as_str(),
        ".",
        "..",
        "...",
        "%2e",
        "%2e%2e",
        "%2E.",
        "a%2Fb",
        "a%2fwebhooks",
        "..%2F..",
        "%2F",
        "a%5Cb",
        "a%00",
        "%00",
        "a%20b",
        "%20",
        "a+b",
        "a%0d%0ab",
        "a%09",
        "a:b",
        "a;b=c",
        "a@b",
        "a,b",
        "a*",
        "a%2Ab",
        "$a",
        "%25",
        "a%252Fb",
        "%C3%A4",
        "%E2%80%AE",
        "%EF%BC%8E",
        "a%F0%9F%92%A9",
        // Not UTF-8.
        "%FF",
        "a%80b",
        "%C0%AE%C0%AE",
        "%ED%A0%80",
        // Not percent-encoding.
        "%",
        "a%2",
        "%zz",
        "%u0041",
    ] {
        let response = api.create_at(&webhooks_path(id)).token(&token).send().await;
        assert_eq!(response.status, 400, "{id}: {}", response.text);
        let fields = crate::support::contract::fields(&response);
        assert_eq!(fields, ["applicationId"], "{id}: {}", response.text);
    }
}

#[tokio::test]
async fn extra_missing_and_empty_segments_are_unknown_routes() {
    let api = standard();
    let application = api.application();
    let id = &application.id;
    for path in [
        webhooks_path(""),
        format!("/api/v1/applications/{id}/webhooks//"),
        format!("/api/v1/applications/{id}//webhooks"),
        format!("/api/v1/applications//{id}/webhooks"),
        format!("/api/v1//applications/{id}/webhooks"),
        format!("//api/v1/applications/{id}/webhooks"),
        format!("/api/v1/applications/{id}/x/webhooks"),
        format!("/api/v1/applications/{id}/webhooks/x/y/z"),
        format!("/api/v1/applications/{id}/../{id}/webhooks"),
        format!("/api/v1/./applications/{id}/webhooks"),
        format!("/x/../api/v1/applications/{id}/webhooks"),
        format!("/api/v1/applications/{id};x/webhooks;y"),
        format!("/api%2Fv1%2Fapplications%2F{id}%2Fwebhooks"),
    ] {
        let request = api.create_at(&path).token(&application.token());
        let response = request.send().await;
        assert_eq!(response.text, NOT_FOUND, "{path}");
    }
}

/// RFC 9110 §15.4.9: 308 keeps the method and the body.
#[tokio::test]
async fn a_trailing_slash_is_redirected_to_the_path_without() {
    let api = standard();
    let application = api.application();
    let webhooks = application.path();
    for (method, path, query) in [
        ("POST", webhooks.as_str(), ""),
        ("GET", &webhooks, "?page=1&limit=2"),
        ("DELETE", "/api/v1/applications", ""),
        ("GET", "/healthz", "?"),
        ("GET", "/docs", ""),
        ("GET", "/docs/receivers", "?a=b"),
    ] {
        let sent = format!("{path}/{query}");
        // Whoever asks: the redirection says nothing of what is there.
        let response = api.request(method, &sent).send_unchecked().await;
        let response = response.expect("an answer");
        assert_eq!(response.status, 308, "{method} {sent}");
        let target = format!("{path}{query}");
        assert_eq!(response.header("location"), Some(target.as_str()));
        assert_eq!(response.text, "", "{method} {sent}");
        assert_eq!(response.header("content-length"), Some("0"));
    }
    // Nothing that is not ours can be the target.
    for path in ["//example.com/", "/example.com/", "/docs//"] {
        let response = api.request("GET", path).send_unchecked().await;
        let response = response.expect("an answer");
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.header("location"), None, "{path}");
    }
}

#[tokio::test]
async fn the_root_leads_to_the_reference() {
    let api = standard();
    for method in ["GET", "HEAD"] {
        let root = api.request(method, "/").expect(307).await;
        assert_eq!(root.header("location"), Some("/docs"), "{method}");
    }
    let reference = api.request("GET", "/docs").send_unchecked().await;
    assert_eq!(reference.expect("an answer").status, 200);
    api.request("POST", "/").expect_error(NOT_FOUND).await;
}

/// RFC 3986 §3.4: the query is no part of the path.
#[tokio::test]
async fn a_query_does_not_change_the_route() {
    let api = standard();
    let application = api.application();
    let at = |query: &str| {
        let path = application.path() + query;
        api.create_at(&path).token(&application.token())
    };
    at("?").expect(201).await;
    at("?&").expect(201).await;
    for (query, named) in [
        ("?a=b", &["a"][..]),
        ("?url=http://127.0.0.1/", &["url"]),
        ("?applicationId=other&%00=%FF", &["applicationId", "\0"]),
    ] {
        at(query).expect_bad_fields(named).await;
    }
}

/// `?per_page=50&Page=2` would return the first ten for ever.
#[tokio::test]
async fn unknown_and_repeated_query_parameters_are_named_on_every_route() {
    let api = standard();
    let document = api.request("GET", "/openapi.json").send_unchecked().await;
    let document = document.expect("a document").json();
    let application = api.application();
    let webhook = api.create(&application).expect_created().await.webhook;
    let named = |response: &crate::support::Response| {
        assert_eq!(response.status, 400, "{}", response.text);
        details(response)
    };
    let unknown = |name: &str| (name.to_owned(), "Unknown query parameter".to_owned());
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let path = path
                .replace("{applicationId}", &application.id)
                .replace("{webhookId}", &webhook.id)
                .replace("{eventId}", "evt_019abd5a6f407c2e8d3b9f0a1b2c3d4e");
            let method = method.to_uppercase();
            // Events are published by the platform.
            let token = match operation["operationId"] == "publishEvent" {
                true => publisher(),
                false => application.token(),
            };
            let ask = async |query: &str| {
                let request = api.request(&method, &format!("{path}?{query}"));
                let request = request.token(&token);
                named(&request.send().await)
            };
            let wrong = ask("per_page=5&Page=2&per_page=5").await;
            let expected = [unknown("per_page"), unknown("Page")];
            assert_eq!(wrong[..2], expected, "{method} {path}");

            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let own = parameters.filter(|parameter| parameter["in"] == "query");
            for name in own.filter_map(|parameter| parameter["name"].as_str()) {
                let wrong = ask(&format!("{name}=1&{name}=1")).await;
                let repeated = (name.to_owned(), "Repeated query parameter".to_owned());
                assert_eq!(wrong, [repeated], "{method} {path}");
            }
        }
    }
    // And with whatever else is wrong.
    let request = api.by(
        &application,
        "GET",
        &(application.path() + "?offset=1&limit=0"),
    );
    request.expect_bad_fields(&["offset", "limit"]).await;
}

/// RFC 9112 §3.2.2: a server must accept the absolute form.
#[tokio::test]
async fn the_absolute_form_of_the_target_is_accepted() {
    let api = standard();
    let application = api.application();
    let body = json!({ "url": "https://example.com/" }).to_string();
    let response = api.raw(format!(
        "POST {}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        api.base(),
        application.path(),
        api.address(),
        application.token(),
        body.len()
    ));
    assert_eq!(response.status, 201, "{}", response.text);
}

/// A client that does not encode: the bytes as they are on the wire.
#[tokio::test]
async fn unencoded_paths_are_refused_and_harm_nobody() {
    let api = standard();
    let application = api.application();
    let body = json!({ "url": "https://example.com/" }).to_string();
    for id in [
        "..",
        "a\\b",
        "a\"b",
        "a<b>",
        "a|b",
        "a^b",
        "{applicationId}",
        "ä",
        "a\tb",
    ] {
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            webhooks_path(id),
            application.token(),
            body.len()
        );
        // Either the runtime finds it malformed, or the component does.
        let response = crate::support::raw::exchange(api.address(), request.as_bytes());
        assert_eq!(response.status, 400, "{id}: {}", response.text);
    }
    api.create(&application).expect(201).await;
}

/// Nothing that a path says reaches another key of the store.
#[tokio::test]
async fn an_id_cannot_reach_into_another_namespace() {
    let api = server_with(&["victim", "victim/webhooks"]);
    for id in ["victim%2Fwebhooks", "..%2Fwebhook%2Fvictim", "victim%00"] {
        let request = api.create_at(&webhooks_path(id)).token(&token());
        request.expect_bad_fields(&["applicationId"]).await;
    }
}
