-- Breakers of collectors, as `source` has those of sources.
CREATE TABLE collector (
    name       TEXT PRIMARY KEY,
    failures   INTEGER NOT NULL,
    open_until INTEGER,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
