//! A component that does nothing but the store operations of `application-webhooks`: the same
//! reads side by side, the same writes in the same order, of the same sizes, and responses of the
//! same sizes. It checks no token, parses no JSON and knows no deadline. What the service is
//! slower than this is what the service itself costs.
//!
//! Under `/at-once` it answers without any store operation, after it has read the body.

#![cfg(target_family = "wasm")]
#![deny(unsafe_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{join, join_all};
use futures::stream::{self, StreamExt};
use http_body_util::BodyExt;
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::key_value::{Error, Store};
use spin_sdk::time::sleep;
use spin_sdk::wit_bindgen::spawn;
use uuid::Uuid;

/// A webhook as the service shows it.
const SHOWN: &str = r#"{"id":"8a1c2f9e-0000-4000-8000-000000000000","url":"https://merchant.example.com/hooks/kadosei","isActive":true,"keyFingerprint":"whsec_****a3f2","subscribedEvents":["session.completed","session.expired"],"lastTestAt":null,"lastTestStatus":null,"createdAt":"2026-01-15T08:00:00.000Z","updatedAt":"2026-01-15T08:00:00.000Z"}"#;

/// How many bytes the secret adds to it in the answer to a create.
const SECRET: &str = r#""signingSecret":"whsec_012345678901234567890123456789012345678901234567","#;

/// A webhook as the service stores it.
const STORED: &str = r#"{"v":1,"id":"8a1c2f9e-0000-4000-8000-000000000000","applicationId":"application","url":"https://merchant.example.com/hooks/kadosei","isActive":true,"subscribedEvents":["session.completed","session.expired"],"secret":{"fingerprint":"whsec_****a3f2","sealed":"01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"},"createdAt":"2026-01-15T08:00:00.000Z"}"#;

/// What the service answers to a request that it refuses.
const REFUSED: &str =
    r#"{"error":"Unauthorized","message":"Missing or invalid authentication","code":401}"#;

/// How many records the service reads at a time.
const SIDE_BY_SIDE: usize = 32;

/// The pauses between the service's checks that an id stays in the index, as long as they are on
/// average.
const CHECKS: [Duration; 3] = [
    Duration::from_millis(75),
    Duration::from_millis(150),
    Duration::from_millis(300),
];

#[allow(unsafe_code, reason = "what the macro exports to the host is")]
mod entry {
    use spin_sdk::http::{IntoResponse, Request};
    use spin_sdk::http_service;

    #[http_service]
    async fn handle(request: Request) -> impl IntoResponse {
        crate::answer(request).await
    }
}

async fn answer(request: Request) -> impl IntoResponse {
    let (head, body) = request.into_parts();
    let _ = body.collect().await;
    let answered = operations(&head.method, head.uri.path()).await;
    let (status, body) = match answered {
        Ok(answer) => answer,
        Err(error) => (502, error.to_string()),
    };
    http::Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .header("cache-control", "no-store")
        .header("x-request-id", Uuid::new_v4().to_string())
        .body(body)
}

async fn operations(method: &http::Method, path: &str) -> Result<(u16, String), Error> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (method.as_str(), &segments[..]) {
        (_, ["at-once", ..]) => Ok((200, REFUSED.to_owned())),
        ("POST", ["api", "v1", "applications", application, "webhooks"]) => {
            create(application).await
        }
        ("GET", ["api", "v1", "applications", application, "webhooks"]) => list(application).await,
        (
            "GET",
            [
                "api",
                "v1",
                "applications",
                application,
                "webhooks",
                webhook,
            ],
        ) => read(application, webhook).await,
        _ => Ok((404, REFUSED.to_owned())),
    }
}

async fn create(application: &str) -> Result<(u16, String), Error> {
    let index = format!("webhooks/{application}");
    let (_, ids) = join(owner(application), get(&index)).await;
    let id = Uuid::new_v4();
    set(&format!("webhook/{application}/{id}"), STORED.as_bytes()).await?;
    let mut ids = ids?.unwrap_or_else(|| b"[]".to_vec());
    ids.pop();
    let comma = if ids.len() > 1 { "," } else { "" };
    ids.extend_from_slice(format!("{comma}\"{id}\"]").as_bytes());
    set(&index, &ids).await?;
    spawn(async move {
        for pause in CHECKS {
            sleep(pause).await;
            let _ = get(&index).await;
        }
    });
    Ok((201, SHOWN.replacen("\"sub", &format!("{SECRET}\"sub"), 1)))
}

async fn read(application: &str, webhook: &str) -> Result<(u16, String), Error> {
    let key = format!("webhook/{application}/{webhook}");
    let (owner, (created, _)) = join(
        owner(application),
        join(get(&key), changes(application, webhook)),
    )
    .await;
    owner?;
    Ok(match created? {
        Some(_) => (200, SHOWN.to_owned()),
        None => (404, REFUSED.to_owned()),
    })
}

async fn list(application: &str) -> Result<(u16, String), Error> {
    let index = format!("webhooks/{application}");
    let (owner, ids) = join(owner(application), get(&index)).await;
    owner?;
    let ids = String::from_utf8(ids?.unwrap_or_default()).unwrap_or_default();
    let ids: Vec<&str> = ids.split('"').skip(1).step_by(2).collect();
    let keys: Vec<String> = ids
        .iter()
        .map(|id| format!("webhook/{application}/{id}"))
        .collect();
    let found: Vec<_> = stream::iter(keys.iter().map(|key| get(key)))
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await;
    let shown = found.len().min(50);
    stream::iter(ids[..shown].iter().map(|id| changes(application, id)))
        .buffered(SIDE_BY_SIDE)
        .collect::<Vec<_>>()
        .await;
    let items = vec![SHOWN; shown].join(",");
    Ok((
        200,
        format!(
            r#"{{"items":[{items}],"page":1,"limit":50,"totalItems":{shown},"totalPages":1,"hasPreviousPage":false,"hasNextPage":false}}"#
        ),
    ))
}

async fn owner(application: &str) -> Result<(), Error> {
    let keys = [
        format!("application/{application}"),
        format!("application-settings/{application}"),
    ];
    let (created, settings) = join(get(&keys[0]), get(&keys[1])).await;
    created.and(settings).map(drop)
}

async fn changes(application: &str, webhook: &str) {
    let keys =
        ["settings", "secrets", "test"].map(|of| format!("webhook-{of}/{application}/{webhook}"));
    join_all(keys.iter().map(|key| get(key))).await;
}

/// The store, opened once per instance, as in the service.
async fn open() -> Result<Arc<Store>, Error> {
    static OPENED: Mutex<Option<Arc<Store>>> = Mutex::new(None);

    let opened = OPENED.lock().unwrap_or_else(|e| e.into_inner()).clone();
    if let Some(store) = opened {
        return Ok(store);
    }
    let store = Arc::new(Store::open_default().await?);
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = Some(store.clone());
    Ok(store)
}

async fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    open().await?.get(key).await
}

async fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    open().await?.set(key, value).await
}
