//! Tables that grow with time until somebody prunes them: the audit and the logs.
//!
//! What goes is said once, as a [`CutOff`], and then removed from the oldest on in small transactions, so that
//! nobody waits for long. How long something is kept is not for this module to say.

use rusqlite::{Connection, Result, named_params};
use streamhub_engine::time::Moment;

/// The most rows that one call of [`Journal::prune`] removes.
pub const CHUNK: usize = 1000;

/// A table that grows with time.
#[derive(Debug)]
pub struct Journal {
    /// What it is called, for people and as the first part of an action.
    pub name: &'static str,
    table: &'static str,
    /// When a row is of, in the one spelling that times are compared in; there is an index on it.
    time: &'static str,
}

/// Which rows go. What is written after this was fixed does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Where that counts, those from before this time.
    before: Option<Moment>,
    /// Those up to this number: they are numbered in the order in which they were written.
    last: i64,
}

impl CutOff {
    /// The condition on a row of a journal, with the parameters `:before` and `:last`, and the order from the oldest on.
    fn sql(&self, journal: &Journal) -> (String, &'static str) {
        match self.before {
            Some(_) => (format!("{} < :before AND id <= :last", journal.time), journal.time),
            None => (":before IS NULL AND id <= :last".to_owned(), "id"),
        }
    }
}

impl Journal {
    pub(crate) const fn new(name: &'static str, table: &'static str, time: &'static str) -> Self {
        Self { name, table, time }
    }

    /// What leaves the last `rows` that were written. Numbers that rows had which are gone count as rows.
    pub fn cut_off_for(&self, db: &Connection, rows: u64) -> Result<CutOff> {
        let last = self.last(db)?.saturating_sub(i64::try_from(rows).unwrap_or(i64::MAX));
        Ok(CutOff { before: None, last })
    }

    /// What is there from before this time, which may be still to come.
    pub fn cut_off_before(&self, db: &Connection, time: &Moment) -> Result<CutOff> {
        Ok(CutOff { before: Some(time.clone()), last: self.last(db)? })
    }

    /// How many rows [`prune`](Self::prune) would remove in all.
    pub fn count(&self, db: &Connection, cut_off: &CutOff) -> Result<u64> {
        let (condition, _) = cut_off.sql(self);
        db.query_row(
            &format!("SELECT count(*) FROM {} WHERE {condition}", self.table),
            named_params! { ":before": cut_off.before, ":last": cut_off.last },
            |row| row.get(0),
        )
    }

    /// Removes the oldest rows of what goes, [`CHUNK`] at the most, and returns how many.
    /// To be called again, each time in a transaction of its own, until fewer are removed.
    pub fn prune(&self, db: &Connection, cut_off: &CutOff) -> Result<usize> {
        db.prepare_cached(&self.prune_sql(cut_off))?
            .execute(named_params! { ":before": cut_off.before, ":last": cut_off.last, ":chunk": CHUNK })
    }

    /// When the newest row is of; none where there is no row, or what an older system wrote there is no time.
    pub fn newest(&self, db: &Connection) -> Result<Option<Moment>> {
        let Self { table, time, .. } = self;
        // What begins with a letter sorts after every time.
        let sql = format!("SELECT max({time}) FROM {table} WHERE {time} < 'A'");
        let newest: Option<String> = db.query_row(&sql, [], |row| row.get(0))?;
        Ok(newest.and_then(|text| text.parse().ok()))
    }

    fn last(&self, db: &Connection) -> Result<i64> {
        db.query_row(&format!("SELECT coalesce(max(id), 0) FROM {}", self.table), [], |row| row.get(0))
    }

    fn prune_sql(&self, cut_off: &CutOff) -> String {
        let (condition, order) = cut_off.sql(self);
        let table = self.table;
        format!(
            "DELETE FROM {table} WHERE id IN \
             (SELECT id FROM {table} WHERE {condition} ORDER BY {order}, id LIMIT :chunk)"
        )
    }
}

/// Gives about so many pages that hold nothing back to the file system, and returns how many it were: fewer where
/// there are no more. None go where the database was made without `auto_vacuum`, as an older system's was.
pub fn give_back_pages(db: &Connection, most: u32) -> Result<u64> {
    let pages = || db.query_row("PRAGMA page_count", [], |row| row.get::<_, u64>(0));
    let before = pages()?;
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({most})"))?;
    let mut steps = statement.raw_query();
    // Each page is a step.
    while steps.next()?.is_some() {}
    Ok(before - pages()?)
}

/// How many pages hold nothing.
pub fn free_pages(db: &Connection) -> Result<u64> {
    db.query_row("PRAGMA freelist_count", [], |row| row.get(0))
}

/// How many bytes a page has.
pub fn page_size(db: &Connection) -> Result<u64> {
    db.query_row("PRAGMA page_size", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{database, plan};
    use crate::{audit, logs};

    fn insert(db: &Connection, journal: &Journal, time: &str) -> i64 {
        let sql = match journal.table {
            "server_logs" => "INSERT INTO server_logs (ts, level, message) VALUES (?1, 'info', 'm')",
            _ => "INSERT INTO _streamhub_audit (at, principal, action, outcome) VALUES (?1, 'p', 'a', 'ok')",
        };
        db.execute(sql, [time]).unwrap();
        db.last_insert_rowid()
    }

    fn left(db: &Connection, journal: &Journal) -> Vec<i64> {
        let sql = format!("SELECT id FROM {} ORDER BY id", journal.table);
        let mut statement = db.prepare(&sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_>>().unwrap()
    }

    #[test]
    fn pruning_goes_in_chunks_from_the_oldest_on() {
        for journal in [&audit::JOURNAL, &logs::JOURNAL] {
            let db = database();
            for _ in 0..CHUNK {
                insert(&db, journal, "2026-01-02T00:00:00.000Z");
            }
            let oldest = insert(&db, journal, "2026-01-01T00:00:00.000Z");
            let kept = insert(&db, journal, "2026-01-03T00:00:00.000Z");
            let before = journal.cut_off_before(&db, &"2026-01-03T00:00:00.000Z".parse().unwrap()).unwrap();
            // What is written after the cut-off was fixed stays, whatever its time.
            let late = insert(&db, journal, "2026-01-01T00:00:00.000Z");
            assert_eq!(journal.count(&db, &before).unwrap(), 1001);
            assert_eq!(journal.prune(&db, &before).unwrap(), CHUNK);
            assert_eq!(left(&db, journal).len(), 3);
            assert!(!left(&db, journal).contains(&oldest), "the oldest went first");
            assert_eq!(journal.prune(&db, &before).unwrap(), 1);
            assert_eq!(journal.prune(&db, &before).unwrap(), 0);
            assert_eq!(left(&db, journal), [kept, late]);
        }
    }

    #[test]
    fn both_spellings_of_a_time_are_one_and_what_is_none_stays() {
        let db = database();
        let ids = ["2026-01-01 10:00:00", "2026-01-01T10:00:00.001Z", "2026-01-01 10:00:01", "whenever"]
            .map(|time| insert(&db, &logs::JOURNAL, time));
        assert_eq!(logs::JOURNAL.newest(&db).unwrap(), "2026-01-01T10:00:01Z".parse().ok());
        let time = "2026-01-01T10:00:00.001Z".parse().unwrap();
        let before = logs::JOURNAL.cut_off_before(&db, &time).unwrap();
        assert_eq!(logs::JOURNAL.prune(&db, &before).unwrap(), 1);
        assert_eq!(left(&db, &logs::JOURNAL), ids[1..]);
    }

    #[test]
    fn the_last_that_were_written_stay_whatever_their_times() {
        for journal in [&audit::JOURNAL, &logs::JOURNAL] {
            let db = database();
            assert_eq!(journal.newest(&db).unwrap(), None);
            let ids: Vec<i64> =
                (0..10).map(|at| insert(&db, journal, &format!("2026-01-{:02} 00:00:00", 20 - at))).collect();
            for (rows, gone) in [(u64::MAX, 0), (10, 0), (4, 6)] {
                let cut_off = journal.cut_off_for(&db, rows).unwrap();
                // What is written after the cut-off was fixed does not move it.
                assert_eq!(journal.count(&db, &cut_off).unwrap(), gone);
                assert_eq!(journal.prune(&db, &cut_off).unwrap() as u64, gone);
            }
            assert_eq!(left(&db, journal), ids[6..]);
        }
    }

    #[test]
    fn chunks_are_found_by_an_index() {
        let db = database();
        for journal in [&audit::JOURNAL, &logs::JOURNAL] {
            for (cut_off, index) in [
                (CutOff { before: Some(Moment::now()), last: 1 }, "_by_time (<expr><?)"),
                (CutOff { before: None, last: 1 }, "INTEGER PRIMARY KEY (rowid<?)"),
            ] {
                let plan = plan(&db, &journal.prune_sql(&cut_off)).replace("(at<?)", "(<expr><?)");
                assert!(plan.contains(index) && !plan.contains("SCAN"), "{plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{plan}");
            }
        }
    }
}
