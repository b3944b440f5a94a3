//! `streamhub completions`: what a shell needs to complete command lines.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Code;
use crate::output;

/// Print a shell's completion script.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub completions bash > /etc/bash_completion.d/streamhub\n  streamhub completions zsh > \"${fpath[1]}/_streamhub\""
)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Code> {
    // Written as a whole, because the generator panics where its reader has gone away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "streamhub", &mut script);
    output::raw(&script)?;
    Ok(Code::Done)
}
