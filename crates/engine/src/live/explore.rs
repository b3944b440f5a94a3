//! The writer's queue under a model checker: many interleavings of the same few threads.
//!
//! The jobs are fakes, so that nothing but the queue and the tickets is tried: every job is done once,
//! by one leader at a time, in the order of its thread, and nobody waits for ever.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use crate::live::queue::{Journey, PassedOn, Pushed, Queue, Queued, Ticket, Woken};

/// Longer than any of this takes: no deadline passes in a model.
const FOREVER: Duration = Duration::from_hours(1);

/// Whose job it is, and which of theirs.
type Name = (usize, usize);

struct Fake {
    name: Name,
    /// None where nobody's thread waits.
    ticket: Option<Arc<Ticket<Name>>>,
}

impl Queued for Fake {
    fn waits(&self) -> bool {
        self.ticket.is_some()
    }

    fn promote(&self) {
        self.ticket.as_ref().expect("only who waits is promoted").promote();
    }
}

/// A queue, what came out of it, and an executor.
struct Model {
    queue: Queue<Fake>,
    book: Mutex<Book>,
    executor: Executor,
}

#[derive(Default)]
struct Book {
    done: Vec<Name>,
    leads: bool,
}

/// What becomes of the leadership when nobody's thread waits.
enum Executor {
    /// A thread of its own leads.
    Threads,
    /// So many threads, which are all at work that waits for an answer itself; what comes meanwhile
    /// stays here until they are done.
    Busy(Mutex<Vec<Journey>>),
}

impl Model {
    fn new(executor: Executor) -> Arc<Self> {
        Arc::new(Self { queue: Queue::new(100), book: Mutex::default(), executor })
    }

    fn write(self: &Arc<Self>, name: Name) {
        let ticket = Arc::new(Ticket::new());
        let job = Fake { name, ticket: Some(Arc::clone(&ticket)) };
        let mut leads = match self.queue.push(job, FOREVER) {
            Pushed::Lead => true,
            Pushed::Waiting => false,
            other => unreachable!("{:?}", other.map_away()),
        };
        loop {
            if leads {
                let settled = self.run_batch();
                if let PassedOn::Send(journey) = self.queue.pass_on() {
                    self.send(journey);
                }
                answer(settled);
            }
            match ticket.wait() {
                Woken::Answered(answer) => return assert_eq!(answer, name),
                Woken::Lead => leads = true,
            }
        }
    }

    fn submit(self: &Arc<Self>, name: Name) {
        match self.queue.push(Fake { name, ticket: None }, FOREVER) {
            Pushed::Send(journey) => self.send(journey),
            Pushed::Waiting => {}
            other => unreachable!("{:?}", other.map_away()),
        }
    }

    fn send(self: &Arc<Self>, journey: Journey) {
        match &self.executor {
            Executor::Threads => {
                let model = Arc::clone(self);
                thread::spawn(move || model.travel(journey));
            }
            Executor::Busy(waiting) => waiting.lock().unwrap().push(journey),
        }
    }

    fn travel(&self, mut journey: Journey) {
        while self.queue.arrive(journey) {
            let settled = self.run_batch();
            let passed_on = self.queue.pass_on();
            answer(settled);
            match passed_on {
                PassedOn::Send(next) => journey = next,
                PassedOn::Idle | PassedOn::Promoted => return,
            }
        }
    }

    fn run_batch(&self) -> VecDeque<Fake> {
        {
            let mut book = self.book.lock().unwrap();
            assert!(!book.leads, "two leaders at a time");
            book.leads = true;
        }
        let mut jobs = self.queue.take(thread_rng().gen_range(1..4));
        assert!(!jobs.is_empty(), "somebody leads, and there is nothing to do");
        // A cap, or a failed commit: what was not begun goes back.
        let left: VecDeque<_> = jobs.split_off(thread_rng().gen_range(1..=jobs.len()));
        for job in &jobs {
            self.book.lock().unwrap().done.push(job.name);
        }
        self.queue.put_back(left.into_iter());
        self.book.lock().unwrap().leads = false;
        jobs
    }

    fn check(&self, threads: usize, each: usize) {
        let book = self.book.lock().unwrap();
        assert_eq!(book.done.len(), threads * each, "{:?}", book.done);
        let mut last = HashMap::new();
        for (thread, number) in &book.done {
            let before = last.insert(thread, number);
            assert!(before.is_none_or(|before| before < number), "out of order: {:?}", book.done);
        }
        assert_eq!(self.queue.len(), 0);
    }
}

fn answer(settled: VecDeque<Fake>) {
    for Fake { name, ticket } in settled {
        if let Some(ticket) = ticket {
            ticket.answer(name);
        }
    }
}

impl Pushed<Fake> {
    fn map_away(self) -> Pushed<Name> {
        match self {
            Self::Waiting => Pushed::Waiting,
            Self::Lead => Pushed::Lead,
            Self::Send(journey) => Pushed::Send(journey),
            Self::Refused(job) => Pushed::Refused(job.name),
        }
    }
}

/// Starts so many threads that do `work`, with their number, and waits for them.
fn all(threads: usize, work: impl Fn(usize) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let work = Arc::clone(&work);
            thread::spawn(move || work(thread))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn explore_waiting_writers() {
    crate::explore::explore(|| {
        let model = Model::new(Executor::Threads);
        let shared = Arc::clone(&model);
        all(4, move |thread| {
            for number in 0..3 {
                shared.write((thread, number));
            }
        });
        model.check(4, 3);
    });
}

#[test]
fn explore_writers_that_wait_and_others() {
    crate::explore::explore(|| {
        let model = Model::new(Executor::Threads);
        let shared = Arc::clone(&model);
        all(3, move |thread| {
            for number in 0..3 {
                if thread_rng().gen_bool(0.5) {
                    shared.submit((thread, number));
                } else {
                    shared.write((thread, number));
                }
            }
            // Whoever submitted last waits here, so that all is done when the threads are done.
            shared.write((thread, 3));
        });
        // Jobs of others may be left that nobody's thread waits for; one more write sees them through.
        model.write((3, 0));
        while model.queue.len() > 0 || model.book.lock().unwrap().leads {
            thread::yield_now();
        }
        let book = model.book.lock().unwrap();
        assert_eq!(book.done.len(), 13);
        drop(book);
    });
}

#[test]
fn explore_an_executor_whose_threads_all_wait() {
    crate::explore::explore(|| {
        let model = Model::new(Executor::Busy(Mutex::default()));
        let shared = Arc::clone(&model);
        all(3, move |thread| {
            shared.submit((thread, 0));
            shared.write((thread, 1));
        });
        // The executor's threads are free again: now the leadership arrives, if it is still wanted.
        let Executor::Busy(waiting) = &model.executor else { unreachable!("made so") };
        for journey in std::mem::take(&mut *waiting.lock().unwrap()) {
            model.travel(journey);
        }
        model.check(3, 2);
    });
}
