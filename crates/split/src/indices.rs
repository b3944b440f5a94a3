//! Indices of an empty table that wait until it is filled.
//!
//! An index that is made over all rows at once is sorted first and written page after page; one that
//! grows with the table is searched and torn open for every row. Those that keep values unique stay,
//! since they decide what becomes of a row.

use rusqlite::{Connection, Result};
use streamhub_engine::names::quoted;

/// The definitions of indices that were dropped and are to be made again.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Indices {
    definitions: Vec<String>,
}

impl Indices {
    /// Drops those of a table, in the caller's transaction.
    pub(crate) fn drop(db: &Connection, table: &str) -> Result<Self> {
        let found: Vec<(String, String)> = db
            .prepare(
                "SELECT m.name, m.sql FROM sqlite_master AS m JOIN pragma_index_list(?1) AS i ON i.name = m.name \
                 WHERE m.type = 'index' AND NOT i.\"unique\" AND m.sql IS NOT NULL ORDER BY m.rowid",
            )?
            .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_>>()?;
        for (name, _) in &found {
            db.execute_batch(&format!("DROP INDEX {}", quoted(name)))?;
        }
        Ok(Self { definitions: found.into_iter().map(|(_, definition)| definition).collect() })
    }

    /// Makes them again, as they were.
    pub(crate) fn create(&self, db: &Connection) -> Result<()> {
        self.definitions.iter().try_for_each(|definition| db.execute_batch(definition))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a database in memory has no file to guard")]
mod tests {
    use super::*;

    #[test]
    fn all_but_those_that_keep_values_unique_wait() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE t (a TEXT UNIQUE, b, c); CREATE INDEX \"t by \"\"b\" ON t (b);
             CREATE UNIQUE INDEX t_by_c ON t (c); CREATE INDEX t_by_bc ON t (b, lower(c)) WHERE b > 1;
             CREATE TABLE u (a); CREATE INDEX u_by_a ON u (a)",
        )
        .unwrap();
        let all = || -> Vec<(String, Option<String>)> {
            db.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name")
                .unwrap()
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .collect::<Result<_>>()
                .unwrap()
        };
        let before = all();
        let waiting = Indices::drop(&db, "t").unwrap();
        let left: Vec<_> = all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, ["sqlite_autoindex_t_1", "t_by_c", "u_by_a"]);
        db.execute_batch("INSERT INTO t VALUES (1, 2, 3)").unwrap();
        waiting.create(&db).unwrap();
        assert_eq!(all(), before);
    }
}
