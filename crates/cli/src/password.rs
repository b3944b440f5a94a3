//! Where a new password comes from: standard input, or chance.

use std::fmt;
use std::io::{BufRead, Read};

use streamhub::password::{Password, PasswordHash};

use crate::exit::Refusal;

/// A password, and whether this program chose it.
pub(crate) struct NewPassword {
    text: String,
    is_random: bool,
}

impl NewPassword {
    /// The first line of standard input, or a random one.
    pub(crate) fn new(from_stdin: bool) -> anyhow::Result<Self> {
        if from_stdin {
            Ok(Self { text: chosen()?, is_random: false })
        } else {
            Ok(Self { text: Password::generate().1, is_random: true })
        }
    }

    /// The password itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.text
    }

    /// The password where its owner does not know it yet, to be shown once.
    pub(crate) fn shown(&self) -> Option<String> {
        self.is_random.then(|| self.text.clone())
    }

    pub(crate) fn hash(&self) -> anyhow::Result<PasswordHash> {
        let hash = Password::offered(self.text.clone()).hash();
        hash.map_err(|error| Refusal::failed(&error, "try again"))
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(***)")
    }
}

fn chosen() -> anyhow::Result<String> {
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
    match Password::chosen(text.to_owned()) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Refusal::failed(
            &format_args!("standard input: {error}"),
            "choose another one, or leave --password-stdin out for a random one",
        )),
    }
}
