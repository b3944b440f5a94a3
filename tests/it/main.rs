//! The one integration binary. Its tree mirrors commands and URLs; `support` tests what the other tests stand on.

#![allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]

mod commands;
mod faults;
mod structure;
mod support;
