//! The tables on SQLite and libSQL.

/// Rows of events and attempts can be long, and those tables are ordinary ones. The others hold little
/// beside their keys, and are their own index.
///
/// A statement on SQLite changes one table. `publications` and `records` are tables that nobody keeps:
/// what is inserted there is written by a trigger into those it belongs to, in one commit.
pub const SQLITE_1: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS events_schema (version INTEGER NOT NULL PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS events (
       id TEXT NOT NULL PRIMARY KEY,
       application_id TEXT NOT NULL,
       type TEXT NOT NULL,
       occurred_at INTEGER NOT NULL,
       created_at INTEGER NOT NULL,
       deliver_before INTEGER,
       size_bytes INTEGER NOT NULL,
       sha256 TEXT NOT NULL,
       idempotency_key TEXT,
       request_hash TEXT,
       erased_at INTEGER,
       body TEXT)",
    "CREATE UNIQUE INDEX IF NOT EXISTS events_idempotency
       ON events (application_id, idempotency_key) WHERE idempotency_key IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS events_application ON events (application_id, id, type)",
    "CREATE TABLE IF NOT EXISTS fan_outs (
       event_id TEXT NOT NULL PRIMARY KEY,
       application_id TEXT NOT NULL,
       type TEXT NOT NULL,
       created_at INTEGER NOT NULL,
       due_at INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS fan_outs_due ON fan_outs (due_at)",
    "CREATE TABLE IF NOT EXISTS deliveries (
       event_id TEXT NOT NULL,
       webhook_id TEXT NOT NULL,
       application_id TEXT NOT NULL,
       type TEXT NOT NULL,
       status TEXT NOT NULL,
       reason TEXT,
       trigger TEXT NOT NULL DEFAULT 'schedule',
       attempts INTEGER NOT NULL,
       step INTEGER NOT NULL,
       retry INTEGER NOT NULL,
       due_at INTEGER,
       next_at INTEGER,
       claim TEXT,
       uncertain INTEGER NOT NULL DEFAULT 0,
       resend_claim TEXT,
       resend_until INTEGER,
       gone_at INTEGER,
       give_up_at INTEGER NOT NULL,
       deliver_before INTEGER,
       created_at INTEGER NOT NULL,
       completed_at INTEGER,
       PRIMARY KEY (event_id, webhook_id)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS deliveries_due
       ON deliveries (retry, next_at) WHERE next_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS deliveries_webhook ON deliveries (webhook_id, event_id, type)",
    "CREATE INDEX IF NOT EXISTS deliveries_pending
       ON deliveries (webhook_id, event_id) WHERE next_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS deliveries_unsuccessful ON deliveries (webhook_id, status, event_id)
       WHERE status IN ('failed', 'suppressed', 'expired')",
    "CREATE TABLE IF NOT EXISTS attempts (
       event_id TEXT NOT NULL,
       webhook_id TEXT NOT NULL,
       number INTEGER NOT NULL,
       trigger TEXT NOT NULL,
       started_at INTEGER NOT NULL,
       duration_ms INTEGER NOT NULL,
       url TEXT NOT NULL,
       secret_fingerprints TEXT NOT NULL,
       http_status INTEGER,
       error TEXT,
       response_truncated INTEGER NOT NULL,
       response_sha256 TEXT,
       retry_after INTEGER,
       next_attempt_at INTEGER,
       response_body TEXT,
       PRIMARY KEY (event_id, webhook_id, number))",
    "CREATE INDEX IF NOT EXISTS attempts_succeeded
       ON attempts (webhook_id, started_at) WHERE error IS NULL",
    "CREATE INDEX IF NOT EXISTS attempts_failed
       ON attempts (webhook_id, started_at, event_id) WHERE error IS NOT NULL",
    "CREATE TRIGGER IF NOT EXISTS events_erase AFTER UPDATE OF body ON events WHEN NEW.body IS NULL
     BEGIN
       UPDATE attempts SET response_body = NULL WHERE event_id = NEW.id;
       UPDATE deliveries SET status = 'suppressed', reason = 'dataErased',
         completed_at = NEW.erased_at, claim = NULL, next_at = NULL
       WHERE event_id = NEW.id AND next_at IS NOT NULL
         AND (claim IS NULL OR next_at <= NEW.erased_at);
     END",
    "CREATE TRIGGER IF NOT EXISTS events_forget AFTER DELETE ON events
     BEGIN
       DELETE FROM attempts WHERE event_id = OLD.id;
       DELETE FROM deliveries WHERE event_id = OLD.id;
       DELETE FROM fan_outs WHERE event_id = OLD.id;
     END",
    "CREATE VIEW IF NOT EXISTS publications (id, application_id, type, body, occurred_at, created_at,
       deliver_before, idempotency_key, request_hash, size_bytes, sha256, settle_at, deliveries) AS
     SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "CREATE TRIGGER IF NOT EXISTS publish INSTEAD OF INSERT ON publications
     BEGIN
       INSERT INTO events (id, application_id, type, body, occurred_at, created_at, deliver_before,
         idempotency_key, request_hash, size_bytes, sha256)
       VALUES (NEW.id, NEW.application_id, NEW.type, NEW.body, NEW.occurred_at, NEW.created_at,
         NEW.deliver_before, NEW.idempotency_key, NEW.request_hash, NEW.size_bytes, NEW.sha256)
       ON CONFLICT DO NOTHING;
       INSERT INTO fan_outs (event_id, application_id, type, created_at, due_at)
       SELECT e.id, e.application_id, e.type, e.created_at, NEW.settle_at
       FROM events AS e WHERE e.id = NEW.id ON CONFLICT DO NOTHING;
       INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, reason, attempts,
         step, retry, due_at, next_at, claim, give_up_at, deliver_before, created_at, completed_at)
       SELECT e.id, n.value ->> '$.webhook', e.application_id, e.type, n.value ->> '$.status',
         n.value ->> '$.reason', n.value ->> '$.attempts', n.value ->> '$.attempts',
         n.value ->> '$.attempts', n.value ->> '$.due', n.value ->> '$.next', n.value ->> '$.claim',
         n.value ->> '$.giveUp', e.deliver_before, n.value ->> '$.created', n.value ->> '$.completed'
       FROM json_each(NEW.deliveries) AS n JOIN events AS e ON e.id = NEW.id
       WHERE true ON CONFLICT DO NOTHING;
     END",
    "CREATE VIEW IF NOT EXISTS records (event_id, webhook_id, token, number, kind, trigger, started_at,
       duration_ms, url, secret_fingerprints, http_status, error, response_body, response_truncated,
       response_sha256, retry_after, next_attempt_at, status, reason, step, next_at, gone_at,
       completed_at, held) AS
     SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "CREATE TRIGGER IF NOT EXISTS record INSTEAD OF INSERT ON records
     BEGIN
       INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms, url,
         secret_fingerprints, http_status, error, response_body, response_truncated, response_sha256,
         retry_after, next_attempt_at)
       SELECT NEW.event_id, NEW.webhook_id, NEW.number, NEW.trigger, NEW.started_at, NEW.duration_ms,
         NEW.url, NEW.secret_fingerprints, NEW.http_status, NEW.error,
         iif(e.body IS NULL, NULL, NEW.response_body), NEW.response_truncated, NEW.response_sha256,
         NEW.retry_after, NEW.next_attempt_at
       FROM events AS e WHERE e.id = NEW.event_id AND NEW.started_at IS NOT NULL
       ON CONFLICT DO NOTHING;
       UPDATE deliveries SET status = NEW.status, reason = NEW.reason, step = NEW.step,
         due_at = coalesce(NEW.next_at, due_at), next_at = NEW.next_at, gone_at = NEW.gone_at,
         completed_at = NEW.completed_at, claim = NULL,
         uncertain = iif(NEW.started_at IS NULL, uncertain, 0),
         attempts = attempts - (NEW.started_at IS NULL AND attempts = NEW.number)
       WHERE event_id = NEW.event_id AND webhook_id = NEW.webhook_id AND claim = NEW.token
         AND NEW.kind = 'scheduled';
       UPDATE deliveries SET resend_claim = NULL, resend_until = NULL,
         status = coalesce(NEW.status, status),
         reason = iif(NEW.status IS NULL, reason, NULL),
         next_at = iif(NEW.status IS NULL, next_at, NULL),
         claim = iif(NEW.status IS NULL, claim, NULL),
         completed_at = iif(status = NEW.status, completed_at, coalesce(NEW.completed_at, completed_at))
       WHERE event_id = NEW.event_id AND webhook_id = NEW.webhook_id AND resend_claim = NEW.token
         AND NEW.kind = 'resent';
     END",
];
