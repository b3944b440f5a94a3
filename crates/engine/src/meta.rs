//! `_streamhub_meta`: what a database says of itself, as keys and values.
//!
//! The table is the older system's; its keys and ours live side by side. A marker is written in the
//! same transaction as the rows that it speaks for.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::time;

/// The value of a key, where it is there.
pub fn get(db: &Connection, key: &str) -> Result<Option<String>> {
    db.prepare_cached("SELECT value FROM _streamhub_meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

/// Sets a key.
pub fn set(db: &Connection, key: &str, value: &str) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO _streamhub_meta (key, value, updated_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    )?
    .execute(params![key, value, time::now()])
    .map(drop)
}

/// Removes a key; one that is not there is fine.
pub fn remove(db: &Connection, key: &str) -> Result<()> {
    db.execute("DELETE FROM _streamhub_meta WHERE key = ?1", [key]).map(drop)
}

/// Puts `prefix` before a key, as often as it takes to find a free one, keeping value and time.
pub fn set_aside(db: &Connection, key: &str, prefix: &str) -> Result<()> {
    let mut free = format!("{prefix}{key}");
    while db.query_row("SELECT EXISTS (SELECT 1 FROM _streamhub_meta WHERE key = ?1)", [&free], |row| {
        row.get(0)
    })? {
        free.insert_str(0, prefix);
    }
    db.execute("UPDATE _streamhub_meta SET key = ?2 WHERE key = ?1", [key, &free]).map(drop)
}
