-- The first format. Ids are their bytes (`hex(item)` shows what messages show), times are microseconds UTC, and what
-- no query looks into is JSON in `body`. Columns beside a body repeat what a person asks for with sqlite3.
--
-- Frozen: states of this format exist, and this script is what a later one starts from. A change to the schema is a new
-- script beside it (0002.sql and so on, listed in schema.rs), with a state of the format before it in tests/formats.

CREATE TABLE meta (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    name        TEXT NOT NULL,
    lake        TEXT NOT NULL,
    boot_id     TEXT NOT NULL,
    -- The largest fencing token ever given; the next lease gets a larger one.
    last_token  INTEGER NOT NULL,
    -- The latest instant that anything was recorded at.
    latest      INTEGER,
    -- 0 while an engine holds the state, and for ever after if it was killed.
    ended_clean INTEGER NOT NULL
) STRICT;

CREATE TABLE gap (
    item        BLOB NOT NULL,
    episode     INTEGER NOT NULL,
    dataset     TEXT NOT NULL,
    key         TEXT NOT NULL,
    reason      TEXT NOT NULL,
    detected_at INTEGER NOT NULL,
    next_try    INTEGER,
    body        TEXT NOT NULL,
    PRIMARY KEY (item, episode)
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
    id          BLOB PRIMARY KEY,
    collector   TEXT NOT NULL,
    priority    TEXT NOT NULL,
    detected_at INTEGER NOT NULL,
    body        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A live gap is in one task at most: the primary key says so.
CREATE TABLE task_gap (
    item     BLOB NOT NULL,
    episode  INTEGER NOT NULL,
    task     BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (item, episode)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_gap_in_order ON task_gap (task, position);

CREATE TABLE item (
    id          BLOB PRIMARY KEY,
    confirmed   INTEGER,
    absent      TEXT,
    suspect_etag TEXT,
    episodes    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row an attempt under way, and no index: it is written and removed thousands of times a second. That a gap has one
-- owner at most, the one writer sees to before it writes.
CREATE TABLE lease (
    token      INTEGER PRIMARY KEY,
    attempt    BLOB NOT NULL,
    task       BLOB NOT NULL,
    collector  TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    publishing INTEGER NOT NULL,
    -- 20 bytes a gap, in order: the item's id, and the episode with its highest byte first.
    gaps       BLOB NOT NULL
) STRICT;

CREATE TABLE process (
    attempt       BLOB PRIMARY KEY,
    boot_id       TEXT NOT NULL,
    process_group INTEGER NOT NULL,
    start_ticks   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reservation (
    id                INTEGER PRIMARY KEY,
    source            TEXT NOT NULL,
    permits           INTEGER NOT NULL,
    boot_id           TEXT NOT NULL,
    first_sent        INTEGER NOT NULL,
    first_sent_wall   INTEGER NOT NULL,
    used              INTEGER,
    last_arrival      INTEGER,
    last_arrival_wall INTEGER
) STRICT;

CREATE TABLE source (
    name         TEXT PRIMARY KEY,
    failures     INTEGER NOT NULL,
    open_until   INTEGER,
    paused_until INTEGER,
    body         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE success (
    collector TEXT PRIMARY KEY,
    -- One character per attempt, oldest first: 1 if it filled something.
    attempts  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE picture (
    standing TEXT PRIMARY KEY CHECK (standing IN ('accepted', 'held')),
    body     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- History, in the order in which it happened; the oldest rows are pruned.
CREATE TABLE attempt (
    seq        INTEGER PRIMARY KEY,
    task       BLOB NOT NULL,
    collector  TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    body       TEXT NOT NULL
) STRICT;
CREATE INDEX attempt_of_task ON attempt (task);

CREATE TABLE event (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    task    BLOB,
    item    BLOB,
    episode INTEGER,
    text    TEXT NOT NULL
) STRICT;
CREATE INDEX event_of_task ON event (task) WHERE task IS NOT NULL;
