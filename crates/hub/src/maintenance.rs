//! Looking after an app's database: how it is, whether it is whole, and making it small and fast again.

mod backups;
mod check;
mod checkpoint;
mod health;
mod optimize;
mod purge;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_control::TenantId;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{AppId, Database, Fault};

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::progress::Progress;
use crate::status::bytes;

pub use backups::AppBackup;
pub use check::Checked;
pub use checkpoint::Checkpointed;
pub use health::{Health, TableHealth};
pub use optimize::Optimized;
pub use purge::Purged;

pub(crate) use purge::{deed as deed_of_purge, steps as steps_of_purge};

/// How large a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extent {
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of its `-wal`.
    pub wal_size_bytes: u64,
    /// Pages that hold nothing.
    pub freelist_count: u64,
}

impl Extent {
    fn of(db: &Database) -> Result<Self> {
        let path = db.path();
        Ok(Self {
            size_bytes: bytes(path),
            wal_size_bytes: bytes(&sidecar(path, "-wal")),
            freelist_count: db.pragma_query_value(None, "freelist_count", |row| row.get(0)).of(path)?,
        })
    }
}

impl Hub {
    /// Says in the audit what somebody has done to an app's database: first, since a part of it may be done when the
    /// process ends. Of a job it was said when that was started, so that it acts for nobody.
    fn tell_first(&self, id: &AppId, deed: Deed) -> Result<()> {
        if self.actor.is_none() {
            return Ok(());
        }
        let app = self.in_service(id)?;
        let deed = deed.app(&app.name).tenant(&TenantId::from_registry(app.tenant_id)).target(id);
        self.change(deed, |_, _| Ok(Ok::<_, HubError>(())))
    }
}

/// Does a step, unless the work is to end before it. Its failure is named after it.
fn in_step<T>(
    progress: &dyn Progress,
    step: &'static str,
    units: Option<u64>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    progress.stop().obey()?;
    progress.begin(step, units);
    let done = work();
    progress.end();
    done.map_err(|error| match error {
        HubError::Cancelled => error,
        HubError::Engine(error) if error.fault() == Fault::Interrupted => HubError::Cancelled,
        source => HubError::Step { step, source: Box::new(source) },
    })
}
