//! The two channels: results on standard output, everything else on standard error.
//!
//! What is for people may be read on a terminal, which obeys control characters, and a database holds texts that
//! anybody wrote: such characters are shown, and never sent.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

use serde::Serialize;

use crate::exit::Refusal;

/// Prints a command's result: as JSON where that was asked for, else for people.
pub(crate) fn result(json: bool, machine: &impl Serialize, people: &impl Display) -> anyhow::Result<()> {
    let mut text = if json { serde_json::to_string_pretty(machine)? } else { lines(people) };
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
    let _ = writeln!(std::io::stderr(), "{}", lines(text));
}

/// A text of one line, with control characters as Rust writes them.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

/// A text of several lines, each as [`visible`] shows it.
fn lines(text: &impl Display) -> String {
    let text = text.to_string();
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// Says why a command failed and what can be done about it.
pub(crate) fn error(message: &str, way_out: &str) {
    say(&format_args!("error: {message}"));
    if !way_out.is_empty() {
        say(&format_args!("way out: {way_out}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_sent_nothing_that_it_obeys() {
        assert_eq!(visible("Anna Müller"), "Anna Müller");
        assert_eq!(visible("\u{1b}]0;pwn\u{7}\r\n\u{9b}"), "\\u{1b}]0;pwn\\u{7}\\r\\n\\u{9b}");
        assert_eq!(lines(&"a\u{1b}c\nb\n"), "a\\u{1b}c\nb\n");
    }
}
