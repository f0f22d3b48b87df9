-- Who may act on an engine over HTTP: digests of tokens, never tokens.
CREATE TABLE token (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL,
    hash       BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- What people and programs did, and how it was before and after (JSON). Only the latest are kept.
CREATE TABLE audit (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    action TEXT NOT NULL,
    what   TEXT NOT NULL,
    reason TEXT,
    before TEXT,
    after  TEXT
) STRICT;
