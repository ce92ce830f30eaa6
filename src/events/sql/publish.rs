//! Events and their fan-outs: published, settled, erased.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::super::database::{Beginning, FanOut, NewDelivery, NewEvent, Published, Settlement};
use super::super::statements::Dialect;
use super::{SqlDatabase, list};
use crate::fault::Fault;
use crate::model::delivery::DeliveryStatus;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// A delivery that is made, as an element of a parameter.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryRow<'a> {
    /// The event; `None`: the one that is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventId>,
    webhook: WebhookId,
    status: &'static str,
    reason: Option<&'static str>,
    /// 1 when the first attempt is claimed already.
    attempts: u32,
    due: Option<i64>,
    next: Option<i64>,
    claim: Option<&'a str>,
    give_up: i64,
    created: i64,
    completed: Option<i64>,
}

impl<'a> DeliveryRow<'a> {
    fn new(event: Option<EventId>, delivery: &'a NewDelivery, created: Timestamp) -> Self {
        let mut row = Self {
            event,
            webhook: delivery.webhook_id,
            status: DeliveryStatus::Pending.as_str(),
            reason: None,
            attempts: 0,
            due: None,
            next: None,
            claim: None,
            give_up: delivery.give_up_at.as_millis(),
            created: created.as_millis(),
            completed: None,
        };
        match &delivery.beginning {
            Beginning::Due(due) => {
                row.due = Some(due.as_millis());
                row.next = row.due;
            }
            Beginning::Claimed { token, due, until } => {
                row.attempts = 1;
                row.due = Some(due.as_millis());
                row.next = Some(until.as_millis());
                row.claim = Some(token.as_str());
            }
            Beginning::Suppressed(reason) => {
                row.status = DeliveryStatus::Suppressed.as_str();
                row.reason = Some(reason.as_str());
                row.completed = Some(created.as_millis());
            }
        }
        row
    }
}

impl SqlDatabase {
    pub(super) async fn publish_event(&self, event: &NewEvent) -> Result<Published, Fault> {
        let rows = event.deliveries.iter();
        let rows = rows.map(|delivery| DeliveryRow::new(None, delivery, event.created_at));
        let deliveries = list(&rows.collect::<Vec<_>>())?;
        let (key, hash) = match &event.idempotency {
            Some(used) => (Some(used.key.as_str()), Some(used.request_hash.as_str())),
            None => (None, None),
        };
        let sha256 = base16ct::lower::encode_string(&Sha256::digest(&event.body));
        let parameters = [
            event.id.into(),
            (&event.application_id).into(),
            event.event_type.as_str().into(),
            event.body.as_str().into(),
            event.occurred_at.into(),
            event.created_at.into(),
            event.deliver_before.into(),
            key.into(),
            hash.into(),
            i64::try_from(event.body.len()).unwrap_or(i64::MAX).into(),
            sha256.into(),
            event.settle_at.into(),
            deliveries,
        ];
        let rows = self.query(&self.statements.publish, &parameters).await?;
        let mut stored = false;
        for mut row in rows {
            stored |= row.flag()?;
        }
        match key {
            Some(key) if !stored => self.published_before(event, key).await,
            // Without a key, what is there already is this very event.
            _ => Ok(Published::New),
        }
    }

    /// What the key was used for. The event itself: it was stored by an earlier try.
    async fn published_before(&self, event: &NewEvent, key: &str) -> Result<Published, Fault> {
        let parameters = [(&event.application_id).into(), key.into()];
        let rows = self.query(&self.statements.published_before, &parameters);
        let Some(mut row) = rows.await?.into_iter().next() else {
            // It was forgotten between the two statements. A repeat publishes it.
            let reason = "database: publish found an event that is no more";
            return Err(Fault::Dependency(reason.to_owned()));
        };
        let (id, request_hash) = (row.event_id()?, row.text()?);
        if id == event.id {
            return Ok(Published::New);
        }
        Ok(Published::Earlier { id, request_hash })
    }

    pub(super) async fn unsettled(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<FanOut>, Fault> {
        let parameters = [now.into(), until.into(), limit.into()];
        let rows = self.query(&self.statements.claim_fan_outs, &parameters);
        let rows = rows.await?.into_iter();
        rows.map(|mut row| {
            Ok(FanOut {
                event_id: row.event_id()?,
                application_id: row.application_id()?,
                event_type: row.event_type()?,
                created_at: row.moment()?,
                recipients: row.required(|json| serde_json::from_str(&json).ok())?,
            })
        })
        .collect()
    }

    pub(super) async fn settle_events(&self, events: &[Settlement]) -> Result<(), Fault> {
        let rows = events.iter().flat_map(|event| {
            let added = event.deliveries.iter();
            added.map(|added| DeliveryRow::new(Some(event.event_id), added, event.now))
        });
        let added: Vec<_> = rows.collect();
        // The deliveries come first: what is cut off in between is settled once more.
        if !added.is_empty() {
            let added = list(&added)?;
            self.query(&self.statements.add_deliveries, &[added])
                .await?;
        }
        let ids: Vec<_> = events.iter().map(|event| event.event_id).collect();
        self.query(&self.statements.settle, &[list(&ids)?]).await?;
        Ok(())
    }

    pub(super) async fn erase_event(
        &self,
        application: &ApplicationId,
        event: EventId,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let parameters = [application.into(), event.into(), now.into()];
        let erased = self.changed(&self.statements.erase, &parameters).await?;
        if erased > 0 && self.connections.dialect() == Dialect::Postgres {
            // A record that began before may add a response after. It holds its delivery until it is
            // done; one that begins later finds no body, and keeps no response.
            let wait = &self.statements.lock_deliveries;
            self.query(wait, &[event.into()]).await?;
            self.changed(&self.statements.erase, &parameters).await?;
        }
        Ok(erased > 0)
    }
}
