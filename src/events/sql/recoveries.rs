//! The operations of [`Recoveries`], as statements.
//!
//! Long because they are one trait's, and most of it is what each is given as parameters.

use super::super::claim::ClaimToken;
use super::super::database::{
    Added, ClaimedRecovery, EarlierRecovery, Found, NewRecovery, Operation, Position, QueueStep,
    Recoveries, RecoveryBegun, Selection,
};
use super::super::statements::Statement;
use super::super::statements::recoveries::RecoveryStatements;
use super::super::value::{Row, Value};
use super::{SqlDatabase, list};
use crate::fault::Fault;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, RecoveryId, WebhookId};
use crate::model::recovery::{Recovery, RecoveryKind, RecoveryStatus, SkippedByReason, StopReason};
use crate::model::time::Timestamp;

impl From<RecoveryId> for Value {
    fn from(id: RecoveryId) -> Self {
        Self::Text(id.to_string())
    }
}

/// A recovery from the columns of `RECOVERY`.
fn recovery(row: &mut Row) -> Result<Recovery, Fault> {
    let (id, webhook_id) = (recovery_id(row)?, row.webhook_id()?);
    let status = row.required(|name| RecoveryStatus::parse(&name))?;
    let reason = row.optional(|name| StopReason::parse(&name))?;
    let (after, before) = (row.moment()?, row.moment()?);
    let include = row.required(kinds)?;
    let types = row.optional(event_types)?;
    let (per_minute, matched, queued) = (row.integer()?, row.optional_integer()?, row.integer()?);
    let skipped_by_reason = SkippedByReason {
        succeeded: row.integer()?,
        pending: row.integer()?,
        expired: row.integer()?,
        data_erased: row.integer()?,
        event_deleted: row.integer()?,
        stopped: row.integer()?,
    };
    Ok(Recovery {
        id,
        webhook_id,
        status,
        reason,
        after,
        before,
        include,
        types,
        per_minute,
        matched,
        queued,
        skipped: skipped_by_reason.total(),
        skipped_by_reason,
        created_at: row.moment()?,
        completed_at: row.optional_moment()?,
    })
}

fn recovery_id(row: &mut Row) -> Result<RecoveryId, Fault> {
    row.required(|text| RecoveryId::parse(&text))
}

fn kinds(json: String) -> Option<Vec<RecoveryKind>> {
    let names: Vec<String> = serde_json::from_str(&json).ok()?;
    let kinds = names.iter().map(|name| RecoveryKind::parse(name));
    kinds
        .collect::<Option<Vec<_>>>()
        .filter(|kinds| !kinds.is_empty())
}

fn event_types(json: String) -> Option<Vec<EventType>> {
    serde_json::from_str(&json).ok()
}

/// A recovery that was claimed, from the columns that a claim returns.
fn claimed(mut row: Row, token: ClaimToken) -> Result<ClaimedRecovery, Fault> {
    let recovery = recovery(&mut row)?;
    let selection = Selection {
        application_id: row.application_id()?,
        webhook_id: recovery.webhook_id,
        include: recovery.include.clone(),
        types: recovery.types.clone(),
        missing_types: row.optional(event_types)?,
        first: row.event_id()?,
        end: row.event_id()?,
    };
    Ok(ClaimedRecovery {
        recovery,
        token,
        selection,
        position: Position {
            kind: row.required(|name| RecoveryKind::parse(&name))?,
            from: row.event_id()?,
        },
    })
}

/// A list as a parameter; no value where there is none.
fn optional_list(types: Option<&Vec<EventType>>) -> Result<Value, Fault> {
    types.map_or(Ok(Value::Null), list)
}

/// The parameters of what counts, or writes down, what is between two events.
fn page(
    selection: &Selection,
    kind: RecoveryKind,
    from: EventId,
    end: EventId,
    now: Timestamp,
) -> Result<Vec<Value>, Fault> {
    let (first, second, types) = match kind {
        RecoveryKind::Failed | RecoveryKind::Suppressed => (
            selection.webhook_id.into(),
            kind.as_str().into(),
            &selection.types,
        ),
        RecoveryKind::Missing => (
            (&selection.application_id).into(),
            selection.webhook_id.into(),
            &selection.missing_types,
        ),
    };
    let types = optional_list(types.as_ref())?;
    Ok(vec![
        first,
        second,
        from.into(),
        end.into(),
        types,
        now.into(),
    ])
}

impl SqlDatabase {
    fn recovery_statements(&self) -> &'static RecoveryStatements {
        self.connections.dialect().recoveries()
    }

    /// The first column of the first row that a statement returns, a number.
    async fn number(
        &self,
        statement: &'static Statement,
        parameters: &[Value],
    ) -> Result<Option<u32>, Fault> {
        let rows = self.query(statement, parameters).await?;
        let mut rows = rows.into_iter();
        rows.next().map(|mut row| row.integer()).transpose()
    }

    async fn begin_or_find(&self, new: &NewRecovery) -> Result<RecoveryBegun, Fault> {
        let ClaimedRecovery {
            recovery,
            token,
            selection,
            position,
        } = &new.claimed;
        let (key, hash) = match &new.idempotency {
            Some(used) => (Some(used.key.as_str()), Some(used.request_hash.as_str())),
            None => (None, None),
        };
        let parameters = [
            recovery.id.into(),
            (&selection.application_id).into(),
            selection.webhook_id.into(),
            recovery.after.into(),
            recovery.before.into(),
            list(&selection.include)?,
            optional_list(selection.types.as_ref())?,
            optional_list(selection.missing_types.as_ref())?,
            recovery.per_minute.into(),
            key.into(),
            hash.into(),
            selection.first.into(),
            selection.end.into(),
            position.kind.as_str().into(),
            recovery.created_at.into(),
            new.until.into(),
            token.as_str().into(),
        ];
        let begin = &self.recovery_statements().begin;
        if self.changed(begin, &parameters).await? > 0 {
            return Ok(RecoveryBegun::New);
        }
        if let Some(key) = key
            && let Some(earlier) = self.with_key(selection.webhook_id, key).await?
        {
            return Ok(match earlier.recovery.id == recovery.id {
                true => RecoveryBegun::New,
                false => RecoveryBegun::Earlier(earlier),
            });
        }
        match self.active(selection.webhook_id).await? {
            Some(id) if id == recovery.id => Ok(RecoveryBegun::New),
            Some(id) => Ok(RecoveryBegun::Active(id)),
            // It ended between the two statements. A repeat begins this one.
            None => {
                let reason = "database: a recovery was in the way that has ended";
                Err(Fault::Dependency(reason.to_owned()))
            }
        }
    }

    async fn with_key(
        &self,
        webhook: WebhookId,
        key: &str,
    ) -> Result<Option<EarlierRecovery>, Fault> {
        let parameters = [webhook.into(), key.into()];
        let statement = &self.recovery_statements().with_key;
        let mut rows = self.query(statement, &parameters).await?.into_iter();
        let earlier = rows.next().map(|mut row| {
            Ok(EarlierRecovery {
                recovery: recovery(&mut row)?,
                request_hash: row.text()?,
            })
        });
        earlier.transpose()
    }

    async fn active(&self, webhook: WebhookId) -> Result<Option<RecoveryId>, Fault> {
        let statement = &self.recovery_statements().active;
        let rows = self.query(statement, &[webhook.into()]).await?;
        let mut rows = rows.into_iter();
        rows.next().map(|mut row| recovery_id(&mut row)).transpose()
    }

    /// The event after the next `limit` that are looked at; `None`: there are no more than those.
    async fn page_end(
        &self,
        selection: &Selection,
        position: Position,
        limit: u32,
    ) -> Result<Option<EventId>, Fault> {
        let statements = self.recovery_statements();
        let (from, end) = (position.from.into(), selection.end.into());
        let rows = match position.kind {
            RecoveryKind::Failed | RecoveryKind::Suppressed => {
                let (webhook, status) =
                    (selection.webhook_id.into(), position.kind.as_str().into());
                let parameters = [webhook, status, from, end, limit.into()];
                self.query(&statements.unsuccessful_end, &parameters).await
            }
            RecoveryKind::Missing => {
                let parameters = [(&selection.application_id).into(), from, end, limit.into()];
                self.query(&statements.missing_end, &parameters).await
            }
        };
        let mut rows = rows?.into_iter();
        rows.next().map(|mut row| row.event_id()).transpose()
    }

    async fn count_page(
        &self,
        selection: &Selection,
        position: Position,
        limit: u32,
        now: Timestamp,
    ) -> Result<Found, Fault> {
        let Position { kind, from } = position;
        let page_end = self.page_end(selection, position, limit).await?;
        let end = page_end.unwrap_or(selection.end);
        let parameters = page(selection, kind, from, end, now)?;
        let statements = self.recovery_statements();
        let statement = match kind {
            RecoveryKind::Failed | RecoveryKind::Suppressed => &statements.count_unsuccessful,
            RecoveryKind::Missing => &statements.count_missing,
        };
        Ok(Found {
            count: self.number(statement, &parameters).await?.unwrap_or(0),
            next: selection.after(kind, page_end),
        })
    }

    async fn add_page(
        &self,
        claimed: &ClaimedRecovery,
        position: Position,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Added, Fault> {
        let ClaimedRecovery {
            recovery,
            token,
            selection,
            ..
        } = claimed;
        let Position { kind, from } = position;
        let page_end = self.page_end(selection, position, limit).await?;
        let end = page_end.unwrap_or(selection.end);
        let mut parameters = page(selection, kind, from, end, now)?;
        parameters.extend([recovery.id.into(), token.as_str().into()]);
        let statements = self.recovery_statements();
        let statement = match kind {
            RecoveryKind::Failed | RecoveryKind::Suppressed => &statements.add_unsuccessful,
            RecoveryKind::Missing => &statements.add_missing,
        };
        self.query(statement, &parameters).await?;
        let Some(next) = selection.after(kind, page_end) else {
            return Ok(Added::All);
        };
        let parameters = [
            recovery.id.into(),
            token.as_str().into(),
            next.kind.as_str().into(),
            next.from.into(),
            until.into(),
        ];
        match self.changed(&statements.advance, &parameters).await? {
            0 => Ok(Added::Lost),
            _ => Ok(Added::Next(next)),
        }
    }
}

impl Recoveries for SqlDatabase {
    fn begin_recovery<'a>(&'a self, new: &'a NewRecovery) -> Operation<'a, RecoveryBegun> {
        Box::pin(self.begin_or_find(new))
    }

    fn recovery<'a>(
        &'a self,
        application: &'a ApplicationId,
        webhook: WebhookId,
        id: RecoveryId,
    ) -> Operation<'a, Option<Recovery>> {
        Box::pin(async move {
            let parameters = [id.into(), webhook.into(), application.into()];
            let read = &self.recovery_statements().read;
            let mut rows = self.query(read, &parameters).await?.into_iter();
            rows.next().map(|mut row| recovery(&mut row)).transpose()
        })
    }

    fn recovery_with_key<'a>(
        &'a self,
        webhook: WebhookId,
        key: &'a str,
    ) -> Operation<'a, Option<EarlierRecovery>> {
        Box::pin(self.with_key(webhook, key))
    }

    fn active_recovery(&self, webhook: WebhookId) -> Operation<'_, Option<RecoveryId>> {
        Box::pin(self.active(webhook))
    }

    fn claim_recovery(
        &self,
        token: ClaimToken,
        now: Timestamp,
        until: Timestamp,
    ) -> Operation<'_, Option<ClaimedRecovery>> {
        Box::pin(async move {
            let parameters = [token.as_str().into(), until.into(), now.into()];
            let claim = &self.recovery_statements().claim;
            let mut rows = self.query(claim, &parameters).await?.into_iter();
            rows.next().map(|row| claimed(row, token)).transpose()
        })
    }

    fn count_matches<'a>(
        &'a self,
        selection: &'a Selection,
        position: Position,
        limit: u32,
        now: Timestamp,
    ) -> Operation<'a, Found> {
        Box::pin(self.count_page(selection, position, limit, now))
    }

    fn add_matches<'a>(
        &'a self,
        claimed: &'a ClaimedRecovery,
        position: Position,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Operation<'a, Added> {
        Box::pin(self.add_page(claimed, position, limit, now, until))
    }

    fn start_recovery<'a>(
        &'a self,
        claimed: &'a ClaimedRecovery,
        now: Timestamp,
    ) -> Operation<'a, Option<u32>> {
        Box::pin(async move {
            let (id, token) = (claimed.recovery.id, claimed.token.as_str());
            let parameters = [id.into(), token.into(), now.into()];
            let start = &self.recovery_statements().start;
            self.number(start, &parameters).await
        })
    }

    fn queue_matches<'a>(&'a self, step: &'a QueueStep) -> Operation<'a, u32> {
        Box::pin(async move {
            let parameters = [
                step.id.into(),
                step.token.as_str().into(),
                step.now.into(),
                step.due_at.into(),
                step.give_up_at.into(),
                step.oldest.into(),
                step.interval_ms.into(),
                step.limit.into(),
            ];
            let queue = &self.recovery_statements().queue;
            self.changed(queue, &parameters).await
        })
    }

    fn backlog(&self, webhook: WebhookId, now: Timestamp, limit: u32) -> Operation<'_, u32> {
        Box::pin(async move {
            let parameters = [webhook.into(), now.into(), limit.into()];
            let backlog = &self.recovery_statements().backlog;
            Ok(self.number(backlog, &parameters).await?.unwrap_or(0))
        })
    }

    fn end_recovery(&self, id: RecoveryId, now: Timestamp) -> Operation<'_, bool> {
        Box::pin(async move {
            let end = &self.recovery_statements().end;
            Ok(self.changed(end, &[id.into(), now.into()]).await? > 0)
        })
    }

    fn stop_recovery(
        &self,
        id: RecoveryId,
        reason: StopReason,
        now: Timestamp,
    ) -> Operation<'_, bool> {
        Box::pin(async move {
            let parameters = [id.into(), reason.as_str().into(), now.into()];
            let stop = &self.recovery_statements().stop;
            Ok(self.changed(stop, &parameters).await? > 0)
        })
    }

    fn clear_recovery(&self, id: RecoveryId, limit: u32) -> Operation<'_, u32> {
        Box::pin(async move {
            let clear = &self.recovery_statements().clear;
            self.changed(clear, &[id.into(), limit.into()]).await
        })
    }

    fn put_off_recovery<'a>(
        &'a self,
        claimed: &'a ClaimedRecovery,
        due: Timestamp,
    ) -> Operation<'a, ()> {
        Box::pin(async move {
            let (id, token) = (claimed.recovery.id, claimed.token.as_str());
            let parameters = [id.into(), token.into(), due.into()];
            let put_off = &self.recovery_statements().put_off;
            self.query(put_off, &parameters).await.map(drop)
        })
    }

    fn forget_recoveries(&self, before: Timestamp, limit: u32) -> Operation<'_, u32> {
        Box::pin(async move {
            let parameters = [RecoveryId::first_at(before).into(), limit.into()];
            let forget = &self.recovery_statements().forget;
            self.changed(forget, &parameters).await
        })
    }
}
