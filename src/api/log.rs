//! What the log's resources share: which part of it is asked for, a page of it, and who may read it.

use chrono::DateTime;
use futures::future::join;
use serde::Serialize;

use super::request::{CallerRequest, Context};
use crate::dispatch::dispatcher::Dispatcher;
use crate::events::database::{Listed, LogRange};
use crate::fault::Fault;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::query::Query;
use crate::model::caller::Caller;
use crate::model::cursor::Cursor;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;
use crate::store::keys;

/// How many items a page has unless it is asked for more or fewer.
const DEFAULT_LIMIT: u32 = 20;

/// How many items a page has at most.
const MAX_LIMIT: u32 = 100;

/// Which part of a log.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `range` and `event_type` read")]
pub struct LogQuery {
    /// Events of this type only. It need not be one that there is today.
    #[param(rename = "type", inline, required = false, nullable = false)]
    r#type: Option<EventType>,
    /// Events that were published at this moment or later (RFC 3339).
    #[param(
        required = false,
        nullable = false,
        value_type = String,
        format = DateTime,
        example = "2026-04-20T00:00:00Z"
    )]
    after: Option<Timestamp>,
    /// Events that were published before this moment (RFC 3339).
    #[param(
        required = false,
        nullable = false,
        value_type = String,
        format = DateTime,
        example = "2026-04-21T00:00:00Z"
    )]
    before: Option<Timestamp>,
    /// How many items a page has at most.
    #[param(
        required = false,
        minimum = 1,
        maximum = 100,
        default = 20,
        example = 20
    )]
    limit: u32,
    /// The `nextCursor` of the page before. It names a place in the log, whatever the other parameters
    /// are.
    #[param(
        required = false,
        nullable = false,
        min_length = 23,
        max_length = 23,
        pattern = "^[A-Za-z0-9_-]{23}$",
        example = "AQGb3ryMvHAAgAAAAAAAAAA"
    )]
    cursor: Option<String>,
}

/// A page of a log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPage<T> {
    /// The page's items, the newest event first. A page that is filtered can have fewer than its limit,
    /// or none, and not be the last: each looks at no more than 10,000 entries of the log.
    #[schema(max_items = 100)]
    items: Vec<T>,
    /// What the next page is asked for with; `null` on the last page.
    #[schema(required, examples("AQGb3ryMvHAAgAAAAAAAAAA"))]
    next_cursor: Option<String>,
}

impl<T> From<Listed<T>> for LogPage<T> {
    fn from(listed: Listed<T>) -> Self {
        Self {
            items: listed.items,
            next_cursor: listed.next.map(|last| Cursor(last).to_string()),
        }
    }
}

/// Reads `after`, `before`, `limit` and `cursor`, noting what is wrong with them.
pub fn range(query: &Query, details: &mut Details) -> Option<LogRange> {
    let mut moment = |name| {
        let text = query.get(name)?;
        details.check(
            name,
            DateTime::parse_from_rfc3339(text)
                .map(|moment| Timestamp::from_millis(moment.timestamp_millis()))
                .map_err(|_| {
                    "Must be a time in RFC 3339, such as 2026-01-15T08:00:00Z; a `+` is written `%2B`"
                }),
        )
    };
    let (after, before) = (moment("after"), moment("before"));
    let limit = match query.get("limit") {
        None => Some(DEFAULT_LIMIT),
        Some(text) => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let limit = text.parse().ok().filter(|_| is_number);
            let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
            details.check("limit", limit.ok_or("Must be a whole number from 1 to 100"))
        }
    };
    let cursor = query.get("cursor").and_then(|text| {
        let cursor = Cursor::parse(text);
        details.check("cursor", cursor.ok_or("Must be the `nextCursor` of a page"))
    });
    Some(LogRange {
        after,
        before,
        cursor: cursor.map(|Cursor(id)| id),
        limit: limit?,
    })
}

/// Reads `type`, noting what is wrong with it.
pub fn event_type(query: &Query, details: &mut Details) -> Option<EventType> {
    let text = query.get("type")?;
    let event_type = EventType::parse(text);
    details.check(
        "type",
        event_type.ok_or("Must be 1 to 128 letters, digits, `.`, `_` or `-`"),
    )
}

impl CallerRequest {
    /// Lets merchants through, and tokens with the platform's support scope.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`].
    pub fn check_reads_events(&self) -> Result<(), Error> {
        match self.caller.merchant().is_some() || self.caller.supports() {
            true => Ok(()),
            false => Err(Error::Forbidden),
        }
    }
}

impl Context<Caller> {
    /// Lets through who may read the application: its merchant, and callers that are none.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Forbidden`], or the store's failure.
    pub async fn check_readable(&self, id: &ApplicationId) -> Result<(), Error> {
        self.run("reading an application", self.check_application(id))
            .await
    }

    /// Lets through who may read the log of one of the application's webhooks, also of one that was
    /// deleted, for as long as the log has deliveries of it. Nothing that is read meanwhile is shown
    /// before that is known.
    ///
    /// # Errors
    ///
    /// As [`Self::check_readable`].
    pub async fn check_log(
        &self,
        dispatcher: &Dispatcher,
        application: &ApplicationId,
        webhook: WebhookId,
    ) -> Result<(), Error> {
        let key = keys::webhook(application, webhook);
        let exists = self.run("reading a webhook", self.store.exists(&key));
        let (readable, exists) = join(self.check_readable(application), exists).await;
        readable?;
        if exists? {
            return Ok(());
        }
        let of_deliveries = dispatcher.database().application_of(webhook).await?;
        match of_deliveries.as_ref() == Some(application) {
            true => Ok(()),
            false => Err(Error::NotFound),
        }
    }
}

/// What both found, the failure of `allowed` first: whose application it is comes before what is in it.
///
/// # Errors
///
/// Those of either.
pub async fn allowed_and<T>(
    allowed: impl Future<Output = Result<(), Error>>,
    read: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Error> {
    let (allowed, read) = join(allowed, read).await;
    allowed?;
    Ok(read?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::EventId;

    fn read(query: &str) -> Result<(LogRange, Option<EventType>), Vec<String>> {
        let mut details = Details::default();
        let names = &["type", "after", "before", "limit", "cursor"];
        let query = Query::parse(Some(query), names, &mut details);
        let range = range(&query, &mut details);
        let event_type = event_type(&query, &mut details);
        match details.all(range) {
            Ok(range) => Ok((range, event_type)),
            Err(Error::Invalid(wrong)) => Err(wrong.into_iter().map(|it| it.field).collect()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_range_has_moments_a_limit_and_a_cursor() {
        let all = LogRange {
            limit: 20,
            ..LogRange::default()
        };
        assert_eq!(read(""), Ok((all.clone(), None)));
        let moment = Timestamp::from_millis(1_768_464_000_000);
        let id = EventId::generate(moment);
        let query = format!(
            "type=session.completed&after=2026-01-15T10:00:00%2B02:00&before=2026-01-15T08:00:00.001Z\
             &limit=100&cursor={}",
            Cursor(id)
        );
        let range = LogRange {
            after: Some(moment),
            before: Some(moment.next()),
            cursor: Some(id),
            limit: 100,
        };
        let event_type = EventType::parse("session.completed");
        assert_eq!(read(&query), Ok((range, event_type)));
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let all = "type=a%20b&after=yesterday&before=2026-01-15&limit=0&cursor=x";
        let fields = ["after", "before", "limit", "cursor", "type"];
        assert_eq!(read(all), Err(fields.map(str::to_owned).to_vec()));
        for (query, field) in [
            ("type=", "type"),
            ("after=", "after"),
            ("after=2026-01-15T08:00:00", "after"),
            ("before=2026-01-15T08:00:00+02:00", "before"),
            ("limit=", "limit"),
            ("limit=101", "limit"),
            ("limit=%2B1", "limit"),
            ("limit=99999999999999999999", "limit"),
            ("cursor=", "cursor"),
        ] {
            assert_eq!(read(query), Err(vec![field.to_owned()]), "{query}");
        }
    }
}
