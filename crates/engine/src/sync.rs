//! The locks of the live core: the standard library's, or a model checker's.
//!
//! With the feature `explore` they are shuttle's, so that tests try many interleavings of the same
//! code. Whoever panics while holding one of these locks leaves whole data behind, so that poison
//! means nothing; [`lock`] and [`wait`] look past it.

use std::sync::PoisonError;
use std::time::Instant;

#[cfg(not(feature = "explore"))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread::{self, yield_now},
};

#[cfg(feature = "explore")]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread::{self, yield_now},
};

/// A moment before something that threads share and the model checker does not know of, such as a map with
/// locks of its own.
pub(crate) fn shared_access() {
    #[cfg(feature = "explore")]
    yield_now();
}

/// Locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification, without end.
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification until `deadline`; none when that has passed already.
pub(crate) fn wait_until<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Instant,
) -> Option<MutexGuard<'a, T>> {
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(condvar.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0)
}
