//! Streams that begin and end: a row in the app, and a reservation of the tenant's concurrent streams.
//!
//! The reservation is durable before the row and given back after it, so that a process that ends in
//! between leaves at most a reservation without a stream, which the next start finds. Whoever does both
//! has the stream alone meanwhile, so that nobody gives back what another has just taken.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use streamhub_appstore::streams::{self, NewStream, Stream};
use streamhub_appstore::{ReadTx, WriteTx};
use streamhub_control::attention;
use streamhub_engine::live::Busy;

use crate::acting::Deed;
use crate::config::LiveStreams;
use crate::error::{HubError, Kind, Result};
use crate::lease::Lease;
use crate::turns::Turn;

/// The streams that this process has begun and not ended, by their apps' numbers. Whatever else is marked as
/// live was so when a process before ended; no clock is asked, since one can be set back.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    streams: Mutex<HashMap<i64, HashSet<String>>>,
    /// Apps that were looked through for streams of before.
    seen: Mutex<HashSet<i64>>,
}

impl Begun {
    fn add(&self, app: i64, stream: String) {
        self.apps().entry(app).or_default().insert(stream);
    }

    fn has(&self, app: i64, stream: &str) -> bool {
        self.apps().get(&app).is_some_and(|streams| streams.contains(stream))
    }

    /// The streams that are marked as live when this process opens an app for the first time; none later.
    pub(crate) fn first_look(&self, app: i64, tx: &ReadTx<'_>) -> Result<BTreeSet<String>> {
        if self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&app) {
            return Ok(BTreeSet::new());
        }
        let live = streams::live(tx)?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(app);
        Ok(live.into_keys().collect())
    }

    fn remove(&self, app: i64, ended: &[String]) {
        let mut apps = self.apps();
        let Some(streams) = apps.get_mut(&app) else { return };
        for stream in ended {
            streams.remove(stream);
        }
        if streams.is_empty() {
            apps.remove(&app);
        }
    }

    /// An app's streams have all ended.
    pub(crate) fn forget(&self, app: i64) {
        self.apps().remove(&app);
    }

    fn apps(&self) -> MutexGuard<'_, HashMap<i64, HashSet<String>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Begins a stream: reserves one of the tenant's concurrent streams, then writes its row. One that is
    /// live already is refused, one that has ended begins anew; so does one that was live when the process
    /// before ended, unless [`LiveStreams::Keep`] says that it still is. Blocks for two syncs of the disk.
    pub fn start_stream(&self, new: NewStream) -> Result<Stream> {
        let (app, stream) = (self.registered().id, new.stream_id.clone());
        let _turn = self.turn(&stream)?;
        let reserved = self.services().plane.write({
            let (stream, quotas) = (stream.clone(), self.services().quotas);
            move |db| attention::reserve_stream(db, app, &stream, quotas)
        })??;
        let new = NewStream { app_id: app, ..new };
        let is_of_before = self.is_of_before(&stream);
        let deed = Deed::of("stream.start").target(&stream);
        let started: Result<Stream> = self.write(self.audited(deed, move |tx, _| {
            if is_of_before {
                end_if_live(tx, &new.stream_id)?;
            }
            Ok(streams::start(tx, &new)?)
        }));
        match &started {
            // Where the row may be there, its reservation stays until somebody has looked.
            Err(error) if error.kind() != Kind::Unknown => {
                if reserved {
                    self.release(vec![stream]);
                }
            }
            _ => self.services().begun.add(app, stream),
        }
        started
    }

    /// Ends a stream and gives its reservation back; says whether it was live. Ending it again is fine.
    pub fn end_stream(&self, stream_id: &str) -> Result<bool> {
        let _turn = self.turn(stream_id)?;
        let stream = stream_id.to_owned();
        let deed = Deed::of("stream.end").target(stream_id);
        let ended = self.write(self.audited(deed, move |tx, _| Ok(streams::end(tx, &stream)?)))?;
        self.release(vec![stream_id.to_owned()]);
        Ok(ended)
    }

    /// As [`start_stream`](Self::start_stream), for async callers.
    pub async fn start_stream_async(&self, new: NewStream) -> Result<Stream> {
        self.blocking(move |lease| lease.start_stream(new)).await
    }

    /// As [`end_stream`](Self::end_stream), for async callers.
    pub async fn end_stream_async(&self, stream_id: &str) -> Result<bool> {
        let stream = stream_id.to_owned();
        self.blocking(move |lease| lease.end_stream(&stream)).await
    }

    /// Ends every stream that is marked as live and is not among `live`, and gives their reservations back, and
    /// any that is left over: for a media server that knows what it serves. Returns the streams that were ended.
    pub fn reconcile_streams(&self, live: Vec<String>) -> Result<Vec<String>> {
        let named = BTreeSet::from_iter(live);
        let mut stale = self.read(|tx| streams::live(tx).map_err(HubError::from))?;
        stale.retain(|stream, _| !named.contains(stream));
        let _turns = self.turns(&stale.keys().cloned().collect())?;
        let ended = self.write(move |tx| {
            let mut ended = Vec::new();
            for (stream, began) in &stale {
                if streams::end_if_since(tx, stream, began)? {
                    ended.push(stream.clone());
                }
            }
            Ok::<_, HubError>(ended)
        })?;
        self.release(ended.clone());
        self.settle_reservations()?;
        Ok(ended)
    }

    /// As [`reconcile_streams`](Self::reconcile_streams), for async callers.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::streams::{self, NewStream};
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let app = hub.app_async(&"news-24".parse()?).await?;
    /// for stream in ["live/cam", "live/stage"] {
    ///     app.start_stream_async(NewStream::named(stream, streams::Kind::Rtmp)).await?;
    /// }
    /// let ended = app.reconcile_streams_async(vec!["live/cam".to_owned()]).await?;
    /// assert_eq!(ended, ["live/stage"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn reconcile_streams_async(&self, live: Vec<String>) -> Result<Vec<String>> {
        self.blocking(move |lease| lease.reconcile_streams(live)).await
    }

    /// Ends those of the streams that were live when the process before ended, unless they go on, and gives
    /// back the reservation of each that is not live.
    pub(crate) fn settle_streams(&self, reserved: BTreeSet<String>) -> Result<()> {
        let _turns = self.turns(&reserved)?;
        let of_before: Vec<_> = reserved.iter().filter(|stream| self.is_of_before(stream)).cloned().collect();
        if !of_before.is_empty() {
            self.write(move |tx| of_before.iter().try_for_each(|stream| end_if_live(tx, stream)))?;
        }
        self.give_back_what_is_over(reserved)
    }

    /// Gives back the reservations of streams that ended without saying so, in a closure of somebody's own.
    pub(crate) fn settle_reservations(&self) -> Result<()> {
        let app = self.registered().id;
        let rows = self.services().plane.read(move |db| attention::of_app(db, app))?;
        let mut over: BTreeSet<_> =
            rows.into_iter().filter(|row| row.kind == attention::STREAM).map(|row| row.reference).collect();
        if !over.is_empty() {
            let live = self.read(|tx| streams::live(tx).map_err(HubError::from))?;
            over.retain(|stream| !live.contains_key(stream));
        }
        if over.is_empty() {
            return Ok(());
        }
        let _turns = self.turns(&over)?;
        self.give_back_what_is_over(over)
    }

    /// Gives back the reservations of those that are not live, for whoever has their turns.
    fn give_back_what_is_over(&self, reserved: BTreeSet<String>) -> Result<()> {
        let live = self.read(|tx| streams::live(tx).map_err(HubError::from))?;
        self.give_back(reserved.into_iter().filter(|stream| !live.contains_key(stream)).collect())
    }

    /// Whether a stream that is marked as live is not: it was so when the process before ended.
    fn is_of_before(&self, stream: &str) -> bool {
        let services = self.services();
        services.live_streams == LiveStreams::End && !services.begun.has(self.registered().id, stream)
    }

    /// Has streams alone, which everybody takes in one order, so that no two wait for each other.
    fn turns(&self, streams: &BTreeSet<String>) -> Result<Vec<Turn<'_>>> {
        streams.iter().map(|stream| self.turn(stream)).collect()
    }

    /// Has a stream alone: its row and its reservation.
    fn turn(&self, stream: &str) -> Result<Turn<'_>> {
        let busy = || HubError::Busy { what: format!("{} of {}", stream, self.id()), reason: Busy::Stuck };
        self.open().turns.take(stream).ok_or_else(busy)
    }

    /// A reservation that is left over costs its tenant a stream until the next start, and nothing else.
    fn release(&self, streams: Vec<String>) {
        if let Err(error) = self.give_back(streams) {
            tracing::warn!(app.id = %self.id(), %error, "reservations could not be given back");
        }
    }

    /// Gives back the reservations of streams that are not live.
    fn give_back(&self, streams: Vec<String>) -> Result<()> {
        let app = self.registered().id;
        self.services().begun.remove(app, &streams);
        Ok(self.services().plane.write(move |db| {
            streams.iter().try_for_each(|stream| attention::release_stream(db, app, stream).map(drop))
        })?)
    }
}

fn is_live(tx: &ReadTx<'_>, stream: &str) -> Result<bool> {
    Ok(streams::by_id(tx, stream)?.is_some_and(|row| row.status == streams::Status::Active))
}

fn end_if_live(tx: &mut WriteTx<'_>, stream: &str) -> Result<()> {
    if is_live(tx, stream)? {
        streams::end(tx, stream)?;
    }
    Ok(())
}
