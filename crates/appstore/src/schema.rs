//! An app database's schema and identity mark.

use streamhub_engine::migrate::{Migration, Schema};

/// `SHap` in the header of every app database.
pub const APPLICATION_ID: i32 = 0x5348_6170;

/// The schema, as its numbered migrations.
pub static SCHEMA: Schema = Schema {
    application_id: APPLICATION_ID,
    migrations: &[Migration {
        version: 100,
        name: "baseline",
        sql: include_str!("../../../migrations/app/0100_baseline.sql"),
    }],
};

/// Tables that say whose the database is and which schema it has: what writes to them is no closure.
pub const PROTECTED: [&str; 2] = ["_streamhub_meta", "_streamhub_migrations"];

/// The final state as one readable text.
pub const FINAL: &str = include_str!("../../../migrations/app/schema.sql");

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn shape(sql: &[&str]) -> Vec<(String, String, String)> {
        let db = Connection::open_in_memory().unwrap();
        for text in sql {
            db.execute_batch(text).unwrap();
        }
        db.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn all_migrations_lead_to_the_final_state() {
        let steps: Vec<_> = SCHEMA.migrations.iter().map(|migration| migration.sql).collect();
        assert_eq!(shape(&steps), shape(&[FINAL]));
    }

    #[test]
    fn listings_use_an_index() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(FINAL).unwrap();
        let start = streamhub_engine::normalised!("started_at");
        for (sql, index) in [
            (format!("SELECT * FROM vods ORDER BY {start} DESC LIMIT 200"), "_streamhub_vods_by_start"),
            (
                format!("SELECT * FROM vods WHERE status = 'ready' ORDER BY {start} LIMIT 200"),
                "_streamhub_vods_by_status_and_start",
            ),
            (
                format!("SELECT * FROM streams WHERE status = 'active' ORDER BY {start}"),
                "_streamhub_streams_by_status_and_start",
            ),
        ] {
            let plan: String =
                db.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get(3)).unwrap();
            assert!(plan.contains(index), "{sql}: {plan}");
        }
    }
}
