//! Several apps at a time.
//!
//! One thread, the caller's, reads the rows that the control database holds, app by app in one ordered
//! pass, and is the only one to tell the registry and whoever watches. Workers take whole apps: while one
//! waits for the disk, another inserts. What is under way is bounded, so memory stays flat.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{mem, thread};

use streamhub::HubError;
use streamhub::progress::Progress;
use streamhub_control::apps::App;
use streamhub_engine::Database;

use crate::batch::Batch;
use crate::cursor::{self, Cursors, Layouts, Select};
use crate::older::TABLES;

/// More workers would wait for one another: the rows come from one thread.
const MOST: usize = 4;

/// How many apps the caller is told of together, who makes it durable: each time takes a sync.
const TOGETHER: usize = 8;

/// Batches that wait for an app's worker.
const WAITING: usize = 4;

/// How often whoever watches hears something while all workers are busy.
const PULSE: Duration = Duration::from_millis(100);

/// The rows that the control database holds of one app, table by table as they are read.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    layouts: &'a Layouts,
    /// Which tables have any; an error where they could not be read.
    present: rusqlite::Result<[bool; TABLES.len()]>,
    batches: Receiver<rusqlite::Result<(usize, Batch)>>,
    next: Option<(usize, Batch)>,
    rows: &'a AtomicU64,
}

impl<'a> Incoming<'a> {
    /// How the rows of this table are laid out; none where the app has no row in it.
    pub(crate) fn layout(&mut self, table: usize) -> rusqlite::Result<Option<&'a cursor::Layout>> {
        match &mut self.present {
            Ok(present) => Ok(self.layouts[table].as_ref().filter(|_| present[table])),
            Err(error) => Err(mem::replace(error, rusqlite::Error::InvalidQuery)),
        }
    }

    /// The next rows of this table; none after its last. Tables are asked for in their order.
    pub(crate) fn next(&mut self, table: usize) -> rusqlite::Result<Option<Batch>> {
        if self.next.is_none() {
            // The reader is gone when all has been read.
            self.next = self.batches.recv().ok().transpose()?;
        }
        Ok(self.next.take_if(|(of, _)| *of == table).map(|(_, batch)| batch))
    }

    /// Counts rows that were dealt with, for whoever watches.
    pub(crate) fn count(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

struct Job<'a> {
    at: usize,
    incoming: Incoming<'a>,
}

/// Does `work` for each of the apps, which are in ascending order of their numbers. `done` gets what came
/// of them, by their place, as it comes: several at a time where several are ready.
pub(crate) fn each_app<T: Send>(
    control: &Database,
    select: &Select,
    apps: &[&App],
    progress: &dyn Progress,
    work: impl Fn(&App, &mut Incoming<'_>) -> T + Sync,
    done: impl FnMut(Vec<(usize, T)>) -> Result<(), HubError>,
) -> Result<(), HubError> {
    cursor::with_cursors(control, select, |cursors, layouts| {
        // One waits for the disk while each processor has another.
        let workers = thread::available_parallelism().map_or(1, usize::from).saturating_add(1).min(MOST);
        let rows = AtomicU64::new(0);
        thread::scope(|scope| {
            let (jobs, queue) = mpsc::sync_channel::<Job<'_>>(2 * workers);
            let queue = Arc::new(Mutex::new(queue));
            let (results, ready) = mpsc::channel();
            for _ in 0..workers {
                let (queue, results, work) = (Arc::clone(&queue), results.clone(), &work);
                scope.spawn(move || {
                    while let Some(mut job) = next_job(&queue) {
                        let result = work(apps[job.at], &mut job.incoming);
                        drop(job.incoming);
                        if results.send((job.at, result)).is_err() {
                            break;
                        }
                    }
                });
            }
            // Without these, the ends of the channels show that all workers are gone.
            drop((queue, results));
            let mut ends = Ends { ready, rows: &rows, progress, done, under_way: 0, ended: Vec::new() };
            for (at, app) in apps.iter().enumerate() {
                ends.wait_for(2 * workers)?;
                let (sender, batches) = mpsc::sync_channel(WAITING);
                let present = present(cursors, app);
                let read = present.is_ok();
                let incoming = Incoming { layouts, present, batches, next: None, rows: &rows };
                if jobs.send(Job { at, incoming }).is_err() {
                    break;
                }
                ends.under_way += 1;
                if read {
                    send_rows(cursors, app, &sender);
                }
            }
            drop(jobs);
            ends.wait_for(0)?;
            ends.tell()
        })
    })
}

/// What comes of the apps that are under way.
struct Ends<'a, T, D> {
    ready: Receiver<(usize, T)>,
    rows: &'a AtomicU64,
    progress: &'a dyn Progress,
    done: D,
    under_way: usize,
    /// What nobody was told of yet.
    ended: Vec<(usize, T)>,
}

impl<T, D: FnMut(Vec<(usize, T)>) -> Result<(), HubError>> Ends<'_, T, D> {
    /// Waits until no more than so many apps are under way.
    fn wait_for(&mut self, at_most: usize) -> Result<(), HubError> {
        loop {
            self.progress.advance(self.rows.swap(0, Ordering::Relaxed));
            if self.under_way <= at_most {
                return Ok(());
            }
            match self.ready.recv_timeout(PULSE) {
                Ok(end) => {
                    self.under_way -= 1;
                    self.ended.push(end);
                    if self.ended.len() >= TOGETHER {
                        self.tell()?;
                    }
                }
                // While others take their time, what has ended need not wait for them.
                Err(RecvTimeoutError::Timeout) => self.tell()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn tell(&mut self) -> Result<(), HubError> {
        if self.ended.is_empty() { Ok(()) } else { (self.done)(mem::take(&mut self.ended)) }
    }
}

fn next_job<'a>(queue: &Mutex<Receiver<Job<'a>>>) -> Option<Job<'a>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn present(cursors: &mut Cursors<'_>, app: &App) -> rusqlite::Result<[bool; TABLES.len()]> {
    let mut present = [false; TABLES.len()];
    for (present, cursor) in present.iter_mut().zip(cursors) {
        if let Some(cursor) = cursor {
            *present = cursor.seek(app.id)?;
        }
    }
    Ok(present)
}

/// Reads an app's rows until all are sent, nobody wants them any more, or one cannot be read.
fn send_rows(cursors: &mut Cursors<'_>, app: &App, sender: &SyncSender<rusqlite::Result<(usize, Batch)>>) {
    for (at, cursor) in cursors.iter_mut().enumerate() {
        let Some(cursor) = cursor else { continue };
        while let Some(batch) = cursor.batch(app.id).transpose() {
            let failed = batch.is_err();
            let unwanted = sender.send(batch.map(|batch| (at, batch))).is_err();
            if failed || unwanted {
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use rusqlite::Connection;
    use streamhub::progress::Silent;
    use streamhub_control::apps;

    use super::*;
    use crate::import::FIRST_CONTENT;

    const APPS: i64 = 20;
    /// More than fit into the channels, so that somebody has to wait.
    const ROWS: i64 = 3_000;

    fn registry(dir: &tempfile::TempDir) -> Database {
        let path = std::fs::canonicalize(dir.path()).unwrap().join("x.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(streamhub_control::schema::FINAL).unwrap();
        db.execute_batch(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {APPS})
               INSERT INTO apps (id, name, display_name, split_state, created_at, updated_at)
               SELECT i, 'app-' || i, '', 'pending', '', '' FROM n;
             CREATE TABLE streams (id INTEGER PRIMARY KEY, app_id INTEGER, stream_id TEXT, type TEXT, status TEXT, started_at TEXT);
             WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {APPS} * {ROWS})
               INSERT INTO streams (app_id, stream_id) SELECT 1 + i % {APPS}, i FROM n"
        ))
        .unwrap();
        drop(db);
        Database::inspect(&path).unwrap()
    }

    fn number(incoming: &mut Incoming<'_>, app: &App) -> i64 {
        let mut rows = 0;
        while let Some(batch) = incoming.next(0).unwrap() {
            let each: rusqlite::Result<()> = batch.each(1, |row, _| {
                let stream: i64 = row[FIRST_CONTENT].as_str()?.parse().expect("a number");
                assert_eq!(1 + stream % APPS, app.id);
                rows += 1;
                Ok(())
            });
            each.unwrap();
        }
        rows
    }

    #[test]
    fn every_app_gets_its_own_rows_even_where_others_want_none() {
        let dir = tempfile::tempdir().unwrap();
        let db = registry(&dir);
        let all = apps::list_by_id(&db).unwrap();
        let all: Vec<_> = all.iter().collect();
        let mut found = Vec::new();
        let wants = |app: &App| app.id % 3 > 0;
        let work = |app: &App, incoming: &mut Incoming<'_>| wants(app).then(|| number(incoming, app));
        each_app(&db, &Select::Open(None), &all, &Silent, work, |ended| {
            found.extend(ended);
            Ok(())
        })
        .unwrap();
        found.sort_unstable();
        let expected: Vec<_> = all.iter().map(|app| wants(app).then_some(ROWS)).enumerate().collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn where_the_registry_cannot_be_told_no_further_app_is_begun() {
        let dir = tempfile::tempdir().unwrap();
        let db = registry(&dir);
        let all = apps::list_by_id(&db).unwrap();
        let all: Vec<_> = all.iter().collect();
        let begun = AtomicU64::new(0);
        let work = |_: &App, _: &mut Incoming<'_>| begun.fetch_add(1, Ordering::Relaxed);
        let refuse = |_| Err(HubError::UnknownApp { name: String::new() });
        assert!(each_app(&db, &Select::Open(None), &all, &Silent, work, refuse).is_err());
        assert!(begun.into_inner() < all.len() as u64);
    }
}
