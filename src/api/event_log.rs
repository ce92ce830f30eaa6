//! The log of an application's events, and a digest of a day of it.

use std::time::Duration;

use http::StatusCode;

use super::log::{self, LogPage, LogQuery, allowed_and};
use super::request::CallerRequest;
use crate::dispatch::dispatcher::Dispatcher;
use crate::events::database::{Database, EventsPage};
use crate::fault::Fault;
use crate::http::error::Error;
use crate::http::parameters::ApplicationPath;
use crate::http::response::{self, Response};
use crate::model::day::Day;
use crate::model::delivery::Event;
use crate::model::digest::{DayDigest, EventsDigest};
use crate::model::idempotency_key::IdempotencyKey;
use crate::model::ids::{ApplicationId, EventId};
use crate::model::time::Timestamp;
use crate::store::deadline::Deadline;

/// How many events of a digest one statement reads.
const HASHES_AT_ONCE: u32 = 2_000;

/// How long a digest may take: a million events took 1.8 to 2.6 seconds on two busy cores.
const DIGEST_DEADLINE: Duration = Duration::from_secs(30);

/// What only the log of events is searched by.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `list` reads")]
pub struct EventsQuery {
    /// The event that was published with this `Idempotency-Key`, exactly: one at most. As in the header,
    /// quotation marks around it do not count.
    #[param(
        rename = "idempotencyKey",
        required = false,
        nullable = false,
        min_length = 1,
        pattern = r#"^([!#-~]([ -~]{0,253}[!-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
        example = "ses_8c1f-completed"
    )]
    idempotency_key: Option<String>,
}

/// Which day.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `digest` reads")]
pub struct DigestQuery {
    /// The day, from midnight to midnight in UTC.
    #[param(
        value_type = String,
        format = Date,
        pattern = r"^\d{4}-\d\d-\d\d$",
        example = "2026-11-25"
    )]
    day: Day,
}

/// List events
///
/// The application's events, a page at a time, the newest first, without their data. What is published
/// meanwhile does not move what follows. A page with a `type` looks at no more than 10,000 events: it
/// can be short, or empty, and not the last, which has no `nextCursor`. The application must belong to
/// the authenticated merchant; tokens with the platform's support scope read anyone's.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/events", operation_id = "listEvents",
    tag = "Events", params(ApplicationPath, LogQuery, EventsQuery),
    responses((status = 200, description = "A page of events.", body = LogPage<Event>)),
)]
pub async fn list(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_reads_events()?;
    let application = request.application();
    let (query, details) = (&request.query, &mut request.details);
    let range = log::range(query, details);
    let event_type = log::event_type(query, details);
    let idempotency_key = query.get("idempotencyKey").and_then(|text| {
        let key = IdempotencyKey::parse(text);
        let wrong = "Must be 1 to 255 printable ASCII characters";
        details.check("idempotencyKey", key.ok_or(wrong))
    });
    let (context, (application, range)) = request.begin(application.zip(range))?;
    let page = EventsPage {
        range,
        event_type,
        idempotency_key: idempotency_key.map(|key| key.as_str().to_owned()),
    };
    let dispatcher = Dispatcher::of_instance().await?;
    let readable = context.check_readable(&application);
    let events = dispatcher.database().events(&application, &page);
    let listed = allowed_and(readable, events).await?;
    Ok(response::json(StatusCode::OK, &LogPage::from(listed))?)
}

/// Get digest of a day's events
///
/// For each type the number of events that were published on a day, and one hash over their ids and
/// bodies: compare it with what was received, and ask for the list only where it differs. Each event is
/// a line: its id, a space, the SHA-256 of the body of its deliveries in lower-case hexadecimal digits,
/// a line feed. The hash is SHA-256 of these lines in the order of the ids. The data of erased events
/// count all the same. The application must belong to the authenticated merchant; tokens with the
/// platform's support scope read anyone's.
#[utoipa::path(
    get, path = "/api/v1/applications/{applicationId}/events/digest",
    operation_id = "getEventsDigest", tag = "Events", params(ApplicationPath, DigestQuery),
    responses((status = 200, description = "The digest.", body = EventsDigest)),
)]
pub async fn digest(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_reads_events()?;
    let application = request.application();
    let (query, details) = (&request.query, &mut request.details);
    let day = match query.get("day") {
        Some(text) => {
            let wrong = "Must be a day, such as 2026-11-25";
            details.check("day", Day::parse(text).ok_or(wrong))
        }
        None => {
            if !details.has(&["day"]) {
                details.add("day", "Is required, such as 2026-11-25");
            }
            None
        }
    };
    let (context, (application, day)) = request.begin(application.zip(day))?;
    context.check_readable(&application).await?;
    let dispatcher = Dispatcher::of_instance().await?;
    let deadline = Deadline::with_timeout(DIGEST_DEADLINE);
    let digest = digest_of(dispatcher.database(), &application, day, &deadline).await?;
    let retention_days = dispatcher.events_config().retention_days;
    let body = digest.finish(Timestamp::now(), retention_days);
    Ok(response::json(StatusCode::OK, &body)?)
}

/// Reads the day in parts, between which others have their turn.
async fn digest_of(
    database: &dyn Database,
    application: &ApplicationId,
    day: Day,
    deadline: &Deadline,
) -> Result<DayDigest, Fault> {
    let mut digest = DayDigest::new(day);
    let mut after = EventId::last_before(day.begin());
    let end = EventId::first_at(day.end());
    loop {
        if deadline.remaining().is_zero() {
            return Err(deadline.is_over("database: a digest"));
        }
        let hashes = database.hashes(application, after, end, HASHES_AT_ONCE);
        let hashes = hashes.await?;
        let mut count = 0;
        for of_type in &hashes {
            digest.add(&of_type.event_type, of_type.count, &of_type.lines);
            count += of_type.count;
            after = after.max(of_type.last);
        }
        if count < HASHES_AT_ONCE {
            return Ok(digest);
        }
    }
}
