//! Where a new password comes from: standard input, or chance.

use std::io::{BufRead, Read};

use streamhub::password::{Password, PasswordHash};

use crate::exit::Refusal;

/// A password's hash, and its text where this program chose it, to be shown once.
pub(crate) struct NewPassword {
    pub(crate) hash: PasswordHash,
    pub(crate) shown: Option<String>,
}

impl NewPassword {
    /// The first line of standard input.
    pub(crate) fn from_stdin() -> anyhow::Result<Self> {
        Self::of(&chosen()?, None)
    }

    /// A random one.
    pub(crate) fn generated() -> anyhow::Result<Self> {
        let (password, text) = Password::generate();
        Self::of(&password, Some(text))
    }

    fn of(password: &Password, shown: Option<String>) -> anyhow::Result<Self> {
        let hash = password.hash().map_err(|error| Refusal::failed(&error, "try again"))?;
        Ok(Self { hash, shown })
    }
}

fn chosen() -> anyhow::Result<Password> {
    // Far more than any password has, and not more than a machine has.
    const CAP: u64 = 64 * 1024;
    let mut line = String::new();
    std::io::stdin().lock().take(CAP).read_line(&mut line).map_err(|error| {
        Refusal::failed(
            &format_args!("standard input: cannot read the password: {error}"),
            "send one line of UTF-8",
        )
    })?;
    let text = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Password::chosen(text.to_owned()).map_err(|error| {
        Refusal::failed(
            &format_args!("standard input: {error}"),
            "choose another one, or leave --password-stdin out for a random one",
        )
    })
}
