//! The hub: a data directory in possession, and what can be done with it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use streamhub_control::Control;
use streamhub_control::apps::{self, App};
use streamhub_control::password::PasswordHash;
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
    // Closed before the lock goes: fields drop in order.
    control: Mutex<Option<Control>>,
    _lock: DirLock,
    data: DataDir,
    created: bool,
    split: Option<SplitReport>,
    since: Instant,
}

impl Hub {
    /// Takes a data directory into possession: creates a new one, takes an older one over, opens ours.
    ///
    /// Blocks, for minutes where there is much older data.
    pub fn open(config: &HubConfig, progress: &dyn Progress) -> Result<Self, HubError> {
        let booted = boot::boot(config, progress)?;
        Ok(Self {
            shared: Arc::new(Shared {
                control: Mutex::new(Some(booted.control)),
                _lock: booted.lock,
                data: booted.data,
                created: booted.created,
                split: booted.split,
                since: Instant::now(),
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

    /// Seconds since the hub was opened.
    pub fn uptime_seconds(&self) -> u64 {
        self.shared.since.elapsed().as_secs()
    }

    /// All registered apps, by name.
    pub fn apps(&self) -> Result<Vec<App>, HubError> {
        self.with_control(|control| Ok(control.query(apps::list)?))
    }

    /// The app of this name.
    pub fn app(&self, name: &str) -> Result<App, HubError> {
        self.with_control(|control| Ok(control.query(|db| apps::by_name(db, name))?))?
            .ok_or_else(|| HubError::UnknownApp { name: name.to_owned() })
    }

    /// Gives the user with this address a new password and ends its sessions; returns the user and
    /// how many sessions were ended.
    pub fn reset_password(&self, email: &str, hash: &PasswordHash) -> Result<(User, usize), HubError> {
        let reset =
            self.with_control(|control| Ok(control.write(|tx| users::reset_password(tx, email, hash))?))?;
        match reset {
            Reset::Done { user, sessions_ended } => Ok((user, sessions_ended)),
            Reset::Unknown => Err(HubError::Refused(format!("no user has the address {email:?}"))),
            Reset::Ambiguous => Err(HubError::Refused(format!(
                "several users have the address {email:?}; give them different ones first"
            ))),
        }
    }

    /// Whether there is a superadmin who can log in with a password.
    pub fn is_set_up(&self) -> Result<bool, HubError> {
        self.with_control(|control| Ok(control.query(users::is_set_up)?))
    }

    /// Writes everything into the databases' own files and closes them. Other clones of this hub
    /// find it closed.
    pub fn close(&self) -> Result<(), HubError> {
        match self.lock_control().take() {
            Some(control) => Ok(control.close()?),
            None => Ok(()),
        }
    }

    fn with_control<T>(&self, work: impl FnOnce(&mut Control) -> Result<T, HubError>) -> Result<T, HubError> {
        match self.lock_control().as_mut() {
            Some(control) => work(control),
            None => Err(HubError::Refused("the hub is closed".to_owned())),
        }
    }

    fn lock_control(&self) -> MutexGuard<'_, Option<Control>> {
        // A panic in a closure rolls its transaction back; the connection stays whole.
        self.shared.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
