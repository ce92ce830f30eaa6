//! The tables of recoveries, on both databases.
//!
//! What a recovery takes is written down, a row for each delivery in `recovery_items`. A row leaves in the
//! commit that queues or skips its delivery and counts that: so at any moment `matched` is `queued`, what
//! was skipped, and the rows that are left.

/// A webhook has one recovery that has not ended: the index `recoveries_active`.
///
/// `recovery_steps` is a view, as `records` is: what is inserted there is written by a trigger into the
/// three tables that it belongs to.
pub const SQLITE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS recoveries (
       id TEXT NOT NULL PRIMARY KEY,
       application_id TEXT NOT NULL,
       webhook_id TEXT NOT NULL,
       status TEXT NOT NULL,
       reason TEXT,
       window_from INTEGER NOT NULL,
       window_to INTEGER NOT NULL,
       include TEXT NOT NULL,
       types TEXT,
       missing_types TEXT,
       per_minute INTEGER NOT NULL,
       idempotency_key TEXT,
       request_hash TEXT,
       first_id TEXT NOT NULL,
       end_id TEXT NOT NULL,
       kind TEXT NOT NULL,
       position TEXT NOT NULL,
       matched INTEGER,
       queued INTEGER NOT NULL DEFAULT 0,
       succeeded INTEGER NOT NULL DEFAULT 0,
       pending INTEGER NOT NULL DEFAULT 0,
       expired INTEGER NOT NULL DEFAULT 0,
       data_erased INTEGER NOT NULL DEFAULT 0,
       event_deleted INTEGER NOT NULL DEFAULT 0,
       stopped INTEGER NOT NULL DEFAULT 0,
       due_at INTEGER NOT NULL,
       next_at INTEGER,
       claim TEXT,
       created_at INTEGER NOT NULL,
       completed_at INTEGER) WITHOUT ROWID",
    "CREATE UNIQUE INDEX IF NOT EXISTS recoveries_active ON recoveries (webhook_id)
       WHERE status IN ('matching', 'running')",
    "CREATE UNIQUE INDEX IF NOT EXISTS recoveries_idempotency
       ON recoveries (webhook_id, idempotency_key) WHERE idempotency_key IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS recoveries_due ON recoveries (next_at) WHERE next_at IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS recovery_items (
       recovery_id TEXT NOT NULL,
       event_id TEXT NOT NULL,
       PRIMARY KEY (recovery_id, event_id)) WITHOUT ROWID",
    "CREATE VIEW IF NOT EXISTS recovery_steps (recovery_id, event_id, webhook_id, outcome, now, due_at,
       give_up_at, next_at) AS
     SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "CREATE TRIGGER IF NOT EXISTS recovery_step INSTEAD OF INSERT ON recovery_steps
     BEGIN
       UPDATE deliveries SET status = 'pending', reason = NULL, trigger = 'recovery', step = 0,
         retry = 1, due_at = NEW.due_at, next_at = NEW.due_at, claim = NULL, gone_at = NULL,
         give_up_at = NEW.give_up_at, completed_at = NULL
       WHERE NEW.outcome = 'queued' AND event_id = NEW.event_id AND webhook_id = NEW.webhook_id;
       INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, trigger, attempts,
         step, retry, due_at, next_at, give_up_at, deliver_before, created_at)
       SELECT e.id, NEW.webhook_id, e.application_id, e.type, 'pending', 'recovery', 0, 0, 1,
         NEW.due_at, NEW.due_at, NEW.give_up_at, e.deliver_before, NEW.now
       FROM events AS e WHERE NEW.outcome = 'queued' AND e.id = NEW.event_id
       ON CONFLICT DO NOTHING;
       DELETE FROM recovery_items
       WHERE recovery_id = NEW.recovery_id AND event_id = NEW.event_id;
       UPDATE recoveries SET queued = queued + (NEW.outcome = 'queued'),
         succeeded = succeeded + (NEW.outcome = 'succeeded'),
         pending = pending + (NEW.outcome = 'pending'),
         expired = expired + (NEW.outcome = 'expired'),
         data_erased = data_erased + (NEW.outcome = 'dataErased'),
         event_deleted = event_deleted + (NEW.outcome = 'eventDeleted'),
         due_at = NEW.next_at, next_at = NEW.next_at, claim = NULL
       WHERE id = NEW.recovery_id;
     END",
];

/// As [`SQLITE`], but for the view: a statement on PostgreSQL changes several tables.
pub const POSTGRES: &str = "
    CREATE TABLE IF NOT EXISTS recoveries (
      id text COLLATE \"C\" NOT NULL PRIMARY KEY,
      application_id text COLLATE \"C\" NOT NULL,
      webhook_id text COLLATE \"C\" NOT NULL,
      status text COLLATE \"C\" NOT NULL,
      reason text,
      window_from bigint NOT NULL,
      window_to bigint NOT NULL,
      include text NOT NULL,
      types text,
      missing_types text,
      per_minute bigint NOT NULL,
      idempotency_key text COLLATE \"C\",
      request_hash text,
      first_id text COLLATE \"C\" NOT NULL,
      end_id text COLLATE \"C\" NOT NULL,
      kind text NOT NULL,
      position text COLLATE \"C\" NOT NULL,
      matched bigint,
      queued bigint NOT NULL DEFAULT 0,
      succeeded bigint NOT NULL DEFAULT 0,
      pending bigint NOT NULL DEFAULT 0,
      expired bigint NOT NULL DEFAULT 0,
      data_erased bigint NOT NULL DEFAULT 0,
      event_deleted bigint NOT NULL DEFAULT 0,
      stopped bigint NOT NULL DEFAULT 0,
      due_at bigint NOT NULL,
      next_at bigint,
      claim text COLLATE \"C\",
      created_at bigint NOT NULL,
      completed_at bigint);
    CREATE UNIQUE INDEX IF NOT EXISTS recoveries_active ON recoveries (webhook_id)
      WHERE status IN ('matching', 'running');
    CREATE UNIQUE INDEX IF NOT EXISTS recoveries_idempotency
      ON recoveries (webhook_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX IF NOT EXISTS recoveries_due ON recoveries (next_at) WHERE next_at IS NOT NULL;
    CREATE TABLE IF NOT EXISTS recovery_items (
      recovery_id text COLLATE \"C\" NOT NULL,
      event_id text COLLATE \"C\" NOT NULL,
      PRIMARY KEY (recovery_id, event_id));
";
