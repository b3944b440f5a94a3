//! Where blocking work meets the async runtime.
//!
//! Work that may wait for a disk runs on tokio's blocking threads, no more than a fixed number at a time, and
//! far fewer for one app, so that an app that does not answer leaves threads to the others. Reads that take
//! microseconds may run on the runtime's own threads, as long as one of those is left for everybody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use streamhub_engine::AppId;
use streamhub_engine::live::Executor;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::lease::Lease;

/// Blocking operations of async callers at the same time.
const AT_ONCE: usize = 64;

/// Those of them that may be of one app: of its leases, and of those who ask for it.
pub(crate) const OF_ONE_APP: usize = 8;

/// Operations on the control database at the same time. They wait for no app, so nobody waits for one there.
const ON_CONTROL: usize = 16;

/// Those of them that look through much of it, so that it has readers for who asks.
const SEARCHES: usize = 2;

/// The bridge to the runtime that was found first.
#[derive(Clone, Debug)]
pub(crate) struct Blocking {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    runtime: OnceLock<Handle>,
    permits: Arc<Semaphore>,
    control: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    asked: Mutex<HashMap<Option<AppId>, Asked>>,
    inline: AtomicUsize,
}

/// What somebody asks for at the moment: an app, or none that is known before.
#[derive(Debug)]
struct Asked {
    by: usize,
    permits: Arc<Semaphore>,
}

/// One who asks for an app, which need not be open.
#[derive(Debug)]
struct Asking {
    shared: Arc<Shared>,
    app: Option<AppId>,
}

/// The right to keep a thread of the runtime for some microseconds.
#[derive(Debug)]
pub(crate) struct Inline<'a>(&'a Shared);

impl Blocking {
    pub(crate) fn new() -> Self {
        let runtime = Handle::try_current().map_or_else(|_| OnceLock::new(), OnceLock::from);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            shared: Arc::new(Shared {
                runtime,
                permits: semaphore(AT_ONCE),
                control: semaphore(ON_CONTROL),
                searches: semaphore(SEARCHES),
                asked: Mutex::default(),
                inline: AtomicUsize::new(0),
            }),
        }
    }

    /// Runs work on a thread that may block, as soon as its app has a permit left. Work that was begun goes on
    /// when the caller gives up, and has its permits until it ends.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        of_app: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        // The app's own first, so that who waits for it takes nothing from others.
        let own = permit(of_app).await?;
        let general = permit(&self.shared.permits).await?;
        self.spawn((own, general), work).await
    }

    /// The same for work on the control database, for which nothing that hangs elsewhere is in the way.
    async fn run_on_control<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let permit = permit(&self.shared.control).await?;
        self.spawn(permit, work).await
    }

    async fn spawn<T: Send + 'static>(
        &self,
        permits: impl Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let work = move || {
            let _permits = permits;
            work()
        };
        match self.runtime().spawn_blocking(work).await {
            Ok(result) => Ok(result),
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            // The runtime is going away.
            Err(_) => Err(HubError::Closed),
        }
    }

    /// The right to work on the calling thread of the runtime; none where all but one are taken.
    pub(crate) fn inline(&self) -> Option<Inline<'_>> {
        let spare = self.runtime().metrics().num_workers().saturating_sub(1);
        let taken = self.shared.inline.fetch_add(1, Ordering::Relaxed);
        let right = Inline(&self.shared);
        (taken < spare).then_some(right)
    }

    /// Who leads for writes that nobody's thread waits for.
    pub(crate) fn executor(&self) -> Executor {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |work| match shared.runtime.get() {
            Some(runtime) => drop(runtime.spawn_blocking(work)),
            // Where there is no thread to be had, the work is dropped, which does it.
            None => drop(std::thread::Builder::new().spawn(work)),
        })
    }

    /// Asks for an app, and says with whose permits.
    fn ask(&self, app: Option<&AppId>) -> (Asking, Arc<Semaphore>) {
        let mut asked = self.shared.asked();
        let new = || Asked { by: 0, permits: Arc::new(Semaphore::new(OF_ONE_APP)) };
        let asked = asked.entry(app.cloned()).or_insert_with(new);
        asked.by += 1;
        (Asking { shared: Arc::clone(&self.shared), app: app.cloned() }, Arc::clone(&asked.permits))
    }

    fn runtime(&self) -> &Handle {
        self.shared.runtime.get_or_init(Handle::current)
    }
}

async fn permit(permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    Arc::clone(permits).acquire_owned().await.map_err(|_| HubError::Closed)
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, HashMap<Option<AppId>, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Does for an async caller what blocks, for an app where it is known which: for whatever has no twin of its
    /// own for async callers. Those who ask for an app do not stand in the way of those who have a lease on
    /// it: some wait for these leases to end.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let sizes = hub.blocking(None, streamhub::Hub::sizes).await?;
    /// assert_eq!(sizes.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn blocking<T: Send + 'static>(
        &self,
        app: Option<&AppId>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (hub, blocking) = (self.clone(), &self.shared.services.blocking);
        let (asking, permits) = blocking.ask(app);
        let work = move || {
            let _asking = asking;
            work(&hub)
        };
        blocking.run(&permits, work).await?
    }
}

impl Hub {
    /// Does for an async caller what reads or writes nothing but the control database: who asks, and what that
    /// permits, is found out although every app hangs.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let tenants = hub.on_control(|hub| hub.registry().tenants()).await?;
    /// assert_eq!(tenants.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn on_control<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let hub = self.clone();
        self.shared.services.blocking.run_on_control(move || work(&hub)).await?
    }
}

impl Hub {
    /// As [`on_control`](Self::on_control), for what looks through much of the control database: few do at a time,
    /// and nobody else waits for them.
    pub async fn searching<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let search = permit(&self.shared.services.blocking.shared.searches).await?;
        let work = move |hub: &Self| {
            let _search = search;
            work(hub)
        };
        self.on_control(work).await
    }
}

impl Lease {
    /// Does for an async caller what blocks; the app stays open meanwhile, also where the caller goes away.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lease = self.clone();
        self.services().blocking.run(&self.open().workers, move || work(&lease)).await?
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut all = self.shared.asked();
        if let Some(asked) = all.get_mut(&self.app) {
            asked.by -= 1;
            if asked.by == 0 {
                all.remove(&self.app);
            }
        }
    }
}

impl Drop for Inline<'_> {
    fn drop(&mut self) {
        self.0.inline.fetch_sub(1, Ordering::Relaxed);
    }
}
