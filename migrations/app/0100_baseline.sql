-- One app: its streams, its recordings and who may send to it.
--
-- The columns of the older system's tables come first and are no stricter than they were there.
-- Tables of the older system that are not listed here stay in an app.db as they are; what it does not have
-- begins with `_streamhub_`, so that none of them is in the way.

CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The registry's id when the row was written. The registry decides; this column only tells.
    app_id INTEGER NOT NULL,
    stream_id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL CHECK (type IN ('webrtc', 'rtmp', 'rtsp', 'whip', 'ws-mjpeg')),
    room TEXT,
    participant TEXT,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'ended')),
    started_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    ended_at TEXT,
    last_stats_json TEXT
);
CREATE INDEX _streamhub_streams_by_room ON streams (room);
-- The expression is engine's `normalised!`, so that both spellings of a time sort as one.
CREATE INDEX _streamhub_streams_by_start ON streams (
    coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN started_at GLOB '[0-9][0-9][0-9][0-9]-*' THEN started_at END), started_at)
);
CREATE INDEX _streamhub_streams_by_status_and_start ON streams (
    status,
    coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN started_at GLOB '[0-9][0-9][0-9][0-9]-*' THEN started_at END), started_at)
);

CREATE TABLE vods (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id INTEGER NOT NULL,
    stream_id TEXT,
    room TEXT,
    name TEXT NOT NULL,
    file_key TEXT,
    s3_url TEXT,
    public_url TEXT,
    size_bytes INTEGER,
    duration_s REAL,
    width INTEGER,
    height INTEGER,
    format TEXT,
    status TEXT NOT NULL DEFAULT 'recording' CHECK (status IN ('recording', 'uploading', 'ready', 'failed')),
    local_path TEXT,
    started_at TEXT,
    ended_at TEXT,
    metatags_json TEXT,
    snapshot_key TEXT
);
CREATE INDEX _streamhub_vods_by_stream ON vods (stream_id);
CREATE INDEX _streamhub_vods_by_room ON vods (room);
CREATE INDEX _streamhub_vods_by_start ON vods (
    coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN started_at GLOB '[0-9][0-9][0-9][0-9]-*' THEN started_at END), started_at)
);
CREATE INDEX _streamhub_vods_by_status_and_start ON vods (
    status,
    coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', CASE WHEN started_at GLOB '[0-9][0-9][0-9][0-9]-*' THEN started_at END), started_at)
);

CREATE TABLE ingress_auth (
    ingress_id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    room TEXT,
    stream_key TEXT,
    password_hash TEXT,
    password_salt TEXT,
    requires_password INTEGER NOT NULL DEFAULT 0,
    validated_at TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX _streamhub_ingress_auth_by_key ON ingress_auth (stream_key);

-- Work that must follow a commit: written with it, shipped once by (uuid of the app.db, seq).
CREATE TABLE _streamhub_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    created_at TEXT NOT NULL
);

-- Rows of older sources that could not become rows here, whole.
CREATE TABLE _streamhub_unimported (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    source_table TEXT NOT NULL,
    source_rowid INTEGER NOT NULL,
    reason TEXT NOT NULL,
    row_json TEXT NOT NULL,
    held_at TEXT NOT NULL,
    UNIQUE (source, source_table, source_rowid, row_json)
);

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
