//! Where blocking work meets the async runtime.
//!
//! Work that may wait for a disk runs on tokio's blocking threads, no more than a fixed number at a time.
//! Reads that take microseconds may run on the runtime's own threads, as long as one of those is left
//! for everybody else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use streamhub_engine::live::Executor;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::error::{HubError, Result};

/// Blocking operations of async callers at the same time.
const AT_ONCE: usize = 64;

/// The bridge to the runtime that was found first.
#[derive(Clone, Debug)]
pub(crate) struct Blocking {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    runtime: OnceLock<Handle>,
    permits: Semaphore,
    inline: AtomicUsize,
}

/// The right to keep a thread of the runtime for some microseconds.
#[derive(Debug)]
pub(crate) struct Inline<'a>(&'a Shared);

impl Blocking {
    pub(crate) fn new() -> Self {
        let runtime = Handle::try_current().map_or_else(|_| OnceLock::new(), OnceLock::from);
        let (permits, inline) = (Semaphore::new(AT_ONCE), AtomicUsize::new(0));
        Self { shared: Arc::new(Shared { runtime, permits, inline }) }
    }

    /// Runs work on a thread that may block. Work that was begun goes on when the caller gives up.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let _permit = self.shared.permits.acquire().await.map_err(|_| HubError::Closed)?;
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

    fn runtime(&self) -> &Handle {
        self.shared.runtime.get_or_init(Handle::current)
    }
}

impl Drop for Inline<'_> {
    fn drop(&mut self) {
        self.0.inline.fetch_sub(1, Ordering::Relaxed);
    }
}
