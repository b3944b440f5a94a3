-- What was asked for with an Idempotency-Key. Nothing used the table until here, so that nothing is lost.
DROP TABLE _streamhub_idempotency;

-- A row is written with the audit entry of what was done, which says whether it was. The key is kept as its
-- hash, and the answer sealed under the key itself, since it may show a secret.
CREATE TABLE _streamhub_idempotency (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    audit_id INTEGER NOT NULL,
    status INTEGER,
    answer BLOB,
    created_at TEXT NOT NULL,
    PRIMARY KEY (principal, key)
) WITHOUT ROWID;
CREATE INDEX _streamhub_idempotency_by_time ON _streamhub_idempotency (created_at);
