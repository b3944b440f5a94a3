//! One transaction for many writes.
//!
//! Jobs run one after the other in one transaction and are answered after its commit. A job that fails
//! without having changed anything fails alone. One that has changed something is undone with all
//! others, which run again, each in a savepoint from then on: savepoints cost more than most writes,
//! and failures are rare. Where `SQLite` itself rolled the transaction back, the job that was running
//! fails and the others run again, each in a transaction of its own.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind};

use std::time::{Duration, Instant};

use std::sync::Arc;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Jobs that were answered with a commit behind them.
    pub(crate) committed: usize,
    /// The commit failed: what the disk holds is not known.
    pub(crate) unknown: bool,
    /// A job ran into damage.
    pub(crate) damaged: bool,
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
    /// Committed, with so many jobs in it.
    Committed(usize),
    /// Rolled back by us, because a job failed half-way. It was answered; the others are to run again.
    Undone,
    /// Rolled back by SQLite, because a job's statement failed badly. The same.
    Lost,
    /// The commit failed.
    Unknown,
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

/// Runs jobs from the front of `jobs` and answers each; those that are left when it returns were not
/// begun, because a cap was reached or a commit failed.
pub(crate) fn run(conn: &Conn, jobs: &mut VecDeque<Box<dyn Job>>, cap: Cap) -> Done {
    let mut caution = Caution::None;
    let mut done = Done::default();
    while !jobs.is_empty() {
        match transact(conn, jobs, cap, caution, &mut done.damaged) {
            End::Committed(jobs) => {
                done.committed += jobs;
                if caution != Caution::Alone {
                    break;
                }
            }
            End::Undone => caution = caution.max(Caution::Savepoints),
            End::Lost if caution == Caution::None => caution = Caution::Savepoints,
            End::Lost => caution = Caution::Alone,
            End::Unknown => {
                done.unknown = true;
                break;
            }
        }
    }
    done
}

fn transact(
    conn: &Conn,
    jobs: &mut VecDeque<Box<dyn Job>>,
    cap: Cap,
    caution: Caution,
    damaged: &mut bool,
) -> End {
    let path = conn.db.path();
    if let Err(error) = conn.control(BEGIN) {
        let error = LiveError::Failed(Error::Sqlite { path: path.to_owned(), source: error });
        for job in jobs.drain(..) {
            job.answer(Some(error.duplicate()));
        }
        return End::Committed(0);
    }
    let (started, changes) = (Instant::now(), conn.db.total_changes());
    let mut ran = VecDeque::with_capacity(jobs.len());
    while let Some(mut job) = jobs.pop_front() {
        let outcome = run_one(conn, &mut *job, caution, damaged);
        let (error, end) = match outcome {
            Ran::Well => {
                ran.push_back(job);
                let full = conn.db.total_changes() - changes >= cap.rows || started.elapsed() >= cap.time;
                if full || caution == Caution::Alone {
                    break;
                }
                continue;
            }
            Ran::Failed(error) => {
                job.answer(error);
                continue;
            }
            Ran::Dirty(error) => {
                if let Err(error) = conn.control(ROLLBACK) {
                    tracing::error!(path = %path.display(), %error, "a transaction could not be rolled back");
                }
                (error, End::Undone)
            }
            Ran::Lost(error) => (Some(error), End::Lost),
        };
        // The others go before the answer: whoever gets it finds the queue as it is.
        for job in ran.into_iter().rev() {
            jobs.push_front(job);
        }
        job.answer(error);
        return end;
    }
    match conn.control(COMMIT) {
        Ok(()) => {
            let committed = ran.len();
            for job in ran {
                job.answer(None);
            }
            End::Committed(committed)
        }
        Err(error) => {
            let source = Arc::new(error);
            for job in ran {
                let (path, source) = (path.to_owned(), Arc::clone(&source));
                job.answer(Some(LiveError::CommitUnknown { path, source }));
            }
            End::Unknown
        }
    }
}

fn run_one(conn: &Conn, job: &mut dyn Job, caution: Caution, damaged: &mut bool) -> Ran {
    let path = || conn.db.path().to_owned();
    let saves = caution == Caution::Savepoints;
    if saves && let Err(error) = conn.control(SAVEPOINT) {
        return Ran::Lost(LiveError::TransactionLost { path: path(), detail: Some(error.to_string()) });
    }
    let changes = conn.db.total_changes();
    let work = || job.run(&mut WriteTx::within(&conn.db));
    let outcome = conn.guarded(|| catch_unwind(AssertUnwindSafe(work)));
    let (failed, error) = match outcome {
        Ok(Ok(())) => (None, None),
        Ok(Err(failure)) => {
            *damaged |= matches!(failure.fault, Some(Fault::Corrupt | Fault::NotADatabase));
            (Some(failure.detail), None)
        }
        Err(panic) => {
            let message = words(&*panic);
            (Some(message.clone()), Some(LiveError::Panicked { path: path(), message }))
        }
    };
    if conn.db.is_autocommit() {
        return Ran::Lost(LiveError::TransactionLost { path: path(), detail: failed });
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
        (None, Err(error)) => {
            let detail = Some(error.to_string());
            Ran::Dirty(Some(LiveError::TransactionLost { path: path(), detail }))
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)").to_owned()
}

/// A closure, its result, and where the answer goes.
pub(crate) struct Closure<F, T, E, R> {
    work: F,
    result: Option<Result<T, E>>,
    reply: R,
}

/// Where an answer goes.
pub(crate) trait Reply<T>: Send {
    fn promote(&self) -> bool;
    fn send(self, answer: T);
}

impl<T: Send> Reply<T> for Arc<Ticket<T>> {
    fn promote(&self) -> bool {
        Ticket::promote(self);
        true
    }

    fn send(self, answer: T) {
        self.answer(answer);
    }
}

/// An answer for whoever does not wait on a thread.
pub(crate) struct Callback<C>(pub(crate) C);

impl<T, C: FnOnce(T) + Send> Reply<T> for Callback<C> {
    fn promote(&self) -> bool {
        false
    }

    fn send(self, answer: T) {
        (self.0)(answer);
    }
}

impl<F, T, E, R> Closure<F, T, E, R> {
    pub(crate) fn new(work: F, reply: R) -> Self {
        Self { work, result: None, reply }
    }
}

impl<F: Send, T: Send, E: Send, R: Reply<Result<T, E>>> Queued for Closure<F, T, E, R> {
    fn promote(&self) -> bool {
        self.reply.promote()
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
        let this = *self;
        // The closure may hold what its caller waits for, such as a lease: it goes before the answer.
        drop(this.work);
        let answer = match (error, this.result) {
            (Some(error), _) => Err(error.into()),
            (None, Some(result)) => result,
            (None, None) => unreachable!("a job is answered after it ran, or with an error"),
        };
        this.reply.send(answer);
    }
}

impl Queued for Box<dyn Job> {
    fn promote(&self) -> bool {
        (**self).promote()
    }
}
