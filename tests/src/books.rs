//! The books of a take-over: what a data directory held before it, and whether all of that is accounted for at any
//! moment after it began.
//!
//! They are kept by reading files only, so that they hold for a directory in whatever state a kill or a broken disk
//! left it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use crate::files::tree_digest;
use crate::fingerprint::{CHANGED, control_path, control_rows, not_preserved};
use crate::legacy::{Source, SourceRow, Table, accounting, app_rows, sources};
use crate::readonly::{self, TableRows};

/// `application_id` of an app database that was taken over.
pub const APP_ID: i64 = 0x5348_6170;
/// `application_id` of a control database that was taken over.
pub const CONTROL_ID: i64 = 0x5348_6370;

/// What a data directory held before a take-over.
#[derive(Debug, Clone)]
pub struct Books {
    apps: BTreeMap<String, Account>,
    control: BTreeMap<String, TableRows>,
    /// Digests of what no take-over may touch: everything but the control database and each app's `app.db`.
    untouched: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Account {
    rows: Vec<SourceRow>,
    has_dir: bool,
    marked: BTreeSet<Table>,
}

/// How many source rows of an app are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Rows in the older sources, without those of an older `app.db`.
    pub found: u64,
    /// Rows in its `app.db` that were not there before.
    pub gained: u64,
    /// Rows put aside whole.
    pub held: u64,
    /// Rows that an app which lived on does not have.
    pub left_over: u64,
}

impl Books {
    /// Reads a directory that was not taken over yet.
    pub fn open(dir: &Path) -> Self {
        let apps = sources(dir)
            .apps
            .into_iter()
            .map(|(name, rows)| {
                let home = dir.join("apps").join(&name);
                let marked = markers(&home.join("app.db"));
                (name, Account { rows, has_dir: home.is_dir(), marked })
            })
            .collect();
        Self { apps, control: control_rows(&control_path(dir)), untouched: untouched(dir) }
    }

    /// The registered apps.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.apps.keys().map(String::as_str)
    }

    /// An app has a row in any source.
    pub fn has_rows(&self, app: &str) -> bool {
        !self.apps[app].rows.is_empty()
    }

    /// What is wrong once a take-over said that it is finished; empty where every row is accounted for.
    pub fn finished(&self, dir: &Path) -> Vec<String> {
        let mut wrong = self.in_between(dir);
        for (name, account) in self.apps.iter().filter(|(_, account)| account.has_dir) {
            let path = app_db(dir, name);
            if !path.is_file() || number(&readonly::open(&path), "application_id") != APP_ID {
                wrong.push(format!("{name} was not taken over, with {} rows", account.rows.len()));
            }
        }
        let open = registry(dir).into_iter().filter(|(_, state)| state.as_deref() != Some("done"));
        wrong.extend(
            open.filter(|(name, _)| self.apps.get(name).is_none_or(|account| account.has_dir))
                .map(|(name, state)| format!("{name} is {state:?} in the registry")),
        );
        wrong
    }

    /// What is wrong at any moment after a take-over began, finished or not: something is lost, half done, or claimed
    /// to be done and is not.
    pub fn in_between(&self, dir: &Path) -> Vec<String> {
        let control = control_path(dir);
        let mut wrong = unsound(&control);
        if !wrong.is_empty() {
            return wrong;
        }
        wrong.extend(not_preserved(&self.control, &control_rows(&control), CHANGED));
        let now = untouched(dir);
        let changed = self.untouched.iter().filter(|(path, digest)| now.get(*path) != Some(*digest));
        wrong.extend(changed.map(|(path, _)| format!("{path} was changed or removed")));
        let states = registry(dir);
        for (name, account) in &self.apps {
            let found = account.check(&app_db(dir, name));
            let done = states.get(name).is_some_and(|state| state.as_deref() == Some("done"));
            if done && !app_db(dir, name).is_file() {
                wrong.push(format!("{name} is done in the registry and has no app.db"));
            }
            wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
        }
        wrong
    }

    /// How many rows of an app are where, once it was taken over.
    pub fn count(&self, dir: &Path, app: &str, table: Table) -> Count {
        let account = &self.apps[app];
        let of = |rows: &[SourceRow], source: &dyn Fn(Source) -> bool| {
            let rows = rows.iter().filter(|row| row.table == table && source(row.source));
            rows.map(|row| row.content.clone()).fold(BTreeMap::<_, u64>::new(), |mut all, content| {
                *all.entry(content).or_default() += 1;
                all
            })
        };
        let path = app_db(dir, app);
        let now = of(&app_rows(&path), &|_| true);
        let before = of(&account.rows, &|source| source == Source::App);
        let all = &account.rows;
        let held = held(&path);
        let is_held = |row: &&SourceRow| held.contains(&(row.source, row.table, row.rowid));
        let older = all.iter().filter(|row| row.table == table && row.source != Source::App);
        let left_over = [Source::Vods, Source::Control].map(|source| {
            of(all, &|other| other == source)
                .iter()
                .map(|(content, rows)| match now.get(content) {
                    Some(_) if has_key(table, content) => 0,
                    there => rows.saturating_sub(there.copied().unwrap_or(0)),
                })
                .sum::<u64>()
        });
        Count {
            found: older.clone().count() as u64,
            gained: now.values().sum::<u64>() - before.values().sum::<u64>(),
            held: older.filter(is_held).count() as u64,
            left_over: if account.marked.contains(&table) { left_over.iter().sum() } else { 0 },
        }
    }
}

impl Account {
    fn check(&self, path: &Path) -> Vec<String> {
        let had = self.rows.iter().any(|row| row.source == Source::App);
        if !path.exists() {
            return if had { vec!["its app.db is gone".to_owned()] } else { Vec::new() };
        }
        let wrong = unsound(path);
        if !wrong.is_empty() {
            return wrong;
        }
        let ours = number(&readonly::open(path), "application_id") == APP_ID;
        // Not taken over yet, or a table whose marker says that the app has lived on: what it had, it has.
        let counts =
            |row: &&SourceRow| row.source == Source::App || ours && !self.marked.contains(&row.table);
        let held = held(path);
        let mut said = BTreeSet::new();
        // A table with a key has room for one of two equal rows, and one is all that they say.
        let is_more = |row: &&SourceRow| {
            !has_key(row.table, &row.content)
                || held.contains(&(row.source, row.table, row.rowid))
                || said.insert((row.source, row.table, row.content.clone()))
        };
        let rows: Vec<_> = self.rows.iter().filter(counts).filter(is_more).cloned().collect();
        let mut wrong = accounting(&rows, &app_rows(path), &held);
        if ours && markers(path).len() != Table::ALL.len() {
            wrong.push("it is ours and lacks a marker".to_owned());
        }
        if !ours && markers(path) != self.marked {
            wrong.push("it is not ours and carries another marker".to_owned());
        }
        wrong
    }
}

/// The `app.db` of an app.
pub fn app_db(dir: &Path, app: &str) -> PathBuf {
    dir.join("apps").join(app).join("app.db")
}

/// Damage in a database, in SQLite's words; values that break a constraint are none.
pub fn unsound(path: &Path) -> Vec<String> {
    let db = readonly::open(path);
    let found: Result<Vec<String>, _> =
        db.prepare("PRAGMA integrity_check").and_then(|mut s| s.query_map([], |row| row.get(0))?.collect());
    match found {
        Ok(lines) => {
            let values = ["CHECK constraint failed", "NULL value in", "TEXT value in", "NUMERIC value in"];
            let damage = lines
                .iter()
                .filter(|line| *line != "ok" && !values.iter().any(|beginning| line.starts_with(beginning)));
            damage.map(|line| format!("{}: {line}", path.display())).collect()
        }
        Err(error) => vec![format!("{}: {error}", path.display())],
    }
}

/// The rows that were put aside whole in an `app.db`.
pub fn held(path: &Path) -> BTreeSet<(Source, Table, i64)> {
    let db = readonly::open(path);
    if !readonly::has_table(&db, "_streamhub_unimported") {
        return BTreeSet::new();
    }
    db.prepare("SELECT source, source_table, source_rowid FROM _streamhub_unimported")
        .and_then(|mut s| {
            s.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).and_then(Iterator::collect)
        })
        .map(|rows: Vec<(String, String, i64)>| {
            rows.into_iter()
                .map(|(source, table, rowid)| {
                    let source = match source.as_str() {
                        "control" => Source::Control,
                        "vods.db" => Source::Vods,
                        _ => Source::App,
                    };
                    let table = Table::ALL.into_iter().find(|known| known.name() == table);
                    (source, table.expect("rows of the apps' tables are held"), rowid)
                })
                .collect()
        })
        .expect("rows that are held")
}

/// The registered apps and how far the take-over of each is; none before it began.
pub fn registry(dir: &Path) -> BTreeMap<String, Option<String>> {
    let db = readonly::open(&control_path(dir));
    if number(&db, "application_id") != CONTROL_ID {
        return BTreeMap::new();
    }
    db.prepare("SELECT name, split_state FROM apps")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).and_then(Iterator::collect))
        .expect("a registry to read")
}

/// A number that the file's header holds.
pub fn number(db: &Connection, pragma: &str) -> i64 {
    db.pragma_query_value(None, pragma, |row| row.get(0)).expect("a number of the header")
}

/// A value of a database's `_streamhub_meta`.
pub fn meta(path: &Path, key: &str) -> Option<String> {
    let db = readonly::open(path);
    if !readonly::has_table(&db, "_streamhub_meta") {
        return None;
    }
    db.query_row("SELECT value FROM _streamhub_meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
        .expect("a value of _streamhub_meta")
}

fn markers(path: &Path) -> BTreeSet<Table> {
    if !path.is_file() {
        return BTreeSet::new();
    }
    let marked = |key: &str| meta(path, key).as_deref() == Some("1");
    let mut tables = BTreeSet::new();
    if marked("vods_import_done") {
        tables.extend([Table::Streams, Table::Vods]);
    }
    if marked("ingress_import_done") {
        tables.insert(Table::Ingress);
    }
    tables
}

fn has_key(table: Table, content: &[String]) -> bool {
    table != Table::Vods && content[0] != "NULL"
}

fn untouched(dir: &Path) -> BTreeMap<String, String> {
    let control = control_path(dir).strip_prefix(dir).expect("it lies in the directory").to_owned();
    let control = control.to_str().expect("UTF-8").to_owned();
    let mut digest = tree_digest(dir);
    digest.retain(|path, _| {
        let file = path.rsplit('/').next().unwrap_or_default();
        !path.starts_with(&control)
            && !file.starts_with("app.db")
            && !["streamhub.lock", "backups"].contains(&path.split('/').next().unwrap_or_default())
            && !path.starts_with("apps/.")
    });
    digest
}
