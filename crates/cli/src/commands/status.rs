//! `streamhub status`: what state a data directory is in.

use streamhub::settings::Overrides;
use streamhub::status;

use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::output;

/// Show versions, apps by state, sizes, the last backup, and who uses the data directory.
///
/// Works beside a running server, takes no lock and changes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub status --data-dir /srv/media\n  streamhub status --data-dir /srv/media --json | jq .apps"
)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    let status = status::status(&context.config())?;
    output::result(context.json, &status, &status)?;
    Ok(Code::Done)
}
