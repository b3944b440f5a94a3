//! The queue before a writer, and who empties it.
//!
//! There is no writer thread. The first to push a job becomes the leader and runs whatever is in the
//! queue; when its own job is done, the leadership goes to the next in line whose thread waits. Where
//! nobody's thread waits, the leadership travels to an executor's. Whoever comes with a thread of its own
//! meanwhile takes it over, since the executor's threads may all be among those who wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, lock, wait};

/// One piece of work in the queue.
pub(crate) trait Queued: Send {
    /// Whether a thread waits for this job, which can lead.
    fn waits(&self) -> bool;
    /// Makes whoever waits for this job the leader.
    fn promote(&self);
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
    leader: Leader,
    /// Journeys of the leadership that were begun.
    journeys: u64,
}

/// Who leads.
#[derive(Clone, Copy, Debug)]
enum Leader {
    /// Nobody, and the queue is empty.
    Nobody,
    /// Whoever arrives first: an executor's thread with this journey, or a caller's own.
    Travelling { journey: Journey, since: Instant },
    /// A thread that has been at its present batch since then.
    AtWork { since: Instant },
}

/// The leadership on its way to an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Journey(u64);

/// What became of a job that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed<J> {
    /// Somebody else leads and will come to it.
    Waiting,
    /// It is in the queue, and whoever pushed it has to lead.
    Lead,
    /// It is in the queue, and whoever pushed it has to send the leadership to an executor.
    Send(Journey),
    /// The queue is full, or its leader has been at one batch for too long.
    Refused(J),
}

/// What became of the leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassedOn {
    /// There is no work left, and nobody leads.
    Idle,
    /// The next in line whose thread waits leads.
    Promoted,
    /// There is work left that nobody's thread waits for: to be sent to an executor.
    Send(Journey),
}

impl<J: Queued> Queue<J> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::new(), leader: Leader::Nobody, journeys: 0 };
        Self { state: Mutex::new(state), capacity }
    }

    /// Appends a job, unless the leader has not come back from its batch for `patience`.
    pub(crate) fn push(&self, job: J, patience: Duration) -> Pushed<J> {
        let mut state = lock(&self.state);
        let has_thread = job.waits();
        match state.leader {
            Leader::Nobody if !has_thread => {
                state.waiting.push_back(job);
                Pushed::Send(state.travel())
            }
            Leader::Nobody | Leader::Travelling { .. } if has_thread => {
                state.waiting.push_back(job);
                state.leader = Leader::AtWork { since: Instant::now() };
                Pushed::Lead
            }
            Leader::Travelling { since, .. } | Leader::AtWork { since }
                if state.waiting.len() >= self.capacity || since.elapsed() > patience =>
            {
                Pushed::Refused(job)
            }
            _ => {
                state.waiting.push_back(job);
                Pushed::Waiting
            }
        }
    }

    /// Whether the leadership still waits for this journey's end; then whoever asks leads.
    pub(crate) fn arrive(&self, ended: Journey) -> bool {
        let mut state = lock(&self.state);
        let arrives = matches!(state.leader, Leader::Travelling { journey, .. } if journey == ended);
        if arrives {
            state.leader = Leader::AtWork { since: Instant::now() };
        }
        arrives
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Takes up to `most` jobs; for the leader, who begins a batch with them.
    pub(crate) fn take(&self, most: usize) -> VecDeque<J> {
        let mut state = lock(&self.state);
        state.leader = Leader::AtWork { since: Instant::now() };
        if state.waiting.len() <= most {
            std::mem::take(&mut state.waiting)
        } else {
            state.waiting.drain(..most).collect()
        }
    }

    /// Takes up to `most` further jobs; for the leader, who adds them to its batch.
    pub(crate) fn take_more(&self, most: usize) -> VecDeque<J> {
        let mut state = lock(&self.state);
        let most = most.min(state.waiting.len());
        state.waiting.drain(..most).collect()
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
        if state.waiting.is_empty() {
            state.leader = Leader::Nobody;
            return PassedOn::Idle;
        }
        match state.waiting.iter().find(|job| job.waits()) {
            Some(next) => {
                next.promote();
                state.leader = Leader::AtWork { since: Instant::now() };
                PassedOn::Promoted
            }
            None => PassedOn::Send(state.travel()),
        }
    }
}

impl<J> State<J> {
    fn travel(&mut self) -> Journey {
        self.journeys += 1;
        let journey = Journey(self.journeys);
        self.leader = Leader::Travelling { journey, since: Instant::now() };
        journey
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
