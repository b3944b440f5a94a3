//! How an older data directory becomes this one.
//!
//! The only crate that knows the older system's formats, and one that can be deleted some day. It
//! implements the hub's [`LegacySource`](streamhub::LegacySource): the control database is backed up
//! and adopted (`adopt`), then every app gets its own database from all the places where the older
//! system kept its rows (`take_over`, `app`). Every source row is imported, already there, held
//! whole in `_streamhub_unimported`, or reported as left over; none is ever dropped.

mod adopt;
mod app;
mod batch;
mod blank;
mod cleanup;
mod convert;
mod crew;
mod cursor;
mod failure;
mod fill;
mod import;
mod indices;
mod multiset;
mod older;
mod record;
mod rows;
mod space;
mod take_over;

pub use take_over::{Errand, Older};
