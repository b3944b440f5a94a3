//! The server's own log on its way into the control database.
//!
//! Whoever logs puts a record into a bounded queue and goes on; one thread writes what is there, many records in
//! one transaction. Where the database does not keep up, or cannot be written to, records are dropped and
//! counted, and the log says how many when it flows again.

mod layer;

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use streamhub_control::logs::{self, Record};
use streamhub_engine::time::Moment;

use crate::error::HubError;
use crate::hub::{Hub, Shared as HubShared};

pub use streamhub_control::logs::{Entry, Filter, LOOKED_AT, Level, Listed};

/// Records that wait, at the most.
const QUEUED: usize = 8192;

/// Bytes of them, at the most.
const QUEUED_BYTES: usize = 8 << 20;

/// Records that one transaction writes, at the most.
const BATCH: usize = 500;

/// How long a record waits for others to be written with.
const LINGER: Duration = Duration::from_millis(250);

/// How long nothing is tried after a failure, at first and in the end.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// What the record of records that were dropped is from.
const SOURCE: &str = module_path!();

thread_local! {
    /// Whether this thread writes the log: what happens there is not logged there.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// Takes what a program logs, for the hub that is opened with it as
/// [`HubConfig::logs`](crate::HubConfig::logs). Cheap to clone; all clones are one.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use streamhub::logs::Filter;
/// use streamhub::{Hub, HubConfig, LogSink, progress::Silent};
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// // What is logged before the hub is open waits for it.
/// let sink = LogSink::default();
/// let log = tracing_subscriber::registry().with(sink.layer());
/// let _log = tracing::subscriber::set_default(log);
/// tracing::info!(cameras = 3, "the server starts");
///
/// let mut config = HubConfig::new(dir.path().join("data"));
/// # config.volatile = streamhub::Volatile::Permit;
/// config.logs = Some(sink);
/// let hub = Hub::open(&config, &Silent)?;
/// hub.close()?;
///
/// config.logs = None;
/// let hub = Hub::open(&config, &Silent)?;
/// let logged = hub.registry().logs(&Filter::newest(200))?.entries;
/// let entry = logged.iter().find(|entry| entry.message == "the server starts").ok_or("it was logged")?;
/// assert_eq!(entry.meta.as_ref().ok_or("with its fields")?["cameras"], 3);
/// # hub.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct LogSink {
    shared: Arc<Shared>,
}

/// What became of the records of a [`LogSink`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogStats {
    /// Those that are in the database.
    pub written: u64,
    /// Those that are lost.
    pub dropped: u64,
    /// Those that are still to be written.
    pub queued: u64,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    stage: Stage,
    /// Whether the thread that writes is there; it may come back late from a disk that does not answer.
    has_writer: bool,
    records: VecDeque<Record>,
    bytes: usize,
    /// Records that are being written, which are in the queue no more.
    writing: u64,
    written: u64,
    dropped: u64,
    /// Those of the dropped that the log has not told of.
    untold: u64,
}

/// Who takes records out of the queue.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Nobody yet.
    #[default]
    Waiting,
    /// The writer.
    Flowing,
    /// The writer, until nothing is left.
    Draining,
    /// Nobody any more.
    Ended,
}

/// What one transaction writes.
struct Batch {
    records: Arc<[Record]>,
    /// How many dropped records the last of them tells of; none where it is one like the others.
    tells_of: u64,
}

/// Why a batch was not written.
enum Unwritten {
    /// It may be possible later.
    Yet(HubError),
    /// There is nothing any more to write to.
    Ever,
}

impl LogSink {
    /// What became of the records so far.
    pub fn stats(&self) -> LogStats {
        let queue = self.shared.queue();
        LogStats {
            written: queue.written,
            dropped: queue.dropped,
            queued: queue.records.len() as u64 + queue.writing,
        }
    }

    /// Starts to write into the hub's database. Says whether it does: there is one hub at a time.
    pub(crate) fn start(&self, hub: &Hub) -> bool {
        let started = self.start_with(writing_to(Arc::downgrade(&hub.shared)));
        if let Err(reason) = &started {
            tracing::error!(reason, "the log is not written to the database");
        }
        started.is_ok()
    }

    /// Writes what is there, for as long as `deadline` allows, and ends.
    pub(crate) fn end(&self, deadline: Instant) {
        let mut queue = self.shared.queue();
        if queue.stage != Stage::Flowing {
            return;
        }
        queue.stage = Stage::Draining;
        self.shared.changed.notify_all();
        while queue.stage == Stage::Draining {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // What the writer has in hand may still get there.
                queue.end();
                break;
            }
            queue = self.shared.wait(queue, left);
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Ends without waiting for anything, for a hub that nobody closed.
    pub(crate) fn abandon(&self) {
        self.shared.queue().end();
        self.shared.changed.notify_all();
    }

    fn start_with(
        &self,
        write: impl FnMut(&Arc<[Record]>) -> Result<(), Unwritten> + Send + 'static,
    ) -> Result<(), String> {
        let mut queue = self.shared.queue();
        if queue.has_writer {
            return Err("another hub takes it".to_owned());
        }
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name("streamhub-logs".to_owned())
            .spawn(move || shared.work(write))
            .map_err(|error| error.to_string())?;
        queue.has_writer = true;
        queue.stage = Stage::Flowing;
        Ok(())
    }

    fn push(&self, record: Record) {
        let mut queue = self.shared.queue();
        let size = size(&record);
        let is_full = queue.records.len() >= QUEUED || queue.bytes + size > QUEUED_BYTES;
        if is_full || queue.stage == Stage::Ended {
            queue.dropped += 1;
            queue.untold += 1;
            return;
        }
        queue.bytes += size;
        queue.records.push_back(record);
        let wakes = matches!(queue.records.len(), 1 | BATCH);
        drop(queue);
        if wakes {
            self.shared.changed.notify_all();
        }
    }
}

impl Hub {
    /// What became of what was logged; none of it where the hub was opened without
    /// [`HubConfig::logs`](crate::HubConfig::logs).
    pub fn log_stats(&self) -> LogStats {
        self.shared.logs.get().map(LogSink::stats).unwrap_or_default()
    }
}

fn writing_to(hub: Weak<HubShared>) -> impl FnMut(&Arc<[Record]>) -> Result<(), Unwritten> {
    move |records| {
        // The hub has the data directory in possession for as long as this writes to it.
        let shared = hub.upgrade().ok_or(Unwritten::Ever)?;
        let records = Arc::clone(records);
        Hub::of(shared).note_down(move |db| logs::append_all(db, &records)).map_err(|error| match error {
            HubError::Closed => Unwritten::Ever,
            error => Unwritten::Yet(error),
        })
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>, most: Duration) -> MutexGuard<'a, Queue> {
        self.changed.wait_timeout(queue, most).unwrap_or_else(PoisonError::into_inner).0
    }

    fn work(&self, mut write: impl FnMut(&Arc<[Record]>) -> Result<(), Unwritten>) {
        WRITES.set(true);
        let mut pause = PAUSES[0];
        while let Some(batch) = self.next_batch() {
            match write(&batch.records) {
                Ok(()) => {
                    self.queue().settle();
                    pause = PAUSES[0];
                }
                Err(Unwritten::Yet(error)) => {
                    tracing::warn!(%error, "the log cannot be written to the database for now");
                    let mut queue = self.queue();
                    queue.put_back(&batch);
                    if queue.stage != Stage::Flowing {
                        break;
                    }
                    self.pause(queue, pause);
                    pause = (pause * 2).min(PAUSES[1]);
                }
                Err(Unwritten::Ever) => {
                    self.queue().put_back(&batch);
                    break;
                }
            }
        }
        let mut queue = self.queue();
        queue.end();
        queue.has_writer = false;
        drop(queue);
        self.changed.notify_all();
    }

    /// Waits for records, and a little for more of them; none when it is time to end.
    fn next_batch(&self) -> Option<Batch> {
        let mut queue = self.queue();
        let mut ripe = None;
        loop {
            let (now, is_empty) = (Instant::now(), queue.records.is_empty());
            match queue.stage {
                Stage::Ended => return None,
                Stage::Draining if is_empty => return None,
                Stage::Draining => return Some(queue.take()),
                Stage::Waiting | Stage::Flowing if is_empty => {
                    ripe = None;
                    queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                Stage::Waiting | Stage::Flowing => {
                    let left = ripe.get_or_insert(now + LINGER).saturating_duration_since(now);
                    if queue.records.len() >= BATCH || left.is_zero() {
                        return Some(queue.take());
                    }
                    queue = self.wait(queue, left);
                }
            }
        }
    }

    /// Waits so long, or until it is time to end.
    fn pause(&self, mut queue: MutexGuard<'_, Queue>, pause: Duration) {
        let deadline = Instant::now() + pause;
        while queue.stage == Stage::Flowing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.wait(queue, left);
        }
    }
}

impl Queue {
    fn take(&mut self) -> Batch {
        let many = self.records.len().min(BATCH);
        let mut records: Vec<Record> = self.records.drain(..many).collect();
        self.bytes -= records.iter().map(size).sum::<usize>();
        self.writing = many as u64;
        let tells_of = mem::take(&mut self.untold);
        if tells_of > 0 {
            records.push(loss(tells_of));
        }
        Batch { records: records.into(), tells_of }
    }

    /// What was taken is in the database.
    fn settle(&mut self) {
        self.written += mem::take(&mut self.writing);
    }

    /// The batch is not in the database.
    fn put_back(&mut self, batch: &Batch) {
        let many = usize::try_from(mem::take(&mut self.writing)).unwrap_or(0);
        for record in batch.records[..many].iter().rev() {
            self.bytes += size(record);
            self.records.push_front(record.clone());
        }
        self.untold += batch.tells_of;
    }

    /// Nobody takes what is left.
    fn end(&mut self) {
        self.stage = Stage::Ended;
        self.dropped += self.records.len() as u64;
        self.untold += self.records.len() as u64;
        self.records.clear();
        self.bytes = 0;
    }
}

fn loss(records: u64) -> Record {
    Record {
        ts: Moment::now(),
        level: Level::Warn,
        source: SOURCE.to_owned(),
        app: None,
        message: format!("{records} records of the log were lost: more was logged than could be written"),
        meta_json: None,
    }
}

/// About what a record takes of memory.
fn size(record: &Record) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    size_of::<Record>()
        + record.source.len()
        + record.message.len()
        + text(&record.app)
        + text(&record.meta_json)
}

impl std::fmt::Debug for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSink").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
