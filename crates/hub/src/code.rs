//! What a failure is called, for programs: the one word that jobs and the HTTP interface say of it.

use streamhub_appstore::StoreError;
use streamhub_control::PlaneError;
use streamhub_control::apps::Refused;
use streamhub_engine::live::LiveError;
use streamhub_engine::{Error, Fault, Unfit};

use crate::error::HubError;
use crate::kind::Kind;
use crate::secrets::SecretsError;

const NO_SPACE: &str = "no_space";
const APP_MISSING: &str = "app_missing";
const OUT_OF_SERVICE: &str = "out_of_service";

impl HubError {
    /// What it is called, for programs. A word never changes its meaning; `failed` is said of all that has no other.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// assert_eq!(hub.app(&"no-such-app".parse()?).unwrap_err().code(), "not_found");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::Step { source, .. } => source.code(),
            // Where there was no room to open it, or nothing to be opened, that says more.
            Self::OutOfService { reason, .. } => match &**reason {
                Self::NoAppDir { .. } | Self::Engine(Error::Unfit { unfit: Unfit::Missing, .. }) => {
                    APP_MISSING
                }
                reason if reason.code() == NO_SPACE => NO_SPACE,
                _ => OUT_OF_SERVICE,
            },
            Self::NotInService { .. } | Self::Live(LiveError::OutOfService { .. }) => OUT_OF_SERVICE,
            Self::NoAppDir { .. } => APP_MISSING,
            Self::NoSpace { .. } => NO_SPACE,
            Self::TooManyJobs { .. } => "too_many_jobs",
            Self::Cancelled => "cancelled",
            Self::Closed => "stopping",
            Self::DirectoryThere { .. } => "directory_exists",
            Self::InTrash { .. } => "in_trash",
            Self::Refused(Refused::NameTaken { .. }) => "name_taken",
            Self::Refused(Refused::UuidTaken { .. }) => "uuid_taken",
            Self::LastSuperadmin { .. } => "last_superadmin",
            Self::BrokenAppConfig(_) => "config_broken",
            Self::NoSource { .. }
            | Self::OwnMount { .. }
            | Self::NotItsOwn { .. }
            | Self::NotSealed { .. } => "unfit_source",
            _ => match self.kind() {
                Kind::NotFound => "not_found",
                Kind::Exists => "exists",
                Kind::Invalid => "invalid",
                Kind::Quota => "quota_exceeded",
                Kind::Unknown => "commit_unknown",
                Kind::Unavailable => "busy",
                _ => self.fault().map_or("failed", |fault| of_fault(fault, self)),
            },
        }
    }

    /// What went wrong with a file or its disk, where that is what failed.
    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Engine(error)
            | Self::Control(error)
            | Self::Backup(error)
            | Self::Source(error)
            | Self::Plane(PlaneError::Failed(error))
            | Self::Secrets(SecretsError::Read(error)) => Some(error.fault()),
            Self::Live(error) | Self::Plane(PlaneError::Live(error)) => error.fault(),
            Self::Store(StoreError::Sqlite(error)) => Some(Fault::of_sqlite(error)),
            _ => None,
        }
    }
}

fn of_fault(fault: Fault, error: &HubError) -> &'static str {
    match fault {
        Fault::Full => NO_SPACE,
        // What is wrong with a file that the caller named is the caller's to mend.
        _ if matches!(error, HubError::Source(_)) => "unfit_source",
        Fault::Busy => "busy",
        Fault::Corrupt | Fault::NotADatabase => "damaged",
        Fault::Io => "disk_failed",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use streamhub_control::Connection;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a database that is to be full holds nothing")]
    fn a_fault_has_one_name_wherever_it_is_met() {
        // As full as a disk can be.
        let sqlite = || {
            let db = Connection::open_in_memory().unwrap();
            db.execute_batch("PRAGMA max_page_count = 1; CREATE TABLE t (x)").unwrap_err()
        };
        let of_file = || Error::Sqlite { path: "x.db".into(), source: sqlite() };
        let lost = |fault| LiveError::TransactionLost { path: "x.db".into(), detail: None, fault };
        for error in [
            HubError::Engine(of_file()),
            HubError::Control(of_file()),
            HubError::Live(lost(Some(Fault::Full))),
            HubError::Plane(PlaneError::Live(LiveError::Failed(of_file()))),
            HubError::Store(StoreError::Sqlite(sqlite())),
            HubError::Step { step: "s", source: Box::new(HubError::Engine(of_file())) },
        ] {
            assert_eq!(error.code(), "no_space", "{error:?}");
        }
        for (fault, code) in [
            (Fault::Corrupt, "damaged"),
            (Fault::NotADatabase, "damaged"),
            (Fault::Io, "disk_failed"),
            (Fault::Other, "failed"),
        ] {
            assert_eq!(HubError::Live(lost(Some(fault))).code(), code);
        }
        assert_eq!(HubError::Live(lost(None)).code(), "failed");
        let full = || {
            let source = io::ErrorKind::StorageFull.into();
            Error::Io { path: "x".into(), operation: "write", source }
        };
        assert_eq!(HubError::Engine(full()).code(), "no_space");
        assert_eq!(HubError::Source(full()).code(), "no_space");
        let unfit = || Error::Unfit { path: "x".into(), unfit: Unfit::Empty };
        assert_eq!(HubError::Engine(unfit()).code(), "damaged");
        assert_eq!(HubError::Source(unfit()).code(), "unfit_source");
        let set_aside = |reason| HubError::OutOfService {
            app: "news-24".parse().unwrap(),
            reason: Arc::new(HubError::Engine(reason)),
            retry_in: Duration::ZERO,
        };
        assert_eq!(set_aside(full()).code(), "no_space");
        assert_eq!(set_aside(unfit()).code(), "out_of_service");
    }
}
