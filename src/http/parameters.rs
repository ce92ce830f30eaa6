//! The parameters that several operations have, as the OpenAPI document describes them.

use utoipa::IntoParams;

use crate::model::ids::{ApplicationId, EventId, RecoveryId, WebhookId};

/// The path's application.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `Path::application` reads")]
pub struct ApplicationPath {
    /// ID of the application.
    #[param(rename = "applicationId", inline)]
    application_id: ApplicationId,
}

/// The path's webhook.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `Path::webhook` reads")]
pub struct WebhookPath {
    /// ID of the webhook.
    #[param(rename = "webhookId", inline)]
    webhook_id: WebhookId,
}

/// The path's event.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `Path::event` reads")]
pub struct EventPath {
    /// ID of the event.
    #[param(rename = "eventId", inline)]
    event_id: EventId,
}

/// The path's recovery.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what `Path::recovery` reads")]
pub struct RecoveryPath {
    /// ID of the recovery.
    #[param(rename = "recoveryId", inline)]
    recovery_id: RecoveryId,
}

/// `Idempotency-Key`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `http::idempotency` reads")]
pub struct IdempotencyKeyHeader {
    /// Makes the request safe to repeat: a repeat with a body that means the same gets, within 24
    /// hours, the first response, secret included, with `Idempotency-Replayed: true`, and is no
    /// change to the rate limit. With another body: 409; so too when the webhook has been deleted
    /// since, or the secret replaced. 1 to 255 printable ASCII characters; quotation marks around
    /// them do not count. Take a random UUID.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        nullable = false,
        min_length = 1,
        pattern = r#"^([!#-~]([ -~]{0,253}[!-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
        example = "5f0c1c9e-7b1f-4d7e-9a51-2f6f0d1c8a34"
    )]
    idempotency_key: Option<String>,
}

/// `Idempotency-Key` of an event.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `http::idempotency` reads")]
pub struct EventIdempotencyKeyHeader {
    /// Makes the request safe to repeat: a repeat with a body that means the same gets the first
    /// response, with `Idempotency-Replayed: true`, for as long as the event is kept, and nothing is
    /// published again. With another body: 409. 1 to 255 printable ASCII characters; quotation marks
    /// around them do not count. Take the id that the platform has for what happened.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        nullable = false,
        min_length = 1,
        pattern = r#"^([!#-~]([ -~]{0,253}[!-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
        example = "ses_8c1f-completed"
    )]
    idempotency_key: Option<String>,
}

/// `Idempotency-Key` of a recovery.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `http::idempotency` reads")]
pub struct RecoveryIdempotencyKeyHeader {
    /// Makes the request safe to repeat: a repeat with a body that means the same gets the first
    /// response, with `Idempotency-Replayed: true`, for as long as the recovery is kept, and nothing is
    /// begun again. With another body: 409. A dry run does not need it. 1 to 255 printable ASCII
    /// characters; quotation marks around them do not count. Take a random UUID.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        nullable = false,
        min_length = 1,
        pattern = r#"^([!#-~]([ -~]{0,253}[!-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
        example = "5f0c1c9e-7b1f-4d7e-9a51-2f6f0d1c8a34"
    )]
    idempotency_key: Option<String>,
}

/// `If-Match`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `http::etag` reads")]
pub struct IfMatchHeader {
    /// The `ETag` of the resource as it was read, so that two editors do not overwrite each other:
    /// when it has changed since, 412. A list of such tags, or `*`.
    #[param(
        rename = "If-Match",
        required = false,
        nullable = false,
        example = r#""9b1c0a7be4d24f0f8a6f0f5c2d3e4f50""#
    )]
    if_match: Option<String>,
}

/// `If-None-Match`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `http::etag` reads")]
pub struct IfNoneMatchHeader {
    /// The `ETag` of the resource as the client has it: when it is still that, a read is answered
    /// 304, without a body, and a change 412.
    #[param(
        rename = "If-None-Match",
        required = false,
        nullable = false,
        example = r#""9b1c0a7be4d24f0f8a6f0f5c2d3e4f50""#
    )]
    if_none_match: Option<String>,
}
