//! One transaction for many writes.
//!
//! Jobs run one after the other in one transaction and are answered after its commit. A job that fails
//! without having changed anything fails alone. One that has changed something is undone with all
//! others, and they run again, each in a savepoint from then on: savepoints cost more than most writes,
//! and failures are rare. Where `SQLite` itself rolled the transaction back, the job that was running
//! fails and the others run again, in the end each in a transaction of its own.
//!
//! A failure is an answer too, and what it rests on may be what jobs before it have written: it counts
//! when that is committed, and not before.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{ErrorCode, ffi};

use crate::error::{Error, Fault};
use crate::live::conn::Conn;
use crate::live::error::{LiveError, fault_behind};
use crate::live::queue::{Queued, Ticket};
use crate::tx::WriteTx;

// The comments make these texts the writer's own: statements are kept by their text, and a closure that
// says `COMMIT` is to have it prepared, and refused, under its own rules.
const BEGIN: &str = "BEGIN IMMEDIATE -- the writer";
const COMMIT: &str = "COMMIT -- the writer";
const ROLLBACK: &str = "ROLLBACK -- the writer";
const SAVEPOINT: &str = "SAVEPOINT job -- the writer";
const ROLLBACK_TO: &str = "ROLLBACK TO job -- the writer";
const RELEASE: &str = "RELEASE job -- the writer";

/// A write that waits to be run.
pub(crate) trait Job: Queued {
    /// Runs the closure and keeps its result. Says why, where it failed; may be called again.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), Failure>;
    /// Answers: the kept result after a commit or where it was a failure, or `error` in its place.
    fn answer(self: Box<Self>, error: Option<LiveError>);
}

/// Why a closure failed.
pub(crate) struct Failure {
    detail: String,
    fault: Option<Fault>,
}

/// When a transaction is committed although more jobs wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cap {
    pub(crate) rows: u64,
    pub(crate) time: Duration,
}

/// What a batch did.
#[derive(Default)]
pub(crate) struct Done {
    /// Jobs whose writes were committed.
    pub(crate) committed: usize,
    /// What is to be answered.
    pub(crate) settled: Settled,
    /// The commit failed: what the disk holds is not known.
    pub(crate) unknown: Option<Unknown>,
    /// A job ran into damage.
    pub(crate) damaged: bool,
}

/// Jobs whose end is certain. To wake their callers takes as long as a commit does: whoever leads next can be
/// at work meanwhile.
#[derive(Default)]
pub(crate) struct Settled(VecDeque<Pending>);

/// Jobs that may have been committed or not. They are to be answered when nobody can read any more what
/// there seems to be.
pub(crate) struct Unknown {
    jobs: Vec<Box<dyn Job>>,
    path: PathBuf,
    source: Arc<rusqlite::Error>,
}

/// How far jobs of one batch are kept from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Caution {
    /// All in one transaction and nothing else.
    None,
    /// A savepoint for each.
    Savepoints,
    /// A transaction for each.
    Alone,
}

/// How a transaction ended.
enum End {
    /// Committed, or failed for certain.
    Committed(Settled),
    /// Rolled back by us, because a job failed half-way. It was answered; the others are to run again.
    Undone,
    /// Rolled back by SQLite, because a job's statement failed badly. The same.
    Lost,
    /// The commit failed.
    Unknown(Unknown),
}

/// A job that was run and whose end is still open, and the error that takes the place of its result.
struct Pending {
    job: Box<dyn Job>,
    error: Option<LiveError>,
    is_well: bool,
}

/// How one job's run ended.
enum Ran {
    Well,
    /// It failed, and nothing of it is in the transaction.
    Failed(Option<LiveError>),
    /// It failed, and what it changed is still in the transaction.
    Dirty(Option<LiveError>),
    /// The transaction is gone.
    Lost(LiveError),
}

/// Where more jobs come from while a transaction is open; given how many are in it already.
pub(crate) type More<'a> = &'a mut dyn FnMut(usize) -> VecDeque<Box<dyn Job>>;

/// Runs jobs from the front of `jobs`, and what comes meanwhile, and answers each; those that are left when
/// it returns are to run in a later batch, because a cap was reached or a commit failed.
pub(crate) fn run(conn: &Conn, jobs: &mut VecDeque<Box<dyn Job>>, more: More<'_>, cap: Cap) -> Done {
    let began = Instant::now();
    let mut caution = Caution::None;
    let mut done = Done::default();
    while !jobs.is_empty() {
        match transact(conn, jobs, more, cap, caution, &mut done.damaged) {
            End::Committed(settled) => {
                // Each is told of its own transaction, not of the last one.
                std::mem::replace(&mut done.settled, settled).answer();
                done.committed += done.settled.committed();
                if caution != Caution::Alone || began.elapsed() >= cap.time {
                    break;
                }
            }
            End::Undone => caution = caution.max(Caution::Savepoints),
            End::Lost if caution == Caution::None => caution = Caution::Savepoints,
            End::Lost => caution = Caution::Alone,
            End::Unknown(unknown) => {
                done.unknown = Some(unknown);
                break;
            }
        }
    }
    done
}

fn transact(
    conn: &Conn,
    jobs: &mut VecDeque<Box<dyn Job>>,
    more: More<'_>,
    cap: Cap,
    caution: Caution,
    damaged: &mut bool,
) -> End {
    let path = conn.db.path();
    if let Err(source) = conn.control(BEGIN) {
        *damaged |= is_damage(Fault::of_sqlite(&source));
        let error = LiveError::Failed(Error::Sqlite { path: path.to_owned(), source });
        return End::Committed(Settled::failed(jobs.drain(..), &error));
    }
    let (started, changes) = (Instant::now(), conn.db.total_changes());
    let mut ran = VecDeque::with_capacity(jobs.len());
    loop {
        // After a failure the others come first.
        if jobs.is_empty() && caution == Caution::None {
            *jobs = more(ran.len());
        }
        let Some(mut job) = jobs.pop_front() else { break };
        // Whether the job sees nothing but what is committed.
        let is_first = conn.db.total_changes() == changes;
        match run_one(conn, &mut *job, caution, damaged) {
            Ran::Well => {
                ran.push_back(Pending { job, error: None, is_well: true });
                let full = conn.db.total_changes() - changes >= cap.rows || started.elapsed() >= cap.time;
                if full || caution == Caution::Alone {
                    break;
                }
            }
            Ran::Failed(error) if is_first => job.answer(error),
            Ran::Failed(error) => ran.push_back(Pending { job, error, is_well: false }),
            Ran::Dirty(error) => {
                if let Err(error) = conn.control(ROLLBACK) {
                    tracing::error!(path = %path.display(), %error, "a transaction could not be rolled back");
                }
                if is_first || caution == Caution::Savepoints {
                    run_again(ran, jobs);
                    job.answer(error);
                } else {
                    jobs.push_front(job);
                    run_again(ran, jobs);
                }
                return End::Undone;
            }
            Ran::Lost(error) => {
                // The others go before the answer: whoever gets it finds the queue as it is.
                run_again(ran, jobs);
                job.answer(Some(error));
                return End::Lost;
            }
        }
    }
    commit(conn, ran, jobs)
}

fn run_again(ran: VecDeque<Pending>, jobs: &mut VecDeque<Box<dyn Job>>) {
    for pending in ran.into_iter().rev() {
        jobs.push_front(pending.job);
    }
}

fn commit(conn: &Conn, ran: VecDeque<Pending>, jobs: &mut VecDeque<Box<dyn Job>>) -> End {
    let path = conn.db.path();
    let Err(source) = conn.control(COMMIT) else {
        return End::Committed(Settled(ran));
    };
    let (well, failed): (VecDeque<_>, _) = ran.into_iter().partition(|pending| pending.is_well);
    // What the failures rest on is not there, or not known to be.
    run_again(failed, jobs);
    let jobs = well.into_iter().map(|pending| pending.job);
    if is_undone(conn, &source) {
        let error = LiveError::Failed(Error::Sqlite { path: path.to_owned(), source });
        return End::Committed(Settled::failed(jobs, &error));
    }
    End::Unknown(Unknown { jobs: jobs.collect(), path: path.to_owned(), source: Arc::new(source) })
}

/// Whether a commit failed for certain: there was no room for it, and nothing of it is left.
fn is_undone(conn: &Conn, source: &rusqlite::Error) -> bool {
    if source.sqlite_error_code() != Some(ErrorCode::DiskFull) || !conn.db.is_autocommit() {
        return false;
    }
    let forgotten = conn.forget_rolled_back();
    forgotten.inspect_err(|error| tracing::warn!(%error, "a failed commit may have left something")).is_ok()
}

impl Settled {
    /// None of these jobs was committed.
    pub(crate) fn failed(jobs: impl Iterator<Item = Box<dyn Job>>, error: &LiveError) -> Self {
        Self(jobs.map(|job| Pending { job, error: Some(error.duplicate()), is_well: false }).collect())
    }

    fn committed(&self) -> usize {
        self.0.iter().filter(|pending| pending.is_well).count()
    }

    pub(crate) fn answer(self) {
        for Pending { job, error, .. } in self.0 {
            job.answer(error);
        }
    }
}

impl Unknown {
    pub(crate) fn answer(self) {
        for job in self.jobs {
            let (path, source) = (self.path.clone(), Arc::clone(&self.source));
            job.answer(Some(LiveError::CommitUnknown { path, source }));
        }
    }
}

fn is_damage(fault: Fault) -> bool {
    matches!(fault, Fault::Corrupt | Fault::NotADatabase)
}

fn run_one(conn: &Conn, job: &mut dyn Job, caution: Caution, damaged: &mut bool) -> Ran {
    let path = || conn.db.path().to_owned();
    let saves = caution == Caution::Savepoints;
    let lost = |error: &rusqlite::Error| LiveError::TransactionLost {
        path: path(),
        detail: Some(error.to_string()),
        fault: Some(Fault::of_sqlite(error)),
    };
    if saves && let Err(error) = conn.control(SAVEPOINT) {
        return Ran::Lost(lost(&error));
    }
    let changes = conn.db.total_changes();
    let work = || job.run(&mut WriteTx::within(&conn.db));
    let outcome = conn.guarded(|| catch_unwind(AssertUnwindSafe(work)));
    let (failed, error) = match outcome {
        Ok(Ok(())) => (None, None),
        Ok(Err(failure)) => {
            *damaged |= failure.fault.is_some_and(is_damage);
            (Some(failure), None)
        }
        Err(panic) => {
            let message = words(&*panic);
            let failure = Failure { detail: message.clone(), fault: None };
            (Some(failure), Some(LiveError::Panicked { path: path(), message }))
        }
    };
    if conn.db.is_autocommit() {
        let (detail, fault) = failed.map(|failure| (failure.detail, failure.fault)).unzip();
        return Ran::Lost(LiveError::TransactionLost { path: path(), detail, fault: fault.flatten() });
    }
    let clean = conn.db.total_changes() == changes;
    if !saves {
        return match failed {
            None => Ran::Well,
            Some(_) if clean => Ran::Failed(error),
            Some(_) => Ran::Dirty(error),
        };
    }
    let ended = if failed.is_none() || clean { Ok(()) } else { conn.control(ROLLBACK_TO) }
        .and_then(|()| conn.control(RELEASE));
    match (failed, ended) {
        (None, Ok(())) => Ran::Well,
        (Some(_), Ok(())) => Ran::Failed(error),
        (Some(_), Err(_)) => Ran::Dirty(error),
        (None, Err(error)) => Ran::Dirty(Some(lost(&error))),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)").to_owned()
}

/// A closure, its result, and where the answer goes.
pub(crate) struct Closure<F, T, E, R>
where
    E: From<LiveError>,
    R: Reply<Result<T, E>>,
{
    work: F,
    result: Option<Result<T, E>>,
    owed: Owed<T, E, R>,
}

/// Where an answer goes.
pub(crate) trait Reply<T>: Send {
    fn waits(&self) -> bool;
    fn promote(&self);
    fn send(self, answer: T);
}

impl<T: Send> Reply<T> for Arc<Ticket<T>> {
    fn waits(&self) -> bool {
        true
    }

    fn promote(&self) {
        Ticket::promote(self);
    }

    fn send(self, answer: T) {
        self.answer(answer);
    }
}

/// An answer for whoever does not wait on a thread.
pub(crate) struct Callback<C>(pub(crate) C);

impl<T, C: FnOnce(T) + Send> Reply<T> for Callback<C> {
    fn waits(&self) -> bool {
        false
    }

    fn promote(&self) {}

    fn send(self, answer: T) {
        (self.0)(answer);
    }
}

/// An answer that somebody waits for. Where it is dropped without one, because the writer itself
/// panicked, the answer is that nobody knows.
struct Owed<T, E, R>
where
    E: From<LiveError>,
    R: Reply<Result<T, E>>,
{
    path: Arc<Path>,
    reply: Option<R>,
    answers: PhantomData<fn() -> Result<T, E>>,
}

impl<T, E, R> Owed<T, E, R>
where
    E: From<LiveError>,
    R: Reply<Result<T, E>>,
{
    fn send(&mut self, answer: Result<T, E>) {
        if let Some(reply) = self.reply.take() {
            contained(|| reply.send(answer));
        }
    }
}

impl<T, E, R> Drop for Owed<T, E, R>
where
    E: From<LiveError>,
    R: Reply<Result<T, E>>,
{
    fn drop(&mut self) {
        if self.reply.is_some() {
            let text = Some("the writer broke off".to_owned());
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ABORT), text);
            let (path, source) = (self.path.to_path_buf(), Arc::new(source));
            self.send(Err(LiveError::CommitUnknown { path, source }.into()));
        }
    }
}

/// Runs what others brought along; their panic is not the leader's, who has more to answer.
pub(crate) fn contained(work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        tracing::error!(panic = words(&*panic), "whoever was told how a write ended panicked");
    }
}

impl<F, T, E, R> Closure<F, T, E, R>
where
    E: From<LiveError>,
    R: Reply<Result<T, E>>,
{
    pub(crate) fn new(path: Arc<Path>, work: F, reply: R) -> Self {
        Self { work, result: None, owed: Owed { path, reply: Some(reply), answers: PhantomData } }
    }
}

impl<F, T, E, R> Queued for Closure<F, T, E, R>
where
    F: Send,
    T: Send,
    E: From<LiveError> + Send,
    R: Reply<Result<T, E>>,
{
    fn waits(&self) -> bool {
        self.owed.reply.as_ref().is_some_and(Reply::waits)
    }

    fn promote(&self) {
        if let Some(reply) = &self.owed.reply {
            reply.promote();
        }
    }
}

impl<F, T, E, R> Job for Closure<F, T, E, R>
where
    F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<LiveError> + StdError + Send + 'static,
    R: Reply<Result<T, E>>,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Result<(), Failure> {
        let result = (self.work)(tx);
        let outcome = match &result {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure { detail: error.to_string(), fault: fault_behind(error) }),
        };
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, error: Option<LiveError>) {
        let Self { work, result, mut owed } = *self;
        // The closure may hold what its caller waits for, such as a lease: it goes before the answer.
        contained(|| drop(work));
        owed.send(match (error, result) {
            (Some(error), _) => Err(error.into()),
            (None, Some(result)) => result,
            (None, None) => unreachable!("a job is answered after it ran, or with an error"),
        });
    }
}

impl Queued for Box<dyn Job> {
    fn waits(&self) -> bool {
        (**self).waits()
    }

    fn promote(&self) {
        (**self).promote();
    }
}
