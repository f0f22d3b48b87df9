-- A lease says of which gaps the staged objects were being published, and not only that something was: after a kill these
-- are believed, and what else the same command put into the lake is not. Of a lease that a format 1 left nothing is
-- known, so none of its objects is believed.

ALTER TABLE lease DROP COLUMN publishing;
-- As `gaps`; empty before publishing begins.
ALTER TABLE lease ADD COLUMN staged BLOB NOT NULL DEFAULT x'';

-- Tasks' names are spread evenly over an index, so that each attempt and event wrote a page of it, thousands of times a
-- second. Who asks for one task's history reads through all of it, which is bounded: a tenth of a second at most.
DROP INDEX attempt_of_task;
DROP INDEX event_of_task;

-- When an item's object was found gone that had been filled within a day before: instants as JSON, oldest first. NULL, as
-- for nearly all items: never.
ALTER TABLE item ADD COLUMN losses TEXT;

-- Breakers of collectors, as `source` has those of sources.
CREATE TABLE collector (
    name       TEXT PRIMARY KEY,
    failures   INTEGER NOT NULL,
    open_until INTEGER,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
