//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// The state layer of a media server: one SQLite database per app.
#[derive(Debug, Parser)]
#[command(name = "streamhub", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  streamhub migrate --data-dir /srv/media --dry-run\n  streamhub serve --data-dir /srv/media"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The data directory [else `DATA_DIR`, `STATE_DIRECTORY`, `XDG_STATE_HOME`/streamhub, ~/.local/state/streamhub]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The settings file [default: streamhub.yaml in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Ask the server at this address to change what is to be changed; else `STREAMHUB_URL`, else the one that has the
    /// data directory in use, and where there is none the change is made here
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A file with a token for that server, which nobody else may read [else `STREAMHUB_TOKEN_FILE`]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Permit a data directory in memory (tmpfs), which is lost at a restart
    #[arg(long, global = true)]
    pub(crate) allow_volatile: bool,
    /// Print the result as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How log lines on standard error look [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Log errors only, and show no progress
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// One module per command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(commands::serve::Args),
    Migrate(commands::migrate::Args),
    Status(commands::status::Args),
    Doctor(commands::doctor::Args),
    #[command(subcommand)]
    App(commands::app::Command),
    #[command(subcommand)]
    Tenant(commands::tenant::Command),
    #[command(subcommand)]
    User(commands::user::Command),
    #[command(subcommand)]
    Token(commands::token::Command),
    #[command(subcommand)]
    Node(commands::node::Command),
    #[command(subcommand)]
    Job(commands::job::Command),
    #[command(subcommand)]
    Audit(commands::audit::Command),
    #[command(subcommand)]
    Logs(commands::logs::Command),
    #[command(subcommand)]
    Config(commands::config::Command),
    Completions(commands::completions::Args),
}

impl Command {
    /// Whether a server can do it, or some of its verbs.
    pub(crate) fn changes_what_is_served(&self) -> bool {
        match self {
            Self::App(_)
            | Self::Tenant(_)
            | Self::User(_)
            | Self::Token(_)
            | Self::Node(_)
            | Self::Job(_)
            | Self::Audit(_)
            | Self::Logs(_) => true,
            Self::Serve(_)
            | Self::Migrate(_)
            | Self::Status(_)
            | Self::Doctor(_)
            | Self::Config(_)
            | Self::Completions(_) => false,
        }
    }
}
