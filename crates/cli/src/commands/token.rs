//! `streamhub token`: what programs show instead of a password.

use std::collections::HashMap;

use clap::Subcommand;
use serde::Serialize;
use streamhub::TenantId;
use streamhub::allow_list::{AllowList, BadNetwork};
use streamhub::settings::Overrides;
use streamhub::tokens::ApiToken;

use crate::admin::{Bearer, Ticket};
use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::reach::Missing;
use crate::table::{List, Row, or_dash};

/// Manage API tokens.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub token create deploy --app news-24\n  streamhub token list\n  streamhub token revoke 3"
)]
pub(crate) enum Command {
    /// List tokens, by number; neither they nor their hashes are shown
    ///
    /// Works beside a running server and changes nothing.
    #[command(
        after_help = "Examples:\n  streamhub token list --data-dir /srv/media\n  streamhub token list --tenant acme --json | jq -r '.data[].name'"
    )]
    List {
        /// Only those of this tenant
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Make a token and print it once, on standard output
    ///
    /// Without --app and --node it reaches all apps of its tenant; the tenant `platform` reaches everything. A
    /// data directory that is not there is made where the token is the platform's.
    #[command(
        after_help = "Examples:\n  streamhub token create deploy --app news-24 --data-dir /srv/media\n  streamhub token create dashboard --tenant acme --allow-ip 10.0.0.0/8 --allow-ip 2001:db8::/32"
    )]
    Create(CreateArgs),
    /// Revoke a token: it is good for nothing from then on
    #[command(after_help = "Example:\n  streamhub token revoke 3 --data-dir /srv/media")]
    Revoke {
        /// The token's number, as `streamhub token list` shows it
        #[arg(value_parser = number)]
        id: i64,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// A name for people
    name: String,
    /// Reach this app only, as its tenant's token
    #[arg(long, value_name = "APP", conflicts_with_all = ["node", "tenant"])]
    app: Option<String>,
    /// Be a cluster node's, for joining and heartbeats
    #[arg(long)]
    node: bool,
    /// Whose it is
    #[arg(long, value_name = "ID", default_value = "platform")]
    tenant: TenantId,
    /// Accept it from this address or network only; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = network)]
    allow_ip: Vec<String>,
}

#[derive(Serialize)]
struct Created<'a> {
    id: i64,
    token: &'a str,
}

#[derive(Serialize)]
struct Revoked {
    id: i64,
    revoked: bool,
}

/// A token and the name of the app that it reaches alone, which is for people.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    token: ApiToken,
    #[serde(skip)]
    app: Option<String>,
}

impl Row for Listed {
    const THINGS: &'static str = "tokens";
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "TENANT", "SCOPE", "LAST USED", "REVOKED"];

    fn cells(&self) -> Vec<String> {
        let Self { token, app } = self;
        vec![
            token.id.to_string(),
            token.name.clone(),
            or_dash(token.tenant_id.as_ref().map(TenantId::as_str)),
            app.as_ref().map_or_else(|| token.scope.to_string(), |app| format!("{} {app}", token.scope)),
            or_dash(token.last_used_at.as_deref()),
            if token.revoked { "yes" } else { "no" }.to_owned(),
        ]
    }
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    match command {
        Command::List { tenant } => {
            let look = context.look()?;
            let registry = look.registry()?;
            let tokens = match tenant {
                Some(tenant) => registry.tokens_of(&TenantId::from_registry(tenant))?,
                None => registry.tokens()?,
            };
            let apps: HashMap<i64, String> = look.apps()?.into_iter().map(|app| (app.id, app.name)).collect();
            // One whose app is in the trash shows its number.
            let name = |app: i64| apps.get(&app).cloned().unwrap_or_else(|| app.to_string());
            let listed = |token: ApiToken| Listed { app: token.app_id.map(name), token };
            let list = List::of(tokens.into_iter().map(listed).collect());
            output::result(context.json, &list, &list)?;
            Ok(Code::Done)
        }
        Command::Create(args) => create(&context, args),
        Command::Revoke { id } => context.administrate(Missing::Refused, |admin| {
            let name = admin.revoke_token(id)?;
            let people = format!("token {id} ({name}) is revoked");
            output::result(context.json, &Revoked { id, revoked: true }, &people)
        }),
    }
}

fn create(context: &Context, args: CreateArgs) -> anyhow::Result<Code> {
    let CreateArgs { name, app, node, tenant, allow_ip } = args;
    let allowed_ips = if allow_ip.is_empty() { AllowList::EVERYBODY } else { AllowList::only(&allow_ip)? };
    // Where nothing is, there is the platform's tenant only, and a refusal leaves nothing behind.
    let is_platforms = app.is_none() && tenant == TenantId::platform();
    let missing = if is_platforms { Missing::Created } else { Missing::Refused };
    let bearer = match app {
        Some(app) => Bearer::App(app),
        None if node => Bearer::Node(tenant),
        None => Bearer::Tenant(tenant),
    };
    context.administrate(missing, |admin| {
        let (id, token) = admin.create_token(&Ticket { name, bearer, allowed_ips })?;
        output::say(&format_args!("token {id} is made; it is shown this once"));
        output::result(context.json, &Created { id, token: &token }, &token)
    })
}

fn number(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| "a token is named by its number; `streamhub token list` shows it")
}

/// Checks one address or network, so that a wrong one is told with its option.
fn network(text: &str) -> Result<String, BadNetwork> {
    AllowList::only(&[text]).map(|_| text.to_owned())
}
