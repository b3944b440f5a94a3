//! `streamhub job`: long work that a server does by itself.

use clap::Subcommand;
use serde::Serialize;
use streamhub::Uuid;
use streamhub::access::Within;
use streamhub::cursor::Cursor;
use streamhub::jobs::{Filter, Job};
use streamhub::settings::Overrides;

use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::journal::{self, Shown};
use crate::output;
use crate::reach::Missing;
use crate::table::{Row, Sheet, Wrapped, or_dash};

/// Look at long work that a server does, and end it.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub job list --app news-24\n  streamhub job cancel 0b5c6d1e-4f0a-4c39-9d0e-7a1b2c3d4e5f"
)]
pub(crate) enum Command {
    /// List jobs, the newest first
    ///
    /// Works beside a running server and changes nothing.
    #[command(
        after_help = "Examples:\n  streamhub job list --data-dir /srv/media\n  streamhub job list --json | jq '.data[] | select(.state == \"running\")'"
    )]
    List {
        /// Only those of the app of this name, whatever it was called then
        #[arg(long, value_name = "APP")]
        app: Option<String>,
        /// Behind this place, which the part before it named
        #[arg(long, value_name = "CURSOR", value_parser = journal::cursor::<Uuid>)]
        cursor: Option<Cursor<Uuid>>,
        /// How many at the most
        #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show how a job stands, and what came of it
    ///
    /// Works beside a running server and changes nothing.
    #[command(
        after_help = "Example:\n  streamhub job show 0b5c6d1e-4f0a-4c39-9d0e-7a1b2c3d4e5f --data-dir /srv/media"
    )]
    Show {
        /// The job's id
        id: Uuid,
    },
    /// Cancel a job
    ///
    /// One that waits is over at once, one that is at work ends at its next point. One that is over stays as it is.
    #[command(
        after_help = "Example:\n  streamhub job cancel 0b5c6d1e-4f0a-4c39-9d0e-7a1b2c3d4e5f --data-dir /srv/media"
    )]
    Cancel {
        /// The job's id
        id: Uuid,
    },
}

/// As the HTTP API answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    data: &'a [Job],
    limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    error: (),
}

impl Row for Job {
    const THINGS: &'static str = "jobs";
    const COLUMNS: &'static [&'static str] = &["ID", "KIND", "APP", "STATE", "STEP", "SINCE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.kind.clone(),
            or_dash(self.app.as_deref()),
            self.state.to_string(),
            or_dash(Some(&*self.progress.step).filter(|step| !step.is_empty())),
            self.created_at.clone(),
        ]
    }
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    match command {
        Command::List { app, cursor, limit } => {
            let listed = context.look()?.registry()?.jobs(&Filter {
                within: Within::Everything,
                tenant: None,
                app,
                cursor,
                limit,
            })?;
            let next_cursor = listed.next.as_ref().map(ToString::to_string);
            let machine = Answer { data: &listed.entries, limit, next_cursor, error: () };
            output::result(context.json, &machine, &Shown(&listed))?;
            Ok(Code::Done)
        }
        Command::Show { id } => {
            print(&context, &context.look()?.registry()?.job(&id)?)?;
            Ok(Code::Done)
        }
        Command::Cancel { id } => {
            context.administrate(Missing::Refused, |admin| print(&context, &admin.cancel_job(&id)?))
        }
    }
}

fn print(context: &Context, job: &Job) -> anyhow::Result<()> {
    let result = job.result.as_ref().map(ToString::to_string);
    let error = job.error.as_ref().map(|error| error.message.as_str());
    let people = Sheet::of([
        ("id", job.id.to_string()),
        ("kind", job.kind.clone()),
        ("app", or_dash(job.app.as_deref())),
        ("state", job.state.to_string()),
        ("step", or_dash(Some(&*job.progress.step).filter(|step| !step.is_empty()))),
        ("result", or_dash(result.as_deref())),
        ("error", or_dash(error)),
        ("since", job.created_at.clone()),
    ]);
    output::result(context.json, &Wrapped::of(job), &people)
}
