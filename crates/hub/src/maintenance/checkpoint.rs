//! Emptying the `-wal` of an app that is in use.

use std::thread;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use streamhub_engine::error::SqliteContext;
use streamhub_engine::live::Busy;
use streamhub_engine::{AppId, Fault};

use super::optimize::CHECKPOINT;
use super::{Extent, in_step};
use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::progress::Progress;

/// How long one attempt waits for readers. Nobody can write meanwhile, so there are many short ones.
const ATTEMPT: Duration = Duration::from_millis(50);

/// What a checkpoint did.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// # hub.app(&"news-24".parse()?)?.create_vod(streamhub::vods::NewVod::named("cam.mp4"))?;
/// let done = hub.checkpoint(&"news-24".parse()?, &streamhub::progress::Silent)?;
/// assert_eq!(done.after.wal_size_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpointed {
    /// The file, from the data directory.
    pub path: String,
    /// Before.
    pub before: Extent,
    /// After.
    pub after: Extent,
}

impl Hub {
    /// Writes all that an app's `-wal` holds into the database and empties it, while others use the app. Readers
    /// that are in the way are waited for as long as `HubConfig::wait` says; it fails where they stay.
    pub fn checkpoint(&self, id: &AppId, progress: &dyn Progress) -> Result<Checkpointed> {
        let lease = self.app(id)?;
        self.tell_first(id, Deed::of("db.checkpoint"))?;
        let db = lease.open().live.beside()?;
        db.busy_timeout(ATTEMPT).of(db.path())?;
        let (before, deadline) = (Extent::of(&db)?, Instant::now() + self.shared.config.wait);
        in_step(progress, CHECKPOINT, None, || {
            loop {
                match db.checkpoint() {
                    Err(error) if error.fault() == Fault::Busy => {
                        if Instant::now() >= deadline {
                            return Err(HubError::Busy { what: id.to_string(), reason: Busy::InUse });
                        }
                        progress.stop().obey()?;
                        // Whoever wants to write has a moment to.
                        thread::sleep(ATTEMPT);
                    }
                    done => return Ok(done?),
                }
            }
        })?;
        let path = self.data().shown(db.path()).display().to_string();
        Ok(Checkpointed { path, before, after: Extent::of(&db)? })
    }

    /// As [`checkpoint`](Self::checkpoint), for async callers.
    pub async fn checkpoint_async(
        &self,
        id: &AppId,
        progress: impl Progress + Send + 'static,
    ) -> Result<Checkpointed> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.checkpoint(&app, &progress)).await
    }
}
