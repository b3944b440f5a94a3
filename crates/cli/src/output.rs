//! The two channels: results on standard output, everything else on standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;

/// Prints a command's result: as JSON where that was asked for, else for people.
///
/// A reader that has gone away is no error of ours.
pub(crate) fn result(json: bool, machine: &impl Serialize, people: &impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = if json {
        serde_json::to_writer_pretty(&mut out, machine)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        writeln!(out, "{people}")
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says something on standard error.
pub(crate) fn say(text: &impl Display) {
    eprintln!("{text}");
}

/// Says why a command failed and what can be done about it.
pub(crate) fn error(message: &str, way_out: &str) {
    eprintln!("error: {message}");
    if !way_out.is_empty() {
        eprintln!("way out: {way_out}");
    }
}
