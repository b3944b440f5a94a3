//! One app's place in the cache: a small state machine behind a lock.
//!
//! A slot lives from the first interest in an app until the app is closed; then it is taken out of the
//! map and marked [`State::Gone`], and whoever still holds it looks again. Nothing is opened, closed or
//! waited for while the lock is held.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::app_id::AppId;
use crate::cache::Handle;
use crate::cache::budget::Budget;
use crate::sync::atomic::AtomicU64;
use crate::sync::{Condvar, Mutex};

/// The place of one app.
#[derive(Debug)]
pub(crate) struct Slot<H, E> {
    pub(crate) id: AppId,
    pub(crate) state: Mutex<State<E>>,
    pub(crate) changed: Condvar,
    /// What is open; set once, before the state says so.
    pub(crate) handle: OnceLock<H>,
    /// What a lease needs to know of the cache when it ends; not the cache itself, which holds the slot.
    pub(crate) meter: Arc<Meter>,
}

/// What counts for all slots of a cache.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) budget: Arc<Budget>,
    /// Counts openings and sweeps: between two of them all uses are equally recent, so that a use costs
    /// no write to memory that all threads share.
    pub(crate) ticks: AtomicU64,
}

/// What an app's slot is doing.
#[derive(Debug)]
pub(crate) enum State<E> {
    /// One caller opens it; the others wait.
    Opening { since: Instant },
    /// It serves.
    Open(Usage),
    /// Somebody wants it alone: no further leases, and it waits for those that are out.
    Draining(Usage),
    /// It is being closed, or somebody has it alone.
    Taken,
    /// It could not be opened, or was found damaged.
    Quarantined(Quarantine<E>),
    /// It is out of the map.
    Gone,
}

/// Who uses an open handle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Leases that are out.
    pub(crate) pins: u32,
    /// When it was used last, in ticks of the cache.
    pub(crate) used: u64,
    /// The last use that was noted for eviction, and the number of that note.
    pub(crate) noted: (u64, u64),
    /// Leases that were given out.
    pub(crate) hits: u64,
}

/// Why an app is out of service, and when it is looked at again.
#[derive(Debug)]
pub(crate) struct Quarantine<E> {
    pub(crate) reason: Arc<E>,
    pub(crate) since: Instant,
    pub(crate) retry_at: Instant,
    pub(crate) failures: u32,
}

impl<H, E> Slot<H, E> {
    pub(crate) fn new(id: AppId, state: State<E>, meter: Arc<Meter>) -> Arc<Self> {
        let (state, changed, handle) = (Mutex::new(state), Condvar::new(), OnceLock::new());
        Arc::new(Self { id, state, changed, handle, meter })
    }

    /// What is open; only to be asked for where the state says that something is, or that it drains.
    pub(crate) fn open(&self) -> &H {
        self.handle.get().expect("it is set before the state says so")
    }
}

impl<H: Handle, E> Slot<H, E> {
    /// Whether it is out of service, for what was found when it was opened or since; the caller holds the lock.
    pub(crate) fn is_set_aside(&self, state: &State<E>) -> bool {
        match state {
            State::Open(_) | State::Draining(_) => self.open().why_out_of_service().is_some(),
            State::Quarantined(_) => true,
            State::Opening { .. } | State::Taken | State::Gone => false,
        }
    }

    /// Whether what is open could be closed at once; the caller holds the lock, and the state says that it is open.
    pub(crate) fn is_idle(&self, usage: &Usage) -> bool {
        usage.pins == 0 && !self.open().is_at_work()
    }
}
