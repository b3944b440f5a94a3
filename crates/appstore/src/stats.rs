//! An app in numbers.

use schemars::JsonSchema;
use serde::Serialize;
use streamhub_engine::{ReadTx, normalised};

use crate::error::Result;
use crate::vods::Status;
use crate::{column, streams};

/// What is in an app, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppStats {
    /// Streams that are live.
    pub live: u64,
    /// Recordings by how far they are.
    pub vods: VodCounts,
    /// Bytes of all recordings whose size is known.
    pub storage_bytes: i64,
    /// Ways to publish.
    pub ingress: u64,
    /// Streams and recordings that began within the last 24 hours.
    pub events_24h: u64,
}

/// Numbers of recordings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the fields are the words of vods::Status")]
pub struct VodCounts {
    pub recording: u64,
    pub uploading: u64,
    pub ready: u64,
    pub failed: u64,
}

// A sum of whole numbers would fail where it overflows; a total never does.
const VODS: &str = "SELECT status, count(*), CAST(total(size_bytes) AS INTEGER) FROM vods GROUP BY status";

macro_rules! begun {
    ($table:literal) => {
        concat!(
            "(SELECT count(*) FROM ",
            $table,
            " WHERE ",
            normalised!("started_at"),
            " >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-24 hours'))"
        )
    };
}

const EVENTS: &str = concat!("SELECT ", begun!("streams"), " + ", begun!("vods"));

/// Counts. Reads all recordings, and of the rest only indices.
pub fn of(tx: &ReadTx<'_>) -> Result<AppStats> {
    let mut stats = AppStats {
        live: streams::count_active(tx)?,
        ingress: tx.query_row("SELECT count(*) FROM ingress_auth", [], |row| row.get(0))?,
        events_24h: tx.query_row(EVENTS, [], |row| row.get(0))?,
        ..AppStats::default()
    };
    let by_status = tx.query_all(VODS, [], |row| {
        Ok((row.get(0)?, row.get(1)?, column::integer(row, 2)?.unwrap_or_default()))
    })?;
    for (status, vods, bytes) in by_status {
        *match status {
            Status::Recording => &mut stats.vods.recording,
            Status::Uploading => &mut stats.vods.uploading,
            Status::Ready => &mut stats.vods.ready,
            Status::Failed => &mut stats.vods.failed,
        } = vods;
        stats.storage_bytes = stats.storage_bytes.saturating_add(bytes);
    }
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use streamhub_engine::WriteTx;

    use super::*;
    use crate::testing::{database, plan};

    #[test]
    fn an_app_is_counted() {
        let db = database();
        let tx = WriteTx::within(&db);
        assert_eq!(of(&tx).unwrap(), AppStats::default());
        db.execute_batch(
            "INSERT INTO streams (app_id, stream_id, type, status, started_at) VALUES \
               (1, 'a', 'rtmp', 'active', '2020-01-01 00:00:00'), (1, 'b', 'rtmp', 'ended', datetime('now')), \
               (1, 'c', 'rtmp', 'active', strftime('%Y-%m-%dT%H:%M:%fZ', 'now')); \
             INSERT INTO vods (app_id, name, status, size_bytes, started_at) VALUES \
               (1, 'a', 'ready', 5, '2020-01-01 00:00:00'), (1, 'b', 'ready', 7, NULL), \
               (1, 'c', 'failed', NULL, datetime('now')); \
             INSERT INTO ingress_auth (ingress_id, app) VALUES ('IN_1', 'a')",
        )
        .unwrap();
        let stats = of(&tx).unwrap();
        assert_eq!(
            serde_json::to_value(&stats).unwrap(),
            serde_json::json!({"live": 2, "vods": {"recording": 0, "uploading": 0, "ready": 2, "failed": 1},
                "storageBytes": 12, "ingress": 1, "events24h": 3})
        );
        db.execute_batch(&format!("UPDATE vods SET size_bytes = {}", i64::MAX)).unwrap();
        assert_eq!(of(&tx).unwrap().storage_bytes, i64::MAX);
    }

    #[test]
    fn the_last_day_is_found_by_the_indices() {
        let plan = plan(&database(), EVENTS);
        for index in ["_streamhub_streams_by_start (<expr>>?)", "_streamhub_vods_by_start (<expr>>?)"] {
            assert!(plan.contains(index), "{plan}");
        }
    }
}
