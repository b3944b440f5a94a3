//! Looking after an app's database: how it is, and making it small and fast again.

use serde::Serialize;
use streamhub_control::{Connection, SqlResult};
use streamhub_engine::cache::Exclusive;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::filesystem::Room;
use streamhub_engine::names::quoted;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{AppId, Database, filesystem};

use crate::error::Result;
use crate::hub::Hub;
use crate::opener::AppOpener;
use crate::progress::Progress;
use crate::status::bytes;

/// How an app's database is.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// let health = hub.health(&"news-24".parse()?)?;
/// assert_eq!(health.path, "apps/news-24/app.db");
/// let streams = health.tables.iter().find(|table| table.name == "streams");
/// assert_eq!(streams.map(|table| table.rows), Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The file, from the data directory.
    pub path: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of its `-wal`.
    pub wal_size_bytes: u64,
    /// Pages of the file.
    pub page_count: u64,
    /// Pages that hold nothing.
    pub freelist_count: u64,
    /// Pages that hold nothing, in percent of all.
    pub fragmentation_pct: f64,
    /// Its tables, by name.
    pub tables: Vec<TableHealth>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableHealth {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// Bytes of its pages and of its indices' pages.
    pub bytes: u64,
}

/// What an optimisation did.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// let done = hub.optimize(&"news-24".parse()?, &streamhub::progress::Silent)?;
/// assert_eq!(done.steps.first(), Some(&"PRAGMA optimize"));
/// assert_eq!(done.after.wal_size_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Optimized {
    /// The file, from the data directory.
    pub path: String,
    /// The steps, in order.
    pub steps: Vec<&'static str>,
    /// Before.
    pub before: Extent,
    /// After.
    pub after: Extent,
    /// Bytes that the disk got back.
    pub reclaimed_bytes: u64,
}

/// How large a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extent {
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of its `-wal`.
    pub wal_size_bytes: u64,
    /// Pages that hold nothing.
    pub freelist_count: u64,
}

const STEPS: [&str; 5] =
    ["PRAGMA optimize", "ANALYZE", "REINDEX", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"];

impl Hub {
    /// Looks at an app's database; reads each of its pages once, which takes as long as it takes.
    pub fn health(&self, id: &AppId) -> Result<Health> {
        let place = self.data().app(id);
        let lease = self.app(id)?;
        let db = lease.open().live.beside()?;
        let (pages, free, tables) = pages_of(&db).of(db.path())?;
        drop((db, lease));
        #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
        let fragmentation_pct = if pages == 0 { 0.0 } else { free as f64 * 100.0 / pages as f64 };
        Ok(Health {
            path: self.data().shown(&place.db()).display().to_string(),
            size_bytes: bytes(&place.db()),
            wal_size_bytes: bytes(&sidecar(&place.db(), "-wal")),
            page_count: pages,
            freelist_count: free,
            fragmentation_pct: (fragmentation_pct * 100.0).round() / 100.0,
            tables,
        })
    }

    /// As [`health`](Self::health), for async callers.
    pub async fn health_async(&self, id: &AppId) -> Result<Health> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.health(&app)).await
    }

    /// Makes an app's database small and fast again. Nobody else uses the app meanwhile.
    pub fn optimize(&self, id: &AppId, progress: &dyn Progress) -> Result<Optimized> {
        // Opened once before, so that it is known to be the app's own and whole.
        drop(self.app(id)?);
        let alone = self.alone(id)?;
        self.refuse_without_space(&alone)?;
        let place = self.data().app(id);
        let path = place.db();
        self.shared.services.unsealed.break_seal(&place)?;
        let db = Database::write(&path)?;
        let before = extent(&db)?;
        for step in STEPS {
            progress.begin(&format!("{id} {step}"), None);
            if step == STEPS[4] {
                db.checkpoint()?;
            } else {
                db.execute_batch(step).of(&path)?;
            }
            progress.end();
        }
        let after = extent(&db)?;
        db.close()?;
        Ok(Optimized {
            path: self.data().shown(&path).display().to_string(),
            steps: STEPS.to_vec(),
            before,
            after,
            reclaimed_bytes: (before.size_bytes + before.wal_size_bytes)
                .saturating_sub(after.size_bytes + after.wal_size_bytes),
        })
    }

    /// As [`optimize`](Self::optimize), for async callers.
    pub async fn optimize_async(
        &self,
        id: &AppId,
        progress: impl Progress + Send + 'static,
    ) -> Result<Optimized> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.optimize(&app, &progress)).await
    }

    /// VACUUM writes the database twice: into a temporary file, and from there into the `-wal`.
    fn refuse_without_space(&self, alone: &Exclusive<AppOpener>) -> Result<()> {
        let path = self.data().app(alone.id()).db();
        let once = bytes(&path).saturating_add(1 << 20);
        let mut room = Room::default();
        room.add(&path, once);
        room.add(&filesystem::temporary_dir(), once);
        room.shortage()?.map_or(Ok(()), |short| Err(short.into()))
    }
}

/// How many pages there are, how many of them hold nothing, and which tables have the others.
fn pages_of(db: &Connection) -> SqlResult<(u64, u64, Vec<TableHealth>)> {
    const BYTES: &str = "SELECT master.tbl_name, sum(stat.pgsize) FROM dbstat AS stat \
                         JOIN sqlite_master AS master ON master.name = stat.name \
                         WHERE stat.aggregate = TRUE GROUP BY 1 ORDER BY 1";
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u64>(0));
    let mut tables: Vec<TableHealth> = db
        .prepare(BYTES)?
        .query_map([], |row| Ok(TableHealth { name: row.get(0)?, rows: 0, bytes: row.get(1)? }))?
        .collect::<SqlResult<_>>()?;
    for table in &mut tables {
        table.rows = number(&format!("SELECT count(*) FROM {}", quoted(&table.name)))?;
    }
    Ok((number("PRAGMA page_count")?, number("PRAGMA freelist_count")?, tables))
}

fn extent(db: &Database) -> Result<Extent> {
    let path = db.path();
    Ok(Extent {
        size_bytes: bytes(path),
        wal_size_bytes: bytes(&sidecar(path, "-wal")),
        freelist_count: db.pragma_query_value(None, "freelist_count", |row| row.get(0)).of(path)?,
    })
}
