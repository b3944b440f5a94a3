//! The hub: a data directory in possession, and what can be done with it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streamhub_control::Control;
use streamhub_control::apps::{self, App, Tally};
use streamhub_control::password::PasswordHash;
use streamhub_control::setup::{self, SetupToken};
use streamhub_control::users::{self, Reset, User};
use streamhub_engine::DataDir;
use streamhub_engine::database_url::ControlPlace;
use streamhub_engine::filesystem::Volatile;
use streamhub_engine::lock::DirLock;

use crate::boot;
use crate::error::HubError;
use crate::legacy::LegacySource;
use crate::progress::Progress;
use crate::report::SplitReport;

/// How a hub is opened.
#[derive(Clone)]
pub struct HubConfig {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Where the control database lies, if not in the data directory.
    pub control: Option<ControlPlace>,
    /// Whether a missing data directory is created; default yes.
    pub may_create: bool,
    /// Whether the data may lie on a memory filesystem; default no.
    pub volatile: Volatile,
    /// Who takes older data over; default nobody.
    pub legacy: Option<Arc<dyn LegacySource>>,
}

impl HubConfig {
    /// The defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            control: None,
            may_create: true,
            volatile: Volatile::Refuse,
            legacy: None,
        }
    }
}

impl std::fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig")
            .field("data_dir", &self.data_dir)
            .field("control", &self.control)
            .field("may_create", &self.may_create)
            .field("volatile", &self.volatile)
            .field("legacy", &self.legacy.is_some())
            .finish()
    }
}

/// A data directory in this process's possession. Cheap to clone; all clones are one hub.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    open: Mutex<Option<Open>>,
    data: DataDir,
    created: bool,
    split: Option<SplitReport>,
}

/// What a hub has until it is closed.
#[derive(Debug)]
struct Open {
    // Closed before the lock goes: fields drop in order.
    control: Control,
    _lock: DirLock,
}

impl Hub {
    /// Takes a data directory into possession: creates a new one, takes an older one over, opens ours.
    ///
    /// Blocks, for minutes where there is much older data.
    pub fn open(config: &HubConfig, progress: &dyn Progress) -> Result<Self, HubError> {
        let booted = boot::boot(config, progress)?;
        Ok(Self {
            shared: Arc::new(Shared {
                open: Mutex::new(Some(Open { control: booted.control, _lock: booted.lock })),
                data: booted.data,
                created: booted.created,
                split: booted.split,
            }),
        })
    }

    /// The data directory.
    pub fn data(&self) -> &DataDir {
        &self.shared.data
    }

    /// Whether the installation was made by this opening.
    pub fn created(&self) -> bool {
        self.shared.created
    }

    /// What was taken over by this opening; none where nothing was open.
    pub fn split(&self) -> Option<&SplitReport> {
        self.shared.split.as_ref()
    }

    /// All registered apps, by name.
    pub fn apps(&self) -> Result<Vec<App>, HubError> {
        self.with_control(|control| control.query(apps::list))
    }

    /// The app of this name.
    pub fn app(&self, name: &str) -> Result<App, HubError> {
        self.with_control(|control| control.query(|db| apps::by_name(db, name)))?
            .ok_or_else(|| HubError::UnknownApp { name: name.to_owned() })
    }

    /// Gives the user with this address a new password and ends its sessions; returns the user and
    /// how many sessions were ended.
    pub fn reset_password(&self, email: &str, hash: &PasswordHash) -> Result<(User, usize), HubError> {
        let reset =
            self.with_control(|control| control.write(|tx| users::reset_password(tx, email, hash)))?;
        match reset {
            Reset::Done { user, sessions_ended } => Ok((user, sessions_ended)),
            Reset::Unknown => Err(HubError::UnknownUser { email: email.to_owned() }),
            Reset::Ambiguous => Err(HubError::AmbiguousUser { email: email.to_owned() }),
        }
    }

    /// A new one-time token for making the first superadmin; those before it count no more. None
    /// where a superadmin can log in with a password already.
    pub fn renew_setup_token(&self) -> Result<Option<SetupToken>, HubError> {
        self.with_control(|control| control.write(|tx| setup::renew(tx)))
    }

    /// How many apps there are, and how many of them are out of service.
    pub fn tally(&self) -> Result<Tally, HubError> {
        self.with_control(|control| control.query(apps::tally))
    }

    /// Writes everything into the databases' own files, closes them and lets go of the data directory.
    /// Other clones of this hub find it closed.
    pub fn close(&self) -> Result<(), HubError> {
        match self.lock_open().take() {
            Some(Open { control, _lock }) => Ok(control.close()?),
            None => Ok(()),
        }
    }

    fn with_control<T>(
        &self,
        work: impl FnOnce(&mut Control) -> streamhub_engine::Result<T>,
    ) -> Result<T, HubError> {
        match self.lock_open().as_mut() {
            Some(open) => work(&mut open.control).map_err(HubError::control),
            None => Err(HubError::Closed),
        }
    }

    fn lock_open(&self) -> MutexGuard<'_, Option<Open>> {
        // A panic in a closure rolls its transaction back; the connection stays whole.
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_closed_hub_lets_go_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HubConfig::new(dir.path().join("data"));
        config.volatile = Volatile::Permit;
        let hub = Hub::open(&config, &Silent).unwrap();
        assert!(hub.created());
        let clone = hub.clone();
        assert!(matches!(Hub::open(&config, &Silent), Err(HubError::InUse { .. })));
        hub.close().unwrap();
        assert!(matches!(clone.apps(), Err(HubError::Closed)));
        assert!(!Hub::open(&config, &Silent).unwrap().created());
    }
}
