//! What the probes have in common: programs that a test starts, disturbs and asks how it went.
#![allow(clippy::print_stdout, reason = "a probe tells the test on standard output")]

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use streamhub::{HubConfig, Volatile};

/// How a probe opens a hub: wherever the tests' scratch directories are.
pub fn config(dir: &Path) -> HubConfig {
    HubConfig { volatile: Volatile::Permit, ..HubConfig::new(dir) }
}

/// Ends a probe; an error is told in a line that begins with `error`.
pub fn ended(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error {error}");
            ExitCode::FAILURE
        }
    }
}
