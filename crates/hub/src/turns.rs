//! Whose turn it is with a stream of one app.
//!
//! A stream's row and its reservation lie in two databases, so whoever changes them has the stream alone
//! meanwhile. Each open app has turns of its own: one that does not come back holds up nobody else's streams.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The streams of an app that somebody begins or ends at the moment.
#[derive(Debug)]
pub(crate) struct Turns {
    taken: Mutex<HashSet<String>>,
    over: Condvar,
    /// How long one waits for a turn.
    wait: Duration,
}

/// The right to change one stream's row and reservation, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    stream: String,
}

impl Turns {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { taken: Mutex::default(), over: Condvar::new(), wait }
    }

    /// Waits for a stream; none where whoever has it is not done in time.
    pub(crate) fn take(&self, stream: &str) -> Option<Turn<'_>> {
        let (mut taken, waited) = self
            .over
            .wait_timeout_while(self.taken(), self.wait, |taken| taken.contains(stream))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        taken.insert(stream.to_owned());
        Some(Turn { turns: self, stream: stream.to_owned() })
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken().remove(&self.stream);
        self.turns.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_is_had_alone_and_others_meanwhile() {
        let turns = Turns::new(Duration::from_millis(1));
        let first = turns.take("live/cam").unwrap();
        assert!(turns.take("live/cam").is_none());
        let _other = turns.take("live/stage").unwrap();
        drop(first);
        assert!(turns.take("live/cam").is_some());
        assert_eq!(turns.taken().len(), 1, "what nobody has leaves nothing behind");
    }
}
