//! Bringing a database's schema up to date.
//!
//! A migration is a numbered SQL text; numbers start at [`FIRST_VERSION`], above any version that an
//! earlier system wrote. Everything happens in one immediate transaction: the version is read again
//! inside it, the texts run, foreign keys are checked, history, identity and version are written,
//! and the caller's own step (an adoption, an import) commits together with all that or not at all.

use rusqlite::{Transaction, TransactionBehavior, params};

use crate::connect::Database;
use crate::error::{Error, Result, SqliteContext, Unfit};
use crate::judge::{FIRST_VERSION, Stamp, Standing};
use crate::reshape::{self, OnRefused};
use crate::time;

/// One numbered step of a schema. Never edited once released.
#[derive(Debug)]
pub struct Migration {
    /// Its number; the first is [`FIRST_VERSION`].
    pub version: u32,
    /// A name for people.
    pub name: &'static str,
    /// The SQL text.
    pub sql: &'static str,
}

/// A kind of database: who owns the file and how its schema came to be.
#[derive(Debug)]
pub struct Schema {
    /// Marks the file as ours in its first page.
    pub application_id: i32,
    /// In ascending order; the first creates everything in an empty database.
    pub migrations: &'static [Migration],
}

/// What the migrator is to find.
pub enum From<'a> {
    /// An empty database that was just made.
    Nothing,
    /// A database of ours.
    Ours,
    /// An unmarked database of an older system. Its tables are rebuilt in the shape of ours; rows
    /// that do not fit are given to the function.
    Older(&'a mut OnRefused<'a>),
}

impl Schema {
    /// The newest version.
    pub fn latest(&self) -> u32 {
        self.migrations.last().map_or(0, |migration| migration.version)
    }

    /// Judges a stamp against this schema.
    pub fn standing(&self, stamp: Stamp, path: &std::path::Path) -> Result<Standing> {
        stamp.standing(path, self.application_id, self.latest())
    }

    /// Runs what is missing and the caller's step in one transaction.
    pub fn migrate<T, E: std::convert::From<Error>>(
        &self,
        db: &mut Database,
        from: From<'_>,
        step: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // Inside a transaction this pragma does nothing, and dropping a parent table would cascade.
        db.execute_batch("PRAGMA foreign_keys = OFF").of(db.path())?;
        let done = self.migrate_unchecked(db, from, step);
        db.execute_batch("PRAGMA foreign_keys = ON").of(db.path())?;
        done
    }

    fn migrate_unchecked<T, E: std::convert::From<Error>>(
        &self,
        db: &mut Database,
        from: From<'_>,
        step: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = db.path().to_owned();
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).of(&path)?;
        let pragma = |name: &str| tx.pragma_query_value(None, name, |row| row.get(0)).of(&path);
        let stamp =
            Stamp { application_id: pragma("application_id")?, user_version: pragma("user_version")? };
        let mut broken_before = broken_references(&tx).of(&path)?;
        let (baseline, later) = self.migrations.split_first().expect("a schema has a first migration");
        let version = match (self.standing(stamp, &path)?, from) {
            (Standing::Ours { version }, From::Ours) => {
                self.verify_history(&tx, version, &path)?;
                version
            }
            (Standing::Unmarked { version: 0 }, From::Nothing) => {
                tx.execute_batch(baseline.sql).of(&path)?;
                record(&tx, baseline).of(&path)?;
                FIRST_VERSION
            }
            (Standing::Unmarked { .. }, From::Older(refused)) => {
                reshape::reshape(&tx, &path, baseline.sql, refused)?;
                record(&tx, baseline).of(&path)?;
                // The rows are proven to be what they were, so what the baseline's own references find
                // broken among them was always so.
                broken_before = broken_references(&tx).of(&path)?;
                FIRST_VERSION
            }
            (standing, _) => {
                let detail = format!("it changed while it was being opened: {standing:?}");
                return Err(Error::unfit(&path, Unfit::Mismatch { detail }).into());
            }
        };
        for migration in later.iter().filter(|migration| migration.version > version) {
            tx.execute_batch(migration.sql).of(&path)?;
            record(&tx, migration).of(&path)?;
        }
        let broken = broken_references(&tx).of(&path)?;
        if broken > broken_before {
            let detail =
                format!("the migration would leave {broken} broken references ({broken_before} before)");
            return Err(Error::unfit(&path, Unfit::Mismatch { detail }).into());
        }
        tx.pragma_update(None, "application_id", self.application_id).of(&path)?;
        tx.pragma_update(None, "user_version", self.latest()).of(&path)?;
        let result = step(&tx)?;
        tx.commit().of(&path)?;
        Ok(result)
    }

    fn verify_history(&self, tx: &Transaction<'_>, version: u32, path: &std::path::Path) -> Result<()> {
        for migration in self.migrations.iter().filter(|migration| migration.version <= version) {
            let same: bool = tx
                .query_row(
                    "SELECT EXISTS (SELECT 1 FROM _streamhub_migrations WHERE version = ?1 AND checksum = ?2)",
                    params![migration.version, checksum(migration)],
                    |row| row.get(0),
                )
                .of(path)?;
            if !same {
                return Err(Error::unfit(path, Unfit::EditedMigration { version: migration.version }));
            }
        }
        Ok(())
    }
}

fn checksum(migration: &Migration) -> String {
    blake3::hash(migration.sql.as_bytes()).to_hex().to_string()
}

fn record(tx: &Transaction<'_>, migration: &Migration) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO _streamhub_migrations (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
        params![migration.version, migration.name, checksum(migration), time::now()],
    )
    .map(drop)
}

/// How many rows refer to a parent that is not there. Older data may have some; no migration adds any.
fn broken_references(tx: &Transaction<'_>) -> rusqlite::Result<u64> {
    tx.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    const BASELINE: &str = "CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT NOT NULL);
        CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parent (id) ON DELETE CASCADE);
        CREATE INDEX child_by_parent ON child (parent_id);
        CREATE TABLE _streamhub_migrations (version INTEGER PRIMARY KEY, name TEXT, checksum TEXT, applied_at TEXT);";
    static FIRST: Schema = Schema {
        application_id: 42,
        migrations: &[Migration { version: 100, name: "baseline", sql: BASELINE }],
    };
    static SECOND: Schema = Schema {
        application_id: 42,
        migrations: &[
            Migration { version: 100, name: "baseline", sql: BASELINE },
            Migration {
                version: 101,
                name: "rebuilds the parent",
                sql: "CREATE TABLE new (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT NOT NULL, b TEXT);
                      INSERT INTO new SELECT id, a, NULL FROM parent; DROP TABLE parent;
                      ALTER TABLE new RENAME TO parent;",
            },
        ],
    };
    static EDITED: Schema = Schema {
        application_id: 42,
        migrations: &[Migration { version: 100, name: "baseline", sql: "SELECT 1;" }],
    };

    fn created(dir: &tempfile::TempDir) -> PathBuf {
        let path = fs::canonicalize(dir.path()).unwrap().join("x.db");
        let mut db = Database::build(&path).unwrap();
        FIRST
            .migrate(&mut db, From::Nothing, |tx| {
                tx.execute_batch("INSERT INTO parent (a) VALUES ('x'); INSERT INTO child VALUES (1, 1)")
                    .of(&path)
            })
            .unwrap();
        drop(db.finish().unwrap());
        path
    }

    #[test]
    fn rebuilding_a_parent_does_not_cascade() {
        let dir = tempfile::tempdir().unwrap();
        let path = created(&dir);
        let mut db = Database::write(&path).unwrap();
        SECOND.migrate(&mut db, From::Ours, |_| Ok::<_, Error>(())).unwrap();
        let children: i64 = db.query_row("SELECT count(*) FROM child", [], |row| row.get(0)).unwrap();
        assert_eq!(children, 1);
        let on: i64 = db.pragma_query_value(None, "foreign_keys", |row| row.get(0)).unwrap();
        assert_eq!(on, 1);
        let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 101);
    }

    #[test]
    fn a_newer_version_and_an_edited_migration_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = created(&dir);
        let mut db = Database::write(&path).unwrap();
        let edited = EDITED.migrate(&mut db, From::Ours, |_| Ok::<_, Error>(())).unwrap_err();
        assert!(matches!(edited, Error::Unfit { unfit: Unfit::EditedMigration { version: 100 }, .. }));
        SECOND.migrate(&mut db, From::Ours, |_| Ok::<_, Error>(())).unwrap();
        let newer = FIRST.migrate(&mut db, From::Ours, |_| Ok::<_, Error>(())).unwrap_err();
        assert!(matches!(newer, Error::Unfit { unfit: Unfit::TooNew { found: 101, known: 100 }, .. }));
    }

    #[test]
    fn a_failing_step_undoes_the_migration() {
        let dir = tempfile::tempdir().unwrap();
        let path = created(&dir);
        let mut db = Database::write(&path).unwrap();
        let failed = SECOND.migrate(&mut db, From::Ours, |_| {
            Err::<(), _>(Error::unfit(&path, Unfit::Mismatch { detail: "no".to_owned() }))
        });
        assert!(failed.is_err());
        let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 100);
        db.execute_batch("SELECT b FROM parent").unwrap_err();
    }
}
