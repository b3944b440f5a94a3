//! Whose file is it, and may it be opened?
//!
//! Identity and version stand in the first hundred bytes, so they are read while the file is
//! unopened. Only where a non-empty `-wal` lies beside it could they be out of date; then a
//! connection that leaves no trace decides (see [`Database::inspect`]).

use std::path::Path;

use crate::connect::Database;
use crate::error::{Error, Result, SqliteContext, Unfit};
use crate::unopened::{Protection, Unopened};

/// First `user_version` of StreamHub's own schemas; earlier systems stayed below.
pub const FIRST_VERSION: u32 = 100;

/// What a database file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `PRAGMA application_id`: which program's file it is; 0 where nobody said.
    pub application_id: i32,
    /// `PRAGMA user_version`: the version of its schema.
    pub user_version: i32,
}

/// Where a file stands with respect to one of StreamHub's schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ours, at this version, which this program knows.
    Ours {
        /// The schema's version.
        version: u32,
    },
    /// Unmarked and below our versions: perhaps an older system's. Its tables decide.
    Unmarked {
        /// The schema's version.
        version: u32,
    },
}

/// Reads a file's stamp after refusing what may not be put to use at all: anything but a plain,
/// writable, single-named SQLite file as long as its header says. Changes nothing.
pub fn stamp(path: &Path) -> Result<Stamp> {
    stamp_with(path, Protection::Obeyed)
}

/// As [`stamp`], saying what a write-protected mode means.
pub fn stamp_with(path: &Path, protection: Protection) -> Result<Stamp> {
    let file = Unopened::claim(path)?;
    file.require_own_and_writable(protection)?;
    stamp_of(file)
}

/// As [`stamp`], for a file that will only be read: it may be read-only and have other names.
pub fn stamp_of_source(path: &Path) -> Result<Stamp> {
    stamp_of(Unopened::claim(path)?)
}

fn stamp_of(file: Unopened) -> Result<Stamp> {
    let header = file.header()?;
    if file.sidecar_len("-journal")? > 0 {
        return Err(Error::unfit(file.path(), Unfit::HotJournal));
    }
    file.sidecar_len("-shm")?;
    if file.sidecar_len("-wal")? == 0 {
        if let Some(expected) = header.expected_len()
            && expected > file.file_len()
        {
            return Err(Error::unfit(file.path(), Unfit::Truncated { expected, actual: file.file_len() }));
        }
        return Ok(Stamp { application_id: header.application_id, user_version: header.user_version });
    }
    let path = file.path().to_owned();
    drop(file);
    Stamp::read(&Database::inspect(&path)?)
}

impl Stamp {
    /// The stamp as an open connection sees it: for a file that others have open too.
    pub fn read(db: &Database) -> Result<Self> {
        let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get(0)).of(db.path());
        Ok(Self { application_id: pragma("application_id")?, user_version: pragma("user_version")? })
    }

    /// Judges the stamp against our schema with this `application_id` and newest version.
    pub fn standing(self, path: &Path, application_id: i32, latest: u32) -> Result<Standing> {
        let too_new = || Error::unfit(path, Unfit::TooNew { found: self.user_version.into(), known: latest });
        let foreign = |detail: String| Error::unfit(path, Unfit::Foreign { detail });
        let version = u32::try_from(self.user_version)
            .map_err(|_| foreign(format!("its user_version is {}", self.user_version)))?;
        if self.application_id == application_id {
            return match version {
                FIRST_VERSION.. if version <= latest => Ok(Standing::Ours { version }),
                FIRST_VERSION.. => Err(too_new()),
                _ => Err(foreign(format!("marked as ours, but its user_version is {version}"))),
            };
        }
        if self.application_id != 0 {
            return Err(foreign(format!("its application_id is {:#010x}", self.application_id)));
        }
        if version >= FIRST_VERSION {
            return Err(foreign(format!(
                "its user_version is {version}, but it does not carry our application_id"
            )));
        }
        Ok(Standing::Unmarked { version })
    }
}

/// Refuses triggers, views and virtual tables, which in a file from outside could run anything.
pub fn refuse_code(db: &Database) -> Result<()> {
    let found = db
        .prepare(
            "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') \
             OR (type = 'table' AND sql LIKE 'CREATE VIRTUAL%') ORDER BY rowid LIMIT 1",
        )
        .and_then(|mut query| {
            query
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
                .next()
                .transpose()
        })
        .of(db.path())?;
    let Some((kind, name)) = found else { return Ok(()) };
    let kind = match kind.as_str() {
        "trigger" => "trigger",
        "view" => "view",
        _ => "virtual table",
    };
    Err(Error::unfit(db.path(), Unfit::HoldsCode { kind, name }))
}

/// Runs SQLite's own check; the first damage that it finds becomes the error.
pub fn refuse_damage(db: &Database, check: Check) -> Result<()> {
    match damage(db, check, 1)?.pop() {
        Some(detail) => Err(Error::unfit(db.path(), Unfit::Corrupt { detail })),
        None => Ok(()),
    }
}

/// Runs SQLite's own check and returns what damage it finds, up to so many findings.
///
/// The check also lists values that break a constraint of their table. Such rows are whole, and what
/// becomes of them is for whoever reads them to decide, so they are passed over.
pub fn damage(db: &Database, check: Check, at_most: usize) -> Result<Vec<String>> {
    let pragma = match check {
        Check::Quick => "quick_check",
        Check::Full => "integrity_check",
    };
    let is_damage = |finding: &String| {
        let is_about_a_value =
            ["CHECK constraint failed in ", "NULL value in ", "NUMERIC value in ", "TEXT value in "]
                .iter()
                .any(|words| finding.starts_with(words));
        finding != "ok" && !is_about_a_value
    };
    let find = || {
        let mut query = db.prepare(&format!("PRAGMA {pragma}({})", i32::MAX))?;
        let findings = query.query_map([], |row| row.get(0))?;
        findings.filter(|found| found.as_ref().map_or(true, is_damage)).take(at_most).collect()
    };
    let found: rusqlite::Result<Vec<String>> = find();
    found.of(db.path())
}

/// Runs SQLite's own check of references from one table to another and returns up to so many that lead nowhere.
pub fn dangling(db: &Database, at_most: usize) -> Result<Vec<String>> {
    let find = || {
        db.prepare("PRAGMA foreign_key_check")?
            .query_map([], |row| {
                let (table, rowid, parent): (String, Option<i64>, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let row = rowid.map_or_else(|| "a row".to_owned(), |rowid| format!("row {rowid}"));
                Ok(format!("{row} of {table} refers to a row of {parent} that is not there"))
            })?
            .take(at_most)
            .collect()
    };
    let found: rusqlite::Result<Vec<String>> = find();
    found.of(db.path())
}

/// How thorough a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Every page, but not whether indices agree with their tables: linear in the file's size.
    Quick,
    /// Indices too.
    Full,
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use super::*;
    use rusqlite::Connection;

    const OURS: i32 = 0x5348_6170;

    fn standing(application_id: i32, user_version: i32) -> Result<Standing> {
        Stamp { application_id, user_version }.standing(Path::new("x.db"), OURS, 102)
    }

    #[test]
    fn versions_and_identities() {
        assert_eq!(standing(OURS, 100).unwrap(), Standing::Ours { version: 100 });
        assert_eq!(standing(0, 0).unwrap(), Standing::Unmarked { version: 0 });
        assert_eq!(standing(0, 99).unwrap(), Standing::Unmarked { version: 99 });
        for (id, version, words) in [
            (OURS, 103, "newer than this program knows (102)"),
            (OURS, 8, "another program"),
            (7, 8, "another program"),
            (0, 100, "another program"),
            (0, -1, "another program"),
        ] {
            let error = standing(id, version).unwrap_err().to_string();
            assert!(error.contains(words), "{id} {version}: {error}");
        }
    }

    #[test]
    fn a_stamp_that_only_the_wal_knows() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("x.db"), dir.path().join("copy.db"));
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
        db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA user_version = 99").unwrap();
        std::fs::copy(&path, &copy).unwrap();
        std::fs::copy(dir.path().join("x.db-wal"), dir.path().join("copy.db-wal")).unwrap();
        let before = (std::fs::read(&copy).unwrap(), std::fs::read(dir.path().join("copy.db-wal")).unwrap());
        assert_eq!(stamp(&copy).unwrap().user_version, 99);
        let after = (std::fs::read(&copy).unwrap(), std::fs::read(dir.path().join("copy.db-wal")).unwrap());
        assert_eq!(before, after, "looking changed the file");
        assert!(!dir.path().join("copy.db-shm").exists(), "looking left a sidecar");
    }

    #[test]
    fn rows_that_break_a_constraint_are_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap().join("x.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "PRAGMA ignore_check_constraints = ON; CREATE TABLE t (a TEXT CHECK (a IN ('x')), b TEXT);
             INSERT INTO t VALUES ('y', NULL); PRAGMA writable_schema = ON;
             UPDATE sqlite_master SET sql = replace(sql, 'b TEXT', 'b TEXT NOT NULL');",
        )
        .unwrap();
        drop(db);
        let db = Database::inspect(&path).unwrap();
        let first: String = db.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
        assert_ne!(first, "ok", "the check lists the row, so the test means something");
        refuse_damage(&db, Check::Quick).unwrap();
        refuse_damage(&db, Check::Full).unwrap();
    }

    #[test]
    fn damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap().join("x.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(9000)); CREATE INDEX i ON t (length(a))",
        )
        .unwrap();
        drop(db);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096..4200].fill(0xee);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(
            refuse_damage(&Database::inspect(&path).unwrap(), Check::Quick).unwrap_err().fault(),
            crate::Fault::Corrupt
        );
    }

    #[test]
    fn references_that_lead_nowhere_are_found() {
        let db = Database::scratch(None).unwrap();
        db.execute_batch(
            "PRAGMA foreign_keys = OFF; CREATE TABLE room (id INTEGER PRIMARY KEY);
             CREATE TABLE seat (room REFERENCES room); INSERT INTO room VALUES (1); INSERT INTO seat VALUES (1)",
        )
        .unwrap();
        assert_eq!(dangling(&db, 9).unwrap(), [""; 0]);
        db.execute_batch("INSERT INTO seat VALUES (2), (3)").unwrap();
        assert_eq!(dangling(&db, 1).unwrap(), ["row 2 of seat refers to a row of room that is not there"]);
        assert_eq!(dangling(&db, 9).unwrap().len(), 2);
    }

    #[test]
    fn a_truncated_file_and_a_hot_journal_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(9000))").unwrap();
        drop(db);
        std::fs::write(dir.path().join("x.db-journal"), b"half done").unwrap();
        assert!(matches!(stamp(&path), Err(Error::Unfit { unfit: Unfit::HotJournal, .. })));
        std::fs::remove_file(dir.path().join("x.db-journal")).unwrap();
        stamp(&path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(4096).unwrap();
        assert!(matches!(stamp(&path), Err(Error::Unfit { unfit: Unfit::Truncated { .. }, .. })));
    }
}
