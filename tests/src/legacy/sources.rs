//! What an older data directory holds for each app, row by row, and whether all of it is accounted for afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::Connection;

use super::rows::Table;
use crate::fingerprint::control_path;
use crate::readonly::{self, has_table};

/// Where a row was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The registry's own `streams`, `vods` or `ingress_auth`.
    Control,
    /// The app's `vods.db`.
    Vods,
    /// The app's `app.db`.
    App,
}

/// A row of an app's table, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRow {
    /// The database that holds it.
    pub source: Source,
    /// Its table.
    pub table: Table,
    /// Its row id, which is its `id` where the table has one.
    pub rowid: i64,
    /// `app_id` as an SQL literal; of `ingress_auth` the app's name.
    pub owner: String,
    /// The values of [`Table::columns`] as SQL literals: all that makes two rows the same.
    pub content: Vec<String>,
}

/// All rows of a data directory.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// By registered app. The rows of its `vods.db` and `app.db` are here whatever `app_id` they name.
    pub apps: BTreeMap<String, Vec<SourceRow>>,
    /// Rows in the registry that belong to no registered app.
    pub unowned: Vec<SourceRow>,
}

/// Reads every row of an older data directory that belongs to some app.
pub fn sources(data_dir: &Path) -> Sources {
    let control = readonly::open(&control_path(data_dir));
    let registry: Vec<(i64, String)> = control
        .prepare("SELECT id, name FROM apps")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).and_then(Iterator::collect))
        .expect("a registry to read");
    let mut found = Sources::default();
    let mut by_owner: BTreeMap<(bool, String), &str> = BTreeMap::new();
    for (id, name) in &registry {
        let home = data_dir.join("apps").join(name);
        let mut rows = Vec::new();
        for (file, source) in [("vods.db", Source::Vods), ("app.db", Source::App)] {
            let path = home.join(file);
            if path.is_file() {
                rows.extend(all(&readonly::open(&path), source));
            }
        }
        found.apps.insert(name.clone(), rows);
        by_owner.insert((false, id.to_string()), name);
        by_owner.insert((true, readonly::literal(name.as_str().into())), name);
    }
    for row in all(&control, Source::Control) {
        match by_owner.get(&(row.table == Table::Ingress, row.owner.clone())) {
            Some(name) => found.apps.get_mut(*name).expect("every app has an entry").push(row),
            None => found.unowned.push(row),
        }
    }
    found
}

/// Reads the rows of one `app.db`; a table that it lacks has none.
pub fn app_rows(app_db: &Path) -> Vec<SourceRow> {
    all(&readonly::open(app_db), Source::App)
}

/// What is wrong after an import, one line each; empty where every row is accounted for.
///
/// `before` is an app's rows as [`sources`] gave them, `after` its `app.db` as [`app_rows`] gives it, and `held` says
/// which source rows were put aside whole. Demanded is, for each content: nothing that `app.db` had is gone; of the rows
/// that are not held, as many are there as the source with most of them had (what two sources share is one fact, what
/// one source has twice is two); and there are no more than some source had.
pub fn accounting(
    before: &[SourceRow],
    after: &[SourceRow],
    held: &BTreeSet<(Source, Table, i64)>,
) -> Vec<String> {
    let mut had: BTreeMap<Content, BTreeMap<Source, Count>> = BTreeMap::new();
    for row in before {
        let count = had.entry((row.table, &row.content)).or_default().entry(row.source).or_default();
        count.all += 1;
        count.held += usize::from(held.contains(&(row.source, row.table, row.rowid)));
    }
    let mut has: BTreeMap<Content, usize> = BTreeMap::new();
    for row in after {
        *has.entry((row.table, &row.content)).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for (content, counts) in &had {
        let now = has.get(content).copied().unwrap_or(0);
        let least =
            counts.iter().map(|(source, c)| if *source == Source::App { c.all } else { c.all - c.held });
        let (least, most) = (least.max().unwrap_or(0), counts.values().map(|c| c.all).max().unwrap_or(0));
        if now < least || now > most {
            wrong.push(format!("{now} rows where {least} to {most} belong: {content:?} from {counts:?}"));
        }
    }
    wrong.extend(has.keys().filter(|c| !had.contains_key(*c)).map(|c| format!("from no source: {c:?}")));
    let known: BTreeSet<_> = before.iter().map(|row| (row.source, row.table, row.rowid)).collect();
    wrong.extend(held.difference(&known).map(|key| format!("held, but no such row: {key:?}")));
    wrong
}

type Content<'a> = (Table, &'a Vec<String>);

#[derive(Debug, Default)]
struct Count {
    all: usize,
    held: usize,
}

fn all(db: &Connection, source: Source) -> Vec<SourceRow> {
    let tables = Table::ALL.into_iter().filter(|table| has_table(db, table.name()));
    tables.flat_map(|table| rows(db, source, table)).collect()
}

fn rows(db: &Connection, source: Source, table: Table) -> Vec<SourceRow> {
    let owner = if table == Table::Ingress { "app" } else { "app_id" };
    let without: bool = db
        .query_row("SELECT wr FROM pragma_table_list(?1)", [table.name()], |row| row.get(0))
        .expect("a table of the database");
    let rowid = if without { "0" } else { "rowid" };
    let sql = format!("SELECT {rowid} AS \"the row id\", * FROM {}", table.name());
    let mut statement = db.prepare(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let have: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let place = |column: &str| have.iter().position(|name| name == column);
    let places: Vec<Option<usize>> = table.columns().iter().map(|column| place(column)).collect();
    let owner = place(owner);
    let value = |row: &rusqlite::Row<'_>, place: Option<usize>| match place {
        Some(place) => row.get_ref(place).map(readonly::literal),
        None => Ok("NULL".to_owned()),
    };
    statement
        .query_map([], |row| {
            Ok(SourceRow {
                source,
                table,
                rowid: row.get(0)?,
                owner: value(row, owner)?,
                content: places.iter().map(|p| value(row, *p)).collect::<Result<_, _>>()?,
            })
        })
        .and_then(Iterator::collect)
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}
