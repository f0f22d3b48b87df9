-- Until when a lease holds: on the boot that it names by boottime, on any other by the wall clock. Of those that an older
-- format left nothing is known, so they have expired long ago.
ALTER TABLE lease ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE lease ADD COLUMN until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN until_wall INTEGER NOT NULL DEFAULT 0;
-- Rows lie in the order in which they were written, which is the order in which tasks will start, and what is spread evenly
-- (the digests that are names) stands in small indexes beside them: a task that comes and goes wrote a page of its own in each
-- of four tables, and writes shared pages now. What a plain gap or task is stands in columns alone.

-- What is known of an open gap, and the task that a gap is in. Without a dataset it is not open, and only in a task.
CREATE TABLE gap_4 (
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

CREATE TABLE task_4 (
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

INSERT INTO task_4 (id, collector, priority, detected_at, body) SELECT id, collector, priority, detected_at, body FROM task ORDER BY id;
CREATE UNIQUE INDEX task_by_id ON task_4 (id);

INSERT INTO gap_4 (item, episode, task, position, dataset, key, reason, detected_at, body)
    SELECT gap.item, gap.episode, task_4.seq, iif(task_4.seq IS NULL, NULL, task_gap.position), gap.dataset, gap.key, gap.reason,
           gap.detected_at, gap.body
    FROM gap
    LEFT JOIN task_gap ON task_gap.item = gap.item AND task_gap.episode = gap.episode
    LEFT JOIN task_4 ON task_4.id = task_gap.task
    ORDER BY task_4.seq, task_gap.position;
-- A gap that is not open is in a task only for as long as a batch takes; what else there is stays as it is.
INSERT INTO gap_4 (item, episode, task, position)
    SELECT task_gap.item, task_gap.episode, task_4.seq, task_gap.position
    FROM task_gap JOIN task_4 ON task_4.id = task_gap.task
    WHERE NOT EXISTS (SELECT 1 FROM gap WHERE gap.item = task_gap.item AND gap.episode = task_gap.episode);

DROP TABLE task_gap;
DROP TABLE gap;
DROP TABLE task;
ALTER TABLE gap_4 RENAME TO gap;
ALTER TABLE task_4 RENAME TO task;
CREATE UNIQUE INDEX gap_by_id ON gap (item, episode);
CREATE INDEX gap_of_task ON gap (task, position) WHERE task IS NOT NULL;

-- That an attempt filled a gap stands in the attempt's own row, and is read from there.
DELETE FROM event WHERE text = 'gap closed: filled';
UPDATE meta SET history_bytes =
    (SELECT coalesce(sum(octet_length(body) + 64), 0) FROM attempt) + (SELECT coalesce(sum(octet_length(text) + 64), 0) FROM event);
