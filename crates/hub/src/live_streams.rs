//! Streams that begin and end: a row in the app, and a reservation of the tenant's concurrent streams.
//!
//! The reservation is durable before the row and given back after it, so that a process that ends in
//! between leaves at most a reservation without a stream, which the next start finds.

use streamhub_appstore::WriteTx;
use streamhub_appstore::streams::{self, NewStream, Stream};
use streamhub_appstore::{StoreError, vods};
use streamhub_control::attention;
use streamhub_engine::time::Moment;

use crate::error::{HubError, Kind, Result};
use crate::hub::LiveStreams;
use crate::lease::Lease;

impl Lease {
    /// Begins a stream: reserves one of the tenant's concurrent streams, then writes its row. One that is
    /// live already is refused, one that has ended begins anew; so does one that was live when the process
    /// before ended, unless [`LiveStreams::Keep`] says that it still is. Blocks for two syncs of the disk.
    pub fn start_stream(&self, new: NewStream) -> Result<Stream> {
        let (app, stream) = (self.registered().id, new.stream_id.clone());
        let reserved = self.services().plane.write({
            let stream = stream.clone();
            move |db| attention::reserve_stream(db, app, &stream)
        })??;
        let new = NewStream { app_id: app, ..new };
        let ended_before =
            (self.services().live_streams == LiveStreams::End).then(|| self.services().upkeep.opened_at());
        let started: Result<Stream> = self.write(move |tx| {
            if let Some(opened_at) = &ended_before {
                end_of_before(tx, &new.stream_id, opened_at)?;
            }
            Ok(streams::start(tx, &new)?)
        });
        if let Err(error) = &started
            && reserved
            // Where the row may be there, its reservation stays until somebody has looked.
            && error.kind() != Kind::Unknown
        {
            self.release(&stream);
        }
        started
    }

    /// Ends a stream and gives its reservation back; says whether it was live. Ending it again is fine.
    pub fn end_stream(&self, stream_id: &str) -> Result<bool> {
        let stream = stream_id.to_owned();
        let ended = self.write(move |tx| streams::end(tx, &stream).map_err(HubError::from))?;
        self.release(stream_id);
        Ok(ended)
    }

    /// As [`start_stream`](Self::start_stream), for async callers.
    pub async fn start_stream_async(&self, new: NewStream) -> Result<Stream> {
        let lease = self.clone();
        self.services().blocking.run(move || lease.start_stream(new)).await?
    }

    /// As [`end_stream`](Self::end_stream), for async callers.
    pub async fn end_stream_async(&self, stream_id: &str) -> Result<bool> {
        let (lease, stream) = (self.clone(), stream_id.to_owned());
        self.services().blocking.run(move || lease.end_stream(&stream)).await?
    }

    /// Ends every stream that is marked as live and is not among `live`, and gives their reservations back:
    /// for a media server that knows what it serves. Returns the streams that were ended.
    pub fn reconcile_streams(&self, live: Vec<String>) -> Result<Vec<String>> {
        let at = Moment::now();
        let ended = self.write(move |tx| {
            let is_live = |stream: &str| live.iter().any(|known| known == stream);
            streams::end_stale(tx, is_live, &at).map_err(HubError::from)
        })?;
        for stream in &ended {
            self.release(stream);
        }
        Ok(ended)
    }

    /// Removes a recording's row; its file follows, after the commit.
    pub fn delete_vod(&self, vod: i64) -> Result<vods::Vod> {
        self.write(move |tx| vods::delete(tx, vod).map_err(|error: StoreError| error.into()))
    }

    /// A reservation that is left over costs its tenant a stream until the next start, and nothing else.
    fn release(&self, stream_id: &str) {
        let (app, stream) = (self.registered().id, stream_id.to_owned());
        if let Err(error) = self.services().plane.write(move |db| attention::release_stream(db, app, &stream))
        {
            tracing::warn!(app.id = %self.id(), stream = stream_id, %error, "a reservation could not be given back");
        }
    }
}

/// Ends a stream that began before this hub was opened: whoever starts it again need not wait for upkeep.
pub(crate) fn end_of_before(tx: &mut WriteTx<'_>, stream: &str, opened_at: &Moment) -> Result<()> {
    let is_of_before = streams::by_id(tx, stream)?.is_some_and(|row| {
        row.status == streams::Status::Active
            && row.started_at.parse().is_ok_and(|start: Moment| start < *opened_at)
    });
    if is_of_before {
        streams::end(tx, stream)?;
    }
    Ok(())
}
