//! Test deliveries: a signed event goes to the webhook's URL now, and its fate is the answer.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::body::Object;
use super::webhooks::{check_enabled, find, ids};
use super::{Details, Path, RequestId};
use crate::auth::Merchant;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::delivery::{Attempt, Delivery};
use crate::error::{self, Error};
use crate::limit::counted;
use crate::store::{self, Store, keys};
use crate::webhook::{LastTest, TestStatus};

/// How much of the endpoint's answer the merchant is shown, in characters.
const SHOWN_CHARACTERS: usize = 1024;

/// The answer to a test: what came of the delivery.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestBody {
    success: bool,
    http_status_code: Option<u16>,
    response_body: Option<String>,
    latency_ms: u64,
    delivered_at: Timestamp,
}

impl TestBody {
    fn new(attempt: Attempt, delivered_at: Timestamp) -> Self {
        Self {
            success: attempt.succeeded(),
            http_status_code: attempt.status,
            response_body: attempt.answer.map(|answer| {
                let text = String::from_utf8_lossy(&answer);
                text.chars().take(SHOWN_CHARACTERS).collect()
            }),
            latency_ms: attempt.latency.as_millis() as u64,
            delivered_at,
        }
    }
}

/// `POST /api/v1/applications/{applicationId}/webhooks/{webhookId}/test`
pub async fn send(
    Merchant(merchant): Merchant,
    RequestId(request_id): RequestId,
    path: Path,
    request: Request,
) -> Result<Response, Error> {
    let config = Config::load().await?;
    let mut details = Details::default();
    let ids = ids(&path, &mut details);
    let body = Object::read_optional(request, &mut details).await?;
    body.finish(&mut details);
    let (application, id) = details.all(ids)?;
    let store = Store::with_timeout(config.store_timeout);
    let found = find(&merchant, &application, id);
    let (owned, webhook) = store
        .in_time(
            "reading a webhook",
            counted(&merchant, config, &request_id, found),
        )
        .await?;
    check_enabled(&owned)?;

    let now = Timestamp::now();
    let data = json!({"applicationId": application, "webhookId": id});
    let delivery = Delivery::to(&webhook, "webhook.test", &data, &config.secrets_key, now)?;
    let attempt = delivery.send(config.allow_insecure_urls).await;

    let last_test = LastTest {
        at: now,
        status: TestStatus::of(attempt.succeeded()),
    };
    let key = keys::webhook_test(&application, id);
    store
        .renewed()
        .in_time("noting a test", store::set_document(&key, &last_test))
        .await?;
    let body = TestBody::new(attempt, now);
    Ok(error::json(StatusCode::OK, &body))
}
