//! `tenant member`: who may do what in a tenant.

use clap::Subcommand;
use serde::Serialize;
use streamhub::TenantId;
use streamhub::members::{Member, Role};

use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::reach::Missing;
use crate::table::{List, Row, or_dash};

/// Manage a tenant's members.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub tenant member add acme anna@example.org --role owner\n  streamhub tenant member list acme"
)]
pub(crate) enum Command {
    /// List a tenant's members
    ///
    /// Works beside a running server and changes nothing.
    #[command(after_help = "Example:\n  streamhub tenant member list acme --data-dir /srv/media")]
    List {
        /// The tenant's key
        tenant: String,
    },
    /// Make a user a member
    #[command(
        after_help = "Example:\n  streamhub tenant member add acme anna@example.org --role editor --data-dir /srv/media"
    )]
    Add {
        /// The tenant's key
        tenant: String,
        /// The user's address or key
        user: String,
        /// What the user may do: viewer (read apps), editor (and change them) or owner (everything in the tenant)
        #[arg(long, value_name = "ROLE", default_value = "viewer")]
        role: Role,
    },
    /// Give a member another role
    #[command(
        after_help = "Example:\n  streamhub tenant member change acme anna@example.org --role owner --data-dir /srv/media"
    )]
    Change {
        /// The tenant's key
        tenant: String,
        /// The user's address or key
        user: String,
        /// What the user may do: viewer (read apps), editor (and change them) or owner (everything in the tenant)
        #[arg(long, value_name = "ROLE")]
        role: Role,
    },
    /// End a membership
    #[command(
        after_help = "Example:\n  streamhub tenant member remove acme anna@example.org --data-dir /srv/media"
    )]
    Remove {
        /// The tenant's key
        tenant: String,
        /// The user's address or key
        user: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    removed: bool,
    user_id: String,
    tenant_id: TenantId,
}

impl Row for Member {
    const THINGS: &'static str = "members";
    const COLUMNS: &'static [&'static str] = &["USER", "EMAIL", "ROLE", "SINCE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.user_id.clone(),
            or_dash(self.email.as_deref()),
            self.role.to_string(),
            self.created_at.clone(),
        ]
    }
}

pub(crate) fn run(context: &Context, command: Command) -> anyhow::Result<Code> {
    match command {
        Command::List { tenant } => {
            let tenant = TenantId::from_registry(tenant);
            let list = List::of(context.look()?.registry()?.members(&tenant)?);
            output::result(context.json, &list, &list)?;
            Ok(Code::Done)
        }
        Command::Add { tenant, user, role } => context.administrate(Missing::Refused, |admin| {
            print(context, &user, &admin.add_member(&TenantId::from_registry(tenant), &user, role)?)
        }),
        Command::Change { tenant, user, role } => context.administrate(Missing::Refused, |admin| {
            print(context, &user, &admin.change_member(&TenantId::from_registry(tenant), &user, role)?)
        }),
        Command::Remove { tenant, user } => context.administrate(Missing::Refused, |admin| {
            let Member { user_id, tenant_id, .. } =
                admin.remove_member(&TenantId::from_registry(tenant), &user)?;
            let people = format!("{user} is no longer a member of tenant {tenant_id}");
            output::result(context.json, &Ended { removed: true, user_id, tenant_id }, &people)
        }),
    }
}

fn print(context: &Context, user: &str, member: &Member) -> anyhow::Result<()> {
    let people = format!("{user} is {} of tenant {}", member.role, member.tenant_id);
    output::result(context.json, member, &people)
}
