//! The table of the codes that begin sessions of the portal, on both databases.
//!
//! A row is a session that somebody asked for. Of its code only the hash is kept, and who exchanges the code
//! writes the claim: so one exchange has it, and a repeat of that one too.

/// Few rows, and each for an hour at most.
pub const SQLITE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS portal_codes (
       hash TEXT NOT NULL PRIMARY KEY,
       application_id TEXT NOT NULL,
       session_id TEXT NOT NULL,
       capabilities TEXT NOT NULL,
       generation TEXT,
       session_expires_at INTEGER NOT NULL,
       created_at INTEGER NOT NULL,
       expires_at INTEGER NOT NULL,
       claim TEXT) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS portal_codes_application
       ON portal_codes (application_id, created_at)",
    "CREATE INDEX IF NOT EXISTS portal_codes_age ON portal_codes (created_at)",
];

/// As [`SQLITE`].
pub const POSTGRES: &str = "
    CREATE TABLE IF NOT EXISTS portal_codes (
      hash text COLLATE \"C\" NOT NULL PRIMARY KEY,
      application_id text COLLATE \"C\" NOT NULL,
      session_id text NOT NULL,
      capabilities text NOT NULL,
      generation text,
      session_expires_at bigint NOT NULL,
      created_at bigint NOT NULL,
      expires_at bigint NOT NULL,
      claim text);
    CREATE INDEX IF NOT EXISTS portal_codes_application
      ON portal_codes (application_id, created_at);
    CREATE INDEX IF NOT EXISTS portal_codes_age ON portal_codes (created_at);
";
