//! Saying how far long work is.
//!
//! Work that can take minutes reports to a [`Progress`]; a terminal shows a bar, a log gets lines,
//! and a library caller may pass [`Silent`].

/// Who wants to know how far long work is. Called often: an implementation decides what to show.
pub trait Progress {
    /// A step begins, with its number of units where that is known.
    fn begin(&self, step: &str, units: Option<u64>);
    /// So many more units are done.
    fn advance(&self, units: u64);
    /// The step is over.
    fn end(&self);
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
