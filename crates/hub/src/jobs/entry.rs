//! A job in memory: from when it is asked for until it is over.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use streamhub_control::jobs::{self, Job, JobError, JobState};
use streamhub_engine::{Uuid, time};
use tokio::sync::watch;

use super::{Lane, Task, failure};
use crate::acting::Acting;
use crate::error::HubError;
use crate::hub::Hub;
use crate::progress::{Progress, Stop};
use crate::report::counted;

/// How often a job that advances within a step is written down.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How long until what could not be written down is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A job that waits or is at work.
pub(super) struct Entry {
    id: Uuid,
    /// The number of the app.
    pub(super) app: i64,
    pub(super) lane: Lane,
    /// Whether it waits for live streams to end.
    pub(super) is_patient: bool,
    actor: Option<Arc<Acting>>,
    stop: Stop,
    shown: watch::Sender<Job>,
    /// None once it was begun.
    task: Mutex<Option<Task>>,
}

impl Entry {
    pub(super) fn new(
        job: Job,
        app: i64,
        lane: Lane,
        is_patient: bool,
        actor: Option<Arc<Acting>>,
        task: Task,
    ) -> Self {
        let (id, shown) = (job.id.clone(), watch::Sender::new(job));
        Self { id, app, lane, is_patient, actor, stop: Stop::default(), shown, task: Mutex::new(Some(task)) }
    }

    pub(super) fn id(&self) -> &Uuid {
        &self.id
    }

    /// Who asked for it.
    pub(super) fn actor(&self) -> Option<Arc<Acting>> {
        self.actor.clone()
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// How it stands.
    pub(super) fn job(&self) -> Job {
        self.shown.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Job> {
        self.shown.subscribe()
    }

    /// Shows how it stands, once that is written down where it has to be.
    pub(super) fn show(&self, job: Job) {
        self.shown.send_replace(job);
    }

    /// What it is when it is cancelled.
    pub(super) fn cancelled(&self, reason: Option<JobError>) -> Job {
        Job { state: JobState::Cancelled, error: reason, updated_at: time::now(), ..self.job() }
    }

    /// Says for how many live streams it waits.
    pub(super) fn postpone(&self, hub: &Hub, streams: usize) {
        let step = format!("waiting for {} to end, unless it is forced", counted(streams, "live stream"));
        if self.shown.borrow().progress.step != step {
            self.advance(|job| job.progress.step = step);
            self.save(hub);
        }
    }

    /// Does the work, and shows how it ended once that is durable. `is_closing` tells why it was asked to stop.
    pub(super) fn run(&self, hub: &Hub, is_closing: impl Fn() -> bool) -> JobState {
        self.advance(|job| {
            job.state = JobState::Running;
            job.progress.step.clear();
        });
        self.save(hub);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(task) = task else { return self.job().state };
        let report = Report::of(self, hub);
        let done = catch_unwind(AssertUnwindSafe(|| task(hub, &report)));
        let (state, result, error) = match done {
            Ok(Ok(done)) => {
                let state = if done.finding.is_some() { JobState::Failed } else { JobState::Succeeded };
                (state, Some(done.result), done.finding)
            }
            Ok(Err(HubError::Cancelled)) => (JobState::Cancelled, None, is_closing().then(failure::stopping)),
            Ok(Err(error)) => {
                let way_out = error.way_out();
                tracing::warn!(job.id = %self.id, %error, way_out, "a job failed");
                (JobState::Failed, None, Some(failure::of(hub, &error)))
            }
            // The panic's own text is on standard error.
            Err(_) => {
                tracing::error!(job.id = %self.id, "a job panicked");
                (JobState::Failed, None, Some(failure::panicked()))
            }
        };
        self.end(hub, Job { state, result, error, updated_at: time::now(), ..self.job() });
        state
    }

    /// Ends it before it could be begun.
    pub(super) fn fail(&self, hub: &Hub, error: JobError) {
        let (state, error) = (JobState::Failed, Some(error));
        self.end(hub, Job { state, error, updated_at: time::now(), ..self.job() });
    }

    /// Writes down that it is over, however long that takes, and shows it then. Where the hub is closed before,
    /// the next start says that it was interrupted.
    pub(super) fn end(&self, hub: &Hub, over: Job) {
        let mut is_told = false;
        loop {
            let row = over.clone();
            match hub.note_down(move |db| jobs::save(db, &row)) {
                Ok(_) => return self.show(over),
                Err(HubError::Closed) => return,
                Err(error) => {
                    if !is_told {
                        tracing::warn!(job.id = %self.id, %error, "that a job is over cannot be written down yet");
                    }
                    is_told = true;
                    thread::sleep(TRY_AGAIN);
                }
            }
        }
    }

    fn advance(&self, change: impl FnOnce(&mut Job)) {
        self.shown.send_modify(|job| {
            change(job);
            job.updated_at = time::now();
        });
    }

    /// Writes down how far it is. Where that fails, whoever asks this process is told all the same.
    fn save(&self, hub: &Hub) {
        let row = self.job();
        if let Err(error) = hub.note_down(move |db| jobs::save(db, &row)) {
            tracing::debug!(job.id = %self.id, %error, "how far a job is was not written down");
        }
    }
}

/// Has the work say how far it is.
struct Report<'a> {
    entry: &'a Entry,
    hub: &'a Hub,
    saved: Cell<Instant>,
    /// Units of the step that are done, and how many there are.
    units: Cell<(u64, Option<u64>)>,
}

impl<'a> Report<'a> {
    fn of(entry: &'a Entry, hub: &'a Hub) -> Self {
        Self { entry, hub, saved: Cell::new(Instant::now()), units: Cell::default() }
    }

    fn save(&self) {
        self.entry.save(self.hub);
        self.saved.set(Instant::now());
    }
}

impl Progress for Report<'_> {
    fn begin(&self, step: &str, units: Option<u64>) {
        self.units.set((0, units));
        self.entry.advance(|job| {
            step.clone_into(&mut job.progress.step);
            job.progress.step_index += 1;
            job.progress.percent = units.map(|_| 0);
        });
        self.save();
    }

    fn advance(&self, units: u64) {
        let (done, all) = self.units.get();
        let done = done + units;
        self.units.set((done, all));
        let percent = all.map(|all| {
            (done * 100).checked_div(all).and_then(|share| u8::try_from(share.min(100)).ok()).unwrap_or(100)
        });
        if percent != self.entry.shown.borrow().progress.percent {
            self.entry.advance(|job| job.progress.percent = percent);
        }
        if self.saved.get().elapsed() >= SAVE_EVERY {
            self.save();
        }
    }

    fn end(&self) {}

    fn stop(&self) -> Stop {
        self.entry.stop.clone()
    }
}
