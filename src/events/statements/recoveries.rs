//! Statements of recoveries.
//!
//! Each that adds to a recovery or takes from it is fenced by its claim and its status. On PostgreSQL it
//! locks the recovery's row first, so that who lost the claim, or was stopped, adds and takes nothing.

use super::{Dialect, Statement, statements};

statements! {
    /// The statements of recoveries in one dialect. The numbers are those of the parameters.
    RecoveryStatements
    /// 1 to 3 ids of the recovery, its application, its webhook; 4 and 5 the window; 6 what it takes and
    /// 7 of which types, 8 of which types where missing, each as JSON; 9 how many a minute; 10 and 11
    /// the `Idempotency-Key` and the request's hash; 12 and 13 between which events; 14 which kind is
    /// looked up first; 15 now; 16 the lease's end; 17 token. Returns a row if it is new.
    begin,
    /// 1 recovery; 2 webhook; 3 application.
    read,
    /// 1 webhook; 2 `Idempotency-Key`. Returns the recovery and its request's hash.
    with_key,
    /// 1 webhook. Returns the id of its recovery that has not ended.
    active,
    /// 1 token; 2 the lease's end; 3 now. Returns a recovery that is due.
    claim,
    /// 1 webhook; 2 status; 3 and 4 between which events; 5 how many to pass over. Returns the event after
    /// them.
    unsuccessful_end,
    /// 1 webhook; 2 status; 3 and 4 between which events; 5 types as JSON; 6 now.
    count_unsuccessful,
    /// As `count_unsuccessful`; 7 recovery; 8 token.
    add_unsuccessful,
    /// 1 application; 2 and 3 between which events; 4 how many to pass over. Returns the event after them.
    missing_end,
    /// 1 application; 2 webhook; 3 and 4 between which events; 5 types as JSON; 6 now.
    count_missing,
    /// As `count_missing`; 7 recovery; 8 token.
    add_missing,
    /// 1 recovery; 2 token; 3 kind; 4 event; 5 the lease's end. Returns a row if it is held.
    advance,
    /// 1 recovery; 2 token; 3 now. Returns how many it takes, if it is held.
    start,
    /// 1 recovery; 2 token; 3 now; 4 when deliveries are due; 5 when they are given up; 6 the least event
    /// to queue; 7 the pause until the next step; 8 how many. Returns for each what came of it.
    queue,
    /// 1 webhook; 2 now; 3 how many to look at. Returns how many of its deliveries are due.
    backlog,
    /// 1 recovery; 2 now. Returns a row if nothing was left of it.
    end,
    /// 1 recovery; 2 reason; 3 now. Returns a row if it had not ended.
    stop,
    /// 1 recovery; 2 how many.
    clear,
    /// 1 recovery; 2 token; 3 when it is due.
    put_off,
    /// 1 the least id to keep; 2 how many.
    forget,
}

/// What is read of a recovery.
const RECOVERY: &str = "id, webhook_id, status, reason, window_from, window_to, include, types, \
    per_minute, matched, queued, succeeded, pending, expired, data_erased, event_deleted, stopped, \
    created_at, completed_at";

/// How many deliveries a recovery has skipped so far.
const SKIPPED: &str = "succeeded - pending - expired - data_erased - event_deleted";

/// What a recovery still has to queue.
const ITEMS: &str = "SELECT count(*) FROM recovery_items AS i WHERE i.recovery_id = recoveries.id";

/// The statements for such a database.
pub fn statements(dialect: Dialect) -> RecoveryStatements {
    let shared = |name, sql: &str| Statement::shared(dialect, name, sql);
    let unsuccessful = unsuccessful(dialect);
    let missing = missing(dialect);
    RecoveryStatements {
        begin: shared(
            "begin-recovery",
            "INSERT INTO recoveries (id, application_id, webhook_id, status, window_from, window_to,
               include, types, missing_types, per_minute, idempotency_key, request_hash, first_id,
               end_id, kind, position, due_at, next_at, claim, created_at)
             VALUES (?1, ?2, ?3, 'matching', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?12, ?15,
               ?16, ?17, ?15)
             ON CONFLICT DO NOTHING RETURNING id",
        ),
        read: shared(
            "recovery",
            &format!(
                "SELECT {RECOVERY} FROM recoveries
                 WHERE id = ?1 AND webhook_id = ?2 AND application_id = ?3"
            ),
        ),
        with_key: shared(
            "recovery-with-key",
            &format!(
                "SELECT {RECOVERY}, request_hash FROM recoveries
                 WHERE webhook_id = ?1 AND idempotency_key = ?2"
            ),
        ),
        active: shared(
            "active-recovery",
            "SELECT id FROM recoveries WHERE webhook_id = ?1 AND status IN ('matching', 'running')",
        ),
        claim: claim(dialect),
        unsuccessful_end: shared(
            "unsuccessful-end",
            "SELECT event_id FROM deliveries
             WHERE webhook_id = ?1 AND status = ?2 AND status IN ('failed', 'suppressed', 'expired')
               AND event_id >= ?3 AND event_id < ?4
             ORDER BY event_id LIMIT 1 OFFSET ?5",
        ),
        count_unsuccessful: shared(
            "count-unsuccessful",
            &format!("SELECT count(*) FROM {unsuccessful}"),
        ),
        add_unsuccessful: add(dialect, "add-unsuccessful", "d.event_id", &unsuccessful),
        missing_end: shared(
            "missing-end",
            "SELECT id FROM events WHERE application_id = ?1 AND id >= ?2 AND id < ?3
             ORDER BY id LIMIT 1 OFFSET ?4",
        ),
        count_missing: shared("count-missing", &format!("SELECT count(*) FROM {missing}")),
        add_missing: add(dialect, "add-missing", "e.id", &missing),
        advance: shared(
            "advance-recovery",
            "UPDATE recoveries SET kind = ?3, position = ?4, next_at = ?5
             WHERE id = ?1 AND claim = ?2 AND status = 'matching' RETURNING id",
        ),
        start: shared(
            "start-recovery",
            &format!(
                "UPDATE recoveries SET status = 'running', matched = ({ITEMS}), due_at = ?3,
                   next_at = ?3, claim = NULL
                 WHERE id = ?1 AND claim = ?2 AND status = 'matching' RETURNING matched"
            ),
        ),
        queue: queue(dialect),
        backlog: shared(
            "backlog",
            "SELECT count(*) FROM (
               SELECT next_at FROM deliveries WHERE webhook_id = ?1 AND next_at IS NOT NULL
               ORDER BY event_id DESC LIMIT ?3) AS newest
             WHERE next_at <= ?2",
        ),
        end: shared(
            "end-recovery",
            "UPDATE recoveries SET status = CASE WHEN status = 'running' THEN 'done' ELSE status END,
               completed_at = coalesce(completed_at, ?2), next_at = NULL, claim = NULL
             WHERE id = ?1 AND status IN ('running', 'stopped') AND NOT EXISTS (
               SELECT 1 FROM recovery_items AS i WHERE i.recovery_id = ?1)
             RETURNING id",
        ),
        stop: shared(
            "stop-recovery",
            &format!(
                "UPDATE recoveries SET status = 'stopped', reason = ?2, completed_at = ?3,
                   next_at = ?3, claim = NULL, matched = coalesce(matched, ({ITEMS})),
                   stopped = coalesce(matched, ({ITEMS})) - queued - {SKIPPED}
                 WHERE id = ?1 AND status IN ('matching', 'running') RETURNING id"
            ),
        ),
        clear: shared(
            "clear-recovery",
            "DELETE FROM recovery_items WHERE recovery_id = ?1 AND event_id IN (
               SELECT i.event_id FROM recovery_items AS i WHERE i.recovery_id = ?1
               ORDER BY i.event_id LIMIT ?2)
               AND EXISTS (SELECT 1 FROM recoveries AS r WHERE r.id = ?1 AND r.status = 'stopped')
             RETURNING event_id",
        ),
        put_off: shared(
            "put-off-recovery",
            "UPDATE recoveries SET next_at = ?3, claim = NULL WHERE id = ?1 AND claim = ?2",
        ),
        forget: shared(
            "forget-recoveries",
            "DELETE FROM recoveries WHERE id IN (
               SELECT id FROM recoveries WHERE id < ?1 AND next_at IS NULL ORDER BY id LIMIT ?2)
             RETURNING id",
        ),
    }
}

/// Whether `column` is one of the types of parameter 5; without it, every type is.
fn types(dialect: Dialect, column: &str) -> String {
    let list = match dialect {
        Dialect::Sqlite => "IN (SELECT value FROM json_each(?5))",
        Dialect::Postgres => "= ANY (ARRAY(SELECT jsonb_array_elements_text(?5::text::jsonb)))",
    };
    format!("(CAST(?5 AS text) IS NULL OR {column} {list})")
}

/// The deliveries `d` that a recovery takes of those that failed or were suppressed: with their data, and
/// not too late. The offset keeps PostgreSQL from joining all events there are.
fn unsuccessful(dialect: Dialect) -> String {
    let types = types(dialect, "d.type");
    format!(
        "deliveries AS d
         WHERE d.webhook_id = ?1 AND d.status = ?2
           AND d.status IN ('failed', 'suppressed', 'expired')
           AND d.event_id >= ?3 AND d.event_id < ?4 AND {types}
           AND (d.deliver_before IS NULL OR d.deliver_before > ?6)
           AND EXISTS (
             SELECT 1 FROM events AS e WHERE e.id = d.event_id AND e.erased_at IS NULL
             LIMIT 1 OFFSET 0)"
    )
}

/// The events `e` that the webhook has no delivery of, likewise.
fn missing(dialect: Dialect) -> String {
    let types = types(dialect, "e.type");
    format!(
        "events AS e
         WHERE e.application_id = ?1 AND e.id >= ?3 AND e.id < ?4 AND {types}
           AND e.erased_at IS NULL AND (e.deliver_before IS NULL OR e.deliver_before > ?6)
           AND NOT EXISTS (
             SELECT 1 FROM deliveries AS d WHERE d.event_id = e.id AND d.webhook_id = ?2
             LIMIT 1 OFFSET 0)"
    )
}

/// Writes down `what`, by its `id`, for recovery 7 that is held by token 8.
fn add(dialect: Dialect, name: &'static str, id: &str, what: &str) -> Statement {
    let held = "SELECT r.id FROM recoveries AS r
        WHERE r.id = ?7 AND r.claim = ?8 AND r.status = 'matching'";
    let sql = match dialect {
        Dialect::Sqlite => format!(
            "INSERT INTO recovery_items (recovery_id, event_id)
             SELECT ?7, {id} FROM {what} AND EXISTS ({held}) ON CONFLICT DO NOTHING"
        ),
        Dialect::Postgres => format!(
            "WITH held AS MATERIALIZED ({held} FOR UPDATE),
             found AS (SELECT {id} AS event_id FROM {what})
             INSERT INTO recovery_items (recovery_id, event_id)
             SELECT held.id, found.event_id FROM held CROSS JOIN found ON CONFLICT DO NOTHING"
        ),
    };
    Statement::shared(dialect, name, &sql)
}

fn claim(dialect: Dialect) -> Statement {
    let claimed =
        format!("{RECOVERY}, application_id, missing_types, first_id, end_id, kind, position");
    let sql = match dialect {
        Dialect::Sqlite => format!(
            "UPDATE recoveries SET claim = ?1, next_at = ?2 WHERE id IN (
               SELECT id FROM recoveries WHERE next_at <= ?3 ORDER BY next_at LIMIT 1)
             RETURNING {claimed}"
        ),
        Dialect::Postgres => format!(
            "WITH due AS MATERIALIZED (
               SELECT id AS due_id FROM recoveries WHERE next_at <= ?3 ORDER BY next_at LIMIT 1
               FOR UPDATE SKIP LOCKED)
             UPDATE recoveries SET claim = ?1, next_at = ?2 FROM due WHERE id = due_id
             RETURNING {claimed}"
        ),
    };
    Statement::shared(dialect, "claim-recovery", &sql)
}

/// Deliveries are due again once they are queued, and wait behind first attempts (`retry`). One that
/// somebody resends meanwhile is not claimed before that has ended, and has ended with it if it succeeds.
fn queue(dialect: Dialect) -> Statement {
    match dialect {
        Dialect::Sqlite => Statement::new(
            "queue-recovery",
            "INSERT INTO recovery_steps (recovery_id, event_id, webhook_id, outcome, now, due_at,
               give_up_at, next_at)
             SELECT r.id, i.event_id, r.webhook_id,
               CASE WHEN e.id IS NULL OR e.id < ?6 THEN 'eventDeleted'
                 WHEN e.erased_at IS NOT NULL THEN 'dataErased'
                 WHEN e.deliver_before <= ?3 THEN 'expired'
                 WHEN d.status IS NULL OR d.status IN ('failed', 'suppressed') THEN 'queued'
                 ELSE d.status END,
               ?3, ?4, ?5, max(r.due_at + ?7, ?3)
             FROM recoveries AS r CROSS JOIN recovery_items AS i ON i.recovery_id = r.id
             LEFT JOIN events AS e ON e.id = i.event_id
             LEFT JOIN deliveries AS d ON d.event_id = i.event_id AND d.webhook_id = r.webhook_id
             WHERE r.id = ?1 AND r.claim = ?2 AND r.status = 'running'
             ORDER BY i.event_id LIMIT ?8
             RETURNING outcome",
        ),
        // Events are held against being deleted meanwhile, and deliveries against being changed. What
        // somebody else holds waits for the next step, and so does what another one adds just now.
        Dialect::Postgres => Statement::new(
            "queue-recovery",
            "WITH held AS MATERIALIZED (
               SELECT id, webhook_id FROM recoveries
               WHERE id = $1 AND claim = $2 AND status = 'running' FOR UPDATE),
             item AS MATERIALIZED (
               SELECT i.event_id FROM held AS h JOIN recovery_items AS i ON i.recovery_id = h.id
               ORDER BY i.event_id LIMIT $8),
             event AS MATERIALIZED (
               SELECT id, application_id, type, erased_at, deliver_before FROM events
               WHERE id = ANY (ARRAY(SELECT event_id FROM item)) ORDER BY id
               FOR KEY SHARE SKIP LOCKED),
             delivery AS MATERIALIZED (
               SELECT event_id, status FROM deliveries
               WHERE event_id = ANY (ARRAY(SELECT id FROM event))
                 AND webhook_id = (SELECT webhook_id FROM held) ORDER BY event_id
               FOR UPDATE SKIP LOCKED),
             decided AS MATERIALIZED (
               SELECT i.event_id,
                 CASE WHEN e.id IS NULL AND EXISTS (
                     SELECT 1 FROM events AS x WHERE x.id = i.event_id LIMIT 1 OFFSET 0) THEN 'held'
                   WHEN e.id IS NULL OR e.id < $6 THEN 'eventDeleted'
                   WHEN e.erased_at IS NOT NULL THEN 'dataErased'
                   WHEN e.deliver_before <= $3 THEN 'expired'
                   WHEN d.status IN ('failed', 'suppressed') THEN 'again'
                   WHEN d.status IS NOT NULL THEN d.status
                   WHEN EXISTS (
                     SELECT 1 FROM deliveries AS x WHERE x.event_id = i.event_id
                       AND x.webhook_id = (SELECT webhook_id FROM held) LIMIT 1 OFFSET 0) THEN 'held'
                   ELSE 'missing' END AS outcome
               FROM item AS i LEFT JOIN event AS e ON e.id = i.event_id
               LEFT JOIN delivery AS d ON d.event_id = i.event_id),
             again AS (
               UPDATE deliveries AS d SET status = 'pending', reason = NULL, trigger = 'recovery',
                 step = 0, retry = 1, due_at = $4, next_at = $4, claim = NULL, gone_at = NULL,
                 give_up_at = $5, completed_at = NULL
               WHERE d.event_id = ANY (ARRAY(
                   SELECT event_id FROM decided WHERE outcome = 'again'))
                 AND d.webhook_id = (SELECT webhook_id FROM held)
               RETURNING d.event_id),
             added AS (
               INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, trigger,
                 attempts, step, retry, due_at, next_at, give_up_at, deliver_before, created_at)
               SELECT e.id, h.webhook_id, e.application_id, e.type, 'pending', 'recovery', 0, 0, 1,
                 $4, $4, $5, e.deliver_before, $3
               FROM held AS h, event AS e JOIN decided AS o ON o.event_id = e.id
               WHERE o.outcome = 'missing' ORDER BY e.id ON CONFLICT DO NOTHING
               RETURNING event_id),
             settled AS MATERIALIZED (
               SELECT event_id, 'queued' AS outcome FROM again
               UNION ALL SELECT event_id, 'queued' FROM added
               UNION ALL SELECT event_id, outcome FROM decided
                 WHERE outcome NOT IN ('again', 'missing', 'held')),
             taken AS (
               DELETE FROM recovery_items AS i
               WHERE i.recovery_id = $1
                 AND i.event_id = ANY (ARRAY(SELECT event_id FROM settled))),
             counted AS (
               UPDATE recoveries AS r SET
                 queued = r.queued + c.queued, succeeded = r.succeeded + c.succeeded,
                 pending = r.pending + c.pending, expired = r.expired + c.expired,
                 data_erased = r.data_erased + c.erased,
                 event_deleted = r.event_deleted + c.deleted,
                 due_at = greatest(r.due_at + $7, $3), next_at = greatest(r.due_at + $7, $3),
                 claim = NULL
               FROM held AS h, (
                 SELECT count(*) FILTER (WHERE outcome = 'queued') AS queued,
                   count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
                   count(*) FILTER (WHERE outcome = 'pending') AS pending,
                   count(*) FILTER (WHERE outcome = 'expired') AS expired,
                   count(*) FILTER (WHERE outcome = 'dataErased') AS erased,
                   count(*) FILTER (WHERE outcome = 'eventDeleted') AS deleted
                 FROM settled) AS c
               WHERE r.id = h.id)
             SELECT outcome FROM settled",
        ),
    }
}
