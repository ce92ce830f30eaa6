//! Statements that both databases understand.

use super::{Dialect, Statement};

/// What is read of an event.
const EVENT: &str = "e.id, e.application_id, e.type, e.occurred_at, e.created_at, \
    e.deliver_before, e.size_bytes, e.sha256";

/// What is read of an attempt.
const ATTEMPT: &str = "a.number, a.trigger, a.started_at, a.duration_ms, a.url, \
    a.secret_fingerprints, a.http_status, a.error, a.response_body, a.response_truncated, \
    a.retry_after, a.next_attempt_at";

/// What is read of a delivery, with its last attempt.
fn delivery_and_last_attempt() -> String {
    format!(
        "d.event_id, d.webhook_id, d.type, d.status, d.reason, d.attempts, \
         CASE WHEN d.claim IS NULL THEN d.next_at END, d.give_up_at, d.created_at, \
         d.completed_at, {ATTEMPT}"
    )
}

/// Where the last attempt of delivery `d` is.
const LAST_ATTEMPT: &str = "LEFT JOIN attempts AS a ON a.event_id = d.event_id \
    AND a.webhook_id = d.webhook_id AND a.number = (SELECT max(l.number) FROM attempts AS l \
    WHERE l.event_id = d.event_id AND l.webhook_id = d.webhook_id)";

/// Builds the statements of one dialect.
pub struct Shared(pub Dialect);

impl Shared {
    fn statement(&self, name: &'static str, sql: &str) -> Statement {
        Statement::shared(self.0, name, sql)
    }

    pub fn published_before(&self) -> Statement {
        self.statement(
            "published-before",
            "SELECT id, request_hash FROM events
             WHERE application_id = ?1 AND idempotency_key = ?2",
        )
    }

    pub fn exists(&self) -> Statement {
        self.statement(
            "delivery-exists",
            "SELECT CASE WHEN e.body IS NULL THEN 1 ELSE 0 END
             FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
             WHERE d.event_id = ?1 AND d.webhook_id = ?2",
        )
    }

    pub fn forget(&self) -> Statement {
        // The offset keeps PostgreSQL from joining all pending deliveries there are.
        self.statement(
            "forget",
            "DELETE FROM events WHERE id IN (
               SELECT e.id FROM events AS e WHERE e.id < ?1 AND NOT EXISTS (
                 SELECT 1 FROM deliveries AS d WHERE d.event_id = e.id AND d.next_at IS NOT NULL
                 LIMIT 1 OFFSET 0)
               ORDER BY e.id LIMIT ?2)
             RETURNING id",
        )
    }

    pub fn forget_application(&self) -> Statement {
        self.statement(
            "forget-application",
            "DELETE FROM events WHERE id IN (
               SELECT id FROM events WHERE application_id = ?1 ORDER BY id LIMIT ?2)
             RETURNING id",
        )
    }

    pub fn next_application(&self) -> Statement {
        self.statement(
            "next-application",
            "SELECT application_id FROM events WHERE application_id > ?1
             ORDER BY application_id LIMIT 1",
        )
    }

    pub fn application_since(&self) -> Statement {
        self.statement(
            "application-since",
            "SELECT application_id FROM events WHERE id >= ?1 ORDER BY id LIMIT 1",
        )
    }

    pub fn next_due(&self) -> Statement {
        self.statement(
            "next-due",
            "SELECT
               (SELECT next_at FROM deliveries
                WHERE retry = 0 AND next_at IS NOT NULL ORDER BY next_at LIMIT 1),
               (SELECT next_at FROM deliveries
                WHERE retry = 1 AND next_at IS NOT NULL ORDER BY next_at LIMIT 1),
               (SELECT due_at FROM fan_outs ORDER BY due_at LIMIT 1),
               (SELECT next_at FROM recoveries WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1)",
        )
    }

    pub fn event(&self) -> Statement {
        self.statement(
            "event",
            &format!(
                "SELECT {EVENT}, e.body FROM events AS e
                 WHERE e.id = ?2 AND e.application_id = ?1"
            ),
        )
    }

    pub fn deliveries_of_event(&self) -> Statement {
        let delivery = delivery_and_last_attempt();
        self.statement(
            "deliveries-of-event",
            &format!(
                "SELECT {delivery} FROM deliveries AS d {LAST_ATTEMPT}
                 WHERE d.event_id = ?1 ORDER BY d.webhook_id"
            ),
        )
    }

    pub fn events_page(&self) -> Statement {
        self.statement(
            "events-page",
            &format!(
                "SELECT {EVENT} FROM (
                   SELECT id FROM (
                     SELECT id, type FROM events
                     WHERE application_id = ?1 AND id >= ?2 AND id < ?3 ORDER BY id DESC LIMIT ?5
                   ) AS scanned
                   WHERE CAST(?4 AS text) IS NULL OR type = CAST(?4 AS text)
                   ORDER BY id DESC LIMIT ?6
                 ) AS page
                 JOIN events AS e ON e.id = page.id ORDER BY e.id DESC"
            ),
        )
    }

    pub fn events_scanned(&self) -> Statement {
        self.statement(
            "events-scanned",
            "SELECT id FROM events WHERE application_id = ?1 AND id >= ?2 AND id < ?3
             ORDER BY id DESC LIMIT 1 OFFSET ?4",
        )
    }

    pub fn event_with_key(&self) -> Statement {
        self.statement(
            "event-with-key",
            &format!(
                "SELECT {EVENT} FROM events AS e
                 WHERE e.application_id = ?1 AND e.idempotency_key = ?2
                   AND e.id >= ?3 AND e.id < ?4
                   AND (CAST(?5 AS text) IS NULL OR e.type = CAST(?5 AS text))"
            ),
        )
    }

    pub fn deliveries_page(&self) -> Statement {
        // No more than the index has: no row is read before it is shown.
        self.page("deliveries-page", "type", "webhook_id = ?1", "")
    }

    pub fn succeeded_page(&self) -> Statement {
        let status = "status = 'succeeded' AND";
        self.page("succeeded-page", "status, type", "webhook_id = ?1", status)
    }

    pub fn pending_page(&self) -> Statement {
        let which = "webhook_id = ?1 AND next_at IS NOT NULL";
        self.page("pending-page", "type", which, "")
    }

    pub fn unsuccessful_page(&self) -> Statement {
        self.page("unsuccessful-page", "type", &unsuccessful(7), "")
    }

    /// A page of the deliveries that `which` are, filtered by `columns`.
    fn page(&self, name: &'static str, columns: &str, which: &str, filter: &str) -> Statement {
        let delivery = delivery_and_last_attempt();
        self.statement(
            name,
            &format!(
                "SELECT {delivery} FROM (
                   SELECT event_id FROM (
                     SELECT event_id, {columns} FROM deliveries
                     WHERE {which} AND event_id >= ?2 AND event_id < ?3
                     ORDER BY event_id DESC LIMIT ?5
                   ) AS scanned
                   WHERE {filter} (CAST(?4 AS text) IS NULL OR type = CAST(?4 AS text))
                   ORDER BY event_id DESC LIMIT ?6
                 ) AS page
                 JOIN deliveries AS d ON d.event_id = page.event_id AND d.webhook_id = ?1
                 {LAST_ATTEMPT} ORDER BY d.event_id DESC"
            ),
        )
    }

    pub fn deliveries_scanned(&self) -> Statement {
        self.scanned("deliveries-scanned", "webhook_id = ?1")
    }

    pub fn pending_scanned(&self) -> Statement {
        let which = "webhook_id = ?1 AND next_at IS NOT NULL";
        self.scanned("pending-scanned", which)
    }

    pub fn unsuccessful_scanned(&self) -> Statement {
        self.scanned("unsuccessful-scanned", &unsuccessful(5))
    }

    fn scanned(&self, name: &'static str, which: &str) -> Statement {
        self.statement(
            name,
            &format!(
                "SELECT event_id FROM deliveries
                 WHERE {which} AND event_id >= ?2 AND event_id < ?3
                 ORDER BY event_id DESC LIMIT 1 OFFSET ?4"
            ),
        )
    }

    pub fn delivery(&self) -> Statement {
        let delivery = delivery_and_last_attempt();
        self.statement(
            "delivery",
            &format!(
                "SELECT {delivery} FROM deliveries AS d {LAST_ATTEMPT}
                 WHERE d.event_id = ?1 AND d.webhook_id = ?2"
            ),
        )
    }

    pub fn attempts(&self) -> Statement {
        self.statement(
            "attempts",
            &format!(
                "SELECT {ATTEMPT} FROM attempts AS a
                 WHERE a.event_id = ?1 AND a.webhook_id = ?2 ORDER BY a.number"
            ),
        )
    }

    pub fn application_of(&self) -> Statement {
        self.statement(
            "application-of",
            "SELECT application_id FROM deliveries WHERE webhook_id = ?1
             ORDER BY event_id DESC LIMIT 1",
        )
    }

    /// `lines`: a line for each event, joined.
    pub fn hashes(&self, lines: &str) -> Statement {
        self.statement(
            "hashes",
            &format!(
                "SELECT type, count(*), max(id), {lines} FROM (
                   SELECT id, type, sha256 FROM events
                   WHERE application_id = ?1 AND id > ?2 AND id < ?3 ORDER BY id LIMIT ?4) AS hashed
                 GROUP BY type"
            ),
        )
    }

    pub fn evidence(&self) -> Statement {
        let delivery = delivery_and_last_attempt();
        self.statement(
            "evidence",
            &format!(
                "SELECT {EVENT}, e.erased_at, a.response_sha256, {delivery}
                 FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
                 LEFT JOIN attempts AS a ON a.event_id = d.event_id AND a.webhook_id = d.webhook_id
                 WHERE d.event_id = ?1 AND d.webhook_id = ?2 AND e.application_id = ?3
                 ORDER BY a.number"
            ),
        )
    }

    pub fn last_success(&self) -> Statement {
        self.statement(
            "last-success",
            "SELECT started_at FROM attempts WHERE webhook_id = ?1 AND error IS NULL
             ORDER BY started_at DESC LIMIT 1",
        )
    }

    pub fn failures(&self) -> Statement {
        self.statement(
            "failures",
            "SELECT min(started_at), count(*), count(DISTINCT event_id) FROM (
               SELECT started_at, event_id FROM attempts
               WHERE webhook_id = ?1 AND error IS NOT NULL AND error <> 'internal' AND started_at > ?2
               ORDER BY started_at LIMIT ?3) AS failed",
        )
    }

    pub fn health_deliveries(&self) -> Statement {
        self.statement(
            "health-deliveries",
            "SELECT status, count(*), min(event_id) FROM (
               SELECT status, event_id FROM deliveries WHERE webhook_id = ?1 AND event_id >= ?2
               ORDER BY event_id DESC LIMIT ?3) AS sampled
             GROUP BY status",
        )
    }

    pub fn health_attempts(&self) -> Statement {
        // Each of the two has an index of its own.
        let newest = |which: &str| {
            format!(
                "SELECT * FROM (
                   SELECT started_at, duration_ms, http_status, error FROM attempts
                   WHERE webhook_id = ?1 AND error IS {which} AND started_at >= ?2
                   ORDER BY started_at DESC LIMIT ?3) AS newest"
            )
        };
        let (succeeded, failed) = (newest("NULL"), newest("NOT NULL"));
        let percentile = |percent: u8| {
            format!(
                "SELECT {percent}, NULL, NULL, duration_ms, NULL FROM placed
                 WHERE place = (number * {percent} + 99) / 100"
            )
        };
        let (p50, p95, p99) = (percentile(50), percentile(95), percentile(99));
        self.statement(
            "health-attempts",
            &format!(
                "WITH sampled AS MATERIALIZED (
                   SELECT * FROM ({succeeded} UNION ALL {failed}) AS attempted
                   ORDER BY started_at DESC LIMIT ?3),
                 placed AS MATERIALIZED (
                   SELECT duration_ms, row_number() OVER (ORDER BY duration_ms) AS place,
                     count(*) OVER () AS number FROM sampled)
                 SELECT CAST(0 AS bigint), http_status, error, count(*), min(started_at)
                 FROM sampled GROUP BY http_status, error
                 UNION ALL {p50} UNION ALL {p95} UNION ALL {p99}"
            ),
        )
    }

    pub fn health_pending(&self) -> Statement {
        self.statement(
            "health-pending",
            "SELECT count(*), min(due_at) FROM (
               SELECT due_at FROM deliveries WHERE webhook_id = ?1 AND next_at IS NOT NULL
               ORDER BY event_id LIMIT ?2) AS pending",
        )
    }
}

/// Those of a webhook that ended without success, written as their index is, so that it is used.
fn unsuccessful(parameter: u8) -> String {
    format!(
        "webhook_id = ?1 AND status = ?{parameter} \
         AND status IN ('failed', 'suppressed', 'expired')"
    )
}
