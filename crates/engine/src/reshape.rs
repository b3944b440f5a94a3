//! Giving an older database the tables of a newer baseline, without losing a row.
//!
//! Each table that the baseline knows is rebuilt: created under a passing name, filled, proven equal,
//! and renamed over the old one. Columns that the baseline does not know are kept at the table's end.
//! Tables that the baseline does not know stay as they are, to the byte of their definition. Indices
//! of rebuilt tables are the baseline's, and those of the older ones that keep values unique; any other
//! holds nothing that its table does not.

use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::error::{Error, Fault, Result, SqliteContext, Unfit};
use crate::names::{quoted, quoted_list};

/// A row of an older table that a constraint of the new one refuses.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The table.
    pub table: &'a str,
    /// Its rowid.
    pub rowid: i64,
    /// SQLite's words.
    pub reason: String,
    /// Names and values of the row, in the older table's order.
    pub row: Vec<(&'a str, ValueRef<'a>)>,
}

/// Decides about a refused row: `Ok` means that it is safe elsewhere, an error ends the migration.
pub type OnRefused<'a> = dyn FnMut(&Transaction<'_>, &Refused<'_>) -> Result<()> + 'a;

/// For databases whose every row has to fit.
pub fn refuse_none(path: &Path) -> impl FnMut(&Transaction<'_>, &Refused<'_>) -> Result<()> {
    let path = path.to_owned();
    move |_, refused| {
        let detail =
            format!("row {} of table {} does not fit: {}", refused.rowid, refused.table, refused.reason);
        Err(Error::unfit(&path, Unfit::Mismatch { detail }))
    }
}

/// A table's column, as far as rebuilding needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub decl: String,
}

/// The columns of a table, in order; empty where there is no such table.
pub fn columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    db.prepare("SELECT name, type FROM pragma_table_xinfo(?1) WHERE hidden <> 1")?
        .query_map([table], |row| Ok(Column { name: row.get(0)?, decl: row.get(1)? }))?
        .collect()
}

/// Whether the database has a table of this name.
pub fn has_table(db: &Connection, table: &str) -> rusqlite::Result<bool> {
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE)",
        [table],
        |row| row.get(0),
    )
}

/// The name by which a table's rowid can be used; none where it has none, or where columns hide it.
pub fn rowid_name(db: &Connection, table: &str) -> rusqlite::Result<Option<&'static str>> {
    let without_rowid: Option<bool> = db
        .query_row("SELECT wr FROM pragma_table_list(?1) WHERE schema = 'main'", [table], |row| row.get(0))
        .optional()?;
    if without_rowid != Some(false) {
        return Ok(None);
    }
    let columns = columns(db, table)?;
    Ok(["rowid", "_rowid_", "oid"].into_iter().find(|name| !has_column(&columns, name)))
}

/// Adds the columns that `wanted` has and the table has not; returns how many.
pub fn add_missing_columns(db: &Connection, table: &str, wanted: &[Column]) -> rusqlite::Result<usize> {
    let present = columns(db, table)?;
    let missing = wanted.iter().filter(|column| !has_column(&present, &column.name));
    let mut added = 0;
    for column in missing {
        db.execute_batch(&format!(
            "ALTER TABLE {} ADD COLUMN {} {}",
            quoted(table),
            quoted(&column.name),
            column.decl
        ))?;
        added += 1;
    }
    Ok(added)
}

fn has_column(columns: &[Column], name: &str) -> bool {
    columns.iter().any(|column| column.name.eq_ignore_ascii_case(name))
}

/// Raises a table's AUTOINCREMENT counter, so that ids which were given out once are not given again.
pub fn raise_sequence(db: &Connection, table: &str, at_least: i64) -> rusqlite::Result<()> {
    let updated = db
        .execute("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", params![table, at_least])?;
    if updated == 0 {
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", params![table, at_least])?;
    }
    Ok(())
}

/// A table's AUTOINCREMENT counter, where it has one.
pub fn sequence(db: &Connection, table: &str) -> rusqlite::Result<Option<i64>> {
    if !has_table(db, "sqlite_sequence")? {
        return Ok(None);
    }
    db.query_row("SELECT max(seq) FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

/// Rebuilds the tables that `baseline` creates, and creates those that are missing.
pub(crate) fn reshape(
    tx: &Transaction<'_>,
    path: &Path,
    baseline: &str,
    refused: &mut OnRefused<'_>,
) -> Result<()> {
    let objects = objects_of(baseline).of(path)?;
    // Refused rows may go into a table that the older database lacks, so missing tables come first.
    let (older, missing): (Vec<_>, Vec<_>) = objects
        .iter()
        .filter(|object| object.kind == "table")
        .map(|object| Ok((object, has_table(tx, &object.name)?)))
        .collect::<rusqlite::Result<Vec<_>>>()
        .of(path)?
        .into_iter()
        .partition(|(_, exists)| *exists);
    for (object, _) in missing {
        tx.execute_batch(&object.sql).of(path)?;
    }
    for (object, _) in older {
        rebuild(tx, path, object, refused)?;
    }
    for index in objects.iter().filter(|object| object.kind == "index") {
        tx.execute_batch(&index.sql).of(path)?;
    }
    Ok(())
}

struct Object {
    kind: String,
    name: String,
    sql: String,
}

fn objects_of(baseline: &str) -> rusqlite::Result<Vec<Object>> {
    #[allow(clippy::disallowed_methods, reason = "a database in memory has no file to guard")]
    let db = Connection::open_in_memory()?;
    db.execute_batch(baseline)?;
    db.prepare(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid",
    )?
        .query_map([], |row| Ok(Object { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? }))?
        .collect()
}

fn rebuild(tx: &Transaction<'_>, path: &Path, wanted: &Object, refused: &mut OnRefused<'_>) -> Result<()> {
    let table = wanted.name.as_str();
    let passing = format!("_streamhub_rebuilt_{table}");
    let beginning = format!("CREATE TABLE {table} ");
    assert!(wanted.sql.starts_with(&beginning), "a baseline writes `CREATE TABLE name (` without quotes");
    let sql = wanted.sql.replacen(&beginning, &format!("CREATE TABLE {passing} "), 1);
    tx.execute_batch(&sql).of(path)?;
    let old = columns(tx, table).of(path)?;
    add_missing_columns(tx, &passing, &old).of(path)?;
    let counter = sequence(tx, table).of(path)?;
    let unique = unique_indices(tx, table).of(path)?;
    let copied = Copy::new(tx, table, &passing, &old).of(path)?;
    let held = copied.run(tx, path, refused)?;
    copied.prove(tx, path, held)?;
    tx.execute_batch(&format!(
        "DROP TABLE {}; ALTER TABLE {} RENAME TO {}",
        quoted(table),
        quoted(&passing),
        quoted(table)
    ))
    .of(path)?;
    for index in unique {
        tx.execute_batch(&index).of(path)?;
    }
    if !wanted.sql.contains("AUTOINCREMENT") {
        return Ok(());
    }
    match counter {
        Some(counter) => raise_sequence(tx, table, counter).of(path),
        // Filling a table from an empty one counts from 0, where nobody had counted yet.
        None => {
            tx.execute("DELETE FROM sqlite_sequence WHERE name = ?1 AND seq = 0", [table]).map(drop).of(path)
        }
    }
}

/// The definitions of indices that somebody made to keep a table's values apart; another table may
/// refer to them by a foreign key.
fn unique_indices(tx: &Transaction<'_>, table: &str) -> rusqlite::Result<Vec<String>> {
    tx.prepare(
        "SELECT m.sql FROM sqlite_master AS m JOIN pragma_index_list(?1) AS i ON i.name = m.name \
         WHERE m.type = 'index' AND i.\"unique\" AND m.sql IS NOT NULL",
    )?
    .query_map([table], |row| row.get(0))?
    .collect()
}

/// Filling a rebuilt table from the old one.
struct Copy<'a> {
    from: &'a str,
    to: &'a str,
    columns: Vec<&'a str>,
    /// The name of the old table's rowids, which are kept and compared by; none where it has none.
    rowid: Option<&'static str>,
}

impl<'a> Copy<'a> {
    fn new(tx: &Transaction<'_>, from: &'a str, to: &'a str, old: &'a [Column]) -> rusqlite::Result<Self> {
        let columns = old.iter().map(|column| column.name.as_str()).collect();
        Ok(Self { from, to, columns, rowid: rowid_name(tx, from)? })
    }

    /// Copies in one statement, or row by row where one of them does not fit. Returns how many did not.
    fn run(&self, tx: &Transaction<'_>, path: &Path, refused: &mut OnRefused<'_>) -> Result<u64> {
        let rowid = self.rowid.map(|rowid| format!("{rowid}, ")).unwrap_or_default();
        let list = format!("{rowid}{}", quoted_list(&self.columns));
        let insert = format!("INSERT INTO {} ({list})", quoted(self.to));
        let select = format!("SELECT {list} FROM {} NOT INDEXED", quoted(self.from));
        match tx.execute(&format!("{insert} {select}"), []) {
            Err(error) if Fault::of_sqlite(&error) == Fault::Constraint => {}
            other => return other.map(|_| 0).of(path),
        }
        let first = usize::from(self.rowid.is_some());
        let width = first + self.columns.len();
        let slots = vec!["?"; width].join(", ");
        let mut insert = tx.prepare(&format!("{insert} VALUES ({slots})")).of(path)?;
        let mut select = tx.prepare(&select).of(path)?;
        let mut rows = select.query([]).of(path)?;
        let mut held = 0;
        while let Some(row) = rows.next().of(path)? {
            for at in 0..width {
                let value = ToSqlOutput::Borrowed(row.get_ref(at).of(path)?);
                insert.raw_bind_parameter(at + 1, value).of(path)?;
            }
            match insert.raw_execute() {
                Err(error) if Fault::of_sqlite(&error) == Fault::Constraint => {
                    let rowid = if first > 0 { row.get(0).of(path)? } else { 0 };
                    let row = (self.columns.iter().enumerate())
                        .map(|(at, name)| Ok((*name, row.get_ref(first + at)?)))
                        .collect::<rusqlite::Result<_>>()
                        .of(path)?;
                    refused(tx, &Refused { table: self.from, rowid, reason: error.to_string(), row })?;
                    held += 1;
                }
                other => drop(other.of(path)?),
            }
        }
        Ok(held)
    }

    /// Every row is there, with every value and type as it was; 5 and 5.0 are one value.
    fn prove(&self, tx: &Transaction<'_>, path: &Path, held: u64) -> Result<()> {
        let count = |table: &str| -> Result<u64> {
            let sql = format!("SELECT count(*) FROM {} NOT INDEXED", quoted(table));
            tx.query_row(&sql, [], |row| row.get(0)).of(path)
        };
        let (before, after) = (count(self.from)?, count(self.to)?);
        let (from, to) = (quoted(self.from), quoted(self.to));
        let sql = if let Some(rowid) = self.rowid {
            let kind = |name: &str| format!("replace(typeof({name}), 'integer', 'real')");
            let equal: Vec<_> = (self.columns.iter())
                .map(|name| (format!("o.{}", quoted(name)), format!("n.{}", quoted(name))))
                .map(|(o, n)| format!("{o} IS {n} AND {} = {}", kind(&o), kind(&n)))
                .collect();
            let equal = equal.join(" AND ");
            format!(
                "SELECT count(*) FROM {to} AS n NOT INDEXED JOIN {from} AS o ON o.{rowid} = n.{rowid} WHERE {equal}"
            )
        } else {
            // No two rows of a table without rowids are equal, so none is counted twice.
            let list = quoted_list(&self.columns);
            format!("SELECT count(*) FROM (SELECT {list} FROM {to} INTERSECT SELECT {list} FROM {from})")
        };
        let same: u64 = tx.query_row(&sql, [], |row| row.get(0)).of(path)?;
        if after + held == before && same == after {
            return Ok(());
        }
        let table = self.from;
        let detail = format!(
            "rebuilding table {table} would change it: {before} rows became {after}, {same} of them equal, {held} held"
        );
        Err(Error::unfit(path, Unfit::Mismatch { detail }))
    }
}
