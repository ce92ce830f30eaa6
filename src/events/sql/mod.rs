//! The operations of [`Database`], as statements: what they are given as parameters, and what they
//! return as rows.

mod gauges;
mod health;
mod log;
mod portal;
mod publish;
mod queue;
mod recoveries;

use serde::Serialize;

use super::connection::Connections;
use super::database::{
    Claim, ClaimedDelivery, Database, DeliveriesPage, DeliveryKey, EventHashes, EventsPage,
    Evidence, Failures, FanOut, Gauges, Held, Listed, NewEvent, NextDue, Operation, Postponement,
    Published, Record, Resend, ResendBegun, Settlement, StoredEvent, WebhookFigures,
};
use super::statements::{Statement, Statements};
use super::value::{Row, Value};
use crate::fault::Fault;
use crate::json;
use crate::model::delivery::{Delivery, DeliveryReason, Event};
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// A database that understands SQL.
pub struct SqlDatabase {
    connections: Connections,
    statements: &'static Statements,
}

impl SqlDatabase {
    /// The database that these connections lead to.
    pub fn new(connections: Connections) -> Self {
        let statements = connections.dialect().statements();
        Self {
            connections,
            statements,
        }
    }

    async fn query(
        &self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Fault> {
        self.connections.query(statement, parameters).await
    }

    /// How many rows a statement returns: it returns one for each that it changed.
    async fn changed(
        &self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> Result<u32, Fault> {
        let rows = self.query(statement, parameters).await?;
        Ok(u32::try_from(rows.len()).unwrap_or(u32::MAX))
    }
}

/// A list or a map, as a parameter.
fn list(items: &impl Serialize) -> Result<Value, Fault> {
    json::write(items).map(Value::Text)
}

/// What names a delivery, from the next two columns.
fn key(row: &mut Row) -> Result<DeliveryKey, Fault> {
    Ok(DeliveryKey {
        event_id: row.event_id()?,
        webhook_id: row.webhook_id()?,
    })
}

impl Database for SqlDatabase {
    fn prepare(&self) -> Operation<'_, ()> {
        Box::pin(self.connections.prepare())
    }

    fn publish<'a>(&'a self, event: &'a NewEvent) -> Operation<'a, Published> {
        Box::pin(self.publish_event(event))
    }

    fn event<'a>(
        &'a self,
        application: &'a ApplicationId,
        event: EventId,
    ) -> Operation<'a, Option<StoredEvent>> {
        Box::pin(self.stored_event(application, event))
    }

    fn events<'a>(
        &'a self,
        application: &'a ApplicationId,
        page: &'a EventsPage,
    ) -> Operation<'a, Listed<Event>> {
        Box::pin(self.list_events(application, page))
    }

    fn deliveries<'a>(
        &'a self,
        webhook: WebhookId,
        page: &'a DeliveriesPage,
    ) -> Operation<'a, Listed<Delivery>> {
        Box::pin(self.list_deliveries(webhook, page))
    }

    fn delivery(&self, event: EventId, webhook: WebhookId) -> Operation<'_, Option<Delivery>> {
        Box::pin(self.delivery_with_attempts(event, webhook))
    }

    fn application_of(&self, webhook: WebhookId) -> Operation<'_, Option<ApplicationId>> {
        Box::pin(self.newest_application_of(webhook))
    }

    fn hashes<'a>(
        &'a self,
        application: &'a ApplicationId,
        after: EventId,
        end: EventId,
        limit: u32,
    ) -> Operation<'a, Vec<EventHashes>> {
        Box::pin(self.list_hashes(application, after, end, limit))
    }

    fn evidence<'a>(
        &'a self,
        application: &'a ApplicationId,
        event: EventId,
        webhook: WebhookId,
    ) -> Operation<'a, Option<Evidence>> {
        Box::pin(self.evidence_of(application, event, webhook))
    }

    fn claim_fan_outs(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Operation<'_, Vec<FanOut>> {
        Box::pin(self.unsettled(now, until, limit))
    }

    fn settle<'a>(&'a self, events: &'a [Settlement]) -> Operation<'a, ()> {
        Box::pin(self.settle_events(events))
    }

    fn claim<'a>(&'a self, claim: &'a Claim) -> Operation<'a, Vec<ClaimedDelivery>> {
        Box::pin(self.claim_due(claim))
    }

    fn record<'a>(&'a self, records: &'a [Record]) -> Operation<'a, Vec<DeliveryKey>> {
        Box::pin(self.record_all(records))
    }

    fn release<'a>(&'a self, held: &'a [Held], due: Timestamp) -> Operation<'a, ()> {
        Box::pin(self.release_all(held, due))
    }

    fn renew<'a>(&'a self, held: &'a [Held], until: Timestamp) -> Operation<'a, Vec<DeliveryKey>> {
        Box::pin(self.renew_all(held, until))
    }

    fn postpone(&self, postponement: Postponement) -> Operation<'_, u32> {
        Box::pin(async move {
            let Postponement {
                webhook_id,
                now,
                probe_at,
                until,
                limit,
            } = postponement;
            let parameters = [
                webhook_id.into(),
                now.into(),
                probe_at.into(),
                until.into(),
                limit.into(),
            ];
            self.changed(&self.statements.postpone, &parameters).await
        })
    }

    fn resume(&self, webhook: WebhookId, now: Timestamp, limit: u32) -> Operation<'_, u32> {
        Box::pin(async move {
            let parameters = [webhook.into(), now.into(), limit.into()];
            self.changed(&self.statements.resume, &parameters).await
        })
    }

    fn suppress(
        &self,
        webhook: WebhookId,
        reason: DeliveryReason,
        until: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Operation<'_, u32> {
        Box::pin(async move {
            let end = EventId::first_at(until.next());
            let parameters = [
                webhook.into(),
                now.into(),
                reason.as_str().into(),
                limit.into(),
                end.into(),
            ];
            self.changed(&self.statements.suppress, &parameters).await
        })
    }

    fn begin_resend<'a>(&'a self, resend: &'a Resend) -> Operation<'a, ResendBegun> {
        Box::pin(self.begin_resend_of(resend))
    }

    fn erase<'a>(
        &'a self,
        application: &'a ApplicationId,
        event: EventId,
        now: Timestamp,
    ) -> Operation<'a, bool> {
        Box::pin(self.erase_event(application, event, now))
    }

    fn forget(&self, before: Timestamp, limit: u32) -> Operation<'_, u32> {
        Box::pin(async move {
            let parameters = [EventId::first_at(before).into(), limit.into()];
            self.changed(&self.statements.forget, &parameters).await
        })
    }

    fn forget_application<'a>(
        &'a self,
        application: &'a ApplicationId,
        limit: u32,
    ) -> Operation<'a, u32> {
        Box::pin(async move {
            let parameters = [application.into(), limit.into()];
            self.changed(&self.statements.forget_application, &parameters)
                .await
        })
    }

    fn next_application<'a>(
        &'a self,
        after: Option<&'a ApplicationId>,
    ) -> Operation<'a, Option<ApplicationId>> {
        Box::pin(async move {
            let after = after.map_or("", ApplicationId::as_str);
            let rows = self
                .query(&self.statements.next_application, &[after.into()])
                .await?;
            rows.into_iter()
                .next()
                .map(|mut row| row.application_id())
                .transpose()
        })
    }

    fn gauges<'a>(
        &'a self,
        now: Timestamp,
        operator: Option<&'a ApplicationId>,
    ) -> Operation<'a, Gauges> {
        Box::pin(self.gauges_at(now, operator))
    }

    fn application_since(&self, event: EventId) -> Operation<'_, Option<ApplicationId>> {
        Box::pin(async move {
            let parameters = [event.to_string().into()];
            let statement = &self.statements.application_since;
            let rows = self.query(statement, &parameters).await?;
            rows.into_iter()
                .next()
                .map(|mut row| row.application_id())
                .transpose()
        })
    }

    fn next_due(&self) -> Operation<'_, NextDue> {
        Box::pin(async move {
            let rows = self.query(&self.statements.next_due, &[]).await?;
            let mut next = NextDue::default();
            for mut row in rows {
                let (first, retry) = (row.optional_moment()?, row.optional_moment()?);
                next = NextDue {
                    delivery: first.into_iter().chain(retry).min(),
                    fan_out: row.optional_moment()?,
                    recovery: row.optional_moment()?,
                };
            }
            Ok(next)
        })
    }

    fn failures(&self, webhook: WebhookId, since: Timestamp) -> Operation<'_, Failures> {
        Box::pin(self.failures_since(webhook, since))
    }

    fn figures(
        &self,
        webhook: WebhookId,
        from: Timestamp,
        counts_since: Timestamp,
    ) -> Operation<'_, WebhookFigures> {
        Box::pin(self.figures_since(webhook, from, counts_since))
    }
}
