-- How much the history takes, so that it can be kept below a size without reading through it: the bytes of each body or
-- text, and 64 for the rest of its row. The writer keeps it current with each commit.
ALTER TABLE meta ADD COLUMN history_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET history_bytes =
    (SELECT coalesce(sum(octet_length(body) + 64), 0) FROM attempt) + (SELECT coalesce(sum(octet_length(text) + 64), 0) FROM event);
