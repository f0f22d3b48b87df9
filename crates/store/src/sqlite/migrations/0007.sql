-- How complete each dataset was over time: what is `present` of what was `wanted` (expected, less what upstream does not have). A row for each
-- look of the last day, each hour of the last month, each day before.
CREATE TABLE trend (
    dataset TEXT NOT NULL,
    at      INTEGER NOT NULL,
    present INTEGER NOT NULL,
    wanted  INTEGER NOT NULL,
    PRIMARY KEY (dataset, at)
) STRICT, WITHOUT ROWID;
