//! Opening an app that is not open: once, however many ask, and not for ever.

use std::sync::Arc;
use std::time::Instant;

use crate::app_id::AppId;
use crate::cache::budget::{Budget, Cost, Reservation};
use crate::cache::slot::{Quarantine, Slot, State, Usage};
use crate::cache::{Cache, Handle, Lease, LeaseError, Opener, Shared, SlotOf};
use crate::connect::Database;
use crate::judge::{self, Check};
use crate::live::{Busy, Config, Live};
use crate::sync::atomic::Ordering;
use crate::sync::{lock, shared_access, wait_until};

/// The right to put one database into service within a cache's budget.
#[derive(Debug)]
pub struct Grant {
    budget: Arc<Budget>,
    reservation: Reservation,
    /// Whether the app was found damaged when it was open before.
    is_suspect: bool,
}

impl Grant {
    /// Whether the app was found damaged when it was open before.
    #[cfg(all(test, not(feature = "explore")))]
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// Puts an open database into service. One that was found damaged before is checked first.
    pub fn live(self, db: Database, config: Config) -> crate::Result<Live> {
        if self.is_suspect {
            judge::refuse_damage(&db, Check::Quick)?;
        }
        Live::within(db, config, self.budget, self.reservation)
    }
}

/// What a caller found in a slot.
enum Turn<E: std::error::Error + 'static> {
    /// It is the caller's to open.
    Open {
        failures: u32,
    },
    /// It has changed; look again.
    Again,
    Refused(LeaseError<E>),
}

impl<O: Opener> Cache<O> {
    pub(super) fn lease_slowly(&self, id: &AppId) -> Result<Lease<O>, LeaseError<O::Error>> {
        let started = Instant::now();
        let leased = self.lease_until(id, started + self.shared.config.wait);
        self.shared.config.observer.waited(started.elapsed(), leased.is_ok());
        leased
    }

    pub(super) fn lease_until(
        &self,
        id: &AppId,
        deadline: Instant,
    ) -> Result<Lease<O>, LeaseError<O::Error>> {
        loop {
            if self.shared.closed.load(Ordering::SeqCst) {
                return Err(LeaseError::Closed);
            }
            if let Some(lease) = self.try_lease(id) {
                return Ok(lease);
            }
            let mut failures = 0;
            let (slot, is_mine) = self.slot_or_insert(id, || State::Opening { since: Instant::now() });
            if !is_mine {
                match self.shared.turn(&slot, deadline) {
                    Turn::Open { failures: before } => failures = before,
                    Turn::Again => continue,
                    Turn::Refused(error) => return Err(error),
                }
            }
            return self.open(&slot, failures, deadline);
        }
    }

    pub(super) fn slot_or_insert(
        &self,
        id: &AppId,
        state: impl FnOnce() -> super::StateOf<O>,
    ) -> (Arc<SlotOf<O>>, bool) {
        shared_access();
        match self.shared.slots.entry(id.clone()) {
            dashmap::Entry::Occupied(found) => (Arc::clone(found.get()), false),
            dashmap::Entry::Vacant(free) => {
                let slot = Slot::new(id.clone(), state(), Arc::clone(&self.shared.meter));
                free.insert(Arc::clone(&slot));
                (slot, true)
            }
        }
    }

    /// Opens the app; the slot says `Opening`, so that nobody else does.
    fn open(
        &self,
        slot: &Arc<SlotOf<O>>,
        failures: u32,
        deadline: Instant,
    ) -> Result<Lease<O>, LeaseError<O::Error>> {
        let shared = &self.shared;
        // However this ends, nobody may find the slot opening for ever.
        let mut undo = Undo { shared, slot, armed: true };
        // Whoever closes the cache says so first and looks for slots then.
        if shared.closed.load(Ordering::SeqCst) {
            return Err(LeaseError::Closed);
        }
        let Some(reservation) = shared.meter.budget.reserve(Cost::FIRST, deadline) else {
            return Err(Shared::<O>::busy(&slot.id, Busy::Budget));
        };
        let started = Instant::now();
        let is_suspect = lock(&shared.suspects).contains(&slot.id);
        let grant = Grant { budget: Arc::clone(&shared.meter.budget), reservation, is_suspect };
        let handle = match shared.opener.open(&slot.id, grant) {
            Ok(handle) => handle,
            Err(error) if shared.opener.is_lasting(&error) => {
                undo.armed = false;
                let set_aside = shared.set_aside(&slot.id, error, failures + 1);
                let refused = set_aside.refusal(&slot.id);
                *lock(&slot.state) = State::Quarantined(set_aside);
                slot.changed.notify_all();
                return Err(refused);
            }
            Err(error) => return Err(LeaseError::Open(error)),
        };
        undo.armed = false;
        if is_suspect {
            lock(&shared.suspects).remove(&slot.id);
        }
        let used = shared.meter.ticks.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(slot.handle.set(handle).is_ok(), "a slot is open once in its life");
        let mut usage = Usage { pins: 1, used, noted: (0, 0), hits: 0 };
        {
            let mut state = lock(&slot.state);
            shared.note(slot, &mut usage);
            *state = State::Open(usage);
        }
        let lease = Lease { slot: Arc::clone(slot) };
        slot.changed.notify_all();
        shared.totals.opened();
        shared.config.observer.opened(started.elapsed());
        Ok(lease)
    }
}

impl<O: Opener> Shared<O> {
    /// Looks at a slot that is not open, and waits for a change where there is nothing else to do.
    fn turn(&self, slot: &Arc<SlotOf<O>>, deadline: Instant) -> Turn<O::Error> {
        let mut state = lock(&slot.state);
        let now = Instant::now();
        let reason = match &mut *state {
            State::Open(usage) if slot.open().is_condemned() => {
                let usage = *usage;
                if usage.pins == 0 {
                    *state = State::Taken;
                    drop(state);
                    if self.finish(slot, usage, deadline) {
                        return Turn::Again;
                    }
                }
                // When its leases are gone it is closed, and set aside where it is damaged.
                return Turn::Refused(match slot.open().why_out_of_service() {
                    Some(reason) => LeaseError::Quarantined {
                        app: slot.id.clone(),
                        reason: Arc::new(reason.into()),
                        retry_in: self.config.retry_after,
                    },
                    None => Self::busy(&slot.id, Busy::Stuck),
                });
            }
            State::Open(_) | State::Gone => return Turn::Again,
            State::Quarantined(set_aside) if now < set_aside.retry_at => {
                return Turn::Refused(set_aside.refusal(&slot.id));
            }
            State::Quarantined(set_aside) => {
                let failures = set_aside.failures;
                *state = State::Opening { since: now };
                return Turn::Open { failures };
            }
            State::Opening { since } => {
                if now.duration_since(*since) > self.config.stuck_after {
                    return Turn::Refused(Self::busy(&slot.id, Busy::Stuck));
                }
                Busy::Opening
            }
            State::Draining(_) | State::Taken => Busy::Draining,
        };
        match wait_until(&slot.changed, state, deadline) {
            Some(_) => Turn::Again,
            None => Turn::Refused(Self::busy(&slot.id, reason)),
        }
    }

    /// Keeps an app out of service for a while, the longer the more often it has failed.
    pub(super) fn set_aside(&self, id: &AppId, reason: O::Error, failures: u32) -> Quarantine<O::Error> {
        let since = Instant::now();
        let doubled = self.config.retry_after.saturating_mul(1 << (failures - 1).min(16));
        let retry_in = doubled.min(self.config.retry_at_most);
        tracing::warn!(app.id = %id, %reason, retry_in_ms = retry_in.as_millis(), "an app is set aside");
        self.config.observer.quarantined();
        Quarantine { reason: Arc::new(reason), since, retry_at: since + retry_in, failures }
    }
}

impl<E: std::error::Error + 'static> Quarantine<E> {
    fn refusal(&self, id: &AppId) -> LeaseError<E> {
        let retry_in = self.retry_at.saturating_duration_since(Instant::now());
        LeaseError::Quarantined { app: id.clone(), reason: Arc::clone(&self.reason), retry_in }
    }
}

/// Takes a slot that did not come to be open out of the map.
struct Undo<'a, O: Opener> {
    shared: &'a Shared<O>,
    slot: &'a Arc<SlotOf<O>>,
    armed: bool,
}

impl<O: Opener> Drop for Undo<'_, O> {
    fn drop(&mut self) {
        if self.armed {
            self.shared.remove(self.slot);
        }
    }
}
