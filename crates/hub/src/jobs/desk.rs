//! Whose turn it is: jobs that wait, and those at work.
//!
//! While any job waits, one thread looks whether it is its turn; each job at work has a thread of its own, and
//! there are as many as there are places. With neither there is no thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use streamhub_control::attention;
use streamhub_control::jobs::{self, Job, JobState};
use streamhub_engine::Uuid;

use super::entry::Entry;
use super::failure;
use crate::error::{HubError, Result};
use crate::hub::{Hub, Shared};

/// How often it is looked whether live streams have ended that a job waits for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Jobs of one app that wait, give or take those that are asked for at the same moment.
const OF_ONE_APP: usize = 16;

/// Figures of jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobStats {
    /// Those that wait.
    pub queued: usize,
    /// Those at work.
    pub running: usize,
    /// Those that succeeded since the hub was opened.
    pub succeeded: u64,
    /// Those that failed since then.
    pub failed: u64,
    /// Those that were cancelled since then.
    pub cancelled: u64,
}

/// The jobs of a hub.
#[derive(Default)]
pub(crate) struct Desk {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    /// Whether a thread looks whose turn it is.
    is_watched: bool,
    queued: VecDeque<Arc<Entry>>,
    /// Those that were taken out of the queue and are neither at work nor over yet.
    withdrawn: Vec<Arc<Entry>>,
    running: Vec<Arc<Entry>>,
    /// Counts what may make it somebody's turn.
    changes: u64,
    over: JobStats,
}

impl Desk {
    /// The job of this id, if it is not over.
    pub(super) fn find(&self, id: &Uuid) -> Option<Arc<Entry>> {
        self.state().all().find(|entry| entry.id() == id).cloned()
    }

    pub(super) fn stats(&self) -> JobStats {
        let state = self.state();
        JobStats {
            queued: state.queued.len() + state.withdrawn.len(),
            running: state.running.len(),
            ..state.over
        }
    }

    /// Whether as many jobs of an app wait as may.
    pub(super) fn is_full_for(&self, app: i64) -> bool {
        self.state().queued.iter().filter(|entry| entry.app == app).count() >= OF_ONE_APP
    }

    /// Has a job wait for its turn, whose row is durable.
    pub(super) fn push(&self, hub: &Hub, entry: Arc<Entry>) -> Result<()> {
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            entry.end(hub, entry.cancelled(Some(failure::stopping())));
            return Err(HubError::Closed);
        }
        state.queued.push_back(entry);
        self.have_watched(hub, state);
        Ok(())
    }

    /// Takes a job out of the queue and says whether it was there. It is to be settled then.
    pub(super) fn withdraw(&self, entry: &Arc<Entry>) -> bool {
        let mut state = self.state();
        let Some(at) = state.queued.iter().position(|queued| Arc::ptr_eq(queued, entry)) else {
            return false;
        };
        state.queued.remove(at);
        state.withdrawn.push(Arc::clone(entry));
        true
    }

    /// A job that was withdrawn is over, or else waits again.
    pub(super) fn settle(&self, hub: &Hub, entry: &Arc<Entry>, over: Option<Job>) {
        let mut state = self.state();
        state.withdrawn.retain(|withdrawn| !Arc::ptr_eq(withdrawn, entry));
        if let Some(over) = over {
            state.over.count(over.state);
            entry.show(over);
        } else {
            state.queued.push_front(Arc::clone(entry));
            self.have_watched(hub, state);
        }
    }

    /// Cancels the jobs of a deleted app that wait. One that cannot be written down as cancelled fails when it has
    /// its turn.
    pub(super) fn cancel_of(&self, hub: &Hub, app: i64) {
        let waiting: Vec<_> = self.state().queued.iter().filter(|entry| entry.app == app).cloned().collect();
        for entry in waiting.into_iter().filter(|entry| self.withdraw(entry)) {
            let over = entry.cancelled(Some(failure::deleted()));
            let row = over.clone();
            let saved = hub.note_down(move |db| jobs::save(db, &row).map(drop));
            if let Err(error) = &saved {
                tracing::warn!(job.id = %entry.id(), %error, "a deleted app's job waits on");
            }
            self.settle(hub, &entry, saved.is_ok().then_some(over));
        }
    }

    /// Cancels all jobs: those that wait are over, and those at work have until `deadline` to end.
    pub(crate) fn close(&self, hub: &Hub, deadline: Instant) {
        let mut state = self.state();
        state.is_closed = true;
        let queued = std::mem::take(&mut state.queued);
        state.running.iter().for_each(|entry| entry.stop().ask());
        self.note(state);
        let over: Vec<Job> = queued.iter().map(|entry| entry.cancelled(Some(failure::stopping()))).collect();
        if !over.is_empty() {
            let rows = over.clone();
            let saved =
                hub.note_down(move |db| rows.iter().try_for_each(|job| jobs::save(db, job).map(drop)));
            match saved {
                Ok(()) => queued.iter().zip(over).for_each(|(entry, over)| {
                    self.state().over.count(over.state);
                    entry.show(over);
                }),
                Err(error) => tracing::warn!(%error, "jobs that waited are marked at the next start"),
            }
        }
        let mut state = self.state();
        while !state.running.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(count = state.running.len(), "jobs did not end in time");
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the thread of a hub that nobody closed.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.is_closed = true;
        self.note(state);
    }

    /// Has it looked whose turn it is, where a job was put into the queue.
    fn have_watched(&self, hub: &Hub, mut state: MutexGuard<'_, State>) {
        let is_watched = std::mem::replace(&mut state.is_watched, true);
        self.note(state);
        if is_watched {
            return;
        }
        let (desk, weak) = (self.clone(), Arc::downgrade(&hub.shared));
        let watching = move || desk.look_whose_turn(&weak);
        if let Err(error) = thread::Builder::new().name("streamhub-jobs".to_owned()).spawn(watching) {
            tracing::error!(%error, "jobs wait until the next is asked for");
            self.state().is_watched = false;
        }
    }

    fn look_whose_turn(&self, hub: &Weak<Shared>) {
        loop {
            let seen = self.state().changes;
            let Some(shared) = hub.upgrade() else { return };
            let is_postponed = self.begin_what_can_be(&shared);
            // It may be the last, and whoever drops that comes back to this desk.
            drop(shared);
            let mut state = self.state();
            if state.queued.is_empty() || state.is_closed {
                state.is_watched = false;
                return;
            }
            let nothing_new = |state: &mut State| state.changes == seen;
            if is_postponed {
                drop(self.changed.wait_timeout_while(state, LOOK_EVERY, nothing_new));
            } else {
                drop(self.changed.wait_while(state, nothing_new));
            }
        }
    }

    /// Begins the jobs whose turn it is, and says whether any waits for live streams.
    fn begin_what_can_be(&self, shared: &Arc<Shared>) -> bool {
        let hub = Hub::of(Arc::clone(shared));
        let mut postponed: Vec<Arc<Entry>> = Vec::new();
        while let Some(entry) = self.next(&postponed) {
            let streams = if entry.is_patient { live_streams(&hub, entry.app) } else { 0 };
            if streams > 0 {
                entry.postpone(&hub, streams);
                postponed.push(entry);
            } else if self.take(&entry) {
                self.begin(&hub, &entry);
            }
        }
        !postponed.is_empty()
    }

    /// The first job that waits for nothing but perhaps live streams.
    fn next(&self, postponed: &[Arc<Entry>]) -> Option<Arc<Entry>> {
        let state = self.state();
        if state.is_closed {
            return None;
        }
        let is_free = |entry: &&Arc<Entry>| {
            let in_lane = state.running.iter().filter(|other| other.lane == entry.lane).count();
            in_lane < entry.lane.places() && state.running.iter().all(|other| other.app != entry.app)
        };
        let is_postponed = |entry: &&Arc<Entry>| postponed.iter().any(|other| Arc::ptr_eq(other, entry));
        state.queued.iter().find(|entry| is_free(entry) && !is_postponed(entry)).cloned()
    }

    /// Takes a job out of the queue to be at work; somebody may have cancelled it meanwhile.
    fn take(&self, entry: &Arc<Entry>) -> bool {
        let mut state = self.state();
        let Some(at) = state.queued.iter().position(|queued| Arc::ptr_eq(queued, entry)) else {
            return false;
        };
        state.queued.remove(at);
        state.running.push(Arc::clone(entry));
        true
    }

    fn begin(&self, hub: &Hub, entry: &Arc<Entry>) {
        let (desk, begun) = (self.clone(), Arc::clone(entry));
        let acting = Hub { actor: entry.actor(), ..hub.clone() };
        let work = move || {
            let how = begun.run(&acting, || desk.state().is_closed);
            desk.finish(&begun, how);
        };
        if let Err(error) = thread::Builder::new().name("streamhub-job".to_owned()).spawn(work) {
            tracing::error!(job.id = %entry.id(), %error, "there is no thread for a job");
            entry.fail(hub, failure::no_thread());
            self.finish(entry, JobState::Failed);
        }
    }

    fn finish(&self, entry: &Arc<Entry>, how: JobState) {
        let mut state = self.state();
        state.running.retain(|running| !Arc::ptr_eq(running, entry));
        state.over.count(how);
        self.note(state);
    }

    /// Something has changed.
    fn note(&self, mut state: MutexGuard<'_, State>) {
        state.changes += 1;
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.queued.iter().chain(&self.withdrawn).chain(&self.running)
    }
}

impl JobStats {
    fn count(&mut self, how: JobState) {
        match how {
            JobState::Succeeded => self.succeeded += 1,
            JobState::Failed => self.failed += 1,
            JobState::Cancelled => self.cancelled += 1,
            JobState::Queued | JobState::Running => {}
        }
    }
}

impl Clone for Desk {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), changed: Arc::clone(&self.changed) }
    }
}

/// The live streams of an app, as its reservations tell. Where that cannot be read the job finds out itself.
fn live_streams(hub: &Hub, app: i64) -> usize {
    let rows = hub.read(|db| attention::of_app(db, app)).unwrap_or_default();
    rows.iter().filter(|row| row.kind == attention::STREAM).count()
}
