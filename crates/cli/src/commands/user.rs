//! `streamhub user`: people and their passwords.

use clap::Subcommand;
use serde::Serialize;
use streamhub::email::Email;
use streamhub::report::counted;
use streamhub::settings::Overrides;
use streamhub::users::{User, UserStatus};

use crate::admin::NewPerson;
use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::password::NewPassword;
use crate::reach::Missing;
use crate::table::{List, Row, or_dash};

/// Manage users.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub user create anna@example.org --superadmin\n  streamhub user reset-password anna@example.org"
)]
pub(crate) enum Command {
    /// List all users
    ///
    /// Works beside a running server and changes nothing.
    #[command(
        after_help = "Examples:\n  streamhub user list --data-dir /srv/media\n  streamhub user list --json | jq -r '.data[].email'"
    )]
    List,
    /// Make a user
    ///
    /// Without --password-stdin a random password is made and printed once, on standard output. A data
    /// directory that is not there is made.
    #[command(
        after_help = "Examples:\n  streamhub user create anna@example.org --superadmin --data-dir /srv/media\n  pass show bert | streamhub user create bert@example.org --name Bert --password-stdin"
    )]
    Create {
        /// The address to log in with
        email: Email,
        /// A name for people
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Open every tenant to this user
        #[arg(long)]
        superadmin: bool,
        /// Read the password from standard input, one line
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove a user with all memberships and sessions
    ///
    /// The last superadmin who can log in is not removed.
    #[command(after_help = "Example:\n  streamhub user delete anna@example.org --data-dir /srv/media")]
    Delete {
        /// The user's address or key; an address's case does not count
        user: String,
    },
    /// Let a user log in or not; who is disabled has no session any more
    ///
    /// The last superadmin who can log in is not disabled.
    #[command(
        after_help = "Example:\n  streamhub user status anna@example.org disabled --data-dir /srv/media"
    )]
    Status {
        /// The user's address or key; an address's case does not count
        user: String,
        /// active or disabled
        status: UserStatus,
    },
    /// Give a user a new password and end all sessions of that user
    ///
    /// Works with and without a running server. Without --password-stdin a random password is made and printed
    /// once, on standard output.
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
    /// Let a user log in by password alone, who lost what gives the second factor's codes
    ///
    /// Make sure first who asks for it.
    #[command(
        after_help = "Example:\n  streamhub user remove-second-factor anna@example.org --data-dir /srv/media"
    )]
    RemoveSecondFactor {
        /// The user's address or key; an address's case does not count
        user: String,
    },
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    user: User,
    /// Only where this program chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reset {
    id: String,
    email: Option<String>,
    sessions_ended: usize,
    /// Only where this program chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Eased {
    second_factor: bool,
    id: String,
    email: Option<String>,
}

#[derive(Serialize)]
struct Gone {
    deleted: bool,
    id: String,
    email: Option<String>,
}

impl Row for User {
    const THINGS: &'static str = "users";
    const COLUMNS: &'static [&'static str] = &["ID", "EMAIL", "NAME", "STATUS", "SUPERADMIN"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            or_dash(self.email.as_deref()),
            or_dash(self.name.as_deref()),
            self.status.clone(),
            if self.is_superadmin { "yes" } else { "no" }.to_owned(),
        ]
    }
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    match command {
        Command::List => {
            let list = List::of(context.look()?.registry()?.users()?);
            output::result(context.json, &list, &list)?;
            Ok(Code::Done)
        }
        Command::Create { email, name, superadmin, password_stdin } => {
            let password = NewPassword::new(password_stdin)?;
            let new = NewPerson { email, name, password, is_superadmin: superadmin };
            context.administrate(Missing::Created, |admin| {
                let user = admin.create_user(&new)?;
                output::say(&format_args!("{} is made, as {}", new.email, user.id));
                let password = new.password.shown();
                let people = password.clone().unwrap_or_default();
                output::result(context.json, &Created { user, password }, &people)
            })
        }
        Command::Delete { user } => context.administrate(Missing::Refused, |admin| {
            let User { id, email, .. } = admin.delete_user(&user)?;
            output::result(context.json, &Gone { deleted: true, id, email }, &format!("{user} is gone"))
        }),
        Command::Status { user, status } => context.administrate(Missing::Refused, |admin| {
            let changed = admin.set_user_status(&user, status)?;
            output::result(context.json, &changed, &format!("{user} is {status}"))
        }),
        Command::ResetPassword { email, password_stdin } => {
            let new = NewPassword::new(password_stdin)?;
            context.administrate(Missing::Refused, |admin| {
                let (user, sessions_ended) = admin.reset_password(&email, &new)?;
                output::say(&format_args!(
                    "{} has a new password; {} ended",
                    user.email.as_deref().unwrap_or(&email),
                    counted(sessions_ended, "session")
                ));
                let password = new.shown();
                let people = password.clone().unwrap_or_default();
                let done = Reset { id: user.id, email: user.email, sessions_ended, password };
                output::result(context.json, &done, &people)
            })
        }
        Command::RemoveSecondFactor { user } => context.administrate(Missing::Refused, |admin| {
            let User { id, email, .. } = admin.remove_second_factor(&user)?;
            let people = format!("{user} logs in by password alone");
            output::result(context.json, &Eased { second_factor: false, id, email }, &people)
        }),
    }
}
