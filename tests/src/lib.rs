//! What the integration tests stand on, and nothing that StreamHub itself needs: older data directories made to order,
//! content digests, injected faults, disks that can be broken, and the `streamhub` binary as a child process.
//!
//! It knows StreamHub from outside only. It uses none of its crates, so that a mistake in them cannot hide itself by
//! being on both sides of a comparison.

#![allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]

pub mod books;
pub mod command;
pub mod disk;
pub mod faults;
pub mod files;
pub mod fingerprint;
pub mod legacy;
pub mod life;
pub mod live;
pub mod measure;
pub mod probe;
pub mod process;
pub mod python;
pub mod readonly;
pub mod skip;
pub mod sweep;
