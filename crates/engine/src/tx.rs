//! Transactions as the code that runs inside them sees them: one type that reads, one that writes.
//!
//! Neither can be nested, begun or ended from inside: that is up to whoever hands them out
//! ([`Live`](crate::live::Live), the [migrator](crate::migrate), an import). Statements are prepared once
//! per connection and kept.

use std::ops::Deref;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Result, Row};

/// One snapshot of a database, to read from.
#[derive(Debug)]
pub struct ReadTx<'c> {
    db: &'c Connection,
}

/// A transaction that reads its own writes.
#[derive(Debug)]
pub struct WriteTx<'c> {
    read: ReadTx<'c>,
    owes_follow_up: bool,
}

impl<'c> ReadTx<'c> {
    /// The caller has begun a transaction, or reads a single row.
    pub(crate) fn new(db: &'c Connection) -> Self {
        Self { db }
    }

    /// A prepared statement that reads; one that would write is refused.
    pub fn prepare(&self, sql: &str) -> Result<CachedStatement<'c>> {
        let statement = self.db.prepare_cached(sql)?;
        if statement.readonly() { Ok(statement) } else { Err(rusqlite::Error::InvalidQuery) }
    }

    /// The first row of a statement that reads; none is an error.
    pub fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare(sql)?.query_row(params, read)
    }

    /// The first row of a statement that reads, where there is one.
    pub fn query_optional<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.query_row(sql, params, read).optional()
    }

    /// All rows of a statement that reads.
    pub fn query_all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.prepare(sql)?.query_map(params, read)?.collect()
    }
}

impl<'c> WriteTx<'c> {
    /// For a transaction that the caller has begun on `db`, and ends.
    pub fn within(db: &'c Connection) -> Self {
        Self { read: ReadTx::new(db), owes_follow_up: false }
    }

    /// Says that somebody has to look after this when it is committed.
    pub fn owe_follow_up(&mut self) {
        self.owes_follow_up = true;
    }

    /// Whether somebody has to.
    pub fn owes_follow_up(&self) -> bool {
        self.owes_follow_up
    }

    /// Runs a statement and returns how many rows it changed.
    pub fn execute(&mut self, sql: &str, params: impl Params) -> Result<usize> {
        self.read.db.prepare_cached(sql)?.execute(params)
    }

    /// The first row that a statement returns, such as `INSERT … RETURNING`; none is an error.
    pub fn execute_returning<T>(
        &mut self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.read.db.prepare_cached(sql)?.query_row(params, read)
    }

    /// The connection, for code that was written for one. What would end the transaction is refused there too.
    pub fn connection(&self) -> &'c Connection {
        self.read.db
    }

    /// The rowid of the last row that this transaction inserted.
    pub fn last_insert_rowid(&self) -> i64 {
        self.read.db.last_insert_rowid()
    }
}

impl<'c> Deref for WriteTx<'c> {
    type Target = ReadTx<'c>;

    fn deref(&self) -> &ReadTx<'c> {
        &self.read
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a database in memory is enough to prepare statements on")]
mod tests {
    use super::*;

    #[test]
    fn a_reader_cannot_write() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (a)").unwrap();
        assert_eq!(WriteTx::within(&db).execute("INSERT INTO t VALUES (?1)", [7]).unwrap(), 1);
        let tx = ReadTx::new(&db);
        // The statement is in the cache, put there by a writer.
        assert!(matches!(tx.prepare("INSERT INTO t VALUES (?1)"), Err(rusqlite::Error::InvalidQuery)));
        assert_eq!(tx.query_row("SELECT a FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
        assert_eq!(tx.query_optional("SELECT a FROM t WHERE a = 8", [], |_| Ok(())).unwrap(), None);
    }
}
