//! The request's body: what is accepted, what is refused, and how it is told.
//!
//! Long because each way in which a body can be wrong is a line of its tables.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Request, URL};
use crate::support::contract::{
    BODY_LATE, CONTENT_ENCODED, CONTENT_TOO_LARGE, bad_request, details, fields,
};
use crate::support::{
    Application, PATIENCE, Response, contract, local_runtime_only, raw, standard,
};

const EMPTY: (&str, &str) = ("body", "The body must not be empty");
const NOT_AN_OBJECT: (&str, &str) = ("body", "The body must be a JSON object");
const CONTENT_TYPE: (&str, &str) = ("Content-Type", "Must be application/json");

/// A create with this body, good in everything else.
fn with_body(body: impl Into<Vec<u8>>) -> Request {
    let api = standard();
    api.create(&api.application()).body(body)
}

/// One detail, which says where the JSON is broken.
fn expect_not_json(response: &Response) {
    assert_eq!(response.status, 400, "{}", response.text);
    let [(field, message)] = &details(response)[..] else {
        panic!("{}", response.text);
    };
    assert_eq!(field, "body");
    assert!(
        message.starts_with("The body must be valid JSON: ")
            && message.contains(" at line ")
            && message.contains(" column "),
        "{message}"
    );
}

#[tokio::test]
async fn an_empty_body_is_400() {
    with_body("").expect_bad_request(&[EMPTY]).await;
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400() {
    let deep_array = "[".repeat(8_000);
    let deep_object = r#"{"a":"#.repeat(3_000);
    let deep_member = format!(
        r#"{{"url":"{URL}","x":{}{}}}"#,
        "[".repeat(7_000),
        "]".repeat(7_000)
    );
    for body in [
        "url",
        "{",
        "}",
        "{\"url\"",
        r#"{"url":"https://example.com/""#,
        r#"{"url":"https://example.com/",}"#,
        r#"{"url":"https://example.com/"} {}"#,
        r#"{"url":"https://example.com/"}x"#,
        r#"{'url':'https://example.com/'}"#,
        r#"{url:"https://example.com/"}"#,
        r#"{"url":https://example.com/}"#,
        r#"{"url":"https://example.com/"/*comment*/}"#,
        r#"{"url":NaN}"#,
        r#"{"url":undefined}"#,
        r#"{"url":01}"#,
        r#"{"url":"\x41"}"#,
        r#"{"url":"\ud800"}"#,
        "{\"url\":\"https://example.com/\n\"}",
        "{\"url\":\"https://example.com/\0\"}",
        "url=https%3A%2F%2Fexample.com%2F",
        "<url>https://example.com/</url>",
        "\u{feff}{\"url\":\"https://example.com/\"}",
        &deep_array,
        &deep_object,
        &deep_member,
    ] {
        let response = with_body(body).send().await;
        expect_not_json(&response);
    }
}

#[tokio::test]
async fn broken_json_is_answered_with_its_line_and_column() {
    for (body, message) in [
        (
            "{\n  \"url\": \"https://example.com/\",\n}",
            "The body must be valid JSON: trailing comma at line 3 column 1",
        ),
        (
            r#"{"url" "https://example.com/"}"#,
            "The body must be valid JSON: expected `:` at line 1 column 8",
        ),
    ] {
        with_body(body)
            .expect_bad_request(&[("body", message)])
            .await;
    }
}

#[tokio::test]
async fn a_body_of_white_space_is_400() {
    with_body(" \r\n\t ").expect_bad_fields(&["body"]).await;
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_400() {
    for body in [
        &b"{\"url\":\"https://example.com/\xff\"}"[..],
        b"{\"url\":\"https://example.com/\xc0\xaf\"}",
        b"{\"url\":\"https://example.com/\xed\xa0\x80\"}",
        b"{\"url\":\"https://example.com/\",\"\x80\":1}",
        b"\xff\xfe{\x00\"\x00u\x00",
        // "Ä" in Latin-1.
        b"{\"url\":\"https://example.com/\xc4\"}",
    ] {
        expect_not_json(&with_body(body).send().await);
    }
}

#[tokio::test]
async fn a_body_that_is_not_an_object_is_400() {
    for body in [
        "null",
        "true",
        "1",
        "-0.5e3",
        "\"url\"",
        "[]",
        r#"["url"]"#,
        r#"[{"url":1}]"#,
    ] {
        with_body(body).expect_bad_request(&[NOT_AN_OBJECT]).await;
    }
}

#[tokio::test]
async fn url_is_required() {
    with_body("{}")
        .expect_bad_request(&[("url", "Required")])
        .await;
    let only_events = r#"{"subscribedEvents":["session.expired"]}"#;
    with_body(only_events)
        .expect_bad_request(&[("url", "Required")])
        .await;
}

#[tokio::test]
async fn url_of_another_type_is_400() {
    for value in [
        "null",
        "1",
        "true",
        "[]",
        r#"["https://example.com/"]"#,
        "{}",
    ] {
        let body = format!(r#"{{"url":{value}}}"#);
        with_body(body)
            .expect_bad_request(&[("url", "Must be a string")])
            .await;
    }
}

#[tokio::test]
async fn subscribed_events_of_another_type_are_400() {
    for value in [
        "null",
        "1",
        "false",
        "{}",
        r#""session.completed""#,
        "[1]",
        "[null]",
        r#"["session.completed",2]"#,
        r#"[["session.completed"]]"#,
    ] {
        let body = format!(r#"{{"url":"{URL}","subscribedEvents":{value}}}"#);
        let message = "Must be an array of strings";
        with_body(body)
            .expect_bad_request(&[("subscribedEvents", message)])
            .await;
    }
}

#[tokio::test]
async fn subscribed_events_are_some_known_ones_each_once() {
    for (events, message) in [
        ("[]", "Must not be empty"),
        (
            r#"["session.expired","session.expired"]"#,
            "Must not contain duplicates",
        ),
        (r#"["session.unknown"]"#, "Unknown event type"),
        (r#"[""]"#, "Unknown event type"),
        (r#"["Session.Completed"]"#, "Unknown event type"),
        (r#"["session.completed "]"#, "Unknown event type"),
        (r#"["session.*"]"#, "Unknown event type"),
        (r#"["*","session.expired"]"#, "`*` means every event"),
        (r#"["*","*"]"#, "`*` means every event"),
        (
            r#"["session.completed,session.expired"]"#,
            "Unknown event type",
        ),
        (
            r#"["session.completed","session.unknown"]"#,
            "Unknown event type",
        ),
    ] {
        let body = format!(r#"{{"url":"{URL}","subscribedEvents":{events}}}"#);
        let response = with_body(body)
            .expect_bad_fields(&["subscribedEvents"])
            .await;
        let (_, told) = &details(&response)[0];
        assert!(told.starts_with(message), "{events}: {told}");
    }
}

#[tokio::test]
async fn unknown_members_are_400_and_named() {
    for (member, name) in [
        (r#""isActive":false"#, "isActive"),
        (r#""id":"1""#, "id"),
        (r#""signingSecret":"whsec_mine""#, "signingSecret"),
        (r#""URL":"https://example.com/""#, "URL"),
        (r#""subscribed_events":[]"#, "subscribed_events"),
        (r#""__proto__":{}"#, "__proto__"),
        (r#""":null"#, ""),
        (r#""a b\n\u00e4\"":[[[[{"b":{}}]]]]"#, "a b\nä\""),
    ] {
        let body = format!(r#"{{"url":"{URL}",{member}}}"#);
        with_body(body)
            .expect_bad_request(&[(name, "Unknown field")])
            .await;
    }
}

#[tokio::test]
async fn duplicate_members_are_400_and_named() {
    let twice = format!(r#"{{"url":"{URL}","url":"{URL}"}}"#);
    with_body(twice)
        .expect_bad_request(&[("url", "Duplicate field")])
        .await;

    let disguised = format!(r#"{{"url":"{URL}","\u0075rl":"{URL}"}}"#);
    with_body(disguised)
        .expect_bad_request(&[("url", "Duplicate field")])
        .await;

    let events = r#""subscribedEvents":["session.expired"]"#;
    let twice = format!(r#"{{"url":"{URL}",{events},{events}}}"#);
    with_body(twice)
        .expect_bad_request(&[("subscribedEvents", "Duplicate field")])
        .await;

    // However often it comes and whatever else is wrong with it, a field is named once.
    for (body, names) in [
        (
            format!(r#"{{"url":"{URL}","url":"{URL}","url":"{URL}"}}"#),
            vec!["url"],
        ),
        (format!(r#"{{"url":"{URL}","a":1,"a":2,"a":3}}"#), vec!["a"]),
        (
            r#"{"url":1,"url":"http://localhost"}"#.to_owned(),
            vec!["url"],
        ),
        (format!(r#"{{"url":1,"url":"{URL}"}}"#), vec!["url"]),
        (format!(r#"{{"url":"{URL}","url":null}}"#), vec!["url"]),
    ] {
        let response = with_body(body.as_str()).expect(400).await;
        assert_eq!(fields(&response), names, "{body}: {}", response.text);
    }
}

/// 16 KiB of members of one letter were 120 KB of errors.
#[tokio::test]
async fn at_most_32_wrong_fields_are_named() {
    let members: Vec<String> = (0..1_500).map(|it| format!(r#""{it}":0"#)).collect();
    let response = with_body(format!("{{{}}}", members.join(",")))
        .expect(400)
        .await;
    let named = fields(&response);
    assert_eq!(named.len(), 32);
    assert_eq!(named[..3], ["url", "0", "1"]);
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once_in_a_fixed_order() {
    let api = standard();
    let token = api.application().token();
    let body = r#"{
        "zzz": 1,
        "subscribedEvents": "all",
        "aaa": {"url": "https://example.com/"},
        "url": 42
    }"#;
    let everything_wrong = api
        .create_at(&crate::support::application::webhooks_path("a%20b"))
        .token(&token)
        .header("content-type", "text/plain")
        .body(body);
    let response = everything_wrong.expect(400).await;
    let named = details(&response);
    let named: Vec<(&str, &str)> = named
        .iter()
        .map(|(field, message)| (field.as_str(), message.as_str()))
        .collect();
    assert_eq!(named[0].0, "applicationId");
    assert_eq!(
        named[1..],
        [
            CONTENT_TYPE,
            ("url", "Must be a string"),
            ("subscribedEvents", "Must be an array of strings"),
            ("zzz", "Unknown field"),
            ("aaa", "Unknown field"),
        ]
    );

    let two = with_body(r#"{"subscribedEvents":[]}"#);
    two.expect_bad_request(&[
        ("url", "Required"),
        ("subscribedEvents", "Must not be empty"),
    ])
    .await;

    let no_body = api
        .create_at(&crate::support::application::webhooks_path("a%20b"))
        .token(&token)
        .without_header("content-type")
        .body("");
    no_body
        .expect_bad_fields(&["applicationId", "Content-Type", "body"])
        .await;
}

#[tokio::test]
async fn the_content_type_is_application_json() {
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "APPLICATION/JSON ; charset=\"utf-8\"",
    ] {
        let request = with_body(json!({ "url": URL }).to_string());
        request
            .header("content-type", content_type)
            .expect(201)
            .await;
    }
}

#[tokio::test]
async fn another_content_type_is_400_and_named() {
    let request = with_body(json!({ "url": URL }).to_string());
    request
        .clone()
        .without_header("content-type")
        .expect_bad_request(&[CONTENT_TYPE])
        .await;
    for content_type in [
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/json5",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "json",
        "application",
        "application/",
        "*/*",
        "text/plain; application/json",
        "text/plain, application/json",
    ] {
        let request = request.clone().header("content-type", content_type);
        let response = request.send().await;
        assert_eq!(
            response.text,
            bad_request(&[CONTENT_TYPE]),
            "{content_type}"
        );
    }
}

/// Spin answers such a header itself, with a bare 500.
#[tokio::test]
async fn a_content_type_that_is_not_text_is_400() {
    local_runtime_only!();
    let api = standard();
    let request = api.create(&api.application());
    let not_text = request.header("content-type", b"application/json\xff");
    not_text.expect_bad_request(&[CONTENT_TYPE]).await;
}

/// What is compressed is refused as such, and JSON that says it is compressed is not believed.
#[tokio::test]
async fn a_body_with_a_content_encoding_is_415() {
    let request = with_body(json!({ "url": URL }).to_string());
    for encoding in ["gzip", "br", "deflate", "identity, gzip", "x", "*"] {
        let request = request.clone().header("content-encoding", encoding);
        let response = request.expect_error(CONTENT_ENCODED).await;
        assert_eq!(response.header("accept-encoding"), Some("identity"));
    }
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
    let compressed = with_body(gzip).header("content-encoding", "gzip");
    compressed.expect_error(CONTENT_ENCODED).await;
    for encoding in ["identity", "Identity", ""] {
        let request = request.clone().header("content-encoding", encoding);
        request.expect(201).await;
    }
    // Wherever there can be a body.
    let api = standard();
    let application = api.application();
    let webhook = api.create(&application).expect_created().await.webhook;
    let path = application.webhook_path(&webhook.id);
    for (method, path) in [
        ("PATCH", path.clone()),
        ("POST", format!("{path}/rotate")),
        ("POST", format!("{path}/test")),
        ("POST", "/api/v1/applications".to_owned()),
        ("PATCH", format!("/api/v1/applications/{}", application.id)),
    ] {
        let request = api.by(&application, method, &path);
        let request = request.header("content-encoding", "gzip").json(&json!({}));
        request.expect_error(CONTENT_ENCODED).await;
    }
}

/// JSON of exactly this many bytes, which says the same as a short one.
fn padded(length: usize) -> String {
    let body = json!({ "url": URL }).to_string();
    let padding = length - body.len();
    body + &" ".repeat(padding)
}

#[tokio::test]
async fn a_body_of_16_kib_is_accepted_and_one_byte_more_is_413() {
    with_body(padded(16 * 1024)).expect(201).await;
    with_body(padded(16 * 1024 + 1))
        .expect_error(CONTENT_TOO_LARGE)
        .await;
    with_body(padded(64 * 1024))
        .expect_error(CONTENT_TOO_LARGE)
        .await;
}

/// Nobody has to read all of a body that is refused: the client is told, or cut off.
#[tokio::test]
async fn a_huge_body_is_413_or_cut_off() {
    let api = standard();
    let application = api.application();
    let huge = api.create(&application).body(padded(8 * 1024 * 1024));
    if let Ok(response) = huge.send_unchecked().await {
        assert_eq!(response.text, CONTENT_TOO_LARGE);
    }
    api.create(&application).expect(201).await;
}

#[tokio::test]
async fn too_large_is_413_whatever_is_in_it() {
    with_body("x".repeat(16 * 1024 + 1))
        .expect_error(CONTENT_TOO_LARGE)
        .await;
    with_body(vec![0xff; 20_000])
        .expect_error(CONTENT_TOO_LARGE)
        .await;
    with_body("[".repeat(20_000))
        .expect_error(CONTENT_TOO_LARGE)
        .await;
}

/// A create whose body goes out in chunks, without a length.
fn chunked(application: &Application, chunks: &[&str]) -> Response {
    let api = standard();
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        application.path(),
        application.token(),
    );
    for chunk in chunks {
        request += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    api.raw(request + "0\r\n\r\n")
}

#[tokio::test]
async fn a_body_in_chunks_is_as_good_as_one_with_a_length() {
    let application = standard().application();
    let response = chunked(
        &application,
        &["{\"ur", "l\":\"https://", "example.com/\"", "}"],
    );
    assert_eq!(response.status, 201, "{}", response.text);

    let response = chunked(&application, &[]);
    assert_eq!(response.text, bad_request(&[EMPTY]));

    let exactly = padded(16 * 1024);
    let response = chunked(&application, &[&exactly[..10_000], &exactly[10_000..]]);
    assert_eq!(response.status, 201, "{}", response.text);

    let too_much = padded(16 * 1024 + 1);
    let response = chunked(&application, &[&too_much[..10_000], &too_much[10_000..]]);
    assert_eq!(response.text, CONTENT_TOO_LARGE);
}

#[tokio::test]
async fn no_body_and_no_length_is_an_empty_body() {
    let api = standard();
    let application = api.application();
    let response = api.raw(format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n\r\n",
        application.path(),
        application.token(),
    ));
    assert_eq!(response.text, bad_request(&[EMPTY]));
}

#[tokio::test]
async fn a_body_that_breaks_off_creates_nothing() {
    let api = standard();
    let application = api.application();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"url\":\"{URL}\"}}",
        application.path(),
        application.token(),
    );
    {
        let mut stream = TcpStream::connect(api.address()).expect("connect");
        stream.write_all(request.as_bytes()).expect("send");
    }
    // The service is none the worse, and what came after it was served after it.
    let created = api.create(&application).expect_created().await.webhook;
    if !crate::support::server::on_spin() {
        assert_eq!(api.store().webhooks(&application), [created.id]);
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_served() {
    let api = standard();
    let application = api.application();
    let body = json!({ "url": URL }).to_string();
    let answer = raw::exchange(
        api.address(),
        format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nExpect: 100-continue\r\n\
             Content-Length: {}\r\n\r\n{body}",
            application.path(),
            application.token(),
            body.len()
        )
        .as_bytes(),
    );
    let served = answer.status == 201
        || (answer.status == 100 && answer.text.starts_with("HTTP/1.1 201 Created\r\n"));
    assert!(served, "{answer:?}");
}

/// Sends a create's head with `Content-Length: 100` or in chunks, and then `more` every half second
/// until there is an answer; returns it, and how long it took.
fn trickle(application: &Application, framing: &str, more: &str) -> (Response, Duration) {
    let api = standard();
    let mut stream = TcpStream::connect(api.address()).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("set a time limit");
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n{framing}\r\n\r\n",
        application.path(),
        application.token(),
    );
    stream.write_all(head.as_bytes()).expect("send");
    let since = Instant::now();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(since.elapsed() < PATIENCE, "no answer");
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            // All of it has come: the connection is only not closed yet.
            Err(_) if !answer.is_empty() => break,
            Err(_) => {
                let _ = stream.write_all(more.as_bytes());
            }
        }
    }
    let response = raw::parse(&answer).expect("a response");
    contract::check(&response);
    (response, since.elapsed())
}

/// A byte now and then would keep an instance to itself.
#[tokio::test]
async fn a_body_that_takes_longer_than_ten_seconds_is_408() {
    let api = standard();
    let application = api.application();
    let slow = [
        ("Content-Length: 100", ""),
        ("Content-Length: 100", " "),
        ("Transfer-Encoding: chunked", "1\r\n \r\n"),
    ];
    let slow = slow.map(|(framing, more)| {
        let application = application.clone();
        tokio::task::spawn_blocking(move || trickle(&application, framing, more))
    });
    // Nobody else waits for them.
    api.create(&api.application()).expect(201).await;
    for answer in slow {
        let (response, took) = answer.await.expect("an answer");
        assert_eq!(response.text, BODY_LATE);
        assert!(took >= Duration::from_secs(9), "{took:?}");
    }
    let list = api.by(&application, "GET", &application.path()).expect(200);
    assert_eq!(list.await.json()["totalItems"], 0);
}
