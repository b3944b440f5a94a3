//! What a database in service can answer instead of a result.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ffi;

use crate::error::{Error, Fault};

/// A read or write that a database in service did not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// It could not be done in time; nothing was changed. Try again a little later.
    #[error("{}: {reason}", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
        /// What stood in the way.
        reason: Busy,
    },
    /// The transaction did not begin, or could not be prepared for; nothing was changed.
    #[error(transparent)]
    Failed(Error),
    /// A statement failed so that `SQLite` rolled the whole transaction back; nothing of it is there.
    #[error("{}: a statement failed and took its transaction with it{}", path.display(), because(detail.as_deref()))]
    TransactionLost {
        /// The database.
        path: PathBuf,
        /// What the closure itself reported, where it did.
        detail: Option<String>,
        /// The kind of failure, where that is known.
        fault: Option<Fault>,
    },
    /// The commit failed, and the write may be there or not. Read before writing again.
    #[error("{}: the commit failed, and the write may have happened or not: {source}", path.display())]
    CommitUnknown {
        /// The database.
        path: PathBuf,
        /// `SQLite`'s answer, shared by all writes of that transaction.
        source: Arc<rusqlite::Error>,
    },
    /// The closure panicked; what it had written was rolled back.
    #[error("{}: the closure panicked: {message}", path.display())]
    Panicked {
        /// The database.
        path: PathBuf,
        /// What the panic said.
        message: String,
    },
    /// A write was begun inside of a write to the same database, and would have waited for itself.
    #[error("{}: a write was begun inside of another", path.display())]
    Nested {
        /// The database.
        path: PathBuf,
    },
    /// A read took longer than it may, because it keeps the `-wal` from being emptied.
    #[error("{}: a read took longer than {} s", path.display(), limit.as_secs_f32())]
    TooLong {
        /// The database.
        path: PathBuf,
        /// How long a read may take.
        limit: Duration,
    },
    /// The database was found damaged and is out of service.
    #[error("out of service: {reason}")]
    OutOfService {
        /// What was found, and in which database.
        reason: Arc<Error>,
    },
    /// It was closed.
    #[error("{}: it was closed", path.display())]
    Closed {
        /// The database.
        path: PathBuf,
    },
}

/// Why something could not be done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Busy {
    /// The budget of connections and file descriptors is used up.
    #[error("as many databases are open as may be")]
    Budget,
    /// Somebody else is opening it.
    #[error("it is still being opened")]
    Opening,
    /// It is being closed, moved, restored or deleted.
    #[error("maintenance needs it alone")]
    Draining,
    /// Leases on it did not end in time.
    #[error("it is still in use")]
    InUse,
    /// All of its connections are at work.
    #[error("all of its connections are in use")]
    Connections,
    /// Too many writes wait.
    #[error("too many writes wait for it")]
    Queue,
    /// Too many wait already.
    #[error("too many wait for it")]
    Crowded,
    /// An operation does not come back: the disk does not answer, or somebody computes too long.
    #[error("an operation on it has not come back for a while")]
    Stuck,
}

fn because(detail: Option<&str>) -> String {
    detail.map(|detail| format!(": {detail}")).unwrap_or_default()
}

impl LiveError {
    /// What went wrong with the file or its disk, where that is known.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Failed(error) => Some(error.fault()),
            Self::TransactionLost { fault, .. } => *fault,
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "try again a little later",
            Self::Failed(error) => error.way_out(),
            Self::TransactionLost { .. } => "see the reason; nothing was changed",
            Self::CommitUnknown { .. } => "read what is there before writing again; check the disk",
            Self::Panicked { .. } | Self::Nested { .. } => {
                "nothing was changed; the program that embeds StreamHub has a bug"
            }
            Self::TooLong { .. } => "read less at a time",
            Self::OutOfService { .. } => "restore a backup of it, or look at it with `streamhub doctor`",
            Self::Closed { .. } => "open it again",
        }
    }
}

impl LiveError {
    /// The same error once more, for each of several callers that one failure concerns.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::Busy { path, reason } => Self::Busy { path: path.clone(), reason: *reason },
            Self::Failed(error) => Self::Failed(error.duplicate()),
            Self::TransactionLost { path, detail, fault } => {
                Self::TransactionLost { path: path.clone(), detail: detail.clone(), fault: *fault }
            }
            Self::CommitUnknown { path, source } => {
                Self::CommitUnknown { path: path.clone(), source: Arc::clone(source) }
            }
            Self::Panicked { path, message } => {
                Self::Panicked { path: path.clone(), message: message.clone() }
            }
            Self::Nested { path } => Self::Nested { path: path.clone() },
            Self::TooLong { path, limit } => Self::TooLong { path: path.clone(), limit: *limit },
            Self::OutOfService { reason } => Self::OutOfService { reason: Arc::clone(reason) },
            Self::Closed { path } => Self::Closed { path: path.clone() },
        }
    }
}

/// The kind of failure at the bottom of an error, where `SQLite` is.
pub(crate) fn fault_behind(error: &(dyn StdError + 'static)) -> Option<Fault> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(sqlite) = error.downcast_ref::<rusqlite::Error>() {
            return Some(Fault::of_sqlite(sqlite));
        }
        // All that is seen of an error that another one passes off as itself.
        if let Some(code) = error.downcast_ref::<ffi::Error>() {
            return Some(Fault::of_code(*code));
        }
        cause = error.source();
    }
    None
}
