//! Figures of all deliveries together.

use std::time::Duration;

use super::super::database::{Gauges, Lag, MAX_COUNTED, MAX_RECENT, RECENT};
use super::SqlDatabase;
use crate::fault::Fault;
use crate::model::delivery::{AttemptError, DeliveryStatus};
use crate::model::ids::EventId;
use crate::model::time::Timestamp;

impl SqlDatabase {
    pub(super) async fn gauges_at(&self, now: Timestamp) -> Result<Gauges, Fault> {
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
        let since = i64::try_from(RECENT.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(since));
        let parameters = [EventId::first_at(since).into(), MAX_RECENT.into()];
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
        Ok(gauges)
    }
}
