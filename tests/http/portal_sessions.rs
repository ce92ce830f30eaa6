//! Sessions of the portal: who opens one, what its token may do, and how it ends.
//!
//! Long because each guarantee of a token is a test of its own, and all share how a session is opened.

use std::collections::BTreeMap;
use std::time::Duration;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::contract::{EXPIRED, FORBIDDEN, INVALID_TOKEN, NOT_FOUND, UNAUTHORIZED};
use crate::support::server::{dispatching_setup, on_spin, store_can_be_shared};
use crate::support::tokens::{Signer, Token, hs256, publisher, support};
use crate::support::{
    Application, PATIENCE, Receiver, Response, Server, Setup, dispatching, local_runtime_only, poll,
};

pub const CODE_SPENT: &str = r#"{"error":"Gone","message":"The code is unknown, was exchanged already, or is older than a minute","code":410,"reason":"codeSpent"}"#;

const ALL: [&str; 5] = [
    "view",
    "viewPayloads",
    "resend",
    "manageWebhooks",
    "rotateSecrets",
];

fn sessions(application: &str) -> String {
    format!("/api/v1/applications/{application}/portal-sessions")
}

/// "Open portal", by the application's merchant.
fn open(api: &Server, application: &Application) -> Request {
    api.by(application, "POST", &sessions(&application.id))
}

fn exchange(api: &Server, code: &str) -> Request {
    let request = api.request("POST", "/api/v1/portal-sessions/exchange");
    request.json(&json!({ "code": code }))
}

/// The code of a link.
fn code_of(opened: &Value) -> String {
    let url = opened["url"].as_str().expect("a link");
    let (_, code) = url.split_once("/portal#code=").expect("a code");
    code.to_owned()
}

/// A session's token.
async fn token(api: &Server, application: &Application, capabilities: &[&str]) -> String {
    let body = json!({"capabilities": capabilities, "expiresInSeconds": 43_200});
    let opened = open(api, application).json(&body).expect(201).await.json();
    let begun = exchange(api, &code_of(&opened)).expect(200).await.json();
    begun["token"].as_str().expect("a token").to_owned()
}

/// A request of somebody with that token.
fn with(api: &Server, token: &str, method: &str, path: &str) -> Request {
    api.request(method, path).token(token)
}

fn seconds_until(moment: &Value, api: &Server) -> i64 {
    let moment = chrono::DateTime::parse_from_rfc3339(moment.as_str().expect("a time"));
    let now = chrono::Utc::now() + api.ahead();
    (moment.expect("a time").to_utc() - now).num_seconds()
}

fn of_portal_scope() -> Token {
    Token::of_platform("portal:create")
}

#[tokio::test]
async fn a_link_is_made_for_the_merchant_and_for_the_platform_and_for_nobody_else() {
    let api = dispatching();
    let application = api.application();
    let opened = open(api, &application).expect(201).await;
    assert_eq!(
        opened.header("location"),
        Some(sessions(&application.id).as_str())
    );
    let body = opened.json();
    let url = body["url"].as_str().expect("a link");
    assert!(
        url.starts_with(&format!("{}/portal#code=", api.base())),
        "{url}"
    );
    assert_eq!(body["capabilities"], json!(["view", "resend"]));
    let left = seconds_until(&body["expiresAt"], api);
    assert!((3500..=3600).contains(&left), "{body}");

    let later = |claims: Token| claims.later(api.ahead()).sign(hs256());
    let by_platform = |token: String| {
        let request = api.request("POST", &sessions(&application.id));
        request.token(&token).json(&json!({
            "capabilities": ["rotateSecrets", "view"], "expiresInSeconds": 300,
        }))
    };
    let body = by_platform(later(of_portal_scope()))
        .expect(201)
        .await
        .json();
    assert_eq!(body["capabilities"], json!(["view", "rotateSecrets"]));
    let left = seconds_until(&body["expiresAt"], api);
    assert!((250..=300).contains(&left), "{body}");

    for token in [
        publisher(),
        support(),
        later(api.application().claims()),
        token(api, &application, &ALL).await,
    ] {
        let refused = by_platform(token.clone());
        refused.expect_error(FORBIDDEN).await;
        let end = api.request("DELETE", &sessions(&application.id));
        end.token(&token).expect_error(FORBIDDEN).await;
    }
    let unknown = api.request("POST", &sessions("unknown"));
    let unknown = unknown.token(&later(of_portal_scope()));
    unknown.expect_error(NOT_FOUND).await;
    let nobody = by_platform(publisher()).without_token();
    nobody.expect_error(UNAUTHORIZED).await;

    for (body, field) in [
        (json!({"capabilities": []}), "capabilities"),
        (json!({"capabilities": ["view", "view"]}), "capabilities"),
        (json!({"capabilities": ["everything"]}), "capabilities"),
        (json!({"expiresInSeconds": 299}), "expiresInSeconds"),
        (json!({"expiresInSeconds": 43_201}), "expiresInSeconds"),
        (json!({"scope": "view"}), "scope"),
    ] {
        let refused = open(api, &application).json(&body);
        refused.expect_bad_fields(&[field]).await;
    }
}

#[tokio::test]
async fn a_code_is_exchanged_once_for_a_token_of_one_application() {
    let api = dispatching();
    let application = api.application();
    let opened = open(api, &application).expect(201).await.json();
    let code = code_of(&opened);
    assert_eq!(code.len(), 43);
    let begun = exchange(api, &code).expect(200).await.json();
    assert_eq!(begun["applicationId"], json!(application.id));
    assert_eq!(begun["applicationName"], Value::Null);
    assert_eq!(begun["capabilities"], opened["capabilities"]);
    assert_eq!(begun["expiresAt"], opened["expiresAt"]);
    let token = begun["token"].as_str().expect("a token");
    with(api, token, "GET", &application.path())
        .expect(200)
        .await;

    let unknown = Base64UrlUnpadded::encode_string(&[7; 32]);
    for spent in [code.as_str(), &unknown, "x", &"A".repeat(128)] {
        exchange(api, spent).expect_error(CODE_SPENT).await;
    }
    for body in [
        json!({}),
        json!({"code": 1}),
        json!({"code": ""}),
        json!({"code": "A".repeat(129)}),
    ] {
        exchange(api, "")
            .json(&body)
            .expect_bad_fields(&["code"])
            .await;
    }
    exchange(api, &code)
        .json(&json!({"code": code, "more": true}))
        .expect_bad_fields(&["more"])
        .await;
    // A token beside it is not looked at, whatever it is.
    let second = open(api, &application).expect(201).await.json();
    let beside = exchange(api, &code_of(&second)).token("nonsense");
    beside.expect(200).await;
}

/// Each of several, in one process and in two.
async fn of_exchanges_at_once_exactly_one_has_the_session(processes: &[&Server]) {
    let application = processes[0].application();
    for _ in 0..5 {
        let opened = open(processes[0], &application).expect(201).await.json();
        let code = code_of(&opened);
        let exchanges = (0..8).map(|number| {
            let process = processes[number % processes.len()];
            exchange(process, &code).send()
        });
        let mut statuses: Vec<u16> = join_all(exchanges)
            .await
            .iter()
            .map(|it| it.status)
            .collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 410, 410, 410, 410, 410, 410, 410]);
    }
}

#[tokio::test]
async fn of_exchanges_at_the_same_moment_exactly_one_has_the_session_on_sqlite() {
    of_exchanges_at_once_exactly_one_has_the_session(&[dispatching()]).await;
}

#[tokio::test]
async fn of_exchanges_at_the_same_moment_exactly_one_has_the_session_on_postgresql() {
    let server = crate::support::postgres_server!();
    let setup = crate::events::on_postgres(dispatching_setup(), server);
    let (one, other) = (setup.another().start(), setup.start());
    if store_can_be_shared() {
        of_exchanges_at_once_exactly_one_has_the_session(&[&one, &other]).await;
    } else {
        of_exchanges_at_once_exactly_one_has_the_session(&[&one]).await;
    }
}

#[tokio::test]
async fn neither_a_code_nor_a_token_is_in_a_log_and_the_session_is() {
    let api = dispatching();
    let application = api.application();
    let opened = open(api, &application).expect(201).await.json();
    let code = code_of(&opened);
    let begun = exchange(api, &code).expect(200).await.json();
    exchange(api, &code).expect(410).await;
    let token = begun["token"].as_str().expect("a token").to_owned();
    let answer = with(api, &token, "GET", &application.path())
        .expect(200)
        .await;
    let line = crate::logs::line_of(api, answer.request_id()).await;
    let line: Value = serde_json::from_str(line.trim()).expect("JSON");
    let session = line["portalSession"].as_str().expect("a session");
    assert_eq!(session.len(), 32, "{line}");
    assert!(line["merchant"].is_string(), "{line}");
    let output = api.output();
    assert!(!output.contains(&code) && !output.contains(&token));
    // A JWT's would be visible: this one is encrypted.
    let sealed = Base64UrlUnpadded::decode_vec(token.trim_start_matches("portal_"));
    let sealed = sealed.expect("base64url");
    let text = String::from_utf8_lossy(&sealed);
    assert!(!text.contains(&application.id) && !text.contains("merchant"));
}

/// What a session needs for each operation: the API's promise, written down a second time. `None`: no session
/// may.
fn needed(operation: &str) -> Option<&'static str> {
    match operation {
        "createApplication"
        | "listApplications"
        | "updateApplication"
        | "deleteApplication"
        | "publishEvent"
        | "eraseEventData"
        | "createPortalSession"
        | "endPortalSessions" => None,
        "getApplication" | "listWebhooks" | "getWebhook" | "listEventTypes" | "listEvents"
        | "getEventsDigest" | "getEvent" | "listDeliveries" | "getDelivery" | "getRecovery"
        | "verifyDelivery" | "getWebhookHealth" => Some("view"),
        "getDeliveryProof" => Some("viewPayloads"),
        "resendDelivery" | "recoverDeliveries" | "stopRecovery" => Some("resend"),
        "createWebhook" | "updateWebhook" | "deleteWebhook" | "testWebhook" => {
            Some("manageWebhooks")
        }
        "rotateWebhookSecret" => Some("rotateSecrets"),
        other => panic!("what does a session of the portal need for {other}?"),
    }
}

/// An operation that a token is needed for.
struct Operation {
    id: String,
    method: String,
    path: String,
    body: Option<Value>,
}

/// Every operation that a token is needed for, as the service describes itself, for one webhook and one event.
async fn operations(api: &Server, ids: &BTreeMap<&str, String>) -> Vec<Operation> {
    let document = api.request("GET", "/openapi.json").send_unchecked().await;
    let document = document.expect("an answer").json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            if operation.get("security").is_some() {
                continue;
            }
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            let described = operation["x-portal-capability"].as_str();
            assert_eq!(described, needed(&id), "{id}");
            let mut path = path.clone();
            for (name, value) in ids {
                path = path.replace(&format!("{{{name}}}"), value);
            }
            if id == "getEventsDigest" {
                path.push_str("?day=2026-01-15");
            }
            let body = operation.pointer("/requestBody/content/application~1json/example");
            operations.push(Operation {
                id,
                method: method.to_uppercase(),
                path,
                body: body.cloned(),
            });
        }
    }
    // What deletes comes last, so that there is something until then.
    operations.sort_by_key(|operation| operation.method == "DELETE");
    operations
}

/// What a token is asked about: an application with a webhook, an event and a recovery.
struct Fixture {
    application: Application,
    ids: BTreeMap<&'static str, String>,
}

impl Fixture {
    /// One whose event's data and whose endpoint's answer have these texts in them.
    async fn new(api: &Server, data: &str, receiver: &Receiver) -> Self {
        let application = api.application();
        let created = api.create(&application).url(&receiver.url());
        let webhook = created.expect_created().await.webhook.id;
        let publish = api.publish(&application);
        let publish = publish.json(&json!({"type": "session.completed", "data": {"it": data}}));
        let event = publish.expect(202).await.json()["id"].clone();
        let event = event.as_str().expect("an id").to_owned();
        let path = format!("{}/deliveries/{event}", application.webhook_path(&webhook));
        let since = std::time::Instant::now();
        while api.by(&application, "GET", &path).expect(200).await.json()["status"] == "pending" {
            assert!(since.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let path = format!("{}/recoveries", application.webhook_path(&webhook));
        let recover = api.by(&application, "POST", &path);
        let recover = recover.json(&json!({"after": "2026-01-15T08:00:00.000Z"}));
        let recovery = recover.expect(202).await.json()["id"].clone();
        let ids = BTreeMap::from([
            ("applicationId", application.id.clone()),
            ("webhookId", webhook),
            ("eventId", event),
            ("recoveryId", recovery.as_str().expect("an id").to_owned()),
        ]);
        Self { application, ids }
    }
}

async fn ask(api: &Server, token: &str, operation: &Operation) -> Response {
    let request = with(api, token, &operation.method, &operation.path);
    let request = match &operation.body {
        Some(body) => request.json(body),
        None => request,
    };
    request.send().await
}

/// "Missing capability", naming it.
fn is_missing(response: &Response, capability: &str) -> bool {
    let body = response.json();
    let message = format!("The portal's session lacks the capability {capability}");
    response.status == 403
        && body["reason"] == json!("missingCapability")
        && body["message"] == json!(message)
}

/// Why the service failed, which its responses do not say.
fn logged_errors(api: &Server) -> String {
    let output = api.output();
    let errors = output
        .lines()
        .filter(|line| line.contains(r#""level":"error""#));
    errors.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_operation_is_refused_without_its_capability_and_only_then() {
    let api = dispatching();
    let receiver = Receiver::answering("200 OK", b"taken");
    let all_but = |left_out: &str| ALL.into_iter().filter(|it| *it != left_out).collect();
    let single = ALL.map(|capability| vec![capability]);
    let sets: Vec<Vec<&str>> = single.into_iter().chain(ALL.map(all_but)).collect();
    for capabilities in sets {
        let fixture = Fixture::new(api, "data", &receiver).await;
        let token = token(api, &fixture.application, &capabilities).await;
        let operations = operations(api, &fixture.ids).await;
        assert!(operations.len() >= 28, "{}", operations.len());
        for operation in &operations {
            let response = ask(api, &token, operation).await;
            let shown = format!("{} with {capabilities:?}: {}", operation.id, response.text);
            match needed(&operation.id) {
                None => assert_eq!(response.text, FORBIDDEN, "{shown}"),
                Some(needed) if capabilities.contains(&needed) => {
                    // The fixture's recovery may not have ended yet.
                    let is_allowed = [200, 201, 202, 204, 409].contains(&response.status);
                    assert!(is_allowed, "{shown}\n{}", logged_errors(api));
                }
                Some(needed) => assert!(is_missing(&response, needed), "{shown}"),
            }
        }
    }
}

#[tokio::test]
async fn without_view_payloads_no_response_has_what_an_event_happened_to_or_an_endpoint_answered() {
    const DATA: &str = "what-it-happened-to";
    const ANSWER: &str = "what-the-endpoint-answered";

    let api = dispatching();
    let receiver = Receiver::answering("200 OK", ANSWER.as_bytes());
    let without: Vec<&str> = ALL.into_iter().filter(|it| *it != "viewPayloads").collect();
    for (capabilities, sees) in [(&without[..], false), (&ALL[..], true)] {
        let fixture = Fixture::new(api, DATA, &receiver).await;
        let token = token(api, &fixture.application, capabilities).await;
        let (mut data, mut answers) = (Vec::new(), Vec::new());
        for operation in operations(api, &fixture.ids).await {
            let response = ask(api, &token, &operation).await;
            if response.text.contains(DATA) {
                data.push(operation.id.clone());
            }
            if response.text.contains(ANSWER) {
                answers.push(operation.id.clone());
            }
            if response.text.contains(r#""responseBody":"#) || operation.id == "getEvent" {
                let omitted = format!(r#""payloadOmitted":{}"#, !sees);
                let other = format!(r#""payloadOmitted":{sees}"#);
                assert!(response.text.contains(&omitted), "{}", response.text);
                assert!(!response.text.contains(&other), "{}", response.text);
            }
        }
        data.sort_unstable();
        answers.sort_unstable();
        match sees {
            true => {
                assert_eq!(data, ["getEvent"]);
                let expected = [
                    "getDelivery",
                    "getEvent",
                    "listDeliveries",
                    "resendDelivery",
                    "testWebhook",
                ];
                assert_eq!(answers, expected);
            }
            false => assert_eq!((data, answers), (Vec::new(), Vec::new())),
        }
    }
}

#[tokio::test]
async fn another_application_is_as_another_merchants() {
    let api = dispatching();
    let receiver = Receiver::answering("200 OK", b"");
    let other = Fixture::new(api, "data", &receiver).await;
    let own = api.application();
    let token = token(api, &own, &ALL).await;
    // Also one of the same merchant.
    let second = api.by(&own, "POST", "/api/v1/applications");
    let second = second
        .json(&json!({"name": "Second"}))
        .expect(201)
        .await
        .json();
    let second = second["id"].as_str().expect("an id").to_owned();
    for (id, expected) in [
        (&other.application.id, FORBIDDEN),
        (&second, FORBIDDEN),
        (&"unknown".to_owned(), NOT_FOUND),
    ] {
        let mut ids = other.ids.clone();
        ids.insert("applicationId", id.clone());
        for operation in operations(api, &ids).await {
            if operation.id == "listEventTypes" {
                continue;
            }
            let expected = needed(&operation.id).map_or(FORBIDDEN, |_| expected);
            let response = ask(api, &token, &operation).await;
            assert_eq!(response.text, expected, "{}", operation.id);
        }
    }
}

async fn is_ended(api: &Server, token: &str, ids: &BTreeMap<&str, String>) {
    for operation in operations(api, ids).await {
        // What no session may, an ended one may not either.
        let Some(_) = needed(&operation.id) else {
            continue;
        };
        let response = ask(api, token, &operation).await;
        let shown = format!("{}: {}", operation.id, response.text);
        assert_eq!(response.status, 401, "{shown}");
        assert_eq!(
            response.header("www-authenticate"),
            Some(INVALID_TOKEN),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn all_sessions_end_at_once_also_those_of_links_that_nobody_has_opened() {
    let one = dispatching_setup().start();
    let receiver = Receiver::answering("200 OK", b"");
    let fixture = Fixture::new(&one, "data", &receiver).await;
    let application = &fixture.application;
    let another = one.application();
    let tokens = [
        token(&one, application, &ALL).await,
        token(&one, application, &ALL).await,
    ];
    let others = token(&one, &another, &ALL).await;
    let unopened = code_of(&open(&one, application).expect(201).await.json());
    let end = one.by(application, "DELETE", &sessions(&application.id));
    end.expect(204).await;
    for token in &tokens {
        is_ended(&one, token, &fixture.ids).await;
    }
    exchange(&one, &unopened).expect_error(CODE_SPENT).await;
    // Those of another application go on, and new ones begin.
    with(&one, &others, "GET", &another.path())
        .expect(200)
        .await;
    let renewed = token(&one, application, &ALL).await;
    with(&one, &renewed, "GET", &application.path())
        .expect(200)
        .await;
    // The platform ends them too.
    let end = one.request("DELETE", &sessions(&application.id));
    let end = end.token(&of_portal_scope().sign(hs256()));
    end.expect(204).await;
    is_ended(&one, &renewed, &fixture.ids).await;
}

#[tokio::test]
async fn sessions_that_one_process_ends_are_ended_in_another() {
    local_runtime_only!();
    let setup = dispatching_setup();
    let (one, other) = (setup.another().start(), setup.start());
    let application = one.application();
    let token = token(&one, &application, &ALL).await;
    with(&other, &token, "GET", &application.path())
        .expect(200)
        .await;
    let end = one.by(&application, "DELETE", &sessions(&application.id));
    end.expect(204).await;
    for path in [application.path(), application.events_path()] {
        with(&other, &token, "GET", &path).expect(401).await;
    }
}

#[tokio::test]
async fn sessions_end_with_their_application() {
    let api = dispatching();
    let receiver = Receiver::answering("200 OK", b"");
    let fixture = Fixture::new(api, "data", &receiver).await;
    let application = &fixture.application;
    let token = token(api, application, &ALL).await;
    let unopened = code_of(&open(api, application).expect(201).await.json());
    let end = api.by(application, "DELETE", &sessions(&application.id));
    end.expect(204).await;
    let path = format!("/api/v1/applications/{}", application.id);
    api.by(application, "DELETE", &path).expect(204).await;
    is_ended(api, &token, &fixture.ids).await;
    exchange(api, &unopened).expect_error(CODE_SPENT).await;
    open(api, application).expect_error(NOT_FOUND).await;
    if !on_spin() {
        let left = poll("nothing left", PATIENCE, || {
            let keys = api.store().keys(&format!("portal/{}", application.id));
            keys.is_empty().then_some(keys)
        });
        left.await;
    }
}

#[tokio::test]
async fn a_code_ends_after_a_minute_and_a_token_when_its_session_does() {
    local_runtime_only!();
    let api = dispatching_setup().start();
    let application = api.application();
    let late = code_of(&open(&api, &application).expect(201).await.json());
    let body = json!({"expiresInSeconds": 300});
    let opened = open(&api, &application)
        .json(&body)
        .expect(201)
        .await
        .json();
    let begun = exchange(&api, &code_of(&opened)).expect(200).await.json();
    let token = begun["token"].as_str().expect("a token").to_owned();
    api.sleep(Duration::from_secs(61));
    exchange(&api, &late).expect_error(CODE_SPENT).await;
    with(&api, &token, "GET", &application.path())
        .expect(200)
        .await;
    api.sleep(Duration::from_secs(240));
    let ended = with(&api, &token, "GET", &application.path());
    let ended = ended.expect_error(UNAUTHORIZED).await;
    assert_eq!(ended.header("www-authenticate"), Some(EXPIRED));
}

#[tokio::test]
async fn a_token_of_an_earlier_secrets_key_is_good_as_long_as_the_key_is_known() {
    local_runtime_only!();
    let [old, new] = [[1; 32], [2; 32]].map(|key| Base64::encode_string(&key));
    let setup = dispatching_setup().variable("secrets_key", &old);
    let api = setup.start();
    let application = api.application();
    let token = token(&api, &application, &ALL).await;
    let setup = api.kill().variable("secrets_key", &new);
    let without = setup.clone().start();
    let refused = with(&without, &token, "GET", &application.path());
    let refused = refused.expect_error(UNAUTHORIZED).await;
    assert_eq!(refused.header("www-authenticate"), Some(INVALID_TOKEN));
    without.kill();
    let api = setup.variable("secrets_key_previous", &old).start();
    for path in [application.path(), application.events_path()] {
        with(&api, &token, "GET", &path).expect(200).await;
    }
}

#[tokio::test]
async fn no_token_that_others_make_or_change_is_a_portals() {
    let api = dispatching();
    let application = api.application();
    let token = token(api, &application, &["view"]).await;
    let sealed = Base64UrlUnpadded::decode_vec(&token["portal_".len()..]).expect("base64url");
    let mut forged = vec![
        "portal_".to_owned(),
        "portal_x".to_owned(),
        token[..token.len() - 4].to_owned(),
        format!("{token}AAAA"),
        // As another scheme of tokens, and the other way round.
        token["portal_".len()..].to_owned(),
        format!("portal_{}", application.token()),
        token.to_uppercase(),
    ];
    for position in [0, 1, 5, 29, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        forged.push(format!(
            "portal_{}",
            Base64UrlUnpadded::encode_string(&changed)
        ));
    }
    // JWTs that call themselves the portal's, signed with nothing, and with what is public.
    let claims = Token::of_platform("view").claim("portal", "true");
    let claims = claims
        .claim("applicationId", application.id.as_str())
        .claim("capabilities", json!(ALL))
        .header("typ", "portal+jwt");
    forged.push(claims.sign(&Signer::none()));
    forged.push(claims.sign(&Signer::hmac(token.as_bytes())));
    forged.push(format!("portal_{}", claims.sign(&Signer::none())));
    for forged in &forged {
        for path in [application.path(), application.events_path()] {
            let refused = with(api, forged, "GET", &path).send().await;
            assert_eq!(refused.status, 401, "{forged}: {}", refused.text);
        }
    }
    with(api, &token, "GET", &application.path())
        .expect(200)
        .await;
    // The operator's routes and a merchant's JWT are no business of it.
    let operator = with(api, &token, "POST", "/operator/v1/doctor")
        .send()
        .await;
    assert!([401, 404].contains(&operator.status), "{}", operator.text);
    // A good JWT with claims of the portal is its merchant's, and no session.
    let merchant = application.claims().claim("capabilities", json!([]));
    let merchant = merchant.later(api.ahead()).sign(hs256());
    with(api, &merchant, "GET", &application.path())
        .expect(200)
        .await;
}

#[tokio::test]
async fn an_application_gets_no_more_links_in_a_minute_than_a_platform_needs() {
    let api = dispatching();
    let application = api.application();
    let token = of_portal_scope().later(api.ahead()).sign(hs256());
    let open = || {
        let request = api.request("POST", &sessions(&application.id));
        request.token(&token)
    };
    for _ in 0..120 {
        open().expect(201).await;
    }
    let refused = open().expect(429).await;
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert_eq!(refused.json()["reason"], json!("tooManyChanges"));
}

#[tokio::test]
async fn a_link_leads_to_where_the_platform_says() {
    let api = Setup::new()
        .variable("portal_url", "https://webhooks.example.com/platform/")
        .variable("portal_scope", "dashboards")
        .variable("cors_allowed_origins", "https://dashboard.example.com")
        .variable("store_timeout_ms", "20000")
        .start();
    let application = api.application();
    let open = |scope: &str| {
        let request = api.request("POST", &sessions(&application.id));
        request.token(&Token::of_platform(scope).sign(hs256()))
    };
    let opened = open("dashboards").expect(201).await.json();
    let url = opened["url"].as_str().expect("a link");
    let base = "https://webhooks.example.com/platform/portal#code=";
    assert!(url.starts_with(base), "{url}");
    // No scope of this platform: a merchant's, that is not the application's.
    open("portal:create").expect_error(FORBIDDEN).await;
    // CORS as for the rest.
    let preflight = api
        .request("OPTIONS", "/api/v1/portal-sessions/exchange")
        .header("origin", "https://dashboard.example.com")
        .header("access-control-request-method", "POST")
        .send_unchecked()
        .await
        .expect("an answer");
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        Some("https://dashboard.example.com")
    );
}

/// A merchant's limit counts what sessions of its portal change, and the links that it asks for.
#[tokio::test]
async fn what_a_session_changes_counts_as_its_merchants() {
    let api = dispatching_setup()
        .variable("max_changes_per_minute", "6")
        .start();
    let application = api.application();
    let token = token(&api, &application, &ALL).await;
    let create = || with(&api, &token, "POST", &application.path());
    let create = || create().json(&json!({"url": "https://merchant.example.com/"}));
    let mut made = 1;
    let refused = loop {
        let answer = create().send().await;
        match answer.status {
            201 => made += 1,
            _ => break answer,
        }
    };
    assert_eq!((refused.status, made), (429, 6), "{}", refused.text);
    with(&api, &token, "GET", &application.path())
        .expect(200)
        .await;
}
