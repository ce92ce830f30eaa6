//! How a webhook has been doing: counts and percentiles of what was looked at.

use super::super::database::{
    MAX_SAMPLED, Outcomes, Pending, SampledAttempts, SampledDeliveries, WebhookFigures,
};
use super::SqlDatabase;
use crate::fault::Fault;
use crate::model::delivery::{AttemptError, DeliveryStatus};
use crate::model::ids::{EventId, WebhookId};
use crate::model::time::Timestamp;

impl SqlDatabase {
    pub(super) async fn figures_since(
        &self,
        webhook: WebhookId,
        from: Timestamp,
        counts_since: Timestamp,
    ) -> Result<WebhookFigures, Fault> {
        Ok(WebhookFigures {
            deliveries: self.sampled_deliveries(webhook, from).await?,
            attempts: self.sampled_attempts(webhook, from).await?,
            pending: self.pending(webhook).await?,
            failures: self.failures_since(webhook, counts_since).await?,
        })
    }

    async fn sampled_deliveries(
        &self,
        webhook: WebhookId,
        from: Timestamp,
    ) -> Result<SampledDeliveries, Fault> {
        let first = EventId::first_at(from);
        let parameters = [webhook.into(), first.into(), MAX_SAMPLED.into()];
        let rows = self.query(&self.statements.health_deliveries, &parameters);
        let mut deliveries = SampledDeliveries::default();
        for mut row in rows.await? {
            let status = row.required(|name| DeliveryStatus::parse(&name))?;
            deliveries.by_status.add(status, row.integer()?);
            let oldest = row.event_id()?.published_at();
            deliveries.oldest = deliveries.oldest.into_iter().chain([oldest]).min();
        }
        Ok(deliveries)
    }

    async fn sampled_attempts(
        &self,
        webhook: WebhookId,
        from: Timestamp,
    ) -> Result<SampledAttempts, Fault> {
        let parameters = [webhook.into(), from.into(), MAX_SAMPLED.into()];
        let rows = self.query(&self.statements.health_attempts, &parameters);
        let mut attempts = SampledAttempts::default();
        for mut row in rows.await? {
            let percentile: u32 = row.integer()?;
            let http_status_code = row.optional_integer()?;
            let error = row.optional(|name| AttemptError::parse(&name))?;
            let number: u32 = row.integer()?;
            let oldest = row.optional_moment()?;
            match percentile {
                50 => attempts.p50_ms = Some(number),
                95 => attempts.p95_ms = Some(number),
                99 => attempts.p99_ms = Some(number),
                _ => {
                    attempts.outcomes.push(Outcomes {
                        http_status_code,
                        error,
                        count: number,
                    });
                    attempts.oldest = attempts.oldest.into_iter().chain(oldest).min();
                }
            }
        }
        Ok(attempts)
    }

    async fn pending(&self, webhook: WebhookId) -> Result<Pending, Fault> {
        let parameters = [webhook.into(), MAX_SAMPLED.into()];
        let rows = self.query(&self.statements.health_pending, &parameters);
        let mut pending = Pending::default();
        for mut row in rows.await? {
            pending.count = row.integer()?;
            pending.oldest_due_at = row.optional_moment()?;
        }
        Ok(pending)
    }
}
