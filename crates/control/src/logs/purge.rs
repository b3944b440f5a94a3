//! Removing what the log says of one app.

use rusqlite::{Connection, Result, named_params};

/// The number of an app's last entry, and how many entries there are up to it.
pub fn extent_of_app(db: &Connection, app_id: i64) -> Result<(i64, u64)> {
    db.prepare_cached("SELECT coalesce(max(id), 0), count(*) FROM server_logs WHERE app_id = :app")?
        .query_row(named_params! { ":app": app_id }, |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Removes an app's entries up to the last one that is to go, so many at the most, and returns how many.
/// To be called again, each time in a transaction of its own, until none is removed.
pub fn purge_app(db: &Connection, app_id: i64, last: i64, at_most: u32) -> Result<u64> {
    db.prepare_cached(PURGE)?
        .execute(named_params! { ":app": app_id, ":last": last, ":at_most": at_most })
        .map(|removed| removed as u64)
}

const PURGE: &str = "DELETE FROM server_logs WHERE id IN \
    (SELECT id FROM server_logs WHERE app_id = :app AND id <= :last LIMIT :at_most)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TenantId;
    use crate::fixture::{app, database, plan};

    #[test]
    fn one_apps_entries_go_in_chunks_and_later_ones_stay() {
        let db = database();
        let (one, other) = (app(&db, "one", &TenantId::platform()), app(&db, "other", &TenantId::platform()));
        let log = |app: Option<i64>| {
            db.execute("INSERT INTO server_logs (level, app_id, message) VALUES ('info', ?1, 'x')", [app])
                .unwrap()
        };
        for _ in 0..5 {
            log(Some(one));
            log(Some(other));
            log(None);
        }
        let (last, entries) = extent_of_app(&db, one).unwrap();
        log(Some(one));
        assert_eq!(entries, 5);
        assert_eq!([0; 4].map(|_| purge_app(&db, one, last, 2).unwrap()), [2, 2, 1, 0]);
        assert_eq!(extent_of_app(&db, one).unwrap().1, 1);
        assert_eq!(extent_of_app(&db, other).unwrap().1, 5);
        let plan = plan(&db, PURGE);
        assert!(plan.contains("_streamhub_server_logs_by_app_and_time (app_id=?"), "{plan}");
    }
}
