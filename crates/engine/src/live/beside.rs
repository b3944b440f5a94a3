//! A connection beside those of a database in service, for what reads for long and is in nobody's way there.

use std::fmt;
use std::ops::Deref;

use crate::cache::budget::Reservation;
use crate::connect::Database;
use crate::error::SqliteContext;
use crate::live::{Live, LiveError};

/// A connection that only reads, within the budget; it is closed when this is dropped.
///
/// Nobody waits for it, and it has no limit of time. Each statement sees a snapshot of its own, so that the
/// `-wal` can be emptied between them.
pub struct Beside {
    live: Live,
    // Only none while it is dropped.
    open: Option<(Database, Reservation)>,
}

impl Live {
    /// Opens one more connection, beside those that reads and writes take.
    pub fn beside(&self) -> Result<Beside, LiveError> {
        let reservation = self.shared.pool.reserve_beside()?;
        // One that may not write would leave a descriptor that no other connection can take over.
        let opened = Database::write(self.path()).and_then(|db| {
            db.execute_batch("PRAGMA query_only = ON").of(db.path())?;
            Ok(db)
        });
        match opened {
            Ok(db) => Ok(Beside { live: self.clone(), open: Some((db, reservation)) }),
            Err(error) => {
                self.shared.pool.park(reservation);
                Err(LiveError::Failed(error))
            }
        }
    }
}

impl Deref for Beside {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.open.as_ref().expect("it is there until it is dropped").0
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some((db, reservation)) = self.open.take() {
            if let Err(error) = db.close() {
                tracing::warn!(path = %self.live.path().display(), %error, "a connection could not be closed");
            }
            self.live.shared.pool.park(reservation);
        }
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("path", &self.live.path()).finish_non_exhaustive()
    }
}
