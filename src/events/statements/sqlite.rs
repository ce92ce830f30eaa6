//! Statements that only SQLite and libSQL understand.
//!
//! Lists come as JSON, since a statement of many rows is one commit. `publications` and `records` are
//! views whose triggers write the tables ([`schema`](super::super::schema)).

use super::gauges::GaugeStatements;
use super::shared::Shared;
use super::{Dialect, Statement, Statements};

/// The statements for SQLite.
pub fn statements() -> Statements {
    let shared = Shared(Dialect::Sqlite);
    let gauges = GaugeStatements(Dialect::Sqlite);
    Statements {
        publish: publish(),
        published_before: shared.published_before(),
        add_deliveries: add_deliveries(),
        claim_fan_outs: claim_fan_outs(),
        settle: settle(),
        claim: claim(),
        record: record(),
        release: release(),
        renew: renew(),
        postpone: postpone(),
        resume: resume(),
        suppress: suppress(),
        begin_resend: begin_resend(),
        exists: shared.exists(),
        erase: erase(),
        lock_deliveries: lock_deliveries(),
        forget: shared.forget(),
        forget_application: shared.forget_application(),
        next_application: shared.next_application(),
        pending_gauges: gauges.pending(),
        recent_deliveries: gauges.recent_deliveries(),
        recent_attempts: gauges.recent_attempts(),
        recovery_gauges: gauges.recoveries(),
        events_by_type: gauges.events_by_type(),
        application_since: shared.application_since(),
        next_due: shared.next_due(),
        event: shared.event(),
        deliveries_of_event: shared.deliveries_of_event(),
        events_page: shared.events_page(),
        events_scanned: shared.events_scanned(),
        event_with_key: shared.event_with_key(),
        summaries: summaries(),
        deliveries_page: shared.deliveries_page(),
        succeeded_page: shared.succeeded_page(),
        pending_page: shared.pending_page(),
        unsuccessful_page: shared.unsuccessful_page(),
        deliveries_scanned: shared.deliveries_scanned(),
        pending_scanned: shared.pending_scanned(),
        unsuccessful_scanned: shared.unsuccessful_scanned(),
        delivery: shared.delivery(),
        attempts: shared.attempts(),
        application_of: shared.application_of(),
        hashes: shared.hashes("group_concat(id || ' ' || sha256 || char(10), '')"),
        evidence: shared.evidence(),
        last_success: shared.last_success(),
        failures: shared.failures(),
        health_deliveries: shared.health_deliveries(),
        health_attempts: shared.health_attempts(),
        health_pending: shared.health_pending(),
    }
}

/// What is read of a delivery that was claimed: SQLite returns no column of another table, but takes
/// a query for one.
const CLAIMED: &str = "event_id, webhook_id, attempts, application_id, type, trigger, uncertain, \
    step, give_up_at, deliver_before, gone_at, \
    (SELECT e.body FROM events AS e WHERE e.id = event_id)";

fn publish() -> Statement {
    Statement::new(
        "publish",
        "INSERT INTO publications (id, application_id, type, body, occurred_at, created_at,
           deliver_before, idempotency_key, request_hash, size_bytes, sha256, settle_at, deliveries)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         RETURNING EXISTS (SELECT 1 FROM events AS e WHERE e.id = ?1)",
    )
}

fn add_deliveries() -> Statement {
    Statement::new(
        "add-deliveries",
        "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, reason, attempts,
           step, retry, due_at, next_at, claim, give_up_at, deliver_before, created_at, completed_at)
         SELECT e.id, n.value ->> '$.webhook', e.application_id, e.type, n.value ->> '$.status',
           n.value ->> '$.reason', n.value ->> '$.attempts', n.value ->> '$.attempts',
           n.value ->> '$.attempts', n.value ->> '$.due', n.value ->> '$.next',
           n.value ->> '$.claim', n.value ->> '$.giveUp', e.deliver_before, n.value ->> '$.created',
           n.value ->> '$.completed'
         FROM json_each(?1) AS n JOIN events AS e ON e.id = n.value ->> '$.event'
         WHERE true ON CONFLICT DO NOTHING",
    )
}

fn claim_fan_outs() -> Statement {
    Statement::new(
        "claim-fan-outs",
        "UPDATE fan_outs SET due_at = ?2 WHERE event_id IN (
           SELECT event_id FROM fan_outs WHERE due_at <= ?1 ORDER BY due_at LIMIT ?3)
         RETURNING event_id, application_id, type, created_at,
           (SELECT json_group_array(d.webhook_id) FROM deliveries AS d
            WHERE d.event_id = fan_outs.event_id)",
    )
}

fn settle() -> Statement {
    Statement::new(
        "settle",
        "DELETE FROM fan_outs WHERE event_id IN (SELECT value FROM json_each(?1))",
    )
}

fn claim() -> Statement {
    let due = |retry: u8| {
        format!(
            "SELECT * FROM (
               SELECT event_id, webhook_id, retry, next_at FROM deliveries
               WHERE retry = {retry} AND next_at <= ?3
                 AND webhook_id NOT IN (SELECT value FROM json_each(?6))
               ORDER BY next_at LIMIT ?8)"
        )
    };
    let (first, again) = (due(0), due(1));
    Statement::new(
        "claim",
        &format!(
            "UPDATE deliveries SET claim = ?1, next_at = ?2, attempts = attempts + 1, step = step + 1,
               retry = 1, resend_claim = NULL, resend_until = NULL,
               uncertain = claim IS NOT NULL OR resend_claim IS NOT NULL OR uncertain
             WHERE (event_id, webhook_id) IN (
               SELECT event_id, webhook_id FROM (
                 SELECT event_id, webhook_id, retry, next_at, row_number() OVER (
                   PARTITION BY webhook_id ORDER BY retry * ?7, next_at, event_id) AS place
                 FROM ({first} UNION ALL {again}))
               WHERE place <= ?5 - coalesce(
                 (SELECT t.value FROM json_each(?9) AS t WHERE t.key = webhook_id), 0)
               ORDER BY retry * ?7, next_at LIMIT ?4)
               AND (resend_until IS NULL OR resend_until <= ?3)
             RETURNING {CLAIMED}"
        ),
    )
}

fn record() -> Statement {
    Statement::new(
        "record",
        "INSERT INTO records (event_id, webhook_id, token, number, kind, trigger, started_at,
           duration_ms, url, secret_fingerprints, http_status, error, response_body,
           response_truncated, response_sha256, retry_after, next_attempt_at, status, reason, step,
           next_at, gone_at, completed_at, held)
         SELECT d.event_id, d.webhook_id, r.value ->> '$.token', r.value ->> '$.number',
           r.value ->> '$.kind', r.value ->> '$.trigger', r.value ->> '$.started',
           r.value ->> '$.duration', r.value ->> '$.url', r.value ->> '$.fingerprints',
           r.value ->> '$.http', r.value ->> '$.error', r.value ->> '$.response',
           r.value ->> '$.truncated', r.value ->> '$.sha256', r.value ->> '$.retryAfter',
           r.value ->> '$.nextAttempt', r.value ->> '$.status', r.value ->> '$.reason',
           r.value ->> '$.step', r.value ->> '$.next', r.value ->> '$.gone',
           r.value ->> '$.completed',
           r.value ->> '$.token' IN (coalesce(d.claim, ''), coalesce(d.resend_claim, ''))
         FROM json_each(?1) AS r JOIN deliveries AS d
           ON d.event_id = r.value ->> '$.event' AND d.webhook_id = r.value ->> '$.webhook'
         WHERE true
         RETURNING event_id, webhook_id, held",
    )
}

/// The claims of parameter 1, as a table.
const HELD: &str = "(SELECT value ->> '$.event' AS event, value ->> '$.webhook' AS webhook, \
    value ->> '$.token' AS token, value ->> '$.number' AS number FROM json_each(?1)) AS h";

fn release() -> Statement {
    Statement::new(
        "release",
        &format!(
            "UPDATE deliveries SET claim = NULL, next_at = ?2, step = step - 1,
               attempts = attempts - (attempts = h.number), retry = h.number > 1
             FROM {HELD} WHERE event_id = h.event AND webhook_id = h.webhook AND claim = h.token"
        ),
    )
}

fn renew() -> Statement {
    Statement::new(
        "renew",
        &format!(
            "UPDATE deliveries SET next_at = ?2 FROM {HELD}
             WHERE event_id = h.event AND webhook_id = h.webhook AND claim = h.token
             RETURNING event_id, webhook_id"
        ),
    )
}

fn postpone() -> Statement {
    Statement::new(
        "postpone",
        "UPDATE deliveries SET uncertain = claim IS NOT NULL OR uncertain, claim = NULL,
           next_at = iif(p.place = 1, ?3, ?4)
         FROM (
           SELECT event_id AS event, row_number() OVER (ORDER BY event_id) AS place FROM deliveries
           WHERE webhook_id = ?1 AND next_at IS NOT NULL AND next_at <= ?2
           ORDER BY event_id LIMIT ?5) AS p
         WHERE event_id = p.event AND webhook_id = ?1
         RETURNING event_id",
    )
}

fn resume() -> Statement {
    Statement::new(
        "resume",
        "UPDATE deliveries SET next_at = ?2 WHERE webhook_id = ?1 AND event_id IN (
           SELECT event_id FROM deliveries
           WHERE webhook_id = ?1 AND next_at IS NOT NULL AND next_at > ?2 AND due_at <= ?2
             AND claim IS NULL
           ORDER BY event_id LIMIT ?3)
         RETURNING event_id",
    )
}

fn suppress() -> Statement {
    Statement::new(
        "suppress",
        "UPDATE deliveries SET status = 'suppressed', reason = ?3, completed_at = ?2, claim = NULL,
           next_at = NULL
         WHERE webhook_id = ?1 AND event_id IN (
           SELECT event_id FROM deliveries
           WHERE webhook_id = ?1 AND event_id < ?5 AND next_at IS NOT NULL
             AND (claim IS NULL OR next_at <= ?2)
           ORDER BY event_id LIMIT ?4)
         RETURNING event_id",
    )
}

fn begin_resend() -> Statement {
    Statement::new(
        "begin-resend",
        &format!(
            "UPDATE deliveries SET resend_claim = ?3, resend_until = ?4,
               attempts = attempts + (resend_claim IS NOT ?3)
             WHERE event_id = ?1 AND webhook_id = ?2
               AND EXISTS (SELECT 1 FROM events AS e WHERE e.id = ?1 AND e.body IS NOT NULL)
               AND (resend_until IS NULL OR resend_until <= ?5 OR resend_claim = ?3)
               AND (claim IS NULL OR next_at <= ?5)
             RETURNING {CLAIMED}, next_at IS NOT NULL"
        ),
    )
}

fn erase() -> Statement {
    Statement::new(
        "erase",
        "UPDATE events SET body = NULL, erased_at = coalesce(erased_at, ?3)
         WHERE id = ?2 AND application_id = ?1 RETURNING id",
    )
}

fn lock_deliveries() -> Statement {
    Statement::new(
        "lock-deliveries",
        "SELECT count(*) FROM (
           SELECT 1 FROM deliveries WHERE event_id = ?1 ORDER BY webhook_id) AS locked",
    )
}

fn summaries() -> Statement {
    Statement::new(
        "summaries",
        "SELECT event_id, status, count(*) FROM deliveries
         WHERE event_id IN (SELECT value FROM json_each(?1)) GROUP BY event_id, status",
    )
}
