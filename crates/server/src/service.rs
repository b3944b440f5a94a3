//! What the handlers answer from: a hub that is being opened, is open, or is being closed.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use streamhub::{Hub, Observer};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::config::ServerConfig;
use crate::error::ApiError;
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::shares::{Share, Shares};

/// How many answers that go on one caller may have.
const FOLLOWED_AT_ONCE: usize = 16;

/// The server's state. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stage: RwLock<Stage>,
    stopping: watch::Sender<bool>,
    since: Instant,
    config: ServerConfig,
    requests: Semaphore,
    followers: Arc<Shares<String>>,
    intake: Intake,
    metrics: Metrics,
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
    /// A server whose hub is still being opened, with the default configuration.
    pub fn booting() -> Self {
        Self::configured(ServerConfig::default())
    }

    /// A server whose hub is still being opened.
    pub fn configured(config: ServerConfig) -> Self {
        let shared = Shared {
            stage: RwLock::new(Stage::Booting),
            stopping: watch::Sender::new(false),
            since: Instant::now(),
            requests: Semaphore::new(config.max_requests),
            followers: Shares::new(FOLLOWED_AT_ONCE),
            intake: Intake::new(),
            metrics: Metrics::new(),
            config,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Who counts for `/metrics` what the hub does; for [`HubConfig::observer`](streamhub::HubConfig::observer).
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.shared.metrics.observer()
    }

    /// The same of the control database's writer; for
    /// [`HubConfig::control_observer`](streamhub::HubConfig::control_observer).
    pub fn control_observer(&self) -> Arc<dyn Observer> {
        self.shared.metrics.control_observer()
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
        self.shared.stopping.send_replace(true);
        // The last handle of a hub closes databases, which is not done under a lock.
        drop(before);
    }

    /// Is done once the server stops. Answers that go on for long end then.
    pub(crate) async fn stopping(&self) {
        let mut stopping = self.shared.stopping.subscribe();
        // The sender lives as long as this service.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// The hub, once it is open.
    pub(crate) fn hub(&self) -> Result<Hub, ApiError> {
        match self.stage() {
            Stage::Booting => Err(ApiError::Booting),
            Stage::Ready(hub) => Ok(hub),
            Stage::Stopping => Err(ApiError::Stopping),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.shared.stage.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn uptime_seconds(&self) -> u64 {
        self.shared.since.elapsed().as_secs()
    }

    pub(crate) fn config(&self) -> &ServerConfig {
        &self.shared.config
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// A place among the requests that are worked on; none where all are taken.
    pub(crate) fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.shared.requests.try_acquire().ok()
    }

    /// Where the bodies of requests are taken in.
    pub(crate) fn intake(&self) -> &Intake {
        &self.shared.intake
    }

    /// A place for an answer to this principal that goes on; none where all of its places are taken.
    pub(crate) fn follower(&self, principal: String) -> Option<Share<String>> {
        self.shared.followers.take(principal)
    }
}
