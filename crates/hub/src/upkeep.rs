//! What a hub does of its own accord, on one thread of its own, whatever the number of apps.
//!
//! It closes apps that nobody uses, ships their outboxes, finishes what the process before left behind,
//! prunes what was kept long enough, has it measured what is stored, and looks once for directories that
//! the registry does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::hub::{Hub, Shared};
use crate::stored::Rounds;

/// How often what was kept long enough is looked for, and it is measured what is stored.
const EVERY: Duration = Duration::from_hours(1);

/// What is done, and how.
type Task = (&'static str, fn(&Hub) -> Result<()>);

/// How what was kept long enough goes, each whatever becomes of the others.
const PRUNINGS: &[Task] = &[
    ("empty the trash", Hub::prune),
    ("forget old jobs", Hub::prune_jobs),
    ("forget old requests", Hub::prune_requests),
    ("forget what was metered", Hub::prune_metered),
    ("keep to the retention", Hub::retain),
];

/// The thread and what it has to do.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    desk: Arc<Desk>,
    pub(crate) measuring: Rounds,
    pub(crate) looking: Rounds,
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

/// What apps need, by their numbers: their names may change.
type Errands = BTreeMap<i64, Errand>;

/// What an app needs beside having its outbox shipped and the reservations of ended streams given back.
#[derive(Debug, Default)]
pub(crate) struct Errand {
    /// All that the registry says of it is looked at.
    pub(crate) all: bool,
    /// Streams of before that are to be settled.
    pub(crate) streams: BTreeSet<String>,
}

impl Errand {
    pub(crate) fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        self.all |= other.all;
        self.streams.extend(other.streams);
    }
}

fn add(errands: &mut Errands, app: i64, errand: Errand) {
    errands.entry(app).or_default().add(errand);
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

    /// Has soon done what follows from a write.
    pub(crate) fn ship(&self, app: i64) {
        self.run(app, Errand::default());
    }

    /// Has an app's streams of before settled soon.
    pub(crate) fn settle(&self, app: i64, streams: BTreeSet<String>) {
        if !streams.is_empty() {
            self.run(app, Errand { streams, ..Errand::default() });
        }
    }

    /// Has everything done soon that the registry says is left to do with an app.
    pub(crate) fn attend(&self, app: i64) {
        self.run(app, Errand::all());
    }

    fn run(&self, app: i64, errand: Errand) {
        add(&mut self.desk.tasks().errands, app, errand);
        self.desk.woken.notify_one();
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
        let first = Hub::of(shared);
        // What could not be done; it is tried again at each sweep, and each new errand at once.
        let mut failed = Errands::new();
        for app in note("attend to apps", first.attend()).unwrap_or_default() {
            add(&mut failed, app, Errand::all());
        }
        first.look_for_lost();
        note("look for directories that nobody knows", first.look_around());
        drop(first);
        let mut swept = Instant::now();
        let mut done: Option<Instant> = None;
        while let Some(errands) = self.wait_until(swept + every) {
            let Some(shared) = hub.upgrade() else { return };
            let hub = Hub::of(shared);
            for (app, errand) in errands {
                if hub.shared.services.upkeep.is_stopping() {
                    return;
                }
                if note("attend to an app", hub.attend_to(app, &errand)).is_none() {
                    add(&mut failed, app, errand);
                }
            }
            if swept.elapsed() >= every {
                hub.shared.cache.sweep();
                note("forget empty outboxes", hub.forget_empty_outboxes());
                note("write down when credentials were used", hub.note_used_credentials());
                swept = Instant::now();
                let mut tasks = self.tasks();
                for (app, errand) in std::mem::take(&mut failed) {
                    add(&mut tasks.errands, app, errand);
                }
            }
            if done.is_none_or(|done| done.elapsed() >= EVERY) {
                if done.is_some() {
                    hub.look_for_lost();
                }
                hub.measure_storage();
                for (what, prune) in PRUNINGS {
                    note(what, prune(&hub));
                }
                done = Some(Instant::now());
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

fn note<T>(what: &'static str, done: Result<T>) -> Option<T> {
    done.inspect_err(|error| tracing::warn!(what, %error, "upkeep could not be done")).ok()
}
