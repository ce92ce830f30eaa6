//! The log: events, deliveries and attempts as they are shown.

use std::collections::BTreeMap;

use super::super::database::{
    DeliveriesPage, EventHashes, EventsPage, Evidence, Failures, Listed, LogRange, MAX_READ,
    MAX_SCANNED, RecordedAttempt, StoredEvent,
};
use super::super::value::{Row, Value};
use super::{SqlDatabase, list};
use crate::fault::Fault;
use crate::model::delivery::{
    Attempt, AttemptError, AttemptTrigger, Delivery, DeliveryReason, DeliveryStatus, Event, Summary,
};
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// How many failed attempts of a webhook are looked at.
const MAX_FAILURES: u32 = 1_000;

/// An event from the columns of `EVENT`, with nothing counted yet.
fn event(row: &mut Row) -> Result<Event, Fault> {
    Ok(Event {
        id: row.event_id()?,
        application_id: row.application_id()?,
        r#type: row.event_type()?,
        occurred_at: row.moment()?,
        created_at: row.moment()?,
        deliver_before: row.optional_moment()?,
        size_bytes: row.integer()?,
        sha256: row.text()?,
        summary: Summary::default(),
    })
}

/// An attempt from the columns of `ATTEMPT`; `None`: there is none.
fn attempt(row: &mut Row) -> Result<Option<Attempt>, Fault> {
    let Some(number) = row.optional_integer()? else {
        return Ok(None);
    };
    Ok(Some(Attempt {
        number,
        trigger: row.required(|name| AttemptTrigger::parse(&name))?,
        started_at: row.moment()?,
        duration_ms: row.integer()?,
        url: row.text()?,
        secret_fingerprints: row.required(|json| serde_json::from_str(&json).ok())?,
        http_status_code: row.optional_integer()?,
        error: row.optional(|name| AttemptError::parse(&name))?,
        response_body: row.optional_text()?,
        response_body_truncated: row.flag()?,
        payload_omitted: false,
        retry_after_seconds: row.optional_integer()?,
        next_attempt_at: row.optional_moment()?,
    }))
}

/// A delivery with its last attempt.
fn delivery(mut row: Row) -> Result<Delivery, Fault> {
    Ok(Delivery {
        event_id: row.event_id()?,
        webhook_id: row.webhook_id()?,
        r#type: row.event_type()?,
        status: row.required(|name| DeliveryStatus::parse(&name))?,
        reason: row.optional(|name| DeliveryReason::parse(&name))?,
        attempt_count: row.integer()?,
        next_attempt_at: row.optional_moment()?,
        give_up_at: row.moment()?,
        created_at: row.moment()?,
        completed_at: row.optional_moment()?,
        last_attempt: attempt(&mut row)?,
        attempts: None,
    })
}

/// Between which ids a page is: from the first on, and before the second.
fn bounds(range: &LogRange) -> [Value; 2] {
    let from = range.after.map(EventId::first_at);
    let before = range.before.map(EventId::first_at);
    let end = before.into_iter().chain(range.cursor).min();
    // What sorts before, and after, every id.
    [
        from.map_or_else(|| "".into(), Value::from),
        end.map_or_else(|| "~".into(), Value::from),
    ]
}

/// The page that `items` begin: one more than its limit says that there is another one.
fn page<T>(mut items: Vec<T>, limit: u32, id: impl Fn(&T) -> EventId) -> (Listed<T>, bool) {
    let limit = limit as usize;
    let is_full = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| is_full).map(id);
    (Listed { items, next }, is_full)
}

impl SqlDatabase {
    pub(super) async fn stored_event(
        &self,
        application: &ApplicationId,
        id: EventId,
    ) -> Result<Option<StoredEvent>, Fault> {
        let parameters = [application.into(), id.into()];
        let rows = self.query(&self.statements.event, &parameters).await?;
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let (mut event, body) = (event(&mut row)?, row.optional_text()?);
        let deliveries = &self.statements.deliveries_of_event;
        let rows = self.query(deliveries, &[id.into()]).await?;
        let deliveries: Vec<_> = rows.into_iter().map(delivery).collect::<Result<_, _>>()?;
        for delivery in &deliveries {
            event.summary.add(delivery.status, 1);
        }
        Ok(Some(StoredEvent {
            event,
            body,
            deliveries,
        }))
    }

    pub(super) async fn list_events(
        &self,
        application: &ApplicationId,
        asked: &EventsPage,
    ) -> Result<Listed<Event>, Fault> {
        let EventsPage {
            range,
            event_type,
            idempotency_key,
        } = asked;
        let event_type = event_type.as_ref().map(|name| name.as_str());
        let [from, end] = bounds(range);
        let more = range.limit.saturating_add(1);
        let statements = self.statements;
        let rows = if let Some(key) = idempotency_key {
            let key = key.as_str().into();
            let parameters = [
                application.into(),
                key,
                from.clone(),
                end.clone(),
                event_type.into(),
            ];
            self.query(&statements.event_with_key, &parameters).await?
        } else {
            let scanned = event_type.map_or(more, |_| MAX_SCANNED);
            let parameters = [
                application.into(),
                from.clone(),
                end.clone(),
                event_type.into(),
                scanned.into(),
                more.into(),
            ];
            self.query(&statements.events_page, &parameters).await?
        };
        let events = rows.into_iter().map(|mut row| event(&mut row));
        let events = events.collect::<Result<_, _>>()?;
        let (mut listed, is_full) = page(events, range.limit, |event| event.id);
        if !is_full && idempotency_key.is_none() && event_type.is_some() {
            let parameters = [application.into(), from, end, (MAX_SCANNED - 1).into()];
            let rows = self.query(&statements.events_scanned, &parameters).await?;
            listed.next = last_scanned(rows)?;
        }
        self.count(&mut listed.items).await?;
        Ok(listed)
    }

    /// Counts the events' deliveries.
    async fn count(&self, events: &mut [Event]) -> Result<(), Fault> {
        if events.is_empty() {
            return Ok(());
        }
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let ids = [list(&ids)?];
        let rows = self.query(&self.statements.summaries, &ids);
        let mut summaries: BTreeMap<EventId, Summary> = BTreeMap::new();
        for mut row in rows.await? {
            let id = row.event_id()?;
            let status = row.required(|name| DeliveryStatus::parse(&name))?;
            summaries.entry(id).or_default().add(status, row.integer()?);
        }
        for event in events {
            event.summary = summaries.remove(&event.id).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) async fn list_deliveries(
        &self,
        webhook: WebhookId,
        asked: &DeliveriesPage,
    ) -> Result<Listed<Delivery>, Fault> {
        use DeliveryStatus::{Expired, Failed, Pending, Succeeded, Suppressed};

        let DeliveriesPage {
            range,
            status,
            event_type,
        } = asked;
        let event_type = event_type.as_ref().map(|name| name.as_str());
        let statements = self.statements;
        // Few deliveries are without success: they have an index. Of the others, all are looked at.
        let (statement, scanned, most) = match status {
            None => (
                &statements.deliveries_page,
                &statements.deliveries_scanned,
                MAX_SCANNED,
            ),
            Some(Succeeded) => (
                &statements.succeeded_page,
                &statements.deliveries_scanned,
                MAX_READ,
            ),
            Some(Pending) => (
                &statements.pending_page,
                &statements.pending_scanned,
                MAX_READ,
            ),
            Some(Failed | Suppressed | Expired) => (
                &statements.unsuccessful_page,
                &statements.unsuccessful_scanned,
                MAX_READ,
            ),
        };
        let is_unsuccessful = matches!(status, Some(Failed | Suppressed | Expired));
        let filtered = event_type.is_some() || *status == Some(Succeeded);
        let status = status.map(DeliveryStatus::as_str);
        let [from, end] = bounds(range);
        let more = range.limit.saturating_add(1);
        let looked_at = if filtered { most } else { more };
        let mut parameters = vec![
            webhook.into(),
            from.clone(),
            end.clone(),
            event_type.into(),
            looked_at.into(),
            more.into(),
        ];
        if is_unsuccessful {
            parameters.push(status.into());
        }
        let rows = self.query(statement, &parameters).await?;
        let deliveries = rows.into_iter().map(delivery).collect::<Result<_, _>>()?;
        let (mut listed, is_full) = page(deliveries, range.limit, |delivery| delivery.event_id);
        if !is_full && filtered {
            let mut parameters = vec![webhook.into(), from, end, (most - 1).into()];
            if is_unsuccessful {
                parameters.push(status.into());
            }
            listed.next = last_scanned(self.query(scanned, &parameters).await?)?;
        }
        Ok(listed)
    }

    pub(super) async fn delivery_with_attempts(
        &self,
        event: EventId,
        webhook: WebhookId,
    ) -> Result<Option<Delivery>, Fault> {
        let parameters = [event.into(), webhook.into()];
        let rows = self.query(&self.statements.delivery, &parameters).await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let mut delivery = delivery(row)?;
        let rows = self.query(&self.statements.attempts, &parameters).await?;
        let mut attempts = Vec::new();
        for mut row in rows {
            attempts.extend(attempt(&mut row)?);
        }
        delivery.attempts = Some(attempts);
        Ok(Some(delivery))
    }

    pub(super) async fn newest_application_of(
        &self,
        webhook: WebhookId,
    ) -> Result<Option<ApplicationId>, Fault> {
        let statement = &self.statements.application_of;
        let rows = self.query(statement, &[webhook.into()]).await?;
        let row = rows.into_iter().next();
        row.map(|mut row| row.application_id()).transpose()
    }

    pub(super) async fn list_hashes(
        &self,
        application: &ApplicationId,
        after: EventId,
        end: EventId,
        limit: u32,
    ) -> Result<Vec<EventHashes>, Fault> {
        let parameters = [application.into(), after.into(), end.into(), limit.into()];
        let rows = self.query(&self.statements.hashes, &parameters).await?;
        let rows = rows.into_iter().map(|mut row| {
            Ok(EventHashes {
                event_type: row.event_type()?,
                count: row.integer()?,
                last: row.event_id()?,
                lines: sorted(row.text()?),
            })
        });
        rows.collect()
    }

    pub(super) async fn evidence_of(
        &self,
        application: &ApplicationId,
        event_id: EventId,
        webhook: WebhookId,
    ) -> Result<Option<Evidence>, Fault> {
        let parameters = [event_id.into(), webhook.into(), application.into()];
        let rows = self.query(&self.statements.evidence, &parameters).await?;
        let mut evidence: Option<Evidence> = None;
        for mut row in rows {
            let event = event(&mut row)?;
            let (erased_at, response_sha256) = (row.optional_moment()?, row.optional_text()?);
            let mut delivery = delivery(row)?;
            let attempt = delivery.last_attempt.take();
            let evidence = evidence.get_or_insert_with(|| Evidence {
                event,
                erased_at,
                delivery,
                attempts: Vec::new(),
            });
            evidence
                .attempts
                .extend(attempt.map(|attempt| RecordedAttempt {
                    attempt,
                    response_sha256,
                }));
        }
        Ok(evidence)
    }

    pub(super) async fn failures_since(
        &self,
        webhook: WebhookId,
        since: Timestamp,
    ) -> Result<Failures, Fault> {
        let parameters = [webhook.into()];
        let rows = self.query(&self.statements.last_success, &parameters);
        let mut last_success = None;
        for mut row in rows.await? {
            last_success = Some(row.moment()?);
        }
        let from = since.max(last_success.unwrap_or(since));
        let parameters = [webhook.into(), from.into(), MAX_FAILURES.into()];
        let rows = self.query(&self.statements.failures, &parameters).await?;
        let mut failures = Failures {
            last_success,
            ..Failures::default()
        };
        for mut row in rows {
            failures.failing_since = row.optional_moment()?;
            failures.attempts = row.integer()?;
            failures.events = row.integer()?;
        }
        Ok(failures)
    }
}

/// The lines in their order: SQLite promises none when it joins texts.
fn sorted(text: String) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.is_sorted() {
        return text;
    }
    lines.sort_unstable();
    lines.concat()
}

/// The entry that the scan ended with, if it did not come to the end of the log.
fn last_scanned(rows: Vec<Row>) -> Result<Option<EventId>, Fault> {
    let row = rows.into_iter().next();
    row.map(|mut row| row.event_id()).transpose()
}
