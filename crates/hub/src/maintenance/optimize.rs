//! Making an app's database small and fast again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::cache::Exclusive;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::filesystem::Room;
use streamhub_engine::{AppId, Database, filesystem};

use super::{Extent, in_step};
use crate::acting::Deed;
use crate::error::Result;
use crate::hub::Hub;
use crate::opener::AppOpener;
use crate::progress::Progress;
use crate::status::bytes;

/// What an optimisation did.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// let done = hub.optimize(&"news-24".parse()?, &streamhub::progress::Silent)?;
/// assert_eq!(done.steps[0], "PRAGMA optimize");
/// assert_eq!(done.after.wal_size_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Optimized {
    /// The file, from the data directory.
    pub path: String,
    /// The steps, in order.
    pub steps: Vec<String>,
    /// Before.
    pub before: Extent,
    /// After.
    pub after: Extent,
    /// Bytes that the disk got back.
    pub reclaimed_bytes: u64,
}

const STEPS: [&str; 5] = ["PRAGMA optimize", "ANALYZE", "REINDEX", "VACUUM", CHECKPOINT];

pub(super) const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

impl Hub {
    /// Makes an app's database small and fast again. Nobody else uses the app meanwhile.
    pub fn optimize(&self, id: &AppId, progress: &dyn Progress) -> Result<Optimized> {
        // Opened once before, so that it is known to be the app's own and whole.
        drop(self.app(id)?);
        let alone = self.alone(id)?;
        self.refuse_without_space(&alone)?;
        self.tell_first(id, Deed::of("db.optimize"))?;
        let place = self.data().app(id);
        let path = place.db();
        self.shared.services.unsealed.break_seal(&place)?;
        let db = Database::write(&path)?;
        let stop = progress.stop();
        db.stop_when(move || stop.is_asked())?;
        let before = Extent::of(&db)?;
        for step in STEPS {
            in_step(progress, step, None, || {
                Ok(if step == CHECKPOINT { db.checkpoint() } else { db.execute_batch(step).of(&path) }?)
            })?;
        }
        let after = Extent::of(&db)?;
        db.close()?;
        Ok(Optimized {
            path: self.data().shown(&path).display().to_string(),
            steps: STEPS.map(str::to_owned).to_vec(),
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
