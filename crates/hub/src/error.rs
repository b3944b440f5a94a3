//! Why a hub cannot be opened or an operation on it fails.

use std::path::PathBuf;

use streamhub_engine::{Error, Fault, Unfit, filesystem};

use crate::secrets::SecretsError;

/// A failed operation on a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A file operation failed or a file was refused.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The control database was refused.
    #[error("the control database cannot be used: {0}")]
    Control(#[source] Error),
    /// The backup before the take-over failed, so nothing was touched.
    #[error("the backup failed, so nothing was changed: {0}")]
    Backup(#[source] Error),
    /// Another process uses the data directory.
    #[error("{}: the data directory is in use by {}", path.display(), holder(*.pid))]
    InUse {
        /// What shows it: the lock file, or a database with a foreign lock.
        path: PathBuf,
        /// The holder's process id, where the system tells.
        pid: Option<i32>,
    },
    /// The filesystem would lose data.
    #[error("{}: {refused}", path.display())]
    Filesystem {
        /// The directory.
        path: PathBuf,
        /// Why.
        refused: filesystem::Refused,
    },
    /// There is no data directory.
    #[error("{}: there is no such data directory", path.display())]
    NoDataDir {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something else is in the data directory's place.
    #[error("{}: it is a file, and the data directory has to be a directory", path.display())]
    NotADirectory {
        /// Where the data directory was looked for.
        path: PathBuf,
    },
    /// Two control databases, and no way to tell which one is meant.
    #[error("{} and {} are both there, and only one can be the control database", new.display(), older.display())]
    TwoControls {
        /// In the data directory itself.
        new: PathBuf,
        /// In its `data/`.
        older: PathBuf,
    },
    /// There are traces of an installation, but no control database.
    #[error("{}: the control database is missing, although {trace} is there", path.display())]
    ControlMissing {
        /// Where it was expected.
        path: PathBuf,
        /// What shows that this is no new installation.
        trace: String,
    },
    /// Apps are registered, but none of them has a directory.
    #[error("{}: {registered} apps are registered and none of them has a directory", apps.display())]
    NoAppDirectory {
        /// The directory of all apps.
        apps: PathBuf,
        /// How many apps are registered.
        registered: usize,
    },
    /// Not enough space for what is about to be done.
    #[error("{}: {needed} bytes are needed and {free} are free", path.display())]
    NoSpace {
        /// A directory of the filesystem in question.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// `secrets.json` is unreadable.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// No app of this name is registered.
    #[error("no app is called {name:?}")]
    UnknownApp {
        /// The name.
        name: String,
    },
    /// The directory is there, but holds no installation and no older data.
    #[error("{}: the directory holds no installation", path.display())]
    NoInstallation {
        /// The data directory.
        path: PathBuf,
    },
    /// An older system's control database, where nothing is wired in, or wanted, that takes it over.
    #[error("{}: it is an older system's control database (version {version}) that was not taken over yet", path.display())]
    NotTakenOver {
        /// The control database.
        path: PathBuf,
        /// The older schema's version.
        version: u32,
    },
    /// No user has this address.
    #[error("no user has the address {email:?}")]
    UnknownUser {
        /// The address.
        email: String,
    },
    /// Several users have this address.
    #[error("several users have the address {email:?}, so it is not clear who is meant")]
    AmbiguousUser {
        /// The address.
        email: String,
    },
    /// The hub was closed before.
    #[error("the hub is closed")]
    Closed,
}

/// What a caller does about a failure; the command line's exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The operation failed.
    Failed,
    /// A source is missing.
    SourceMissing,
    /// Someone else holds the data directory.
    InUse,
    /// The configuration or the installation has to be mended by a person.
    Configuration,
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or_else(
        || "another process whose pid is not visible from here".to_owned(),
        |pid| format!("pid {pid}"),
    )
}

impl HubError {
    /// An error of the control database: refusals of the file are told from failures of the disk.
    pub fn control(error: Error) -> Self {
        match error {
            Error::Unfit { path, unfit: Unfit::Held { pid } } => Self::InUse { path, pid },
            error => Self::Control(error),
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::InUse { .. } => Kind::InUse,
            Self::NoDataDir { .. } | Self::NoInstallation { .. } => Kind::SourceMissing,
            Self::Control(error) => match error.fault() {
                Fault::Busy => Kind::InUse,
                Fault::Full | Fault::Io | Fault::ReadOnly => Kind::Failed,
                // The file was there to be judged; SQLite has one word for no right, no descriptor and no
                // room for the files beside it.
                Fault::CannotOpen if matches!(error, Error::Sqlite { .. }) => Kind::Failed,
                _ => Kind::Configuration,
            },
            Self::Engine(error) if error.fault() == Fault::Busy => Kind::InUse,
            Self::Engine(_)
            | Self::Backup(_)
            | Self::NoSpace { .. }
            | Self::UnknownApp { .. }
            | Self::UnknownUser { .. }
            | Self::AmbiguousUser { .. }
            | Self::Closed => Kind::Failed,
            Self::Filesystem { .. }
            | Self::NotADirectory { .. }
            | Self::TwoControls { .. }
            | Self::ControlMissing { .. }
            | Self::NotTakenOver { .. }
            | Self::NoAppDirectory { .. }
            | Self::Secrets(_) => Kind::Configuration,
        }
    }

    /// What a person can do about it.
    pub fn way_out(&self) -> String {
        match self {
            Self::Engine(error) | Self::Control(error) | Self::Backup(error) => error.way_out().to_owned(),
            Self::InUse { .. } => "stop that process, or ask the running server".to_owned(),
            Self::Filesystem { .. } => "put the data directory on a local disk (ext4, XFS, Btrfs, ZFS)".to_owned(),
            Self::NoDataDir { .. } => {
                "check --data-dir and DATA_DIR; `streamhub serve` and `streamhub migrate` create one".to_owned()
            }
            Self::NotADirectory { .. } => "name a directory with --data-dir or DATA_DIR".to_owned(),
            Self::TwoControls { .. } => "move the one that is not in use out of the data directory".to_owned(),
            Self::ControlMissing { .. } => {
                "is the disk mounted? otherwise put the newest good backup (streamhub.db.bak-…, or one below backups/) in its place"
                    .to_owned()
            }
            Self::NotTakenOver { .. } => {
                "run `streamhub migrate` on it first".to_owned()
            }
            Self::NoInstallation { .. } => {
                "check --data-dir and DATA_DIR; `streamhub serve` and `streamhub migrate` begin one there".to_owned()
            }
            Self::NoAppDirectory { .. } => "is the disk with the apps mounted?".to_owned(),
            Self::NoSpace { .. } => "free space on that disk, then try again; nothing was changed".to_owned(),
            Self::Secrets(error) => error.way_out().unwrap_or_default(),
            Self::UnknownApp { .. } => "`streamhub app list` shows the names".to_owned(),
            Self::UnknownUser { .. } => "check the spelling; case does not count".to_owned(),
            Self::AmbiguousUser { .. } => "give them different addresses first".to_owned(),
            Self::Closed => "open it again".to_owned(),
        }
    }
}
