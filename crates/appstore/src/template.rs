//! An empty app database as bytes, ready to be written to a file.
//!
//! Running the schema's DDL for every app costs more than everything else about creating one. So it runs
//! once, and each app gets a copy that differs in its identity only.

use std::path::Path;

use rusqlite::{MAIN_DB, Transaction};
use streamhub_engine::error::SqliteContext;
use streamhub_engine::migrate::From;
use streamhub_engine::{Database, Result, time};

use crate::identity::Identity;
use crate::schema::SCHEMA;

/// The empty app database that all others are copies of. It lives in memory.
#[derive(Debug)]
pub struct Template {
    db: Database,
}

/// Where the header says how a database is written and read; both are 2 for a write-ahead log.
const FORMAT_VERSIONS: std::ops::Range<usize> = 18..20;

impl Template {
    /// Runs the schema's migrations once.
    pub fn new() -> Result<Self> {
        Ok(Self { db: migrated(|_| Ok(()))?.0 })
    }

    /// The bytes of one that is to be filled before it is in service, in rollback mode and after `prepare`.
    pub fn unfilled<T>(prepare: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<(Vec<u8>, T)> {
        let (db, prepared) = migrated(prepare)?;
        let bytes = db.serialize(MAIN_DB).of(db.path())?.to_vec();
        Ok((bytes, prepared))
    }

    /// A new app database in WAL mode that carries this identity, byte for byte as it is to be in its file.
    pub fn bytes(&mut self, identity: &Identity) -> Result<Vec<u8>> {
        let path = Path::new("(template)");
        let tx = self.db.transaction().of(path)?;
        identity.write(&tx).of(path)?;
        tx.prepare_cached("UPDATE _streamhub_migrations SET applied_at = ?1")
            .and_then(|mut statement| statement.execute([time::now()]))
            .of(path)?;
        let mut bytes = tx.serialize(MAIN_DB).of(path)?.to_vec();
        bytes[FORMAT_VERSIONS].fill(2);
        // The transaction is never committed, so that the template stays empty.
        tx.rollback().of(path)?;
        Ok(bytes)
    }
}

fn migrated<T>(prepare: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<(Database, T)> {
    let mut db = Database::scratch(None)?;
    // As in `Database::build`, it has to be chosen before the first page is written.
    db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").of(db.path())?;
    let prepared = SCHEMA.migrate(&mut db, From::Nothing, prepare)?;
    Ok((db, prepared))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make and damage files with the raw calls on purpose")]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rusqlite::Connection;
    use rusqlite::types::Value;
    use streamhub_engine::{Unopened, Uuid};

    use super::*;

    fn identity(name: &str) -> Identity {
        Identity::new(name, "platform", "here")
    }

    fn file(dir: &tempfile::TempDir, name: &str) -> PathBuf {
        fs::canonicalize(dir.path()).unwrap().join(name)
    }

    fn rows(db: &Connection, sql: &str) -> Vec<Vec<Value>> {
        let mut statement = db.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|at| row.get(at)).collect()).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn a_file_of_these_bytes_is_like_one_that_was_built() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity("demo");
        let (copied, built) = (file(&dir, "copied.db"), file(&dir, "built.db"));
        fs::write(&copied, Template::new().unwrap().bytes(&identity).unwrap()).unwrap();
        let mut db = Database::build(&built).unwrap();
        SCHEMA.migrate(&mut db, From::Nothing, |tx| identity.write(tx).of(&built)).unwrap();
        drop(db.finish().unwrap());
        // Their headers differ only in how often they were written to, and by which release of SQLite:
        // the first commit to a file fills that in.
        let header = |path: &Path| {
            let mut header = fs::read(path).unwrap()[..100].to_vec();
            header[24..28].fill(0);
            header[92..100].fill(0);
            header
        };
        assert_eq!(header(&copied), header(&built));
        assert!(Unopened::claim(&copied).unwrap().header().unwrap().wal);
        let (copied, built) = (Database::write(&copied).unwrap(), Database::write(&built).unwrap());
        assert_eq!(Identity::read(&copied).unwrap(), identity);
        for sql in [
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name",
            "PRAGMA application_id",
            "PRAGMA user_version",
            "PRAGMA auto_vacuum",
            "PRAGMA page_size",
            "PRAGMA page_count",
            "PRAGMA freelist_count",
            "PRAGMA encoding",
            "PRAGMA journal_mode",
            "PRAGMA integrity_check",
            "SELECT version, name, checksum FROM _streamhub_migrations",
            "SELECT key, value FROM _streamhub_meta ORDER BY key",
            "SELECT * FROM sqlite_sequence",
        ] {
            assert_eq!(rows(&copied, sql), rows(&built, sql), "{sql}");
        }
        assert_eq!(rows(&copied, "PRAGMA integrity_check"), [[Value::Text("ok".to_owned())]]);
        assert_eq!(rows(&copied, "PRAGMA auto_vacuum"), [[Value::Integer(2)]]);
        copied.execute("INSERT INTO ingress_auth (ingress_id, app) VALUES ('a', 'demo')", []).unwrap();
    }

    #[test]
    fn one_app_leaves_nothing_in_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut template = Template::new().unwrap();
        let mut long = identity("first");
        long.lineage = vec![Uuid::random(); 5000];
        let big = template.bytes(&long).unwrap();
        let second = identity("second");
        let bytes = template.bytes(&second).unwrap();
        assert!(big.len() > bytes.len());
        for (identity, bytes) in [(&long, &big), (&second, &bytes)] {
            let path = file(&dir, &identity.name);
            fs::write(&path, bytes).unwrap();
            let db = Database::write(&path).unwrap();
            assert_eq!(&Identity::read(&db).unwrap(), identity);
            assert_eq!(rows(&db, "PRAGMA integrity_check"), [[Value::Text("ok".to_owned())]]);
        }
        let found = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(
            found(second.uuid.as_str()) && !found(long.uuid.as_str()) && !found(long.lineage[0].as_str())
        );
    }
}
