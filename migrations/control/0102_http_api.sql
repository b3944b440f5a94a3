-- Nothing wrote to these tables until here, so that nothing is lost.
DROP TABLE _streamhub_idempotency;
DROP TABLE _streamhub_usage;
DROP TABLE _streamhub_login_failures;
DROP TABLE _streamhub_jobs;

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

-- Failed logins per account and per address, kept over a restart. refused_at is when an attempt was first refused for
-- there being too many: the audit tells of that one.
CREATE TABLE _streamhub_login_failures (
    subject TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    refused_at TEXT
);

-- Addresses are found in small letters, which SQLite knows of ASCII; the others are few, and are looked through.
DROP INDEX _streamhub_users_by_email;
CREATE INDEX _streamhub_users_by_email ON users (lower(email));
CREATE INDEX _streamhub_users_beyond_ascii ON users (id) WHERE email GLOB '*[^ -~]*';

-- app_id is the registry's number of the app: its name may be another one since, or another app's.
CREATE TABLE _streamhub_jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    app_id INTEGER,
    app TEXT,
    tenant_id TEXT,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    progress_json TEXT,
    result_json TEXT,
    error_json TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX _streamhub_jobs_by_time ON _streamhub_jobs (created_at);
CREATE INDEX _streamhub_jobs_by_app_and_time ON _streamhub_jobs (app_id, created_at);
CREATE INDEX _streamhub_jobs_by_tenant_and_time ON _streamhub_jobs (tenant_id, created_at);
