//! One database of the older system: what is in it, and how it comes to lie on disk.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, params_from_iter};

use super::ddl::{Kind, Shape};
use super::rows::{Cell, Row, Table, ingress, stream, vod};
use crate::readonly::with_suffix;

/// A row of any table, by column.
pub(crate) type OtherRow = (String, Vec<(String, Cell)>);

/// A database to be written.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) shape: Shape,
    pub(crate) rows: Vec<Row>,
    pub(crate) others: Vec<OtherRow>,
    sql: Vec<String>,
    wal: bool,
}

impl Database {
    pub(crate) fn new(kind: Kind) -> Self {
        let version = if kind == Kind::Vods { 2 } else { 8 };
        let shape = Shape {
            kind,
            version,
            lax: false,
            late_columns: true,
            run_time_tables: true,
            global_tables: false,
        };
        Self { shape, rows: Vec::new(), others: Vec::new(), sql: Vec::new(), wal: false }
    }

    /// Its `user_version`, which decides its tables: 0 to 8, of a `vods.db` 0 to 2. Without this the highest.
    #[must_use]
    pub fn at_version(mut self, version: u32) -> Self {
        let highest = if self.shape.kind == Kind::Vods { 2 } else { 8 };
        assert!(
            version <= highest,
            "the older system's {:?} database has no version {version}",
            self.shape.kind
        );
        self.shape.version = version;
        self
    }

    /// Makes the app's tables without CHECK, NOT NULL, UNIQUE and text keys. A CHECK needs no such table to be violated.
    #[must_use]
    pub fn lax(mut self) -> Self {
        self.shape.lax = true;
        self
    }

    /// Leaves the last commits in the `-wal`, as a killed program does.
    #[must_use]
    pub fn in_wal(mut self) -> Self {
        self.wal = true;
        self
    }

    /// Adds a row.
    #[must_use]
    pub fn row(mut self, row: Row) -> Self {
        self.rows.push(row);
        self
    }

    /// Adds rows.
    #[must_use]
    pub fn rows(mut self, rows: impl IntoIterator<Item = Row>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// Adds an ordinary stream.
    #[must_use]
    pub fn stream(self, stream_id: &str) -> Self {
        self.row(stream(stream_id))
    }

    /// Adds an ordinary recording.
    #[must_use]
    pub fn vod(self, name: &str) -> Self {
        self.row(vod(name))
    }

    /// Adds an ordinary ingress.
    #[must_use]
    pub fn ingress(self, ingress_id: &str) -> Self {
        self.row(ingress(ingress_id))
    }

    /// Sets a key of `_streamhub_meta`: `vods_import_done`, `ingress_import_done`.
    #[must_use]
    pub fn meta(self, key: &str, value: &str) -> Self {
        let cells =
            [("key", key.into()), ("value", value.into()), ("updated_at", "2026-01-02 03:04:05".into())];
        self.other("_streamhub_meta", cells)
    }

    /// Adds a row to any table.
    #[must_use]
    pub fn other<'a>(mut self, table: &str, cells: impl IntoIterator<Item = (&'a str, Cell)>) -> Self {
        self.others.push((table.to_owned(), cells.into_iter().map(|(c, v)| (c.to_owned(), v)).collect()));
        self
    }

    /// Runs SQL once the tables are there and before the rows are: for tables that nobody knows.
    #[must_use]
    pub fn sql(mut self, sql: &str) -> Self {
        self.sql.push(sql.to_owned());
        self
    }

    /// The value of a `_streamhub_meta` key.
    pub(crate) fn meta_value(&self, key: &str) -> Option<&Cell> {
        let metas = self.others.iter().filter(|(table, _)| table == "_streamhub_meta");
        metas.map(|(_, cells)| cells).find(|c| c[0].1 == Cell::from(key)).map(|cells| &cells[1].1)
    }

    /// Writes the file, in WAL mode and checkpointed, with a `-wal` beside it where asked for.
    ///
    /// It is built elsewhere and copied, so that only what the older system leaves behind comes to lie there. Nothing in
    /// it depends on the clock; a `-wal` holds a random salt.
    pub(crate) fn write(&self, path: &Path) {
        let workshop = tempfile::tempdir().expect("a directory to build a database in");
        let draft = workshop.path().join("draft.db");
        let mut db = connect(&draft);
        // Fixed ids first: an id that SQLite gives out could be one of them.
        let (mut rows, free): (Vec<&Row>, Vec<&Row>) = self.rows.iter().partition(|row| row.id.is_some());
        rows.extend(free);
        let (settled, late) = rows.split_at(if self.wal { rows.len() / 2 } else { rows.len() });
        self.fill(&mut db, settled);
        db.pragma_update(None, "journal_mode", "WAL").expect("WAL mode");
        db.close().map_err(|(_, e)| e).expect("closing a database");

        if !self.wal {
            fs::copy(&draft, path).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
            return;
        }
        let mut db = connect(&draft);
        db.pragma_update(None, "wal_autocheckpoint", 0).expect("no checkpoints");
        insert_rows(&mut db, late);
        // One more commit, so that there is a -wal even where no row is left for it.
        db.pragma_update(None, "user_version", self.shape.version).expect("the version");
        // While the connection is open: closing it would move everything into the main file.
        fs::copy(&draft, path)
            .and_then(|_| fs::copy(with_suffix(&draft, "-wal"), with_suffix(path, "-wal")))
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }

    fn fill(&self, db: &mut Connection, rows: &[&Row]) {
        db.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF").expect("a fast draft");
        let work = db.transaction().expect("a transaction");
        for statement in self.shape.statements().iter().chain(&self.sql) {
            work.execute_batch(statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
        }
        for (table, cells) in &self.others {
            let (columns, values): (Vec<&str>, Vec<&Cell>) =
                cells.iter().map(|(c, v)| (c.as_str(), v)).unzip();
            insert(&work, table, &columns, &values);
        }
        work.pragma_update(None, "user_version", self.shape.version).expect("the version");
        work.commit().expect("a commit");
        insert_rows(db, rows);
    }

    /// Drops what cannot be stored: rows of tables that this version lacks and, where the tables are not lax, rows that
    /// violate more than a CHECK; and takes the fixed id from every row whose id is taken. For generated databases.
    pub(crate) fn settle(&mut self) {
        let mut seen = Seen::default();
        self.rows.retain_mut(|row| seen.admit(&self.shape, row));
    }
}

/// The keys that a database's rows have taken already.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: Vec<(Table, i64)>,
    keys: Vec<(Table, Cell)>,
}

impl Seen {
    /// Says whether a row can be stored beside those before it; frees it of an id that is taken.
    pub(crate) fn admit(&mut self, shape: &Shape, row: &mut Row) -> bool {
        let table = row.table;
        let null = |column: &&str| row.cell(column) == Some(&Cell::Null);
        if !shape.has(table) || (!shape.lax && table.required().iter().any(null)) {
            return false;
        }
        if let Some(key) = table.unique().and_then(|column| row.cell(column)).filter(|k| **k != Cell::Null) {
            let taken = (table, key.clone());
            if !shape.lax && self.keys.contains(&taken) {
                return false;
            }
            self.keys.push(taken);
        }
        match row.id.map(|id| (table, id)) {
            Some(taken) if self.ids.contains(&taken) => row.id = None,
            Some(free) => self.ids.push(free),
            None => {}
        }
        true
    }
}

fn connect(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()));
    // Rows that violate a CHECK or point nowhere are what a take-over has to deal with.
    db.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").expect("no checks");
    db
}

fn insert_rows(db: &mut Connection, rows: &[&Row]) {
    let work = db.transaction().expect("a transaction");
    for row in rows {
        let (mut columns, mut values) = row.insertion();
        let id = row.id.filter(|_| row.table != Table::Ingress).map(Cell::Integer);
        if let Some(id) = &id {
            columns.push("id");
            values.push(id);
        }
        insert(&work, row.table.name(), &columns, &values);
    }
    work.commit().expect("a commit");
}

fn insert(db: &Connection, table: &str, columns: &[&str], values: &[&Cell]) {
    let marks = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({}) VALUES ({marks})", columns.join(", "));
    db.prepare_cached(&sql)
        .and_then(|mut statement| statement.execute(params_from_iter(values)))
        .unwrap_or_else(|e| panic!("{sql}: {e}; values {values:?}"));
}
