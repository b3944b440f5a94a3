//! What a hub does of its own accord, on one thread of its own, whatever the number of apps.
//!
//! It closes apps that nobody uses, ships their outboxes, finishes what the process before left behind,
//! prunes what was kept long enough, and looks once for directories that the registry does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamhub_engine::AppId;

use crate::error::{HubError, Result};
use crate::hub::{Hub, Shared};

/// How often what was kept long enough is looked for.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// The thread and what it has to do.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Desk {
    tasks: Mutex<Tasks>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct Tasks {
    stop: bool,
    errands: Errands,
}

/// What apps were found to need since the thread looked last.
#[derive(Debug, Default)]
struct Errands {
    /// Streams of before that are to be settled.
    streams: BTreeMap<AppId, BTreeSet<String>>,
    outboxes: BTreeSet<AppId>,
}

impl Errands {
    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.outboxes.is_empty()
    }

    fn add(&mut self, mut other: Self) {
        self.streams.append(&mut other.streams);
        self.outboxes.append(&mut other.outboxes);
    }
}

impl Upkeep {
    pub(crate) fn start(&self, hub: &Hub) {
        let (desk, weak) = (Arc::clone(&self.desk), Arc::downgrade(&hub.shared));
        let every = hub.shared.config.idle;
        let spawned =
            thread::Builder::new().name("streamhub-upkeep".to_owned()).spawn(move || desk.work(&weak, every));
        match spawned {
            Ok(thread) => *self.thread() = Some(thread),
            Err(error) => tracing::error!(%error, "upkeep could not be started"),
        }
    }

    /// Has an app's outbox shipped soon.
    pub(crate) fn ship(&self, id: &AppId) {
        self.desk.tasks().errands.outboxes.insert(id.clone());
        self.desk.woken.notify_one();
    }

    /// Has an app's streams of before settled soon.
    pub(crate) fn settle(&self, id: &AppId, streams: BTreeSet<String>) {
        if !streams.is_empty() {
            self.desk.tasks().errands.streams.insert(id.clone(), streams);
            self.desk.woken.notify_one();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.desk.tasks().stop
    }

    /// Ends the thread after what it is doing.
    pub(crate) fn stop(&self) {
        self.desk.tasks().stop = true;
        self.desk.woken.notify_one();
        let Some(thread) = self.thread().take() else { return };
        // The thread itself may hold the last reference to a hub that nobody closed.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, hub: &Weak<Shared>, every: Duration) {
        let Some(shared) = hub.upgrade() else { return };
        let first = Hub { shared };
        // Apps for which that failed; it is tried again at each sweep.
        let mut asking = note("attend to apps", first.attend()).unwrap_or_default();
        note("look for directories that nobody knows", first.look_around());
        drop(first);
        let mut swept = Instant::now();
        let mut pruned: Option<Instant> = None;
        // What could not be done; each new errand is tried at once.
        let mut failed = Errands::default();
        while let Some(Errands { streams, outboxes }) = self.wait_until(swept + every) {
            let Some(shared) = hub.upgrade() else { return };
            let hub = Hub { shared };
            for (id, streams) in streams {
                let settled = hub.app(&id).and_then(|lease| lease.settle_streams(streams.clone()));
                if is_to_be_tried_again(&settled) {
                    failed.streams.insert(id, streams);
                }
                note("settle streams", settled);
            }
            for id in outboxes {
                let shipped = hub.ship(&id);
                if is_to_be_tried_again(&shipped) {
                    failed.outboxes.insert(id);
                }
                note("ship an outbox", shipped);
            }
            if swept.elapsed() >= every {
                hub.shared.cache.sweep();
                note("forget empty outboxes", hub.forget_empty_outboxes());
                swept = Instant::now();
                self.tasks().errands.add(std::mem::take(&mut failed));
                asking.retain(|id| !hub.is_attended_to(id));
            }
            if pruned.is_none_or(|pruned| pruned.elapsed() >= PRUNE_EVERY) {
                note("prune", hub.prune());
                pruned = Some(Instant::now());
            }
        }
    }

    /// Waits for work or a moment; none when it is time to stop.
    fn wait_until(&self, moment: Instant) -> Option<Errands> {
        let mut tasks = self.tasks();
        loop {
            if tasks.stop {
                return None;
            }
            let left = moment.saturating_duration_since(Instant::now());
            if !tasks.errands.is_empty() || left.is_zero() {
                return Some(std::mem::take(&mut tasks.errands));
            }
            tasks = self.woken.wait_timeout(tasks, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn is_to_be_tried_again(done: &Result<()>) -> bool {
    matches!(done, Err(error) if !matches!(error, HubError::UnknownApp { .. }))
}

fn note<T>(what: &'static str, done: Result<T>) -> Option<T> {
    done.inspect_err(|error| tracing::warn!(what, %error, "upkeep could not be done")).ok()
}
