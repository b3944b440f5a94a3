//! Who is told what the live core does: metrics, and tests that count.

use std::time::Duration;

/// Is told what happens. Called on the threads that do the work, so it must be quick and not fail.
pub trait Observer: Send + Sync {
    /// An app's database was opened.
    fn opened(&self, took: Duration) {
        let _ = took;
    }

    /// An idle database was closed to make room for another.
    fn evicted(&self) {}

    /// A caller waited for a lease; `got` says whether it got one.
    fn waited(&self, took: Duration, got: bool) {
        let _ = (took, got);
    }

    /// A transaction with this many writes was answered.
    fn committed(&self, writes: usize, took: Duration) {
        let _ = (writes, took);
    }

    /// A commit failed, and the database was opened again.
    fn commit_failed(&self) {}

    /// An app's database is out of service.
    fn quarantined(&self) {}
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl Observer for Unobserved {}
