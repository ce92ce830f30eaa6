//! Figures of all deliveries together.

use std::time::Duration;

use super::super::database::{Gauges, Lag, MAX_COUNTED, MAX_RECENT, OPERATIONAL, RECENT};
use super::super::value::Value;
use super::SqlDatabase;
use crate::fault::Fault;
use crate::model::delivery::{AttemptError, DeliveryStatus};
use crate::model::ids::{ApplicationId, EventId};
use crate::model::operational::OperationalType;
use crate::model::recovery::RecoveryStatus;
use crate::model::time::Timestamp;

impl SqlDatabase {
    pub(super) async fn gauges_at(
        &self,
        now: Timestamp,
        operator: Option<&ApplicationId>,
    ) -> Result<Gauges, Fault> {
        let mut gauges = Gauges::default();
        let parameters = [now.into(), MAX_COUNTED.into()];
        let rows = self.query(&self.statements.pending_gauges, &parameters);
        for mut row in rows.await? {
            gauges.pending_first = row.integer()?;
            gauges.pending_retries = row.integer()?;
            gauges.due_first = row.integer()?;
            gauges.due_retries = row.integer()?;
            let oldest = [row.optional_moment()?, row.optional_moment()?];
            let oldest = oldest.into_iter().flatten().min().unwrap_or(now);
            gauges.oldest_due = now.saturating_since(oldest);
        }
        let parameters = [first_of_last(RECENT, now), MAX_RECENT.into()];
        let rows = self.query(&self.statements.recent_deliveries, &parameters);
        for mut row in rows.await? {
            let status = row.required(|name| DeliveryStatus::parse(&name))?;
            gauges.recent.add(status, row.integer()?);
        }
        let rows = self.query(&self.statements.recent_attempts, &parameters);
        let (mut first, mut sum, mut max) = (0_i64, 0_i64, 0_i64);
        for mut row in rows.await? {
            let error = row.optional(|name| AttemptError::parse(&name))?;
            gauges.recent_attempts.push((error, row.integer()?));
            first += row.integer::<i64>()?;
            sum += row.optional_integer::<i64>()?.unwrap_or_default();
            max = max.max(row.optional_integer::<i64>()?.unwrap_or_default());
        }
        // A clock that is behind another's makes a lag of less than nothing.
        let millis = |millis: i64| Duration::from_millis(millis.max(0).unsigned_abs());
        gauges.first_attempt_lag = (first > 0).then(|| Lag {
            mean: millis(sum / first),
            max: millis(max),
        });
        let statement = &self.statements.recovery_gauges;
        for mut row in self.query(statement, &[MAX_COUNTED.into()]).await? {
            let status = row.required(|name| RecoveryStatus::parse(&name))?;
            let count = row.integer()?;
            match status {
                RecoveryStatus::Matching => gauges.recoveries_matching = count,
                RecoveryStatus::Running => gauges.recoveries_running = count,
                RecoveryStatus::Stopped | RecoveryStatus::Done => {}
            }
        }
        if let Some(operator) = operator {
            let parameters = [
                operator.as_str().into(),
                first_of_last(OPERATIONAL, now),
                MAX_COUNTED.into(),
            ];
            let rows = self.query(&self.statements.events_by_type, &parameters);
            let mut counts = [0; OperationalType::ALL.len()];
            for mut row in rows.await? {
                let (name, number) = (row.text()?, row.integer()?);
                // It can have events of its own beside them.
                let all = OperationalType::ALL.iter().zip(&mut counts);
                for (_, count) in all.filter(|(kind, _)| kind.as_str() == name) {
                    *count = number;
                }
            }
            gauges.operational = Some(counts);
        }
        Ok(gauges)
    }
}

/// The least id of an event that was published within the last `time`.
fn first_of_last(time: Duration, now: Timestamp) -> Value {
    let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let since = Timestamp::from_millis(now.as_millis().saturating_sub(time));
    EventId::first_at(since).into()
}
