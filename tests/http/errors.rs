//! 401, 403, 404, 405: who may do what, to the character. And which error wins.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::json;

use crate::support::application::webhooks_path;
use crate::support::contract::{
    FORBIDDEN, INVALID_TOKEN, MALFORMED, METHOD_NOT_ALLOWED, NO_TOKEN, NOT_FOUND, UNAUTHORIZED,
};
use crate::support::tokens::hs256;
use crate::support::{Application, PATIENCE, local_runtime_only, standard, unique};

#[tokio::test]
async fn no_token_is_401_and_says_which_kind_is_wanted() {
    let api = standard();
    let request = api.create(&api.application()).without_token();
    let response = request.expect_error(UNAUTHORIZED).await;
    assert_eq!(response.header("www-authenticate"), Some(NO_TOKEN));
}

#[tokio::test]
async fn a_refused_token_is_401_and_says_so() {
    let api = standard();
    let request = api.create(&api.application()).token("not.a.token");
    let response = request.expect_error(UNAUTHORIZED).await;
    assert_eq!(response.header("www-authenticate"), Some(MALFORMED));
}

#[tokio::test]
async fn another_merchants_application_is_403() {
    let api = standard();
    let (mine, theirs) = (api.application(), api.application());
    api.create(&theirs)
        .token(&mine.token())
        .expect_error(FORBIDDEN)
        .await;
}

#[tokio::test]
async fn merchant_ids_are_compared_to_the_character() {
    let api = standard();
    let application = api.application();
    let merchant = &application.merchant;
    for other in [
        merchant.to_uppercase(),
        format!("{merchant} "),
        format!(" {merchant}"),
        format!("{merchant}\0"),
        merchant[..merchant.len() - 1].to_owned(),
    ] {
        let token = application.claims().claim("sub", other.clone());
        let token = token.sign(hs256());
        let response = api
            .create(&application)
            .token(&token)
            .expect_error(FORBIDDEN)
            .await;
        assert!(!response.text.contains(merchant), "{other}");
    }
}

#[tokio::test]
async fn an_unknown_application_is_404() {
    let api = standard();
    let unknown = Application::new();
    api.create(&unknown).expect_error(NOT_FOUND).await;
}

#[tokio::test]
async fn a_refused_create_leaves_nothing_in_the_store() {
    local_runtime_only!();
    let api = standard();
    let (application, other, unknown) = (api.application(), api.application(), Application::new());

    api.create(&application).without_token().expect(401).await;
    api.create(&application)
        .url("http://example.com/")
        .expect(400)
        .await;
    api.create(&application)
        .token(&other.token())
        .expect(403)
        .await;
    api.create(&unknown).expect(404).await;

    for application in [&application, &unknown] {
        assert_eq!(api.store().webhooks(application), Vec::<String>::new());
        assert_eq!(api.store().index(application), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_unknown_route_is_404_with_or_without_a_token() {
    let api = standard();
    let application = api.application();
    for path in [
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/applications/x/webhooks",
        "/API/v1/applications/x/webhooks",
        "/api/v1/Applications/x/webhooks",
        "/api/v1/applications/x/webhook",
        "/api/v1/applications/x/webhooks.json",
        "/api/v1/applications/x/webhooks/y/z",
        "/favicon.ico",
        "/.env",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            api.request(method, path).expect_error(NOT_FOUND).await;
        }
        api.create_at(path)
            .token(&application.token())
            .expect_error(NOT_FOUND)
            .await;
    }
}

#[tokio::test]
async fn another_method_is_405_and_names_the_right_ones() {
    let api = standard();
    let path = api.application().path();
    for method in [
        "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "post",
    ] {
        let response = api
            .request(method, &path)
            .expect_error(METHOD_NOT_ALLOWED)
            .await;
        let allowed = response.header("allow").expect("checked");
        let mut allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed, ["GET", "HEAD", "POST"], "{method}");
    }
}

#[tokio::test]
async fn a_refused_head_has_the_headers_of_the_error_and_no_body() {
    let api = standard();
    let response = api.request("HEAD", "/api/v1/nothing").expect(404).await;
    assert_eq!(response.text, "");
}

#[tokio::test]
async fn the_first_error_in_the_documented_order_wins() {
    let api = standard();
    let (mine, theirs) = (api.application(), api.application());
    let unknown = webhooks_path(&unique("unknown"));
    let wrong = json!({ "url": "http://example.com/" });
    let huge = "x".repeat(20_000);

    // 404 and 405 of the route, before the token.
    api.request("POST", "/nothing")
        .expect_error(NOT_FOUND)
        .await;
    api.request("PUT", &unknown)
        .expect_error(METHOD_NOT_ALLOWED)
        .await;
    // 401, before everything in the request.
    api.create_at(&unknown)
        .json(&wrong)
        .expect_error(UNAUTHORIZED)
        .await;
    api.create_at(&webhooks_path("a%20b"))
        .expect_error(UNAUTHORIZED)
        .await;
    api.create(&mine)
        .without_token()
        .body(huge.as_str())
        .expect_error(UNAUTHORIZED)
        .await;
    api.create(&mine)
        .without_token()
        .header("content-type", "text/plain")
        .expect(401)
        .await;
    // 400, before the application is looked at.
    api.create_at(&unknown)
        .token(&mine.token())
        .json(&wrong)
        .expect(400)
        .await;
    api.create(&theirs)
        .token(&mine.token())
        .json(&wrong)
        .expect(400)
        .await;
    // 413 stands where 400 does.
    api.create(&theirs)
        .token(&mine.token())
        .body(huge.as_str())
        .expect(413)
        .await;
    api.create_at(&unknown)
        .token(&mine.token())
        .body(huge.as_str())
        .expect(413)
        .await;
}

#[tokio::test]
async fn two_authorization_headers_are_401() {
    let api = standard();
    let application = api.application();
    let (path, token) = (application.path(), application.token());
    let body = json!({ "url": "https://example.com/" }).to_string();
    for second in [token.as_str(), "garbage"] {
        let response = api.raw(format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nAuthorization: Bearer {second}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(response.status, 401);
        assert_eq!(response.text, UNAUTHORIZED);
        assert_eq!(response.header("www-authenticate"), Some(INVALID_TOKEN));
    }
}

#[tokio::test]
async fn what_is_not_http_does_not_disturb_the_others() {
    let api = standard();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST /api\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
    ] {
        // Whatever the runtime says to it, if anything, the component is not asked.
        let mut stream = TcpStream::connect(api.address()).expect("connect");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("set a time limit");
        stream.write_all(garbage).expect("send");
        // Spin may have closed the connection before.
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            !answer.starts_with(b"HTTP/1.1 2"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    api.create(&api.application()).expect(201).await;
}
