//! What open databases may cost in all: connections and file descriptors.
//!
//! Both are reserved before anything is opened and given back when it is closed, so that the process
//! never finds out by running into the kernel's limit.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit};

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, lock, wait_until};

/// Connections and file descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// `SQLite` connections.
    pub connections: usize,
    /// File descriptors.
    pub descriptors: usize,
}

impl Cost {
    /// A database's first connection: its file, `-wal` and `-shm`.
    pub const FIRST: Self = Self { connections: 1, descriptors: 3 };
    /// Another connection to the same file: `-shm` is shared.
    pub const FURTHER: Self = Self { connections: 1, descriptors: 2 };
    /// Another connection where a closed one left its descriptor: while any connection to the file is
    /// open, `SQLite` keeps the descriptor of one that closes, since closing it would drop the locks of
    /// all, and hands it to the next that opens.
    pub const REOPENED: Self = Self { connections: 1, descriptors: 1 };

    /// No limit.
    pub const UNLIMITED: Self = Self { connections: usize::MAX, descriptors: usize::MAX };

    /// Half of what the process may open, at one connection for three descriptors: the rest is for
    /// sockets, media files and what else the process does.
    pub fn of_process() -> Self {
        const MOST: u64 = 60_000;
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let half = usize::try_from(soft.min(MOST) / 2).unwrap_or(512);
        Self { connections: half / 3, descriptors: half }
    }
}

/// A limit on what is open at the same time.
pub(crate) struct Budget {
    limit: Cost,
    state: Mutex<State>,
    // Something was given back, or a handle became idle.
    freed: Condvar,
    /// Callers that look for something to close, or sleep.
    waiting: AtomicUsize,
    /// Those of them that sleep: to wake nobody would cost every lease that ends a system call.
    sleeping: AtomicUsize,
    /// Counts what was given back and what became idle, so that nothing is missed between a look for idle
    /// handles and the sleep that follows.
    news: AtomicU64,
    evict_one: OnceLock<EvictOne>,
}

/// Closes something idle; `false` where nothing is.
type EvictOne = Box<dyn Fn() -> bool + Send + Sync>;

#[derive(Debug, Default)]
struct State {
    used: Cost,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    cost: Cost,
}

impl Budget {
    pub(crate) fn new(limit: Cost) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            freed: Condvar::new(),
            waiting: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            news: AtomicU64::new(0),
            evict_one: OnceLock::new(),
        })
    }

    /// Says once how something idle is closed. Without that nothing ever is.
    pub(crate) fn evict_by(&self, evict_one: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.evict_one.set(Box::new(evict_one));
    }

    /// Closes something idle to make room; `false` where nothing is. The caller holds no lock.
    pub(crate) fn make_room(&self) -> bool {
        self.evict_one.get().is_some_and(|evict_one| evict_one())
    }

    pub(crate) fn limit(&self) -> Cost {
        self.limit
    }

    pub(crate) fn used(&self) -> Cost {
        lock(&self.state).used
    }

    /// Takes a part of the budget, where there is one.
    pub(crate) fn try_reserve(self: &Arc<Self>, cost: Cost) -> Option<Reservation> {
        let taken = self.take(&mut lock(&self.state).used, cost);
        taken.then(|| Reservation { budget: Arc::clone(self), cost })
    }

    /// Takes a part of the budget. While there is none, something idle is closed; where nothing is idle,
    /// waits until `deadline`.
    pub(crate) fn reserve(self: &Arc<Self>, cost: Cost, deadline: Instant) -> Option<Reservation> {
        if let Some(reserved) = self.try_reserve(cost) {
            return Some(reserved);
        }
        // Counted before idle handles are looked for: whoever lets go of one after that sees the count.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let reserved = self.reserve_or_wait(cost, deadline);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        reserved
    }

    fn reserve_or_wait(self: &Arc<Self>, cost: Cost, deadline: Instant) -> Option<Reservation> {
        loop {
            let news = self.news.load(Ordering::SeqCst);
            let evicted = self.make_room();
            if let Some(reserved) = self.try_reserve(cost) {
                return Some(reserved);
            }
            if !evicted {
                self.sleep(news, deadline)?;
            }
        }
    }

    /// Sleeps until there is more news than this; none where that is not before `deadline`.
    fn sleep(&self, news: u64, deadline: Instant) -> Option<()> {
        let mut state = lock(&self.state);
        // Whoever has news sees this count, or had it so early that it is seen here.
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let has_news = loop {
            if self.news.load(Ordering::SeqCst) != news {
                break Some(());
            }
            match wait_until(&self.freed, state, deadline) {
                Some(woken) => state = woken,
                None => break None,
            }
        };
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        has_news
    }

    /// How many callers wait.
    #[cfg(all(test, not(feature = "explore")))]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Says that a handle is idle, so that whoever waits may close it.
    pub(crate) fn poke(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.news.fetch_add(1, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            // Who counts as sleeping has this lock until it is asleep.
            drop(lock(&self.state));
            self.freed.notify_all();
        }
    }

    fn has_room(&self, used: &Cost, cost: Cost) -> bool {
        used.connections.saturating_add(cost.connections) <= self.limit.connections
            && used.descriptors.saturating_add(cost.descriptors) <= self.limit.descriptors
    }

    fn take(&self, used: &mut Cost, cost: Cost) -> bool {
        let room = self.has_room(used, cost);
        if room {
            used.connections += cost.connections;
            used.descriptors += cost.descriptors;
        }
        room
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("limit", &self.limit)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Reservation {
    /// Makes two reservations of one: this many descriptors, at most all of them, become one of their own.
    pub(crate) fn split_descriptors(&mut self, descriptors: usize) -> Self {
        let descriptors = descriptors.min(self.cost.descriptors);
        self.cost.descriptors -= descriptors;
        Self { budget: Arc::clone(&self.budget), cost: Cost { connections: 0, descriptors } }
    }

    /// Makes a reservation of its own of all of this one.
    pub(crate) fn split(&mut self) -> Self {
        Self { budget: Arc::clone(&self.budget), cost: std::mem::take(&mut self.cost) }
    }

    /// Makes one reservation of two.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.cost.connections += other.cost.connections;
        self.cost.descriptors += other.cost.descriptors;
        other.cost = Cost::default();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        give_back(&self.budget, self.cost);
    }
}

fn give_back(budget: &Budget, cost: Cost) {
    {
        let mut state = lock(&budget.state);
        state.used.connections -= cost.connections;
        state.used.descriptors -= cost.descriptors;
    }
    budget.poke();
}

#[cfg(all(test, not(feature = "explore")))]
mod tests {
    use super::*;
    use std::time::Duration;

    const TWO: Cost = Cost { connections: 2, descriptors: 6 };

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn both_connections_and_descriptors_bind() {
        for limit in [Cost { connections: 1, descriptors: 100 }, Cost { connections: 100, descriptors: 5 }] {
            let budget = Budget::new(limit);
            let held = budget.try_reserve(Cost::FIRST).unwrap();
            assert!(budget.try_reserve(Cost::FIRST).is_none());
            drop(held);
            assert!(budget.try_reserve(Cost::FIRST).is_some());
            assert_eq!(budget.used(), Cost::default());
        }
    }

    #[test]
    fn a_full_budget_makes_room_or_gives_up() {
        let budget = Budget::new(TWO);
        let idle = Mutex::new(vec![budget.try_reserve(Cost::FIRST).unwrap()]);
        let _in_use = budget.try_reserve(Cost::FIRST).unwrap();
        budget.evict_by(move || lock(&idle).pop().is_some());
        let third = budget.reserve(Cost::FIRST, soon()).unwrap();
        assert!(budget.reserve(Cost::FIRST, soon()).is_none());
        drop(third);
        assert_eq!(budget.used(), Cost::FIRST);
    }

    #[test]
    fn a_closed_connection_keeps_its_descriptor_until_the_file_is_closed() {
        let budget = Budget::new(TWO);
        let mut first = budget.try_reserve(Cost::FIRST).unwrap();
        let mut further = budget.try_reserve(Cost::FURTHER).unwrap();
        first.merge(further.split_descriptors(1));
        drop(further);
        assert_eq!(budget.used(), Cost { connections: 1, descriptors: 4 });
        drop(first);
        assert_eq!(budget.used(), Cost::default());
    }
}
