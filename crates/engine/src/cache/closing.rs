//! Closing what nobody uses: a disk that does not answer must keep nobody but those who want that app.

use std::sync::Arc;
use std::time::Instant;

use crate::cache::slot::{Slot, State, Usage};
use crate::cache::{Handle as _, Opener, Shared, SlotOf};
use crate::sync::atomic::Ordering;
use crate::sync::{Condvar, Mutex, lock, shared_access, thread, wait_until};

impl<O: Opener> Shared<O> {
    /// As [`finish`](Self::finish), waiting for nobody, on a thread of its own: no longer than an operation may take.
    /// Whether it was closed by then. Where it was not, the app is busy until its disk answers.
    pub(super) fn finish_apart(self: &Arc<Self>, slot: &Arc<SlotOf<O>>, usage: Usage) -> bool {
        let outcome = Arc::new((Mutex::new(None), Condvar::new()));
        let closing = {
            let (shared, slot, outcome) = (Arc::clone(self), Arc::clone(slot), Arc::clone(&outcome));
            move || {
                let closed = shared.finish(&slot, usage, Instant::now());
                // Whoever waits may drop the cache next, and the last to do that closes what is open.
                drop((shared, slot));
                *lock(&outcome.0) = Some(closed);
                outcome.1.notify_all();
            }
        };
        let Ok(thread) = thread::Builder::new().spawn(closing) else {
            return self.finish(slot, usage, Instant::now());
        };
        let deadline = Instant::now() + self.config.stuck_after;
        let mut closed = lock(&outcome.0);
        while closed.is_none() {
            let Some(woken) = wait_until(&outcome.1, closed, deadline) else {
                tracing::error!(app.id = %slot.id, "a database does not close: its disk does not answer");
                return false;
            };
            closed = woken;
        }
        let closed = closed.unwrap_or(false);
        // So that there is no thread more than before.
        let _ = thread.join();
        closed
    }

    /// Closes what a slot held and takes the slot out of the map, or sets the app aside where it was found
    /// damaged.
    pub(super) fn finish(&self, slot: &Arc<SlotOf<O>>, usage: Usage, deadline: Instant) -> bool {
        let closed = self.shut(slot, usage, deadline);
        if closed {
            match slot.open().why_out_of_service() {
                Some(reason) => self.quarantine(slot, reason.into()),
                None => self.remove(slot),
            }
        }
        closed
    }

    /// Closes what a slot held and gives its part of the budget back. What cannot be closed stays in its
    /// slot, so that nobody takes the app for closed, and counts as just used, so that others go first.
    pub(super) fn shut(&self, slot: &Arc<SlotOf<O>>, mut usage: Usage, deadline: Instant) -> bool {
        let closed = slot.open().close(deadline);
        match &closed {
            Ok(()) => {
                lock(&self.by_use).remove(&usage.noted);
                self.totals.closed(usage.hits);
                if slot.open().why_out_of_service().is_some() {
                    lock(&self.suspects).insert(slot.id.clone());
                }
            }
            Err(error) => {
                tracing::warn!(app.id = %slot.id, %error, "an app's database could not be closed");
                usage.used = self.meter.ticks.fetch_add(1, Ordering::SeqCst) + 1;
                let mut state = lock(&slot.state);
                self.note(slot, &mut usage);
                *state = State::Open(usage);
                drop(state);
                slot.changed.notify_all();
            }
        }
        closed.is_ok()
    }

    /// Puts a slot that says why the app is out of service in the place of one that was closed.
    pub(super) fn quarantine(&self, slot: &Arc<SlotOf<O>>, reason: O::Error) {
        let state = State::Quarantined(self.set_aside(&slot.id, reason, 1));
        let next = Slot::new(slot.id.clone(), state, Arc::clone(&self.meter));
        shared_access();
        if let Some(mut place) = self.slots.get_mut(&slot.id) {
            *place = next;
        }
        self.leave(slot);
    }

    pub(super) fn remove(&self, slot: &Arc<SlotOf<O>>) {
        shared_access();
        self.slots.remove_if(&slot.id, |_, found| Arc::ptr_eq(found, slot));
        self.leave(slot);
    }

    /// Tells whoever still holds a slot that it is out of the map.
    fn leave(&self, slot: &SlotOf<O>) {
        *lock(&slot.state) = State::Gone;
        slot.changed.notify_all();
        self.meter.budget.poke();
    }
}
