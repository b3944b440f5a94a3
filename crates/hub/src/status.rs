//! What state a data directory is in: versions, apps, sizes, the last backup, and who uses it.
//!
//! Sizes come from the directory alone; no app's database is opened.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use serde::Serialize;
use streamhub_control::{apps, schema::SCHEMA};
use streamhub_engine::unopened::sidecar;
use streamhub_engine::{DataDir, durable, filesystem, snapshot, time};

use crate::config::HubConfig;
use crate::error::HubError;
use crate::look::{Holder, Installation, Look};

/// The state of a data directory. Paths are relative to it where they lie inside.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// This program's version.
    pub version: &'static str,
    /// The data directory.
    pub data_dir: String,
    /// What it holds.
    pub state: State,
    /// Who has it in possession; null where nobody has.
    pub holder: Option<Holder>,
    /// The control database; null where there is none yet.
    pub control: Option<ControlStatus>,
    /// The apps.
    pub apps: Apps,
    /// How much space is used and free.
    pub sizes: Sizes,
    /// The newest backup; null where there is none.
    pub last_backup: Option<Backup>,
}

/// What a data directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nothing yet.
    Empty,
    /// An older system's data, not taken over yet.
    Older,
    /// An installation of ours.
    Ready,
}

/// The control database.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlStatus {
    /// The file.
    pub path: String,
    /// Its schema's version.
    pub schema_version: u32,
    /// The newest version that this program knows.
    pub known_version: u32,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of its `-wal`.
    pub wal_size_bytes: u64,
}

/// The apps in numbers.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Apps {
    /// All that are registered.
    pub total: u64,
    /// By state; an open take-over counts as `pending` or `missing`. Empty for an older registry, which has no states.
    pub by_state: BTreeMap<String, u64>,
}

/// Bytes on the disk.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sizes {
    /// The control database with its `-wal`.
    pub control_bytes: u64,
    /// The apps' databases with their `-wal`s, older ones included. Media are not counted.
    pub apps_bytes: u64,
    /// All backups.
    pub backups_bytes: u64,
    /// What this user may still write to the data directory's disk.
    pub free_bytes: u64,
}

/// A backup.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// The file.
    pub path: String,
    /// When it was written; null where the file system's time is beyond the calendar.
    pub at: Option<String>,
    /// Its bytes.
    pub size_bytes: u64,
}

/// Finds the state of the data directory that `config` names.
pub fn status(config: &HubConfig) -> Result<Status, HubError> {
    let Look { data, holder, control, installation, .. } = Look::at(config)?;
    let shown = |path: &Path| data.shown(path).display().to_string();
    let (state, version, apps) = match installation {
        Installation::None => (State::Empty, None, Apps::default()),
        Installation::Older { version, apps } => {
            (State::Older, Some(version), Apps { total: apps, ..Apps::default() })
        }
        Installation::Ours { version, control } => {
            let mut by_state = BTreeMap::new();
            let registered = control.query(apps::list).map_err(HubError::control)?;
            for app in &registered {
                *by_state.entry(app.standing().to_owned()).or_default() += 1;
            }
            (State::Ready, Some(version), Apps { total: registered.len() as u64, by_state })
        }
    };
    let backups = backups(&data, &control)?;
    let control_bytes = (bytes(&control), bytes(&sidecar(&control, "-wal")));
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        data_dir: data.root().display().to_string(),
        state,
        holder,
        control: version.map(|schema_version| ControlStatus {
            path: shown(&control),
            schema_version,
            known_version: SCHEMA.latest(),
            size_bytes: control_bytes.0,
            wal_size_bytes: control_bytes.1,
        }),
        apps,
        sizes: Sizes {
            control_bytes: control_bytes.0 + control_bytes.1,
            apps_bytes: bytes_of_apps(&data)?,
            backups_bytes: backups.iter().map(|(_, found)| found.len()).sum(),
            free_bytes: filesystem::free_bytes(data.root())?,
        },
        last_backup: backups.iter().max_by_key(|(_, found)| found.modified().ok()).map(|(path, found)| {
            Backup {
                path: shown(path),
                at: found.modified().ok().and_then(time::of_file),
                size_bytes: found.len(),
            }
        }),
    })
}

/// Bytes of a regular file; 0 where there is none.
pub fn bytes(path: &Path) -> u64 {
    file(path).map_or(0, |found| found.len())
}

fn file(path: &Path) -> Option<Metadata> {
    fs::symlink_metadata(path).ok().filter(Metadata::is_file)
}

fn bytes_of_apps(data: &DataDir) -> Result<u64, HubError> {
    let names = durable::names_in(&data.apps())?;
    let databases = ["app.db", "app.db-wal", "vods.db", "vods.db-wal"];
    Ok(names
        .iter()
        .filter(|name| !name.starts_with('.'))
        .flat_map(|name| databases.map(|database| bytes(&data.apps().join(name).join(database))))
        .sum())
}

/// Finished backups beside the control database and under `backups/`.
fn backups(data: &DataDir, control: &Path) -> Result<Vec<(PathBuf, Metadata)>, HubError> {
    let beginning = format!("{}.bak-", control.file_name().unwrap_or_default().to_string_lossy());
    let beside = durable::parent(control);
    let mut paths: Vec<PathBuf> = durable::names_in(beside)?
        .into_iter()
        .filter(|name| name.starts_with(&beginning))
        .map(|name| beside.join(name))
        .collect();
    for dir in [data.backups(), data.pre_migrate()] {
        paths.extend(durable::names_in(&dir)?.into_iter().map(|name| dir.join(name)));
    }
    let finished = |path: &PathBuf| !path.to_string_lossy().ends_with(snapshot::PART);
    Ok(paths.into_iter().filter(finished).filter_map(|path| file(&path).map(|found| (path, found))).collect())
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid}"),
            None => f.write_str("a process whose pid is not visible from here"),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "streamhub        {}", self.version)?;
        writeln!(f, "data directory   {}", self.data_dir)?;
        match &self.holder {
            Some(holder) => writeln!(f, "in use by        {holder}")?,
            None => writeln!(f, "in use by        nobody")?,
        }
        match &self.control {
            Some(control) => {
                write!(f, "control database {}, schema {}", control.path, control.schema_version)?;
                if self.state == State::Older {
                    writeln!(f, ": an older system's, not taken over yet; `streamhub migrate` does that")?;
                } else {
                    writeln!(f, " (this program knows {})", control.known_version)?;
                }
            }
            None => writeln!(f, "control database none yet; `streamhub serve` begins an installation")?,
        }
        write!(f, "apps             {}", self.apps.total)?;
        for (state, count) in &self.apps.by_state {
            write!(f, ", {count} {state}")?;
        }
        writeln!(f)?;
        let Sizes { control_bytes, apps_bytes, backups_bytes, free_bytes } = self.sizes;
        writeln!(
            f,
            "bytes            {control_bytes} control, {apps_bytes} apps' databases, {backups_bytes} backups, {free_bytes} free"
        )?;
        match &self.last_backup {
            Some(backup) => {
                let at = backup.at.as_deref().unwrap_or("at an unknown time");
                write!(f, "last backup      {} ({} bytes, {at})", backup.path, backup.size_bytes)
            }
            None => write!(f, "last backup      none"),
        }
    }
}
