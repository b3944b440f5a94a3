//! What `audit` and `logs` have in common: lists by time, in parts, and pruning.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use streamhub::Pruned;
use streamhub::cursor::{BadCursor, Cursor, Listed};
use streamhub::time::Moment;

use crate::admin::Journal;
use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::reach::Missing;
use crate::table::{Row, columns};
use crate::when;

/// Which part of a list is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Part {
    /// From this time on: a time, a day, or an age as 2h
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub(crate) since: Option<Moment>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub(crate) until: Option<Moment>,
    /// Behind this place, which the part before it named
    #[arg(long, value_name = "CURSOR", value_parser = cursor::<i64>)]
    pub(crate) cursor: Option<Cursor>,
    /// How many at the most
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

/// What is pruned.
#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    /// Remove what is from before this: a time, a day, or an age as 30d
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    before: Moment,
    /// Only say how much that is; works beside a running server
    #[arg(long)]
    dry_run: bool,
}

/// A part of a list as people see it.
pub(crate) struct Shown<'a, T, I = i64>(pub(crate) &'a Listed<T, I>);

/// What a pruning did, or would do.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Outcome {
    #[serde(rename_all = "camelCase")]
    Dry {
        before: Moment,
        entries: u64,
        dry_run: bool,
    },
    Done(Pruned),
}

impl Prune {
    /// Prunes, or counts what would go.
    pub(crate) fn run(self, context: &Context, what: Journal) -> anyhow::Result<Code> {
        let Self { before, dry_run } = self;
        let dry = |entries| Outcome::Dry { before: before.clone(), entries, dry_run };
        let print = |outcome: &Outcome| output::result(context.json, outcome, outcome);
        if dry_run && context.server()?.is_none() {
            let look = context.look()?;
            let registry = look.registry()?;
            let entries = match what {
                Journal::Audit => registry.audit_before(&before)?,
                Journal::Logs => registry.logs_before(&before)?,
            };
            print(&dry(entries))?;
            return Ok(Code::Done);
        }
        context.administrate(Missing::Refused, |admin| {
            if dry_run {
                print(&dry(admin.count_before(what, &before)?))
            } else {
                print(&Outcome::Done(admin.prune(what, &before, &context.progress())?))
            }
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dry { before, entries, .. } => {
                write!(f, "{entries} entries are from before {}; nothing was removed", before.as_str())
            }
            Self::Done(Pruned { before, entries, bytes_given_back, free_bytes, .. }) => {
                write!(
                    f,
                    "{entries} entries from before {} are gone; the disk gets {bytes_given_back} bytes back",
                    before.as_str()
                )?;
                if *free_bytes > 0 {
                    write!(
                        f,
                        "\n{free_bytes} bytes of the control database are free and will be used again: \
                         an older system made it so that it does not get shorter"
                    )?;
                }
                Ok(())
            }
        }
    }
}

impl<T: Row, I: fmt::Display> fmt::Display for Shown<'_, T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listed { entries, next } = self.0;
        columns(f, entries)?;
        next.as_ref().map_or(Ok(()), |next| write!(f, "more: --cursor {next}"))
    }
}

/// Where a part begins.
pub(crate) fn cursor<I: FromStr>(text: &str) -> Result<Cursor<I>, BadCursor> {
    text.parse()
}
