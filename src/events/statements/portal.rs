//! Statements of the portal's codes, which both databases understand.

use super::{Dialect, Statement, statements};

statements! {
    /// The statements of the portal's codes in one dialect. The numbers are those of the parameters.
    PortalStatements
    /// 1 hash; 2 application; 3 session; 4 capabilities; 5 generation; 6 when the session ends; 7 now; 8
    /// when the code ends; 9 since when codes of the application are counted; 10 how many there may be.
    /// Returns a row if it is kept.
    keep,
    /// 1 hash; 2 now. Returns the session of a code that can be exchanged.
    find,
    /// 1 hash; 2 claim; 3 now. Returns a row if the code is exchanged by this claim.
    take,
    /// 1 before when; 2 how many.
    forget,
}

/// The statements for such a database.
pub fn statements(dialect: Dialect) -> PortalStatements {
    let shared = |name, sql: &str| Statement::shared(dialect, name, sql);
    PortalStatements {
        keep: shared(
            "keep-portal-code",
            "INSERT INTO portal_codes (hash, application_id, session_id, capabilities, generation,
               session_expires_at, created_at, expires_at)
             SELECT CAST(?1 AS text), CAST(?2 AS text), CAST(?3 AS text), CAST(?4 AS text),
               CAST(?5 AS text), CAST(?6 AS bigint), CAST(?7 AS bigint), CAST(?8 AS bigint)
             WHERE (
               SELECT count(*) FROM (
                 SELECT 1 FROM portal_codes
                 WHERE application_id = CAST(?2 AS text) AND created_at > ?9
                   AND hash <> CAST(?1 AS text)
                 LIMIT ?10) AS lately) < CAST(?10 AS bigint)
             ON CONFLICT (hash) DO UPDATE SET hash = excluded.hash
             RETURNING hash",
        ),
        find: shared(
            "find-portal-code",
            "SELECT application_id, session_id, capabilities, generation, session_expires_at
             FROM portal_codes WHERE hash = ?1 AND expires_at > ?2 AND claim IS NULL",
        ),
        take: shared(
            "take-portal-code",
            "UPDATE portal_codes SET claim = ?2
             WHERE hash = ?1 AND expires_at > ?3 AND (claim IS NULL OR claim = ?2)
             RETURNING hash",
        ),
        forget: shared(
            "forget-portal-codes",
            "DELETE FROM portal_codes WHERE hash IN (
               SELECT hash FROM portal_codes WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)
             RETURNING hash",
        ),
    }
}
