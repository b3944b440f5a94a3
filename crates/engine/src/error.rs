//! What can go wrong with a file, and the way out.
//!
//! Every error names the file, says the reason, and where there is one, [`Error::way_out`] says
//! what a person can do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ffi;

/// The result of an operation on a file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation on a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A plain file operation failed.
    #[error("{}: cannot {operation}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as a verb phrase: `create the directory`.
        operation: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// `SQLite` refused or failed.
    #[error("{}: {}: {source}", path.display(), Fault::of_sqlite(source))]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// `SQLite`'s own error.
        source: rusqlite::Error,
    },
    /// The file is not one that may be opened, and was left as it was.
    #[error("{}: {unfit}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        unfit: Unfit,
    },
}

/// Why a file is refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// The file holds no byte.
    #[error("the file is empty (0 bytes), so whatever it held is lost")]
    Empty,
    /// A symbolic link in place of a file or directory.
    #[error("it is a symbolic link, which could lead outside the data directory")]
    Symlink,
    /// The file has other names, through which another program could change it.
    #[error("it has {links} hard links; another name could be changed behind our back")]
    HardLinked {
        /// How many names the file has.
        links: u64,
    },
    /// A FIFO, socket, device or directory.
    #[error("it is a {kind}, not a regular file")]
    NotAFile {
        /// What it is instead.
        kind: &'static str,
    },
    /// Something else where a directory is needed.
    #[error("it is not a directory")]
    NotADirectory,
    /// Nobody may write the file.
    #[error("it is read-only")]
    ReadOnly,
    /// The first bytes are not those of an `SQLite` database.
    #[error("it is not an SQLite database")]
    NotADatabase,
    /// The file is shorter than its own header says.
    #[error("it is truncated: its header speaks of {expected} bytes, it has {actual}")]
    Truncated {
        /// Bytes according to the header.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// The content is damaged.
    #[error("it is damaged: {detail}")]
    Corrupt {
        /// The first finding of the check.
        detail: String,
    },
    /// An SQLite database of some other program.
    #[error("it is a database of another program: {detail}")]
    Foreign {
        /// What gave it away.
        detail: String,
    },
    /// A database of ours that does not say whose it is, or says what cannot be.
    #[error("it does not say whose it is: {detail}")]
    BadIdentity {
        /// What is missing or cannot be.
        detail: String,
    },
    /// A schema that this program does not know yet.
    #[error("its schema version {found} is newer than this program knows ({known})")]
    TooNew {
        /// `user_version` of the file.
        found: i64,
        /// The newest version that this program knows.
        known: u32,
    },
    /// A migration that was already applied reads differently in this program.
    #[error("migration {version} was applied with another text than this program holds")]
    EditedMigration {
        /// The migration's number.
        version: u32,
    },
    /// Triggers, views and virtual tables of a file from outside would run with our rights.
    #[error("it holds the {kind} {name:?}, which would run inside this program")]
    HoldsCode {
        /// `trigger`, `view` or `virtual table`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A rollback journal that some other program left half done.
    #[error("an interrupted transaction's journal lies beside it")]
    HotJournal,
    /// A `-wal` that was not checkpointed: the file alone lacks what is in it.
    #[error("its -wal lies beside it, with content that the file alone lacks")]
    WalBeside,
    /// A seal that cannot be read.
    #[error("it is not a seal: {detail}")]
    BadSeal {
        /// What is wrong with it.
        detail: String,
    },
    /// Another file than the one that its seal speaks of.
    #[error("it is not what was sealed: {detail}")]
    NotAsSealed {
        /// What the seal says and what was found.
        detail: String,
    },
    /// Another process has it open.
    #[error("another process has it open ({})", Holder(*.pid))]
    Held {
        /// The process id, where the system tells.
        pid: Option<i32>,
    },
    /// This process has a connection to it, so plain file access would drop the connection's locks.
    #[error("this program has it open itself")]
    OpenHere,
    /// Something is there already.
    #[error("it is already there")]
    Exists,
    /// The content contradicts what was expected of it.
    #[error("{detail}")]
    Mismatch {
        /// What was expected and what was found.
        detail: String,
    },
}

struct Holder(Option<i32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "pid {pid}"),
            None => f.write_str("its pid is not visible from here"),
        }
    }
}

/// The few kinds of failure that callers act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Locked by someone else for longer than the busy timeout.
    Busy,
    /// No space, no inodes, or a quota or file size limit.
    Full,
    /// The disk failed.
    Io,
    /// The content is damaged.
    Corrupt,
    /// Not an SQLite database at all.
    NotADatabase,
    /// Cannot be opened: missing, or no permission.
    CannotOpen,
    /// The process, or the machine, has as many files open as it may.
    TooManyFiles,
    /// The file or its disk cannot be written.
    ReadOnly,
    /// A row breaks a constraint.
    Constraint,
    /// A statement was stopped, because it took too long.
    Interrupted,
    /// Anything else.
    Other,
}

impl Fault {
    /// Classifies an error of `SQLite`.
    pub fn of_sqlite(error: &rusqlite::Error) -> Self {
        error.sqlite_error().map_or(Self::Other, |sqlite| Self::of_code(*sqlite))
    }

    pub(crate) fn of_code(sqlite: ffi::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match (sqlite.code, sqlite.extended_code) {
            // Growing the wal-index fails with this where the disk is full.
            (Code::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            (Code::DatabaseBusy | Code::DatabaseLocked, _) => Self::Busy,
            (Code::SystemIoFailure, _) => Self::Io,
            (Code::DatabaseCorrupt, _) => Self::Corrupt,
            (Code::NotADatabase, _) => Self::NotADatabase,
            (Code::CannotOpen, _) => Self::CannotOpen,
            (Code::ReadOnly, _) => Self::ReadOnly,
            (Code::ConstraintViolation, _) => Self::Constraint,
            (Code::OperationInterrupted, _) => Self::Interrupted,
            _ => Self::Other,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            _ if matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) => {
                Self::TooManyFiles
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Self::CannotOpen,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "another program holds a lock on it",
            Self::Full => "the disk is full",
            Self::Io => "the disk failed",
            Self::Corrupt => "the database is damaged",
            Self::NotADatabase => "not an SQLite database",
            Self::CannotOpen => "cannot be opened",
            Self::TooManyFiles => "as many files are open as may be",
            Self::ReadOnly => "cannot be written",
            Self::Constraint => "a row breaks a constraint",
            Self::Interrupted => "it was stopped",
            Self::Other => "SQLite refused",
        })
    }
}

impl Error {
    /// The file that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. } | Self::Sqlite { path, .. } | Self::Unfit { path, .. } => path,
        }
    }

    /// The kind of failure.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Io { source, .. } => Fault::of_io(source),
            Self::Sqlite { source, .. } => Fault::of_sqlite(source),
            Self::Unfit { unfit, .. } => match unfit {
                Unfit::Missing => Fault::CannotOpen,
                Unfit::ReadOnly => Fault::ReadOnly,
                Unfit::NotADatabase | Unfit::Empty => Fault::NotADatabase,
                Unfit::Truncated { .. } | Unfit::Corrupt { .. } => Fault::Corrupt,
                Unfit::Held { .. } => Fault::Busy,
                _ => Fault::Other,
            },
        }
    }

    /// What a person can do about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::Unfit { unfit, .. } => unfit.way_out(),
            _ => match self.fault() {
                Fault::Busy => "try again a little later, or stop the other program that has it open",
                Fault::Full => "free space on that disk, then try again; nothing is half done",
                Fault::Io => "check the disk and the kernel log, then try again; nothing is half done",
                Fault::Corrupt | Fault::NotADatabase => Unfit::RESTORE,
                Fault::CannotOpen => {
                    "check that it exists, that this user may read and write it, and that its disk has room for a -wal beside it"
                }
                Fault::TooManyFiles => {
                    "try again a little later, or let the process open more files (ulimit -n)"
                }
                Fault::ReadOnly => "make the file and its disk writable for this user",
                Fault::Constraint | Fault::Interrupted | Fault::Other => {
                    "see the reason; nothing was changed"
                }
            },
        }
    }

    /// The same error once more, for each of several callers that one failure concerns.
    pub(crate) fn duplicate(&self) -> Self {
        let path = self.path().to_owned();
        match self {
            Self::Io { operation, source, .. } => Self::Io {
                path,
                operation,
                source: source.raw_os_error().map_or_else(
                    || io::Error::new(source.kind(), source.to_string()),
                    io::Error::from_raw_os_error,
                ),
            },
            Self::Sqlite { source, .. } => Self::Sqlite {
                path,
                source: match source {
                    rusqlite::Error::SqliteFailure(code, text) => {
                        rusqlite::Error::SqliteFailure(*code, text.clone())
                    }
                    other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
                },
            },
            Self::Unfit { unfit, .. } => Self::Unfit { path, unfit: unfit.clone() },
        }
    }

    pub(crate) fn unfit(path: &Path, unfit: Unfit) -> Self {
        Self::Unfit { path: path.to_owned(), unfit }
    }
}

impl Unfit {
    const RESTORE: &'static str = "put a good copy in its place, or move it away";

    fn way_out(&self) -> &'static str {
        match self {
            Self::Missing => "is the disk mounted? otherwise restore the file from a backup",
            Self::Empty | Self::Truncated { .. } | Self::Corrupt { .. } | Self::NotADatabase => Self::RESTORE,
            Self::Symlink => "put the file itself there; a whole app directory may be a mount of its own",
            Self::HardLinked { .. } => "replace it by a copy of its own (cp, then mv)",
            Self::NotAFile { .. } => "move it away and put the database there",
            Self::NotADirectory => "move it away, or name another directory",
            Self::ReadOnly => "make it writable for this user (chmod u+w; lsattr shows an immutable flag)",
            Self::Foreign { .. } => "move it away; if it is yours, check which program wrote it",
            Self::TooNew { .. } => "use the newer program that wrote it, or restore a backup of before",
            Self::EditedMigration { .. } => "use the release that wrote the database",
            Self::HoldsCode { .. } => "drop it with sqlite3 after a look, then try again",
            Self::HotJournal => {
                "let the program that wrote it finish, or open it once with sqlite3 so that it is rolled back"
            }
            Self::WalBeside => "seal it where it is in use, then copy it again",
            Self::BadIdentity { .. } => "restore it from a backup; nothing was done with this one",
            Self::BadSeal { .. } => "restore the seal, or remove it to go on without one",
            Self::NotAsSealed { .. } => {
                "copy it again from a sealed source, or take it unsealed after a full check"
            }
            Self::Held { .. } => "stop that process, then try again",
            Self::OpenHere => "let go of it first, or try again a little later",
            Self::Exists => "choose another name, or move it away",
            Self::Mismatch { .. } => "nothing was changed; see the reason",
        }
    }
}

/// Gives an error of the operating system its file and what was tried.
pub(crate) trait IoContext<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T> {
        self.map_err(|source| Error::Io { path: path.to_owned(), operation, source })
    }
}

impl<T> IoContext<T> for nix::Result<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T> {
        self.map_err(io::Error::from).at(path, operation)
    }
}

/// Gives an error of `SQLite` its file.
pub trait SqliteContext<T> {
    /// Names the database in the error.
    fn of(self, path: &Path) -> Result<T>;
}

impl<T> SqliteContext<T> for rusqlite::Result<T> {
    fn of(self, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Sqlite { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn codes_that_mean_one_thing_to_a_user() {
        let cases = [
            (ffi::SQLITE_FULL, Fault::Full),
            (ffi::SQLITE_IOERR_SHMSIZE, Fault::Full),
            (ffi::SQLITE_IOERR_WRITE, Fault::Io),
            (ffi::SQLITE_IOERR_FSYNC, Fault::Io),
            (ffi::SQLITE_IOERR_LOCK, Fault::Io),
            (ffi::SQLITE_BUSY, Fault::Busy),
            (ffi::SQLITE_BUSY_SNAPSHOT, Fault::Busy),
            (ffi::SQLITE_CORRUPT, Fault::Corrupt),
            (ffi::SQLITE_NOTADB, Fault::NotADatabase),
            (ffi::SQLITE_CANTOPEN, Fault::CannotOpen),
            (ffi::SQLITE_READONLY, Fault::ReadOnly),
            (ffi::SQLITE_CONSTRAINT_CHECK, Fault::Constraint),
        ];
        for (code, fault) in cases {
            assert_eq!(Fault::of_sqlite(&sqlite(code)), fault, "code {code}");
        }
        let enospc = io::Error::from_raw_os_error(nix::libc::ENOSPC);
        assert_eq!(Fault::of_io(&enospc), Fault::Full);
        let emfile = io::Error::from_raw_os_error(nix::libc::EMFILE);
        assert_eq!(Fault::of_io(&emfile), Fault::TooManyFiles);
    }

    #[test]
    fn an_error_names_the_file_and_the_reason() {
        let error = Error::unfit(Path::new("apps/demo/app.db"), Unfit::Held { pid: Some(42) });
        assert_eq!(error.to_string(), "apps/demo/app.db: another process has it open (pid 42)");
        assert!(error.way_out().contains("stop that process"));
    }
}
