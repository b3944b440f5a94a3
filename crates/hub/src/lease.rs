//! A lease on an app: what a media server holds while it works with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use streamhub_appstore::{ReadTx, WriteTx};
use streamhub_control::apps::App;
use streamhub_engine::AppId;
use streamhub_engine::cache;
use streamhub_engine::live::{Live, LiveError};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::acting::Acting;
use crate::error::{HubError, Result};
use crate::opener::{AppOpener, OpenApp, Services};

/// How often others go first before a short read takes a thread of its own.
const PATIENCE: usize = 16;

/// An app in use. While it or a clone of it lives, the app's database stays open and the app can be
/// neither deleted nor moved, so keep it for the length of a piece of work rather than of a program.
///
/// Closures get a transaction. One that writes may run more than once and together with others in one
/// commit, so it must have no effects outside; it returns an error, or panics, and nothing of it remains.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::vods::{self, NewVod, VodFilter};
/// use streamhub::{HubError, stats};
///
/// let app = hub.app(&"news-24".parse()?)?;
///
/// // Durable when it returns. A closure may do several things at once.
/// let new = NewVod { app_id: app.registered().id, ..NewVod::named("a.mp4") };
/// let vod = app.write(move |tx| Ok::<_, HubError>(vods::create(tx, &new)?))?;
///
/// // One snapshot for both.
/// let (listed, counted) = app.read(|tx| {
///     Ok::<_, HubError>((vods::list(tx, &VodFilter::default())?, stats::of(tx)?))
/// })?;
/// assert_eq!((listed.data, counted.vods.recording), (vec![vod], 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    lease: cache::Lease<AppOpener>,
    pub(crate) actor: Option<Arc<Acting>>,
}

impl Lease {
    pub(crate) fn new(lease: cache::Lease<AppOpener>, actor: Option<Arc<Acting>>) -> Self {
        Self { lease, actor }
    }

    /// Whose database it is.
    pub fn id(&self) -> &AppId {
        self.lease.id()
    }

    /// What the registry said of the app when its database was opened.
    pub fn registered(&self) -> &App {
        &self.open().registered
    }

    /// Reads: everything in the closure sees one snapshot. Blocks, usually for microseconds.
    pub fn read<T, E: CallerError>(&self, work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>) -> Result<T, E> {
        hand_back(self.open().live.read(|tx| work(tx).map_err(Inside::Theirs)))
    }

    /// Reads with a single statement, a little faster than [`read`](Self::read).
    pub fn get<T, E: CallerError>(&self, work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>) -> Result<T, E> {
        hand_back(self.open().live.get(|tx| work(tx).map_err(Inside::Theirs)))
    }

    /// Writes, and returns after the commit is durable. Blocks for a sync of the disk.
    pub fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: CallerError,
    {
        let written = self.open().live.write(noticing(work));
        self.follow_up(&written);
        written.map(|(result, _)| result).map_err(Inside::unwrap)
    }

    /// As [`read`](Self::read), for async callers: on a blocking thread.
    pub async fn read_async<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: CallerError,
    {
        let lease = self.clone();
        self.services().blocking.run(&self.open().readers, move || lease.read(work)).await?
    }

    /// As [`read`](Self::read), for async callers whose closure takes microseconds: on the calling thread
    /// where the app is idle and another thread of the runtime is free, after others had their turn where that is soon,
    /// otherwise on a blocking thread.
    pub async fn peek<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: CallerError,
    {
        match self.inline(|tx: &ReadTx<'_>| work(tx).map_err(Inside::Theirs), Live::try_read).await {
            Ok(result) => hand_back(result),
            Err(work) => self.read_async(|tx| work(tx).map_err(Inside::unwrap)).await,
        }
    }

    /// As [`peek`](Self::peek) with a single statement, a little faster.
    pub async fn peek_one<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: CallerError,
    {
        match self.inline(|tx: &ReadTx<'_>| work(tx).map_err(Inside::Theirs), Live::try_get).await {
            Ok(result) => hand_back(result),
            Err(work) => self.read_async(|tx| work(tx).map_err(Inside::unwrap)).await,
        }
    }

    /// As [`write`](Self::write), for async callers. Cancel-safe: a write that was begun happens, with all that
    /// follows from it, although nobody waits for its answer.
    pub async fn write_async<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: CallerError,
    {
        let (answer, answered) = oneshot::channel();
        // The app stays open until the answer is there, also where the caller goes away.
        let lease = self.clone();
        self.open()
            .live
            .submit(noticing(work), move |written| {
                lease.follow_up(&written);
                let _ = answer.send(written);
                drop(lease);
            })
            .map_err(Inside::unwrap)?;
        match answered.await {
            Ok(written) => written.map(|(result, _)| result).map_err(Inside::unwrap),
            Err(_) => Err(HubError::Closed.into()),
        }
    }

    pub(crate) fn open(&self) -> &OpenApp {
        &self.lease
    }

    pub(crate) fn services(&self) -> &Services {
        &self.open().services
    }

    /// Has work done on the calling thread, or gives it back. Who has the right to that has it for
    /// microseconds, so that to let others go first a few times costs less than another thread.
    async fn inline<T, F>(&self, work: F, run: impl FnOnce(&Live, F) -> Result<T, F>) -> Result<T, F> {
        for _ in 0..PATIENCE {
            if let Some(_right) = self.inline_right() {
                return run(&self.open().live, work);
            }
            yield_now().await;
        }
        Err(work)
    }

    fn inline_right(&self) -> Option<impl Drop + '_> {
        let right = self.services().blocking.inline()?;
        let inline = &self.open().inline;
        // At most one for each app.
        (!inline.swap(true, Ordering::Relaxed)).then(|| InlineRight { inline, _right: right })
    }

    /// Has the outbox shipped, where a write has or may have left work in it.
    fn follow_up<T, E: CallerError>(&self, written: &Result<(T, bool), Inside<E>>) {
        if matches!(written, Ok((_, true)) | Err(Inside::Live(LiveError::CommitUnknown { .. }))) {
            self.services().upkeep.ship(self.registered().id);
        }
    }
}

/// What closures may fail with: any error that can also say what the hub has to say.
/// [`HubError`] is one, and an enum of the embedder's own another:
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::streams::{self, NewStream};
/// use streamhub::{HubError, StoreError};
///
/// #[derive(Debug, thiserror::Error)]
/// enum PublishError {
///     #[error("enough cameras are live")]
///     Enough,
///     #[error(transparent)]
///     Hub(#[from] HubError),
/// }
///
/// impl From<StoreError> for PublishError {
///     fn from(error: StoreError) -> Self {
///         Self::Hub(error.into())
///     }
/// }
///
/// let app = hub.app(&"news-24".parse()?)?;
/// app.start_stream(NewStream::named("live/cam", streams::Kind::Rtmp))?;
/// let refused = app.read(|tx| {
///     if streams::count_active(tx)? > 0 { Err(PublishError::Enough) } else { Ok(()) }
/// });
/// assert!(matches!(refused, Err(PublishError::Enough)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CallerError: From<HubError> + std::error::Error + Send + 'static {}

impl<E: From<HubError> + std::error::Error + Send + 'static> CallerError for E {}

/// An error on its way through the engine, which knows no hub.
#[derive(Debug, thiserror::Error)]
enum Inside<E: std::error::Error + 'static> {
    #[error(transparent)]
    Theirs(E),
    #[error(transparent)]
    Live(#[from] LiveError),
}

impl<E: CallerError> Inside<E> {
    fn unwrap(self) -> E {
        match self {
            Self::Theirs(error) => error,
            Self::Live(error) => HubError::from(error).into(),
        }
    }
}

fn hand_back<T, E: CallerError>(result: Result<T, Inside<E>>) -> Result<T, E> {
    result.map_err(Inside::unwrap)
}

/// Also says whether the closure has left work in the outbox.
fn noticing<T, E: CallerError>(
    mut work: impl FnMut(&mut WriteTx<'_>) -> Result<T, E>,
) -> impl FnMut(&mut WriteTx<'_>) -> Result<(T, bool), Inside<E>> {
    move |tx| {
        let result = work(tx).map_err(Inside::Theirs)?;
        Ok((result, tx.owes_follow_up()))
    }
}

struct InlineRight<'a> {
    inline: &'a AtomicBool,
    _right: crate::blocking::Inline<'a>,
}

impl Drop for InlineRight<'_> {
    fn drop(&mut self) {
        self.inline.store(false, Ordering::Relaxed);
    }
}
