-- What single values of a source have for themselves (`customer=acme`), of those that are not as good as new: a breaker.
CREATE TABLE source_value (
    source TEXT NOT NULL,
    value  TEXT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (source, value)
) STRICT, WITHOUT ROWID;
