//! The one integration binary. Its tree mirrors commands and URLs; `support` tests what the other tests stand on.

#![allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]

mod bad_input;
mod commands;
mod defects;
mod embed;
mod faults;
mod http;
mod hub;
mod live;
mod powercut;
mod property;
mod readme;
mod split;
mod structure;
mod support;
