//! The one place that opens SQLite connections.
//!
//! Opening never creates: only [`Database::build`] makes a database, in a file that the caller just
//! created. The busy timeout is set before any other statement, so that nothing fails for a lock
//! that is held for an instant. Every connection refuses SQL functions and virtual tables that a
//! schema could smuggle in, and checks the cells of every page that it reads.
#![allow(clippy::disallowed_methods, reason = "this is the module that the ban points to")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::durable;
use crate::error::{Error, Fault, IoContext, Result, SqliteContext, Unfit};
use crate::unopened::{OpenMark, Unopened, sidecar};

/// How long a statement waits for another connection's lock.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The WAL file shrinks back to this many bytes after a checkpoint.
const JOURNAL_SIZE_LIMIT: i64 = 16 << 20;

/// Instructions of SQLite's machine between two questions whether to stop.
const STEPS: i32 = 1000;

/// Pages that are copied at a time into a scratch database.
const PAGES_PER_STEP: i32 = 1024;

/// An open connection that knows its file.
///
/// While it lives, [`Unopened`] cannot be had for the file.
#[derive(Debug)]
pub struct Database {
    // Closed before the mark goes: fields drop in order.
    connection: Connection,
    _mark: Option<OpenMark>,
    path: PathBuf,
}

impl Database {
    /// Opens an existing database for reading and writing, in WAL mode and durable at every commit.
    ///
    /// The file's stamp must have been judged before; a file that this process may only read is refused.
    pub fn write(path: &Path) -> Result<Self> {
        Self::open_for_writing(path).map_err(or_too_many_files)
    }

    fn open_for_writing(path: &Path) -> Result<Self> {
        let db = Self::open(path, path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let is_read_only = db.is_readonly(rusqlite::MAIN_DB).of(path)?;
        if is_read_only {
            return Err(Error::unfit(path, Unfit::ReadOnly));
        }
        db.harden()?;
        let mode: String =
            db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).of(path)?;
        if mode != "wal" {
            let detail = format!("journal mode is {mode}, not wal");
            return Err(Error::unfit(path, Unfit::Mismatch { detail }));
        }
        db.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON").of(path)?;
        db.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT).of(path)?;
        Ok(db)
    }

    /// Opens an existing database for reading only, beside other connections.
    pub fn read(path: &Path) -> Result<Self> {
        Self::open_for_reading(path).map_err(or_too_many_files)
    }

    fn open_for_reading(path: &Path) -> Result<Self> {
        let db = Self::open(path, path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.harden()?;
        db.execute_batch("PRAGMA query_only = ON").of(path)?;
        Ok(db)
    }

    /// Opens a database that nobody else has open, to look at it without leaving a trace: the file,
    /// its `-wal` and the directory stay byte for byte as they are.
    ///
    /// Without a `-wal` the file is opened as immutable. With one, the wal-index is kept in this
    /// process's memory (exclusive locking mode) and closing does not checkpoint.
    pub fn inspect(path: &Path) -> Result<Self> {
        Self::open_for_a_look(path).map_err(or_too_many_files)
    }

    fn open_for_a_look(path: &Path) -> Result<Self> {
        let unopened = Unopened::claim(path)?;
        let has_wal = unopened.sidecar_len("-wal")? > 0;
        if unopened.sidecar_len("-journal")? > 0 {
            return Err(Error::unfit(path, Unfit::HotJournal));
        }
        drop(unopened);
        let db = if has_wal {
            let db = Self::open(path, path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).of(path)?;
            db.execute_batch("PRAGMA locking_mode = EXCLUSIVE").of(path)?;
            db
        } else {
            Self::open_immutable(path)?
        };
        db.harden()?;
        db.execute_batch("PRAGMA query_only = ON").of(path)?;
        Ok(db)
    }

    /// Another connection to an inspected database, for another thread. None where it has a `-wal`, which
    /// only one connection can look at.
    pub fn beside(&self) -> Result<Option<Self>> {
        if durable::exists(&sidecar(&self.path, "-wal"))? {
            return Ok(None);
        }
        let db = Self::open_immutable(&self.path)?;
        db.harden()?;
        Ok(Some(db))
    }

    /// Makes a database in a new file that is not in service yet: fast, and not durable before
    /// [`Database::finish`]. A file that was left behind half done is to be thrown away.
    pub fn build(path: &Path) -> Result<Self> {
        let db = Self::build_from(path, &[])?;
        // It has to be chosen before the first page is written, and writes that page itself.
        db.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").of(path)?;
        Ok(db)
    }

    /// As [`Database::build`], beginning with these bytes of a database in rollback mode.
    pub fn build_from(path: &Path, bytes: &[u8]) -> Result<Self> {
        durable::create_new(path)?.write_all(bytes).at(path, "write the file")?;
        let db = Self::open(path, path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.execute_batch(
            "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; \
             PRAGMA foreign_keys = ON",
        )
        .of(path)?;
        db.harden()?;
        Ok(db)
    }

    /// A database without a name that SQLite keeps in memory and, where it grows, in a file that has
    /// no name either; it is gone when it is closed. Given a source, it begins as a copy of it.
    pub fn scratch(source: Option<&Self>) -> Result<Self> {
        let path = source.map_or_else(|| PathBuf::from("(scratch)"), |source| source.path.clone());
        let mut connection = Connection::open("").of(&path)?;
        if let Some(source) = source {
            Backup::new(source, &mut connection)
                .and_then(|copy| copy.run_to_completion(PAGES_PER_STEP, Duration::ZERO, None))
                .of(&path)?;
        }
        connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON").of(&path)?;
        let db = Self { connection, _mark: None, path };
        db.harden()?;
        Ok(db)
    }

    /// Closes a database made by [`Database::build`], in WAL mode, whole and durable. Its name is not durable:
    /// that is for whoever puts it into service.
    pub fn finish(self) -> Result<Unopened> {
        let path = self.path.clone();
        let mode: String =
            self.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).of(&path)?;
        if mode != "wal" {
            let detail = format!("journal mode is {mode}, not wal");
            return Err(Error::unfit(&path, Unfit::Mismatch { detail }));
        }
        self.close()?;
        let file = Unopened::claim(&path)?;
        file.sync()?;
        Ok(file)
    }

    /// Closes the connection and reports what dropping it would swallow.
    pub fn close(self) -> Result<()> {
        let Self { connection, _mark, path } = self;
        connection.close().map_err(|(_, error)| error).of(&path)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has statements that take long end with [`Fault::Interrupted`] once this says so. It is asked often, in
    /// the middle of a VACUUM or a check too, and what such a statement has written is rolled back.
    pub fn stop_when(&self, is_asked: impl FnMut() -> bool + Send + 'static) -> Result<()> {
        self.progress_handler(STEPS, Some(is_asked)).of(&self.path)
    }

    /// Writes everything from the `-wal` into the main file and empties the `-wal`.
    pub fn checkpoint(&self) -> Result<()> {
        let busy: i64 =
            self.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).of(&self.path)?;
        // SQLite reports a reader in the way as a row, not as an error.
        if busy == 0 { Ok(()) } else { Err(Error::unfit(&self.path, Unfit::Held { pid: None })) }
    }

    fn open_immutable(path: &Path) -> Result<Self> {
        let uri = immutable_uri(path);
        Self::open(path, Path::new(&uri), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
    }

    fn open(path: &Path, name: &Path, flags: OpenFlags) -> Result<Self> {
        let mark = OpenMark::set(path)?;
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(name, flags).of(path)?;
        connection.busy_timeout(BUSY_TIMEOUT).of(path)?;
        Ok(Self { connection, _mark: Some(mark), path: path.to_owned() })
    }

    fn harden(&self) -> Result<()> {
        harden(self).of(&self.path)
    }
}

/// Refuses what a schema could smuggle in, and checks the cells of every page.
pub(crate) fn harden(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Without it SQLite looks at a parameter of LIMIT, and compiles the statement anew at every use.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.execute_batch("PRAGMA cell_size_check = ON")
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// `SQLite` says the same of a file that it may not open and of a process that may open no further one. A
/// database takes three: what could be opened before the failure is closed again by then.
fn or_too_many_files(error: Error) -> Error {
    let room = || (0..3).map(|_| File::open("/dev/null")).collect::<std::io::Result<Vec<_>>>();
    match (error.fault(), room()) {
        (Fault::CannotOpen, Err(source)) => {
            Error::Io { path: error.path().to_owned(), operation: "open", source }
        }
        _ => error,
    }
}

/// Everything but the plainest characters is escaped, so that no path can end the URI early.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn built(dir: &tempfile::TempDir, name: &str) -> PathBuf {
        let path = fs::canonicalize(dir.path()).unwrap().join(name);
        let db = Database::build(&path).unwrap();
        db.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
        drop(db.finish().unwrap());
        path
    }

    #[test]
    fn sqlite_is_new_enough() {
        // Older releases can lose commits of a WAL database.
        assert!(rusqlite::version_number() >= 3_051_003, "SQLite {}", rusqlite::version());
    }

    #[test]
    fn opening_never_creates() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.db");
        for opened in [Database::write(&path), Database::read(&path), Database::inspect(&path)] {
            assert!(opened.is_err());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_finished_build_is_in_wal_mode_without_sidecars() {
        let dir = tempfile::tempdir().unwrap();
        let path = built(&dir, "x.db");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(Unopened::claim(&path).unwrap().header().unwrap().wal);
        let db = Database::write(&path).unwrap();
        let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("synchronous"), 2);
        assert_eq!(pragma("foreign_keys"), 1);
        assert_eq!(pragma("auto_vacuum"), 2);
        assert_eq!(pragma("trusted_schema"), 0);
        assert_eq!(pragma("busy_timeout"), 5000);
    }

    #[test]
    fn a_statement_with_a_limit_is_compiled_once() {
        let db = Database::scratch(None).unwrap();
        let mut statement = db.prepare("SELECT 1 LIMIT ?1 OFFSET ?2").unwrap();
        for limit in 1..4 {
            assert!(statement.exists([limit, 0]).unwrap());
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }

    #[test]
    fn inspecting_a_file_with_and_without_a_wal_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let live = built(&dir, "live.db");
        let copy = live.with_file_name("a copy %?#.db");
        {
            let db = Database::write(&live).unwrap();
            db.execute_batch("INSERT INTO t VALUES (2)").unwrap();
            fs::copy(&live, &copy).unwrap();
            fs::copy(sidecar(&live, "-wal"), sidecar(&copy, "-wal")).unwrap();
        }
        for (path, rows) in [(&live, 2), (&copy, 2)] {
            let wal = sidecar(path, "-wal");
            let before = (fs::read(path).unwrap(), fs::read(&wal).ok());
            {
                let db = Database::inspect(path).unwrap();
                let count: i64 = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
                assert_eq!(count, rows, "{}", path.display());
                assert!(db.execute_batch("DELETE FROM t").is_err());
            }
            assert_eq!(before, (fs::read(path).unwrap(), fs::read(&wal).ok()), "{}", path.display());
            assert!(!sidecar(path, "-shm").exists());
        }
    }

    #[test]
    fn a_database_at_rest_is_looked_at_twice_and_one_with_a_wal_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = built(&dir, "x.db");
        let first = Database::inspect(&path).unwrap();
        let second = first.beside().unwrap().expect("there is no -wal");
        for db in [&first, &second] {
            assert_eq!(db.query_row("SELECT a FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        }
        drop((first, second));
        let writer = Database::write(&path).unwrap();
        writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        let copy = path.with_file_name("copy.db");
        fs::copy(&path, &copy).unwrap();
        fs::copy(sidecar(&path, "-wal"), sidecar(&copy, "-wal")).unwrap();
        assert!(Database::inspect(&copy).unwrap().beside().unwrap().is_none());
    }

    #[test]
    fn a_scratch_copy_can_be_changed_and_is_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = built(&dir, "x.db");
        let before = fs::read(&path).unwrap();
        let source = Database::inspect(&path).unwrap();
        let scratch = Database::scratch(Some(&source)).unwrap();
        scratch.execute_batch("INSERT INTO t VALUES (2); CREATE TABLE u (a)").unwrap();
        let count: i64 = scratch.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 2);
        drop((scratch, source));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_read_only_disk_or_file_is_not_opened_for_writing() {
        let dir = tempfile::tempdir().unwrap();
        let path = built(&dir, "x.db");
        let reader = Database::read(&path).unwrap();
        assert!(reader.execute_batch("INSERT INTO t VALUES (3)").is_err());
    }

    #[test]
    fn long_statements_end_when_they_are_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::write(&built(&dir, "x.db")).unwrap();
        db.execute_batch(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
             INSERT INTO t SELECT i FROM n; CREATE INDEX by_a ON t (a); DELETE FROM t WHERE a > 10000",
        )
        .unwrap();
        let pages = || db.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0)).unwrap();
        let before = pages();
        for statement in ["ANALYZE", "REINDEX", "VACUUM", "PRAGMA integrity_check"] {
            let asked = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&asked);
            db.stop_when(move || counter.fetch_add(1, Ordering::Relaxed) >= 2).unwrap();
            let stopped =
                db.prepare(statement).and_then(|mut statement| statement.raw_query().next().map(drop));
            let fault = stopped.of(db.path()).unwrap_err().fault();
            assert_eq!((fault, asked.load(Ordering::Relaxed)), (Fault::Interrupted, 3), "{statement}");
            assert!(db.is_autocommit());
        }
        db.stop_when(|| false).unwrap();
        assert_eq!(pages(), before, "nothing of it remains");
        db.execute_batch("VACUUM").unwrap();
        assert!(pages() < before);
    }
}
