//! `streamhub user`: people and their passwords.

use std::io::{BufRead, Read};

use clap::Subcommand;
use serde::Serialize;
use streamhub::Hub;
use streamhub::password::Password;
use streamhub::progress::Silent;
use streamhub::settings::Overrides;

use crate::args::Global;
use crate::context::Context;
use crate::exit::{Code, Refusal};
use crate::output;

/// Manage users.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  streamhub user reset-password anna@example.org")]
pub(crate) enum Command {
    /// Give a user a new password and end all sessions of that user
    ///
    /// Needs no running server, and is refused beside one. Without --password-stdin a random password
    /// is made and printed once, on standard output.
    #[command(
        after_help = "Examples:\n  streamhub user reset-password anna@example.org --data-dir /srv/media\n  pass show anna | streamhub user reset-password anna@example.org --password-stdin"
    )]
    ResetPassword {
        /// The user's address; case does not count
        email: String,
        /// Read the new password from standard input, one line
        #[arg(long)]
        password_stdin: bool,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    id: String,
    email: Option<String>,
    sessions_ended: usize,
    /// Only where this program chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let Command::ResetPassword { email, password_stdin } = command;
    let context = Context::find(global, Overrides::default())?;
    let (password, shown) = if password_stdin {
        (chosen()?, None)
    } else {
        let (password, text) = Password::generate();
        (password, Some(text))
    };
    let hash = password.hash().map_err(|error| Refusal::failed(&error, "try again"))?;
    let hub = Hub::open(&context.config(), &Silent)?;
    let (user, sessions_ended) = hub.reset_password(&email, &hash)?;
    hub.close()?;
    output::say(&format_args!(
        "{} has a new password; {sessions_ended} sessions were ended",
        user.email.as_deref().unwrap_or(&email)
    ));
    let people = shown.clone().unwrap_or_default();
    let done = Done { id: user.id, email: user.email, sessions_ended, password: shown };
    output::result(context.json, &done, &people)?;
    Ok(Code::Done)
}

/// The first line of standard input.
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
