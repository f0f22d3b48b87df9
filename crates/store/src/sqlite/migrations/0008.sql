-- What a person keeps from starting, until he says otherwise.
CREATE TABLE pause (
    -- Everything, a source or a dataset, as JSON.
    what TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Of each job: until when its schedule was seen to, and its latest runs.
CREATE TABLE job (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
