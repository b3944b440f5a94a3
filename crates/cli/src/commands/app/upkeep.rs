//! `app health` and `app optimize`.

use streamhub::Health;

use super::known;
use crate::context::{Context, Missing};
use crate::exit::Code;
use crate::output;
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
    context.with_hub(Missing::Refused, |hub| {
        let health = hub.health(&name)?;
        output::result(context.json, &Wrapped::of(&health), &sheet(&health))
    })
}

pub(crate) fn optimize(context: &Context, args: &OptimizeArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.with_hub(Missing::Refused, |hub| {
        let done = hub.optimize(&name, &context.progress())?;
        let people = format!(
            "{}: {} bytes before, {} after, {} given back",
            done.path, done.before.size_bytes, done.after.size_bytes, done.reclaimed_bytes
        );
        output::result(context.json, &Wrapped::of(&done), &people)
    })
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
