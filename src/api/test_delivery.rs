//! Test deliveries: a signed event goes to the webhook's URL now, and its fate is the answer.

use http::StatusCode;
use serde::Serialize;

use super::webhooks::{find_for_change, ids};
use crate::dispatch::delivery::{Attempt, Delivery};
use crate::http::body::Object;
use crate::http::error::Error;
use crate::http::request::Request;
use crate::http::response::{self, Response};
use crate::model::ids::ApplicationId;
use crate::model::ids::WebhookId;
use crate::model::time::Timestamp;
use crate::model::webhook::LastTest;
use crate::model::webhook::TestStatus;
#[cfg(feature = "openapi")]
use crate::openapi::{ApplicationPath, WebhookPath};
use crate::store::deadline::Deadline;
use crate::store::keys;

/// How much of the endpoint's answer the merchant is shown, in characters.
const SHOWN_CHARACTERS: usize = 1024;

/// The answer to a test: what came of the delivery.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(
    as = TestResult, description = "What came of a test delivery."
))]
pub struct TestBody {
    /// Whether the endpoint answered with a status of 200 to 299.
    #[cfg_attr(feature = "openapi", schema(examples(true)))]
    success: bool,
    /// The status that it answered with; `null` when it did not answer.
    #[cfg_attr(
        feature = "openapi",
        schema(required, minimum = 100, maximum = 999, examples(200))
    )]
    http_status_code: Option<u16>,
    /// The first 1,024 characters of its answer; `null` when there was none in time.
    #[cfg_attr(
        feature = "openapi",
        schema(required, max_length = 1024, examples("ok"))
    )]
    response_body: Option<String>,
    /// How long the delivery took, in milliseconds.
    #[cfg_attr(feature = "openapi", schema(examples(182)))]
    latency_ms: u64,
    /// When it was sent.
    #[cfg_attr(
        feature = "openapi",
        schema(inline, examples("2026-04-20T12:34:56.000Z"))
    )]
    delivered_at: Timestamp,
}

/// What an event of type `webhook.test` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestData {
    /// ID of the application that owns the webhook.
    #[cfg_attr(feature = "openapi", schema(inline))]
    application_id: ApplicationId,
    /// ID of the webhook.
    #[cfg_attr(feature = "openapi", schema(inline))]
    webhook_id: WebhookId,
}

/// The body of [`send`], as the document describes it.
#[cfg(feature = "openapi")]
#[derive(Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "Nothing is asked for.", examples(json!({})))]
pub struct Testing {}

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

/// Send test delivery
///
/// Sends a signed event of type `webhook.test` to the webhook's URL now, also when the webhook is
/// inactive, and tells what came of it. That the endpoint is slow, gone or broken is a result:
/// `success` is `false`. The application must belong to the authenticated merchant.
#[cfg_attr(feature = "openapi", utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/test",
    operation_id = "testWebhook", tag = "Webhooks", params(ApplicationPath, WebhookPath),
    request_body(content = Option<Testing>, content_type = "application/json"),
    responses((status = 200, description = "What came of the delivery.", body = TestBody)),
))]
pub async fn send(request: Request) -> Result<Response, Error> {
    let Request {
        merchant,
        config,
        store,
        request_id,
        path,
        headers,
        body,
        mut details,
        ..
    } = request;
    let ids = ids(&path, &mut details);
    let body = Object::read_optional(&headers, body, &mut details).await?;
    body.finish(&mut details);
    let (application, id) = details.all(ids)?;
    let deadline = Deadline::with_timeout(config.store_timeout);
    let found = find_for_change(&store, &merchant, &application, id, config, &request_id);
    let webhook = deadline.run("reading a webhook", found).await?;

    let now = Timestamp::now();
    let data = TestData {
        application_id: application.clone(),
        webhook_id: id,
    };
    let delivery = Delivery::to(&webhook, "webhook.test", &data, &config.secrets_key, now)?;
    let attempt = delivery.send(config.allow_insecure_urls).await;

    let last_test = LastTest {
        at: now,
        status: TestStatus::of(attempt.succeeded()),
    };
    let key = keys::webhook_test(&application, id);
    deadline
        .renew()
        .run("noting a test", store.set_document(&key, &last_test))
        .await?;
    let body = TestBody::new(attempt, now);
    Ok(response::json(StatusCode::OK, &body))
}
