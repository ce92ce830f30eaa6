//! Who may publish, and who may read.

use serde_json::{Value, json};

use super::{publish, subscribed};
use crate::support::contract::{FORBIDDEN, NOT_FOUND, UNAUTHORIZED};
use crate::support::tokens::{Token, hs256, publisher, support};
use crate::support::{Receiver, dispatching, standard};

#[tokio::test]
async fn only_a_publishers_token_publishes() {
    let api = dispatching();
    let application = api.application();
    let request = || api.publish(&application);
    request().without_token().expect_error(UNAUTHORIZED).await;
    for token in [application.token(), support()] {
        request().token(&token).expect_error(FORBIDDEN).await;
        // Whatever the body is.
        let broken = request().token(&token).body("{");
        broken.expect_error(FORBIDDEN).await;
    }
    for scope in [
        json!("events:publish"),
        json!("openid events:publish"),
        json!(["events:read", "events:publish"]),
    ] {
        let token = Token::of_platform(scope).sign(hs256());
        request().token(&token).expect(202).await;
        // Whether it names somebody or not.
        let nameless = Token::of_platform("events:publish").without("sub");
        request().token(&nameless.sign(hs256())).expect(202).await;
    }
    for scope in [json!("events:publisher"), json!(""), Value::Null, json!(1)] {
        let token = Token::of_merchant("m").claim("scope", scope).sign(hs256());
        request().token(&token).expect_error(FORBIDDEN).await;
    }
}

/// A token with a scope of the platform is no merchant's, also where its `sub` is a merchant's id.
#[tokio::test]
async fn the_platforms_tokens_reach_nothing_of_a_merchants_webhooks() {
    let api = standard();
    let application = api.application();
    let created = api.create(&application).expect_created().await;
    let path = application.webhook_path(&created.webhook.id);
    for scope in [
        "events:publish",
        "events:read",
        "events:publish events:read",
    ] {
        let claims = application.claims().claim("scope", scope);
        let token = claims.sign(hs256());
        for (method, path) in [
            ("GET", "/api/v1/applications"),
            ("GET", application.path().as_str()),
            ("POST", application.path().as_str()),
            ("GET", path.as_str()),
            ("PATCH", path.as_str()),
            ("DELETE", path.as_str()),
        ] {
            let request = api.request(method, path).token(&token);
            request.expect_error(FORBIDDEN).await;
        }
        // What event types there are, everyone with a token may know.
        let types = api.request("GET", "/api/v1/event-types").token(&token);
        types.expect(200).await;
    }
}

#[tokio::test]
async fn an_event_is_read_by_its_merchant_and_by_support() {
    let api = dispatching();
    let receiver = Receiver::answering("200 OK", b"");
    let (application, _) = subscribed(api, &receiver.url()).await;
    let published = publish(api, &application).await;
    let id = published["id"].as_str().expect("an id");
    let path = format!("{}/{id}", application.events_path());
    let get = |token: String| api.request("GET", &path).token(&token);
    get(application.token()).expect(200).await;
    get(support()).expect(200).await;
    get(publisher()).expect_error(FORBIDDEN).await;
    let other = api.application();
    get(other.token()).expect_error(FORBIDDEN).await;
    // Under another application of theirs there is no such event.
    let elsewhere = format!("{}/{id}", other.events_path());
    let elsewhere = api.request("GET", &elsewhere).token(&other.token());
    elsewhere.expect_error(NOT_FOUND).await;
    for wrong in ["evt_1", &id.to_uppercase(), "msg_1"] {
        let path = format!("{}/{wrong}", application.events_path());
        let request = api.by(&application, "GET", &path);
        request.expect_bad_fields(&["eventId"]).await;
    }
}
