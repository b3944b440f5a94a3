//! `streamhub logs`: what the server told of itself.

use clap::Subcommand;
use serde::Serialize;
use streamhub::TenantId;
use streamhub::access::Within;
use streamhub::logs::{Entry, Filter, Level};
use streamhub::settings::Overrides;

use crate::admin::Journal;
use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::journal::{Part, Prune, Shown};
use crate::output;
use crate::table::{Row, or_dash};

/// Show and prune the server's log.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub logs list --level warn --since 2h\n  streamhub logs prune --before 30d --dry-run"
)]
pub(crate) enum Command {
    /// List what was logged, the newest first
    ///
    /// Works beside a running server and changes nothing. What the server has not written down yet, within the
    /// last quarter of a second, is not shown.
    #[command(
        after_help = "Examples:\n  streamhub logs list --data-dir /srv/media --app news-24 --level warn\n  streamhub logs list --query 'disk' --since 2026-11-01 --json | jq -r '.data[].message'"
    )]
    List(ListArgs),
    /// Remove old entries for good, in small steps
    #[command(
        after_help = "Examples:\n  streamhub logs prune --before 30d --dry-run\n  streamhub logs prune --before 2026-11-01 --data-dir /srv/media"
    )]
    Prune(Prune),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only what is about this app
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Only what is about this tenant's apps
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only what matters at least as much: trace, debug, info, warn or error
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Only what this part of the program says
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Only messages with this in them
    #[arg(long, value_name = "TEXT")]
    query: Option<String>,
    #[command(flatten)]
    part: Part,
}

/// As the HTTP API answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    data: &'a [Entry],
    limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    error: (),
}

impl Row for Entry {
    const THINGS: &'static str = "entries";
    const COLUMNS: &'static [&'static str] = &["TIME", "LEVEL", "APP", "SOURCE", "MESSAGE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.ts.clone(),
            self.level.clone(),
            or_dash(self.app.as_deref()),
            or_dash(self.source.as_deref()),
            // One line each, and nothing that a terminal would obey.
            self.message.replace(char::is_control, " "),
        ]
    }
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    match command {
        Command::List(args) => list(&context, args),
        Command::Prune(prune) => prune.run(&context, Journal::Logs),
    }
}

fn list(context: &Context, args: ListArgs) -> anyhow::Result<Code> {
    let ListArgs { app, tenant, level, source, query, part } = args;
    let look = context.look()?;
    let app = app.map(|app| look.app(&app)).transpose()?.map(|app| app.name);
    let tenant = tenant.map(TenantId::from_registry);
    let listed = look.registry()?.logs_found(&Filter {
        within: &Within::Everything,
        app: app.as_deref(),
        tenant: tenant.as_ref(),
        level,
        source: source.as_deref(),
        q: query.as_deref(),
        since: part.since.as_ref(),
        until: part.until.as_ref(),
        cursor: part.cursor.as_ref(),
        limit: part.limit,
    })?;
    let next_cursor = listed.next.as_ref().map(ToString::to_string);
    let machine = Answer { data: &listed.entries, limit: part.limit, next_cursor, error: () };
    output::result(context.json, &machine, &Shown(&listed))?;
    Ok(Code::Done)
}
