//! `streamhub tenant`: who owns apps, who works for them, and how much they may have.

mod member;
mod quota;

use clap::Subcommand;
use streamhub::settings::Overrides;
use streamhub::tenants::Tenant;
use streamhub::{TenantChange, TenantId};

use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::reach::Missing;
use crate::table::{List, Row, Sheet};

/// Manage tenants, their members and their quotas.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub tenant create acme --name 'Acme Broadcasting'\n  streamhub tenant quota acme --max-apps 10\n  streamhub tenant member add acme anna@example.org --role owner"
)]
pub(crate) enum Command {
    /// List all tenants, by key
    ///
    /// Works beside a running server and changes nothing.
    #[command(
        after_help = "Examples:\n  streamhub tenant list --data-dir /srv/media\n  streamhub tenant list --json | jq -r '.data[].id'"
    )]
    List,
    /// Make a tenant with default quotas
    ///
    /// A data directory that is not there is made.
    #[command(
        after_help = "Example:\n  streamhub tenant create acme --name 'Acme Broadcasting' --plan gold --data-dir /srv/media"
    )]
    Create {
        /// Its key: 1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.', beginning with a letter or digit
        id: TenantId,
        /// A name for people [default: its key]
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// The plan's name [default: free]
        #[arg(long, value_name = "TEXT")]
        plan: Option<String>,
    },
    /// Change a tenant's name or plan; what is not named stays
    #[command(
        after_help = "Example:\n  streamhub tenant update acme --plan gold --data-dir /srv/media",
        group = clap::ArgGroup::new("change").required(true).multiple(true)
    )]
    Update {
        /// Its key
        id: String,
        /// A name for people
        #[arg(long, value_name = "TEXT", group = "change")]
        name: Option<String>,
        /// The plan's name
        #[arg(long, value_name = "TEXT", group = "change")]
        plan: Option<String>,
    },
    /// Show one tenant
    ///
    /// Works beside a running server and changes nothing.
    #[command(after_help = "Example:\n  streamhub tenant show acme --data-dir /srv/media")]
    Show {
        /// Its key
        id: String,
    },
    Quota(quota::Args),
    /// Show what a tenant has of what it may have, in this calendar month
    ///
    /// Works beside a running server and changes nothing.
    #[command(
        after_help = "Examples:\n  streamhub tenant usage acme --data-dir /srv/media\n  streamhub tenant usage acme --json | jq .exceeded"
    )]
    Usage {
        /// Its key
        id: String,
    },
    #[command(subcommand)]
    Member(member::Command),
}

impl Row for Tenant {
    const THINGS: &'static str = "tenants";
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "PLAN", "CREATED"];

    fn cells(&self) -> Vec<String> {
        vec![self.id.to_string(), self.name.clone(), self.plan.clone(), self.created_at.clone()]
    }
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    match command {
        Command::List => {
            let list = List::of(context.look()?.registry()?.tenants()?);
            output::result(context.json, &list, &list)?;
        }
        Command::Show { id } => {
            let tenant = context.look()?.registry()?.tenant(&TenantId::from_registry(id))?;
            output::result(context.json, &tenant, &sheet(&tenant))?;
        }
        Command::Usage { id } => {
            let usage = context.look()?.registry()?.usage(&TenantId::from_registry(id))?;
            output::result(context.json, &usage, &quota::Table(&usage))?;
        }
        Command::Create { id, name, plan } => {
            return context.administrate(Missing::Created, |admin| {
                let tenant = admin.create_tenant(&id, &TenantChange { name, plan })?;
                output::result(context.json, &tenant, &sheet(&tenant))
            });
        }
        Command::Update { id, name, plan } => {
            let id = TenantId::from_registry(id);
            return context.administrate(Missing::Refused, |admin| {
                let tenant = admin.update_tenant(&id, &TenantChange { name, plan })?;
                output::result(context.json, &tenant, &sheet(&tenant))
            });
        }
        Command::Quota(args) => return quota::run(&context, args),
        Command::Member(command) => return member::run(&context, command),
    }
    Ok(Code::Done)
}

fn sheet(tenant: &Tenant) -> Sheet {
    Sheet::of([
        ("id", tenant.id.to_string()),
        ("name", tenant.name.clone()),
        ("plan", tenant.plan.clone()),
        ("created", tenant.created_at.clone()),
    ])
}
