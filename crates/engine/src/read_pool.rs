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

/// Connections that read one database in WAL mode, opened as they are needed.
pub struct ReadPool {
    pool: r2d2::Pool<Manager>,
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
        Self { pool, path: path.to_owned(), open }
    }

    /// Closes the connections and returns when they are closed. Dropping the pool would leave that to the
    /// pool's own thread where it has just opened one, and the database's last connection must not be a
    /// reader, which cannot empty the `-wal`.
    pub fn close(self) {
        let Self { pool, path, open } = self;
        drop(pool);
        let deadline = Instant::now() + WAIT;
        while Arc::strong_count(&open) > 1 {
            if Instant::now() >= deadline {
                tracing::warn!(path = %path.display(), "a reader does not close");
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Runs a closure on one of the connections, in one snapshot.
    pub fn read<T, E: From<LiveError> + From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pooled = self
            .pool
            .get()
            .map_err(|_| LiveError::Busy { path: self.path.clone(), reason: Busy::Connections })?;
        let tx = pooled.db.transaction()?;
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
