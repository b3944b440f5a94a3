//! Which of many apps' databases are open.
//!
//! A [`Lease`] keeps an app's database open; what nobody has leased stays open until the budget is
//! needed for others, least recently used first, or until it has been idle for a while. An app is
//! opened once however many ask for it, and one that cannot be opened is set aside with its reason
//! for a while, without any effect on the others. An app that is not open costs nothing.

pub(crate) mod budget;
mod closing;
mod exclusive;
#[cfg(all(test, feature = "explore"))]
mod explore;
mod opening;
mod slot;
mod stats;
#[cfg(all(test, not(feature = "explore")))]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::app_id::AppId;
use crate::cache::budget::Budget;
use crate::cache::slot::{Meter, Slot, State, Usage};
use crate::live::{Busy, Live};
use crate::observe::{Observer, Unobserved};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, lock, shared_access};

pub use budget::Cost;
pub use exclusive::Exclusive;
pub use opening::Grant;
pub use stats::{AppState, Stats};

/// Parts of the map that are locked on their own: so many that two busy apps hardly ever share one.
const SHARDS: usize = 256;

/// Opens an app's database, or says why not.
pub trait Opener: Send + Sync + 'static {
    /// What is open.
    type Handle: Handle;
    /// Why it cannot be opened, or why it was taken out of service.
    type Error: StdError + From<crate::Error> + Send + Sync + 'static;

    /// Opens it. One connection is reserved; the grant turns an open file into a handle.
    fn open(&self, id: &AppId, grant: Grant) -> Result<Self::Handle, Self::Error>;

    /// Whether the failure is the app's own, so that it is set aside for a while, or one of the moment.
    fn is_lasting(&self, error: &Self::Error) -> bool;
}

/// Something that a cache keeps open.
pub trait Handle: Send + Sync + 'static {
    /// Closes it, waiting until `deadline` for what is at work on it. After an error it counts as open, and
    /// closing it is tried again later.
    fn close(&self, deadline: Instant) -> crate::Result<()>;
    /// Gives back what it does not need while it is idle.
    fn rest(&self);
    /// Whether something is at work on it, with or without a lease. Whoever ends such work without a
    /// lease pokes the budget: only then it can be closed for others.
    fn is_at_work(&self) -> bool;
    /// Whether an operation on it does not come back.
    fn is_stuck(&self) -> bool;
    /// How many writes wait for it.
    fn queued(&self) -> usize;
    /// Whether it has to go, because what it stands for is damaged or it was to be closed.
    fn is_condemned(&self) -> bool;
    /// What was found, where it is out of service for that; also after it was closed.
    fn why_out_of_service(&self) -> Option<crate::Error>;
}

impl Handle for Live {
    fn close(&self, deadline: Instant) -> crate::Result<()> {
        Self::close_until(self, deadline)
    }

    fn rest(&self) {
        Self::rest(self);
    }

    fn is_at_work(&self) -> bool {
        Self::is_at_work(self)
    }

    fn is_stuck(&self) -> bool {
        Self::is_stuck(self)
    }

    fn queued(&self) -> usize {
        Self::queued(self)
    }

    fn is_condemned(&self) -> bool {
        Self::is_condemned(self)
    }

    fn why_out_of_service(&self) -> Option<crate::Error> {
        Self::why_out_of_service(self)
    }
}

/// How a cache behaves.
#[derive(Clone)]
pub struct CacheConfig {
    /// What may be open at the same time; default: half of the process's file descriptors.
    pub budget: Cost,
    /// How long a caller waits for a lease before it is told `Busy`; default 5 s.
    pub wait: Duration,
    /// How long an opening may take before later callers are told `Busy` at once; default 1 s.
    pub stuck_after: Duration,
    /// How long an app that could not be opened is set aside after its first failure; doubles with
    /// each failure; default 5 s.
    pub retry_after: Duration,
    /// The longest that an app is set aside; default 5 min.
    pub retry_at_most: Duration,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            budget: Cost::of_process(),
            wait: Duration::from_secs(5),
            stuck_after: Duration::from_secs(1),
            retry_after: Duration::from_secs(5),
            retry_at_most: Duration::from_mins(5),
            observer: Arc::new(Unobserved),
        }
    }
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError<E: StdError + 'static> {
    /// Not in time; try again a little later.
    #[error("{app}: {reason}")]
    Busy {
        /// The app.
        app: AppId,
        /// What stood in the way.
        reason: Busy,
    },
    /// The app is set aside.
    #[error("{app} is out of service: {reason}")]
    Quarantined {
        /// The app.
        app: AppId,
        /// What was found when it was opened last.
        #[source]
        reason: Arc<E>,
        /// How long until it is tried again.
        retry_in: Duration,
    },
    /// It could not be opened.
    #[error(transparent)]
    Open(E),
    /// The cache was closed.
    #[error("closed")]
    Closed,
}

type SlotOf<O> = Slot<<O as Opener>::Handle, <O as Opener>::Error>;
/// Keyed by a tick and a number that tells equal ticks apart.
type ByUse<O> = BTreeMap<(u64, u64), Arc<SlotOf<O>>>;
type StateOf<O> = State<<O as Opener>::Error>;

/// The open databases of many apps. Cheap to clone; all clones are one.
pub struct Cache<O: Opener> {
    shared: Arc<Shared<O>>,
}

struct Shared<O: Opener> {
    opener: O,
    config: CacheConfig,
    slots: DashMap<AppId, Arc<SlotOf<O>>>,
    meter: Arc<Meter>,
    /// The tick of the sweep before.
    swept: AtomicU64,
    /// Open slots by the tick of their last use, as far as it was noticed. The first whose tick turns
    /// out to be true is the least recently used.
    by_use: Mutex<ByUse<O>>,
    /// Apps that were found damaged while they were open: whoever opens one next checks it first. It
    /// outlives their slots, since exclusive work on an app ends its quarantine.
    suspects: Mutex<HashSet<AppId>>,
    closed: AtomicBool,
    totals: stats::Totals,
}

/// An app's database, kept open. Cheap to clone.
pub struct Lease<O: Opener> {
    slot: Arc<SlotOf<O>>,
}

impl<O: Opener> Cache<O> {
    /// An empty cache.
    pub fn new(opener: O, config: CacheConfig) -> Self {
        let meter = Arc::new(Meter { budget: Budget::new(config.budget), ticks: AtomicU64::new(1) });
        let shared = Arc::new(Shared {
            opener,
            config,
            slots: DashMap::with_shard_amount(SHARDS),
            meter,
            swept: AtomicU64::new(0),
            by_use: Mutex::default(),
            suspects: Mutex::default(),
            closed: AtomicBool::new(false),
            totals: stats::Totals::default(),
        });
        // Not the cache itself, which holds the budget.
        let evicting = Arc::downgrade(&shared);
        shared.meter.budget.evict_by(move || evicting.upgrade().is_some_and(|shared| shared.evict_one()));
        Self { shared }
    }

    /// The opener.
    pub fn opener(&self) -> &O {
        &self.shared.opener
    }

    /// Leases an app's database, opening it where that is needed.
    pub fn lease(&self, id: &AppId) -> Result<Lease<O>, LeaseError<O::Error>> {
        match self.try_lease(id) {
            Some(lease) => Ok(lease),
            None => self.lease_slowly(id),
        }
    }

    /// Leases an app's database if it is open and serves.
    pub fn try_lease(&self, id: &AppId) -> Option<Lease<O>> {
        let slot = Arc::clone(&*self.shared.slots.get(id)?);
        let mut state = lock(&slot.state);
        let State::Open(usage) = &mut *state else { return None };
        if slot.open().is_condemned() || self.shared.closed.load(Ordering::Relaxed) {
            return None;
        }
        usage.pins += 1;
        usage.hits += 1;
        drop(state);
        Some(Lease { slot })
    }

    /// Closes what was not used since the sweep before, and lets the rest of the idle ones rest. To be
    /// called at intervals of the time after which an idle app is to be closed.
    pub fn sweep(&self) {
        let shared = &self.shared;
        let now = shared.meter.ticks.fetch_add(1, Ordering::Relaxed) + 1;
        let before = shared.swept.swap(now, Ordering::Relaxed);
        for slot in shared.all() {
            let mut state = lock(&slot.state);
            let State::Open(usage) = *state else { continue };
            if usage.used < before && slot.is_idle(&usage) {
                *state = State::Taken;
                drop(state);
                shared.finish_apart(&slot, usage);
            } else if usage.used < now {
                drop(state);
                slot.open().rest();
            }
        }
    }

    /// Closes everything and gives out no further lease. Waits for leases that are out until `deadline`
    /// and returns how many apps are still in use then.
    pub fn close(&self, deadline: Instant) -> usize {
        self.shared.closed.store(true, Ordering::SeqCst);
        let slots = self.shared.all();
        slots.iter().filter(|slot| self.exclusive_until(&slot.id, deadline).is_err()).count()
    }
}

impl<O: Opener> Shared<O> {
    fn busy(id: &AppId, reason: Busy) -> LeaseError<O::Error> {
        LeaseError::Busy { app: id.clone(), reason }
    }

    /// All slots there are, so that none is looked at under a lock of the map.
    fn all(&self) -> Vec<Arc<SlotOf<O>>> {
        shared_access();
        self.slots.iter().map(|slot| Arc::clone(&slot)).collect()
    }

    /// Notes a slot for eviction that is open, or about to be; the caller holds its lock.
    fn note(&self, slot: &Arc<SlotOf<O>>, usage: &mut Usage) {
        let mut by_use = lock(&self.by_use);
        by_use.remove(&usage.noted);
        usage.noted = (usage.used, self.totals.next());
        by_use.insert(usage.noted, Arc::clone(slot));
    }

    /// Closes the least recently used idle handle that can be closed; `false` where there is none.
    fn evict_one(self: &Arc<Self>) -> bool {
        let began = self.meter.ticks.load(Ordering::SeqCst);
        let mut in_use = Vec::new();
        let evicted = loop {
            let Some(slot) = self.pop_used_until(began) else { break false };
            let mut state = lock(&slot.state);
            let State::Open(usage) = &mut *state else { continue };
            if !slot.is_idle(usage) {
                drop(state);
                in_use.push(slot);
            } else if usage.used > usage.noted.0 {
                self.note(&slot, usage);
            } else {
                let usage = *usage;
                *state = State::Taken;
                drop(state);
                if self.finish_apart(&slot, usage) {
                    break true;
                }
            }
        };
        let mut has_idle = false;
        for slot in in_use {
            if let State::Open(usage) = &mut *lock(&slot.state) {
                has_idle |= slot.is_idle(usage);
                self.note(&slot, usage);
            }
        }
        if has_idle {
            // It became so after it was looked at, and others have looked meanwhile and not found it.
            self.meter.budget.poke();
        }
        if evicted {
            self.totals.evicted();
            self.config.observer.evicted();
        }
        evicted
    }

    /// The next candidate for eviction, as far as it was noted. What was used after `tick` is none: it is
    /// in use, or could not be closed and need not be tried again at once.
    fn pop_used_until(&self, tick: u64) -> Option<Arc<SlotOf<O>>> {
        let mut by_use = lock(&self.by_use);
        let first = by_use.first_entry()?;
        (first.key().0 <= tick).then(|| first.remove())
    }
}

impl<O: Opener> Lease<O> {
    /// Whose database it is.
    pub fn id(&self) -> &AppId {
        &self.slot.id
    }
}

impl<O: Opener> Clone for Lease<O> {
    fn clone(&self) -> Self {
        if let State::Open(usage) | State::Draining(usage) = &mut *lock(&self.slot.state) {
            usage.pins += 1;
        }
        Self { slot: Arc::clone(&self.slot) }
    }
}

impl<O: Opener> std::ops::Deref for Lease<O> {
    type Target = O::Handle;

    fn deref(&self) -> &O::Handle {
        self.slot.open()
    }
}

impl<O: Opener> Drop for Lease<O> {
    fn drop(&mut self) {
        let mut state = lock(&self.slot.state);
        let (State::Open(usage) | State::Draining(usage)) = &mut *state else { return };
        usage.pins -= 1;
        usage.used = self.slot.meter.ticks.load(Ordering::Relaxed);
        if usage.pins > 0 {
            return;
        }
        let drains = matches!(*state, State::Draining(_));
        drop(state);
        if drains {
            self.slot.changed.notify_all();
        }
        self.slot.meter.budget.poke();
    }
}

impl<O: Opener> Clone for Cache<O> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<O: Opener> fmt::Debug for Cache<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<O: Opener> fmt::Debug for Lease<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(self.id()).finish()
    }
}
