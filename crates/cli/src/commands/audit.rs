//! `streamhub audit`: who did what to whom.

use clap::Subcommand;
use serde::Serialize;
use streamhub::TenantId;
use streamhub::audit::{Filter, Recorded};
use streamhub::settings::Overrides;

use crate::admin::Journal;
use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::journal::{Part, Prune, Shown};
use crate::output;
use crate::table::{Row, or_dash};

/// Show and prune the audit: who did what to whom, and how it ended.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub audit list --since 7d\n  streamhub audit prune --before 400d --dry-run"
)]
pub(crate) enum Command {
    /// List what was done, the newest first
    ///
    /// Works beside a running server and changes nothing.
    #[command(
        after_help = "Examples:\n  streamhub audit list --data-dir /srv/media --tenant acme --since 7d\n  streamhub audit list --json | jq -r '.entries[] | [.at, .principal, .action] | @tsv'"
    )]
    List {
        /// Only what concerns this tenant
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
        #[command(flatten)]
        part: Part,
    },
    /// Remove old entries for good, in small steps
    #[command(
        after_help = "Examples:\n  streamhub audit prune --before 400d --dry-run\n  streamhub audit prune --before 2026-01-01 --data-dir /srv/media"
    )]
    Prune(Prune),
}

/// As the HTTP API answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    entries: &'a [Recorded],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    count: usize,
}

impl Row for Recorded {
    const THINGS: &'static str = "entries";
    const COLUMNS: &'static [&'static str] =
        &["AT", "PRINCIPAL", "ADDRESS", "ACTION", "TENANT", "APP", "TARGET", "OUTCOME"];

    fn cells(&self) -> Vec<String> {
        let entry = &self.entry;
        vec![
            entry.at.as_str().to_owned(),
            entry.principal.clone(),
            or_dash(entry.address.as_deref()),
            entry.action.clone(),
            or_dash(entry.tenant_id.as_deref()),
            or_dash(entry.app.as_deref()),
            or_dash(entry.target.as_deref()),
            entry.outcome.clone(),
        ]
    }
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    match command {
        Command::List { tenant, part } => {
            let tenant = tenant.map(TenantId::from_registry);
            let listed = context.look()?.registry()?.audit(&Filter {
                tenant: tenant.as_ref(),
                since: part.since.as_ref(),
                until: part.until.as_ref(),
                cursor: part.cursor.as_ref(),
                limit: part.limit,
            })?;
            let entries = &listed.entries;
            let next_cursor = listed.next.as_ref().map(ToString::to_string);
            let machine = Answer { entries, next_cursor, count: entries.len() };
            output::result(context.json, &machine, &Shown(&listed))?;
            Ok(Code::Done)
        }
        Command::Prune(prune) => prune.run(&context, Journal::Audit),
    }
}
