//! One file per command.

pub(crate) mod migrate;

use crate::args::{Cli, Command};
use crate::exit::Code;

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Code> {
    match cli.command {
        Command::Migrate(args) => migrate::run(args, cli.global),
    }
}
