//! Having an app alone: nobody leases it, and no connection to its database is open.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use crate::app_id::AppId;
use crate::cache::slot::State;
use crate::cache::{Cache, LeaseError, Opener, Shared, SlotOf};
use crate::live::Busy;
use crate::sync::{lock, wait_until};

/// An app that nobody else uses until this is dropped. Its database is not open.
pub struct Exclusive<O: Opener> {
    shared: Arc<Shared<O>>,
    slot: Arc<SlotOf<O>>,
}

impl<O: Opener> Cache<O> {
    /// Takes an app for maintenance: no further leases are given out, those that are out are waited for,
    /// and its database is closed. Where that takes too long, the app goes on as it was.
    pub fn exclusive(&self, id: &AppId) -> Result<Exclusive<O>, LeaseError<O::Error>> {
        self.exclusive_until(id, Instant::now() + self.shared.config.wait)
    }

    /// As [`exclusive`](Self::exclusive), waiting until `deadline`.
    pub fn exclusive_until(
        &self,
        id: &AppId,
        deadline: Instant,
    ) -> Result<Exclusive<O>, LeaseError<O::Error>> {
        loop {
            let (slot, is_mine) = self.slot_or_insert(id, || State::Taken);
            if is_mine || self.shared.drain(&slot, deadline)? {
                return Ok(Exclusive { shared: Arc::clone(&self.shared), slot });
            }
        }
    }
}

impl<O: Opener> Shared<O> {
    /// Whether the slot is the caller's alone; where not, it has changed and is to be looked at again.
    fn drain(&self, slot: &Arc<SlotOf<O>>, deadline: Instant) -> Result<bool, LeaseError<O::Error>> {
        let mut state = lock(&slot.state);
        match mem::replace(&mut *state, State::Gone) {
            State::Open(usage) => {
                *state = State::Draining(usage);
            }
            State::Quarantined(_) => {
                *state = State::Taken;
                return Ok(true);
            }
            State::Gone => return Ok(false),
            other @ (State::Opening { .. } | State::Draining(_) | State::Taken) => {
                *state = other;
                return match wait_until(&slot.changed, state, deadline) {
                    Some(_) => Ok(false),
                    None => Err(Self::busy(&slot.id, Busy::Draining)),
                };
            }
        }
        loop {
            let State::Draining(usage) = *state else { return Ok(false) };
            if usage.pins == 0 {
                *state = State::Taken;
                drop(state);
                return if self.shut(slot, usage, deadline) {
                    Ok(true)
                } else {
                    Err(Self::busy(&slot.id, Busy::InUse))
                };
            }
            let Some(changed) = wait_until(&slot.changed, state, deadline) else {
                self.resume(slot);
                return Err(Self::busy(&slot.id, Busy::InUse));
            };
            state = changed;
        }
    }

    /// Lets an app that could not be drained in time go on.
    fn resume(&self, slot: &Arc<SlotOf<O>>) {
        let mut state = lock(&slot.state);
        if let State::Draining(mut usage) = *state {
            // An eviction may have met it while it drained, and forgotten it.
            self.note(slot, &mut usage);
            *state = State::Open(usage);
        }
        drop(state);
        slot.changed.notify_all();
        self.meter.budget.poke();
    }
}

impl<O: Opener> Exclusive<O> {
    /// Whose app it is.
    pub fn id(&self) -> &AppId {
        &self.slot.id
    }

    /// Whether its database was found damaged, and not to be whole since.
    pub fn is_suspect(&self) -> bool {
        lock(&self.shared.suspects).contains(self.id())
    }
}

impl<O: Opener> Drop for Exclusive<O> {
    fn drop(&mut self) {
        self.shared.remove(&self.slot);
    }
}

impl<O: Opener> std::fmt::Debug for Exclusive<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Exclusive").field(self.id()).finish()
    }
}
