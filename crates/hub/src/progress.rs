//! Saying how far long work is.
//!
//! Work that can take minutes reports to a [`Progress`]; a terminal shows a bar, a log gets lines,
//! and a library caller may pass [`Silent`]. Whoever wants to know may also want it to end: [`Stop`] says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{HubError, Result};

/// Who wants to know how far long work is. Called often: an implementation decides what to show.
pub trait Progress {
    /// A step begins, with its number of units where that is known.
    fn begin(&self, step: &str, units: Option<u64>);
    /// So many more units are done.
    fn advance(&self, units: u64);
    /// The step is over.
    fn end(&self);
    /// Says whether the work is to end before it is done; unless this is overridden nobody asks for that.
    fn stop(&self) -> Stop {
        Stop::default()
    }
}

/// Asks long work to end at its next point: between two steps, and in the middle of those that take long.
/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends the work where somebody has asked.
    pub(crate) fn obey(&self) -> Result<()> {
        if self.is_asked() { Err(HubError::Cancelled) } else { Ok(()) }
    }
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
