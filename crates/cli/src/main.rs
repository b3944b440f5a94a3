//! The `streamhub` command: how to ask from a shell.
//!
//! Arguments are parsed once, the settings are found, and one module per command does the rest.
//! What a command prints for programs goes to standard output, everything else to standard error.

mod admin;
mod announce;
mod args;
mod commands;
mod context;
mod exit;
mod http;
mod journal;
mod output;
mod password;
mod progress;
mod reach;
mod remote;
mod server;
mod table;
mod when;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code.into(),
        Err(error) => exit::report(&error),
    }
}
