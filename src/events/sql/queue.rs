//! Deliveries that are due: claimed, recorded, given back.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::claim::ClaimToken;
use super::super::database::{
    Claim, ClaimOrder, ClaimedDelivery, DeliveryKey, Effect, Held, Record, Resend, ResendBegun,
};
use super::super::value::{Row, Value};
use super::{SqlDatabase, key, list};
use crate::fault::Fault;
use crate::json;
use crate::model::delivery::{AttemptTrigger, DeliveryStatus};
use crate::model::delivery_state::Progress;
use crate::model::ids::{EventId, WebhookId};
use crate::model::time::Timestamp;

/// How many deliveries a claim chooses from, for each that it takes: as many as one webhook's backlog
/// can hide of others' without being left out.
const CHOICE: u32 = 4;

/// A claim of a delivery, as an element of a parameter.
#[derive(Serialize)]
struct HeldRow<'a> {
    event: EventId,
    webhook: WebhookId,
    token: &'a str,
    number: u32,
}

impl<'a> HeldRow<'a> {
    fn new(held: &'a Held) -> Self {
        Self {
            event: held.key.event_id,
            webhook: held.key.webhook_id,
            token: held.token.as_str(),
            number: held.number,
        }
    }
}

/// What is recorded of a delivery, as an element of a parameter.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordRow<'a> {
    #[serde(flatten)]
    held: Option<HeldRow<'a>>,
    kind: &'static str,
    // Of the attempt, if there was one.
    trigger: Option<&'static str>,
    started: Option<i64>,
    duration: Option<u32>,
    url: Option<String>,
    fingerprints: Option<String>,
    http: Option<u16>,
    error: Option<&'static str>,
    response: Option<String>,
    truncated: Option<u8>,
    sha256: Option<&'a str>,
    retry_after: Option<u32>,
    next_attempt: Option<i64>,
    // Of the delivery's state.
    status: Option<&'static str>,
    reason: Option<&'static str>,
    step: Option<u32>,
    next: Option<i64>,
    gone: Option<i64>,
    completed: Option<i64>,
}

impl<'a> RecordRow<'a> {
    fn new(record: &'a Record) -> Result<Self, Fault> {
        let mut row = Self {
            held: Some(HeldRow::new(&record.held)),
            ..Self::default()
        };
        if let Some(attempt) = &record.attempt {
            row.trigger = Some(attempt.trigger.as_str());
            row.started = Some(attempt.started_at.as_millis());
            row.duration = Some(attempt.duration_ms);
            row.url = Some(without_nul(&attempt.url));
            row.fingerprints = Some(json::write(&attempt.secret_fingerprints)?);
            row.http = attempt.http_status_code;
            row.error = attempt.error.map(|error| error.as_str());
            row.response = attempt.response_body.as_deref().map(without_nul);
            row.truncated = Some(attempt.response_body_truncated.into());
            row.sha256 = attempt.response_sha256.as_deref();
            row.retry_after = attempt.retry_after_seconds;
        }
        match record.effect {
            Effect::Scheduled(state) => {
                row.kind = "scheduled";
                row.status = Some(state.status.as_str());
                row.reason = state.reason.map(|reason| reason.as_str());
                row.step = Some(state.step);
                row.next = state.next_at.map(Timestamp::as_millis);
                row.next_attempt = row.next;
                row.gone = state.gone_at.map(Timestamp::as_millis);
                row.completed = state.completed_at.map(Timestamp::as_millis);
            }
            Effect::Resent { succeeded_at } => {
                row.kind = "resent";
                row.status = succeeded_at.map(|_| DeliveryStatus::Succeeded.as_str());
                row.completed = succeeded_at.map(Timestamp::as_millis);
            }
        }
        Ok(row)
    }
}

/// No database stores U+0000 in a text, and PostgreSQL refuses the whole statement.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A delivery that was claimed.
fn claimed(row: &mut Row, token: &ClaimToken, is_resend: bool) -> Result<ClaimedDelivery, Fault> {
    let key = key(row)?;
    let number = row.integer()?;
    let application_id = row.application_id()?;
    let event_type = row.event_type()?;
    let trigger = row.required(|name| AttemptTrigger::parse(&name))?;
    let trigger = match row.flag()? {
        _ if is_resend => AttemptTrigger::Resend,
        true => AttemptTrigger::Uncertain,
        false => trigger,
    };
    Ok(ClaimedDelivery {
        held: Held {
            key,
            token: token.clone(),
            number,
        },
        application_id,
        event_type,
        trigger,
        progress: Progress {
            step: row.integer()?,
            give_up_at: row.moment()?,
            deliver_before: row.optional_moment()?,
            gone_at: row.optional_moment()?,
        },
        body: row.optional_text()?,
    })
}

impl SqlDatabase {
    pub(super) async fn claim_due(&self, claim: &Claim) -> Result<Vec<ClaimedDelivery>, Fault> {
        let first_attempts_first = match claim.order {
            ClaimOrder::FirstAttempts => 1_u32,
            ClaimOrder::Due => 0,
        };
        let taken = claim.taken.iter();
        let taken: BTreeMap<String, u32> = taken
            .map(|(webhook, count)| (webhook.to_string(), *count))
            .collect();
        let parameters = [
            claim.token.as_str().into(),
            claim.until.into(),
            claim.now.into(),
            claim.limit.into(),
            claim.limit_per_webhook.into(),
            list(&claim.except)?,
            first_attempts_first.into(),
            claim.limit.saturating_mul(CHOICE).into(),
            list(&taken)?,
        ];
        let rows = self.query(&self.statements.claim, &parameters).await?;
        let rows = rows.into_iter();
        rows.map(|mut row| claimed(&mut row, &claim.token, false))
            .collect()
    }

    pub(super) async fn record_all(&self, records: &[Record]) -> Result<Vec<DeliveryKey>, Fault> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Result<Vec<_>, Fault> = records.iter().map(RecordRow::new).collect();
        let parameters = [list(&rows?)?];
        let rows = self.query(&self.statements.record, &parameters).await?;
        let mut lost = Vec::new();
        for mut row in rows {
            let key = key(&mut row)?;
            if !row.flag()? {
                lost.push(key);
            }
        }
        Ok(lost)
    }

    pub(super) async fn release_all(&self, held: &[Held], due: Timestamp) -> Result<(), Fault> {
        if held.is_empty() {
            return Ok(());
        }
        let parameters = [claims(held)?, due.into()];
        self.query(&self.statements.release, &parameters).await?;
        Ok(())
    }

    pub(super) async fn renew_all(
        &self,
        held: &[Held],
        until: Timestamp,
    ) -> Result<Vec<DeliveryKey>, Fault> {
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let parameters = [claims(held)?, until.into()];
        let rows = self.query(&self.statements.renew, &parameters).await?;
        rows.into_iter().map(|mut row| key(&mut row)).collect()
    }

    pub(super) async fn begin_resend_of(&self, resend: &Resend) -> Result<ResendBegun, Fault> {
        let DeliveryKey {
            event_id,
            webhook_id,
        } = resend.key;
        let parameters = [
            event_id.into(),
            webhook_id.into(),
            resend.token.as_str().into(),
            resend.until.into(),
            resend.now.into(),
        ];
        let rows = self
            .query(&self.statements.begin_resend, &parameters)
            .await?;
        if let Some(mut row) = rows.into_iter().next() {
            let mut begun = claimed(&mut row, &resend.token, true)?;
            if !row.flag()? {
                // It is not pending: nothing is scheduled after this attempt.
                begun.progress.step = u32::MAX;
            }
            return Ok(ResendBegun::Begun(Box::new(begun)));
        }
        let parameters = [event_id.into(), webhook_id.into()];
        let found = self.query(&self.statements.exists, &parameters).await?;
        let Some(mut row) = found.into_iter().next() else {
            return Ok(ResendBegun::Missing);
        };
        Ok(match row.flag()? {
            true => ResendBegun::Erased,
            false => ResendBegun::InFlight,
        })
    }
}

fn claims(held: &[Held]) -> Result<Value, Fault> {
    let rows: Vec<_> = held.iter().map(HeldRow::new).collect();
    list(&rows)
}
