//! A data directory looked at from outside, without taking it into possession.
//!
//! Works beside a running server, and leaves no trace where nobody has the databases open. Nothing is
//! created, locked or changed here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use streamhub_control::Control;
use streamhub_control::apps::{self, App, Deleted};
use streamhub_control::schema::SCHEMA;
use streamhub_engine::judge::{self, Stamp, Standing};
use streamhub_engine::lock::DirLock;
use streamhub_engine::{DataDir, Database, Error, Fault, Unfit, Unopened};

use crate::boot;
use crate::config::HubConfig;
use crate::error::HubError;
use crate::locate::{self, Located};
use crate::registry::Registry;

/// What was found.
#[derive(Debug)]
pub struct Look {
    /// The data directory.
    pub data: DataDir,
    /// Who has it in possession.
    pub holder: Option<Holder>,
    /// Where the control database is, or would be.
    pub control: PathBuf,
    /// What is there.
    pub installation: Installation,
    /// How long the trash is kept.
    keep: Duration,
}

/// A process that uses the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its process id, where the system tells.
    pub pid: Option<i32>,
}

/// What a data directory holds.
#[derive(Debug)]
pub enum Installation {
    /// Nothing: a new one may begin here.
    None,
    /// An older system's data, not taken over yet.
    Older {
        /// Its schema's version.
        version: u32,
        /// How many apps it has.
        apps: u64,
    },
    /// One of ours.
    Ours {
        /// Its schema's version.
        version: u32,
        /// The control database, open for reading.
        control: Box<Control>,
    },
}

impl Look {
    /// Looks at the data directory that `config` names.
    pub fn at(config: &HubConfig) -> Result<Self, HubError> {
        let data = boot::existing(&config.data_dir)?;
        let mut holder = held_by(DirLock::refuse_holder(&data.lock_file()))?;
        let (control, installation) = match locate::control(&data, config.control.as_ref())? {
            Located::New(path) => (path, Installation::None),
            Located::There(path) => {
                // A running server may be about to open it.
                holder = holder.or(holder_of(&path).map_err(HubError::control)?);
                let installation = open(&path, holder).map_err(HubError::control)?;
                (path, installation)
            }
        };
        Ok(Self { data, holder, control, installation, keep: config.keep.trash })
    }

    /// All registered apps, by name.
    pub fn apps(&self) -> Result<Vec<App>, HubError> {
        self.ours()?.query(apps::list).map_err(HubError::control)
    }

    /// The apps in the trash, as [`Hub::deleted_apps`](crate::Hub::deleted_apps) shows them.
    pub fn deleted_apps(&self) -> Result<Vec<Deleted>, HubError> {
        self.ours()?.query(|db| apps::deleted(db, self.keep)).map_err(HubError::control)
    }

    /// The app of this name.
    pub fn app(&self, name: &str) -> Result<App, HubError> {
        let found = self.ours()?.query(|db| apps::by_name(db, name)).map_err(HubError::control)?;
        found.ok_or_else(|| HubError::UnknownApp { name: name.to_owned() })
    }

    /// What the control database says besides apps.
    pub fn registry(&self) -> Result<Registry<'_>, HubError> {
        self.ours().map(Registry::of)
    }

    fn ours(&self) -> Result<&Control, HubError> {
        match &self.installation {
            Installation::Ours { control, .. } => Ok(control),
            Installation::Older { version, .. } => {
                Err(HubError::NotTakenOver { path: self.control.clone(), version: *version })
            }
            Installation::None => Err(HubError::NoInstallation { path: self.data.root().to_owned() }),
        }
    }
}

fn open(path: &Path, holder: Option<Holder>) -> streamhub_engine::Result<Installation> {
    let (stamp, control) = match holder {
        // Its `-wal` is alive, so only a connection knows.
        Some(_) => {
            let control = Control::read(path)?;
            (control.stamp()?, control)
        }
        // Who only looks may look at a file that nobody may write.
        None => (judge::stamp_of_source(path)?, Control::inspect(path)?),
    };
    match SCHEMA.standing(stamp, path)? {
        Standing::Ours { version } => Ok(Installation::Ours { version, control: Box::new(control) }),
        Standing::Unmarked { version } => match control.query(apps::count) {
            Ok(apps) => Ok(Installation::Older { version, apps }),
            Err(error) if error.fault() == Fault::Other => {
                let detail = "it has no table of apps".to_owned();
                Err(Error::Unfit { path: path.to_owned(), unfit: Unfit::Foreign { detail } })
            }
            Err(error) => Err(error),
        },
    }
}

/// Opens a database for reading, in the way that fits whether others have it open.
pub(crate) fn open_database(path: &Path) -> streamhub_engine::Result<(Stamp, Database)> {
    if holder_of(path)?.is_none() {
        return Ok((judge::stamp(path)?, Database::inspect(path)?));
    }
    let db = Database::read(path)?;
    Ok((Stamp::read(&db)?, db))
}

/// Who has the database file open, if anyone.
pub(crate) fn holder_of(path: &Path) -> streamhub_engine::Result<Option<Holder>> {
    held_by(Unopened::claim(path)?.refuse_foreign_holder())
}

fn held_by(asked: streamhub_engine::Result<()>) -> streamhub_engine::Result<Option<Holder>> {
    match asked {
        Ok(()) => Ok(None),
        Err(Error::Unfit { unfit: Unfit::Held { pid }, .. }) => Ok(Some(Holder { pid })),
        Err(error) => Err(error),
    }
}
