//! Looking after an app's database: how it is, and making it small and fast again.

use serde::Serialize;
use streamhub_engine::cache::Exclusive;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{AppId, Database, filesystem};

use crate::error::{HubError, Result};
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
    /// Looks at an app's database; reads each of its pages once.
    pub fn health(&self, id: &AppId) -> Result<Health> {
        let place = self.data().app(id);
        let (pages, free, tables) = self.app(id)?.read(|tx| -> Result<_, HubError> {
            let number = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, u64>(0)).map_err(store);
            let sizes = tx
                .query_all(
                    "SELECT master.tbl_name, sum(stat.pgsize) FROM dbstat AS stat \
                     JOIN sqlite_master AS master ON master.name = stat.name \
                     WHERE stat.aggregate = TRUE GROUP BY 1 ORDER BY 1",
                    [],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)),
                )
                .map_err(store)?;
            let mut tables = Vec::new();
            for (name, bytes) in sizes {
                let rows = number(&format!("SELECT count(*) FROM {}", quoted(&name)))?;
                tables.push(TableHealth { name, rows, bytes });
            }
            Ok((number("PRAGMA page_count")?, number("PRAGMA freelist_count")?, tables))
        })?;
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

    /// Makes an app's database small and fast again. Nobody else uses the app meanwhile.
    pub fn optimize(&self, id: &AppId, progress: &dyn Progress) -> Result<Optimized> {
        // Opened once before, so that it is known to be the app's own and whole.
        drop(self.app(id)?);
        let alone = self.alone(id)?;
        self.refuse_without_space(&alone)?;
        let place = self.data().app(id);
        let path = place.db();
        streamhub_engine::seal::Seal::remove(place.dir())?;
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

    /// VACUUM writes the database twice: into a temporary file, and from there into the `-wal`.
    fn refuse_without_space(&self, alone: &Exclusive<AppOpener>) -> Result<()> {
        let path = self.data().app(alone.id()).db();
        let needed = bytes(&path).saturating_mul(2).saturating_add(1 << 20);
        let free = filesystem::free_bytes(&path)?;
        if free < needed { Err(HubError::NoSpace { path, needed, free }) } else { Ok(()) }
    }
}

fn extent(db: &Database) -> Result<Extent> {
    let path = db.path();
    Ok(Extent {
        size_bytes: bytes(path),
        wal_size_bytes: bytes(&sidecar(path, "-wal")),
        freelist_count: db.pragma_query_value(None, "freelist_count", |row| row.get(0)).of(path)?,
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn store(error: streamhub_control::SqlError) -> HubError {
    streamhub_appstore::StoreError::from(error).into()
}
