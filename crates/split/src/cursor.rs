//! One ordered pass over the rows that the control database holds for all apps.
//!
//! The rows come sorted by app, so that every app's are read exactly once, whatever the number of
//! apps and without any index on the older table.

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::{Connection, Error, Result, Rows, ffi};
use streamhub::HubError;
use streamhub_engine::Database;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::reshape::{Column, columns, has_table, rowid_name};

use crate::batch::Batch;
use crate::import::{FIRST_CONTENT, select_list};
use crate::older::{TABLES, Table};
use crate::record::content_columns;
use crate::rows::Printer;

/// Whose rows are read.
#[derive(Clone, Debug)]
pub(crate) enum Select {
    /// Those of apps that are not taken over yet, and of this one.
    Open(Option<String>),
    /// Those of one app.
    One(String),
    /// Those of every registered app.
    All,
}

/// One cursor for each of [`TABLES`]; none where there is no such table.
pub(crate) type Cursors<'s> = [Option<Cursor<'s>>; TABLES.len()];

/// What a source's table has, as far as taking its rows needs it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The columns that make rows equal.
    pub(crate) content: Vec<String>,
    /// The same with their declared types, in the table's order.
    pub(crate) columns: Vec<Column>,
}

impl Layout {
    pub(crate) fn of(db: &Connection, table: &Table) -> Result<Self> {
        let content = content_columns(db, table)?;
        let is_content = |column: &Column| content.iter().any(|name| column.name.eq_ignore_ascii_case(name));
        let columns = columns(db, table.name)?.into_iter().filter(is_content).collect();
        Ok(Self { content, columns })
    }
}

/// The layout of each of [`TABLES`]; none where there is no such table.
pub(crate) type Layouts = [Option<Layout>; TABLES.len()];

/// Opens the cursors over a control database and hands them to `work`.
pub(crate) fn with_cursors<T>(
    db: &Database,
    select: &Select,
    work: impl FnOnce(&mut Cursors<'_>, &Layouts) -> std::result::Result<T, HubError>,
) -> std::result::Result<T, HubError> {
    let path = db.path();
    let mut layouts: Layouts = [None, None, None];
    let mut statements = Vec::new();
    for (table, layout) in TABLES.iter().zip(&mut layouts) {
        statements.push(match query(db, table, select).of(path)? {
            Some(query) => {
                let found = Layout::of(db, table).of(path)?;
                let printer = Printer::new(table.columns, &found.content);
                *layout = Some(found);
                Some((db.prepare(&query.sql).of(path)?, query.owner_at, printer))
            }
            None => None,
        });
    }
    let mut cursors: Cursors<'_> = [None, None, None];
    for (cursor, statement) in cursors.iter_mut().zip(&mut statements) {
        if let Some((statement, owner_at, printer)) = statement {
            let rows = statement.query([]).of(path)?;
            *cursor =
                Some(Cursor { rows, owner_at: *owner_at, printer: printer.clone(), state: State::Fresh });
        }
    }
    work(&mut cursors, &layouts)
}

/// How to read a table app by app.
struct Query {
    sql: String,
    owner_at: usize,
}

fn query(db: &Connection, table: &Table, select: &Select) -> Result<Option<Query>> {
    if !has_table(db, table.name)? {
        return Ok(None);
    }
    let content = content_columns(db, table)?;
    let owner = if table.numbered { "a.id = t.app_id" } else { "a.name = t.app" };
    let whose = match select {
        Select::All => String::new(),
        Select::Open(None) => "WHERE a.split_state IN ('pending', 'missing')".to_owned(),
        Select::Open(Some(name)) => {
            format!("WHERE a.split_state IN ('pending', 'missing') OR a.name = {}", literal(name))
        }
        Select::One(name) => format!("WHERE a.name = {}", literal(name)),
    };
    let rowid = rowid_name(db, table.name)?;
    let count = format!("SELECT count(*) FROM apps AS a {whose}");
    let mut order = Vec::new();
    // The rows of a single app come in its order as they lie there, and need no sorting.
    if db.query_row(&count, [], |row| row.get::<_, u64>(0))? > 1 {
        order.push("a.id".to_owned());
    }
    order.extend(rowid.map(|rowid| format!("t.{rowid}")));
    let order = if order.is_empty() { String::new() } else { format!("ORDER BY {}", order.join(", ")) };
    let sql = format!(
        "SELECT {}, a.id FROM {} AS t NOT INDEXED CROSS JOIN apps AS a ON {owner} {whose} {order}",
        select_list(table, &content, rowid, "t"),
        table.name
    );
    Ok(Some(Query { sql, owner_at: FIRST_CONTENT + content.len() }))
}

/// An app's name has no character that could end the text early, but it is doubled all the same.
fn literal(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}

/// A position in the ordered rows.
pub(crate) struct Cursor<'s> {
    rows: Rows<'s>,
    owner_at: usize,
    printer: Printer,
    state: State,
}

enum State {
    /// Nothing was read yet.
    Fresh,
    /// The current row belongs to somebody who did not take it yet.
    Waiting,
    Ended,
    /// A read failed, with this code and these words. SQLite would begin again or report the end after
    /// that, and every later app would look as if it had no rows.
    Failed(i32, String),
}

impl Cursor<'_> {
    /// Goes to the app's first row, past those of apps before it; whether there is one.
    /// Apps have to be asked for in ascending order.
    pub(crate) fn seek(&mut self, app_id: i64) -> Result<bool> {
        if matches!(self.state, State::Fresh | State::Failed(..)) {
            self.advance()?;
        }
        while let Some(owner) = self.owner()? {
            if owner >= app_id {
                return Ok(owner == app_id);
            }
            self.advance()?;
        }
        Ok(false)
    }

    /// The app's next rows; none after its last.
    pub(crate) fn batch(&mut self, app_id: i64) -> Result<Option<Batch>> {
        let mut batch = Batch::new(self.owner_at);
        while !batch.is_full() && self.seek(app_id)? {
            batch.push(self.rows.get().expect("seek stands on a row"), &mut self.printer)?;
            self.advance()?;
        }
        Ok((batch.len() > 0).then_some(batch))
    }

    fn advance(&mut self) -> Result<()> {
        if let State::Failed(code, words) = &self.state {
            let words = format!("an earlier read of these rows failed: {words}");
            return Err(Error::SqliteFailure(ffi::Error::new(*code), Some(words)));
        }
        let advanced = self.rows.advance();
        self.state = match &advanced {
            Ok(()) if self.rows.get().is_some() => State::Waiting,
            Ok(()) => State::Ended,
            Err(error) => {
                let code = error.sqlite_error().map_or(ffi::SQLITE_ERROR, |error| error.extended_code);
                State::Failed(code, error.to_string())
            }
        };
        advanced
    }

    fn owner(&self) -> Result<Option<i64>> {
        match (&self.state, self.rows.get()) {
            (State::Waiting, Some(row)) => row.get(self.owner_at).map(Some),
            _ => Ok(None),
        }
    }
}

/// How many rows of a table belong to no registered app.
pub(crate) fn orphans(db: &Connection, table: &Table) -> Result<u64> {
    if !has_table(db, table.name)? {
        return Ok(0);
    }
    let owner = if table.numbered { "id = t.app_id" } else { "name = t.app" };
    let sql = format!(
        "SELECT count(*) FROM {} AS t NOT INDEXED WHERE NOT EXISTS (SELECT 1 FROM apps WHERE {owner})",
        table.name
    );
    db.query_row(&sql, [], |row| row.get(0))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    const APPS: &str = "CREATE TABLE apps (id INTEGER PRIMARY KEY, name TEXT UNIQUE, split_state TEXT);
        INSERT INTO apps VALUES (1, 'one', 'pending'), (2, 'two', 'pending'), (3, 'three', 'done');
        CREATE TABLE streams (id INTEGER PRIMARY KEY, app_id INTEGER, stream_id TEXT, type TEXT, status TEXT, started_at TEXT);";

    fn registry(dir: &tempfile::TempDir, rows: &str) -> Database {
        let path = std::fs::canonicalize(dir.path()).unwrap().join("x.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(&format!("{APPS}; {rows}")).unwrap();
        drop(db);
        Database::inspect(&path).unwrap()
    }

    #[test]
    fn every_row_is_given_to_its_app_once() {
        let dir = tempfile::tempdir().unwrap();
        let rows =
            "INSERT INTO streams (app_id, stream_id) VALUES (2, 'b'), (1, 'a'), (9, 'x'), (3, 'c'), (1, 'd')";
        let db = registry(&dir, rows);
        let given = |select: &Select| {
            let mut given = Vec::new();
            with_cursors(&db, select, |cursors, _| {
                let cursor = cursors[0].as_mut().unwrap();
                for app in [1, 2, 3, 9] {
                    while let Some(batch) = cursor.batch(app).unwrap() {
                        let each: Result<()> = batch.each(1, |row, _| {
                            given.push((app, row[FIRST_CONTENT].as_str()?.to_owned()));
                            Ok(())
                        });
                        each.unwrap();
                    }
                }
                Ok(())
            })
            .unwrap();
            given
        };
        let row = |app: i64, stream: &str| (app, stream.to_owned());
        assert_eq!(given(&Select::Open(None)), [row(1, "a"), row(1, "d"), row(2, "b")]);
        assert_eq!(given(&Select::All), [row(1, "a"), row(1, "d"), row(2, "b"), row(3, "c")]);
        assert_eq!(given(&Select::Open(Some("three".to_owned()))).len(), 4);
        assert_eq!(given(&Select::One("one".to_owned())), [row(1, "a"), row(1, "d")]);
        let plan: Vec<String> = db
            .prepare(&format!(
                "EXPLAIN QUERY PLAN {}",
                query(&db, &TABLES[0], &Select::All).unwrap().unwrap().sql
            ))
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .collect::<Result<_>>()
            .unwrap();
        // One scan of the older table whatever the number of apps, each of which is found by its key.
        assert_eq!(plan[..2], ["SCAN t", "SEARCH a USING INTEGER PRIMARY KEY (rowid=?)"], "{plan:?}");
    }

    #[test]
    fn a_failed_read_is_not_the_end_of_the_rows() {
        let dir = tempfile::tempdir().unwrap();
        let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
            INSERT INTO streams (app_id, stream_id) SELECT 1 + i % 2, i FROM n";
        let path = registry(&dir, rows).path().to_owned();
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let len = file.metadata().unwrap().len();
        file.write_all_at(&[0xEE; 4096], len - 4096).unwrap();
        drop(file);
        let db = Database::inspect(&path).unwrap();
        with_cursors(&db, &Select::All, |cursors, _| {
            let cursor = cursors[0].as_mut().unwrap();
            for app in [1, 2, 3] {
                assert!(cursor.seek(app).is_err(), "app {app} looks as if it had no rows");
            }
            Ok(())
        })
        .unwrap();
    }
}
