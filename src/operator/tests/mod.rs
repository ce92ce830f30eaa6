//! The operator's work beside requests: each damage, and each change that can meet its repair, in
//! any order that the store brings their operations into.

mod doctor;
mod metrics;
mod reencrypt;

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use futures::future::try_join;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::Request;
use crate::config::Config;
use crate::fault::Fault;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::query::Query;
use crate::http::response::Response;
use crate::model::encryption::SecretsKey;
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};
use crate::model::rotation::{Rotation, StoredSecret};
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;
use crate::model::webhook::WebhookRecord;
use crate::store::compensation::compensate;
use crate::store::deadline::Deadline;
use crate::store::index;
use crate::store::key_value::Store;
use crate::store::keys;
use crate::store::memory::Memory;
use crate::store::rotations::{RotationsDocument, Written, confirm_later};
use crate::store::webhooks::{self, clear_webhook};

fn key(byte: u8) -> SecretsKey {
    SecretsKey::parse(&Base64::encode_string(&[byte; 32])).unwrap()
}

const JWKS: &str = r#"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"}]}"#;

/// A service whose `secrets_key` was changed from key 1 to key 2.
fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        Config::parse(&|name| match name {
            "jwks" => Some(JWKS.to_owned()),
            "secrets_key" => Some(Base64::encode_string(&[2; 32])),
            "secrets_key_previous" => Some(Base64::encode_string(&[1; 32])),
            _ => None,
        })
        .unwrap_or_else(|e| panic!("{e}"))
    })
}

fn request(store: &Store, query: &str) -> Request {
    let mut details = Details::default();
    let query = Query::parse(Some(query), &["fix", "documents"], &mut details);
    Request {
        config: config(),
        store: store.clone(),
        request_id: "request".to_owned(),
        query,
        details,
    }
}

/// The lines of a response, read to its end.
async fn lines(response: Result<Response, Error>) -> Vec<Value> {
    let text = text(response).await;
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn text(response: Result<Response, Error>) -> String {
    let body = response.unwrap().into_body().collect().await;
    let body = body.unwrap_or_else(|never| match never {}).to_bytes();
    String::from_utf8(body.into()).unwrap()
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// The keys of what was found, with the problem of each.
fn found(lines: &[Value]) -> BTreeSet<String> {
    let found = of_type(lines, "finding").into_iter();
    found
        .map(|line| format!("{} {}", line["key"], line["problem"]).replace('"', ""))
        .collect()
}

fn application() -> ApplicationId {
    ApplicationId::parse("a").unwrap()
}

fn id(number: u8) -> WebhookId {
    WebhookId::from_random_bytes([number; 16])
}

fn created_at(id: WebhookId) -> Timestamp {
    Timestamp::from_millis(i64::from(id.to_string().as_bytes()[0]) * 1000)
}

fn record(id: WebhookId, secrets_key: &SecretsKey) -> WebhookRecord {
    let secret = SigningSecret::from_bytes([7; 36]);
    serde_json::from_value(json!({
        "v": 1, "id": id, "applicationId": "a", "url": "https://example.com/", "isActive": true,
        "subscribedEvents": [], "secret": StoredSecret::seal(secrets_key, id, &secret),
        "createdAt": created_at(id),
    }))
    .unwrap()
}

fn put(memory: &Memory, key: &str, document: &impl serde::Serialize) {
    memory.put(key, &serde_json::to_string(document).unwrap());
}

/// A store with an application and its merchant's list.
fn store_with_application() -> Memory {
    let memory = Memory::default();
    let merchant = MerchantId::parse("m").unwrap();
    put(&memory, "application/a", &json!({ "merchantId": "m" }));
    let list = json!([{"id": "a", "createdAt": null}]);
    put(&memory, &keys::applications(&merchant), &list);
    memory
}

/// The key of the application's index.
const INDEX: &str = "webhooks/a";

/// A store with webhooks 1 to 3 and their index, and what is of others.
fn sound_store() -> Memory {
    let memory = store_with_application();
    let index = [1, 2, 3].map(|number| {
        let id = id(number);
        put(
            &memory,
            &keys::webhook(&application(), id),
            &record(id, &key(2)),
        );
        json!({"id": id, "createdAt": created_at(id)})
    });
    put(&memory, INDEX, &index);
    memory.put("others/x", "not ours");
    memory
}

fn deadline() -> Deadline {
    Deadline::with_timeout(Duration::from_secs(2))
}

/// What requests do to the webhooks, as their handlers do it.
struct Requests {
    store: Store,
}

impl Requests {
    async fn create(&self, id: WebhookId) -> Result<(), Fault> {
        let at = Some(created_at(id));
        let mut index = index::webhooks_of(&self.store, &application()).await?;
        let document = keys::webhook(&application(), id);
        self.store
            .set_document(&document, &record(id, &key(2)))
            .await?;
        index.add(&id, at).await?;
        index.confirm_later(id, at, &deadline(), "create");
        Ok(())
    }

    async fn change(&self, id: WebhookId) -> Result<(), Fault> {
        if webhooks::webhook(&self.store, &application(), id)
            .await?
            .is_none()
        {
            return Ok(());
        }
        let settings = json!({
            "url": "https://example.com/changed", "isActive": false, "subscribedEvents": [],
            "updatedAt": created_at(id),
        });
        let document = keys::webhook_settings(&application(), id);
        self.store.set_document(&document, &settings).await
    }

    async fn delete(&self, id: WebhookId) -> Result<(), Fault> {
        self.store
            .delete(&keys::webhook(&application(), id))
            .await?;
        let application = application();
        let mut index = index::unloaded_webhooks(&self.store, &application);
        let gone = BTreeSet::from([id]);
        let clear = clear_webhook(&self.store, &application, id);
        let cleared = try_join(clear, index.remove(&gone)).await;
        if let Err(error) = cleared {
            let (store, deadline) = (self.store.clone(), deadline());
            compensate(error.is_timeout(), &deadline, "delete", async move || {
                clear_webhook(&store, &application, id).await?;
                index.reconcile().await
            });
        }
        Ok(())
    }

    /// Returns the id of the rotation, unless the webhook is gone.
    async fn rotate(&self, id: WebhookId) -> Result<Option<WebhookId>, Fault> {
        let webhook = webhooks::webhook(&self.store, &application(), id).await?;
        let Some(mut webhook) = webhook else {
            return Ok(None);
        };
        let now = Timestamp::now();
        let rotation = WebhookId::generate();
        webhook.rotations.add(Rotation {
            id: rotation,
            secret: StoredSecret::seal(&key(2), id, &SigningSecret::generate()),
            rotated_at: now,
            grace_period_seconds: 86_400,
        });
        webhook.rotations.prune(now);
        let document = RotationsDocument::of(&self.store, &application(), id);
        match document.keep(&mut webhook.rotations, rotation).await {
            Ok(Written::WebhookGone) => return Ok(None),
            written => drop(written?),
        }
        confirm_later(document, webhook.rotations, rotation, &deadline(), "rotate");
        Ok(Some(rotation))
    }
}
