//! Why a hub cannot be opened or an operation on it fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use streamhub_appstore::StoreError;
use streamhub_control::PlaneError;
use streamhub_control::apps::Refused;
use streamhub_control::quotas::QuotaExceeded;
use streamhub_engine::cache::LeaseError;
use streamhub_engine::live::{Busy, LiveError};
use streamhub_engine::{AppId, Error, Fault, Unfit, filesystem};

use crate::app_config::AppConfigError;
use crate::hub::Hub;
use crate::report::counted;
use crate::secrets::SecretsError;

pub use crate::kind::Kind;

/// The result of an operation on a hub.
pub type Result<T, E = HubError> = std::result::Result<T, E>;

/// A failed operation on a hub.
///
/// Its text is for people and names no secret; [`kind`](Self::kind) is for programs and
/// [`way_out`](Self::way_out) says what a person can do.
///
/// ```
/// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
/// use streamhub::Kind;
///
/// let error = hub.app(&"no-such-app".parse()?).unwrap_err();
/// assert_eq!(error.kind(), Kind::NotFound);
/// assert_eq!(error.to_string(), "no app is called \"no-such-app\"");
/// assert_eq!(error.way_out(), "`streamhub app list` shows the names");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// A file or directory that the caller named is not there.
    #[error("{}: there is no such file", path.display())]
    NoSource {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file that the caller named is refused.
    #[error(transparent)]
    Source(Error),
    /// There is no data directory.
    #[error("{}: there is no such data directory", path.display())]
    NoDataDir {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A new installation is to begin in a directory that holds others.
    #[error("{}: the directory holds no installation, but the directory {found:?}", path.display())]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
        /// One of those that it holds.
        found: String,
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
    #[error("{}: {} registered, and none has a directory", apps.display(), counted(*.registered, "app"))]
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
    /// A step in an app's life was begun and is not finished; that is tried again without being asked for.
    #[error("what was begun with {app} is not finished: {source}")]
    Unfinished {
        /// The app.
        app: AppId,
        /// What was in the way.
        source: Box<HubError>,
    },
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
    /// Without this user nobody could administrate the installation.
    #[error("{user:?} is the only superadmin who can log in")]
    LastSuperadmin {
        /// The user's address.
        user: String,
    },
    /// It could not be done in time; try again a little later.
    #[error("{what}: {reason}")]
    Busy {
        /// The app, or the database.
        what: String,
        /// What stood in the way.
        reason: Busy,
    },
    /// An app is set aside, because its database could not be opened.
    #[error("{app} is out of service: {reason}")]
    OutOfService {
        /// The app.
        app: AppId,
        /// What was found when it was opened last.
        #[source]
        reason: Arc<HubError>,
        /// How long until it is tried again.
        retry_in: Duration,
    },
    /// An app's database did not do what was asked.
    #[error(transparent)]
    Live(LiveError),
    /// The control database did not do what was asked.
    #[error("the control database: {0}")]
    Plane(#[source] PlaneError),
    /// A row of an app is refused, or not there.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry refuses a step in an app's life.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A tenant has as much of something as it may have.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// The app is registered, but not in service.
    #[error("{app} is {state}")]
    NotInService {
        /// The app.
        app: AppId,
        /// Where in its life it is, or how far its take-over is.
        state: String,
    },
    /// The app is registered, and its directory is not there, or empty as a mount point is, or without its database.
    #[error("{}: the app's directory or its database is missing", dir.display())]
    NoAppDir {
        /// Where it was expected.
        dir: PathBuf,
    },
    /// A directory is there already.
    #[error("{}: there is a directory already, and no app of this name is registered", dir.display())]
    DirectoryThere {
        /// The directory.
        dir: PathBuf,
    },
    /// The app was deleted here, and the copy that is to be adopted does not go on from what is in the trash.
    #[error("the same app is in the trash as {name:?}, and this copy does not go on from there")]
    InTrash {
        /// The name that it had.
        name: String,
    },
    /// The app's directory is a mount of its own, which cannot be renamed.
    #[error("{}: it is a mount of its own, which cannot be moved away", dir.display())]
    OwnMount {
        /// The directory.
        dir: PathBuf,
    },
    /// An app.db that is not the one that the registry points at, or a copy that may not be adopted.
    #[error("{}: {detail}", path.display())]
    NotItsOwn {
        /// The database or directory.
        path: PathBuf,
        /// What was expected and what was found.
        detail: String,
    },
    /// A directory that is to be adopted is not a sealed copy.
    #[error("{}: {detail}", path.display())]
    NotSealed {
        /// The directory.
        path: PathBuf,
        /// What is missing or does not match.
        detail: String,
    },
    /// What an app's `config.yaml` would become is refused.
    #[error("{}", all(.0))]
    AppConfig(Vec<AppConfigError>),
    /// An app's `config.yaml` cannot be used as it is.
    #[error("{}", all(.0))]
    BrokenAppConfig(Vec<AppConfigError>),
    /// Something of this name is there already.
    #[error("{noun} {name:?} is already there")]
    Exists {
        /// What it is.
        noun: &'static str,
        /// Its name.
        name: String,
    },
    /// Nothing of this name is there.
    #[error("there is no {noun} {name:?}")]
    NotFound {
        /// What was looked for.
        noun: &'static str,
        /// Its name.
        name: String,
    },
    /// Something that a caller asked for is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// A step of several failed. Those before it are done.
    #[error("{step}: {source}")]
    Step {
        /// What was to be done.
        step: &'static str,
        /// Why it was not.
        source: Box<HubError>,
    },
    /// An app has as many jobs that wait as it may have.
    #[error("{app}: as many jobs wait for it as may")]
    TooManyJobs {
        /// The app.
        app: String,
    },
    /// Somebody ended it before it was done.
    #[error("it was cancelled")]
    Cancelled,
    /// The hub was closed before.
    #[error("the hub is closed")]
    Closed,
}

fn all(errors: &[AppConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or_else(
        || "another process whose pid is not visible from here".to_owned(),
        |pid| format!("pid {pid}"),
    )
}

impl Hub {
    /// A text in which no place of the server is named: for those who need not know where it keeps what.
    pub fn without_places(&self, mut text: String) -> String {
        let temporary = filesystem::temporary_dir();
        let plane = self.shared.services.plane.path();
        // What lies within another comes before it.
        for (place, name) in [
            (plane, "the control database"),
            (&self.data().apps(), "apps"),
            (self.data().root(), "the data directory"),
            (&temporary, "the directory for temporary files"),
        ] {
            text = text.replace(&place.display().to_string(), name);
        }
        text
    }
}

impl HubError {
    /// An error of the control database: refusals of the file are told from failures of the disk.
    pub fn control(error: Error) -> Self {
        match error {
            Error::Unfit { path, unfit: Unfit::Held { pid } } => Self::InUse { path, pid },
            error => Self::Control(error),
        }
    }

    /// What a person can do about it.
    pub fn way_out(&self) -> String {
        match self {
            Self::Source(error) if error.fault() == Fault::NotADatabase => {
                "check the path; nothing was changed".to_owned()
            }
            Self::Engine(error) | Self::Control(error) | Self::Backup(error) | Self::Source(error) => {
                error.way_out().to_owned()
            }
            Self::InUse { pid, .. } if pid.and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id()) => {
                "this process has it open already: use that hub, or clones of it".to_owned()
            }
            Self::InUse { .. } => "stop that process first".to_owned(),
            Self::Unfinished { source, .. } => {
                format!("{}; a running server tries again, and so does the next start", source.way_out())
            }
            Self::Filesystem { .. } => "put the data directory on a local disk (ext4, XFS, Btrfs, ZFS)".to_owned(),
            Self::NoDataDir { .. } => {
                "check --data-dir and DATA_DIR; `streamhub serve`, `migrate` and what creates something make one".to_owned()
            }
            Self::ForeignDirectory { .. } => {
                "name an empty directory, or one that is not there yet, with --data-dir or DATA_DIR".to_owned()
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
            Self::LastSuperadmin { .. } => {
                "make another one first: `streamhub user create EMAIL --superadmin`".to_owned()
            }
            Self::Closed => "open it again".to_owned(),
            Self::NoSource { .. } => "check the path".to_owned(),
            Self::Busy { .. } => "try again a little later".to_owned(),
            Self::OutOfService { reason, .. } => reason.way_out(),
            Self::Step { source, .. } => source.way_out(),
            Self::TooManyJobs { .. } => "wait until one of them is over, or cancel one".to_owned(),
            Self::Cancelled => "start it again where it is still wanted; nothing is half done".to_owned(),
            Self::Live(error) | Self::Plane(PlaneError::Live(error)) => error.way_out().to_owned(),
            Self::Plane(PlaneError::Failed(error)) => error.way_out().to_owned(),
            Self::Store(error) => error.way_out().to_owned(),
            Self::Exists { noun, .. } => format!("choose another name; `streamhub {noun} list` shows those that are taken"),
            Self::Refused(Refused::NameTaken { .. }) => {
                "choose another name, or rename or delete the app that has this one".to_owned()
            }
            Self::Refused(Refused::UuidTaken { .. }) => {
                "the same app is registered here already; `streamhub app list` shows it".to_owned()
            }
            Self::Refused(Refused::UnknownTenant(_)) => "`streamhub tenant list` shows the tenants".to_owned(),
            Self::Refused(Refused::QuotaExceeded(_)) | Self::Quota(_) => {
                "end or delete something, or raise the tenant's quota".to_owned()
            }
            Self::Refused(_) => "`streamhub app list` shows where each app is in its life".to_owned(),
            Self::NotInService { .. } => {
                "`streamhub app list` shows why; an open take-over is tried again at the next start".to_owned()
            }
            Self::NoAppDir { .. } => {
                "is the disk mounted? otherwise restore the app from a backup, or `streamhub app delete --lost` forgets it"
                    .to_owned()
            }
            Self::DirectoryThere { .. } => {
                "move it away; where it is an app's, `streamhub app adopt` takes it, from there or where it is".to_owned()
            }
            Self::InTrash { name } => format!("`streamhub app undelete {name}` brings back what is in the trash"),
            Self::OwnMount { .. } => "copy it to where the other apps are and unmount it".to_owned(),
            Self::NotItsOwn { .. } => {
                "put the app's own database back; `streamhub doctor` shows what is where".to_owned()
            }
            Self::NotSealed { .. } => {
                "seal it where it is in service (`streamhub app seal NAME`) and copy it again; --unsealed takes it after a full check"
                    .to_owned()
            }
            Self::AppConfig(errors) | Self::BrokenAppConfig(errors) => {
                errors.iter().find_map(AppConfigError::way_out).unwrap_or_default()
            }
            Self::NotFound { noun: "deleted app", .. } => {
                "`streamhub app list --deleted` shows what is in the trash".to_owned()
            }
            Self::NotFound { noun, .. } => format!("`streamhub {noun} list` shows what there is"),
            Self::Invalid(_) => "correct it; nothing was changed".to_owned(),
        }
    }
}

impl From<LiveError> for HubError {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::Busy { path, reason } => Self::Busy { what: path.display().to_string(), reason },
            LiveError::Closed { .. } => Self::Closed,
            LiveError::Failed(error) => Self::Engine(error),
            error => Self::Live(error),
        }
    }
}

impl From<PlaneError> for HubError {
    fn from(error: PlaneError) -> Self {
        match error {
            PlaneError::Live(LiveError::Busy { path, reason }) => {
                Self::Busy { what: path.display().to_string(), reason }
            }
            PlaneError::Live(LiveError::Closed { .. }) => Self::Closed,
            PlaneError::Failed(error) => Self::control(error),
            error @ PlaneError::Live(_) => Self::Plane(error),
        }
    }
}

impl From<filesystem::Shortage> for HubError {
    fn from(short: filesystem::Shortage) -> Self {
        Self::NoSpace { path: short.path, needed: short.needed, free: short.free }
    }
}

impl From<LeaseError<HubError>> for HubError {
    fn from(error: LeaseError<Self>) -> Self {
        match error {
            LeaseError::Busy { app, reason } => Self::Busy { what: app.to_string(), reason },
            LeaseError::Quarantined { app, reason, retry_in } => Self::OutOfService { app, reason, retry_in },
            LeaseError::Open(error) => error,
            _ => Self::Closed,
        }
    }
}
