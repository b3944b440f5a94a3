//! What a take-over did, written into app.db with the rows that it speaks for.
//!
//! A later start can prove from it that an import which was committed is whole, and a clean-up can
//! prove that the sources are still the ones that were imported.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use streamhub::report::Tally;
use streamhub_engine::error::SqliteContext;
use streamhub_engine::names::quoted_list;
use streamhub_engine::reshape::{Column, columns};
use streamhub_engine::{Database, Error, Result, Unfit, meta};

use crate::older::{TABLES, Table};
use crate::rows::{Digest, Print, Printer};

const KEY: &str = "split_record";

/// Fewer rows than this are read before a thread of their own had opened the file.
const WORTH_A_THREAD: u64 = 10_000;

/// The record of one app's take-over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What each source held.
    pub(crate) sources: Vec<SourceDigest>,
    /// What app.db's tables held when the take-over was committed.
    pub(crate) result: BTreeMap<String, Digest>,
    /// What became of the rows.
    pub(crate) tables: BTreeMap<String, Tally>,
}

/// The content of one table of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceDigest {
    pub(crate) source: String,
    pub(crate) table: String,
    pub(crate) digest: Digest,
}

impl Record {
    pub(crate) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        let text = serde_json::to_string(self).expect("a record has only text keys");
        meta::set(db, KEY, &text)
    }

    pub(crate) fn read(db: &Database) -> Result<Self> {
        let text = meta::get(db, KEY).of(db.path())?.unwrap_or_default();
        serde_json::from_str(&text).map_err(|error| {
            let detail = format!("its record of the take-over is unreadable: {error}");
            Error::Unfit { path: db.path().to_owned(), unfit: Unfit::Mismatch { detail } }
        })
    }

    /// Refuses a database whose tables are not what the record says.
    pub(crate) fn verify(&self, db: &Database) -> Result<()> {
        self.verify_in(db, db.path())
    }

    /// As [`Record::verify`], for a file at rest: its large tables are read at the same time.
    pub(crate) fn verify_at_rest(&self, db: &Database) -> Result<()> {
        let path = db.path();
        let mut here = Vec::new();
        let mut elsewhere = Vec::new();
        for table in &TABLES {
            let is_large = self.expected(table).rows >= WORTH_A_THREAD;
            match if is_large { db.beside()? } else { None } {
                Some(other) => elsewhere.push((other, table)),
                None => here.push(table),
            }
        }
        thread::scope(|scope| {
            let reads: Vec<_> = elsewhere
                .into_iter()
                .map(|(other, table)| scope.spawn(move || self.verify_table(&other, table, path)))
                .collect();
            here.into_iter().try_for_each(|table| self.verify_table(db, table, path))?;
            reads.into_iter().try_for_each(|read| read.join().expect("reading rows does not panic"))
        })
    }

    /// As [`Record::verify`], inside a transaction that is not committed yet.
    pub(crate) fn verify_in(&self, db: &Connection, path: &Path) -> Result<()> {
        TABLES.iter().try_for_each(|table| self.verify_table(db, table, path))
    }

    fn verify_table(&self, db: &Connection, table: &Table, path: &Path) -> Result<()> {
        let (found, expected) = (digest_of(db, table).of(path)?, self.expected(table));
        if found == expected {
            return Ok(());
        }
        let detail = format!(
            "table {} holds {} rows that are not the {} rows of the take-over",
            table.name, found.rows, expected.rows
        );
        Err(Error::Unfit { path: path.to_owned(), unfit: Unfit::Mismatch { detail } })
    }

    fn expected(&self, table: &Table) -> Digest {
        self.result.get(table.name).copied().unwrap_or_default()
    }
}

/// The content of an app.db's table.
pub(crate) fn digest_of(db: &Connection, table: &Table) -> rusqlite::Result<Digest> {
    let mut digest = Digest::default();
    each_print(db, table, Rows::All, |print| {
        digest.add(print);
        Ok(())
    })?;
    Ok(digest)
}

/// Which rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Every one.
    All,
    /// Those that no key tells apart.
    WithoutKey,
}

/// Gives the print of every such row of an app.db's table to `visit`.
pub(crate) fn each_print(
    db: &Connection,
    table: &Table,
    which: Rows,
    mut visit: impl FnMut(&Print) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let names = content_columns(db, table)?;
    if names.is_empty() {
        return Ok(());
    }
    let whose = match (which, table.key) {
        (Rows::WithoutKey, Some(key)) => format!("WHERE {key} IS NULL"),
        _ => "NOT INDEXED".to_owned(),
    };
    let mut select = db.prepare(&format!("SELECT {} FROM {} {whose}", quoted_list(&names), table.name))?;
    let mut found = select.query([])?;
    let mut printer = Printer::new(table.columns, &names);
    while let Some(row) = found.next()? {
        visit(&printer.print((0..names.len()).map(|at| row.get_ref_unwrap(at))))?;
    }
    Ok(())
}

/// The columns that make rows of a table equal: the known ones that it has, then any others by name.
/// Empty where there is no such table.
pub(crate) fn content_columns(db: &Connection, table: &Table) -> rusqlite::Result<Vec<String>> {
    let found = columns(db, table.name)?;
    let is = |name: &str, column: &Column| column.name.eq_ignore_ascii_case(name);
    let mut names: Vec<String> = (table.columns.iter())
        .filter(|name| found.iter().any(|column| is(name, column)))
        .map(|&name| name.to_owned())
        .collect();
    let numbers: &[&str] = if table.numbered { &["id", "app_id"] } else { &[] };
    let mut others: Vec<String> = (found.iter())
        .filter(|column| !table.columns.iter().chain(numbers).any(|name| is(name, column)))
        .map(|column| column.name.to_ascii_lowercase())
        .collect();
    others.sort();
    names.append(&mut others);
    Ok(names)
}
