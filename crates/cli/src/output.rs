//! The two channels: results on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;

use crate::exit::Refusal;

/// Prints a command's result: as JSON where that was asked for, else for people.
pub(crate) fn result(json: bool, machine: &impl Serialize, people: &impl Display) -> anyhow::Result<()> {
    let mut text = if json { serde_json::to_string_pretty(machine)? } else { people.to_string() };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    raw(text.as_bytes())
}

/// Prints text as it is. A reader that has gone away is no error of ours.
pub(crate) fn raw(text: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Refusal::failed(
            &format!("the result cannot be written to standard output: {error}"),
            "what was asked for is done; a secret that was to be shown is lost: make another \
             (`user reset-password`, `token delete` and `token create`)",
        )),
        _ => Ok(()),
    }
}

/// Says something on standard error.
pub(crate) fn say(text: &impl Display) {
    // Where nobody reads it, nobody can be told either.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says why a command failed and what can be done about it.
pub(crate) fn error(message: &str, way_out: &str) {
    say(&format_args!("error: {message}"));
    if !way_out.is_empty() {
        say(&format_args!("way out: {way_out}"));
    }
}
