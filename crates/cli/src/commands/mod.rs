//! One file per command.

pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod job;
pub(crate) mod logs;
pub(crate) mod migrate;
pub(crate) mod node;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod tenant;
pub(crate) mod token;
pub(crate) mod user;

use crate::args::{Cli, Command};
use crate::exit::{Code, Refusal};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Code> {
    let global = &cli.global;
    let is_named = global.url.is_some() || global.token_file.is_some();
    if is_named && !cli.command.changes_what_is_served() {
        return Err(Refusal::with(
            Code::Usage,
            "a server is named, and this command works on the data directory itself",
            "leave --url and --token-file out",
        ));
    }
    match cli.command {
        Command::Serve(args) => serve::run(&args, global),
        Command::Migrate(args) => migrate::run(args, global),
        Command::Status(args) => status::run(&args, global),
        Command::Doctor(args) => doctor::run(&args, global),
        Command::App(command) => app::run(command, global),
        Command::Tenant(command) => tenant::run(command, global),
        Command::User(command) => user::run(command, global),
        Command::Token(command) => token::run(command, global),
        Command::Node(command) => node::run(command, global),
        Command::Job(command) => job::run(command, global),
        Command::Audit(command) => audit::run(command, global),
        Command::Logs(command) => logs::run(command, global),
        Command::Config(command) => config::run(&command, global),
        Command::Completions(args) => completions::run(&args),
    }
}
