//! The older system's tables by version, as SQL.

use super::rows::Table;

/// Which of the older system's databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The registry, `user_version` 0 to 8.
    Control,
    /// An app's database before its split, 0 to 2.
    Vods,
    /// An app's database after its split, 0 to 8.
    App,
}

/// What a database's tables look like.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a deviation of its own, and all of them combine")]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) version: u32,
    /// The app's tables have no CHECK, NOT NULL or UNIQUE, as rows that violate them are found in the field.
    pub(crate) lax: bool,
    /// The columns that the older system adds when it runs.
    pub(crate) late_columns: bool,
    /// The control tables that the older system makes when it runs.
    pub(crate) run_time_tables: bool,
    /// The control database holds `streams` and `vods` itself.
    pub(crate) global_tables: bool,
}

const STREAM_TYPES: &str = "'webrtc','rtmp','rtsp','whip'";

impl Shape {
    /// The statements that make the tables.
    pub(crate) fn statements(&self) -> Vec<String> {
        match self.kind {
            Kind::Control => self.control(),
            Kind::Vods => {
                let mut all = vec![self.streams("streams", STREAM_TYPES), index("streams", "status")];
                if self.version != 1 {
                    all.extend([self.vods(), index("vods", "status"), index("vods", "stream_id")]);
                }
                all
            }
            Kind::App => self.app(),
        }
    }

    /// The database has the table.
    pub(crate) fn has(&self, table: Table) -> bool {
        // Version 0 is a database that was made before versions were counted; its tables are those of version 1.
        let version = self.version.max(1);
        match (self.kind, table) {
            (Kind::Control, Table::Ingress) => version >= 4,
            (Kind::Control, _) => self.global_tables,
            (Kind::Vods | Kind::App, Table::Streams) => true,
            (Kind::Vods, Table::Vods) => self.version != 1,
            (Kind::Vods, Table::Ingress) => false,
            (Kind::App, Table::Vods) => version >= 2,
            (Kind::App, Table::Ingress) => version >= 3,
        }
    }

    fn control(&self) -> Vec<String> {
        let version = self.version.max(1);
        let there = CONTROL.iter().filter(|(since, _)| *since <= version);
        let mut all: Vec<String> = there.map(|(_, sql)| (*sql).to_owned()).collect();
        if version >= 4 {
            all.extend([self.ingress(), index("ingress_auth", "app")]);
        }
        if self.late_columns {
            let late = LATE_COLUMNS.iter().filter(|(since, _)| *since <= version);
            all.extend(late.map(|(_, column)| format!("ALTER TABLE {column}")));
        }
        if self.run_time_tables {
            all.extend(RUN_TIME_TABLES.iter().map(|sql| (*sql).to_owned()));
        }
        if self.global_tables {
            all.extend([self.streams("streams", STREAM_TYPES), self.vods()]);
        }
        all
    }

    fn app(&self) -> Vec<String> {
        let version = self.version.max(1);
        let mut all = vec![self.streams("streams", STREAM_TYPES), index("streams", "status")];
        if version >= 2 {
            all.extend([self.vods(), index("vods", "status"), index("vods", "stream_id")]);
        }
        if version >= 3 {
            all.extend([self.ingress(), index("ingress_auth", "app"), META.to_owned()]);
        }
        if version >= 4 {
            all.extend(["room", "started_at", "status, started_at"].map(|columns| index("vods", columns)));
        }
        if (4..8).contains(&version) {
            all.extend(["room", "started_at", "status, started_at"].map(|columns| index("streams", columns)));
        }
        all.extend(APP.iter().filter(|(since, _)| *since <= version).map(|(_, sql)| (*sql).to_owned()));
        if version >= 8 {
            // The older system widens a CHECK as SQLite demands: another table under the old name.
            all.push(self.streams("streams_next", &format!("{STREAM_TYPES},'ws-mjpeg'")));
            all.push("DROP TABLE streams".to_owned());
            all.push("ALTER TABLE streams_next RENAME TO streams".to_owned());
            let columns = ["status", "room", "started_at", "status, started_at"];
            all.extend(columns.map(|columns| index("streams", columns)));
        }
        all
    }

    fn streams(&self, name: &str, types: &str) -> String {
        let [required, key] = self.constraints([" NOT NULL", " UNIQUE"]);
        let types = self.check("type", types);
        let status = self.check("status", "'active','ended'");
        format!(
            "CREATE TABLE {name} (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  app_id INTEGER{required},
  stream_id TEXT{required}{key},
  type TEXT{required}{types},
  room TEXT,
  participant TEXT,
  status TEXT{required} DEFAULT 'active'{status},
  started_at TEXT{required} DEFAULT (datetime('now')),
  ended_at TEXT,
  last_stats_json TEXT
)"
        )
    }

    fn vods(&self) -> String {
        let [required] = self.constraints([" NOT NULL"]);
        let status = self.check("status", "'recording','uploading','ready','failed'");
        format!(
            "CREATE TABLE vods (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  app_id INTEGER{required},
  stream_id TEXT,
  room TEXT,
  name TEXT{required},
  file_key TEXT,
  s3_url TEXT,
  public_url TEXT,
  size_bytes INTEGER,
  duration_s REAL,
  width INTEGER,
  height INTEGER,
  format TEXT,
  status TEXT{required} DEFAULT 'recording'{status},
  local_path TEXT,
  started_at TEXT,
  ended_at TEXT,
  metatags_json TEXT,
  snapshot_key TEXT
)"
        )
    }

    fn ingress(&self) -> String {
        let [required, key] = self.constraints([" NOT NULL", " PRIMARY KEY"]);
        format!(
            "CREATE TABLE ingress_auth (
  ingress_id TEXT{key},
  app TEXT{required},
  room TEXT,
  stream_key TEXT,
  password_hash TEXT,
  password_salt TEXT,
  requires_password INTEGER{required} DEFAULT 0,
  validated_at TEXT,
  created_at TEXT{required} DEFAULT (datetime('now'))
)"
        )
    }

    fn constraints<const N: usize>(&self, strict: [&'static str; N]) -> [&'static str; N] {
        if self.lax { [""; N] } else { strict }
    }

    fn check(&self, column: &str, values: &str) -> String {
        if self.lax { String::new() } else { format!(" CHECK ({column} IN ({values}))") }
    }
}

fn index(table: &str, columns: &str) -> String {
    let name = columns.replace(", ", "_and_");
    format!("CREATE INDEX {table}_by_{name} ON {table}({columns})")
}

const META: &str = "CREATE TABLE _streamhub_meta (
  key TEXT PRIMARY KEY,
  value TEXT,
  updated_at TEXT NOT NULL DEFAULT (datetime('now'))
)";

/// The control database's tables and the version that made each; `ingress_auth` (4) is shared with the app's database.
const CONTROL: &[(u32, &str)] = &[
    (
        1,
        "CREATE TABLE apps (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  display_name TEXT,
  livekit_room_prefix TEXT,
  created_at TEXT NOT NULL DEFAULT (datetime('now')),
  updated_at TEXT NOT NULL DEFAULT (datetime('now')),
  settings_json TEXT
)",
    ),
    (
        2,
        "CREATE TABLE api_tokens (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  token_hash TEXT NOT NULL,
  scope TEXT NOT NULL CHECK (scope IN ('global','app')),
  app_id INTEGER REFERENCES apps(id) ON DELETE CASCADE,
  allowed_ips_json TEXT,
  last_used_at TEXT,
  created_at TEXT NOT NULL DEFAULT (datetime('now')),
  revoked INTEGER NOT NULL DEFAULT 0
)",
    ),
    (2, "CREATE INDEX api_tokens_by_token_hash ON api_tokens(token_hash)"),
    (
        3,
        "CREATE TABLE server_logs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  ts TEXT NOT NULL DEFAULT (datetime('now')),
  level TEXT NOT NULL,
  source TEXT,
  app_id INTEGER REFERENCES apps(id) ON DELETE SET NULL,
  message TEXT NOT NULL,
  meta_json TEXT
)",
    ),
    (3, "CREATE INDEX server_logs_by_ts ON server_logs(ts)"),
    (3, "CREATE INDEX server_logs_by_app_id_and_level ON server_logs(app_id, level)"),
    (
        5,
        "CREATE TABLE tenants (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  plan TEXT NOT NULL DEFAULT 'free',
  created_at TEXT NOT NULL DEFAULT (datetime('now'))
)",
    ),
    (
        5,
        "CREATE TABLE users (
  id TEXT PRIMARY KEY,
  email TEXT,
  is_superadmin INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL DEFAULT (datetime('now'))
)",
    ),
    (5, "CREATE INDEX users_by_email ON users(email)"),
    (
        5,
        "CREATE TABLE memberships (
  user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  tenant_id TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,
  role TEXT NOT NULL DEFAULT 'viewer' CHECK (role IN ('owner','editor','viewer')),
  created_at TEXT NOT NULL DEFAULT (datetime('now')),
  PRIMARY KEY (user_id, tenant_id)
)",
    ),
    (
        5,
        "CREATE TABLE quotas (
  tenant_id TEXT PRIMARY KEY REFERENCES tenants(id) ON DELETE CASCADE,
  max_apps INTEGER NOT NULL DEFAULT 2,
  max_concurrent_streams INTEGER NOT NULL DEFAULT 2,
  max_recording_minutes_month INTEGER NOT NULL DEFAULT 300,
  max_egress_gb_month INTEGER NOT NULL DEFAULT 5,
  max_storage_gb INTEGER NOT NULL DEFAULT 5
)",
    ),
    (
        6,
        "INSERT INTO tenants (id, name, plan, created_at)
  VALUES ('platform', 'Platform', 'platform', '2025-06-01 08:00:00')",
    ),
    (6, "INSERT INTO quotas VALUES ('platform', 100000, 100000, 100000000, 100000, 100000)"),
    (
        7,
        "CREATE TABLE nodes (
  id TEXT PRIMARY KEY,
  name TEXT,
  url TEXT,
  region TEXT,
  status TEXT NOT NULL DEFAULT 'unknown',
  created_at TEXT NOT NULL DEFAULT (datetime('now')),
  last_seen_at TEXT
)",
    ),
    (7, META),
    (8, "CREATE INDEX server_logs_by_app_id_and_ts ON server_logs(app_id, ts)"),
];

/// Columns that are added when the older system runs, and the version that made their table.
const LATE_COLUMNS: &[(u32, &str)] = &[
    (1, "apps ADD COLUMN tenant_id TEXT DEFAULT 'platform'"),
    (1, "apps ADD COLUMN node_id TEXT"),
    (2, "api_tokens ADD COLUMN tenant_id TEXT DEFAULT 'platform'"),
    (5, "users ADD COLUMN password_hash TEXT"),
    (5, "users ADD COLUMN status TEXT NOT NULL DEFAULT 'active'"),
    (5, "users ADD COLUMN name TEXT"),
    (5, "users ADD COLUMN totp_secret TEXT"),
    (5, "users ADD COLUMN totp_pending_secret TEXT"),
    (5, "users ADD COLUMN totp_enabled INTEGER NOT NULL DEFAULT 0"),
    (7, "nodes ADD COLUMN stats_json TEXT"),
];

const RUN_TIME_TABLES: &[&str] = &[
    "CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL,
  email TEXT,
  ip TEXT,
  user_agent TEXT,
  created_at TEXT NOT NULL DEFAULT (datetime('now')),
  last_seen TEXT,
  revoked_at TEXT
)",
    "CREATE INDEX sessions_by_user_id ON sessions(user_id)",
    "CREATE TABLE magic_tokens (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  token_hash TEXT NOT NULL UNIQUE,
  email TEXT NOT NULL,
  request_ip TEXT,
  created_at TEXT NOT NULL DEFAULT (datetime('now')),
  expires_at TEXT NOT NULL,
  used INTEGER NOT NULL DEFAULT 0,
  used_at TEXT,
  kind TEXT NOT NULL DEFAULT 'login'
)",
    "CREATE TABLE ip_rules (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  cidr TEXT NOT NULL,
  action TEXT NOT NULL CHECK (action IN ('allow','block')),
  note TEXT,
  created_at TEXT NOT NULL DEFAULT (datetime('now')),
  created_by TEXT
)",
    "CREATE TABLE ip_bans (
  ip TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  first_seen TEXT NOT NULL,
  offense_count INTEGER NOT NULL DEFAULT 0,
  banned_until TEXT NOT NULL,
  escalation_level INTEGER NOT NULL DEFAULT 0
)",
];

/// The app database's tables that StreamHub itself does not use, and the version that made each.
const APP: &[(u32, &str)] = &[
    (
        5,
        "CREATE TABLE app_plugins (
  plugin_id TEXT PRIMARY KEY,
  enabled INTEGER NOT NULL DEFAULT 1,
  config_json TEXT,
  installed_at TEXT NOT NULL DEFAULT (datetime('now')),
  updated_at TEXT NOT NULL DEFAULT (datetime('now'))
)",
    ),
    (5, "CREATE INDEX app_plugins_by_enabled ON app_plugins(enabled)"),
    (
        6,
        "CREATE TABLE vod_variants (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  vod_id INTEGER NOT NULL,
  kind TEXT NOT NULL DEFAULT 'rendition' CHECK (kind IN ('master','rendition','alternate')),
  format TEXT NOT NULL,
  height INTEGER,
  bitrate_kbps INTEGER,
  file_key TEXT,
  size_bytes INTEGER,
  extra_json TEXT,
  created_at TEXT NOT NULL DEFAULT (datetime('now'))
)",
    ),
    (6, "CREATE INDEX vod_variants_by_vod_id ON vod_variants(vod_id)"),
    (
        7,
        "CREATE TABLE restream_targets (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  app TEXT NOT NULL,
  room TEXT NOT NULL,
  stream_id TEXT,
  name TEXT,
  platform TEXT NOT NULL DEFAULT 'custom',
  url TEXT NOT NULL,
  url_masked TEXT NOT NULL,
  egress_id TEXT,
  status TEXT NOT NULL DEFAULT 'starting' CHECK (status IN ('starting','active','failed','stopped')),
  error TEXT,
  retries INTEGER NOT NULL DEFAULT 0,
  started_at TEXT NOT NULL DEFAULT (datetime('now')),
  ended_at TEXT
)",
    ),
    (7, "CREATE INDEX restream_targets_by_room ON restream_targets(room)"),
];
