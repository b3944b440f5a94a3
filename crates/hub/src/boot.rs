//! Taking a data directory into possession.
//!
//! The order is fixed, and each step refuses before anything is changed: filesystem, directory,
//! lock, control database found and judged, older data taken over, then opened. Of a data directory
//! that is already ours the apps are counted, and none is looked at.

use std::path::{Path, PathBuf};

use streamhub_control::{Control, apps, schema::SCHEMA};
use streamhub_engine::judge::{self, Standing};
use streamhub_engine::lock::DirLock;
use streamhub_engine::unopened::{Protection, sidecar};
use streamhub_engine::{
    DataDir, Database, Error, Unfit, Unopened, durable, filesystem, install, snapshot, time,
};

use crate::config::HubConfig;
use crate::error::HubError;
use crate::legacy::{LegacySource, Site};
use crate::locate::{self, Located};
use crate::progress::Progress;
use crate::report::SplitReport;
use crate::secrets::Secrets;

/// A data directory in possession.
#[derive(Debug)]
pub(crate) struct Booted {
    pub(crate) lock: DirLock,
    pub(crate) data: DataDir,
    pub(crate) site: Site,
    pub(crate) control: Control,
    pub(crate) created: bool,
    pub(crate) split: Option<SplitReport>,
}

/// Takes the data directory into possession, or changes nothing and says why not.
pub(crate) fn boot(config: &HubConfig, progress: &dyn Progress) -> Result<Booted, HubError> {
    // Before the first change, so that what is refused is left as it was, and once more under the lock.
    let site = survey(config)?;
    if site.is_none() && !config.may_create {
        // A missing directory is told from an empty one.
        let path = existing(&config.data_dir)?.root().to_owned();
        return Err(HubError::NoInstallation { path });
    }
    if site.is_none() && durable::exists(&config.data_dir)? {
        locate::refuse_foreign(&existing(&config.data_dir)?)?;
    }
    let data = DataDir::create(&config.data_dir)?;
    let lock = DirLock::acquire(&data.lock_file()).map_err(in_use)?;
    let located = locate::control(&data, config.control.as_ref())?;
    check_filesystem(config, located.path())?;
    check_filesystem(config, &data.apps())?;
    Secrets::read(&data.secrets_file())?;

    let created = match &located {
        Located::New(path) => {
            create_control(path, &data)?;
            true
        }
        Located::There(path) => {
            sweep(path)?;
            false
        }
    };
    sweep_work(&data)?;
    durable::sweep_parts(&data.secrets_file())?;
    let path = located.path();
    let protection = protection_of_apps(path)?;
    let site = Site { data: data.clone(), control: path.to_owned(), volatile: config.volatile, protection };
    let take_over = |legacy: &dyn LegacySource| -> Result<_, HubError> {
        let report = legacy.boot(&site, progress)?;
        Ok((open_control(path)?, Some(report)))
    };
    let (control, split) = match (judge_control(path)?, config.legacy.as_deref()) {
        (Standing::Unmarked { version }, None) => {
            return Err(HubError::NotTakenOver { path: path.to_owned(), version });
        }
        (Standing::Unmarked { .. }, Some(legacy)) => take_over(legacy)?,
        (Standing::Ours { version }, legacy) => {
            back_up_before_migrating(path, version, &data)?;
            let control = open_control(path)?;
            match legacy {
                Some(legacy) if legacy.has_errand() || open_splits(&control)? > 0 => {
                    drop(control);
                    take_over(legacy)?
                }
                _ => (control, None),
            }
        }
    };
    refuse_missing_disk(&control, &data)?;
    for file in [path, &sidecar(path, "-wal"), &sidecar(path, "-shm"), &data.secrets_file()] {
        tighten(file);
    }
    durable::create_dir(&data.apps())?;
    Ok(Booted { lock, data, site, control, created, split })
}

/// Judges a data directory as [`Hub::open`](crate::Hub::open) would, taking no lock and changing nothing.
pub fn survey(config: &HubConfig) -> Result<Option<Site>, HubError> {
    check_filesystem(config, &config.data_dir)?;
    if !durable::exists(&config.data_dir)? {
        return Ok(None);
    }
    let data = existing(&config.data_dir)?;
    DirLock::refuse_holder(&data.lock_file()).map_err(in_use)?;
    Secrets::read(&data.secrets_file())?;
    match locate::control(&data, config.control.as_ref())? {
        Located::New(_) => Ok(None),
        Located::There(path) => {
            check_filesystem(config, &path)?;
            check_filesystem(config, &data.apps())?;
            if let (Standing::Unmarked { version }, None) = (judge_control(&path)?, &config.legacy) {
                return Err(HubError::NotTakenOver { path, version });
            }
            let protection = protection_of_apps(&path)?;
            let site = Site { data, control: path, volatile: config.volatile, protection };
            if let Some(legacy) = &config.legacy {
                legacy.survey(&site)?;
            }
            Ok(Some(site))
        }
    }
}

/// An existing data directory; a missing one is a missing source.
pub fn existing(path: &Path) -> Result<DataDir, HubError> {
    DataDir::open(path).map_err(|error| match error {
        Error::Unfit { path, unfit: Unfit::Missing } => HubError::NoDataDir { path },
        Error::Unfit { path, unfit: Unfit::NotADirectory } => HubError::NotADirectory { path },
        error => HubError::Engine(error),
    })
}

/// Judges the control database: its stamp, and that no other program has it open.
pub fn judge_control(path: &Path) -> Result<Standing, HubError> {
    let unopened = Unopened::claim(path).map_err(HubError::control)?;
    unopened.refuse_foreign_holder().map_err(HubError::control)?;
    drop(unopened);
    judge::stamp_with(path, Protection::Overridden)
        .and_then(|stamp| SCHEMA.standing(stamp, path))
        .map_err(HubError::control)
}

/// A write-protected control database that may be written all the same shows that the super-user
/// copied the whole directory from read-only media.
fn protection_of_apps(control: &Path) -> Result<Protection, HubError> {
    let copied = Unopened::claim(control).map_err(HubError::control)?.is_write_protected();
    Ok(if copied { Protection::Overridden } else { Protection::Obeyed })
}

/// Apps that have a database, and nothing at all where they should be: their disk is not mounted, and
/// nothing may be made in its place. Whether a single app is there is found out when it is used.
///
/// The apps are counted in any case, so that a damaged registry is refused before anything is written.
fn refuse_missing_disk(control: &Control, data: &DataDir) -> Result<(), HubError> {
    let tally = control.query(apps::tally).map_err(HubError::control)?;
    if tally.total == tally.pending + tally.missing || durable::has_visible_entry(&data.apps())? {
        return Ok(());
    }
    let registered = usize::try_from(tally.total).unwrap_or(usize::MAX);
    Err(HubError::NoAppDirectory { apps: data.apps(), registered })
}

/// A proven copy of a control database of ours whose schema is about to change.
fn back_up_before_migrating(path: &Path, version: u32, data: &DataDir) -> Result<(), HubError> {
    if version == SCHEMA.latest() {
        return Ok(());
    }
    durable::create_dir(&data.backups())?;
    let target = data.backups().join(format!("streamhub-{version}-{}.db", time::file_stamp()));
    let inspected = Database::inspect(path).map_err(HubError::control)?;
    snapshot::take(&inspected, &target).map(drop).map_err(HubError::Backup)
}

fn open_control(path: &Path) -> Result<Control, HubError> {
    Control::open(path).map_err(HubError::control)
}

fn open_splits(control: &Control) -> Result<u64, HubError> {
    control.query(apps::open_splits).map_err(HubError::control)
}

fn check_filesystem(config: &HubConfig, path: &Path) -> Result<(), HubError> {
    filesystem::check(path, config.volatile)?
        .map_err(|refused| HubError::Filesystem { path: path.to_owned(), refused })
}

fn in_use(error: Error) -> HubError {
    match error {
        Error::Unfit { path, unfit: Unfit::Held { pid } } => HubError::InUse { path, pid },
        error => HubError::Engine(error),
    }
}

/// A new control database is built beside its place and put there whole.
fn create_control(path: &Path, data: &DataDir) -> Result<(), HubError> {
    durable::create_dir_all(durable::parent(path))?;
    sweep(path)?;
    let staged = with_ending(path, ".new");
    let built = Control::build(&staged)?;
    install::install_new(&built, path, &data.backups())?;
    Ok(())
}

/// Removes what a killed run left half done beside the control database.
fn sweep(control: &Path) -> Result<(), HubError> {
    let name = control.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in durable::names_in(durable::parent(control))? {
        let Some(rest) = entry.strip_prefix(&name) else { continue };
        let half_done = rest == ".new"
            || rest.starts_with(".new-")
            || (rest.starts_with(".bak-") && rest.contains(snapshot::PART));
        if half_done {
            durable::remove_file(&control.with_file_name(&entry))?;
        }
    }
    Ok(())
}

/// Removes what a killed run left in staging, and copies that were never proven.
fn sweep_work(data: &DataDir) -> Result<(), HubError> {
    durable::remove_dir_all(&data.apps().join(".staging"))?;
    let backups = data.backups();
    let mut dirs = vec![backups.clone()];
    dirs.extend(
        durable::names_in(&backups)?.iter().map(|name| backups.join(name)).filter(|path| path.is_dir()),
    );
    for dir in dirs {
        for name in durable::names_in(&dir)?.iter().filter(|name| name.contains(snapshot::PART)) {
            let path = dir.join(name);
            if path.is_dir() { durable::remove_dir_all(&path)? } else { durable::remove_file(&path)? }
        }
    }
    Ok(())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn tighten(path: &Path) {
    if durable::exists(path).unwrap_or(false)
        && let Err(error) = durable::make_private(path)
    {
        tracing::warn!(path = %path.display(), %error, "others may read the file");
    }
}
