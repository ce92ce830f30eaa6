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
        publish: function("publish", 13),
        published_before: shared.published_before(),
        add_deliveries: add_deliveries(),
        claim_fan_outs: function("claim-fan-outs", 3),
        settle: function("settle", 1),
        claim: function("claim", 9),
        record: function("record", 1),
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

/// The statement of that name, which the database keeps as a function of so many parameters.
fn function(name: &'static str, parameters: u8) -> Statement {
    let given: Vec<String> = (1..=parameters)
        .map(|number| format!("${number}"))
        .collect();
    let function = name.replace('-', "_");
    let sql = format!("SELECT * FROM webhooks_{function}_4({})", given.join(", "));
    Statement::new(name, &sql)
}

fn add_deliveries() -> Statement {
    Statement::new(
        "add-deliveries",
        "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, reason, attempts,
           step, retry, due_at, next_at, claim, give_up_at, deliver_before, created_at, completed_at)
         SELECT e.id, n.webhook, e.application_id, e.type, n.status, n.reason, n.attempts,
           n.attempts, n.attempts, n.due, n.next, n.claim, n.\"giveUp\", e.deliver_before,
           n.created, n.completed
         FROM jsonb_to_recordset($1::text::jsonb) AS n(event text, webhook text, status text,
           reason text, attempts bigint, due bigint, next bigint, claim text, \"giveUp\" bigint,
           created bigint, completed bigint)
         JOIN events AS e ON e.id = n.event
         ORDER BY e.id, n.webhook ON CONFLICT DO NOTHING",
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
        "UPDATE deliveries AS d SET resend_claim = $3, resend_until = $4,
           attempts = d.attempts + CASE WHEN d.resend_claim = $3 THEN 0 ELSE 1 END
         FROM events AS e
         WHERE d.event_id = $1 AND d.webhook_id = $2 AND e.id = d.event_id
           AND e.body IS NOT NULL
           AND (d.resend_until IS NULL OR d.resend_until <= $5 OR d.resend_claim = $3)
           AND (d.claim IS NULL OR d.next_at <= $5)
         RETURNING d.event_id, d.webhook_id, d.attempts, d.application_id, d.type, d.trigger,
           d.uncertain, d.step, d.give_up_at, d.deliver_before, d.gone_at, e.body,
           CASE WHEN d.next_at IS NULL THEN 0 ELSE 1 END",
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
