//! The queue before a writer, and who empties it.
//!
//! There is no writer thread. The first to push a job becomes the leader and runs whatever is in the
//! queue, its own job first; when its own is done, the leadership goes to the next in line. Those who
//! wait without a thread of their own cannot lead, and an executor leads for them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, lock, wait};

/// One piece of work in the queue.
pub(crate) trait Queued: Send {
    /// Makes whoever waits for this job the leader; `false` where nobody's thread waits.
    fn promote(&self) -> bool;
}

/// Jobs in the order in which they came.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    capacity: usize,
}

#[derive(Debug)]
struct State<J> {
    waiting: VecDeque<J>,
    /// Since when the leader has been at its present batch; none where nobody leads.
    leader: Option<Instant>,
}

/// What became of a job that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed<J> {
    /// Somebody else leads and will come to it.
    Waiting,
    /// It is in the queue, and whoever pushed it has to lead.
    Lead,
    /// The queue is full, or its leader has been at one batch for too long.
    Refused(J),
}

/// What became of the leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassedOn {
    /// There is no work left, and nobody leads.
    Idle,
    /// The next in line leads.
    Promoted,
    /// There is work left that nobody's thread waits for. The leadership stays with the caller.
    Kept,
}

impl<J: Queued> Queue<J> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), leader: None }), capacity }
    }

    /// Appends a job, unless the leader has not come back from its batch for `patience`.
    pub(crate) fn push(&self, job: J, patience: Duration) -> Pushed<J> {
        let mut state = lock(&self.state);
        match state.leader {
            None => {
                state.leader = Some(Instant::now());
                state.waiting.push_back(job);
                Pushed::Lead
            }
            Some(since) if state.waiting.len() >= self.capacity || since.elapsed() > patience => {
                Pushed::Refused(job)
            }
            Some(_) => {
                state.waiting.push_back(job);
                Pushed::Waiting
            }
        }
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Takes up to `most` jobs; for the leader, who begins a batch with them.
    pub(crate) fn take(&self, most: usize) -> VecDeque<J> {
        let mut state = lock(&self.state);
        state.leader = Some(Instant::now());
        if state.waiting.len() <= most {
            std::mem::take(&mut state.waiting)
        } else {
            state.waiting.drain(..most).collect()
        }
    }

    /// Puts jobs that were not begun back to the front.
    pub(crate) fn put_back(&self, jobs: impl DoubleEndedIterator<Item = J>) {
        let mut state = lock(&self.state);
        for job in jobs.rev() {
            state.waiting.push_front(job);
        }
    }

    /// Gives the leadership away.
    pub(crate) fn pass_on(&self) -> PassedOn {
        let mut state = lock(&self.state);
        match state.waiting.front() {
            None => {
                state.leader = None;
                PassedOn::Idle
            }
            Some(next) if next.promote() => {
                state.leader = Some(Instant::now());
                PassedOn::Promoted
            }
            Some(_) => PassedOn::Kept,
        }
    }
}

/// Where a thread waits for its job's answer.
#[derive(Debug)]
pub(crate) struct Ticket<T> {
    stage: Mutex<Stage<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum Stage<T> {
    Waiting,
    Promoted,
    Answered(T),
    Collected,
}

/// Why a waiting thread woke up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken<T> {
    /// Its job is done.
    Answered(T),
    /// It has to lead.
    Lead,
}

impl<T> Ticket<T> {
    pub(crate) fn new() -> Self {
        Self { stage: Mutex::new(Stage::Waiting), changed: Condvar::new() }
    }

    /// Waits until the job is answered or the leadership arrives.
    pub(crate) fn wait(&self) -> Woken<T> {
        let mut stage = lock(&self.stage);
        loop {
            match std::mem::replace(&mut *stage, Stage::Waiting) {
                Stage::Waiting => stage = wait(&self.changed, stage),
                Stage::Promoted => return Woken::Lead,
                Stage::Answered(answer) => {
                    *stage = Stage::Collected;
                    return Woken::Answered(answer);
                }
                Stage::Collected => unreachable!("an answer is collected once"),
            }
        }
    }

    /// The answer, where it is there.
    pub(crate) fn collect(&self) -> Option<T> {
        let mut stage = lock(&self.stage);
        match std::mem::replace(&mut *stage, Stage::Waiting) {
            Stage::Answered(answer) => {
                *stage = Stage::Collected;
                Some(answer)
            }
            other => {
                *stage = other;
                None
            }
        }
    }

    pub(crate) fn answer(&self, answer: T) {
        self.set(Stage::Answered(answer));
    }

    pub(crate) fn promote(&self) {
        self.set(Stage::Promoted);
    }

    fn set(&self, next: Stage<T>) {
        *lock(&self.stage) = next;
        self.changed.notify_one();
    }
}
