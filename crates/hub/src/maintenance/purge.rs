//! Removing what an app has gathered: recordings, streams that are over, log entries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use streamhub_appstore::purge::{Cut, PurgedVods, Scope};
use streamhub_control::logs;
use streamhub_engine::AppId;

use super::in_step;
use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::progress::Progress;

/// What a purge removed.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::purge::Scope;
/// use streamhub::vods::NewVod;
///
/// let id = "news-24".parse()?;
/// hub.app(&id)?.create_vod(NewVod::named("cam.mp4"))?;
/// let purged = hub.purge_app(&id, Scope::Vods, &streamhub::progress::Silent)?;
/// assert_eq!((purged.vods_deleted, purged.streams_deleted), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    /// What was asked for.
    pub scope: Scope,
    /// Rows of recordings.
    pub vods_deleted: u64,
    /// Rows of streams.
    pub streams_deleted: u64,
    /// Entries of the server's log.
    pub logs_deleted: u64,
    /// Objects in an object store; 0 where there is none.
    pub s3_deleted: u64,
    /// Files that recordings named, each of which goes unless another row names it too; one that was not there counts.
    pub local_deleted: u64,
}

/// Rows that one transaction removes at the most, so that nobody waits long for it.
const CHUNK: u32 = 1000;

const VODS: &str = "vods";
const STREAMS: &str = "streams";
const LOGS: &str = "logs";
const FILES: &str = "files";

/// What a purge is for the audit.
pub(crate) fn deed(scope: Scope) -> Deed {
    Deed::of("db.purge").detail(json!({ "scope": scope }))
}

/// The steps of a purge.
pub(crate) fn steps(scope: Scope) -> u32 {
    match scope {
        Scope::Vods => 2,
        Scope::Logs => 1,
        Scope::All => 4,
    }
}

impl Hub {
    /// Removes what an app has gathered until now, while others use it. What is live stays, and so do the app
    /// and its configuration. Files of recordings follow their rows.
    pub fn purge_app(&self, id: &AppId, scope: Scope, progress: &dyn Progress) -> Result<Purged> {
        self.tell_first(id, deed(scope))?;
        let lease = self.app(id)?;
        let (vods, streams, cut) = lease.read(|tx| {
            let cut = Cut::here(tx)?;
            Ok::<_, HubError>((cut.count_vods(tx)?, cut.count_streams(tx)?, cut))
        })?;
        let mut purged = Purged {
            scope,
            vods_deleted: 0,
            streams_deleted: 0,
            logs_deleted: 0,
            s3_deleted: 0,
            local_deleted: 0,
        };
        if scope.has_vods() {
            in_chunks(progress, VODS, vods, || {
                let PurgedVods { rows, files } =
                    lease.write(move |tx| Ok::<_, HubError>(cut.purge_vods(tx, CHUNK)?))?;
                purged.vods_deleted += rows;
                purged.local_deleted += files;
                Ok(rows)
            })?;
        }
        if scope.has_streams() {
            in_chunks(progress, STREAMS, streams, || {
                let rows = lease.write(move |tx| Ok::<_, HubError>(cut.purge_streams(tx, CHUNK)?))?;
                purged.streams_deleted += rows;
                Ok(rows)
            })?;
        }
        if scope.has_logs() {
            let app = lease.registered().id;
            let (last, entries) = self.read(move |db| logs::extent_of_app(db, app))?;
            in_chunks(progress, LOGS, entries, || {
                let rows = self.note_down(move |db| logs::purge_app(db, app, last, CHUNK))?;
                purged.logs_deleted += rows;
                Ok(rows)
            })?;
        }
        if scope.has_vods() {
            in_step(progress, FILES, None, || self.ship_from(&lease))?;
        }
        Ok(purged)
    }

    /// As [`purge_app`](Self::purge_app), for async callers.
    pub async fn purge_app_async(
        &self,
        id: &AppId,
        scope: Scope,
        progress: impl Progress + Send + 'static,
    ) -> Result<Purged> {
        let app = id.clone();
        self.blocking(Some(id), move |hub| hub.purge_app(&app, scope, &progress)).await
    }
}

/// Removes so many rows, chunk by chunk, unless it is to end before. One that finds nothing more is the last.
fn in_chunks(
    progress: &dyn Progress,
    step: &'static str,
    rows: u64,
    mut chunk: impl FnMut() -> Result<u64>,
) -> Result<()> {
    in_step(progress, step, Some(rows), || {
        let mut left = rows;
        while left > 0 {
            progress.stop().obey()?;
            let removed = chunk()?;
            progress.advance(removed);
            left = if removed == 0 { 0 } else { left.saturating_sub(removed) };
        }
        Ok(())
    })
}
