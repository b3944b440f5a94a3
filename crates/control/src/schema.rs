//! The control database's schema and identity.

use streamhub_engine::migrate::{Migration, Schema};

/// `SHcp` in the header of every control database.
pub const APPLICATION_ID: i32 = 0x5348_6370;

/// The schema, as its numbered migrations.
pub static SCHEMA: Schema = Schema {
    application_id: APPLICATION_ID,
    migrations: &[
        Migration {
            version: 100,
            name: "baseline",
            sql: include_str!("../../../migrations/control/0100_baseline.sql"),
        },
        Migration {
            version: 101,
            name: "app life",
            sql: include_str!("../../../migrations/control/0101_app_life.sql"),
        },
        Migration {
            version: 102,
            name: "http api",
            sql: include_str!("../../../migrations/control/0102_http_api.sql"),
        },
    ],
};

/// The final state as one readable text.
pub const FINAL: &str = include_str!("../../../migrations/control/schema.sql");

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
    fn hot_paths_use_an_index() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(FINAL).unwrap();
        let plan = |sql: &str| -> String {
            db.prepare(&format!("EXPLAIN QUERY PLAN {}", sql.replace(":name", "'x'")))
                .unwrap()
                .query_map([], |row| row.get::<_, String>(3))
                .unwrap()
                .collect::<Result<Vec<_>, _>>()
                .unwrap()
                .join("; ")
        };
        let time = streamhub_engine::normalised!("ts");
        let cases = [
            ("SELECT id FROM api_tokens WHERE token_hash = 'x'".to_owned(), "_streamhub_api_tokens_by_hash"),
            (crate::apps::BY_NAME.to_owned(), "sqlite_autoindex_apps_1"),
            (crate::apps::OPEN_SPLITS.to_owned(), "_streamhub_apps_by_open_split"),
            (
                format!("SELECT * FROM server_logs ORDER BY {time} DESC, id DESC LIMIT 200"),
                "_streamhub_server_logs_by_time",
            ),
            (
                format!(
                    "SELECT * FROM server_logs WHERE app_id = 1 AND {time} < 'x' ORDER BY {time} DESC, id DESC LIMIT 200"
                ),
                "_streamhub_server_logs_by_app_and_time",
            ),
            ("SELECT user_id FROM sessions WHERE token_hash = 'x'".to_owned(), "sqlite_autoindex_sessions_2"),
            ("SELECT * FROM users WHERE lower(email) = 'x'".to_owned(), "_streamhub_users_by_email"),
        ];
        for (sql, index) in cases {
            let plan = plan(&sql);
            assert!(plan.contains(index), "{sql}\n  {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{sql}\n  {plan}");
        }
    }
}
