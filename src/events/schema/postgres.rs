//! The tables on PostgreSQL.

/// Text compares by its bytes, as on SQLite and in cursors. All numbers are `bigint` and times
/// milliseconds, since Spin's interface reads other types only in part.
pub const POSTGRES_1: &str = "
    CREATE TABLE IF NOT EXISTS events_schema (version bigint NOT NULL PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS events (
      id text COLLATE \"C\" NOT NULL PRIMARY KEY,
      application_id text COLLATE \"C\" NOT NULL,
      type text COLLATE \"C\" NOT NULL,
      occurred_at bigint NOT NULL,
      created_at bigint NOT NULL,
      deliver_before bigint,
      size_bytes bigint NOT NULL,
      sha256 text NOT NULL,
      idempotency_key text COLLATE \"C\",
      request_hash text,
      erased_at bigint,
      body text);
    CREATE UNIQUE INDEX IF NOT EXISTS events_idempotency
      ON events (application_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX IF NOT EXISTS events_application ON events (application_id, id, type);
    CREATE TABLE IF NOT EXISTS fan_outs (
      event_id text COLLATE \"C\" NOT NULL PRIMARY KEY REFERENCES events (id) ON DELETE CASCADE,
      application_id text COLLATE \"C\" NOT NULL,
      type text COLLATE \"C\" NOT NULL,
      created_at bigint NOT NULL,
      due_at bigint NOT NULL);
    CREATE INDEX IF NOT EXISTS fan_outs_due ON fan_outs (due_at);
    CREATE TABLE IF NOT EXISTS deliveries (
      event_id text COLLATE \"C\" NOT NULL REFERENCES events (id) ON DELETE CASCADE,
      webhook_id text COLLATE \"C\" NOT NULL,
      application_id text COLLATE \"C\" NOT NULL,
      type text COLLATE \"C\" NOT NULL,
      status text COLLATE \"C\" NOT NULL,
      reason text,
      trigger text NOT NULL DEFAULT 'schedule',
      attempts bigint NOT NULL,
      step bigint NOT NULL,
      retry bigint NOT NULL,
      due_at bigint,
      next_at bigint,
      claim text COLLATE \"C\",
      uncertain bigint NOT NULL DEFAULT 0,
      resend_claim text COLLATE \"C\",
      resend_until bigint,
      gone_at bigint,
      give_up_at bigint NOT NULL,
      deliver_before bigint,
      created_at bigint NOT NULL,
      completed_at bigint,
      PRIMARY KEY (event_id, webhook_id));
    CREATE INDEX IF NOT EXISTS deliveries_due
      ON deliveries (retry, next_at) WHERE next_at IS NOT NULL;
    CREATE INDEX IF NOT EXISTS deliveries_webhook ON deliveries (webhook_id, event_id, type);
    CREATE INDEX IF NOT EXISTS deliveries_pending
      ON deliveries (webhook_id, event_id) WHERE next_at IS NOT NULL;
    CREATE INDEX IF NOT EXISTS deliveries_unsuccessful
      ON deliveries (webhook_id, status, event_id)
      WHERE status IN ('failed', 'suppressed', 'expired');
    CREATE TABLE IF NOT EXISTS attempts (
      event_id text COLLATE \"C\" NOT NULL,
      webhook_id text COLLATE \"C\" NOT NULL,
      number bigint NOT NULL,
      trigger text NOT NULL,
      started_at bigint NOT NULL,
      duration_ms bigint NOT NULL,
      url text NOT NULL,
      secret_fingerprints text NOT NULL,
      http_status bigint,
      error text,
      response_truncated bigint NOT NULL,
      response_sha256 text,
      retry_after bigint,
      next_attempt_at bigint,
      response_body text,
      PRIMARY KEY (event_id, webhook_id, number),
      FOREIGN KEY (event_id, webhook_id) REFERENCES deliveries ON DELETE CASCADE);
    CREATE INDEX IF NOT EXISTS attempts_succeeded
      ON attempts (webhook_id, started_at) WHERE error IS NULL;
    CREATE INDEX IF NOT EXISTS attempts_failed
      ON attempts (webhook_id, started_at, event_id) WHERE error IS NOT NULL;
";
