//! A pool of connections that read one much-used database: the control plane's.
//!
//! Apps' databases are many and mostly idle, and [`live`](crate::live) opens readers for them as they
//! are needed. The control database is one and read by every request.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};
use scheduled_thread_pool::ScheduledThreadPool;

use crate::connect::{self, BUSY_TIMEOUT};
use crate::error::Result;
use crate::live::{Busy, LiveError};
use crate::unopened::OpenMark;

/// Connections of a pool.
const CONNECTIONS: u32 = 4;

/// How long a reader waits for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// Connections that read one database in WAL mode, opened as they are needed.
pub struct ReadPool {
    pool: r2d2::Pool<SqliteConnectionManager>,
    path: PathBuf,
    // The pool closes its connections first: fields drop in order.
    _mark: OpenMark,
}

impl ReadPool {
    /// A pool for a database of ours that is open for writing elsewhere in this process.
    pub fn new(path: &Path) -> Result<Self> {
        let mark = OpenMark::set(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let manager = SqliteConnectionManager::file(path).with_flags(flags).with_init(|db| {
            db.busy_timeout(BUSY_TIMEOUT)?;
            connect::harden(db)?;
            db.execute_batch("PRAGMA query_only = ON")
        });
        // A pool without a thread pool of its own would start three threads.
        let pool = r2d2::Pool::builder()
            .max_size(CONNECTIONS)
            .min_idle(Some(0))
            .connection_timeout(WAIT)
            .test_on_check_out(false)
            .thread_pool(Arc::new(ScheduledThreadPool::new(1)))
            .build_unchecked(manager);
        Ok(Self { pool, path: path.to_owned(), _mark: mark })
    }

    /// Runs a closure on one of the connections, in one snapshot.
    pub fn read<T, E: From<LiveError> + From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut db = self
            .pool
            .get()
            .map_err(|_| LiveError::Busy { path: self.path.clone(), reason: Busy::Connections })?;
        let tx = db.transaction()?;
        let result = work(&tx)?;
        tx.commit()?;
        Ok(result)
    }
}

impl fmt::Debug for ReadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadPool").field("path", &self.path).finish_non_exhaustive()
    }
}
