//! What a purge removes, a chunk at a time: recordings and streams that are over.
//!
//! What was there when it began goes, as [`Cut`] says. What is live stays, and so does what is being recorded
//! of it.

use rusqlite::{Row, named_params};
use streamhub_engine::{ReadTx, WriteTx, words};

use crate::column;
use crate::error::Result;
use crate::outbox::{self, Entry};

words! {
    /// What of an app is purged.
    pub enum Scope {
        /// Its recordings, and their files.
        Vods = "vods",
        /// What the server's log says of it.
        Logs = "logs",
        /// Both, and its streams that are over.
        All = "all",
    }
}

/// Where a purge ends: what was added later stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    vods: i64,
    streams: i64,
}

/// A chunk of recordings that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgedVods {
    /// Rows.
    pub rows: u64,
    /// Files that the outbox has word of.
    pub files: u64,
}

macro_rules! vods {
    () => {
        "FROM vods WHERE id <= :last AND NOT (status = 'recording' AND EXISTS \
         (SELECT 1 FROM streams WHERE streams.stream_id = vods.stream_id AND streams.status = 'active'))"
    };
}

macro_rules! streams {
    () => {
        "FROM streams WHERE id <= :last AND status = 'ended'"
    };
}

impl Scope {
    /// Whether recordings go.
    pub fn has_vods(self) -> bool {
        matches!(self, Self::Vods | Self::All)
    }

    /// Whether streams go that are over.
    pub fn has_streams(self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether log entries go.
    pub fn has_logs(self) -> bool {
        matches!(self, Self::Logs | Self::All)
    }
}

impl Cut {
    /// After what is there at this moment.
    pub fn here(tx: &ReadTx<'_>) -> Result<Self> {
        let last = |sql: &str| tx.query_row(sql, [], |row| row.get(0));
        Ok(Self {
            vods: last("SELECT coalesce(max(id), 0) FROM vods")?,
            streams: last("SELECT coalesce(max(id), 0) FROM streams")?,
        })
    }

    /// How many recordings are to go.
    pub fn count_vods(self, tx: &ReadTx<'_>) -> Result<u64> {
        count(tx, concat!("SELECT count(*) ", vods!()), self.vods)
    }

    /// How many streams are to go.
    pub fn count_streams(self, tx: &ReadTx<'_>) -> Result<u64> {
        count(tx, concat!("SELECT count(*) ", streams!()), self.streams)
    }

    /// Removes recordings, so many at the most, and leaves word in the outbox that their files are to go.
    pub fn purge_vods(self, tx: &mut WriteTx<'_>, at_most: u32) -> Result<PurgedVods> {
        const DELETE: &str = concat!(
            "DELETE FROM vods WHERE id IN (SELECT id ",
            vods!(),
            " ORDER BY id LIMIT :at_most) RETURNING local_path"
        );
        let path = |row: &Row<'_>| column::text(row, 0);
        let gone: Vec<Option<String>> = tx
            .connection()
            .prepare_cached(DELETE)?
            .query_map(named_params! { ":last": self.vods, ":at_most": at_most }, path)?
            .collect::<rusqlite::Result<_>>()?;
        let rows = gone.len() as u64;
        let mut files = 0;
        for path in gone.into_iter().flatten() {
            outbox::push(tx, &Entry::DeleteFile { path })?;
            files += 1;
        }
        Ok(PurgedVods { rows, files })
    }

    /// Removes streams that are over, so many at the most, and returns how many.
    pub fn purge_streams(self, tx: &mut WriteTx<'_>, at_most: u32) -> Result<u64> {
        const DELETE: &str = concat!(
            "DELETE FROM streams WHERE id IN (SELECT id ",
            streams!(),
            " ORDER BY id LIMIT :at_most)"
        );
        let gone = tx.execute(DELETE, named_params! { ":last": self.streams, ":at_most": at_most })?;
        Ok(gone as u64)
    }
}

fn count(tx: &ReadTx<'_>, sql: &str, last: i64) -> Result<u64> {
    Ok(tx.query_row(sql, named_params! { ":last": last }, |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{self, Kind, NewStream};
    use crate::testing::database;
    use crate::vods::{self, NewVod, Status, VodFilter};

    fn vod(tx: &mut WriteTx<'_>, name: &str, status: Status, stream: Option<&str>) {
        let (stream_id, local_path) = (stream.map(str::to_owned), Some(format!("recordings/{name}")));
        let new = NewVod { app_id: 1, status, stream_id, local_path, ..NewVod::named(name) };
        vods::create(tx, &new).unwrap();
    }

    fn start(tx: &mut WriteTx<'_>, name: &str) {
        streams::start(tx, &NewStream { app_id: 1, ..NewStream::named(name, Kind::Rtmp) }).unwrap();
    }

    fn names(tx: &ReadTx<'_>) -> Vec<String> {
        let mut names: Vec<_> =
            vods::list(tx, &VodFilter::default()).unwrap().data.into_iter().map(|vod| vod.name).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_live_or_came_later_stays() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        for name in ["live", "over", "anew"] {
            start(tx, name);
        }
        for name in ["over", "anew"] {
            streams::end(tx, name).unwrap();
        }
        vod(tx, "of-live", Status::Recording, Some("live"));
        vod(tx, "of-live-done", Status::Ready, Some("live"));
        vod(tx, "left-behind", Status::Recording, Some("over"));
        vod(tx, "of-nothing", Status::Recording, None);
        let cut = Cut::here(tx).unwrap();
        vod(tx, "later", Status::Ready, None);
        start(tx, "anew");
        start(tx, "later");
        streams::end(tx, "later").unwrap();
        assert_eq!((cut.count_vods(tx).unwrap(), cut.count_streams(tx).unwrap()), (3, 1));
        assert_eq!(cut.purge_vods(tx, 2).unwrap(), PurgedVods { rows: 2, files: 2 });
        assert_eq!(cut.purge_vods(tx, 2).unwrap(), PurgedVods { rows: 1, files: 1 });
        assert_eq!(cut.purge_streams(tx, 9).unwrap(), 1);
        assert_eq!(names(tx), ["later", "of-live"]);
        assert_eq!(streams::count_active(tx).unwrap(), 2);
        assert!(streams::by_id(tx, "over").unwrap().is_none());
        assert!(streams::by_id(tx, "later").unwrap().is_some());
        let pending = outbox::peek(tx, 0, 9).unwrap();
        assert_eq!(pending.len(), 3, "{pending:?}");
    }

    #[test]
    fn a_chunk_takes_no_more_than_it_may() {
        let db = database();
        let tx = &mut WriteTx::within(&db);
        for at in 0..25 {
            vods::create(tx, &NewVod { app_id: 1, ..NewVod::named(at.to_string()) }).unwrap();
        }
        let cut = Cut::here(tx).unwrap();
        let chunks = [0; 4].map(|_| cut.purge_vods(tx, 10).unwrap().rows);
        assert_eq!(chunks, [10, 10, 5, 0]);
        assert!(outbox::is_empty(tx).unwrap(), "there was no file");
    }
}
