-- Nothing wrote to these tables until here, so that nothing is lost.
DROP TABLE _streamhub_idempotency;
DROP TABLE _streamhub_usage;

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

-- What a tenant used in a month (`2026-11`), per metric.
CREATE TABLE _streamhub_usage (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    month TEXT NOT NULL,
    metric TEXT NOT NULL CHECK (metric IN ('recording_seconds', 'egress_bytes', 'storage_bytes')),
    amount INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, month, metric)
);

-- (uuid, seq) names the app's outbox row that a part of the usage was shipped from: it counts once.
CREATE TABLE _streamhub_metered (
    origin_uuid TEXT NOT NULL,
    origin_seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (origin_uuid, origin_seq)
) WITHOUT ROWID;
CREATE INDEX _streamhub_metered_by_time ON _streamhub_metered (at);
