//! A database in service: many readers, one writer, and no write that is acknowledged before it is durable.
//!
//! Reads of one closure share a snapshot. Concurrent writes queue up, and whoever is first in line
//! commits the whole queue in one transaction: under load many writes share one sync, and alone a
//! write costs what `SQLite` itself takes. Nobody else waits on a thread of its own, so that a
//! database that is not in use costs none.

mod batch;
mod beside;
mod conn;
mod error;
#[cfg(all(test, feature = "explore"))]
mod explore;
mod pool;
mod queue;
#[cfg(all(test, not(feature = "explore")))]
mod tests;

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::cache::budget::{Budget, Cost, Reservation};
use crate::connect::Database;
use crate::error::{Fault, Result};
use crate::live::batch::{Callback, Cap, Closure, Job, Settled, contained};
use crate::live::conn::Conn;
use crate::live::error::fault_behind;
use crate::live::pool::{Pool, Role, Taken};
use crate::live::queue::{Journey, PassedOn, Pushed, Queue, Ticket, Woken};
use crate::observe::{Observer, Unobserved};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::yield_now;
use crate::tx::{ReadTx, WriteTx};

pub use beside::Beside;
pub use conn::Durability;
pub use error::{Busy, LiveError};

const BEGIN: &str = "BEGIN -- the reader";
const END: &str = "COMMIT -- the reader";

thread_local! {
    /// The address of the database that this thread leads the writers of; 0 for none.
    static LEADS: Cell<usize> = const { Cell::new(0) };
}

/// How long a transaction is held open for callers that are about to come back, far less than a sync takes.
const LINGER: Duration = Duration::from_micros(50);

/// How much one database may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time; default 4. Where there are several, one of them is the writer's:
    /// readers never have all.
    pub connections: usize,
    /// How long an operation waits for a connection before it is `Busy`; default 5 s.
    pub wait: Duration,
    /// How long an operation may be at work before others are turned away; default 1 s.
    pub stuck_after: Duration,
    /// How long a read may take, since it keeps the `-wal` from being emptied; default 30 s.
    pub read_time: Duration,
    /// Writes that may wait; default 4,096.
    pub queue: usize,
    /// Writes that are committed together; default 1,024.
    pub batch: usize,
    /// Changed rows after which a transaction is committed; default 10,000.
    pub batch_rows: u64,
    /// Time after which a transaction is committed; default 50 ms.
    pub batch_time: Duration,
    /// Pages in the `-wal` from which on it is copied into the database between two transactions;
    /// default 1,000. Under load that waits until there are four times as many.
    pub checkpoint_pages: i32,
}

impl Limits {
    /// How many may read at the same time.
    pub fn readers(&self) -> usize {
        self.connections.saturating_sub(1).max(1)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4,
            wait: Duration::from_secs(5),
            stuck_after: Duration::from_secs(1),
            read_time: Duration::from_secs(30),
            queue: 4096,
            batch: 1024,
            batch_rows: 10_000,
            batch_time: Duration::from_millis(50),
            checkpoint_pages: 1000,
        }
    }
}

/// Runs work that blocks on a thread that may.
pub type Executor = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// What is to be done before the first write, such as breaking a seal; it says when writes are durable.
pub type FirstWrite = Box<dyn Fn() -> Result<Durability, LiveError> + Send + Sync>;

/// How a database is put into service.
pub struct Config {
    /// How much it may take.
    pub limits: Limits,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Who leads for writes that nobody's thread waits for.
    pub executor: Executor,
    /// What is to be done before the first write.
    pub first_write: FirstWrite,
    /// Tables that closures may read and not write to.
    pub protected: &'static [&'static str],
}

impl Default for Config {
    /// Durable writes, no observer, and a thread for each time that nobody else could lead.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            observer: Arc::new(Unobserved),
            // Where there is no thread to be had, the work is dropped, which does it.
            executor: Arc::new(|work| drop(std::thread::Builder::new().spawn(work))),
            first_write: Box::new(|| Ok(Durability::Full)),
            protected: &[],
        }
    }
}

/// A database in service. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Live {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    queue: Queue<Box<dyn Job>>,
    config: Config,
    durability: OnceLock<Durability>,
    /// Writes in the last transaction.
    last_batch: AtomicUsize,
}

impl Live {
    /// Puts an open database into service, outside of any budget.
    pub fn new(db: Database, config: Config) -> Result<Self> {
        let budget = Budget::new(Cost::UNLIMITED);
        let base = budget.try_reserve(Cost::FIRST).expect("there is no limit");
        Self::within(db, config, budget, base)
    }

    /// Puts an open database into service; its first connection was reserved.
    pub(crate) fn within(
        db: Database,
        config: Config,
        budget: Arc<Budget>,
        base: Reservation,
    ) -> Result<Self> {
        let pool = Pool::new(db, config.limits, config.protected, budget, base)?;
        let queue = Queue::new(config.limits.queue);
        let (durability, last_batch) = (OnceLock::new(), AtomicUsize::new(0));
        Ok(Self { shared: Arc::new(Shared { pool, queue, config, durability, last_batch }) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.shared.pool.path()
    }

    /// Runs a closure that reads; everything in it sees one snapshot.
    pub fn read<T, E>(&self, work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<LiveError> + StdError + 'static,
    {
        let conn = self.shared.pool.take(Role::Reader)?;
        self.shared.read_in_transaction(&conn, work)
    }

    /// Runs a closure of a single statement, which needs no transaction around it.
    pub fn get<T, E>(&self, work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<LiveError> + StdError + 'static,
    {
        let conn = self.shared.pool.take(Role::Reader)?;
        self.shared.run_read(&conn, work)
    }

    /// As [`read`](Self::read) if a connection is idle; gives the closure back where it would have to wait.
    pub fn try_read<T, E, F>(&self, work: F) -> Result<Result<T, E>, F>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E>,
        E: From<LiveError> + StdError + 'static,
    {
        match self.shared.pool.take_idle(Role::Reader) {
            Some(conn) => Ok(self.shared.read_in_transaction(&conn, work)),
            None => Err(work),
        }
    }

    /// As [`get`](Self::get) if a connection is idle; gives the closure back where it would have to wait.
    pub fn try_get<T, E, F>(&self, work: F) -> Result<Result<T, E>, F>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, E>,
        E: From<LiveError> + StdError + 'static,
    {
        match self.shared.pool.take_idle(Role::Reader) {
            Some(conn) => Ok(self.shared.run_read(&conn, work)),
            None => Err(work),
        }
    }

    /// Runs a closure that writes, and returns after its commit is durable.
    ///
    /// It runs together with others in one transaction. It may run more than once, so it must have no
    /// effects outside; where it fails or panics, nothing of it remains.
    pub fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<LiveError> + StdError + Send + 'static,
    {
        if LEADS.get() == self.shared.address() {
            return Err(LiveError::Nested { path: self.path().to_owned() }.into());
        }
        let ticket = Arc::new(Ticket::new());
        let job = Box::new(Closure::new(Arc::clone(self.shared.pool.path()), work, Arc::clone(&ticket)));
        let mut leads = self.push(job)? == Pushed::Lead;
        loop {
            if leads {
                self.lead();
            }
            // The own job need not be the first in the queue, and a cap can put it into a later transaction.
            match ticket.wait() {
                Woken::Answered(answer) => return answer,
                Woken::Lead => leads = true,
            }
        }
    }

    /// As [`write`](Self::write), without waiting: `reply` is called with the answer, on a thread that
    /// must not be kept long.
    pub fn submit<T, E, F, R>(&self, work: F, reply: R) -> Result<(), E>
    where
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<LiveError> + StdError + Send + 'static,
        R: FnOnce(Result<T, E>) + Send + 'static,
    {
        let path = Arc::clone(self.shared.pool.path());
        if let Pushed::Send(journey) = self.push(Box::new(Closure::new(path, work, Callback(reply))))? {
            self.send(journey);
        }
        Ok(())
    }

    /// Whether something is at work on it.
    pub fn is_at_work(&self) -> bool {
        self.shared.pool.is_at_work()
    }

    /// Whether an operation on it does not come back.
    pub fn is_stuck(&self) -> bool {
        self.shared.pool.stuck()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.pool.connections()
    }

    /// Writes that wait.
    pub fn queued(&self) -> usize {
        self.shared.queue.len()
    }

    /// Whether it is out of service or closed.
    pub fn is_condemned(&self) -> bool {
        self.shared.pool.is_condemned()
    }

    /// What was found, where it is out of service; also after it was closed.
    pub fn why_out_of_service(&self) -> Option<crate::Error> {
        self.shared.pool.why_out_of_service()
    }

    /// Closes all connections but one and gives back the memory of that one.
    pub fn rest(&self) {
        self.shared.pool.rest();
    }

    /// Ends service: waits for what is at work, empties the `-wal` into the file and closes it.
    pub fn close(&self) -> Result<()> {
        self.close_until(Instant::now() + self.shared.config.limits.wait)
    }

    /// As [`close`](Self::close), waiting until `deadline`. Where that has passed already and something is at
    /// work, it goes on serving.
    pub fn close_until(&self, deadline: Instant) -> Result<()> {
        self.shared.pool.close(deadline)
    }

    fn push(&self, job: Box<dyn Job>) -> Result<Pushed<()>, LiveError> {
        let shared = &self.shared;
        match shared.queue.push(job, shared.config.limits.stuck_after) {
            Pushed::Lead => Ok(Pushed::Lead),
            Pushed::Send(journey) => Ok(Pushed::Send(journey)),
            Pushed::Waiting => Ok(Pushed::Waiting),
            Pushed::Refused(_) if shared.queue.len() < shared.config.limits.queue => {
                Err(shared.pool.busy(Busy::Stuck))
            }
            Pushed::Refused(_) => Err(shared.pool.busy(Busy::Queue)),
        }
    }

    /// Runs one batch and gives the leadership away before it wakes those who wait for that batch.
    fn lead(&self) {
        let settled = self.shared.run_batch();
        if let PassedOn::Send(journey) = self.shared.queue.pass_on() {
            self.send(journey);
        }
        settled.answer();
    }

    fn send(&self, journey: Journey) {
        let lead = Lead { live: self.clone(), journey };
        (self.shared.config.executor)(Box::new(move || drop(lead)));
    }
}

/// The leadership on its way to another thread. Whoever drops it leads: an executor that shuts down
/// instead of running its work must not leave writes unanswered.
struct Lead {
    live: Live,
    journey: Journey,
}

impl Drop for Lead {
    fn drop(&mut self) {
        let shared = &self.live.shared;
        while shared.queue.arrive(self.journey) {
            let settled = shared.run_batch();
            let passed_on = shared.queue.pass_on();
            settled.answer();
            match passed_on {
                PassedOn::Send(journey) => self.journey = journey,
                PassedOn::Idle | PassedOn::Promoted => return,
            }
        }
    }
}

impl Shared {
    fn read_in_transaction<T, E>(
        &self,
        conn: &Taken<'_>,
        work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<LiveError> + StdError + 'static,
    {
        let failed = |error| {
            let path = self.pool.path().to_path_buf();
            LiveError::Failed(crate::Error::Sqlite { path, source: error })
        };
        conn.control(BEGIN).map_err(failed)?;
        let result = self.run_read(conn, work)?;
        conn.control(END).map_err(failed)?;
        Ok(result)
    }

    fn run_read<T, E>(&self, conn: &Taken<'_>, work: impl FnOnce(&ReadTx<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<LiveError> + StdError + 'static,
    {
        let limit = self.config.limits.read_time;
        conn.stop_after(conn.since, Some(limit));
        let result = conn.guarded(|| work(&ReadTx::new(&conn.db)));
        result.map_err(|error| match fault_behind(&error) {
            Some(Fault::Interrupted) => {
                LiveError::TooLong { path: self.pool.path().to_path_buf(), limit }.into()
            }
            Some(Fault::Corrupt | Fault::NotADatabase) => {
                self.pool.condemn(error.to_string());
                error
            }
            _ => error,
        })
    }

    /// Tells this database from others.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Runs one batch. Not even a panic ends the leadership, since others wait for what it answers.
    fn run_batch(&self) -> Settled {
        let before = LEADS.replace(self.address());
        let settled = catch_unwind(AssertUnwindSafe(|| self.transact())).unwrap_or_else(|_| {
            tracing::error!(path = %self.pool.path().display(), "the writer panicked");
            Settled::default()
        });
        LEADS.set(before);
        settled
    }

    fn transact(&self) -> Settled {
        let limits = &self.config.limits;
        let mut jobs = self.queue.take(limits.batch);
        let started = Instant::now();
        let conn = self.pool.take(Role::Writer).and_then(|mut conn| {
            self.prepare(&mut conn)?;
            Ok(conn)
        });
        let conn = match conn {
            Ok(conn) => conn,
            Err(error) => return Settled::failed(jobs.into_iter(), &error),
        };
        let cap = Cap { rows: limits.batch_rows, time: limits.batch_time };
        Conn::forget_wal_pages();
        let mut more = |ran: usize| {
            self.linger(ran);
            self.queue.take_more(limits.batch.saturating_sub(ran))
        };
        let done = batch::run(&conn, &mut jobs, &mut more, cap);
        self.last_batch.store(done.committed, Ordering::Relaxed);
        self.queue.put_back(jobs.into_iter());
        if done.damaged {
            self.pool.condemn("a write ran into it".to_owned());
        }
        if let Some(unknown) = done.unknown {
            done.settled.answer();
            // Whoever is told to read first what is there must not read what there seemed to be.
            self.pool.suspend();
            unknown.answer();
            self.pool.reopen(conn);
            self.config.observer.commit_failed();
            return Settled::default();
        }
        contained(|| self.config.observer.committed(done.committed, started.elapsed()));
        if done.committed > 0 && self.is_checkpoint_due() {
            // Nobody waits for it, and the next leader needs the connection.
            done.settled.answer();
            if let Err(error) = conn.checkpoint_passively() {
                tracing::warn!(path = %self.pool.path().display(), %error, "the -wal could not be emptied");
            }
            return Settled::default();
        }
        done.settled
    }

    fn prepare(&self, conn: &mut Conn) -> Result<(), LiveError> {
        let durability = if let Some(durability) = self.durability.get() {
            *durability
        } else {
            let chosen = (self.config.first_write)()?;
            *self.durability.get_or_init(|| chosen)
        };
        conn.prepare_for_writes(durability).map_err(LiveError::Failed)
    }

    /// Where many writes shared the last transaction, their callers are about to come back with more:
    /// before a transaction with fewer is committed, gives them the processor for a moment.
    fn linger(&self, ran: usize) {
        let expected = self.last_batch.load(Ordering::Relaxed);
        if ran >= expected {
            return;
        }
        let began = Instant::now();
        while self.queue.len() == 0 && began.elapsed() < LINGER {
            yield_now();
        }
    }

    /// Whether the `-wal` is to be emptied; under load that waits until it is longer.
    fn is_checkpoint_due(&self) -> bool {
        let limit = self.config.limits.checkpoint_pages;
        let due = if self.queue.len() == 0 { limit } else { limit.saturating_mul(4) };
        Conn::wal_pages() >= due
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("path", &self.path()).finish_non_exhaustive()
    }
}
