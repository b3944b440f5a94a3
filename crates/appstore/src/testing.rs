//! Help for this crate's unit tests.

use rusqlite::Connection;
use streamhub_engine::Database;

/// An empty app database.
pub(crate) fn database() -> Database {
    let db = Database::scratch(None).unwrap();
    db.execute_batch(crate::schema::FINAL).unwrap();
    db
}

/// How SQLite would run a statement.
pub(crate) fn plan(db: &Connection, sql: &str) -> String {
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // Values are not needed for that.
    let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
    steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}
