//! The server's log: what it told of itself, and what an older system told.
//!
//! Entries are written many at a time, and by nobody who waits for them. Older ones spell their times in
//! another way and their levels as they liked; both are shown as they were written.

mod purge;

use rusqlite::{Connection, Result, Row, ToSql, named_params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use streamhub_engine::time::Moment;
use streamhub_engine::{normalised, words};

use crate::TenantId;
use crate::cursor::{self, Cursor};
use crate::journal::Journal;

pub use purge::{extent_of_app, purge_app};

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

/// When an entry is of, so that both spellings sort as one; as the indices have it.
const TIME: &str = normalised!("log.ts");

const COLUMNS: &str = concat!(
    "log.id, log.ts, log.level, log.source, log.app_id, \
     (SELECT name FROM apps WHERE apps.id = log.app_id), log.message, log.meta_json, ",
    normalised!("log.ts")
);

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
    /// Only those of the app of this number.
    pub app: Option<i64>,
    /// Only those of this tenant's apps.
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

/// Lists entries, the newest first.
pub fn list(db: &Connection, filter: &Filter<'_>) -> Result<Listed> {
    let (before, before_id) = cursor::start(filter.cursor, filter.until);
    let limit = cursor::one_more(filter.limit);
    let level = filter.level.map_or(0, |level| level as i64);
    let pattern = filter.q.map(containing);
    let mut parameters: Vec<(&str, &dyn ToSql)> = vec![
        (":level", &level),
        (":source", &filter.source),
        (":pattern", &pattern),
        (":since", &filter.since),
        (":before", &before),
        (":before_id", &before_id),
        (":limit", &limit),
    ];
    if let Some(app) = &filter.app {
        parameters.push((":app", app));
    }
    if let Some(tenant) = &filter.tenant {
        parameters.push((":tenant", tenant));
    }
    let rows = db
        .prepare_cached(&list_sql(filter.app.is_some(), filter.tenant.is_some()))?
        .query_map(&*parameters, read)?
        .collect::<Result<_>>()?;
    Ok(Listed::of(rows, filter.limit))
}

fn list_sql(of_one_app: bool, of_one_tenant: bool) -> String {
    let matching = format!(
        "{TIME} >= coalesce(:since, '') AND {TIME} <= :before \
         AND ({TIME} < :before OR log.id < :before_id) \
         AND (:source IS NULL OR log.source = :source) \
         AND (:pattern IS NULL OR log.message LIKE :pattern ESCAPE '\\') \
         AND CASE lower(log.level) WHEN 'trace' THEN 0 WHEN 'debug' THEN 1 WHEN 'info' THEN 2 \
         WHEN 'warn' THEN 3 WHEN 'warning' THEN 3 ELSE 4 END >= :level \
         ORDER BY {TIME} DESC, log.id DESC LIMIT :limit"
    );
    let reach = match (of_one_app, of_one_tenant) {
        (false, false) => "",
        (true, false) => "log.app_id = :app AND ",
        (true, true) => {
            "log.app_id = :app AND (SELECT tenant_id FROM apps WHERE apps.id = :app) = :tenant AND "
        }
        // As many of each of the tenant's apps as are wanted in all, from each app's part of the index.
        (false, true) => {
            return format!(
                "SELECT {COLUMNS} FROM apps AS app CROSS JOIN server_logs AS log ON log.id IN \
                 (SELECT log.id FROM server_logs AS log WHERE log.app_id = app.id AND {matching}) \
                 WHERE app.tenant_id = :tenant ORDER BY {TIME} DESC, log.id DESC LIMIT :limit"
            );
        }
    };
    format!("SELECT {COLUMNS} FROM server_logs AS log WHERE {reach}{matching}")
}

fn read(row: &Row<'_>) -> Result<(Entry, Cursor)> {
    let meta: Option<String> = row.get(7)?;
    let entry = Entry {
        id: row.get(0)?,
        ts: row.get(1)?,
        level: row.get(2)?,
        source: row.get(3)?,
        app_id: row.get(4)?,
        app: row.get(5)?,
        message: row.get(6)?,
        meta: meta.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
    };
    let place = Cursor::after(row.get::<_, String>(8)?, entry.id);
    Ok((entry, place))
}

/// The pattern of texts that have this one in them.
fn containing(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

#[cfg(test)]
mod tests;
