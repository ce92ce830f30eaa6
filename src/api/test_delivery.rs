//! Test deliveries: a signed event goes to the webhook's URL now, and its fate is the answer.

use http::StatusCode;
use serde::Serialize;

use super::request::Request;
use super::webhooks::find::find_for_change;
use crate::dispatch::delivery::{Attempt, Delivery, Failure};
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::object::Object;
use crate::http::parameters::{ApplicationPath, WebhookPath};
use crate::http::response::{self, Response};
use crate::log;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::scrub::scrub;
use crate::model::time::Timestamp;
use crate::model::webhook::{LastTest, TestStatus};
use crate::store::deadline::Deadline;
use crate::store::key_value::Store;
use crate::store::{compensation, webhooks};

/// How much of the endpoint's answer the merchant is shown, in characters.
const SHOWN_CHARACTERS: usize = 1024;

/// The answer to a test: what came of the delivery.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(
    as = TestResult, description = "What came of a test delivery."
)]
pub struct TestResponse {
    /// Whether the endpoint answered with a status of 200 to 299.
    #[schema(examples(true))]
    success: bool,
    /// The status that it returned; `null` when it returned none.
    #[schema(required, minimum = 100, maximum = 999, examples(200))]
    http_status_code: Option<u16>,
    /// Why the delivery failed; `null` when the endpoint took it.
    #[schema(required, inline)]
    error: Option<Failure>,
    /// One sentence about what failed, or about a body that is not shown; `null` when there is
    /// nothing to say.
    #[schema(
        required,
        examples("The endpoint redirects to www.example.com, and redirects are not followed.")
    )]
    error_detail: Option<String>,
    /// The first 1,024 characters of the response's body, of what came within a second; `null` when
    /// there was no response, or its body is encoded although `Accept-Encoding` is `identity`. In the
    /// place of card numbers, tokens and e-mail addresses are `[card number]` and so on.
    #[schema(required, max_length = 1024, examples("ok"))]
    response_body: Option<String>,
    /// Whether `responseBody` is left out, since the portal's session lacks `viewPayloads`: it is null then.
    #[schema(examples(false))]
    payload_omitted: bool,
    /// How long it took until the status came, or until it failed, in milliseconds.
    #[schema(examples(182))]
    latency_ms: u64,
    /// When it was sent.
    #[schema(inline, examples("2026-04-20T12:34:56.000Z"))]
    delivered_at: Timestamp,
}

/// What an event of type `webhook.test` says.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestData {
    /// ID of the application that owns the webhook.
    #[schema(inline)]
    application_id: ApplicationId,
    /// ID of the webhook.
    #[schema(inline)]
    webhook_id: WebhookId,
}

/// The body of [`send`].
#[derive(Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "Nothing is asked for.", examples(json!({})))]
pub struct TestRequest {}

impl TestRequest {
    /// Reads a body, noting what is wrong with it.
    fn read(body: Object, details: &mut Details) -> Self {
        body.finish(details);
        Self {}
    }
}

impl TestResponse {
    fn new(attempt: Attempt, sees_payloads: bool, delivered_at: Timestamp) -> Self {
        Self {
            success: attempt.failure.is_none(),
            http_status_code: attempt.status,
            error: attempt.failure,
            error_detail: attempt.detail,
            payload_omitted: !sees_payloads,
            response_body: attempt.body.filter(|_| sees_payloads).map(|body| {
                let text = scrub(&String::from_utf8_lossy(&body));
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
/// inactive, and returns what came of it. A status of 200 to 299 within 10 seconds is a success,
/// whatever becomes of the response's body. That the endpoint is slow, gone or broken is a result:
/// `success` is `false`, and `error` says why. The application must belong to the authenticated
/// merchant.
#[utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/webhooks/{webhookId}/test",
    operation_id = "testWebhook", tag = "Webhooks", params(ApplicationPath, WebhookPath),
    request_body(content = Option<TestRequest>, content_type = "application/json"),
    responses((status = 200, description = "What came of the delivery.", body = TestResponse)),
)]
pub async fn send(mut request: Request) -> Result<Response, Error> {
    let ids = request.webhook();
    let body = request.body(Object::read_optional).await?;
    TestRequest::read(body, &mut request.details);
    let (context, (application, id)) = request.begin(ids)?;
    let config = context.config;
    let webhook = find_for_change(&context, &application, id).await?;

    let now = Timestamp::now();
    let data = TestData {
        application_id: application.clone(),
        webhook_id: id,
    };
    let delivery = Delivery::test(&webhook, "webhook.test", &data, &config.secrets_key, now)?;
    let attempt = delivery.send(config.allow_insecure_urls).await;

    let last_test = LastTest {
        at: now,
        status: TestStatus::of(attempt.failure.is_none()),
    };
    let (store, request_id) = (&context.store, &context.request_id);
    let deadline = context.deadline.renew();
    record(store, &application, id, last_test, &deadline, request_id).await;
    let body = TestResponse::new(attempt, context.caller.sees_payloads(), now);
    Ok(response::json(StatusCode::OK, &body)?)
}

/// Records what came of a test. A failure is only logged: the event was sent, and the response is
/// the one place that says what came of it.
pub(super) async fn record(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
    last_test: LastTest,
    deadline: &Deadline,
    request_id: &str,
) {
    let recorded = async {
        webhooks::note_change(store, application, id, deadline, request_id).await?;
        webhooks::record_test(store, application, id, &last_test).await
    };
    if let Err(error) = deadline.run("recording a test", recorded).await {
        log::background(request_id, "test not recorded", &error);
        let (store, application) = (store.clone(), application.clone());
        compensation::compensate(error.is_timeout(), deadline, request_id, async move || {
            webhooks::remove_orphaned_test(&store, &application, id).await
        });
    }
}
