//! Statements that only PostgreSQL understands.
//!
//! Lists come as JSON in a parameter of type `text`, since Spin's interface has no `jsonb` that keeps
//! its bytes. Rows that others may hold are passed over (`SKIP LOCKED`), so that no statement waits for
//! another one's rows.
//!
//! Rows that two statements change at once are changed in the order of their keys by both.
//!
//! Keys that a statement finds first are compared as an array: it is looked up in an index then, also
//! where the planner has no statistics yet.

use super::gauges::GaugeStatements;
use super::shared::Shared;
use super::{Dialect, Statement, Statements};

/// The statements for PostgreSQL.
pub fn statements() -> Statements {
    let shared = Shared(Dialect::Postgres);
    let gauges = GaugeStatements(Dialect::Postgres);
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
        hashes: shared.hashes("string_agg(id || ' ' || sha256 || chr(10), '' ORDER BY id)"),
        evidence: shared.evidence(),
        last_success: shared.last_success(),
        failures: shared.failures(),
        health_deliveries: shared.health_deliveries(),
        health_attempts: shared.health_attempts(),
        health_pending: shared.health_pending(),
    }
}

/// What is read of a delivery `d` that was claimed, with its event `e`.
const CLAIMED: &str = "d.event_id, d.webhook_id, d.attempts, d.application_id, d.type, d.trigger, \
    d.uncertain, d.step, d.give_up_at, d.deliver_before, d.gone_at, e.body";

/// The columns of a delivery that is made.
const NEW_DELIVERY: &str = "event_id, webhook_id, application_id, type, status, reason, attempts, \
    step, retry, due_at, next_at, claim, give_up_at, deliver_before, created_at, completed_at";

/// The deliveries of a parameter, as table `n`.
fn new_deliveries(parameter: u8) -> String {
    format!(
        "jsonb_to_recordset(${parameter}::text::jsonb) AS n(event text, webhook text, status text,
           reason text, attempts bigint, due bigint, next bigint, claim text, \"giveUp\" bigint,
           created bigint, completed bigint)"
    )
}

fn publish() -> Statement {
    let deliveries = new_deliveries(13);
    Statement::new(
        "publish",
        &format!(
            "WITH event AS (
               INSERT INTO events (id, application_id, type, body, occurred_at, created_at,
                 deliver_before, idempotency_key, request_hash, size_bytes, sha256)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               ON CONFLICT DO NOTHING RETURNING *),
             fan_out AS (
               INSERT INTO fan_outs (event_id, application_id, type, created_at, due_at)
               SELECT id, application_id, type, created_at, $12 FROM event),
             delivery AS (
               INSERT INTO deliveries ({NEW_DELIVERY})
               SELECT e.id, n.webhook, e.application_id, e.type, n.status, n.reason, n.attempts,
                 n.attempts, n.attempts, n.due, n.next, n.claim, n.\"giveUp\", e.deliver_before,
                 n.created, n.completed
               FROM event AS e, {deliveries})
             SELECT count(*) FROM event"
        ),
    )
}

fn add_deliveries() -> Statement {
    let deliveries = new_deliveries(1);
    Statement::new(
        "add-deliveries",
        &format!(
            "INSERT INTO deliveries ({NEW_DELIVERY})
             SELECT e.id, n.webhook, e.application_id, e.type, n.status, n.reason, n.attempts,
               n.attempts, n.attempts, n.due, n.next, n.claim, n.\"giveUp\", e.deliver_before,
               n.created, n.completed
             FROM {deliveries} JOIN events AS e ON e.id = n.event
             ORDER BY e.id, n.webhook ON CONFLICT DO NOTHING"
        ),
    )
}

fn claim_fan_outs() -> Statement {
    Statement::new(
        "claim-fan-outs",
        "WITH due AS MATERIALIZED (
           SELECT event_id FROM fan_outs WHERE due_at <= $1 ORDER BY due_at LIMIT $3
           FOR UPDATE SKIP LOCKED)
         UPDATE fan_outs AS f SET due_at = $2 FROM due WHERE f.event_id = due.event_id
         RETURNING f.event_id, f.application_id, f.type, f.created_at,
           (SELECT coalesce(json_agg(d.webhook_id), '[]')::text FROM deliveries AS d
            WHERE d.event_id = f.event_id)",
    )
}

fn settle() -> Statement {
    Statement::new(
        "settle",
        "DELETE FROM fan_outs
         WHERE event_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)))",
    )
}

fn claim() -> Statement {
    let due = |retry: u8| {
        format!(
            "SELECT event_id, webhook_id, retry, next_at FROM deliveries
             WHERE retry = {retry} AND next_at <= $3
               AND (resend_until IS NULL OR resend_until <= $3)
               AND webhook_id <> ALL (ARRAY(SELECT jsonb_array_elements_text($6::text::jsonb)))
             ORDER BY next_at LIMIT $8 FOR UPDATE SKIP LOCKED"
        )
    };
    let (first, again) = (due(0), due(1));
    Statement::new(
        "claim",
        &format!(
            "WITH first AS MATERIALIZED ({first}), again AS MATERIALIZED ({again}),
             placed AS (
               SELECT event_id, webhook_id, retry, next_at, row_number() OVER (
                 PARTITION BY webhook_id ORDER BY retry * $7, next_at, event_id) AS place
               FROM (SELECT * FROM first UNION ALL SELECT * FROM again) AS due),
             chosen AS MATERIALIZED (
               SELECT event_id, webhook_id FROM placed
               WHERE place <= $5 - coalesce(($9::text::jsonb ->> webhook_id)::bigint, 0)
               ORDER BY retry * $7, next_at LIMIT $4)
             UPDATE deliveries AS d SET claim = $1, next_at = $2, attempts = d.attempts + 1,
               step = d.step + 1, retry = 1, resend_claim = NULL, resend_until = NULL,
               uncertain = CASE WHEN d.claim IS NOT NULL OR d.resend_claim IS NOT NULL
                 THEN 1 ELSE d.uncertain END
             FROM chosen AS c, events AS e
             WHERE d.event_id = c.event_id AND d.webhook_id = c.webhook_id AND e.id = d.event_id
             RETURNING {CLAIMED}"
        ),
    )
}

fn record() -> Statement {
    Statement::new(
        "record",
        "WITH record AS MATERIALIZED (
           SELECT r.*, coalesce(r.token IN (d.claim, d.resend_claim), false) AS held,
             e.body IS NULL AS erased
           FROM jsonb_to_recordset($1::text::jsonb) AS r(event text, webhook text, token text,
             number bigint, kind text, trigger text, started bigint, duration bigint, url text,
             fingerprints text, http bigint, error text, response text, truncated bigint, sha256 text,
             \"retryAfter\" bigint, \"nextAttempt\" bigint, status text, reason text, step bigint,
             next bigint, gone bigint, completed bigint)
           JOIN deliveries AS d ON d.event_id = r.event AND d.webhook_id = r.webhook
           JOIN events AS e ON e.id = r.event
           ORDER BY r.event, r.webhook),
         scheduled AS (
           UPDATE deliveries AS d SET status = r.status, reason = r.reason, step = r.step,
             due_at = coalesce(r.next, d.due_at), next_at = r.next, gone_at = r.gone,
             completed_at = r.completed, claim = NULL,
             uncertain = CASE WHEN r.started IS NULL THEN d.uncertain ELSE 0 END,
             attempts = CASE WHEN r.started IS NULL AND d.attempts = r.number
               THEN d.attempts - 1 ELSE d.attempts END
           FROM record AS r
           WHERE d.event_id = r.event AND d.webhook_id = r.webhook AND d.claim = r.token
             AND r.kind = 'scheduled'),
         resent AS (
           UPDATE deliveries AS d SET resend_claim = NULL, resend_until = NULL,
             status = coalesce(r.status, d.status),
             reason = CASE WHEN r.status IS NULL THEN d.reason END,
             next_at = CASE WHEN r.status IS NULL THEN d.next_at END,
             claim = CASE WHEN r.status IS NULL THEN d.claim END,
             completed_at = CASE WHEN d.status = r.status THEN d.completed_at
               ELSE coalesce(r.completed, d.completed_at) END
           FROM record AS r
           WHERE d.event_id = r.event AND d.webhook_id = r.webhook AND d.resend_claim = r.token
             AND r.kind = 'resent'),
         attempt AS (
           INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms, url,
             secret_fingerprints, http_status, error, response_body, response_truncated,
             response_sha256, retry_after, next_attempt_at)
           SELECT event, webhook, number, trigger, started, duration, url, fingerprints, http, error,
             CASE WHEN NOT erased THEN response END, truncated, sha256, \"retryAfter\", \"nextAttempt\"
           FROM record WHERE started IS NOT NULL
           ON CONFLICT DO NOTHING)
         SELECT event, webhook, held::int::bigint FROM record",
    )
}

/// The claims of parameter 1, as a table.
const HELD: &str = "jsonb_to_recordset($1::text::jsonb) AS h(event text, webhook text, token text, \
    number bigint)";

fn release() -> Statement {
    Statement::new(
        "release",
        &format!(
            "UPDATE deliveries AS d SET claim = NULL, next_at = $2, step = d.step - 1,
               attempts = CASE WHEN d.attempts = h.number THEN d.attempts - 1 ELSE d.attempts END,
               retry = CASE WHEN h.number > 1 THEN 1 ELSE 0 END
             FROM {HELD}
             WHERE d.event_id = h.event AND d.webhook_id = h.webhook AND d.claim = h.token"
        ),
    )
}

fn renew() -> Statement {
    Statement::new(
        "renew",
        &format!(
            "UPDATE deliveries AS d SET next_at = $2 FROM {HELD}
             WHERE d.event_id = h.event AND d.webhook_id = h.webhook AND d.claim = h.token
             RETURNING d.event_id, d.webhook_id"
        ),
    )
}

fn postpone() -> Statement {
    Statement::new(
        "postpone",
        "WITH due AS MATERIALIZED (
           SELECT event_id FROM deliveries
           WHERE webhook_id = $1 AND next_at IS NOT NULL AND next_at <= $2
           ORDER BY event_id LIMIT $5 FOR UPDATE SKIP LOCKED)
         UPDATE deliveries AS d SET claim = NULL,
           uncertain = CASE WHEN d.claim IS NOT NULL THEN 1 ELSE d.uncertain END,
           next_at = CASE WHEN d.event_id = (SELECT min(event_id) FROM due)
             THEN $3::bigint ELSE $4::bigint END
         WHERE d.event_id = ANY (ARRAY(SELECT event_id FROM due)) AND d.webhook_id = $1
         RETURNING d.event_id",
    )
}

fn resume() -> Statement {
    Statement::new(
        "resume",
        "WITH moved AS MATERIALIZED (
           SELECT event_id FROM deliveries
           WHERE webhook_id = $1 AND next_at IS NOT NULL AND next_at > $2 AND due_at <= $2
             AND claim IS NULL
           ORDER BY event_id LIMIT $3 FOR UPDATE SKIP LOCKED)
         UPDATE deliveries AS d SET next_at = $2
         WHERE d.event_id = ANY (ARRAY(SELECT event_id FROM moved)) AND d.webhook_id = $1
         RETURNING d.event_id",
    )
}

fn suppress() -> Statement {
    Statement::new(
        "suppress",
        "WITH pending AS MATERIALIZED (
           SELECT event_id FROM deliveries
           WHERE webhook_id = $1 AND event_id < $5 AND next_at IS NOT NULL
             AND (claim IS NULL OR next_at <= $2)
           ORDER BY event_id LIMIT $4 FOR UPDATE SKIP LOCKED)
         UPDATE deliveries AS d SET status = 'suppressed', reason = $3, completed_at = $2,
           claim = NULL, next_at = NULL
         WHERE d.event_id = ANY (ARRAY(SELECT event_id FROM pending)) AND d.webhook_id = $1
         RETURNING d.event_id",
    )
}

fn begin_resend() -> Statement {
    Statement::new(
        "begin-resend",
        &format!(
            "UPDATE deliveries AS d SET resend_claim = $3, resend_until = $4,
               attempts = d.attempts + CASE WHEN d.resend_claim = $3 THEN 0 ELSE 1 END
             FROM events AS e
             WHERE d.event_id = $1 AND d.webhook_id = $2 AND e.id = d.event_id
               AND e.body IS NOT NULL
               AND (d.resend_until IS NULL OR d.resend_until <= $5 OR d.resend_claim = $3)
               AND (d.claim IS NULL OR d.next_at <= $5)
             RETURNING {CLAIMED}, CASE WHEN d.next_at IS NULL THEN 0 ELSE 1 END"
        ),
    )
}

fn erase() -> Statement {
    Statement::new(
        "erase",
        "WITH event AS (
           UPDATE events SET body = NULL, erased_at = coalesce(erased_at, $3)
           WHERE id = $2 AND application_id = $1 RETURNING id),
         response AS (
           UPDATE attempts AS a SET response_body = NULL FROM event WHERE a.event_id = event.id),
         pending AS (
           UPDATE deliveries AS d SET status = 'suppressed', reason = 'dataErased',
             completed_at = $3, claim = NULL, next_at = NULL
           FROM event
           WHERE d.event_id = event.id AND d.next_at IS NOT NULL
             AND (d.claim IS NULL OR d.next_at <= $3))
         SELECT id FROM event",
    )
}

fn lock_deliveries() -> Statement {
    Statement::new(
        "lock-deliveries",
        "SELECT count(*) FROM (
           SELECT 1 FROM deliveries WHERE event_id = $1 ORDER BY webhook_id FOR UPDATE) AS locked",
    )
}

fn summaries() -> Statement {
    Statement::new(
        "summaries",
        "SELECT event_id, status, count(*) FROM deliveries
         WHERE event_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)))
         GROUP BY event_id, status",
    )
}
