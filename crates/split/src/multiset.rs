//! How often each content is there, for rows that have no key: those of a table without one, and those
//! whose key is NULL.
//!
//! Equal rows count within one source, and across sources the larger count holds. The counts live in
//! a temporary table, so that memory stays flat whatever the number of rows.

use rusqlite::{Connection, Result, Statement};

use crate::older::Table;
use crate::record::{self, Rows};
use crate::rows::Print;

/// The contents of one table of an app.db that have no key, with their numbers.
#[derive(Debug)]
pub(crate) struct Multiset<'c> {
    see: Statement<'c>,
    gain: Statement<'c>,
}

impl<'c> Multiset<'c> {
    /// Begins with what the table holds of them.
    pub(crate) fn of(db: &'c Connection, table: &Table) -> Result<Self> {
        db.execute_batch(
            "DROP TABLE IF EXISTS temp.contents; \
             CREATE TEMP TABLE contents (print BLOB PRIMARY KEY, have INTEGER NOT NULL, seen INTEGER NOT NULL) \
             WITHOUT ROWID",
        )?;
        let mut set = Self {
            see: db.prepare(
                "INSERT INTO temp.contents (print, have, seen) VALUES (?1, 0, 1) \
                 ON CONFLICT (print) DO UPDATE SET seen = seen + 1 RETURNING seen <= have",
            )?,
            gain: db.prepare(
                "INSERT INTO temp.contents (print, have, seen) VALUES (?1, 1, 0) \
                 ON CONFLICT (print) DO UPDATE SET have = have + 1",
            )?,
        };
        record::each_print(db, table, Rows::WithoutKey, |print| set.gain(print))?;
        Ok(set)
    }

    /// Begins a new source: its rows are counted from zero.
    pub(crate) fn begin_source(db: &Connection) -> Result<()> {
        db.execute("UPDATE temp.contents SET seen = 0 WHERE seen <> 0", []).map(drop)
    }

    /// Counts a row of the source; whether the table has it already.
    pub(crate) fn see(&mut self, print: &Print) -> Result<bool> {
        self.see.query_row([&print[..]], |row| row.get(0))
    }

    /// Counts a row that was inserted.
    pub(crate) fn gain(&mut self, print: &Print) -> Result<()> {
        self.gain.execute([&print[..]]).map(drop)
    }
}
