//! `streamhub app`: apps, from their making to their trash.

mod adopt;
mod life;
mod list;
mod upkeep;

use clap::Subcommand;
use streamhub::{AppId, HubError};

use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use streamhub::settings::Overrides;

/// Make, list, look after, delete and move apps.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub app create news-24\n  streamhub app list\n  streamhub app show news-24 --json"
)]
pub(crate) enum Command {
    List(list::ListArgs),
    Show(list::ShowArgs),
    Create(life::CreateArgs),
    Rename(life::RenameArgs),
    Delete(life::DeleteArgs),
    Undelete(life::UndeleteArgs),
    Health(upkeep::HealthArgs),
    Optimize(upkeep::OptimizeArgs),
    Check(upkeep::CheckArgs),
    Checkpoint(upkeep::CheckpointArgs),
    Purge(upkeep::PurgeArgs),
    Seal(adopt::SealArgs),
    Adopt(adopt::AdoptArgs),
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    match command {
        Command::List(args) => list::list(&context, &args),
        Command::Show(args) => list::show(&context, &args),
        Command::Create(args) => life::create(&context, args),
        Command::Rename(args) => life::rename(&context, &args),
        Command::Delete(args) => life::delete(&context, &args),
        Command::Undelete(args) => life::undelete(&context, &args),
        Command::Health(args) => upkeep::health(&context, &args),
        Command::Optimize(args) => upkeep::optimize(&context, &args),
        Command::Check(args) => upkeep::check(&context, &args),
        Command::Checkpoint(args) => upkeep::checkpoint(&context, &args),
        Command::Purge(args) => upkeep::purge(&context, &args),
        Command::Seal(args) => adopt::seal(&context, &args),
        Command::Adopt(args) => adopt::adopt(&context, args),
    }
}

/// The name of an app that is to be there already: what can be no name is nobody's.
fn known(name: &str) -> Result<AppId, HubError> {
    name.parse().map_err(|_| HubError::UnknownApp { name: name.to_owned() })
}
