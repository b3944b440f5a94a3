-- The final state of migrations/control, to read; a test proves that applying every migration leads here.
CREATE TABLE apps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT,
    livekit_room_prefix TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    settings_json TEXT,
    tenant_id TEXT DEFAULT 'platform',
    node_id TEXT,
    -- The pointer to app.db: the uuid it must carry, and the generation that fences moves.
    uuid TEXT UNIQUE,
    generation INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'active'
        CHECK (state IN ('creating', 'active', 'moving', 'moved', 'deleting', 'deleted')),
    -- Only for apps that came with an older data directory.
    split_state TEXT CHECK (split_state IN ('pending', 'missing', 'done')),
    split_detail TEXT
);
CREATE INDEX _streamhub_apps_by_tenant ON apps (tenant_id);
CREATE INDEX _streamhub_apps_by_open_split ON apps (split_state) WHERE split_state IN ('pending', 'missing');
-- The apps in the middle of a step, which the next start finishes.
CREATE INDEX _streamhub_apps_by_step ON apps (state) WHERE state IN ('creating', 'moving', 'deleting');

-- What a deleted app leaves behind. Its row in `apps` stays, so that its tokens survive an undelete, and
-- gives its name away: there it is called `<name>~<id>`, which no app can be called.
CREATE TABLE _streamhub_trash (
    app_id INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    trash_name TEXT NOT NULL,
    deleted_at TEXT NOT NULL
);
CREATE INDEX _streamhub_trash_by_name ON _streamhub_trash (name, deleted_at);

CREATE TABLE api_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('global', 'app', 'node')),
    app_id INTEGER REFERENCES apps (id) ON DELETE CASCADE,
    allowed_ips_json TEXT,
    last_used_at TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    revoked INTEGER NOT NULL DEFAULT 0,
    tenant_id TEXT DEFAULT 'platform'
);
CREATE INDEX _streamhub_api_tokens_by_hash ON api_tokens (token_hash);
CREATE INDEX _streamhub_api_tokens_by_app ON api_tokens (app_id);
CREATE INDEX _streamhub_api_tokens_by_tenant ON api_tokens (tenant_id);

CREATE TABLE server_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ts TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    level TEXT NOT NULL,
    source TEXT,
    app_id INTEGER REFERENCES apps (id) ON DELETE SET NULL,
    message TEXT NOT NULL,
    meta_json TEXT
);
-- The expression is engine's `normalised!`, so that both spellings of a time sort as one.
CREATE INDEX _streamhub_server_logs_by_time ON server_logs (
    coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN ts GLOB '[0-9][0-9][0-9][0-9]-*' THEN ts END), ts)
);
CREATE INDEX _streamhub_server_logs_by_app_and_time ON server_logs (
    app_id,
    coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN ts GLOB '[0-9][0-9][0-9][0-9]-*' THEN ts END), ts)
);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    plan TEXT NOT NULL DEFAULT 'free',
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    email TEXT,
    is_superadmin INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    password_hash TEXT,
    status TEXT NOT NULL DEFAULT 'active',
    name TEXT,
    totp_secret TEXT,
    totp_pending_secret TEXT,
    totp_enabled INTEGER NOT NULL DEFAULT 0,
    -- The time step of the last code that was taken: a code works once.
    totp_last_step INTEGER
);
-- Addresses are found in small letters, which SQLite knows of ASCII; the others are few, and are looked through.
CREATE INDEX _streamhub_users_by_email ON users (lower(email));
CREATE INDEX _streamhub_users_beyond_ascii ON users (id) WHERE email GLOB '*[^ -~]*';

CREATE TABLE memberships (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    role TEXT NOT NULL DEFAULT 'viewer' CHECK (role IN ('owner', 'editor', 'viewer')),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (user_id, tenant_id)
);
CREATE INDEX _streamhub_memberships_by_tenant ON memberships (tenant_id);

-- -1 means unlimited.
CREATE TABLE quotas (
    tenant_id TEXT PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    max_apps INTEGER NOT NULL DEFAULT 2,
    max_concurrent_streams INTEGER NOT NULL DEFAULT 2,
    max_recording_minutes_month INTEGER NOT NULL DEFAULT 300,
    max_egress_gb_month INTEGER NOT NULL DEFAULT 5,
    max_storage_gb INTEGER NOT NULL DEFAULT 5
);

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

CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    name TEXT,
    url TEXT,
    region TEXT,
    status TEXT NOT NULL DEFAULT 'unknown',
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    last_seen_at TEXT,
    stats_json TEXT
);
CREATE INDEX _streamhub_nodes_by_name ON nodes (name);

-- Older sessions carry no token hash, so no token ever matches them.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    email TEXT,
    ip TEXT,
    user_agent TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    last_seen TEXT,
    revoked_at TEXT,
    token_hash TEXT UNIQUE,
    expires_at TEXT
);
CREATE INDEX _streamhub_sessions_by_user ON sessions (user_id);

CREATE TABLE magic_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL,
    request_ip TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    expires_at TEXT NOT NULL,
    used INTEGER NOT NULL DEFAULT 0,
    used_at TEXT,
    kind TEXT NOT NULL DEFAULT 'login'
);
CREATE INDEX _streamhub_magic_tokens_by_email ON magic_tokens (email);

CREATE TABLE ip_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cidr TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('allow', 'block')),
    note TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    created_by TEXT
);

CREATE TABLE ip_bans (
    ip TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    offense_count INTEGER NOT NULL DEFAULT 0,
    banned_until TEXT NOT NULL,
    escalation_level INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX _streamhub_ip_bans_by_end ON ip_bans (banned_until);

-- Failed logins per account and per address, kept over a restart.
CREATE TABLE _streamhub_login_failures (
    subject TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    refused_at TEXT
);

-- (uuid, seq) names the app's outbox row that an entry was shipped from: it arrives once.
CREATE TABLE _streamhub_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    tenant_id TEXT,
    app TEXT,
    principal TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    target TEXT,
    outcome TEXT NOT NULL,
    detail_json TEXT,
    origin_uuid TEXT,
    origin_seq INTEGER,
    UNIQUE (origin_uuid, origin_seq)
);
CREATE INDEX _streamhub_audit_by_time ON _streamhub_audit (at);
CREATE INDEX _streamhub_audit_by_tenant_and_time ON _streamhub_audit (tenant_id, at);

-- What an app.db commit still needs of the control plane; live-stream reservations among them.
CREATE TABLE _streamhub_attention (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    ref TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (app_id, kind, ref)
) WITHOUT ROWID;
-- Live streams are few, however many apps a tenant has.
CREATE INDEX _streamhub_attention_by_kind ON _streamhub_attention (kind);

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

CREATE TABLE _streamhub_meta (
    key TEXT PRIMARY KEY,
    value TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE _streamhub_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TEXT NOT NULL
);
