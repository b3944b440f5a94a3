//! One app's place in the cache: a small state machine behind a lock.
//!
//! A slot lives from the first interest in an app until the app is closed; then it is taken out of the
//! map and marked [`State::Gone`], and whoever still holds it looks again. Nothing is opened, closed or
//! waited for while the lock is held.

use std::time::Instant;

use std::sync::Arc;

use crate::app_id::AppId;
use crate::sync::{Condvar, Mutex};

/// The place of one app.
#[derive(Debug)]
pub(crate) struct Slot<H, E> {
    pub(crate) id: AppId,
    pub(crate) state: Mutex<State<H, E>>,
    pub(crate) changed: Condvar,
}

/// What an app's slot is doing.
#[derive(Debug)]
pub(crate) enum State<H, E> {
    /// One caller opens it; the others wait.
    Opening { since: Instant },
    /// It serves.
    Open(Open<H>),
    /// Somebody wants it alone: no further leases, and it waits for those that are out.
    Draining(Open<H>),
    /// It is being closed, or somebody has it alone.
    Taken,
    /// It could not be opened, or was found damaged.
    Quarantined(Quarantine<E>),
    /// It is out of the map.
    Gone,
}

/// An open handle and who uses it.
#[derive(Debug)]
pub(crate) struct Open<H> {
    pub(crate) handle: H,
    /// Leases that are out.
    pub(crate) pins: u32,
    /// When it was used last, in ticks of the cache.
    pub(crate) used: u64,
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
    pub(crate) fn new(id: AppId, state: State<H, E>) -> Arc<Self> {
        Arc::new(Self { id, state: Mutex::new(state), changed: Condvar::new() })
    }
}
