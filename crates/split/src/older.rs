//! Facts about the older system's databases.

use std::path::Path;

use rusqlite::Connection;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::judge::{self, Check, Stamp, Standing};
use streamhub_engine::reshape::{columns, has_table};
use streamhub_engine::{Database, Error, Result, Unfit};

/// The newest `user_version` that the older system wrote.
pub(crate) const NEWEST: u32 = 8;

/// Set in an app.db once its own `vods.db` and the global streams and vods were imported.
pub(crate) const VODS_DONE: &str = streamhub::legacy::VODS_IMPORTED;
/// Set in an app.db once the global ingress rows were imported.
pub(crate) const INGRESS_DONE: &str = "ingress_import_done";
/// Set in the control database once no app is left to be split.
pub(crate) const SPLIT_DONE: &str = "per_app_split_done";
/// In the control database: the backup that was made before the split.
pub(crate) const SPLIT_BACKUP: &str = "per_app_split_backup";

/// Put before the older system's own markers when the control database is adopted.
pub(crate) const LEGACY: &str = "legacy_";

/// One of the tables whose rows belong to apps.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Two rows with the same key are two versions of one thing.
    pub(crate) key: Option<&'static str>,
    /// Whether it has an integer `id` that is kept where it is free, and an `app_id`.
    pub(crate) numbered: bool,
    /// The marker that says that an app.db has these rows already.
    pub(crate) marker: &'static str,
    /// All columns but `id` and `app_id`: what makes two rows equal. One that a source lacks counts as NULL.
    pub(crate) columns: &'static [&'static str],
    /// Those of them that are never NULL: a table without one of these is some other table.
    pub(crate) required: &'static [&'static str],
}

/// Every table that a split moves.
pub(crate) const TABLES: [Table; 3] = [
    Table {
        name: "streams",
        key: Some("stream_id"),
        numbered: true,
        marker: VODS_DONE,
        columns: &[
            "stream_id",
            "type",
            "room",
            "participant",
            "status",
            "started_at",
            "ended_at",
            "last_stats_json",
        ],
        required: &["stream_id", "type", "status", "started_at"],
    },
    Table {
        name: "vods",
        key: None,
        numbered: true,
        marker: VODS_DONE,
        columns: &[
            "stream_id",
            "room",
            "name",
            "file_key",
            "s3_url",
            "public_url",
            "size_bytes",
            "duration_s",
            "width",
            "height",
            "format",
            "status",
            "local_path",
            "started_at",
            "ended_at",
            "metatags_json",
            "snapshot_key",
        ],
        required: &["name", "status"],
    },
    Table {
        name: "ingress_auth",
        key: Some("ingress_id"),
        numbered: false,
        marker: INGRESS_DONE,
        columns: &[
            "ingress_id",
            "app",
            "room",
            "stream_key",
            "password_hash",
            "password_salt",
            "requires_password",
            "validated_at",
            "created_at",
        ],
        required: &["ingress_id", "app", "requires_password", "created_at"],
    },
];

/// Judges an unmarked control database: an older system's, sound, and free of anything that runs.
pub(crate) fn judge_control(db: &Database, version: u32) -> Result<()> {
    refuse_newer(db.path(), version)?;
    let known = columns(db, "apps").of(db.path())?;
    if !["id", "name"].iter().all(|wanted| known.iter().any(|column| column.name == *wanted)) {
        let detail = "it has no table of apps".to_owned();
        return Err(Error::Unfit { path: db.path().to_owned(), unfit: Unfit::Foreign { detail } });
    }
    judge::refuse_code(db)?;
    for table in &TABLES {
        require_columns(db, table)?;
    }
    judge::refuse_damage(db, Check::Full)
}

/// Judges a database of an app, `app.db` or `vods.db`, that carries no mark of ours.
pub(crate) fn judge_app(db: &Database, stamp: Stamp) -> Result<()> {
    match stamp.standing(db.path(), streamhub_appstore::schema::APPLICATION_ID, NEWEST)? {
        Standing::Unmarked { version } => refuse_newer(db.path(), version)?,
        Standing::Ours { .. } => {
            let detail = "it is an app database of StreamHub in the place of an older one".to_owned();
            return Err(Error::Unfit { path: db.path().to_owned(), unfit: Unfit::Foreign { detail } });
        }
    }
    let mut known = 0;
    for table in &TABLES {
        known += usize::from(require_columns(db, table)?);
    }
    if known == 0 {
        let detail =
            "it has none of the tables streams, vods and ingress_auth; if it once had, its -wal was lost";
        return Err(Error::Unfit {
            path: db.path().to_owned(),
            unfit: Unfit::Foreign { detail: detail.to_owned() },
        });
    }
    judge::refuse_code(db)?;
    judge::refuse_damage(db, Check::Quick)
}

/// Whether the table is there; one that lacks a column which is never NULL is refused.
pub(crate) fn require_columns(db: &Database, table: &Table) -> Result<bool> {
    let found = columns(db, table.name).of(db.path())?;
    if found.is_empty() {
        return Ok(false);
    }
    let numbers: &[&str] = if table.numbered { &["id", "app_id"] } else { &[] };
    match numbers
        .iter()
        .chain(table.required)
        .find(|wanted| !found.iter().any(|column| column.name.eq_ignore_ascii_case(wanted)))
    {
        None => Ok(true),
        Some(missing) => {
            let detail = format!("its table {} has no column {missing}", table.name);
            Err(Error::Unfit { path: db.path().to_owned(), unfit: Unfit::Foreign { detail } })
        }
    }
}

/// Whether a marker is set; a database without the table of markers has none.
pub(crate) fn is_marked(db: &Connection, marker: &str) -> rusqlite::Result<bool> {
    Ok(has_table(db, "_streamhub_meta")?
        && streamhub_engine::meta::get(db, marker)?.is_some_and(|value| value == "1"))
}

fn refuse_newer(path: &Path, version: u32) -> Result<()> {
    if version <= NEWEST {
        return Ok(());
    }
    let unfit = Unfit::TooNew { found: version.into(), known: NEWEST };
    Err(Error::Unfit { path: path.to_owned(), unfit })
}
