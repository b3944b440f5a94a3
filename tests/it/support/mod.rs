//! The tests' own tools: a tool that is wrong makes every test that uses it worthless.

mod disk;
mod example;
mod faults;
mod fingerprint;
mod legacy;

use std::process::Command;

/// The little program whose file operations are known.
fn probe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fault-probe"));
    command.args(arguments);
    command
}
