//! `streamhub migrate`: boots the databases, takes older data over, and exits.

use std::sync::Arc;

use streamhub::legacy::LegacySource as _;
use streamhub::report::SplitReport;
use streamhub::settings::Overrides;
use streamhub::{AppId, Hub, HubConfig, boot};
use streamhub_split::{Errand, Older};

use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::output;

/// Bring the databases up to date and take an older system's data directory over, then exit.
///
/// The control database is backed up first. Every app gets an app.db of its own; older rows and files
/// stay where they are. A report says, app by app, what became of every row. Exit code 70 means that
/// some app was not taken over; it is tried again at the next start.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub migrate --data-dir /srv/media --dry-run\n  streamhub migrate --data-dir /srv/media --json > report.json\n  streamhub migrate --data-dir /srv/media --recover news-24"
)]
pub(crate) struct Args {
    /// Find out what would happen, and create no file, not even the lock
    #[arg(long)]
    dry_run: bool,
    /// Also bring in this app's rows that may have been deleted since, or that carry another app's number
    #[arg(long, value_name = "APP", conflicts_with = "cleanup")]
    recover: Option<AppId>,
    /// Remove older rows and files that are imported or held, after a backup of their own
    #[arg(long)]
    cleanup: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    let older = match (args.recover, args.cleanup) {
        (Some(app), _) => Older::with(Errand::Recover(app)),
        (None, true) => Older::with(Errand::Cleanup),
        (None, false) => Older::default(),
    };
    let (report, created) =
        if args.dry_run { (dry_run(&context, &older)?, false) } else { take_over(&context, older)? };
    let nothing = SplitReport { dry_run: args.dry_run, ..SplitReport::default() };
    let shown = report.as_ref().unwrap_or(&nothing);
    match &report {
        Some(report) => output::result(context.json, shown, report)?,
        None if args.dry_run => {
            output::result(context.json, shown, &"nothing to take over; a new data directory would be made")?;
        }
        None if created => output::result(context.json, shown, &"a new data directory was made")?,
        None => output::result(context.json, shown, &"everything is up to date")?,
    }
    Ok(if shown.failed() == 0 { Code::Done } else { Code::MigrationFailed })
}

/// Also says whether there was nothing before.
fn take_over(context: &Context, older: Older) -> anyhow::Result<(Option<SplitReport>, bool)> {
    // An errand is for something that is there.
    let may_create = !older.has_errand();
    let config = HubConfig { may_create, ..context.boot_config(Arc::new(older)) };
    let hub = Hub::open(&config, &context.progress())?;
    let done = (hub.split().cloned(), hub.created());
    hub.close()?;
    Ok(done)
}

fn dry_run(context: &Context, older: &Older) -> anyhow::Result<Option<SplitReport>> {
    let config = context.boot_config(Arc::new(older.clone()));
    match boot::survey(&config)? {
        Some(site) => Ok(Some(older.dry_run(&site, &context.progress())?)),
        None => Ok(None),
    }
}
