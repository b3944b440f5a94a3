//! The cache under a model checker: many interleavings of a few threads that want a few apps.
//!
//! Opener and handles are fakes that keep a book: no app is open twice, nobody holds a closed handle, the
//! budget is never exceeded, exclusive work is alone, and nobody waits for ever.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Barrier, Mutex};
use shuttle::thread;

use crate::app_id::AppId;
use crate::cache::budget::Cost;
use crate::cache::{Cache, CacheConfig, Exclusive, Grant, Handle, LeaseError, Opener};
use crate::sync::lock;

/// What is open, who is alone, and what goes wrong.
#[derive(Default)]
struct Book {
    open: HashSet<AppId>,
    alone: HashSet<AppId>,
    /// Nothing is to be opened any more.
    is_closed: bool,
    /// Openings of each hundred that fail.
    failing: u32,
    /// Closings of each hundred that fail.
    not_closing: u32,
    /// Does not close at all.
    unclosable: Option<AppId>,
}

#[derive(Clone)]
struct Fake {
    book: Arc<Mutex<Book>>,
    most: usize,
}

struct FakeHandle {
    id: AppId,
    book: Arc<Mutex<Book>>,
    state: Mutex<HandleState>,
}

#[allow(clippy::struct_excessive_bools, reason = "a model's handle is told one thing at a time")]
struct HandleState {
    is_closed: bool,
    is_condemned: bool,
    is_damaged: bool,
    is_at_work: bool,
    grant: Option<Grant>,
}

#[derive(Debug, thiserror::Error)]
#[error("it does not open")]
struct No {
    is_lasting: bool,
}

impl From<crate::Error> for No {
    fn from(_: crate::Error) -> Self {
        Self { is_lasting: true }
    }
}

impl Opener for Fake {
    type Handle = FakeHandle;
    type Error = No;

    fn open(&self, id: &AppId, grant: Grant) -> Result<FakeHandle, No> {
        {
            let mut book = lock(&self.book);
            assert!(book.open.insert(id.clone()), "{id} is opened while it is open");
            assert!(book.open.len() <= self.most, "more is open than may be");
            assert!(!book.is_closed, "{id} is opened after the end");
            assert!(!book.alone.contains(id), "{id} is opened while somebody has it alone");
        }
        thread::yield_now();
        let mut book = lock(&self.book);
        assert!(!book.alone.contains(id), "somebody got {id} alone while it was opened");
        if thread_rng().gen_ratio(book.failing, 100) {
            book.open.remove(id);
            return Err(No { is_lasting: thread_rng().gen_bool(0.5) });
        }
        drop(book);
        let state = HandleState {
            is_closed: false,
            is_condemned: false,
            is_damaged: false,
            is_at_work: false,
            grant: Some(grant),
        };
        Ok(FakeHandle { id: id.clone(), book: Arc::clone(&self.book), state: Mutex::new(state) })
    }

    fn is_lasting(&self, error: &No) -> bool {
        error.is_lasting
    }
}

impl Handle for FakeHandle {
    fn close(&self, deadline: Instant) -> crate::Result<()> {
        thread::yield_now();
        let mut book = lock(&self.book);
        let mut state = lock(&self.state);
        assert!(!state.is_closed, "{} is closed twice", self.id);
        if state.is_at_work && deadline <= Instant::now() {
            return Err(self.unfit("an operation on it has not ended"));
        }
        state.is_condemned = true;
        let never = book.unclosable.as_ref() == Some(&self.id);
        if never || thread_rng().gen_ratio(book.not_closing, 100) {
            return Err(self.unfit("an operation on it does not end"));
        }
        state.is_closed = true;
        assert!(book.open.remove(&self.id));
        drop(book);
        let grant = state.grant.take();
        drop(state);
        drop(grant);
        Ok(())
    }

    fn rest(&self) {
        thread::yield_now();
    }

    fn is_at_work(&self) -> bool {
        lock(&self.state).is_at_work
    }

    fn is_stuck(&self) -> bool {
        false
    }

    fn queued(&self) -> usize {
        0
    }

    fn is_condemned(&self) -> bool {
        lock(&self.state).is_condemned
    }

    fn why_out_of_service(&self) -> Option<crate::Error> {
        lock(&self.state).is_damaged.then(|| self.unfit("it is damaged"))
    }
}

impl FakeHandle {
    fn unfit(&self, detail: &str) -> crate::Error {
        let path = std::path::Path::new(self.id.as_str());
        crate::Error::unfit(path, crate::Unfit::Mismatch { detail: detail.to_owned() })
    }

    fn condemn(&self, is_damaged: bool) {
        let mut state = lock(&self.state);
        (state.is_condemned, state.is_damaged) = (true, is_damaged);
    }

    fn is_at_work(&self, is_at_work: bool) {
        lock(&self.state).is_at_work = is_at_work;
    }

    fn use_it(&self) {
        for _ in 0..2 {
            assert!(!lock(&self.state).is_closed, "a lease on a closed handle");
            thread::yield_now();
        }
    }
}

fn cache(most: usize, failing: u32, not_closing: u32) -> Cache<Fake> {
    let book = Arc::new(Mutex::new(Book { failing, not_closing, ..Book::default() }));
    let config = CacheConfig {
        budget: Cost { connections: most, descriptors: 3 * most },
        // No deadline passes in a model; a wait that only a deadline would end is found as a deadlock.
        wait: Duration::from_hours(1),
        stuck_after: Duration::from_hours(1),
        // Set aside and tried again at once.
        retry_after: Duration::ZERO,
        ..CacheConfig::default()
    };
    Cache::new(Fake { book, most }, config)
}

fn id(number: usize) -> AppId {
    format!("app-{number}").parse().expect("an app's name")
}

fn lease(cache: &Cache<Fake>, number: usize) -> bool {
    match cache.lease(&id(number)) {
        Ok(lease) => {
            assert_eq!(lease.id(), &id(number));
            lease.use_it();
            true
        }
        Err(_) => false,
    }
}

fn work_alone(cache: &Cache<Fake>, alone: &Exclusive<Fake>) {
    let book = &cache.opener().book;
    {
        let mut book = lock(book);
        assert!(!book.open.contains(alone.id()), "alone, and it is open");
        assert!(book.alone.insert(alone.id().clone()), "alone, and so is somebody else");
    }
    thread::yield_now();
    assert!(lock(book).alone.remove(alone.id()));
}

fn all(cache: &Cache<Fake>, threads: usize, work: impl Fn(&Cache<Fake>) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (work, cache) = (Arc::clone(&work), cache.clone());
            thread::spawn(move || work(&cache))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn is_empty(cache: &Cache<Fake>) {
    assert_eq!(cache.close(Instant::now() + Duration::from_hours(1)), 0);
    assert!(lock(&cache.opener().book).open.is_empty());
    assert_eq!(cache.stats().used, Cost::default(), "a part of the budget is lost");
    assert_eq!(cache.shared.slots.len(), 0);
    assert_eq!(lock(&cache.shared.by_use).len(), 0, "what is closed is still noted");
}

#[test]
fn explore_more_apps_than_the_budget_holds() {
    crate::explore::explore(|| {
        let cache = cache(1, 0, 0);
        all(&cache, 3, |cache| {
            for _ in 0..2 {
                assert!(lease(cache, thread_rng().gen_range(0..3)), "it was not opened");
            }
        });
        is_empty(&cache);
    });
}

#[test]
fn explore_two_who_wait_for_what_two_others_let_go() {
    crate::explore::explore(|| {
        let cache = cache(2, 0, 0);
        let leases = [0, 1].map(|number| cache.lease(&id(number)).expect("the budget is free"));
        let both = Arc::new(Barrier::new(2));
        let threads = [2, 3].map(|number| {
            let (cache, both) = (cache.clone(), Arc::clone(&both));
            thread::spawn(move || {
                let lease = cache.lease(&id(number)).expect("there is room for two");
                // Neither lets go before the other has its own.
                both.wait();
                lease.use_it();
            })
        });
        drop(leases);
        // One of them may be closed without an eviction.
        drop(cache.exclusive(&id(1)).expect("nobody keeps it"));
        for thread in threads {
            thread.join().unwrap();
        }
        is_empty(&cache);
    });
}

#[test]
fn explore_everything_at_once() {
    crate::explore::explore(|| {
        let cache = cache(2, 20, 0);
        all(&cache, 4, |cache| {
            for _ in 0..3 {
                let number = thread_rng().gen_range(0..3);
                match thread_rng().gen_range(0..8) {
                    0 => cache.sweep(),
                    1 => work_alone(cache, &cache.exclusive(&id(number)).expect("nobody keeps it")),
                    2 => {
                        if let Ok(lease) = cache.lease(&id(number)) {
                            let second = lease.clone();
                            drop(lease);
                            second.use_it();
                            second.condemn(thread_rng().gen_bool(0.5));
                            second.use_it();
                        }
                    }
                    3 => {
                        let _ = (cache.state(&id(number)), cache.stats());
                    }
                    _ => drop(lease(cache, number)),
                }
            }
        });
        is_empty(&cache);
    });
}

#[test]
fn explore_handles_that_do_not_close() {
    crate::explore::explore(|| {
        let cache = cache(2, 0, 30);
        all(&cache, 3, |cache| {
            for _ in 0..2 {
                let number = thread_rng().gen_range(0..2);
                match thread_rng().gen_range(0..3) {
                    0 => cache.sweep(),
                    1 => {
                        if let Ok(alone) = cache.exclusive(&id(number)) {
                            work_alone(cache, &alone);
                        }
                    }
                    _ => drop(lease(cache, number)),
                }
            }
        });
        lock(&cache.opener().book).not_closing = 0;
        is_empty(&cache);
    });
}

#[test]
fn explore_one_that_never_closes_among_others_that_do() {
    crate::explore::explore(|| {
        let cache = cache(2, 0, 0);
        lock(&cache.opener().book).unclosable = Some(id(0));
        assert!(lease(&cache, 0), "the budget is free");
        all(&cache, 3, |cache| {
            for _ in 0..2 {
                if thread_rng().gen_ratio(1, 4) {
                    cache.sweep();
                }
                assert!(lease(cache, thread_rng().gen_range(1..4)), "there is room for one");
            }
        });
        lock(&cache.opener().book).unclosable = None;
        is_empty(&cache);
    });
}

#[test]
fn explore_work_that_outlives_its_lease() {
    crate::explore::explore(|| {
        let cache = cache(1, 0, 0);
        all(&cache, 3, |cache| {
            for _ in 0..2 {
                let lease = cache.lease(&id(thread_rng().gen_range(0..3))).expect("its work ends");
                lease.is_at_work(true);
                let slot = Arc::clone(&lease.slot);
                drop(lease);
                thread::yield_now();
                slot.open().is_at_work(false);
                cache.shared.meter.budget.poke();
            }
        });
        is_empty(&cache);
    });
}

#[test]
fn explore_closing_meanwhile() {
    crate::explore::explore(|| {
        let cache = cache(2, 0, 0);
        let closing = {
            let cache = cache.clone();
            thread::spawn(move || {
                let left = cache.close(Instant::now() + Duration::from_hours(1));
                assert_eq!(left, 0);
                let mut book = lock(&cache.opener().book);
                assert!(book.open.is_empty(), "closed, and something is open");
                book.is_closed = true;
                drop(book);
                assert!(matches!(cache.lease(&id(0)), Err(LeaseError::Closed)));
            })
        };
        all(&cache, 2, |cache| {
            for _ in 0..2 {
                let number = thread_rng().gen_range(0..3);
                match cache.lease(&id(number)) {
                    Ok(lease) => lease.use_it(),
                    Err(error) => assert!(matches!(error, LeaseError::Closed), "{error}"),
                }
            }
        });
        closing.join().unwrap();
        is_empty(&cache);
    });
}
