//! The server's log: what it told of itself, and what an older system told.
//!
//! Entries are written many at a time, and by nobody who waits for them. Older ones spell their times in
//! another way and their levels as they liked; both are shown as they were written.

mod purge;
mod search;

use rusqlite::{Connection, Result, named_params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use streamhub_engine::time::Moment;
use streamhub_engine::{normalised, words};

use crate::cursor::{self, Cursor};
use crate::journal::Journal;
use crate::{TenantId, Within};

pub use purge::{extent_of_app, purge_app};
pub use search::{LOOKED_AT, list};

words! {
    /// How much something matters.
    pub enum Level {
        /// Every step.
        Trace = "trace",
        /// What helps to find a mistake.
        Debug = "debug",
        /// What happens.
        Info = "info",
        /// What somebody should look at.
        Warn = "warn",
        /// What failed.
        Error = "error",
    }
}

/// The log as something that is pruned.
pub static JOURNAL: Journal = Journal::new("logs", "server_logs", normalised!("ts"));

/// Something to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it happened.
    pub ts: Moment,
    /// How much it matters.
    pub level: Level,
    /// What part of the program says so.
    pub source: String,
    /// The name of the app that it is about.
    pub app: Option<String>,
    /// What happened.
    pub message: String,
    /// What else is worth knowing, as JSON.
    pub meta_json: Option<String>,
}

/// What was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// When it happened.
    pub ts: String,
    /// How much it matters; an older system may have had other words than [`Level`].
    pub level: String,
    /// What part of the program says so.
    pub source: Option<String>,
    /// The name of the app that it is about.
    pub app: Option<String>,
    /// The app's number.
    pub app_id: Option<i64>,
    /// What happened.
    pub message: String,
    /// What else is worth knowing; a text where an older system wrote no JSON.
    pub meta: Option<Value>,
}

/// Which entries a list shows.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// Only those of these apps.
    pub within: &'a Within,
    /// Of these, only those of the app of this name.
    pub app: Option<&'a str>,
    /// Of these, only those of this tenant's apps.
    pub tenant: Option<&'a TenantId>,
    /// Only those that matter at least as much. A level that is not known matters most.
    pub level: Option<Level>,
    /// Only those of this part of the program.
    pub source: Option<&'a str>,
    /// Only those whose message has this in it; capital and small letters of ASCII are alike.
    pub q: Option<&'a str>,
    /// From this time on.
    pub since: Option<&'a Moment>,
    /// Before this time.
    pub until: Option<&'a Moment>,
    /// Only what comes after this place, which was in a list with the same filter.
    pub cursor: Option<&'a Cursor>,
    /// How many at the most.
    pub limit: u32,
}

/// A part of the list, the newest entry first.
pub type Listed = cursor::Listed<Entry>;

impl Filter<'_> {
    /// All entries, the newest of them up to a number.
    pub fn newest(limit: u32) -> Self {
        Self {
            within: &Within::Everything,
            app: None,
            tenant: None,
            level: None,
            source: None,
            q: None,
            since: None,
            until: None,
            cursor: None,
            limit,
        }
    }
}

/// Writes records down, in the caller's transaction. One about an app that is gone is about none.
pub fn append_all(db: &Connection, records: &[Record]) -> Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO server_logs (ts, level, source, app_id, message, meta_json) VALUES (:ts, :level, \
         :source, (SELECT id FROM apps WHERE name = :app AND state <> 'deleted'), :message, :meta)",
    )?;
    for record in records {
        insert.execute(named_params! {
            ":ts": record.ts,
            ":level": record.level,
            ":source": record.source,
            ":app": record.app,
            ":message": record.message,
            ":meta": record.meta_json,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
