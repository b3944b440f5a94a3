//! One connection of a database in service: what closures may do on it, and for how long they may read.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization, Wal};

use crate::connect::Database;
use crate::durable;
use crate::error::{Result, SqliteContext};
use crate::unopened::sidecar;

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 64;

/// Steps of `SQLite`'s machine between two looks at the clock, some tenths of a millisecond.
const STEPS: i32 = 10_000;

thread_local! {
    /// Pages in the `-wal` after the last commit of this thread.
    static WAL_PAGES: Cell<i32> = const { Cell::new(0) };
}

/// A connection with its rules.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) db: Database,
    /// Whether a closure is running, which may not do everything.
    guarded: Arc<AtomicBool>,
    /// Milliseconds after `born` at which a read is to stop; 0 for never.
    stop_at: Arc<AtomicU64>,
    born: Instant,
    /// Whether this connection was made ready for writing.
    pub(crate) writes: bool,
}

impl Conn {
    pub(crate) fn open(path: &Path, protected: &'static [&'static str]) -> Result<Self> {
        Database::write(path).and_then(|db| Self::around(db, protected))
    }

    /// Closures may read the protected tables, and not write to them.
    pub(crate) fn around(db: Database, protected: &'static [&'static str]) -> Result<Self> {
        let (guarded, stop_at) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let born = Instant::now();
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        let is_guarded = Arc::clone(&guarded);
        let limit = Arc::clone(&stop_at);
        db.authorizer(Some(move |context: AuthContext<'_>| {
            if is_guarded.load(Ordering::Relaxed) {
                judge(context.action, protected)
            } else {
                Authorization::Allow
            }
        }))
        .and_then(|()| {
            db.progress_handler(
                STEPS,
                Some(move || {
                    let stop_at = limit.load(Ordering::Relaxed);
                    stop_at > 0 && millis(born.elapsed()) >= stop_at
                }),
            )
        })
        .and_then(|()| {
            // Where SQLite has rolled the transaction back, the closure's next statement would be one of its
            // own, committed at once.
            let is_guarded = Arc::clone(&guarded);
            db.commit_hook(Some(move || is_guarded.load(Ordering::Relaxed)))
        })
        .of(db.path())?;
        Ok(Self { db, guarded, stop_at, born, writes: false })
    }

    /// Makes the connection ready for writing: when a commit is durable, and who empties the `-wal`.
    pub(crate) fn prepare_for_writes(&mut self, durability: Durability) -> Result<()> {
        if self.writes {
            return Ok(());
        }
        if durability == Durability::Normal {
            self.db.execute_batch("PRAGMA synchronous = NORMAL").of(self.db.path())?;
        }
        // Takes the place of SQLite's own hook, which checkpoints inside a commit.
        self.db.wal_hook(Some(note_wal_pages));
        self.writes = true;
        Ok(())
    }

    /// Runs a closure under the rules.
    pub(crate) fn guarded<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Unguard<'a>(&'a AtomicBool);
        impl Drop for Unguard<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        self.guarded.store(true, Ordering::Relaxed);
        let _unguard = Unguard(&self.guarded);
        work()
    }

    /// Lets the statements of a read end with an error after `limit`; none for a write.
    pub(crate) fn stop_after(&self, started: Instant, limit: Option<Duration>) {
        let stop_at = limit.map_or(0, |limit| millis(started.duration_since(self.born) + limit).max(1));
        self.stop_at.store(stop_at, Ordering::Relaxed);
    }

    /// Runs one of the few statements that begin and end transactions.
    pub(crate) fn control(&self, sql: &str) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Pages in the `-wal` after the last commit of this thread since [`Self::forget_wal_pages`].
    pub(crate) fn wal_pages() -> i32 {
        WAL_PAGES.get()
    }

    /// Forgets the last commit of this thread, which may have been one to another database.
    pub(crate) fn forget_wal_pages() {
        WAL_PAGES.set(0);
    }

    /// Copies what can be copied from the `-wal` into the database, waiting for nobody.
    pub(crate) fn checkpoint_passively(&self) -> Result<()> {
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).of(self.db.path())
    }

    /// Cuts off what a transaction that was rolled back has left in the `-wal`.
    ///
    /// A commit that found no room may be there all the same: where its last frame's header was written and the
    /// page behind it was not, the page that an earlier transaction left in that place can be the same. `SQLite`
    /// does not look at it any more, but after a crash it would.
    pub(crate) fn forget_rolled_back(&self) -> Result<()> {
        const HEADER: u64 = 32;
        const FRAME_HEADER: u64 = 24;
        let path = self.db.path();
        let number = |sql, column| self.db.query_row(sql, [], |row| row.get::<_, u64>(column)).of(path);
        let frames = number("PRAGMA wal_checkpoint(NOOP)", 1)?;
        let page = number("PRAGMA page_size", 0)?;
        // SQLite takes no locks on a -wal that closing a descriptor of it could drop. Nobody commits in between:
        // there is one writer, and whoever writes from outside of the process is against the rules already.
        durable::shorten(&sidecar(path, "-wal"), HEADER + frames * (FRAME_HEADER + page))
    }

    /// Gives back what memory an idle connection does not need.
    pub(crate) fn rest(&self) -> Result<()> {
        self.db.flush_prepared_statement_cache();
        self.db.execute_batch("PRAGMA shrink_memory").of(self.db.path())
    }
}

/// When an acknowledged write is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    #[default]
    Full,
    /// At the next checkpoint: a power cut can take the last writes back.
    Normal,
}

#[allow(clippy::unnecessary_wraps, reason = "the hook's signature")]
fn note_wal_pages(_: &Wal, pages: i32) -> rusqlite::Result<()> {
    WAL_PAGES.set(pages);
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Closures work with rows. Transactions belong to the writer, the schema to the migrator, what says whose the
/// database is to whoever puts it into service, and other files and settings to nobody.
fn judge(action: AuthAction<'_>, protected: &[&str]) -> Authorization {
    /// Pragmas that change no row, also with an argument.
    const HARMLESS: [&str; 10] = [
        "data_version",
        "foreign_key_list",
        "freelist_count",
        "incremental_vacuum",
        "index_info",
        "index_list",
        "page_count",
        "page_size",
        "table_info",
        "table_xinfo",
    ];
    match action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Function { .. }
        | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }
            if !protected.contains(&table_name) =>
        {
            Authorization::Allow
        }
        AuthAction::Pragma { pragma_name, .. } if HARMLESS.contains(&pragma_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}
