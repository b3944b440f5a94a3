//! Databases read without a trace: no lock left over, no `-wal` or `-shm` made, no byte changed.
//!
//! A file that another process is writing is not for this module.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

/// A read-only connection that leaves the file's directory as it was.
#[derive(Debug)]
pub struct Quiet {
    connection: Connection,
    // After the connection: it must be closed before its copy is removed.
    _copy: Option<TempDir>,
}

impl Deref for Quiet {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Opens a database for reading.
///
/// Without commits in a `-wal` and without a journal to roll back the file itself is opened as immutable, which makes
/// SQLite touch nothing beside it. With them all is copied first, because reading a `-wal` needs a `-shm`.
pub fn open(path: &Path) -> Quiet {
    let beside = ["-wal", "-journal"].map(|suffix| (suffix, with_suffix(path, suffix)));
    let pending = beside.iter().filter(|(_, file)| fs::metadata(file).is_ok_and(|m| m.len() > 0));
    let pending: Vec<_> = pending.collect();
    if pending.is_empty() {
        let text = path.to_str().expect("a test's path is UTF-8");
        let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let uri = format!("file:{escaped}?immutable=1");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri, flags)
            .unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()));
        return Quiet { connection, _copy: None };
    }
    let copy = tempfile::tempdir().expect("a directory for a copy");
    let main = copy.path().join("copy.db");
    fs::copy(path, &main).expect("a copy to read");
    for (suffix, file) in pending {
        fs::copy(file, with_suffix(&main, suffix)).expect("a copy to read");
    }
    let connection =
        Connection::open(&main).unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()));
    Quiet { connection, _copy: Some(copy) }
}

/// The path with something appended to its last name: `app.db` and `-wal` make `app.db-wal`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The rows of one table, each value as an SQL literal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableRows {
    /// The columns, in the table's order.
    pub columns: Vec<String>,
    /// The rows, in no particular order.
    pub rows: Vec<Vec<String>>,
}

impl TableRows {
    /// The rows reduced to some columns and sorted; `None` where the table lacks one of them.
    pub fn project(&self, columns: &[String]) -> Option<Vec<Vec<&str>>> {
        let places: Vec<usize> =
            columns.iter().map(|c| self.columns.iter().position(|have| have == c)).collect::<Option<_>>()?;
        let mut rows: Vec<Vec<&str>> =
            self.rows.iter().map(|row| places.iter().map(|&i| row[i].as_str()).collect()).collect();
        rows.sort_unstable();
        Some(rows)
    }
}

/// Every row of every table of a database (virtual ones and `sqlite_sequence` included).
pub fn all_rows(path: &Path) -> BTreeMap<String, TableRows> {
    let db = open(path);
    table_names(&db).into_iter().map(|table| (table.clone(), table_rows(&db, &table))).collect()
}

/// Every row of one table.
pub fn table_rows(db: &Connection, table: &str) -> TableRows {
    let sql = format!("SELECT * FROM {}", identifier(table));
    let mut statement = db.prepare(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let count = columns.len();
    let rows = statement
        .query_map([], |row| (0..count).map(|i| row.get_ref(i).map(literal)).collect())
        .and_then(Iterator::collect)
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    TableRows { columns, rows }
}

/// The text that made each table, index, view and trigger, by name. Indices that SQLite makes itself have none.
pub fn schema(path: &Path) -> BTreeMap<String, String> {
    open(path)
        .prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        .expect("a schema to read")
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .expect("a schema to read")
}

/// `user_version` of a database.
pub fn user_version(path: &Path) -> i64 {
    open(path).query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version to read")
}

/// The names of a database's tables.
pub fn table_names(db: &Connection) -> Vec<String> {
    db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .and_then(|mut s| s.query_map([], |row| row.get(0)).and_then(Iterator::collect))
        .expect("a schema to read")
}

/// The database has a table of this name.
pub fn has_table(db: &Connection, table: &str) -> bool {
    table_names(db).iter().any(|name| name == table)
}

/// A name in double quotes, as SQL takes it whatever it holds.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as an SQL literal. SQLite's own `quote()` stops at a NUL inside a text; this does not, and text that is not
/// UTF-8 is told apart too.
pub fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => format!("'{}'", text.replace('\'', "''")),
            _ => format!("CAST(X'{}' AS TEXT)", crate::files::hex(bytes)),
        },
        ValueRef::Blob(bytes) => format!("X'{}'", crate::files::hex(bytes)),
    }
}
