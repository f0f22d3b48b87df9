-- A state as an engine of format 8 left it that was killed in mid-publishing: the dump of a whole file. Every table has
-- a row; the records are those of tests/sample.

CREATE TABLE attempt (
    seq        INTEGER PRIMARY KEY,
    task       BLOB NOT NULL,
    collector  TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    body       TEXT NOT NULL
) STRICT;
INSERT INTO attempt VALUES(1,X'666e05fa900f18cc66b1e7e441','bbref',1741500001000000,1741500002000000,'{"attempt":"01957a00-0000-7000-8000-000000000001","token":1,"task":"t_666e05fa900f18cc66b1e7e441","collector":"bbref","started_at":"2025-03-09T06:00:01Z","ended_at":"2025-03-09T06:00:02Z","ended":"exit 0","requests":2,"outcomes":[[{"item":"e776aed887dbe71116dd9b1f7ac466c8","episode":1},{"outcome":"failed","fault":"item","message":"wrote nothing","retry_after_s":null}],[{"item":"7b871824769fb33d628cde57e2bff381","episode":1},{"outcome":"failed","fault":"item","message":"wrote nothing","retry_after_s":null}]],"log_tail":"done\n","log":"logs/a.log"}');
INSERT INTO attempt VALUES(2,X'0102030405060708090a0b0c0d','bbref',1741500003000000,1741500004000000,'{"attempt":"01957a00-0000-7000-8000-000000000003","token":3,"task":"t_0102030405060708090a0b0c0d","collector":"bbref","started_at":"2025-03-09T06:00:03Z","ended_at":"2025-03-09T06:00:04Z","ended":"exit 0","requests":1,"outcomes":[[{"item":"00112233445566778899aabbccddeeff","episode":1},{"outcome":"done","etag":"\"e3\"","size":900,"last_modified":"2025-03-09T06:00:04Z"}]],"log_tail":"","log":null,"story":{"score":{"total":100000000,"base":100000000,"age":0,"importance":1000000,"size":1000000,"success":1000000},"rank":1,"ready":1,"waited":null,"gaps":[]}}');
CREATE TABLE collector (
    name       TEXT PRIMARY KEY,
    failures   INTEGER NOT NULL,
    open_until INTEGER,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO collector VALUES('bbref',3,1741500900000000,'{"failures":3,"open_until":"2025-03-09T06:15:00Z","reason":"exit 1","since":"2025-03-09T06:00:03Z","probes_failed":0}');
CREATE TABLE event (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    task    BLOB,
    item    BLOB,
    episode INTEGER,
    text    TEXT NOT NULL
) STRICT;
INSERT INTO event VALUES(1,1741500001000000,X'666e05fa900f18cc66b1e7e441',X'e776aed887dbe71116dd9b1f7ac466c8',1,'queued');
CREATE TABLE item (
    id          BLOB PRIMARY KEY,
    confirmed   INTEGER,
    absent      TEXT,
    suspect_etag TEXT,
    episodes    INTEGER NOT NULL
, losses TEXT) STRICT, WITHOUT ROWID;
INSERT INTO item VALUES(X'e776aed887dbe71116dd9b1f7ac466c8',1741500003000000,'{"since":"2025-03-09T06:00:00Z","recheck_at":"2025-03-09T06:00:09Z","confirmed":3,"fingerprint":18446744073709551614}','"e1"',4,'["2025-03-09T06:00:04Z"]');
CREATE TABLE lease (
    token      INTEGER PRIMARY KEY,
    attempt    BLOB NOT NULL,
    task       BLOB NOT NULL,
    collector  TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    gaps       BLOB NOT NULL
, staged BLOB NOT NULL DEFAULT x'', boot_id TEXT NOT NULL DEFAULT '', until INTEGER NOT NULL DEFAULT 0, until_wall INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO lease VALUES(2,X'01957a00000070008000000000000002',X'666e05fa900f18cc66b1e7e441','bbref',1741500002000000,X'e776aed887dbe71116dd9b1f7ac466c8000000017b871824769fb33d628cde57e2bff38100000001',X'e776aed887dbe71116dd9b1f7ac466c800000001','',0,0);
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
, history_bytes INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO meta VALUES(1,'prod','/lake','6f1f8a2e-6b2b-4d38-9d0c-0a1b2c3d4e5f',3,1741500005000000,0,1309);
CREATE TABLE picture (
    standing TEXT PRIMARY KEY CHECK (standing IN ('accepted', 'held')),
    body     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO picture VALUES('accepted','{"taken_at":"2025-03-09T06:00:01Z","table_rows":{},"objects":{"box_scores":5},"listed_at":{},"present":{},"items":7,"gaps":2,"opened":0}');
INSERT INTO picture VALUES('held','{"picture":{"taken_at":"2025-03-09T06:00:01Z","table_rows":{},"objects":{"box_scores":5},"listed_at":{},"present":{},"items":7,"gaps":2,"opened":0},"first_seen":"2025-03-09T06:00:02Z","surprises":["`box_scores` lost 12 %"],"accepted":true}');
CREATE TABLE process (
    attempt       BLOB PRIMARY KEY,
    boot_id       TEXT NOT NULL,
    process_group INTEGER NOT NULL,
    start_ticks   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO process VALUES(X'01957a00000070008000000000000002','6f1f8a2e-6b2b-4d38-9d0c-0a1b2c3d4e5f',4312,99887766);
CREATE TABLE reservation (
    id                INTEGER PRIMARY KEY,
    source            TEXT NOT NULL,
    permits           INTEGER NOT NULL,
    boot_id           TEXT NOT NULL,
    first_sent        INTEGER NOT NULL,
    first_sent_wall   INTEGER NOT NULL,
    used              INTEGER,
    last_arrival      INTEGER,
    last_arrival_wall INTEGER,
    value             TEXT
) STRICT;
INSERT INTO reservation VALUES(7,'espn',20,'6f1f8a2e-6b2b-4d38-9d0c-0a1b2c3d4e5f',500000000,1741500005000000,NULL,NULL,NULL,'acme');
INSERT INTO reservation VALUES(8,'espn',20,'6f1f8a2e-6b2b-4d38-9d0c-0a1b2c3d4e5f',500000000,1741500005000000,19,501000000,1741500006000000,NULL);
CREATE TABLE source (
    name         TEXT PRIMARY KEY,
    failures     INTEGER NOT NULL,
    open_until   INTEGER,
    paused_until INTEGER,
    body         TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO source VALUES('espn',5,1741500600000000,NULL,'{"failures":5,"open_until":"2025-03-09T06:10:00Z","reason":"5 failures","since":"2025-03-09T06:00:02Z","probes_failed":1,"paused_until":null}');
CREATE TABLE source_value (
    source TEXT NOT NULL,
    value  TEXT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (source, value)
) STRICT, WITHOUT ROWID;
INSERT INTO source_value VALUES('espn','customer=acme','{"failures":5,"open_until":"2025-03-09T06:10:00Z","reason":"5 failures","since":"2025-03-09T06:00:02Z","probes_failed":1,"paused_until":null}');
CREATE TABLE success (
    collector TEXT PRIMARY KEY,
    -- One character per attempt, oldest first: 1 if it filled something.
    attempts  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO success VALUES('bbref','101');
CREATE TABLE IF NOT EXISTS "gap" (
    seq         INTEGER PRIMARY KEY,
    item        BLOB NOT NULL,
    episode     INTEGER NOT NULL,
    -- A live gap is in one task at most: `task.seq`, and its place among those of the task.
    task        INTEGER,
    position    INTEGER,
    dataset     TEXT,
    key         TEXT,
    reason      TEXT,
    priority    TEXT,
    detected_at INTEGER,
    due         INTEGER,
    fingerprint INTEGER,
    -- All of it as JSON, if it is more than the columns say.
    body        TEXT
) STRICT;
INSERT INTO gap VALUES(1,X'e776aed887dbe71116dd9b1f7ac466c8',1,1,0,'box_scores','box/1 ü.json','missing',NULL,1741500000000000,NULL,NULL,'{"id":{"item":"e776aed887dbe71116dd9b1f7ac466c8","episode":1},"dataset":"box_scores","key":"box/1 ü.json","reason":"missing","detected_at":"2025-03-09T06:00:00Z","due":"2025-03-09T05:00:00Z","priority":"high","group":["2024-25"],"etag":null,"last_modified":null,"fingerprint":18446744073709551615,"progress":{"attempts":1,"attempts_total":4,"deferrals":0,"exhausted":0,"next_try":"2025-03-09T06:01:00Z","standing":"exhausted","last_error":"answer of 71 B < 100 B","doubted":null}}');
INSERT INTO gap VALUES(2,X'7b871824769fb33d628cde57e2bff381',1,1,1,'box_scores','box/2 ü.json','missing',NULL,1741500000000000,NULL,NULL,'{"id":{"item":"7b871824769fb33d628cde57e2bff381","episode":1},"dataset":"box_scores","key":"box/2 ü.json","reason":"missing","detected_at":"2025-03-09T06:00:00Z","due":"2025-03-09T05:00:00Z","priority":"high","group":["2024-25"],"etag":null,"last_modified":null,"fingerprint":18446744073709551615,"progress":{"attempts":1,"attempts_total":4,"deferrals":0,"exhausted":0,"next_try":"2025-03-09T06:01:00Z","standing":"exhausted","last_error":"answer of 71 B < 100 B","doubted":null}}');
CREATE TABLE IF NOT EXISTS "task" (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL,
    collector   TEXT NOT NULL,
    source      TEXT,
    priority    TEXT NOT NULL,
    detected_at INTEGER NOT NULL,
    due         INTEGER,
    key         TEXT,
    -- As of a gap.
    body        TEXT
) STRICT;
INSERT INTO task VALUES(1,X'666e05fa900f18cc66b1e7e441','bbref',NULL,'high',1741500000000000,NULL,NULL,'{"id":"t_666e05fa900f18cc66b1e7e441","collector":"bbref","source":"basketball_reference","priority":"high","group":["2024-25"],"gaps":[],"detected_at":"2025-03-09T06:00:00Z","due":"2025-03-09T05:00:00Z","key":"box/1.json","ready_at":null}');
CREATE UNIQUE INDEX task_by_id ON "task" (id);
CREATE UNIQUE INDEX gap_by_id ON gap (item, episode);
CREATE INDEX gap_of_task ON gap (task, position) WHERE task IS NOT NULL;
CREATE TABLE trend (
    dataset TEXT NOT NULL,
    at      INTEGER NOT NULL,
    present INTEGER NOT NULL,
    wanted  INTEGER NOT NULL,
    PRIMARY KEY (dataset, at)
) STRICT, WITHOUT ROWID;
INSERT INTO trend VALUES('box_scores',1741500000000000,5,7);
CREATE TABLE pause (
    -- Everything, a source or a dataset, as JSON.
    what TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO pause VALUES('{"of":"source","name":"espn"}','{"since":"2025-03-09T06:00:01Z","until":null,"because":"ann"}');
CREATE TABLE job (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA application_id = 0x61646365;
PRAGMA user_version = 8;
