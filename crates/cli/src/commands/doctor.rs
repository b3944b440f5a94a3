//! `streamhub doctor`: whether registry and disk agree.

use streamhub::doctor;
use streamhub::settings::Overrides;

use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::output;

/// Compare registry and disk, and check every database. Reports, and changes nothing.
///
/// Finds what is missing, orphaned, misplaced, foreign, too new, corrupt or left half done. Exit code
/// 0 means that all is well, 1 that there are findings.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub doctor --data-dir /srv/media\n  streamhub doctor --data-dir /srv/media --json | jq '.findings[].kind'"
)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    let diagnosis = doctor::examine(&context.config(), &context.progress())?;
    output::result(context.json, &diagnosis, &diagnosis)?;
    Ok(if diagnosis.clean { Code::Done } else { Code::Failed })
}
