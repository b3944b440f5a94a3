//! Lists that are found by how many rows come before a part.
//!
//! A part and the number of all rows are of one moment where the caller's transaction is.

use rusqlite::{Connection, Result, Row, ToSql};

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many rows at the most.
    pub limit: u32,
    /// How many rows come before them.
    pub offset: u32,
}

/// A part of a list, and how long the whole is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// How many rows there are in all.
    pub total: u64,
}

/// A list of all rows; a page is read of it.
pub(crate) struct Query<'a> {
    pub(crate) columns: &'a str,
    /// What follows `FROM`, with the parameters.
    pub(crate) from: &'a str,
    pub(crate) order: &'a str,
}

impl Query<'_> {
    /// How many rows there are.
    pub(crate) fn count(&self, db: &Connection, parameters: &[(&str, &dyn ToSql)]) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", self.from);
        db.prepare_cached(&sql)?.query_row(parameters, |row| row.get(0))
    }

    /// A page of them, and how many there are.
    pub(crate) fn page<T>(
        &self,
        db: &Connection,
        page: Page,
        parameters: &[(&str, &dyn ToSql)],
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Part<T>> {
        let Self { columns, from, order } = self;
        let Page { limit, offset } = page;
        let sql = format!("SELECT {columns} FROM {from} ORDER BY {order} LIMIT {limit} OFFSET {offset}");
        let rows = db.prepare(&sql)?.query_map(parameters, read)?.collect::<Result<_>>()?;
        Ok(Part { rows, total: self.count(db, parameters)? })
    }
}
