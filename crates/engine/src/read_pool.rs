//! A pool of connections that read one much-used database: the control plane's.
//!
//! Apps' databases are many and mostly idle, and [`live`](crate::live) opens readers for them as they
//! are needed. The control database is one and read by every request.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use r2d2::ManageConnection;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};
use scheduled_thread_pool::{OnPoolDropBehavior, ScheduledThreadPool};

use crate::connect::{self, BUSY_TIMEOUT};
use crate::live::{Busy, LiveError};
use crate::unopened::OpenMark;

/// Connections of a pool.
const CONNECTIONS: u32 = 4;

/// How long a reader waits for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// Connections that read one database in WAL mode, opened as they are needed. When it is dropped they are closed, also
/// one that the pool's own thread has just opened: whoever opens the file next finds nobody else who has it, and the
/// database's last connection must not be a reader, which cannot empty the `-wal`.
pub struct ReadPool {
    // The pool goes first: fields drop in order.
    pool: r2d2::Pool<Manager>,
    connections: Connections,
}

/// Waits, when it is dropped, until no connection is open.
struct Connections {
    path: PathBuf,
    open: Arc<()>,
}

/// Opens a pool's connections; it and each of them have a share in what says that some are open.
struct Manager {
    connections: SqliteConnectionManager,
    path: PathBuf,
    open: Arc<()>,
}

struct Pooled {
    // Closed before it is said to be: fields drop in order.
    db: Connection,
    _mark: OpenMark,
    _open: Arc<()>,
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = PoolError;

    fn connect(&self) -> Result<Pooled, PoolError> {
        let mark = OpenMark::set(&self.path)?;
        Ok(Pooled { db: self.connections.connect()?, _mark: mark, _open: Arc::clone(&self.open) })
    }

    fn is_valid(&self, _: &mut Pooled) -> Result<(), PoolError> {
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        !pooled.db.is_autocommit()
    }
}

/// One thread, which ends with its pool instead of waiting for what is to be done next.
fn housekeeper() -> ScheduledThreadPool {
    ScheduledThreadPool::builder()
        .num_threads(1)
        .on_drop_behavior(OnPoolDropBehavior::DiscardPendingScheduled)
        .build()
}

/// Why a connection cannot be opened.
#[derive(Debug, thiserror::Error)]
enum PoolError {
    #[error(transparent)]
    Engine(#[from] crate::Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl ReadPool {
    /// A pool for a database of ours that is open for writing elsewhere in this process.
    pub fn new(path: &Path) -> Self {
        let open = Arc::new(());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connections = SqliteConnectionManager::file(path).with_flags(flags).with_init(|db| {
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
            .thread_pool(Arc::new(housekeeper()))
            .build_unchecked(Manager { connections, path: path.to_owned(), open: Arc::clone(&open) });
        Self { pool, connections: Connections { path: path.to_owned(), open } }
    }

    /// Runs a closure on one of the connections, in one snapshot.
    pub fn read<T, E: From<LiveError> + From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pooled = self.pool.get().map_err(|_| LiveError::Busy {
            path: self.connections.path.clone(),
            reason: Busy::Connections,
        })?;
        let tx = pooled.db.transaction()?;
        let result = work(&tx)?;
        tx.commit()?;
        Ok(result)
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        let deadline = Instant::now() + WAIT;
        while Arc::strong_count(&self.open) > 1 {
            if Instant::now() >= deadline {
                tracing::warn!(path = %self.path.display(), "a reader does not close");
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
}

impl fmt::Debug for ReadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadPool").field("path", &self.connections.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, Unopened};

    #[test]
    fn a_pool_that_is_dropped_has_closed_what_its_own_thread_was_opening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        Database::build(&path).unwrap().finish().unwrap();
        for _ in 0..200 {
            let pool = ReadPool::new(&path);
            thread::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    // Those who come first may have given theirs back before another is open.
                    scope.spawn(|| pool.read(|db| Ok::<_, Failed>(db.is_autocommit())).unwrap());
                }
            });
            drop(pool);
            drop(Unopened::claim(&path).unwrap());
        }
    }

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error(transparent)]
        Live(#[from] LiveError),
        #[error(transparent)]
        Sqlite(#[from] rusqlite::Error),
    }
}
