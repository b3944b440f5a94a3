//! Finding entries, the newest first.
//!
//! What is about one app, or about everything, is read in the order of an index; what is about several apps is
//! put together from their parts. What no index finds, such as a word in a message, is looked for entry by
//! entry, and a list ends early rather than look at too many: it says where to go on.

use std::collections::{BinaryHeap, VecDeque};

use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, named_params};
use serde_json::Value;
use streamhub_engine::normalised;

use super::{Entry, Filter, Listed};
use crate::Within;
use crate::apps::{BY_NAME, OF_TENANT};
use crate::cursor::{self, Cursor};

/// About how many entries one list should look at: well below a second of work.
pub const LOOKED_AT: usize = 100_000;

/// Entries that are read from a part at once, at the most.
const CHUNK: usize = 1024;

/// When an entry is of, so that both spellings sort as one; as the indices have it.
const TIME: &str = normalised!("log.ts");

/// Of the entries of a list, those of a time before a number, in order.
pub(super) const AT_THAT_TIME: &str = "= :time AND log.id < :before_id ORDER BY log.id DESC";

/// Those from before that time.
pub(super) const OLDER: &str = concat!("< :time ORDER BY ", normalised!("log.ts"), " DESC, log.id DESC");

const BY_ID: &str = "SELECT log.id, log.ts, log.level, log.source, log.app_id, \
    (SELECT name FROM apps WHERE apps.id = log.app_id), log.message, log.meta_json \
    FROM server_logs AS log WHERE log.id = :id";

/// Lists entries, the newest first. It looks at no more than about `most` entries and one of each app, so a list
/// may end with a place to go on from although it has fewer entries than are wanted, or none.
pub fn list(db: &Connection, filter: &Filter<'_>, most: usize) -> Result<Listed> {
    let search = Search { db, filter, pattern: filter.q.map(containing) };
    let mut parts = search.parts()?;
    let mut looked_at = 0;
    let mut heads = BinaryHeap::new();
    for (at, part) in parts.iter_mut().enumerate() {
        looked_at += search.read_on(part, filter.cursor)?;
        heads.extend(part.rows.pop_front().map(|row| (row, at)));
    }
    let mut listed = Listed { entries: Vec::new(), next: None };
    let mut passed = None;
    while let Some((Seen { place, is_found }, at)) = heads.pop() {
        if is_found {
            if listed.entries.len() >= filter.limit as usize {
                listed.next = passed;
                break;
            }
            // It may have been pruned since.
            listed.entries.extend(search.entry(*place.id())?);
        }
        let part = &mut parts[at];
        if part.rows.is_empty() && !part.is_over {
            if looked_at >= most {
                listed.next = Some(place);
                break;
            }
            looked_at += search.read_on(part, Some(&place))?;
        }
        heads.extend(part.rows.pop_front().map(|row| (row, at)));
        passed = Some(place);
    }
    Ok(listed)
}

/// What is looked for.
struct Search<'a> {
    db: &'a Connection,
    filter: &'a Filter<'a>,
    pattern: Option<String>,
}

/// Entries that are in the order of an index.
struct Part {
    /// Those of this app; none for all there are.
    app: Option<i64>,
    /// What was read of it and not passed.
    rows: VecDeque<Seen>,
    /// Whether nothing is left to be read of it.
    is_over: bool,
    /// How many were read at once the last time.
    chunk: usize,
}

/// An entry that was looked at.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    place: Cursor,
    /// Whether it is one that is looked for.
    is_found: bool,
}

impl Search<'_> {
    fn parts(&self) -> Result<Vec<Part>> {
        let Filter { within, app, tenant, .. } = self.filter;
        let part = |app| Part { app, rows: VecDeque::new(), is_over: false, chunk: 0 };
        if (*within, app, tenant) == (&Within::Everything, &None, &None) {
            return Ok(vec![part(None)]);
        }
        let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":within", within)];
        let mut conditions = vec![within.apps()];
        if let Some(app) = app {
            parameters.push((":name", app));
            conditions.push(format!("id = ({BY_NAME})"));
        }
        if let Some(tenant) = tenant {
            parameters.push((":tenant", tenant));
            conditions.push(OF_TENANT.to_owned());
        }
        self.db
            .prepare_cached(&format!("SELECT id FROM apps WHERE {}", conditions.join(" AND ")))?
            .query_map(&*parameters, |row| row.get(0).map(Some).map(part))?
            .collect()
    }

    /// Reads what comes behind a place, twice as much as the last time, and says how much it was.
    fn read_on(&self, part: &mut Part, behind: Option<&Cursor>) -> Result<usize> {
        part.chunk = (2 * part.chunk).clamp(1, CHUNK);
        let (time, id) = cursor::start(behind, self.filter.until);
        // First the other entries of the same time, then the older ones: each is a range of an index.
        self.read_range(part, AT_THAT_TIME, &[(":time", &time), (":before_id", &id)])?;
        self.read_range(part, OLDER, &[(":time", &time)])?;
        part.is_over = part.rows.len() < part.chunk;
        Ok(part.rows.len())
    }

    /// Reads entries of a range, as many as are wanting.
    fn read_range(&self, part: &mut Part, range: &str, of: &[(&str, &dyn ToSql)]) -> Result<()> {
        let Filter { level, source, since, .. } = self.filter;
        let wanting = part.chunk - part.rows.len();
        let level = level.map_or(0, |level| level as i64);
        let mut parameters = of.to_vec();
        parameters.extend::<[(&str, &dyn ToSql); 5]>([
            (":since", since),
            (":source", source),
            (":pattern", &self.pattern),
            (":level", &level),
            (":wanting", &wanting),
        ]);
        if let Some(app) = &part.app {
            parameters.push((":app", app));
        }
        let mut statement = self.db.prepare_cached(&range_sql(part.app.is_some(), range))?;
        let rows = statement.query_map(&*parameters, |row| {
            let place = Cursor::after(row.get::<_, String>(1)?, row.get(0)?);
            Ok(Seen { place, is_found: row.get(2)? })
        })?;
        for row in rows {
            part.rows.push_back(row?);
        }
        Ok(())
    }

    fn entry(&self, id: i64) -> Result<Option<Entry>> {
        self.db.prepare_cached(BY_ID)?.query_row(named_params! { ":id": id }, read).optional()
    }
}

pub(super) fn range_sql(of_one_app: bool, range: &str) -> String {
    let reach = if of_one_app { "log.app_id = :app AND" } else { "" };
    format!(
        "SELECT log.id, {TIME}, (:source IS NULL OR coalesce(log.source = :source, FALSE)) \
         AND (:pattern IS NULL OR log.message LIKE :pattern ESCAPE '\\') \
         AND CASE lower(log.level) WHEN 'trace' THEN 0 WHEN 'debug' THEN 1 WHEN 'info' THEN 2 \
         WHEN 'warn' THEN 3 WHEN 'warning' THEN 3 ELSE 4 END >= :level \
         FROM server_logs AS log WHERE {reach} {TIME} >= coalesce(:since, '') AND {TIME} {range} \
         LIMIT :wanting"
    )
}

fn read(row: &Row<'_>) -> Result<Entry> {
    let meta: Option<String> = row.get(7)?;
    Ok(Entry {
        id: row.get(0)?,
        ts: row.get(1)?,
        level: row.get(2)?,
        source: row.get(3)?,
        app_id: row.get(4)?,
        app: row.get(5)?,
        message: row.get(6)?,
        meta: meta.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
    })
}

/// The pattern of texts that have this one in them.
fn containing(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}
