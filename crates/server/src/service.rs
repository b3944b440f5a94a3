//! What the handlers answer from: a hub that is being opened, is open, or is being closed.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use streamhub::Hub;

/// The server's state. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stage: RwLock<Stage>,
    since: Instant,
}

/// Where the server is in its life.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// The databases are being opened, which takes minutes where much older data is taken over.
    Booting,
    /// Requests are served.
    Ready(Hub),
    /// The server ends once what it is doing is done.
    Stopping,
}

impl Service {
    /// A server whose hub is still being opened.
    pub fn booting() -> Self {
        Self { shared: Arc::new(Shared { stage: RwLock::new(Stage::Booting), since: Instant::now() }) }
    }

    /// Begins to serve from an open hub, unless the server is stopping already.
    pub fn ready(&self, hub: Hub) {
        let mut stage = self.shared.stage.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*stage, Stage::Booting) {
            *stage = Stage::Ready(hub);
        }
    }

    /// Takes no more work. The hub stays open for its owner to close.
    pub fn stop(&self) {
        let mut stage = self.shared.stage.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *stage, Stage::Stopping);
        drop(stage);
        // The last handle of a hub closes databases, which is not done under a lock.
        drop(before);
    }

    pub(crate) fn stage(&self) -> Stage {
        self.shared.stage.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn uptime_seconds(&self) -> u64 {
        self.shared.since.elapsed().as_secs()
    }
}
