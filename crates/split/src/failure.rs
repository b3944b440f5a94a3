//! Why one app cannot be taken over. All others go on.

use std::path::PathBuf;

use streamhub::report::AppFailure;
use streamhub_engine::{Error, Fault, Unfit, filesystem};

/// Why one app failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Engine(#[from] Error),
    #[error("{name:?} is not an app name: 3 to 32 characters of a-z, 0-9 and '-'")]
    BadName { name: String },
    #[error("{}: the app has {rows}, but {found}", dir.display())]
    NoDirectory { dir: PathBuf, rows: &'static str, found: &'static str },
    #[error("{}: {rows} rows of table {table} carry another app's number than the registry's {app_id}", path.display())]
    ForeignRows { path: PathBuf, table: &'static str, rows: u64, app_id: i64 },
    #[error("{}: it belongs to {found}, not to {expected}", path.display())]
    OtherIdentity { path: PathBuf, found: String, expected: String },
    #[error("{}: {detail}", path.display())]
    SourceChanged { path: PathBuf, detail: String },
    #[error("{}: {refused}", path.display())]
    Filesystem { path: PathBuf, refused: filesystem::Refused },
}

impl Failure {
    fn code(&self) -> &'static str {
        match self {
            Self::BadName { .. } => "bad-name",
            Self::NoDirectory { .. } => "no-directory",
            Self::ForeignRows { .. } => "foreign-rows",
            Self::OtherIdentity { .. } => "other-identity",
            Self::SourceChanged { .. } => "source-changed",
            Self::Filesystem { .. } => "filesystem",
            Self::Engine(Error::Unfit { unfit, .. }) => match unfit {
                Unfit::Missing => "missing-database",
                Unfit::Empty => "empty-database",
                Unfit::Symlink => "symlink",
                Unfit::HardLinked { .. } => "hard-linked",
                Unfit::NotAFile { .. } => "not-a-file",
                Unfit::ReadOnly => "read-only",
                Unfit::NotADatabase => "not-a-database",
                Unfit::Truncated { .. } | Unfit::Corrupt { .. } => "damaged",
                Unfit::Foreign { .. } => "foreign-database",
                Unfit::TooNew { .. } => "too-new",
                Unfit::HoldsCode { .. } => "holds-code",
                Unfit::HotJournal => "hot-journal",
                Unfit::Held { .. } => "in-use",
                _ => "refused",
            },
            Self::Engine(error) => match error.fault() {
                Fault::Full => "disk-full",
                Fault::Corrupt | Fault::NotADatabase => "damaged",
                Fault::Busy => "in-use",
                Fault::ReadOnly => "read-only",
                _ => "io",
            },
        }
    }

    fn way_out(&self, app: &str) -> String {
        match self {
            Self::Engine(error) => error.way_out().to_owned(),
            Self::BadName { .. } => {
                "rename the app in the older system, its directory with it, then try again".to_owned()
            }
            Self::NoDirectory { .. } => {
                "is its disk mounted? if what was there is really gone, make the directory, put a config.yaml into it and start again".to_owned()
            }
            Self::ForeignRows { .. } => format!(
                "the name may have been another tenant's before: look at the rows, then `streamhub migrate --recover {app}` takes them over as this app's"
            ),
            Self::OtherIdentity { .. } => "move it away, and put the app's own database there".to_owned(),
            Self::SourceChanged { .. } => format!(
                "was the older program started again? `streamhub migrate --recover {app}` brings its rows in"
            ),
            Self::Filesystem { .. } => "put the app's directory on a local disk".to_owned(),
        }
    }

    pub(crate) fn report(&self, app: &str) -> AppFailure {
        AppFailure { code: self.code(), message: self.to_string(), way_out: self.way_out(app) }
    }
}
