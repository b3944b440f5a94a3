//! `app health`, `optimize`, `check`, `checkpoint` and `purge`.

use streamhub::purge::Scope;
use streamhub::{Checked, Health};

use super::known;
use crate::context::Context;
use crate::exit::{Code, Refusal};
use crate::output;
use crate::reach::Missing;
use crate::table::{List, Row, Sheet, Wrapped};

/// Show how an app's database is: sizes, free pages, rows and bytes per table
///
/// Reads each of its pages once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub app health news-24 --data-dir /srv/media\n  streamhub app health news-24 --json | jq .data.fragmentationPct"
)]
pub(crate) struct HealthArgs {
    /// The app's name
    name: String,
}

/// Make an app's database small and fast again
///
/// Runs PRAGMA optimize, ANALYZE, REINDEX, VACUUM and a checkpoint. Needs free space of the
/// database's size, and as much where SQLite has its temporary files (`SQLITE_TMPDIR`, else `TMPDIR` or /var/tmp).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub app optimize news-24 --data-dir /srv/media\n  streamhub app optimize news-24 --json | jq .data.reclaimedBytes"
)]
pub(crate) struct OptimizeArgs {
    /// The app's name
    name: String,
    /// Have a running server do it although the app has live streams, for whose end it waits otherwise
    #[arg(long)]
    force: bool,
}

/// Check whether an app's database is whole
///
/// Looks through each of its pages and indices, follows its references, and compares what it says of itself with the
/// registry. Changes nothing, and can look at an app that is out of service. Ends with 1 where something is found.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub app check news-24 --data-dir /srv/media\n  streamhub app check news-24 --json | jq -r '.data.problems[]'"
)]
pub(crate) struct CheckArgs {
    /// The app's name
    name: String,
    /// Have a running server do it although the app has live streams, for whose end it waits otherwise
    #[arg(long)]
    force: bool,
}

/// Write an app's -wal into its database and empty it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub app checkpoint news-24 --data-dir /srv/media\n  streamhub app checkpoint news-24 --json | jq .data.before.walSizeBytes"
)]
pub(crate) struct CheckpointArgs {
    /// The app's name
    name: String,
}

/// Remove what an app has gathered, for good
///
/// Its recordings with their files, what the log says of it, and streams that are over. What is live stays, and so do
/// the app and its configuration. There is no way back but a backup.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub app purge news-24 --confirm --data-dir /srv/media\n  streamhub app purge news-24 --confirm --scope logs"
)]
pub(crate) struct PurgeArgs {
    /// The app's name
    name: String,
    /// What goes: vods (recordings), logs, or all
    #[arg(long, value_name = "SCOPE", default_value = "all")]
    scope: Scope,
    /// Yes, it is meant; without this nothing is done
    #[arg(long, required = true)]
    confirm: bool,
}

impl Row for streamhub::TableHealth {
    const THINGS: &'static str = "tables";
    const COLUMNS: &'static [&'static str] = &["TABLE", "ROWS", "BYTES"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.rows.to_string(), self.bytes.to_string()]
    }
}

pub(crate) fn health(context: &Context, args: &HealthArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.administrate(Missing::Refused, |admin| {
        let health = admin.health(&name)?;
        output::result(context.json, &Wrapped::of(&health), &sheet(&health))
    })
}

pub(crate) fn optimize(context: &Context, args: &OptimizeArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.administrate(Missing::Refused, |admin| {
        let done = admin.optimize(&name, args.force, &context.progress())?;
        let people = format!(
            "{}: {} bytes before, {} after, {} given back",
            done.path, done.before.size_bytes, done.after.size_bytes, done.reclaimed_bytes
        );
        output::result(context.json, &Wrapped::of(&done), &people)
    })
}

pub(crate) fn check(context: &Context, args: &CheckArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.administrate(Missing::Refused, |admin| {
        let checked = admin.check(&name, args.force, &context.progress())?;
        let people =
            if checked.ok { format!("{}: it is whole", checked.path) } else { checked.problems.join("\n") };
        output::result(context.json, &Wrapped::of(&checked), &people)?;
        if checked.ok { Ok(()) } else { Err(found(&checked)) }
    })
}

pub(crate) fn checkpoint(context: &Context, args: &CheckpointArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.administrate(Missing::Refused, |admin| {
        let done = admin.checkpoint(&name, &context.progress())?;
        let (before, after) = (done.before.wal_size_bytes, done.after.wal_size_bytes);
        let people = format!("{}: {before} bytes in its -wal before, {after} after", done.path);
        output::result(context.json, &Wrapped::of(&done), &people)
    })
}

pub(crate) fn purge(context: &Context, args: &PurgeArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.administrate(Missing::Refused, |admin| {
        let done = admin.purge(&name, args.scope, &context.progress())?;
        let people = Sheet::of([
            ("recordings", format!("{} removed, {} files", done.vods_deleted, done.local_deleted)),
            ("streams", format!("{} removed", done.streams_deleted)),
            ("log entries", format!("{} removed", done.logs_deleted)),
        ]);
        output::result(context.json, &Wrapped::of(&done), &people)
    })
}

fn found(checked: &Checked) -> anyhow::Error {
    let problems = checked.problems.len();
    let message =
        format!("{}: {problems} problem{} found", checked.path, if problems == 1 { "" } else { "s" });
    Refusal::failed(&message, "restore a backup of it; `streamhub doctor` looks at the whole data directory")
}

fn sheet(health: &Health) -> String {
    let lines = Sheet::of([
        ("database", health.path.clone()),
        ("size", format!("{} bytes, {} in its -wal", health.size_bytes, health.wal_size_bytes)),
        ("pages", format!("{}, {} of them free", health.page_count, health.freelist_count)),
        ("free", format!("{} %", health.fragmentation_pct)),
    ]);
    format!("{lines}\n{}", List::of(health.tables.clone()))
}
