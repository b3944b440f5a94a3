//! What a program does about a failure, whatever exactly has failed.

use streamhub_appstore::StoreError;
use streamhub_control::PlaneError;
use streamhub_control::apps::Refused;
use streamhub_engine::live::LiveError;
use streamhub_engine::{Error, Fault};

use crate::error::HubError;
use crate::secrets::SecretsError;

/// What a caller does about a failure; exit codes and HTTP statuses follow from it.
///
/// ```
/// use streamhub::Kind;
///
/// fn status(kind: Kind) -> u16 {
///     match kind {
///         Kind::Invalid => 400,
///         Kind::NotFound => 404,
///         Kind::Exists => 409,
///         Kind::Quota => 429,
///         Kind::Unavailable | Kind::Unknown => 503,
///         _ => 500,
///     }
/// }
/// assert_eq!(status(Kind::Quota), 429);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The operation failed and changed nothing. Log it; the disk, the file or a closure is at fault.
    Failed,
    /// A file or directory that the caller named is missing. Check the path, and whether its disk is mounted.
    SourceMissing,
    /// A file that the caller named is no `SQLite` database. Name another.
    NotADatabase,
    /// What was to be made is already there. Tell the client, or take what is there.
    Exists,
    /// It could not be done in time, or the app is out of service, and nothing was changed. Try again a little
    /// later, a few times; then tell the client to.
    Unavailable,
    /// What was asked for does not exist. Tell the client.
    NotFound,
    /// What was asked for is not acceptable. Tell the client; the message says what would be.
    Invalid,
    /// A quota is used up. Tell the client; the tenant ends something or gets more.
    Quota,
    /// The write may have happened or not. Read what is there before writing again.
    Unknown,
    /// Someone else holds the data directory. End this process, or wait for the other to end.
    InUse,
    /// The configuration or the installation has to be mended by a person. End this process.
    Configuration,
}

impl HubError {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::InUse { .. } => Kind::InUse,
            Self::NoDataDir { .. } | Self::NoInstallation { .. } | Self::NoSource { .. } => {
                Kind::SourceMissing
            }
            Self::Control(error) => match error.fault() {
                Fault::Busy => Kind::InUse,
                Fault::TooManyFiles => Kind::Unavailable,
                Fault::Full | Fault::Io | Fault::ReadOnly => Kind::Failed,
                // The file was there to be judged; SQLite has one word for no right, no descriptor and no
                // room for the files beside it.
                Fault::CannotOpen if matches!(error, Error::Sqlite { .. }) => Kind::Failed,
                _ => Kind::Configuration,
            },
            Self::Source(error) if error.fault() == Fault::NotADatabase => Kind::NotADatabase,
            Self::Engine(error) | Self::Source(error) => of_engine(error),
            Self::Backup(_)
            | Self::NoSpace { .. }
            | Self::OwnMount { .. }
            | Self::NotItsOwn { .. }
            | Self::NotSealed { .. }
            | Self::BrokenAppConfig(_)
            | Self::Plane(PlaneError::Failed(_))
            | Self::Cancelled
            | Self::Closed => Kind::Failed,
            Self::Step { source, .. } => source.kind(),
            Self::Unfinished { .. } => Kind::Unknown,
            Self::UnknownApp { .. } | Self::UnknownUser { .. } | Self::NotFound { .. } => Kind::NotFound,
            Self::Exists { .. } | Self::DirectoryThere { .. } | Self::InTrash { .. } => Kind::Exists,
            Self::AmbiguousUser { .. }
            | Self::LastSuperadmin { .. }
            | Self::Secrets(SecretsError::BadName { .. })
            | Self::Invalid(_)
            | Self::AppConfig(_) => Kind::Invalid,
            Self::Busy { .. }
            | Self::TooManyJobs { .. }
            | Self::OutOfService { .. }
            | Self::NotInService { .. }
            | Self::NoAppDir { .. } => Kind::Unavailable,
            Self::Live(error) | Self::Plane(PlaneError::Live(error)) => of_live(error),
            Self::Quota(_) => Kind::Quota,
            Self::Store(error) => match error {
                StoreError::Invalid { .. } => Kind::Invalid,
                StoreError::Exists { .. } | StoreError::KeyTaken { .. } => Kind::Exists,
                StoreError::NotFound { .. } => Kind::NotFound,
                _ => Kind::Failed,
            },
            Self::Refused(refused) => match refused {
                Refused::NameTaken { .. } | Refused::UuidTaken { .. } => Kind::Exists,
                Refused::QuotaExceeded(_) => Kind::Quota,
                Refused::Unknown { .. } | Refused::UnknownTenant(_) => Kind::NotFound,
                Refused::State { .. } => Kind::Unavailable,
                Refused::Generation { .. } => Kind::Failed,
            },
            Self::Filesystem { .. }
            | Self::NotADirectory { .. }
            | Self::ForeignDirectory { .. }
            | Self::TwoControls { .. }
            | Self::ControlMissing { .. }
            | Self::NotTakenOver { .. }
            | Self::NoAppDirectory { .. }
            | Self::Secrets(_) => Kind::Configuration,
        }
    }
}

fn of_engine(error: &Error) -> Kind {
    match (error, error.fault()) {
        // Its lock on one database is of the moment, unlike its hold on the file.
        (Error::Sqlite { .. }, Fault::Busy) | (_, Fault::TooManyFiles) => Kind::Unavailable,
        (_, Fault::Busy) => Kind::InUse,
        _ => Kind::Failed,
    }
}

fn of_live(error: &LiveError) -> Kind {
    match error {
        LiveError::Failed(error) => of_engine(error),
        LiveError::CommitUnknown { .. } => Kind::Unknown,
        LiveError::Busy { .. } | LiveError::OutOfService { .. } => Kind::Unavailable,
        _ => Kind::Failed,
    }
}
