//! How an app's database is.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_control::{Connection, SqlResult};
use streamhub_engine::AppId;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::names::quoted;
use streamhub_engine::unopened::sidecar;

use crate::error::Result;
use crate::hub::Hub;
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableHealth {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// Bytes of its pages and of its indices' pages.
    pub bytes: u64,
}

impl Hub {
    /// Looks at an app's database; reads each of its pages once, which takes as long as it takes.
    pub fn health(&self, id: &AppId) -> Result<Health> {
        let place = self.data().app(id);
        let lease = self.app(id)?;
        let db = lease.open().live.beside()?;
        let pages = pages_of(&db).of(db.path())?;
        drop((db, lease));
        Ok(self.health_of(&place.db(), pages))
    }

    /// Looks at the control database as [`health`](Self::health) does at an app's.
    pub fn control_health(&self) -> Result<Health> {
        let pages = self.read(pages_of)?;
        Ok(self.health_of(self.shared.services.plane.path(), pages))
    }

    fn health_of(&self, path: &Path, (pages, free, tables): Pages) -> Health {
        #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
        let fragmentation_pct = if pages == 0 { 0.0 } else { free as f64 * 100.0 / pages as f64 };
        Health {
            path: self.data().shown(path).display().to_string(),
            size_bytes: bytes(path),
            wal_size_bytes: bytes(&sidecar(path, "-wal")),
            page_count: pages,
            freelist_count: free,
            fragmentation_pct: (fragmentation_pct * 100.0).round() / 100.0,
            tables,
        }
    }

    /// As [`health`](Self::health), for async callers.
    pub async fn health_async(&self, id: &AppId) -> Result<Health> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.health(&app)).await
    }
}

/// How many pages there are, how many of them hold nothing, and which tables have the others.
type Pages = (u64, u64, Vec<TableHealth>);

fn pages_of(db: &Connection) -> SqlResult<Pages> {
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
