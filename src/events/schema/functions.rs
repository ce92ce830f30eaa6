//! The statements of every event, kept by PostgreSQL as functions.
//!
//! Spin prepares each statement anew, so PostgreSQL would read and plan it again and again: of `record`
//! that was four fifths of the processor time. A function's plans are kept as long as the connection is.
//!
//! A plan may have been made when the tables were empty, and last while they grow. So what a function
//! finds rows by is always an index: rows that it knows are changed one by one, each by its key, and no
//! table is scanned (`enable_seqscan`, `enable_bitmapscan`).
//!
//! A function is never changed, since an earlier release may call it: a later version adds another one,
//! whose name ends with its number. `$1` and so on are as [`Statements`](super::super::statements) says.

/// The functions.
pub const POSTGRES: &str = r#"
    CREATE OR REPLACE FUNCTION webhooks_publish_4(text, text, text, text, bigint, bigint, bigint,
      text, text, bigint, text, bigint, text)
    RETURNS TABLE (stored bigint)
    LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $function$
      #variable_conflict use_column
      BEGIN
        RETURN QUERY
          WITH event AS (
            INSERT INTO events (id, application_id, type, body, occurred_at, created_at,
              deliver_before, idempotency_key, request_hash, size_bytes, sha256)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            ON CONFLICT DO NOTHING RETURNING *),
          fan_out AS (
            INSERT INTO fan_outs (event_id, application_id, type, created_at, due_at)
            SELECT id, application_id, type, created_at, $12 FROM event),
          delivery AS (
            INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, reason,
              attempts, step, retry, due_at, next_at, claim, give_up_at, deliver_before,
              created_at, completed_at)
            SELECT e.id, n.webhook, e.application_id, e.type, n.status, n.reason, n.attempts,
              n.attempts, n.attempts, n.due, n.next, n.claim, n."giveUp", e.deliver_before,
              n.created, n.completed
            FROM event AS e, jsonb_to_recordset($13::text::jsonb) AS n(event text, webhook text,
              status text, reason text, attempts bigint, due bigint, next bigint, claim text,
              "giveUp" bigint, created bigint, completed bigint))
          SELECT count(*) FROM event;
      END
    $function$;

    CREATE OR REPLACE FUNCTION webhooks_claim_fan_outs_4(bigint, bigint, bigint)
    RETURNS TABLE (event_id text, application_id text, type text, created_at bigint,
      recipients text)
    LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $function$
      #variable_conflict use_column
      DECLARE
        due record;
      BEGIN
        FOR due IN
          SELECT event_id FROM fan_outs WHERE due_at <= $1 ORDER BY due_at LIMIT $3
          FOR UPDATE SKIP LOCKED
        LOOP
          RETURN QUERY
            UPDATE fan_outs AS f SET due_at = $2 WHERE f.event_id = due.event_id
            RETURNING f.event_id, f.application_id, f.type, f.created_at,
              (SELECT coalesce(json_agg(d.webhook_id), '[]')::text FROM deliveries AS d
               WHERE d.event_id = f.event_id);
        END LOOP;
      END
    $function$;

    CREATE OR REPLACE FUNCTION webhooks_settle_4(text)
    RETURNS TABLE (settled bigint)
    LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $function$
      #variable_conflict use_column
      BEGIN
        RETURN QUERY
          WITH settled AS (
            DELETE FROM fan_outs
            WHERE event_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)))
            RETURNING 1)
          SELECT count(*) FROM settled;
      END
    $function$;

    CREATE OR REPLACE FUNCTION webhooks_claim_4(text, bigint, bigint, bigint, bigint, text, bigint,
      bigint, text)
    RETURNS TABLE (event_id text, webhook_id text, attempts bigint, application_id text,
      type text, trigger text, uncertain bigint, step bigint, give_up_at bigint,
      deliver_before bigint, gone_at bigint, body text)
    LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $function$
      #variable_conflict use_column
      DECLARE
        chosen record;
      BEGIN
        FOR chosen IN
          WITH first AS MATERIALIZED (
            SELECT event_id, webhook_id, retry, next_at FROM deliveries
            WHERE retry = 0 AND next_at <= $3
              AND (resend_until IS NULL OR resend_until <= $3)
              AND webhook_id <> ALL (ARRAY(SELECT jsonb_array_elements_text($6::text::jsonb)))
            ORDER BY next_at LIMIT $8 FOR UPDATE SKIP LOCKED),
          again AS MATERIALIZED (
            SELECT event_id, webhook_id, retry, next_at FROM deliveries
            WHERE retry = 1 AND next_at <= $3
              AND (resend_until IS NULL OR resend_until <= $3)
              AND webhook_id <> ALL (ARRAY(SELECT jsonb_array_elements_text($6::text::jsonb)))
            ORDER BY next_at LIMIT $8 FOR UPDATE SKIP LOCKED),
          placed AS (
            SELECT event_id, webhook_id, retry, next_at, row_number() OVER (
              PARTITION BY webhook_id ORDER BY retry * $7, next_at, event_id) AS place
            FROM (SELECT * FROM first UNION ALL SELECT * FROM again) AS due)
          SELECT event_id, webhook_id FROM placed
          WHERE place <= $5 - coalesce(($9::text::jsonb ->> webhook_id)::bigint, 0)
          ORDER BY retry * $7, next_at LIMIT $4
        LOOP
          RETURN QUERY
            UPDATE deliveries AS d SET claim = $1, next_at = $2, attempts = d.attempts + 1,
              step = d.step + 1, retry = 1, resend_claim = NULL, resend_until = NULL,
              uncertain = CASE WHEN d.claim IS NOT NULL OR d.resend_claim IS NOT NULL
                THEN 1 ELSE d.uncertain END
            FROM events AS e
            WHERE d.event_id = chosen.event_id AND d.webhook_id = chosen.webhook_id
              AND e.id = chosen.event_id
            RETURNING d.event_id, d.webhook_id, d.attempts, d.application_id, d.type, d.trigger,
              d.uncertain, d.step, d.give_up_at, d.deliver_before, d.gone_at, e.body;
        END LOOP;
      END
    $function$;

    CREATE OR REPLACE FUNCTION webhooks_record_4(text)
    RETURNS TABLE (event text, webhook text, held bigint)
    LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $function$
      #variable_conflict use_column
      DECLARE
        r record;
        claims record;
        erased boolean;
      BEGIN
        FOR r IN
          SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS given(event text, webhook text,
            token text, number bigint, kind text, trigger text, started bigint, duration bigint,
            url text, fingerprints text, http bigint, error text, response text, truncated bigint,
            sha256 text, "retryAfter" bigint, "nextAttempt" bigint, status text, reason text,
            step bigint, next bigint, gone bigint, completed bigint)
          ORDER BY event, webhook
        LOOP
          /* Whoever erases the event waits for the delivery, and erases what was recorded. */
          SELECT d.claim, d.resend_claim INTO claims FROM deliveries AS d
          WHERE d.event_id = r.event AND d.webhook_id = r.webhook FOR NO KEY UPDATE;
          CONTINUE WHEN NOT FOUND;
          SELECT e.body IS NULL INTO erased FROM events AS e WHERE e.id = r.event;
          IF r.kind = 'scheduled' THEN
            UPDATE deliveries AS d SET status = r.status, reason = r.reason, step = r.step,
              due_at = coalesce(r.next, d.due_at), next_at = r.next, gone_at = r.gone,
              completed_at = r.completed, claim = NULL,
              uncertain = CASE WHEN r.started IS NULL THEN d.uncertain ELSE 0 END,
              attempts = CASE WHEN r.started IS NULL AND d.attempts = r.number
                THEN d.attempts - 1 ELSE d.attempts END
            WHERE d.event_id = r.event AND d.webhook_id = r.webhook AND d.claim = r.token;
          ELSE
            UPDATE deliveries AS d SET resend_claim = NULL, resend_until = NULL,
              status = coalesce(r.status, d.status),
              reason = CASE WHEN r.status IS NULL THEN d.reason END,
              next_at = CASE WHEN r.status IS NULL THEN d.next_at END,
              claim = CASE WHEN r.status IS NULL THEN d.claim END,
              completed_at = CASE WHEN d.status = r.status THEN d.completed_at
                ELSE coalesce(r.completed, d.completed_at) END
            WHERE d.event_id = r.event AND d.webhook_id = r.webhook AND d.resend_claim = r.token;
          END IF;
          IF r.started IS NOT NULL THEN
            INSERT INTO attempts (event_id, webhook_id, number, trigger, started_at, duration_ms,
              url, secret_fingerprints, http_status, error, response_body, response_truncated,
              response_sha256, retry_after, next_attempt_at)
            VALUES (r.event, r.webhook, r.number, r.trigger, r.started, r.duration, r.url,
              r.fingerprints, r.http, r.error, CASE WHEN NOT erased THEN r.response END,
              r.truncated, r.sha256, r."retryAfter", r."nextAttempt")
            ON CONFLICT DO NOTHING;
          END IF;
          event := r.event;
          webhook := r.webhook;
          held := CASE WHEN r.token IN (claims.claim, claims.resend_claim) THEN 1 ELSE 0 END;
          RETURN NEXT;
        END LOOP;
      END
    $function$;
"#;
