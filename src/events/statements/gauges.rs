//! Statements of the operator's figures. Each looks at so many entries of an index at most.

use super::{Dialect, Statement};

/// Builds the statements of one dialect.
pub struct GaugeStatements(pub Dialect);

impl GaugeStatements {
    pub fn pending(&self) -> Statement {
        let count = |which: &str| {
            format!(
                "(SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE {which} LIMIT ?2) AS counted)"
            )
        };
        let [first, retries] =
            [0, 1].map(|retry| count(&format!("retry = {retry} AND next_at IS NOT NULL")));
        let due = [0, 1].map(|retry| format!("retry = {retry} AND next_at <= ?1"));
        let [due_first, due_retries] = due.each_ref().map(|which| count(which));
        let [since_first, since_retries] =
            due.map(|which| format!("(SELECT min(next_at) FROM deliveries WHERE {which})"));
        Statement::shared(
            self.0,
            "pending-gauges",
            &format!(
                "SELECT {first}, {retries}, {due_first}, {due_retries}, {since_first}, {since_retries}"
            ),
        )
    }

    pub fn recent_deliveries(&self) -> Statement {
        Statement::shared(
            self.0,
            "recent-deliveries",
            "SELECT status, count(*) FROM (
               SELECT status FROM deliveries WHERE event_id >= ?1 ORDER BY event_id DESC LIMIT ?2
             ) AS recent GROUP BY status",
        )
    }

    /// The index `recoveries_active` has no others.
    pub fn recoveries(&self) -> Statement {
        Statement::shared(
            self.0,
            "recovery-gauges",
            "SELECT status, count(*) FROM (
               SELECT status FROM recoveries WHERE status IN ('matching', 'running') LIMIT ?1
             ) AS active GROUP BY status",
        )
    }

    pub fn events_by_type(&self) -> Statement {
        Statement::shared(
            self.0,
            "events-by-type",
            "SELECT type, count(*) FROM (
               SELECT type FROM events WHERE application_id = ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3
             ) AS recent GROUP BY type",
        )
    }

    /// A recovery's first attempt is late on purpose, and a resend's as late as it was asked for.
    pub fn recent_attempts(&self) -> Statement {
        Statement::shared(
            self.0,
            "recent-attempts",
            "SELECT error, count(*), count(lag), CAST(sum(lag) AS bigint), max(lag) FROM (
               SELECT recent.error, CASE WHEN recent.number = 1 AND recent.trigger = 'schedule'
                 THEN recent.started_at - d.created_at END AS lag
               FROM (
                 SELECT event_id, webhook_id, number, trigger, started_at, error FROM attempts
                 WHERE event_id >= ?1 ORDER BY event_id DESC LIMIT ?2) AS recent
               JOIN deliveries AS d
                 ON d.event_id = recent.event_id AND d.webhook_id = recent.webhook_id
             ) AS ended GROUP BY error",
        )
    }
}
